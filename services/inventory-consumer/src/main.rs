//! Takes ordered quantities off the stock.

fn main() {}
