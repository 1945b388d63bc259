//! Which colour is who, below a panel.

use std::fmt::Write;

use super::super::panels::Panel;
use super::px;
use super::text::{escaped, width};

const ROW: f64 = 17.0;
/// The line before a name, and the room after it.
const SAMPLE: f64 = 16.0;
const SPACE: f64 = 12.0;

/// Who is who, broken into rows.
pub(super) struct Legend {
    entries: Vec<Entry>,
    rows: usize,
}

struct Entry {
    name: String,
    dashed: bool,
    x: f64,
    row: usize,
}

impl Legend {
    pub(super) fn new(panel: &Panel, room: f64) -> Self {
        let (mut entries, mut x, mut row) = (Vec::new(), 0.0, 0);
        for (side, dashed) in panel.sides().zip([false, true]) {
            for series in &side.curves {
                let wide = SAMPLE + 5.0 + width(&series.name);
                if x > 0.0 && x + wide > room {
                    (x, row) = (0.0, row + 1);
                }
                entries.push(Entry { name: series.name.clone(), dashed, x, row });
                x += wide + SPACE;
            }
        }
        Self { rows: if entries.is_empty() { 0 } else { row + 1 }, entries }
    }

    pub(super) fn height(&self) -> f64 {
        self.rows as f64 * ROW
    }

    pub(super) fn draw(&self, out: &mut String, y: f64) {
        for Entry { name, dashed, x, row } in &self.entries {
            let middle = y + *row as f64 * ROW + ROW / 2.0;
            let (class, from, middle, end) = (class(name, *dashed), px(*x), px(middle), px(x + SAMPLE + 5.0));
            let _ = write!(out, r#"<path class="{class}" d="M{from} {middle}h{SAMPLE}"/>"#);
            let _ = write!(out, r#"<text x="{end}" y="{middle}" dy="4">{}</text>"#, escaped(name));
        }
    }
}

/// How a curve is drawn. A process and its consumer group have the same colour wherever they are, and what should lie on one line with others is a
/// broad one behind them.
pub(super) fn class(name: &str, dashed: bool) -> String {
    let colour = match name {
        "accepted" => "accepted",
        "published" | "outbox-relay" | "rows" => "relay",
        "order-api" | "p99" => "api",
        "p50" => "pale",
        "hits" => "cache",
        "oldest row" => "age",
        "provider-sim" => "provider",
        "baseline" => "baseline",
        "p95" => "email",
        "well" => "pale",
        "postgres" | "kafka" | "redis" | "loadtest" => name,
        "refused" | "failed" | "unknown" | "repeated" => "bad",
        name => {
            const CONSUMERS: [&str; 4] = ["email", "sms", "inventory", "analytics"];
            let part = name.split('-').next().unwrap_or_default();
            CONSUMERS.into_iter().find(|known| *known == part).unwrap_or("other")
        }
    };
    format!("l {colour}{}", if dashed { " dashed" } else { "" })
}
