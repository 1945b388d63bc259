//! The few Redis commands that the kit itself needs, in the inline form of the protocol: no client library, no pool.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Redis has 16 databases unless told otherwise. Number 0 keeps our counter and is handed to nobody.
const DATABASES: u64 = 15;

/// Answers once Redis serves commands (and not merely accepts connections, as it does while loading).
pub(crate) async fn ping(url: &str) -> Result<()> {
    command(url, "PING").await.map(drop)
}

/// The URL of an emptied database that no other test got lately. The count is kept in the server, so test
/// processes that share it do not meet either.
pub(crate) async fn fresh_database(url: &str) -> Result<String> {
    let count: u64 = command(url, "INCR testkit:databases").await?.parse().context("INCR gave no number")?;
    let url = format!("{}/{}", base(url), 1 + count % DATABASES);
    command(&url, "FLUSHDB").await?;
    Ok(url)
}

fn base(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |slash| &url[..start + slash])
}

async fn command(url: &str, command: &str) -> Result<String> {
    let address = base(url).rsplit(['/', '@']).next().unwrap_or_default();
    let database = url[base(url).len()..].trim_matches('/');
    let answer = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        let mut lines = vec![command];
        let select = format!("SELECT {database}");
        if !database.is_empty() {
            lines.insert(0, &select);
        }
        let mut answer = String::new();
        for line in lines {
            stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            answer.clear();
            stream.read_line(&mut answer).await?;
        }
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), answer)
        .await
        .with_context(|| format!("Redis at {address} does not answer"))?
        .with_context(|| format!("Redis at {address} cannot be reached"))?;
    match answer.trim_end().split_at_checked(1) {
        Some(("+" | ":", value)) => Ok(value.to_owned()),
        _ => bail!("Redis at {address} answered {answer:?} to {command}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_number_is_split_off_the_url() {
        assert_eq!(base("redis://127.0.0.1:6379/3"), "redis://127.0.0.1:6379");
        assert_eq!(base("redis://127.0.0.1:6379"), "redis://127.0.0.1:6379");
    }
}
