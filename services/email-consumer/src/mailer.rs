//! Hands mails to the SMTP server over connections that are kept.
//!
//! Not lettre's own pool: its connections have no read time-out, and a send that is dropped half-way goes back into that
//! pool with the answer still to come. The next mail on it would take that answer for its own and be lost. Here a connection
//! is out of the pool while it is in use and comes back only after a complete, successful exchange; dropped in between, it is
//! closed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use consumer_service::ProviderCalls;
use lettre::Message;
use lettre::transport::smtp;
use telemetry::span::{Call, SpanKind, attribute, names};
use tokio::time::{Instant, timeout};

use crate::server::SmtpServer;
use crate::session::Session;

/// Idle connections that are kept, unless the caller says otherwise.
const KEPT: usize = 16;
/// After this the server may have closed the connection: asked before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// After this it probably has: servers close idle connections after a minute or more.
const KEPT_IDLE: Duration = Duration::from_secs(30);

/// Why a mail was not handed in. The texts name neither sender nor recipient, and nothing that the server said: servers
/// like to repeat addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No session: not connected, not encrypted, not welcome or not logged in. Says nothing about the mail.
    #[error("no session with the SMTP server: {0}")]
    NoSession(String),
    /// The session ended or fell silent in the middle. The mail may have been taken.
    #[error("the SMTP server gave no answer: {0}")]
    NoAnswer(String),
    /// 4yz: not this time.
    #[error("the SMTP server answered {0}")]
    Transient(u16),
    /// 5yz: never.
    #[error("the SMTP server answered {0}")]
    Permanent(u16),
    /// The server lacks what this mail needs, such as addresses outside ASCII.
    #[error("the SMTP server cannot carry this mail")]
    Unsupported,
}

/// A way to the SMTP server. Sends any number of mails at a time.
pub struct Mailer {
    server: SmtpServer,
    /// For a session to open, and for a mail to be answered.
    timeout: Duration,
    idle: Mutex<Vec<Idle>>,
    kept: usize,
    /// Why the last mail found no provider, until one does.
    trouble: Mutex<Option<String>>,
    calls: ProviderCalls,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl Mailer {
    /// Does not connect yet.
    pub fn new(server: SmtpServer, timeout: Duration) -> Self {
        let calls = ProviderCalls::new("smtp", &OUTCOMES);
        Self { server, timeout, idle: Mutex::default(), kept: KEPT, trouble: Mutex::default(), calls }
    }

    /// Keeps up to `connections` idle connections: as many as mails are sent at a time, or most of them pay for a new one.
    pub fn keeping(self, connections: usize) -> Self {
        Self { kept: connections, ..self }
    }

    /// How long its calls take.
    pub fn calls(&self) -> &ProviderCalls {
        &self.calls
    }

    /// Whether the provider could be reached when it was needed last.
    pub fn state(&self) -> Result<(), String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Hands in one mail and waits for the server to take it.
    pub async fn send(&self, mail: &Message) -> Result<(), SendError> {
        let started = Instant::now();
        let mut call = self.call();
        let result = self.try_send(mail).await;
        self.calls.note(outcome(&result), started.elapsed());
        if let Err(error) = &result {
            call.failed(outcome(&result), error.to_string());
        }
        drop(call);
        let trouble = match &result {
            Err(error @ (SendError::NoSession(_) | SendError::NoAnswer(_))) => Some(error.to_string()),
            _ => None,
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        result
    }

    /// There is no convention for SMTP: the general ones for who is called.
    fn call(&self) -> Call {
        Call::here("send e-mail", SpanKind::Client, || {
            let (host, port) = self.server.address();
            vec![
                attribute(names::NETWORK_PROTOCOL_NAME, "smtp"),
                attribute(names::SERVER_ADDRESS, host.to_owned()),
                attribute(names::SERVER_PORT, i64::from(port)),
            ]
        })
    }

    async fn try_send(&self, mail: &Message) -> Result<(), SendError> {
        let mut session = match timeout(self.timeout, self.session()).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return Err(SendError::NoSession(kind(&error))),
            Err(_) => return Err(SendError::NoSession(format!("nothing within {:?}", self.timeout))),
        };
        // On an error the session is over; dropping it closes the connection.
        match timeout(self.timeout, session.send(mail)).await {
            Ok(Ok(())) => {
                self.keep(session);
                Ok(())
            }
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(SendError::NoAnswer(format!("nothing within {:?}", self.timeout))),
        }
    }

    /// The session that was used last, so that the others grow old and go; else a new one.
    async fn session(&self) -> Result<Session, smtp::Error> {
        while let Some(mut kept) = self.take() {
            if kept.since.elapsed() <= TRUSTED_IDLE || kept.session.is_alive().await {
                return Ok(kept.session);
            }
        }
        self.server.connect().await
    }

    fn take(&self) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < KEPT_IDLE);
        idle.pop()
    }

    fn keep(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.kept {
            idle.push(Idle { session, since: Instant::now() });
        }
    }
}

/// For the metrics, and for `error.type`.
const OUTCOMES: [&str; 6] = ["taken", "no_session", "no_answer", "transient", "permanent", "unsupported"];

fn outcome(result: &Result<(), SendError>) -> &'static str {
    let [taken, no_session, no_answer, transient, permanent, unsupported] = OUTCOMES;
    match result {
        Ok(()) => taken,
        Err(SendError::NoSession(_)) => no_session,
        Err(SendError::NoAnswer(_)) => no_answer,
        Err(SendError::Transient(_)) => transient,
        Err(SendError::Permanent(_)) => permanent,
        Err(SendError::Unsupported) => unsupported,
    }
}

fn refusal(error: &smtp::Error) -> SendError {
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() => SendError::Permanent(code),
        Some(code) => SendError::Transient(code),
        None if error.is_client() => SendError::Unsupported,
        None => SendError::NoAnswer(kind(error)),
    }
}

/// The kind of an error. Its full text may hold what the server said.
fn kind(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("it answered {code}"),
        None if error.is_tls() => "TLS failed".to_owned(),
        None if error.is_timeout() => "connecting took too long".to_owned(),
        None if error.is_response() => "the connection ended or the answer is not SMTP".to_owned(),
        None if error.is_client() => "it lacks the login or the encryption that was asked for".to_owned(),
        None => "the connection failed".to_owned(),
    }
}
