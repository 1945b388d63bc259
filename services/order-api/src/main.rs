//! Accepts orders and answers product reads.

fn main() {}
