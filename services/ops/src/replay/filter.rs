//! Which letters an operator means.

use chrono::{DateTime, Utc};

use super::place::LetterPlace;
use super::settings::Filters;

/// What the filters look at.
pub(super) struct Traits<'a> {
    pub(super) place: LetterPlace,
    pub(super) key: &'a [u8],
    pub(super) reason: &'a str,
    /// When the letter was written, in milliseconds since 1970.
    pub(super) at: Option<i64>,
}

impl Filters {
    /// Whether any is given.
    pub(super) fn any(&self) -> bool {
        let Self { reason, key, letters, except, since, until } = self;
        let places = !letters.is_empty() || !except.is_empty();
        reason.is_some() || key.is_some() || places || since.is_some() || until.is_some()
    }

    /// Whether a letter passes. One without a time passes no bound on it.
    pub(super) fn pass(&self, letter: &Traits<'_>) -> bool {
        let at = letter.at.and_then(DateTime::<Utc>::from_timestamp_millis);
        self.reason.as_ref().is_none_or(|text| letter.reason.contains(text.as_str()))
            && self.key.as_ref().is_none_or(|key| letter.key == key.as_bytes())
            && (self.letters.is_empty() || self.letters.contains(&letter.place))
            && !self.except.contains(&letter.place)
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at.is_some_and(|at| at <= until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_to_pass_every_filter_that_is_given() {
        let place = LetterPlace { partition: 3, offset: 17 };
        let letter = Traits { place, key: b"order", reason: "the gateway refused it", at: Some(5000) };
        let time = |milliseconds| DateTime::from_timestamp_millis(milliseconds);
        let reason = |text: &str| Filters { reason: Some(text.to_owned()), ..Filters::default() };
        let key = |text: &str| Filters { key: Some(text.to_owned()), ..Filters::default() };
        let letters = |letters: &[LetterPlace]| Filters { letters: letters.to_vec(), ..Filters::default() };
        let elsewhere = LetterPlace { partition: 3, offset: 18 };
        let except = |place| Filters { except: vec![place], ..Filters::default() };
        let between = |since, until| Filters { since: time(since), until: time(until), ..Filters::default() };

        for pass in [
            Filters::default(),
            reason("gateway"),
            key("order"),
            letters(&[elsewhere, place]),
            except(elsewhere),
            between(5000, 5000),
            Filters { key: Some("order".to_owned()), ..between(1000, 9000) },
        ] {
            assert!(pass.pass(&letter), "{pass:?}");
        }
        for stop in [
            reason("Gateway"),
            key("orde"),
            letters(&[elsewhere]),
            except(place),
            Filters { except: vec![place], ..letters(&[place]) },
            between(5001, 9000),
            between(1000, 4999),
            Filters { key: Some("another".to_owned()), ..reason("gateway") },
        ] {
            assert!(!stop.pass(&letter), "{stop:?}");
        }
        assert!(!between(1000, 9000).pass(&Traits { at: None, ..letter }));
    }
}
