//! Takes ordered quantities off the stock.
