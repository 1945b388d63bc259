//! One SMTP connection from greeting to goodbye.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::command::{self, Command};
use super::lines::{Line, read_line};
use super::message;
use crate::channel::Channel;
use crate::mask;
use crate::provider::{Message, Provider, Reply};

/// How long an answer may take to be taken by the other side.
const WRITE: Duration = Duration::from_secs(10);

/// Bytes of answers that wait for others.
const MOST_ANSWERS: usize = 4096;

/// Of a message that is too long, this many times the limit is read and thrown away to get at its end; then the
/// connection is closed.
const PATIENCE: usize = 8;

/// What follows a command.
enum Next {
    Answer(&'static str),
    Hello { extended: bool },
    Goodbye,
    Transfer,
}

struct Session<'a> {
    stream: BufReader<TcpStream>,
    provider: &'a Provider,
    limits: &'a Limits,
    line: Vec<u8>,
    /// Answers that wait for those of the commands that are there already (RFC 2920, 3.2).
    answers: Vec<u8>,
    greeted: bool,
    mail: Option<Mail>,
}

/// A message whose envelope is being given.
#[derive(Default)]
struct Mail {
    recipients: Vec<String>,
}

/// Serves one connection. An error is a connection that broke or a sender that fell silent.
pub(super) async fn serve(
    stream: TcpStream,
    provider: &Provider,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    // Answers are single small writes that the other side waits for.
    stream.set_nodelay(true)?;
    let mut session = Session {
        stream: BufReader::new(stream),
        provider,
        limits,
        line: Vec::new(),
        answers: Vec::new(),
        greeted: false,
        mail: None,
    };
    session.answer("220 provider-sim ESMTP").await?;
    let ended = session.converse(shutdown).await;
    session.send_answers().await.and(ended)
}

