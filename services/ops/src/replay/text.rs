//! What came with a record, fit for a terminal.

use chrono::DateTime;

use crate::time;

/// On one line, without control characters, and not longer than `most` characters.
pub(crate) fn line(text: &str, most: usize) -> String {
    let mut line: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// A key or a header, which need not be text.
pub(crate) fn bytes(bytes: &[u8], most: usize) -> String {
    line(&String::from_utf8_lossy(bytes), most)
}

/// The time of a record, in milliseconds since 1970.
pub(super) fn moment(milliseconds: Option<i64>) -> String {
    milliseconds.and_then(DateTime::from_timestamp_millis).map_or_else(|| "unknown".to_owned(), time::show)
}

/// JSON over several lines; anything else as text, control characters but line ends and tabs left out.
pub(super) fn payload(payload: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(payload);
    if let Some(json) = json.ok().and_then(|json| serde_json::to_string_pretty(&json).ok()) {
        return json;
    }
    let text = String::from_utf8_lossy(payload);
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_brings_along_cannot_break_a_line_or_steer_the_terminal() {
        assert_eq!(line("a\nb\u{1b}[2Jc", 100), "a b [2Jc");
        assert_eq!((line("four", 4), line("fiver", 4)), ("four".to_owned(), "fiv…".to_owned()));
        assert_eq!(bytes(&[b'k', 0xff], 10), "k\u{fffd}");
        assert_eq!(payload(b"no json\x1b[2J\n"), "no json[2J\n");
        assert_eq!(payload(br#"{"a":[1]}"#), "{\n  \"a\": [\n    1\n  ]\n}");
    }
}
