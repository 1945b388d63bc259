//! Counts orders and revenue per minute and the best-selling products.
