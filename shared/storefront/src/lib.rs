#![doc = include_str!("../README.md")]

mod answers;
mod contact;
mod extract;
mod idempotency;
mod order;
pub mod refusals;

pub use answers::{
    CacheStats, CataloguePage, OrderAccepted, OrderAnswer, OrderView, OrderViewLine, Product, ProductAnswer,
    StepFailure,
};
pub use contact::{EmailAddress, PhoneNumber};
pub use extract::{OrderId, Page, ProductId, Stopwatch};
pub use idempotency::IdempotencyKey;
pub use order::{Fingerprint, NewOrder, OrderLine, PricedOrder};
