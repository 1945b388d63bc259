//! Reading rows that wait to be published.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::Snapshot;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId {
    /// Its bucket.
    pub bucket: i16,
    /// Its number, of all rows ever inserted.
    pub id: i64,
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where the row stands.
    pub row_id: RowId,
    /// Topic it goes to.
    pub topic: String,
    /// Key of the record.
    pub aggregate_id: Uuid,
    /// Number of the event in its aggregate.
    pub sequence: i64,
    /// Identity of the event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Who decided it.
    pub source: String,
    /// W3C trace context of the change.
    pub traceparent: Option<String>,
    /// When it was inserted.
    pub created_at: DateTime<Utc>,
    /// JSON text, sent as it stands.
    pub payload: String,
}

/// Where to read on in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The bucket.
    pub bucket: i16,
    /// Rows above this number are wanted; 0 is the beginning.
    pub after: i64,
}

/// What one statement saw.
#[derive(Clone, Debug)]
pub struct Claim {
    /// By bucket and number.
    pub rows: Vec<Row>,
    /// Whose rows it could not see.
    pub snapshot: Snapshot,
}

/// The oldest rows of each bucket from its start, at most `per_bucket` of each. Left out are the rows numbered in `in_hand`, rows of
/// the keys `apart`, which are read by [`claim_key`], and rows of blocked keys, so that they take no room.
///
/// It locks nothing: rows leave the table only through [`settle`](super::settle). A start above the beginning can miss rows that
/// were committed late; the snapshot tells from which transactions such rows can come.
pub async fn claim(
    connection: impl PgExecutor<'_>,
    starts: &[Start],
    in_hand: &[i64],
    apart: &[Uuid],
    per_bucket: i64,
) -> Result<Claim, sqlx::Error> {
    let (buckets, after): (Vec<i16>, Vec<i64>) =
        starts.iter().map(|start| (start.bucket, start.after)).unzip();
    // The first row holds the snapshot: only within the same statement is it the one that the rows were read by.
    // NOT IN, so that the lists are hashed once and the rows still come in the order of the index, up to the limit.
    let lines = sqlx::query_as!(
        Line,
        "SELECT NULL::smallint AS bucket, NULL::bigint AS id, NULL::text AS topic, NULL::uuid AS aggregate_id,
                NULL::bigint AS sequence, NULL::uuid AS event_id, NULL::text AS event_type, NULL::text AS source,
                NULL::text AS traceparent, NULL::timestamptz AS created_at, NULL::text AS payload,
                pg_current_snapshot()::text || '+' || age(pg_snapshot_xmax(pg_current_snapshot())::xid) AS snapshot
         UNION ALL
         SELECT o.bucket, o.id, o.topic, o.aggregate_id, o.sequence, o.event_id, o.event_type, o.source,
                o.traceparent, o.created_at, o.payload::text, NULL
         FROM unnest($1::smallint[], $2::bigint[]) AS start (bucket, after)
         CROSS JOIN LATERAL (
             SELECT * FROM outbox
             WHERE outbox.bucket = start.bucket AND outbox.id > start.after
               AND outbox.id NOT IN (SELECT unnest($3::bigint[]))
               AND outbox.aggregate_id NOT IN (SELECT unnest($4::uuid[]))
               AND outbox.aggregate_id NOT IN (SELECT b.aggregate_id FROM outbox_blocked b)
             ORDER BY outbox.id
             LIMIT $5
         ) AS o",
        &buckets,
        &after,
        in_hand,
        apart,
        per_bucket
    )
    .fetch_all(connection)
    .await?;
    claimed(lines)
}

/// The next rows of one key above number `after`, at most `limit`.
pub async fn claim_key(
    connection: impl PgExecutor<'_>,
    bucket: i16,
    key: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let lines = sqlx::query_as!(
        Line,
        r#"SELECT bucket AS "bucket?", id AS "id?", topic AS "topic?", aggregate_id AS "aggregate_id?", sequence AS "sequence?",
                  event_id AS "event_id?", event_type AS "event_type?", source AS "source?", traceparent,
                  created_at AS "created_at?", payload::text AS payload, NULL::text AS snapshot
           FROM outbox
           WHERE bucket = $1 AND id > $3 AND aggregate_id = $2
             AND aggregate_id NOT IN (SELECT b.aggregate_id FROM outbox_blocked b)
           ORDER BY id
           LIMIT $4"#,
        bucket,
        key,
        after,
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(lines.into_iter().filter_map(Line::row).collect())
}

/// A line of the answer: a row, or the snapshot.
struct Line {
    bucket: Option<i16>,
    id: Option<i64>,
    topic: Option<String>,
    aggregate_id: Option<Uuid>,
    sequence: Option<i64>,
    event_id: Option<Uuid>,
    event_type: Option<String>,
    source: Option<String>,
    traceparent: Option<String>,
    created_at: Option<DateTime<Utc>>,
    payload: Option<String>,
    snapshot: Option<String>,
}

impl Line {
    fn row(self) -> Option<Row> {
        Some(Row {
            row_id: RowId { bucket: self.bucket?, id: self.id? },
            topic: self.topic?,
            aggregate_id: self.aggregate_id?,
            sequence: self.sequence?,
            event_id: self.event_id?,
            event_type: self.event_type?,
            source: self.source?,
            traceparent: self.traceparent,
            created_at: self.created_at?,
            payload: self.payload?,
        })
    }
}

fn claimed(lines: Vec<Line>) -> Result<Claim, sqlx::Error> {
    let mut snapshot = None;
    let mut rows = Vec::with_capacity(lines.len());
    for line in lines {
        match &line.snapshot {
            Some(text) => snapshot = Snapshot::parse(text),
            None => rows.extend(line.row()),
        }
    }
    // The order of a UNION is nobody's promise.
    rows.sort_unstable_by_key(|row| row.row_id);
    let snapshot = snapshot.ok_or_else(|| sqlx::Error::Protocol("a claim without its snapshot".into()))?;
    Ok(Claim { rows, snapshot })
}
