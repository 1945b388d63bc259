//! What the answers of an SMTP server mean.

use std::time::Duration;

use email_consumer::{Mailer, SendError};
use lettre::Message;
use provider_sim::smtp::Limits;
use serde_json::json;
use uuid::Uuid;

use crate::provider::{Provider, server};
use crate::scripted;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(2);

/// A mail about an order, with a Message-ID of its own.
fn mail(order_id: Uuid) -> Message {
    let mut order = crate::orders::order();
    order.data.order_id = order_id;
    order.id = Uuid::new_v4();
    email_consumer::confirmation(&"orders@orderflow.example".parse().unwrap(), &order).unwrap()
}

async fn refusal(at: &'static str, answer: &'static str) -> SendError {
    let one_by_one = refusal_by(scripted::PLAIN, at, answer).await;
    let pipelined = refusal_by(scripted::PIPELINING, at, answer).await;
    assert_eq!(one_by_one, pipelined, "{answer}");
    pipelined
}

async fn refusal_by(hello: &'static str, at: &'static str, answer: &'static str) -> SendError {
    let server = scripted::greeting_with(hello, at, answer).await;
    let mailer = Mailer::new(format!("smtp://user:secret@{server}").parse().unwrap(), LONG);
    mailer.send(&mail(Uuid::now_v7())).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_about_the_mail_says_whether_to_try_again() {
    assert_eq!(refusal("MAIL", "452 4.2.2 mailbox full").await, SendError::Transient(452));
    assert_eq!(refusal("DATA", "451 4.3.0 later").await, SendError::Transient(451));
    assert_eq!(refusal(".\r\n", "554 5.7.1 spam").await, SendError::Permanent(554));
}

#[tokio::test]
async fn the_reason_does_not_repeat_the_address_that_the_server_named() {
    let error = refusal("RCPT", "550 5.1.1 <ann@example.com> does not live here").await;
    assert_eq!(error, SendError::Permanent(550));
    assert!(!format!("{error} {error:?}").contains("ann"), "{error}");
}

#[tokio::test]
async fn a_refused_session_says_nothing_about_the_mail() {
    for (at, answer) in [
        ("greeting", "554 5.3.2 no service here"),
        ("greeting", "421 4.3.2 busy"),
        ("EHLO", "550 5.7.1 not you"),
        ("AUTH", "535 5.7.8 wrong password"),
        ("AUTH", "454 4.7.0 later"),
    ] {
        let error = refusal(at, answer).await;
        assert!(matches!(error, SendError::NoSession(_)), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_or_falls_silent_is_no_answer() {
    let nobody = Mailer::new(server(([127, 0, 0, 1], testkit::free_port()).into()), LONG);
    let error = nobody.send(&mail(Uuid::now_v7())).await.unwrap_err();
    assert!(matches!(error, SendError::NoSession(_)), "{error:?}");
    assert!(nobody.state().is_err());

    let provider = Provider::calm().await;
    provider.set(json!({"lost_answer_rate": 1})).await;
    let error = provider.mailer().send(&mail(Uuid::now_v7())).await.unwrap_err();
    assert!(matches!(error, SendError::NoAnswer(_)), "{error:?}");
}

#[tokio::test]
async fn a_mail_that_was_given_up_does_not_leave_its_answer_to_the_next_one() {
    let provider = Provider::calm().await;
    let mailer = Mailer::new(provider.server(), SHORT);
    let (first, second, third) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    mailer.send(&mail(first)).await.unwrap();

    provider.set(json!({"latency_ms": 60_000})).await;
    let error = mailer.send(&mail(second)).await.unwrap_err();
    assert!(matches!(error, SendError::NoAnswer(_)), "{error:?}");

    provider.set(json!({"latency_ms": 0})).await;
    mailer.send(&mail(third)).await.unwrap();
    assert_eq!(provider.deliveries(third).await, (1, 0), "what was answered with success is delivered");
    assert_eq!(mailer.state(), Ok(()));
}

#[tokio::test]
async fn mails_one_after_another_share_one_connection() {
    let provider = Provider::with(Limits { connections: 1, ..Limits::default() }).await;
    let mailer = provider.mailer();
    for _ in 0..3 {
        mailer.send(&mail(Uuid::now_v7())).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let provider = Provider::with(Limits { idle: Duration::from_secs(15), ..Limits::default() }).await;
    let mailer = provider.mailer();
    mailer.send(&mail(Uuid::now_v7())).await.unwrap();
    // Past the provider's patience, and past the time in which a connection is trusted without being asked.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    mailer.send(&mail(Uuid::now_v7())).await.unwrap();
}
