//! A lean client: one kept connection, one request at a time, bytes prepared before. What it does not spend, the server can.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::PATIENCE;

/// Longer answers are not expected here.
const MOST_BYTES: usize = 64 * 1024;

/// A kept connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("nobody is at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and returns the body of the answer.
    ///
    /// # Errors
    /// Anything but a 200 with `Content-Length`.
    pub(super) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut expected = None;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed in the middle of an answer");
            }
            if expected.is_none() {
                expected = head(&self.buffer)?;
            }
            match expected {
                Some((start, end)) if self.buffer.len() >= end => return Ok(&self.buffer[start..end]),
                _ if self.buffer.len() > MOST_BYTES => bail!("an answer is too long"),
                _ => {}
            }
        }
    }

    /// Sends the requests one after the other, over and over, until `end`. Returns how many were answered.
    pub(super) async fn ask_until(mut self, requests: &[Vec<u8>], end: Instant) -> anyhow::Result<u64> {
        let mut answered = 0;
        // One bound for all: a timer for each request would cost more than the request.
        let asking = async {
            for request in requests.iter().cycle() {
                if Instant::now() >= end {
                    break;
                }
                self.ask(request).await?;
                answered += 1;
            }
            anyhow::Ok(())
        };
        timeout(end + PATIENCE - Instant::now(), asking).await.context("an answer does not come")??;
        Ok(answered)
    }
}

/// Where the body begins and ends, once the head is there.
fn head(answer: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        bail!("an answer was {status:?}");
    }
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("an answer has no length")?
        .1
        .trim()
        .parse()?;
    Ok(Some((end + 4, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_found_and_anything_but_a_200_is_an_error() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx: y\r\n\r\nabc";
        assert_eq!(head(answer).unwrap(), Some((44, 47)));
        assert_eq!(head(&answer[..40]).unwrap(), None);
        assert!(head(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
