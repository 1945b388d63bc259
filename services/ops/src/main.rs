//! Operator commands: migrate databases, create topics.

fn main() {}
