//! Settings of the process.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use consumer_service::ConsumerArgs;
use contracts::topics;
use reqwest::Url;
use secrecy::SecretString;
use service_runtime::settings;

/// Confirms orders by text message.
#[derive(Clone, Parser)]
#[command(name = "sms-consumer", version)]
pub struct Config {
    /// Where health is served: ip:port
    #[arg(long, env = "SMS_ADDR", default_value = "127.0.0.1:5012")]
    pub http_addr: SocketAddr,

    /// Database of inbox and deliveries: postgres://user:password@host:port/database
    #[arg(
        long,
        env = "SMS_DATABASE_URL",
        hide_env_values = true,
        default_value = "postgres://sms:sms@127.0.0.1:15432/sms",
        value_parser = settings::postgres_url
    )]
    pub database_url: String,

    /// Where text messages are posted: http:// or https:// and a path. Another gateway is another provider: it honours the
    /// Idempotency-Key, or a repeat after a lost answer reaches the customer twice
    #[arg(
        long,
        env = "SMS_GATEWAY_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:5020/sms",
        value_parser = gateway_url
    )]
    pub gateway_url: Url,

    /// Token of the gateway, sent as `Authorization: Bearer`; without it, or with an empty one, no such header is sent
    #[arg(long, env = "SMS_GATEWAY_TOKEN", hide_env_values = true)]
    pub gateway_token: Option<SecretString>,

    /// Time for an answer of the gateway before it counts as away: a duration like 10s. Below the provider's own latency
    /// nothing is ever confirmed; a long one notices a dead gateway late
    #[arg(long, env = "SMS_TIMEOUT", default_value = "10s", value_parser = settings::duration)]
    pub gateway_timeout: Duration,

    /// Text messages on their way at a time: a number from 1 to 2000. The provider's latency times the wanted rate: 256 at 300 ms are 850 a second
    #[arg(long, env = "SMS_IN_FLIGHT", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub in_flight: u16,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take it as the description of the whole program")]
    pub consumer: ConsumerArgs,

    /// Where orders come from. Not to be set from outside: this and the group are part of the system's design, and only a test
    /// has reason for others.
    #[arg(skip = topics::ORDER_EVENTS)]
    pub topic: &'static str,

    /// The consumer group; it also names its topics of dead letters and of their return.
    #[arg(skip = topics::SMS_GROUP)]
    pub group: &'static str,
}

fn gateway_url(text: &str) -> Result<Url, &'static str> {
    let expected =
        "expected http:// or https:// with host and path, such as https://sms.example.com/messages";
    let url: Url = text.parse().map_err(|_| expected)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(expected) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_reached_over_http_and_nothing_else() {
        assert!(gateway_url("https://sms.example.com/messages?from=shop").is_ok());
        for wrong in ["", "sms.example.com", "ftp://sms.example.com", "smtp://sms.example.com", "http://"] {
            assert!(gateway_url(wrong).is_err(), "{wrong}");
        }
    }
}
