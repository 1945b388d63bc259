//! The HTTP contract of the order systems: what an order is, how it is checked, refused and answered.
