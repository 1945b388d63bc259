//! Text in a picture.

/// Between tags and in attributes.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// About how wide `text` is in the small size, rather too wide: which font there will be nobody knows.
pub(super) fn width(text: &str) -> f64 {
    6.1 * text.chars().count() as f64
}
