//! Settings that all consumers share.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use messaging::consumer::GroupProtocol;
use messaging::{GuardSettings, KafkaSettings, RetrySettings};
use service_runtime::settings;

const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// What every consumer can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct ConsumerArgs {
    /// Brokers.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Backoff and attempts.
    #[command(flatten)]
    pub retry: RetrySettings,
    /// When to stop.
    #[command(flatten)]
    pub guard: GuardSettings,
    /// How long it is remembered which events were applied: a duration like 60d, or forever. Longer than an event is kept on its way through
    /// dead letters and one replay: the retention of its topic and of the group's retry and dead-letter topics, each with its
    /// segment.ms, taken together. Shorter is refused at the start; an event that comes later still is refused as beyond-horizon;
    /// longer costs disk
    #[arg(long, env = "INBOX_RETENTION", default_value = "60d")]
    pub inbox_retention: Retention,
    /// What a dead letter does to later messages of its key: continue handles them, which is right if messages of a key do not build
    /// on each other, as with orders; hold-key sends them to dead letters too, and a replay brings them back in order
    #[arg(long, env = "AFTER_DEAD_LETTER", value_enum, default_value_t = AfterDeadLetter::Continue)]
    pub after_dead_letter: AfterDeadLetter,
    /// Who deals out the partitions of a group to its processes: classic, one of them, or consumer, the broker (KIP-848; Kafka 4.0 or later),
    /// which moves fewer of them. All processes of a group have to agree, so change it while none runs. Under consumer, ops groups and ops pause do not see
    /// the members
    #[arg(long, env = "GROUP_PROTOCOL", value_enum, default_value_t = GroupProtocol::Classic)]
    pub group_protocol: GroupProtocol,
}

/// How long the inbox remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Nothing is pruned.
    Forever,
    /// What is older may be pruned. Above zero, at most ten years.
    For(Duration),
}

/// The form that a [`Retention`] has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number with a unit (ms, s, m, h or d) up to 3650d such as 60d, or forever")]
pub struct BadRetention;

impl FromStr for Retention {
    type Err = BadRetention;

    fn from_str(text: &str) -> Result<Self, BadRetention> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        match settings::duration(text) {
            Ok(time) if !time.is_zero() && time <= LONGEST => Ok(Self::For(time)),
            _ => Err(BadRetention),
        }
    }
}

/// What happens to records of a key behind one that went to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AfterDeadLetter {
    /// They are handled.
    Continue,
    /// They go to dead letters too, until a replay has brought them back in their order.
    HoldKey,
}

/// A time in the largest unit that fits without a rest.
pub(crate) struct Text(pub(crate) Duration);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let unit = units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
        let (unit, name) = unit.unwrap_or((1, "ms"));
        write!(f, "{}{name}", millis / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_a_time_above_zero_or_forever() {
        assert_eq!("forever".parse(), Ok(Retention::Forever));
        assert_eq!("60d".parse(), Ok(Retention::For(Duration::from_secs(60 * 86_400))));
        for wrong in ["", "0d", "60", "60 d", "3651d", "Forever", "never"] {
            assert_eq!(wrong.parse::<Retention>(), Err(BadRetention), "{wrong}");
        }
    }

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits() {
        for (seconds, text) in [(49 * 86_400, "49d"), (36 * 3600, "36h"), (90, "90s"), (0, "0ms")] {
            assert_eq!(Text(Duration::from_secs(seconds)).to_string(), text);
        }
        assert_eq!(Text(Duration::from_millis(1500)).to_string(), "1500ms");
    }
}
