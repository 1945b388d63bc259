//! Free ports on loopback.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, PoisonError};

use uuid::Uuid;

/// Below the range that Linux takes client ports from: a service that a test kills and starts again must find its
/// port free, and an outgoing connection of anybody would otherwise be able to sit on it meanwhile. Apart from what
/// `./dev` draws for its servers (`deploy/dev/common.sh`).
const RANGE: std::ops::Range<u16> = 26_000..32_000;

static HANDED_OUT: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A loopback port that nobody listens on and that this process was not given before.
pub fn free_port() -> u16 {
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    // A random start keeps test processes that run side by side apart.
    let width = RANGE.end - RANGE.start;
    let offset = (Uuid::new_v4().as_u128() % u128::from(width)) as u16;
    for step in 0..width {
        let port = RANGE.start + (offset + step) % width;
        if !handed_out.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            handed_out.insert(port);
            return port;
        }
    }
    panic!("no free port in {RANGE:?} on 127.0.0.1");
}
