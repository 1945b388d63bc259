-- The inbox: which events this group has applied. The row is inserted in the transaction of the effect, so an
-- event that comes twice finds its row and changes nothing.
CREATE TABLE inbox (
    event_id     uuid        PRIMARY KEY,
    -- When the event was decided; housekeeping prunes by it.
    occurred_at  timestamptz NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now()
);
