//! The same shop without events: every step inline.

fn main() {}
