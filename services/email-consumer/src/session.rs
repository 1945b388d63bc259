//! A session with an SMTP server, and how a mail goes through it.

use lettre::Message;
use lettre::address::Envelope;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::response::Response;
use lettre::transport::smtp::{self};

/// An open session. After an error it is over.
pub(crate) struct Session {
    connection: AsyncSmtpConnection,
    /// The server reads commands ahead of its answers (RFC 2920).
    pipelining: bool,
}

/// Whether an answer to EHLO says so.
pub(crate) fn offers_pipelining(hello: &Response) -> bool {
    hello.message().skip(1).any(|line| line.trim().eq_ignore_ascii_case("PIPELINING"))
}

impl Session {
    pub(crate) fn new(connection: AsyncSmtpConnection, pipelining: bool) -> Self {
        Self { connection, pipelining }
    }

    /// Asks the server whether it is still there.
    pub(crate) async fn is_alive(&mut self) -> bool {
        self.connection.test_connected().await
    }

    /// Hands in a mail: two round trips where the server allows it, else one for each command.
    pub(crate) async fn send(&mut self, mail: &Message) -> Result<(), smtp::Error> {
        let (envelope, text) = (mail.envelope(), mail.formatted());
        // What needs more than ASCII takes parameters that lettre knows.
        let mut addresses = envelope.to().iter().chain(envelope.from());
        let plain = addresses.all(|address| AsRef::<str>::as_ref(address).is_ascii()) && text.is_ascii();
        match str::from_utf8(&text) {
            Ok(text) if plain && self.pipelining => self.pipeline(envelope, text).await,
            _ => self.connection.send(envelope, &text).await.map(drop),
        }
    }

    async fn pipeline(&mut self, envelope: &Envelope, text: &str) -> Result<(), smtp::Error> {
        let mut commands = Mail::new(envelope.from().cloned(), Vec::new()).to_string();
        for to in envelope.to() {
            commands += &Rcpt::new(to.clone(), Vec::new()).to_string();
        }
        commands += &Data.to_string();
        // The first refusal is the one that counts: those behind it follow from it.
        self.connection.command(commands).await?;
        for _ in envelope.to() {
            self.connection.read_response().await?;
        }
        self.connection.read_response().await?;
        self.connection.command(stuffed(text)).await.map(drop)
    }
}

/// The text as it goes over the line, its end included. A dot that begins a line is doubled (RFC 5321, 4.5.2).
fn stuffed(text: &str) -> String {
    let mut stuffed = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive("\r\n") {
        if line.starts_with('.') {
            stuffed.push('.');
        }
        stuffed.push_str(line);
    }
    if !stuffed.ends_with("\r\n") {
        stuffed.push_str("\r\n");
    }
    stuffed.push_str(".\r\n");
    stuffed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_begins_with_a_dot_is_not_taken_for_the_end() {
        assert_eq!(stuffed("a.b\r\n.\r\n..\r\nc"), "a.b\r\n..\r\n...\r\nc\r\n.\r\n");
        assert_eq!(stuffed(""), "\r\n.\r\n");
        assert_eq!(stuffed("a\r\n"), "a\r\n.\r\n");
    }

    #[test]
    fn pipelining_is_what_the_server_says_it_is() {
        let offers = |lines: &str| offers_pipelining(&lines.parse().unwrap());
        assert!(offers("250-mail.example.com\r\n250-SIZE 1000\r\n250-pipelining\r\n250 8BITMIME\r\n"));
        assert!(!offers("250-PIPELINING\r\n250 SIZE 1000\r\n"), "the first line is a name");
        assert!(!offers("250 mail.example.com\r\n"));
    }
}
