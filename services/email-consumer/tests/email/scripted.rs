//! An SMTP server that answers as a test tells it, for what the stand-in never says.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it says to EHLO.
pub(crate) const PLAIN: &str = "250-scripted\r\n250 AUTH PLAIN";
pub(crate) const PIPELINING: &str = "250-scripted\r\n250-AUTH PLAIN\r\n250 PIPELINING";

/// Starts a server that gives `answer` where a command (or `greeting`) begins with `at`, and goes along with everything else.
pub(crate) async fn server(at: &'static str, answer: &'static str) -> SocketAddr {
    greeting_with(PLAIN, at, answer).await
}

/// As [`server`], with another answer to EHLO.
pub(crate) async fn greeting_with(hello: &'static str, at: &'static str, answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, hello, at, answer));
        }
    });
    address
}

async fn converse(stream: TcpStream, hello: &str, at: &str, answer: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let greeting = if at == "greeting" { answer } else { "220 scripted" };
    stream.write_all(format!("{greeting}\r\n").as_bytes()).await?;
    let (mut line, mut in_text) = (String::new(), false);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if in_text && line != ".\r\n" {
            continue;
        }
        let reply = if line.starts_with(at) {
            answer
        } else if line.starts_with("EHLO") {
            hello
        } else if line.starts_with("DATA") {
            "354 go on"
        } else {
            "250 fine"
        };
        in_text = reply.starts_with("354");
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
}
