#![doc = include_str!("../README.md")]

mod entry;

use std::time::Duration;

use redis::{Cmd, Pipeline, cmd, pipe};

pub use self::entry::{Entry, Malformed};

/// What keys begin with. Another number: another form of what is stored.
const KEYS: &str = "product:v2:";

/// Writes unless a newer version is there; answers 1 if it wrote. What does not begin with a version counts as older than anything.
const STORE: &str = "\
local stored = redis.call('GET', KEYS[1])
local version = stored and tonumber(string.match(stored, '^(%d+) '))
if version and version > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1";

/// The key of a product.
pub fn key(id: i32) -> String {
    format!("{KEYS}{id}")
}

/// The product of a key; `None` if it is not one of ours.
pub fn id_of(key: &[u8]) -> Option<i32> {
    std::str::from_utf8(key.strip_prefix(KEYS.as_bytes())?).ok()?.parse().ok()
}

/// Reads what stands for a product and how long it still may: answers `(Option<Vec<u8>>, i64)`, the bytes for [`Entry::parse`] and milliseconds,
/// negative if there is nothing.
pub fn read(id: i32) -> Pipeline {
    let mut both = pipe();
    both.get(key(id)).pttl(key(id));
    both
}

/// Stores an entry for `ttl` or up to a fifth less, unless a newer version is there. Answers a `bool`: whether it was stored.
pub fn store(id: i32, entry: &Entry, ttl: Duration) -> Cmd {
    let milliseconds = (ttl.as_millis() as f64 * rand::random_range(0.8..=1.0)).max(1.0) as u64;
    let mut store = cmd("EVAL");
    store.arg(STORE).arg(1).arg(key(id)).arg(entry.version()).arg(entry.text()).arg(milliseconds);
    store
}

/// Value parser for the URL of a Redis server. It only looks at the form; the server may be away.
///
/// # Errors
/// A sentence that says what was expected.
pub fn redis_url(text: &str) -> Result<String, String> {
    match redis::Client::open(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected redis://host:port or redis://user:password@host:port/number".to_owned()),
    }
}
