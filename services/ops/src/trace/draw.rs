//! The tree of spans as lines.

use super::ink::{Ink, Line, fit};
use super::measure::{Scale, offset, time};
use super::notes::{Notes, Wait, notes};
use super::span::Span;
use super::story::Story;
use super::tree::{Row, What, rows};
use crate::replay::text;

/// Lines are never made for less.
pub(super) const NARROWEST: usize = 80;
/// Nor for more: a name may be long, and what fills a column up has a bound.
const WIDEST: usize = 500;
/// The columns of numbers.
const OFFSET: usize = 10;
const DURATION: usize = 9;
/// Characters between the columns: the bar has one more before it.
const GAPS: usize = 5;
/// Bounds of the others.
const SERVICE: (usize, usize) = (7, 18);
const NAME: usize = 20;
const BAR: (usize, usize) = (10, 60);

/// A heading, and a line or more for every span.
pub(super) fn tree(story: &Story, width: usize) -> Vec<Line> {
    let rows = rows(story);
    let page = Page::new(story, &rows, width.clamp(NARROWEST, WIDEST));
    let mut lines = vec![page.heading()];
    for row in &rows {
        match row.what {
            What::Span(index) => {
                if let (Some(span), Some(notes)) = (story.spans.get(index), page.notes.get(index)) {
                    lines.extend(notes.wait.as_ref().map(|wait| page.wait(row, wait)));
                    lines.push(page.span(row, span, notes));
                    lines.extend(notes.remark.as_ref().map(|(ink, remark)| page.remark(row, *ink, remark)));
                }
            }
            What::NotReceived(parent) => {
                let text = format!("parent not received ({})", text::line(parent, 40));
                lines.push(Line::default().with(Ink::Notable, text));
            }
        }
    }
    lines
}

/// The widths of the columns, and what is needed for all lines.
struct Page {
    width: usize,
    name: usize,
    service: usize,
    scale: Scale,
    notes: Vec<Notes>,
    /// By the order in which they come up; a colour for each.
    services: Vec<String>,
}

