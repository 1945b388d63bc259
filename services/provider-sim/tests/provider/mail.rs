//! E-mail over SMTP.

use std::time::Duration;

use lettre::AsyncTransport;
use provider_sim::smtp::Limits;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::sim::{Sim, mail};
use testkit::PATIENCE;

#[tokio::test]
async fn a_mail_is_delivered_once_however_often_it_is_sent() {
    let sim = Sim::calm().await;
    let mailer = sim.mailer();
    for _ in 0..3 {
        mailer.send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    }
    assert_eq!(sim.deliveries("email", "order-1").await, (1, 2));
    assert_eq!(sim.deliveries("sms", "order-1").await, (0, 0));
}

#[tokio::test]
async fn mails_without_a_message_id_are_deliveries_of_their_own() {
    let sim = Sim::calm().await;
    let mailer = sim.mailer();
    for _ in 0..2 {
        mailer.send(mail(None, "order-1", "Thank you")).await.unwrap();
    }
    assert_eq!(sim.deliveries("email", "order-1").await, (2, 0));
}

#[tokio::test]
async fn twins_at_the_same_time_are_one_delivery() {
    let sim = Sim::calm().await;
    sim.set(json!({"email": {"latency_ms": 100}})).await;
    let mailer = sim.mailer();
    let twins = (0..8).map(|_| mailer.send(mail(Some("event-1"), "order-1", "Thank you")));
    for answer in futures::future::join_all(twins).await {
        answer.unwrap();
    }
    assert_eq!(sim.deliveries("email", "order-1").await, (1, 7));
}

#[tokio::test]
async fn a_refusal_is_transient_and_delivers_nothing() {
    let sim = Sim::calm().await;
    sim.set(json!({"email": {"failure_rate": 1}})).await;
    let mailer = sim.mailer();
    let error = mailer.send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(sim.deliveries("email", "order-1").await, (0, 0));

    sim.set(json!({"email": {"failure_rate": 0}})).await;
    mailer.send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    assert_eq!(sim.deliveries("email", "order-1").await, (1, 0));
    assert_eq!(
        sim.json("/api/deliveries").await["email"],
        json!({"distinct": 1, "repeated": 0, "refused": 1, "lost_answers": 0, "in_progress": 0})
    );
}

#[tokio::test]
async fn a_lost_answer_is_a_delivery_and_its_repeat_is_not() {
    let sim = Sim::calm().await;
    sim.set(json!({"email": {"lost_answer_rate": 1}})).await;
    let mailer = sim.mailer();
    let error = mailer.send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap_err();
    assert!(!error.is_transient() && !error.is_permanent(), "no answer is no refusal: {error}");
    assert_eq!(sim.deliveries("email", "order-1").await, (1, 0));

    mailer.send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    assert_eq!(sim.deliveries("email", "order-1").await, (1, 1));
}

