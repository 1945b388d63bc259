//! Records that went to dead letters and hold their key, so that later records of the key do not overtake them.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// A record by the place where it first stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Key.
    pub key: Vec<u8>,
    /// Offset in the partition of the key.
    pub offset: i64,
}

/// Where a record stands among the held ones of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No record of the key is held.
    Free,
    /// Some are, and none of them comes before this one.
    First,
    /// An earlier one is held.
    Behind,
}

/// A key of which records are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Topic.
    pub topic: String,
    /// Key.
    pub key: Vec<u8>,
    /// How many of its records are held.
    pub records: i64,
    /// The offset of the first of them.
    pub first: i64,
    /// Since when the first that was held is.
    pub since: DateTime<Utc>,
}

/// The held records of a consumer group, in its database.
#[derive(Clone, Debug)]
pub struct HeldRows {
    pool: PgPool,
}

impl HeldRows {
    /// In the database behind `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Where each of the records stands.
    pub async fn places(&self, records: &[Record]) -> Result<Vec<Place>, sqlx::Error> {
        let (topics, keys, offsets) = columns(records);
        let earliest = sqlx::query_scalar!(
            "SELECT (SELECT min(record_offset) FROM held_records held
                     WHERE held.topic = record.topic AND held.key = record.key)
             FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS record (topic, key, place) ORDER BY place",
            &topics,
            &keys
        )
        .fetch_all(&self.pool)
        .await?;
        let place = |(earliest, offset): (Option<i64>, i64)| match earliest {
            None => Place::Free,
            Some(earliest) if earliest < offset => Place::Behind,
            Some(_) => Place::First,
        };
        Ok(earliest.into_iter().zip(offsets).map(place).collect())
    }

    /// Holds the records. Those that are held stay so.
    pub async fn hold(&self, records: &[Record]) -> Result<(), sqlx::Error> {
        let (topics, keys, offsets) = columns(records);
        // In one order, so that two calls never wait for each other in a circle.
        sqlx::query!(
            "INSERT INTO held_records (topic, key, record_offset)
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[]) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
            &topics,
            &keys,
            &offsets
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Lets the records go. Those that are not held stay so.
    pub async fn release(&self, records: &[Record]) -> Result<(), sqlx::Error> {
        let (topics, keys, offsets) = columns(records);
        sqlx::query!(
            "DELETE FROM held_records held
             USING unnest($1::text[], $2::bytea[], $3::bigint[]) AS record (topic, key, record_offset)
             WHERE held.topic = record.topic AND held.key = record.key AND held.record_offset = record.record_offset",
            &topics,
            &keys,
            &offsets
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The held keys, the longest held first, `limit` of them at most.
    pub async fn keys(&self, limit: i64) -> Result<Vec<HeldKey>, sqlx::Error> {
        sqlx::query_as!(
            HeldKey,
            r#"SELECT topic, key, count(*) AS "records!", min(record_offset) AS "first!", min(held_at) AS "since!"
               FROM held_records GROUP BY topic, key ORDER BY min(held_at), topic, key LIMIT $1"#,
            limit
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Lets all records of a key go, applied or not: an operator's decision. Returns how many were held.
    pub async fn release_key(&self, topic: &str, key: &[u8]) -> Result<u64, sqlx::Error> {
        let released = sqlx::query!("DELETE FROM held_records WHERE topic = $1 AND key = $2", topic, key)
            .execute(&self.pool);
        Ok(released.await?.rows_affected())
    }
}

fn columns(records: &[Record]) -> (Vec<String>, Vec<Vec<u8>>, Vec<i64>) {
    let (mut topics, mut keys, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for record in records {
        topics.push(record.topic.clone());
        keys.push(record.key.clone());
        offsets.push(record.offset);
    }
    (topics, keys, offsets)
}