impl Page {
    fn new(story: &Story, rows: &[Row<'_>], width: usize) -> Self {
        let notes = notes(story, rows);
        let (mut name, mut service, mut services) = (NAME, SERVICE.0, Vec::<String>::new());
        for row in rows {
            let What::Span(index) = row.what else { continue };
            let (Some(span), Some(notes)) = (story.spans.get(index), notes.get(index)) else { continue };
            let title = title(span).chars().count() + mark(notes).chars().count();
            name = name.max(row.rails.len() * 2 + title);
            service = service.max(span.service.chars().count());
            if !services.contains(&span.service) {
                services.push(span.service.clone());
            }
        }
        let service = service.min(SERVICE.1);
        let rest = width.saturating_sub(service + OFFSET + DURATION + GAPS);
        let name = name.min(rest.saturating_sub(BAR.0));
        let cells = rest.saturating_sub(name).min(BAR.1);
        let scale = Scale { from_us: story.began_us(), to_us: story.ended_us(), cells };
        Self { width, name, service, scale, notes, services }
    }

    fn heading(&self) -> Line {
        let total = time(self.scale.to_us.saturating_sub(self.scale.from_us));
        let (name, service, cells) = (self.name, self.service, self.scale.cells.saturating_sub(1));
        Line::default().with(
            Ink::Faint,
            format!(
                "{:<name$} {:<service$} {:>OFFSET$} {:>DURATION$}  0{total:>cells$}",
                "SPAN", "SERVICE", "AT", "TOOK"
            ),
        )
    }

    fn span(&self, row: &Row<'_>, span: &Span, notes: &Notes) -> Line {
        let prefix = prefix(&row.rails);
        let (mark, room) = (mark(notes), self.name.saturating_sub(prefix.chars().count()));
        let title = text::line(&title(span), room.saturating_sub(mark.chars().count()).max(1));
        let service = self.services.iter().position(|known| *known == span.service).unwrap_or_default();
        let ink = if span.failure.is_some() { Ink::Bad } else { Ink::Plain };
        let (from, to) = self.scale.cover(span.start_us, span.end_us());
        let bar =
            if self.scale.is_short(span.duration_us) { "▏".to_owned() } else { "█".repeat(to - from) };
        let used = prefix.chars().count() + title.chars().count();
        let at = offset(span.start_us.saturating_sub(self.scale.from_us));
        Line::default()
            .with(Ink::Faint, prefix)
            .with(ink, title)
            .with(Ink::Faint, fit(&mark, self.name.saturating_sub(used)))
            .with(Ink::Service(service), format!(" {}", fit(&span.service, self.service)))
            .with(Ink::Plain, format!(" {at:>OFFSET$} {:>DURATION$}  {:from$}", time(span.duration_us), ""))
            .with(if span.failure.is_some() { Ink::Bad } else { Ink::Service(service) }, bar)
    }

    /// Comes before the line of its span.
    fn wait(&self, row: &Row<'_>, wait: &Wait) -> Line {
        let prefix = match row.rails.split_last() {
            Some((_, outer)) => format!("{}│ ", rails(outer)),
            None => String::new(),
        };
        let width = self.name + self.service + OFFSET + DURATION + GAPS - 2;
        let (from, to) = self.scale.cover(wait.from_us, wait.to_us);
        let text = fit(&format!("{prefix}{}", wait.text()), width);
        Line::default().with(Ink::Faint, format!("{text}  {:from$}{}", "", "·".repeat(to - from)))
    }

    /// Comes after the line of its span.
    fn remark(&self, row: &Row<'_>, ink: Ink, remark: &str) -> Line {
        let prefix = format!("{}{}", rails(&row.rails), rails(&[row.has_below]));
        let mark = if ink == Ink::Bad { "!" } else { "·" };
        let room = self.width.saturating_sub(prefix.chars().count() + 2);
        Line::default().with(Ink::Faint, prefix).with(ink, format!("{mark} {}", text::line(remark, room)))
    }
}

fn title(span: &Span) -> String {
    format!("{}{}", if span.failure.is_some() { "! " } else { "" }, span.name)
}

fn mark(notes: &Notes) -> String {
    notes.mark.as_ref().map_or_else(String::new, |mark| format!(" {mark}"))
}

/// The levels beside a row, up to the branch that leads to it.
fn prefix(all: &[bool]) -> String {
    match all.split_last() {
        Some((own, outer)) => format!("{}{}", rails(outer), if *own { "├ " } else { "└ " }),
        None => String::new(),
    }
}

fn rails(levels: &[bool]) -> String {
    levels.iter().map(|more| if *more { "│ " } else { "  " }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn drawn(story: &Story, width: usize) -> Vec<String> {
        tree(story, width).iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn no_line_is_wider_than_the_page_which_is_never_narrower_than_80() {
        for (asked, width) in [(0, 80), (80, 80), (100, 100), (133, 133), (1000, 150)] {
            let lines = drawn(&sample::story(), asked);
            let widest = lines.iter().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{asked}:\n{}", lines.join("\n"));
        }
    }

    #[test]
    fn names_that_do_not_fit_are_cut_and_the_mark_of_a_batch_stays() {
        let lines = drawn(&sample::story(), 80);
        assert!(
            lines.iter().any(|line| line.contains("… (batch of 12) inventory-consumer")),
            "{}",
            lines.join("\n")
        );
    }

    #[test]
    fn a_name_without_end_is_cut_on_the_widest_page() {
        let story = Story::new("t", vec![Span::plain(&"a".repeat(100_000), None, 0, 1)], Vec::new());
        let widest = drawn(&story, usize::MAX).iter().map(|line| line.chars().count()).max();
        assert_eq!(widest, Some(WIDEST));
    }

    #[test]
    fn nothing_at_all_has_a_heading() {
        let lines = drawn(&Story::new("t", Vec::new(), Vec::new()), 100);
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_span_cannot_steer_the_terminal() {
        let lines =
            drawn(&Story::new("t", vec![Span::plain("a\x1b[2J\nb", Some("\x1b["), 0, 1)], Vec::new()), 100);
        assert!(lines.iter().all(|line| !line.contains(['\x1b', '\n'])), "{lines:?}");
    }
}