impl Session<'_> {
    /// Until the connection is to be closed.
    async fn converse(&mut self, shutdown: &CancellationToken) -> io::Result<()> {
        loop {
            let line = tokio::select! {
                // Stopping first: a sender that never pauses must not put it off. It tries its command again elsewhere.
                biased;
                () = shutdown.cancelled() => return self.answer("421 4.3.2 shutting down").await,
                line = read_line(&mut self.stream, &mut self.line, self.limits.line, self.limits.idle) => line,
            };
            let next = match line {
                Ok(Line::Whole) => self.obey(),
                Ok(Line::TooLong) => Next::Answer("500 5.5.2 line too long"),
                Ok(Line::BareLineFeed) => Next::Answer("500 5.5.2 a line ends in CR LF"),
                Ok(Line::End) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return self.answer("421 4.4.2 idle for too long").await;
                }
                Err(error) => return Err(error),
            };
            match next {
                Next::Answer(answer) => self.answer(answer).await?,
                Next::Hello { extended } => self.hello(extended).await?,
                Next::Goodbye => return self.answer("221 2.0.0 goodbye").await,
                Next::Transfer => {
                    if !self.transfer().await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn obey(&mut self) -> Next {
        let command = command::parse(&self.line);
        Next::Answer(match (command, &mut self.mail) {
            (Command::Hello { extended }, _) => return Next::Hello { extended },
            (Command::Quit, _) => return Next::Goodbye,
            (Command::Noop, _) => "250 2.0.0 fine",
            (Command::Verify, _) => "252 2.1.5 cannot say, send and see",
            (Command::Reset, mail) => {
                *mail = None;
                "250 2.0.0 forgotten"
            }
            (Command::Wrong(answer), _) => answer,
            (Command::Mail { .. }, _) if !self.greeted => "503 5.5.1 say hello first",
            (Command::Mail { .. }, Some(_)) => "503 5.5.1 one message at a time",
            (Command::Mail { size }, None) if size > self.limits.message as u64 => {
                "552 5.3.4 message too long"
            }
            (Command::Mail { .. }, mail @ None) => {
                *mail = Some(Mail::default());
                "250 2.1.0 sender accepted"
            }
            (Command::Recipient(_) | Command::Data, None) => "503 5.5.1 MAIL comes first",
            (Command::Recipient(_), Some(mail)) if mail.recipients.len() == self.limits.recipients => {
                "452 4.5.3 too many recipients"
            }
            (Command::Recipient(address), Some(mail)) => {
                mail.recipients.push(address);
                "250 2.1.5 recipient accepted"
            }
            (Command::Data, Some(mail)) if mail.recipients.is_empty() => "503 5.5.1 RCPT comes first",
            (Command::Data, Some(_)) => return Next::Transfer,
        })
    }

    async fn hello(&mut self, extended: bool) -> io::Result<()> {
        self.greeted = true;
        self.mail = None;
        if !extended {
            return self.answer("250 provider-sim").await;
        }
        let size = self.limits.message;
        self.answer(&format!(
            "250-provider-sim\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250-SIZE {size}\r\n\
             250 ENHANCEDSTATUSCODES"
        ))
        .await
    }

    /// Takes the text of a message and answers for it; false if the connection is to be closed.
    async fn transfer(&mut self) -> io::Result<bool> {
        self.answer("354 end with a line of one dot").await?;
        let received = timeout(self.limits.transfer, self.receive()).await;
        let mail = self.mail.take().unwrap_or_default();
        let text = match received {
            Ok(Ok(Ok(text))) => text,
            Ok(Ok(Err(refusal))) => {
                self.answer(refusal).await?;
                return Ok(!refusal.starts_with("421"));
            }
            Ok(Err(error)) if error.kind() != io::ErrorKind::TimedOut => return Err(error),
            Ok(Err(_)) | Err(_) => {
                self.answer("421 4.4.2 the message took too long").await?;
                return Ok(false);
            }
        };
        let parts = message::parts(&text);
        let reply = self
            .provider
            .deliver(Message {
                channel: Channel::Email,
                key: parts.message_id,
                order_id: parts.order_id,
                to: mail.recipients.first().map(|address| mask::email(address)).unwrap_or_default(),
                // Servers on the way add header fields, so two copies of one message need not be equal.
                body: None,
                preview: parts.preview,
            })
            .await;
        match reply {
            Ok(Reply::Success { id, repeated: false }) => {
                self.answer(&format!("250 2.0.0 taken as {id}")).await?
            }
            Ok(Reply::Success { id, repeated: true }) => {
                self.answer(&format!("250 2.0.0 was taken before as {id}")).await?;
            }
            Ok(Reply::Silence) => return Ok(false),
            Ok(Reply::Refusal) => self.answer("451 4.3.0 try again later").await?,
            Ok(Reply::KeyOfAnotherBody) => self.answer("554 5.6.0 Message-ID of another message").await?,
            Err(_) => self.answer("451 4.3.1 the journal cannot be written").await?,
        }
        Ok(true)
    }

    /// Reads up to the line of one dot. The inner error is an answer: the text was read to its end (or is far too long)
    /// and is refused.
    async fn receive(&mut self) -> io::Result<Result<Vec<u8>, &'static str>> {
        let mut text = Vec::new();
        let mut read = 0;
        let mut refusal = None;
        loop {
            match read_line(&mut self.stream, &mut self.line, self.limits.line, self.limits.idle).await? {
                Line::Whole if self.line == b"." => break,
                Line::Whole => {}
                Line::TooLong => refusal = Some("554 5.6.0 a line of the message is too long"),
                Line::BareLineFeed => refusal = Some("554 5.6.0 a line of the message does not end in CR LF"),
                Line::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            // The sender doubled a dot at the beginning of a line (RFC 5321, 4.5.2).
            let line = self.line.strip_prefix(b".").unwrap_or(&self.line);
            read += self.line.len() + 2;
            if read > self.limits.message {
                refusal = Some("552 5.3.4 message too long");
                text = Vec::new();
            }
            if read > self.limits.message.saturating_mul(PATIENCE) {
                return Ok(Err("421 4.3.0 message far too long"));
            }
            if refusal.is_none() {
                text.extend_from_slice(line);
                text.extend_from_slice(b"\r\n");
            }
        }
        Ok(refusal.map_or(Ok(text), Err))
    }

    /// Answers once no further command is there to be answered with it.
    async fn answer(&mut self, answer: &str) -> io::Result<()> {
        self.answers.extend_from_slice(answer.as_bytes());
        self.answers.extend_from_slice(b"\r\n");
        if self.stream.buffer().contains(&b'\n') && self.answers.len() < MOST_ANSWERS {
            return Ok(());
        }
        self.send_answers().await
    }

    async fn send_answers(&mut self) -> io::Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        timeout(WRITE, self.stream.write_all(&self.answers))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.answers.clear();
        Ok(())
    }
}
