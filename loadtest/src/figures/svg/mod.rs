//! The picture: a page of panels, with everything that it needs in itself.

mod legend;
mod panel;
mod text;

use std::fmt::Write;

use super::panels::Panel;
use super::series::Window;
use legend::Legend;
pub(crate) use text::escaped;

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 22.0;
const HEADER: f64 = 50.0;
const COLUMNS: usize = 2;
const GAP: f64 = 24.0;
/// For all plots of a page.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The whole file.
pub(super) fn page(panels: &[Panel], window: Window) -> String {
    let columns = COLUMNS as f64;
    let width = (WIDTH - 2.0 * MARGIN - (columns - 1.0) * GAP) / columns;
    let (mut body, mut y) = (String::new(), HEADER);
    for row in panels.chunks(COLUMNS) {
        let legends: Vec<Legend> = row.iter().map(|panel| Legend::new(panel, width)).collect();
        for (i, (panel, legend)) in row.iter().zip(&legends).enumerate() {
            let x = MARGIN + i as f64 * (width + GAP);
            let _ = write!(body, r#"<g transform="translate({x} {y})">"#);
            panel::draw(&mut body, panel, legend, window, width);
            body.push_str("</g>\n");
        }
        y += panel::HEIGHT + legends.iter().map(Legend::height).fold(0.0, f64::max) + GAP;
    }
    let title = format!("orderflow, {} minutes until {}", (window.steps * window.step) / 60, window.until());
    let (height, title) = (y, escaped(&title));
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<title>{title}</title>
<style>
{STYLE}</style>
<rect class="page" width="{WIDTH}" height="{height}"/>
<text class="head" x="{MARGIN}" y="31">{title}</text>
{body}</svg>
"#
    )
}

/// One panel as an element of an HTML page, which has [`STYLE`] once for all of them.
pub(crate) fn drawing(panel: &Panel, window: Window, width: f64) -> String {
    let legend = Legend::new(panel, width);
    let (mut body, height) = (String::new(), panel::HEIGHT + legend.height());
    panel::draw(&mut body, panel, &legend, window, width);
    let title = escaped(&panel.title);
    format!(r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">{body}</svg>"#)
}

/// To a tenth of a pixel, without a zero that says nothing.
fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}
