//! The whole system: every service as a real process on real Postgres, Redis and Kafka.
//!
//! One system serves all tests of this file, one test at a time; each test leaves it as it found it, and whatever a
//! failed one left behind is mended before the next. So nothing here counts from zero: a test looks at its own orders
//! and at differences, and the audit compares every order ever accepted with every effect ever made.

#![expect(clippy::expect_used, reason = "the fixture fails the test that it cannot serve")]

mod audit;
mod crashes;
mod dead_letters;
mod flow;
mod groups;
mod jaeger;
mod metrics;
mod outages;
mod personal_data;
mod replay;
mod republish;
mod shop;
mod shutdown;
mod system;
mod topics;
mod traces;
