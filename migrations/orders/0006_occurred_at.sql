-- When the order was decided, as its event says it, to the microsecond. created_at is a little later and by the database's clock. An event
-- that is written once more from the order (`ops republish`) must be the event it repeats: analytics counts an order in the minute in which it
-- was decided, whichever of the two copies comes first.
--
-- Nullable and without a default: nothing is rewritten, and an order-api of the version before this one goes on taking orders.
-- For an order without it, created_at is the closest that is known.
ALTER TABLE orders ADD COLUMN occurred_at timestamptz;
