//! Times as an operator writes and reads them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use service_runtime::settings::duration;

/// How far the clocks of the processes, of the databases and of Kafka may be apart.
pub(crate) const CLOCKS: TimeDelta = TimeDelta::minutes(1);

/// Reads a time such as `2026-01-31T12:00:00Z`, or a duration back from now such as `15m`.
pub(crate) fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let expected =
        "expected a time such as 2026-01-31T12:00:00Z, or a duration back from now such as 15m".to_owned();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let back = duration(text).ok().and_then(|back| TimeDelta::from_std(back).ok());
    back.and_then(|back| Utc::now().checked_sub_signed(back)).ok_or(expected)
}

/// Refuses bounds between which nothing can be.
pub(crate) fn check_window(
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), &'static str> {
    match (since, until) {
        (Some(since), Some(until)) if since > until => Err("--since is later than --until"),
        (Some(since), _) if since > now => Err("--since is in the future"),
        _ => Ok(()),
    }
}

/// A time to the second, in UTC.
pub(crate) fn show(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long ago that was.
pub(crate) fn age(since: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - since).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_so_long_ago_and_nothing_else() {
        assert_eq!(parse("2026-01-31T13:00:00+01:00").unwrap().to_rfc3339(), "2026-01-31T12:00:00+00:00");
        let quarter = Utc::now() - parse("15m").unwrap();
        assert!((quarter.num_seconds() - 900).abs() <= 1, "{quarter}");
        for wrong in ["", "yesterday", "2026-01-31", "15", "9999999999999999h"] {
            assert!(parse(wrong).unwrap_err().starts_with("expected a time"), "{wrong}");
        }
    }

    #[test]
    fn a_window_that_ends_before_it_begins_or_begins_in_the_future_is_refused() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let check = |since, until| check_window(since, until, at(100).unwrap());
        for (since, until) in [
            (None, None),
            (at(100), None),
            (None, at(0)),
            (None, at(200)),
            (at(50), at(50)),
            (at(50), at(200)),
        ] {
            assert_eq!(check(since, until), Ok(()), "{since:?} {until:?}");
        }
        assert_eq!(check(at(60), at(50)), Err("--since is later than --until"));
        assert_eq!(check(at(300), at(200)), Err("--since is later than --until"));
        assert_eq!(check(at(101), None), Err("--since is in the future"));
        assert_eq!(check(at(101), at(200)), Err("--since is in the future"));
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        let ago = |seconds| age(Utc::now() - TimeDelta::seconds(seconds));
        assert_eq!([ago(59), ago(61), ago(7300), ago(-5)], ["59 s", "1 min", "2 h", "0 s"]);
    }
}
