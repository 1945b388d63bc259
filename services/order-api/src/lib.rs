//! Accepts orders and answers product reads.
