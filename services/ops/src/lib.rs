//! Operator commands: migrate databases, create topics.
