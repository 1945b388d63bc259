//! Lines from a connection, bounded in length and in time.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::time::timeout;

/// What came instead of, or as, a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line in the buffer, without its CRLF.
    Whole,
    /// A line that was longer than allowed; the rest of it was thrown away.
    TooLong,
    /// A line that ends in LF without CR. Telling it from a right one closes the door on smuggled messages, where two
    /// servers disagree about the end of one.
    BareLineFeed,
    /// The other side closed the connection.
    End,
}

/// Reads one line into `line`. The whole line has to arrive within `idle`, so a sender that drips single bytes gains
/// nothing.
pub(super) async fn read_line<R>(
    reader: &mut R,
    line: &mut Vec<u8>,
    longest: usize,
    idle: Duration,
) -> io::Result<Line>
where
    R: AsyncBufRead + Unpin,
{
    line.clear();
    timeout(idle, fill(reader, line, longest)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn fill<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    line: &mut Vec<u8>,
    longest: usize,
) -> io::Result<Line> {
    let mut too_long = false;
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(Line::End);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        too_long = too_long || line.len() + taken > longest;
        if !too_long {
            line.extend_from_slice(&available[..taken]);
        }
        reader.consume(taken);
        if end.is_none() {
            continue;
        }
        if too_long {
            return Ok(Line::TooLong);
        }
        line.pop();
        return Ok(if line.pop_if(|byte| *byte == b'\r').is_some() {
            Line::Whole
        } else {
            Line::BareLineFeed
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_keep_their_bounds() {
        let mut reader = BufReader::with_capacity(3, &b"NOOP\r\nthis is far too long\r\nQUIT\nrest"[..]);
        let mut line = Vec::new();
        let mut next = async || {
            let kind = read_line(&mut reader, &mut line, 10, Duration::from_secs(5)).await.unwrap();
            (kind, String::from_utf8_lossy(&line).into_owned())
        };
        assert_eq!(next().await, (Line::Whole, "NOOP".to_owned()));
        assert_eq!(next().await.0, Line::TooLong);
        assert_eq!(next().await.0, Line::BareLineFeed);
        assert_eq!(next().await.0, Line::End);
    }
}