#[tokio::test]
async fn the_answer_takes_as_long_as_the_latency_says() {
    let sim = Sim::calm().await;
    sim.set(json!({"email": {"latency_ms": 300}})).await;
    let start = std::time::Instant::now();
    sim.mailer().send(mail(Some("event-1"), "order-1", "Thank you")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

/// A sender that speaks SMTP by hand.
struct ByHand(BufReader<TcpStream>);

impl ByHand {
    async fn connect(sim: &Sim) -> Self {
        let mut hand = Self(BufReader::new(TcpStream::connect(sim.smtp).await.unwrap()));
        assert!(hand.answer().await.starts_with("220 "));
        hand
    }

    /// One line, or what is left when the connection ends.
    async fn answer(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time").unwrap();
        line
    }

    async fn say(&mut self, text: &str) -> String {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.answer().await
    }

    /// Up to the point where the text of a message is expected.
    async fn open_message(&mut self) {
        for command in ["HELO me\r\n", "MAIL FROM:<a@example.com>\r\n", "RCPT TO:<b@example.com>\r\n"] {
            assert!(self.say(command).await.starts_with("250 "), "{command}");
        }
        assert!(self.say("DATA\r\n").await.starts_with("354 "));
    }
}

#[tokio::test]
async fn dots_at_the_beginning_of_lines_arrive_as_they_were_written() {
    let sim = Sim::calm().await;
    let text = ".\r\n.one dot\r\n..two dots";
    sim.mailer().send(mail(Some("event-1"), "order-1", text)).await.unwrap();
    let page = reqwest::get(sim.url("/")).await.unwrap().text().await.unwrap();
    assert!(page.contains(".\r\n.one dot\r\n..two dots"), "{page}");
}

#[tokio::test]
async fn commands_in_the_wrong_order_are_refused_and_the_session_goes_on() {
    let sim = Sim::calm().await;
    let mut hand = ByHand::connect(&sim).await;
    for (command, code) in [
        ("MAIL FROM:<a@example.com>\r\n", "503"),
        ("HELO me\r\n", "250"),
        ("DATA\r\n", "503"),
        ("RCPT TO:<b@example.com>\r\n", "503"),
        ("NONSENSE\r\n", "500"),
        ("MAIL FROM:<a@example.com> SIZE=999999999\r\n", "552"),
        ("MAIL FROM:<a@example.com>\r\n", "250"),
        ("DATA\r\n", "503"),
        ("RSET\r\n", "250"),
        ("RCPT TO:<b@example.com>\r\n", "503"),
        ("NOOP\r\n", "250"),
        ("NOOP\n", "500"),
        ("QUIT\r\n", "221"),
    ] {
        let answer = hand.say(command).await;
        assert!(answer.starts_with(code), "{command:?} got {answer:?}");
    }
    assert_eq!(hand.answer().await, "", "the connection is closed");
}

#[tokio::test]
async fn a_greeting_names_eight_bit_mime_and_commands_may_come_in_one_go() {
    let sim = Sim::calm().await;
    let mut hand = ByHand::connect(&sim).await;
    hand.0.write_all(b"EHLO me\r\nMAIL FROM:<a@example.com> BODY=8BITMIME\r\nQUIT\r\n").await.unwrap();
    let mut rest = String::new();
    hand.0.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("250-8BITMIME\r\n"), "{rest}");
    assert!(rest.ends_with("250 2.1.0 sender accepted\r\n221 2.0.0 goodbye\r\n"), "{rest}");
}

#[tokio::test]
async fn a_smuggled_end_of_message_is_no_end_and_the_message_is_refused() {
    let sim = Sim::calm().await;
    let mut hand = ByHand::connect(&sim).await;
    hand.open_message().await;
    let answer = hand.say("Subject: a\r\n\r\ntext\n.\nMAIL FROM:<evil@example.com>\r\n.\r\n").await;
    assert!(answer.starts_with("554 "), "{answer}");
    assert!(hand.say("NOOP\r\n").await.starts_with("250 "));
    assert_eq!(sim.json("/api/deliveries").await["email"]["distinct"], 0);
}

#[tokio::test]
async fn lines_and_messages_that_are_too_long_are_refused_without_being_kept() {
    let sim = Sim::with(Limits { message: 4_000, ..Limits::default() }).await;
    let mut hand = ByHand::connect(&sim).await;
    assert!(hand.say(&format!("NOOP {}\r\n", "x".repeat(100_000))).await.starts_with("500 "));
    hand.open_message().await;
    assert!(hand.say(&format!("{}\r\n.\r\n", "x".repeat(2_000))).await.starts_with("554 "));
    hand.open_message().await;
    assert!(hand.say(&format!("{}.\r\n", "short\r\n".repeat(1_000))).await.starts_with("552 "));
    hand.open_message().await;
    assert!(hand.say(&"short\r\n".repeat(10_000)).await.starts_with("421 "));
}

#[tokio::test]
async fn a_silent_sender_is_told_goodbye() {
    let sim = Sim::with(Limits { idle: Duration::from_millis(100), ..Limits::default() }).await;
    let mut hand = ByHand::connect(&sim).await;
    assert!(hand.answer().await.starts_with("421 "));
    assert_eq!(hand.answer().await, "");
}

#[tokio::test]
async fn one_connection_too_many_is_asked_to_come_back_later() {
    let sim = Sim::with(Limits { connections: 1, ..Limits::default() }).await;
    let first = ByHand::connect(&sim).await;
    let mut second = ByHand(BufReader::new(TcpStream::connect(sim.smtp).await.unwrap()));
    assert!(second.answer().await.starts_with("421 "));
    drop(first);
}
