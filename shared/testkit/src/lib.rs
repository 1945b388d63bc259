//! Finds or starts Postgres, Redis and Kafka for tests.
