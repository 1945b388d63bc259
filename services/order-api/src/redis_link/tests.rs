use std::io;

use contracts::Money;
use product_cache::Entry;
use storefront::Product;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// Long enough for a busy machine: the only wait in vain here lasts twice as long.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A link to a server that gives `answer` to each command, by the number of the connection and the command's name. Without an answer it is silent.
/// The receiver hears of each connection.
async fn link(
    lease: Duration,
    answer: fn(usize, &str) -> Option<&'static str>,
) -> (Arc<RedisLink>, Arc<Near>, mpsc::UnboundedReceiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (sender, connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            sender.send(number).ok();
            tokio::spawn(serve(stream, move |name| answer(number, name)));
        }
    });
    let near = Near::new(lease);
    let link = RedisLink::new(&url, TIMEOUT, Duration::from_hours(1), near.clone()).unwrap();
    (Arc::new(link), near, connections)
}

async fn serve(stream: TcpStream, answer: impl Fn(&str) -> Option<&'static str>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut words = Vec::new();
        for _ in 0..number(&mut stream).await? {
            let mut word = vec![0; number(&mut stream).await? + 2];
            stream.read_exact(&mut word).await?;
            words.push(String::from_utf8_lossy(&word).trim().to_uppercase());
        }
        if let Some(answer) = answer(&words[0]) {
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

/// Of `*3` or `$5`.
async fn number(stream: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    line.trim().get(1..).and_then(|digits| digits.parse().ok()).ok_or(io::ErrorKind::UnexpectedEof.into())
}

#[tokio::test]
async fn a_connection_that_failed_late_does_not_take_down_one_that_was_made_meanwhile() {
    let (link, _near, mut connections) = link(Duration::ZERO, |connection, command| match command {
        _ if connection == 1 => None,
        "PING" => Some("+PONG\r\n"),
        _ => Some("+OK\r\n"),
    })
    .await;
    let first = tokio::spawn({
        let link = link.clone();
        async move { link.check().await }
    });
    assert_eq!(connections.recv().await, Some(1));
    link.check().await.unwrap();
    assert!(link.current().is_some() && !first.is_finished());
    first.await.unwrap().unwrap_err();
    assert!(link.current().is_some() && link.is_up());
}

#[tokio::test]
async fn a_redis_that_only_speaks_the_older_protocol_is_used_and_nothing_is_kept_in_memory() {
    // As Redis 5 says it, Redis 6 with the newer protocol forbidden, and a proxy.
    let refusals: [fn(usize, &str) -> Option<&'static str>; 3] = [
        |_, command| older(command, "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"),
        |_, command| older(command, "-NOPROTO unsupported protocol version\r\n"),
        |_, command| older(command, "-ERR unsupported command\r\n"),
    ];
    for refusal in refusals {
        let (link, near, _connections) = link(Duration::from_secs(10), refusal).await;
        link.check().await.unwrap();
        assert!(link.is_up());
        let ticket = near.ticket(link.current().unwrap().1);
        near.keep(ticket, 1, &Arc::new(product()), Duration::from_mins(1));
        assert!(near.get(1).is_none(), "nobody would tell that it changed");
    }
}

fn product() -> Entry {
    let product = Product { id: 1, name: String::new(), price: Money::ZERO, description: String::new() };
    Entry::product(1, &product).unwrap()
}

fn older(command: &str, hello: &'static str) -> Option<&'static str> {
    Some(match command {
        "HELLO" => hello,
        "PING" => "+PONG\r\n",
        _ => "+OK\r\n",
    })
}
