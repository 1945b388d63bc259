//! A way to a server that can be made to hang, as a frozen machine or a lost route does.

use std::net::SocketAddr;

use sqlx::{PgPool, PgTransaction};
use testkit::{PATIENCE, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    answers: watch::Sender<Answers>,
    _running: JoinSet<()>,
}

/// What becomes of what the server says.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    Pass,
    /// They pass until one has this text in it, which is kept back with all that follow.
    PassUntil(&'static str),
    AreKeptBack,
}

impl Proxy {
    pub(crate) async fn to(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = watch::Sender::new(Answers::Pass);
        let gate = answers.clone();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                let (from_caller, to_caller) = caller.into_split();
                let (from_server, to_server) = server.into_split();
                connections.spawn(pass(from_caller, to_server, watch::Sender::new(Answers::Pass)));
                connections.spawn(pass(from_server, to_caller, gate.clone()));
            }
        });
        Self { address, answers, _running: running }
    }

    /// A way to a database, and the database's URL by that way.
    pub(crate) async fn before(database_url: &str) -> (Self, String) {
        let proxy = Self::to(host(database_url)).await;
        let url = database_url.replace(&host(database_url), &proxy.address.to_string());
        (proxy, url)
    }

    /// From now on what is asked arrives, and no answer comes back.
    pub(crate) fn keep_answers_back(&self) {
        self.answers.send_replace(Answers::AreKeptBack);
    }

    /// From now on answers come back until one has `text` in it.
    pub(crate) fn keep_answers_back_from(&self, text: &'static str) {
        self.answers.send_replace(Answers::PassUntil(text));
    }

    /// Waits until that answer is there.
    pub(crate) async fn answer_is_kept_back(&self) {
        let mut answers = self.answers.subscribe();
        let kept_back = answers.wait_for(|answers| *answers == Answers::AreKeptBack);
        tokio::time::timeout(PATIENCE, kept_back).await.unwrap().unwrap();
    }

    /// Lets answers through again, those that were kept back too.
    pub(crate) fn let_answers_through(&self) {
        self.answers.send_replace(Answers::Pass);
    }
}

impl Proxy {
    /// Lets the order that waits for `blocker` be committed, and keeps the answer back. Its prices were read before it had to wait,
    /// so that only the insert's answer is lost; the shop must have prepared its statements before.
    pub(crate) async fn lose_the_answer(&self, pool: &PgPool, blocker: PgTransaction<'_>) {
        eventually("the insert waits for the lock", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            if waiting == 1 { Ok(()) } else { Err(format!("{waiting} waiting")) }
        })
        .await;
        self.keep_answers_back();
        blocker.commit().await.unwrap();
    }
}

/// Makes every new order wait until the transaction ends.
pub(crate) async fn hold_orders(pool: &PgPool) -> PgTransaction<'static> {
    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *blocker).await.unwrap();
    sqlx::query("LOCK TABLE orders IN EXCLUSIVE MODE").execute(&mut *blocker).await.unwrap();
    blocker
}

/// `host:port` of a URL.
pub(crate) fn host(url: &str) -> String {
    let rest = url.rsplit_once('@').or_else(|| url.split_once("://")).unwrap().1;
    rest.split('/').next().unwrap().to_owned()
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: watch::Sender<Answers>) {
    let mut open = answers.subscribe();
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        answers.send_if_modified(|answers| match *answers {
            Answers::PassUntil(text) if bytes.windows(text.len()).any(|part| part == text.as_bytes()) => {
                *answers = Answers::AreKeptBack;
                true
            }
            _ => false,
        });
        open.wait_for(|answers| *answers != Answers::AreKeptBack).await.unwrap();
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
}
