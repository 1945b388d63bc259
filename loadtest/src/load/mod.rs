//! Load over HTTP. `drive` makes it, open or closed, by `request`s over connections of `http`, and writes to a `journal` what came of them.
//! `sender` is another open loop, which follows each order up until its outcome is known.

pub mod drive;
pub mod http;
pub mod journal;
pub mod latency;
mod order;
pub mod request;
pub mod schedule;
mod sender;
mod shop;
pub mod watch;

pub use order::{Order, Orders, PRODUCTS};
pub use sender::{Fate, Pace, Sent, send};
pub use shop::{Answer, Shop};
