//! What may be asked for.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use service_runtime::settings::duration;

use crate::load::watch::Named;

/// More would be a load of hours, and a report too large to look at.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Requests per second of a spike before and after it, if nothing is said.
const BASE_RATE: f64 = 200.0;

/// Which load, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// What is asked
    #[arg(value_enum, default_value_t = Scenario::Mix)]
    pub scenario: Scenario,
    /// The shop
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5001")]
    pub url: String,
    /// Closed loop: users at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub users: u32,
    /// Closed loop: users who come each second
    #[arg(long, value_name = "NUMBER", default_value_t = 10.0, value_parser = rate)]
    pub ramp: f64,
    /// Closed loop: how long a user thinks before the next request, such as 1s-3s, or none
    #[arg(long, value_name = "TIME", default_value_t = Think(Some((Duration::from_secs(1), Duration::from_secs(3)))))]
    pub think: Think,
    /// Open loop instead: requests per second, whatever became of those before. A spike is always one
    #[arg(long, value_name = "NUMBER", value_parser = rate, conflicts_with_all = ["users", "ramp", "think"])]
    pub rate: Option<f64>,
    /// Spike: so many times the rate in its middle third
    #[arg(long, value_name = "NUMBER", default_value_t = 5.0, value_parser = rate)]
    pub times: f64,
    /// Open loop: requests on their way at a time, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = in_flight)]
    pub in_flight: usize,
    /// How long: a duration like 60s, at most 1h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = length)]
    pub duration: Duration,
    /// So much of it at the beginning is shown and not counted
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration_or_nothing)]
    pub warm_up: Duration,
    /// What is asked follows from it, but for the keys of the orders
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// How long a request may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = length)]
    pub timeout: Duration,
    /// Write what came of it as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write it as one page with plots, too
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Show what this process uses; as often as there are some
    #[arg(long, value_name = "NAME=PID")]
    pub process: Vec<Named>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Product reads
    Products,
    /// Orders
    Orders,
    /// Three product reads to one order
    Mix,
    /// The mix in an open loop: a rate, a multiple of it for a third of the time, and the rate again
    Spike,
}

/// How long a user thinks, at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Think(pub Option<(Duration, Duration)>);

impl Settings {
    /// The rate of an open loop; none if the loop is closed.
    pub fn rate(&self) -> Option<f64> {
        let spike = (self.scenario == Scenario::Spike).then_some(BASE_RATE);
        self.rate.or(spike)
    }
}

impl FromStr for Think {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected two durations such as 1s-3s, or none";
        if text == "none" {
            return Ok(Self(None));
        }
        let (least, most) = text.split_once('-').ok_or(FORM)?;
        match (duration_or_nothing(least), duration_or_nothing(most)) {
            (Ok(least), Ok(most)) if least <= most && most <= LONGEST => Ok(Self(Some((least, most)))),
            _ => Err(FORM),
        }
    }
}

impl Display for Think {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some((least, most)) => write!(f, "{least:?}-{most:?}"),
        }
    }
}

impl Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Products => "products",
            Self::Orders => "orders",
            Self::Mix => "mix",
            Self::Spike => "spike",
        })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("expected a number above 0 and up to 1000000".to_owned()),
    }
}

fn in_flight(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err("expected a number from 1 to 10000".to_owned()),
    }
}

fn length(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(length) if !length.is_zero() && length <= LONGEST => Ok(length),
        Ok(_) => Err("expected a duration above 0 and up to 1h".to_owned()),
        Err(error) => Err(error),
    }
}

fn duration_or_nothing(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { duration(text) }
}
