//! Settings of the process.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use consumer_service::ConsumerArgs;
use contracts::topics;
use lettre::message::Mailbox;
use service_runtime::settings;

use crate::server::SmtpServer;

/// Confirms orders by e-mail.
#[derive(Clone, Parser)]
#[command(name = "email-consumer", version)]
pub struct Config {
    /// Where health is served: ip:port
    #[arg(long, env = "EMAIL_ADDR", default_value = "127.0.0.1:5011")]
    pub http_addr: SocketAddr,

    /// Database of inbox and deliveries: postgres://user:password@host:port/database
    #[arg(
        long,
        env = "EMAIL_DATABASE_URL",
        hide_env_values = true,
        default_value = "postgres://email:email@127.0.0.1:15432/email",
        value_parser = settings::postgres_url
    )]
    pub database_url: String,

    /// SMTP server: smtp://user:password@host:port (login and port may be left out) unencrypted, the same with ?tls=required for STARTTLS, smtps:// for TLS
    /// from the start. User and password percent-encoded. Another server is another provider: it honours the Message-ID as
    /// idempotency key, or a repeat after a lost answer reaches the customer twice
    #[arg(long, env = "SMTP_URL", hide_env_values = true, default_value = "smtp://127.0.0.1:5025")]
    pub smtp: SmtpServer,

    /// Time for an answer of the SMTP server before it counts as away: a duration like 10s. Below the provider's own latency
    /// nothing is ever confirmed; a long one notices a dead server late
    #[arg(long, env = "SMTP_TIMEOUT", default_value = "10s", value_parser = settings::duration)]
    pub smtp_timeout: Duration,

    /// Sender of the mails: `address` or `Name <address>`. A real provider accepts only addresses it knows to be yours
    #[arg(
        long,
        env = "EMAIL_FROM",
        default_value = "orderflow <orders@orderflow.example>",
        value_parser = mailbox
    )]
    pub from: Mailbox,

    /// E-mails on their way at a time: a number from 1 to 2000. The provider's latency times the wanted rate: 256 at 200 ms are 1280 a second
    #[arg(long, env = "EMAIL_IN_FLIGHT", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub in_flight: u16,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take it as the description of the whole program")]
    pub consumer: ConsumerArgs,

    /// Where orders come from. Not to be set from outside: this and the group are part of the system's design, and only a test
    /// has reason for others.
    #[arg(skip = topics::ORDER_EVENTS)]
    pub topic: &'static str,

    /// The consumer group; it also names its topics of dead letters and of their return.
    #[arg(skip = topics::EMAIL_GROUP)]
    pub group: &'static str,
}

fn mailbox(text: &str) -> Result<Mailbox, &'static str> {
    text.parse()
        .map_err(|_| "expected an e-mail address such as orders@example.com or Shop <orders@example.com>")
}
