//! Settings of `ops trace`.

use std::time::Duration;

use service_runtime::settings::{duration, postgres_url};

use super::order::Subject;

/// Which order, and where its spans are.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceSettings {
    /// The order: its id, or the id of its trace (32 hex digits)
    #[arg(value_name = "ORDER_ID")]
    pub subject: Subject,
    /// Wait until the trace is complete, and no longer than this: a duration such as 30s, which is also what is meant without one
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Jaeger: http://host:port
    #[arg(long, env = "JAEGER_URL", value_name = "URL", default_value = "http://127.0.0.1:16686", value_parser = http_url)]
    pub jaeger: String,
    /// Where people look at Jaeger's pages, if that is another address: http://host:port
    #[arg(long, env = "JAEGER_PAGES_URL", value_name = "URL", value_parser = http_url)]
    pub jaeger_pages: Option<String>,
    /// Print the spans as JSON and nothing else
    #[arg(long)]
    pub json: bool,
    /// Orders database: postgres://user:password@host:port/database
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true, value_parser = postgres_url,
          default_value = "postgres://orders:orders@127.0.0.1:15432/orders")]
    pub orders_database_url: String,
}

fn http_url(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("expected http://host:port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        settings: TraceSettings,
    }

    fn parse(arguments: &[&str]) -> Result<TraceSettings, clap::Error> {
        let order = "0192f1de-7c1b-7000-8000-0123456789ab";
        let arguments = ["trace", order].into_iter().chain(arguments.iter().copied());
        Command::try_parse_from(arguments).map(|command| command.settings)
    }

    #[test]
    fn a_wait_is_for_30_seconds_unless_it_says_otherwise() {
        let wait = |arguments: &[&str]| parse(arguments).unwrap().wait;
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&["--wait"]), Some(Duration::from_secs(30)));
        assert_eq!(wait(&["--wait=2s", "--json"]), Some(Duration::from_secs(2)));
        assert!(parse(&["--wait", "2s"]).is_err() && parse(&["--wait=2"]).is_err());
    }

    #[test]
    fn jaeger_is_asked_over_http() {
        assert_eq!(parse(&["--jaeger", "http://jaeger:16686/"]).unwrap().jaeger, "http://jaeger:16686");
        for wrong in ["jaeger:16686", "https://jaeger", "http://"] {
            assert!(parse(&["--jaeger", wrong]).is_err(), "{wrong}");
        }
    }
}
