//! Stands in for the e-mail and text-message companies.

pub mod channel;
pub mod journal;
pub mod ledger;
pub mod mask;
pub mod provider;
pub mod settings;
pub mod smtp;
