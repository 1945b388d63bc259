//! A way to a server that can be made to hang, as a frozen machine or a lost route does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    answers: watch::Sender<bool>,
    _running: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, open) = watch::channel(true);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                let (from_caller, to_caller) = caller.into_split();
                let (from_server, to_server) = server.into_split();
                connections.spawn(pass(from_caller, to_server, watch::channel(true).1));
                connections.spawn(pass(from_server, to_caller, open.clone()));
            }
        });
        Self { address, answers, _running: running }
    }

    /// From now on what is asked arrives, and no answer comes back.
    pub(crate) fn keep_answers_back(&self) {
        self.answers.send_replace(false);
    }

    /// Lets answers through again, those that were kept back too.
    pub(crate) fn let_answers_through(&self) {
        self.answers.send_replace(true);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // The sender of a gate that is always open is gone, which counts as open.
        let _ = open.wait_for(|open| *open).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}
