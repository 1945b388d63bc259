//! Load over HTTP: orders at a steady rate, each followed up until its outcome is known.

pub mod http;
mod order;
mod sender;
mod shop;

pub use order::{Order, Orders, PRODUCTS};
pub use sender::{Fate, Pace, Sent, send};
pub use shop::{Answer, Shop};
