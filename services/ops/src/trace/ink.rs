//! Lines in colours, or without them.

use std::fmt::Write;

/// How a piece of a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    /// What is not the first thing to read.
    Faint,
    Bold,
    Good,
    /// Not as usual, and not wrong.
    Notable,
    Bad,
    /// Of one service; a number that stands for it.
    Service(usize),
}

/// Colours of services; none of them is that of something good or bad.
const SERVICES: [&str; 6] = ["36", "34", "35", "96", "94", "95"];

impl Ink {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Faint => Some("2"),
            Self::Bold => Some("1"),
            Self::Good => Some("32"),
            Self::Notable => Some("33"),
            Self::Bad => Some("31"),
            Self::Service(number) => SERVICES.get(number % SERVICES.len()).copied(),
        }
    }
}

/// A line of pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Ink, String)>);

impl Line {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::default().with(Ink::Plain, text)
    }

    pub(super) fn with(mut self, ink: Ink, text: impl Into<String>) -> Self {
        self.0.push((ink, text.into()));
        self
    }

    /// The text as a terminal takes it, without spaces at the end.
    pub(super) fn render(&self, colours: bool) -> String {
        let mut rendered = String::new();
        let last = self.0.iter().rposition(|(_, text)| !text.trim_end().is_empty());
        for (place, (ink, text)) in self.0.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            let text = if Some(place) == last { text.trim_end() } else { text };
            match ink.code().filter(|_| colours && !text.trim().is_empty()) {
                // Writing to a string does not fail.
                Some(code) => drop(write!(rendered, "\x1b[{code}m{text}\x1b[0m")),
                None => rendered.push_str(text),
            }
        }
        rendered
    }
}

/// Exactly this many characters: cut with a mark, or filled up.
pub(super) fn fit(text: &str, width: usize) -> String {
    let text = if width == 0 { String::new() } else { crate::replay::text::line(text, width) };
    format!("{text:<width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_around_the_text_and_only_when_asked_for() {
        let line = Line::plain("a ").with(Ink::Bad, "b").with(Ink::Faint, "  ").with(Ink::Good, "c  ");
        assert_eq!(line.render(false), "a b  c");
        assert_eq!(line.render(true), "a \x1b[31mb\x1b[0m  \x1b[32mc\x1b[0m");
        assert_eq!(Line::default().with(Ink::Bold, "  ").render(true), "");
    }

    #[test]
    fn a_column_has_its_width_whatever_is_in_it() {
        assert_eq!(
            (fit("abc", 5), fit("abcdef", 5), fit("a\nb", 3)),
            ("abc  ".to_owned(), "abcd…".to_owned(), "a b".to_owned())
        );
        assert_eq!(fit("abc", 0), "");
    }
}
