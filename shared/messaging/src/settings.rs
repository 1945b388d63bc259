//! Settings that every user of Kafka shares.

use std::time::Duration;

/// Where the brokers are.
#[derive(Clone, Debug, clap::Args)]
pub struct KafkaSettings {
    /// Kafka brokers to start from: host:port, separated by commas
    #[arg(long = "kafka-brokers", env = "KAFKA_BROKERS", default_value = "127.0.0.1:19092", value_parser = brokers)]
    pub brokers: String,
}

/// When a failed delivery is tried again.
#[derive(Clone, Debug, clap::Args)]
pub struct RetrySettings {
    /// Attempts before a message goes to dead letters: a number from 1 to 100. More ride out longer troubles of a single message
    #[arg(long, env = "RETRY_MAX_ATTEMPTS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub retry_max_attempts: u32,
    /// Wait after the first failure, doubled after each further one: a duration like 500ms or 1s
    #[arg(long, env = "RETRY_BASE", default_value = "1s", value_parser = duration)]
    pub retry_base: Duration,
    /// Longest wait between two attempts, also while a dependency is away: a duration like 8s
    #[arg(long, env = "RETRY_CAP", default_value = "8s", value_parser = duration)]
    pub retry_cap: Duration,
}

impl RetrySettings {
    /// The wait before attempt `failures + 1`: base, twice the base, … up to the cap; then up to a quarter off, so that messages
    /// that failed together do not come back together.
    pub fn wait_after(&self, failures: u32) -> Duration {
        let doubled =
            self.retry_base.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.retry_cap).mul_f64(rand::random_range(0.75..=1.0))
    }
}

/// When a consumer stops to trust what it sees.
#[derive(Clone, Debug, clap::Args)]
pub struct GuardSettings {
    /// Dead letters of one process a minute beyond which its whole group pauses until `ops resume`: a number from 1 to 1000000. Records that
    /// cannot be read do not count. Lower notices a broken handler after less damage
    #[arg(long, env = "DEAD_LETTERS_PER_MINUTE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub dead_letters_per_minute: u32,
    /// A handler that works on one message, or one batch, for longer is stuck, and liveness fails: a duration like 60s. Above every
    /// time-out that the handler has
    #[arg(long, env = "HANDLER_STUCK_AFTER", default_value = "60s", value_parser = duration)]
    pub stuck_after: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self { dead_letters_per_minute: 100, stuck_after: Duration::from_secs(60) }
    }
}

fn brokers(text: &str) -> Result<String, String> {
    let sound = text.split(',').all(|broker| {
        broker
            .trim()
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    });
    if sound { Ok(text.to_owned()) } else { Err("expected host:port, separated by commas".to_owned()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let error = || "expected a duration like 500ms or 2s, above zero".to_owned();
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(error)?, 1000),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(error)?;
    if millis == 0 { Err(error()) } else { Ok(Duration::from_millis(millis)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_the_base_up_to_the_cap_with_up_to_a_quarter_off() {
        let settings = RetrySettings {
            retry_max_attempts: 5,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(8),
        };
        for (failures, full) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (40, 8.0), (u32::MAX, 8.0)]
        {
            let wait = settings.wait_after(failures).as_secs_f64();
            assert!((full * 0.75..=full).contains(&wait), "after {failures} failures: {wait} s");
        }
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        assert!(brokers("localhost").is_err() && brokers("a:1,").is_err() && brokers("a:1,b:99999").is_err());
        assert!(brokers("a:1,b:2").is_ok());
        assert!(duration("0s").is_err() && duration("5").is_err() && duration("-1s").is_err());
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    }
}
