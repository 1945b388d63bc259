//! What a handler needs runs beside the consumer. No server is there, and none is needed.

use clap::Parser;
use consumer_service::{ConsumerService, Group};
use messaging::consumer::{Answer, Delivery, Handler};
use testkit::PATIENCE;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::stage::{Args, MIGRATIONS, decode};

/// Holds what the work beside it waits for.
struct Holding(#[expect(dead_code, reason = "it is only held")] mpsc::Sender<()>);

impl Handler for Holding {
    type Event = String;

    async fn handle(&self, _: &String, _: &Delivery) -> Answer {
        Answer::Ok
    }
}

fn service() -> ConsumerService {
    let args = Args::parse_from(["test", "--kafka-brokers", "127.0.0.1:1"]);
    let group = Group { service: "holding", name: "holding", topic: "names", migrations: &MIGRATIONS };
    ConsumerService::new(group, args.consumer, "postgres://email:email@127.0.0.1:1/email", 1).unwrap()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn a_process_ends_when_what_its_handler_needs_fails_and_says_so() {
    let (handler, _needs) = mpsc::channel(1);
    let failing = service().beside("rows", async { anyhow::bail!("no more paper") });
    let running = failing.run(decode, Holding(handler), listener().await, CancellationToken::new());
    let ended = tokio::time::timeout(PATIENCE, running).await.unwrap();
    assert_eq!(format!("{:#}", ended.unwrap_err()), "rows failed: no more paper");
}

#[tokio::test]
async fn what_a_handler_needs_goes_on_until_the_handler_is_gone_and_then_the_process_stops_cleanly() {
    let (handler, mut needs) = mpsc::channel(1);
    let shutdown = CancellationToken::new();
    let stopping = shutdown.clone();
    let beside = service().beside("rows", async move {
        stopping.cancel();
        // Ends when the handler is dropped, and not before.
        assert_eq!(needs.recv().await, None);
        Ok(())
    });
    let running = beside.run(decode, Holding(handler), listener().await, shutdown);
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
}
