-- Which e-mails the provider has taken. The row commits together with the event's inbox row, so there is one row per
-- event however often it comes. Neither the address nor the text is kept: the order's own database has them.
CREATE TABLE deliveries (
    event_id     uuid        PRIMARY KEY,
    order_id     uuid        NOT NULL,
    -- The Message-ID that the provider saw; a repeat of the event carries the same one.
    message_id   text        NOT NULL,
    delivered_at timestamptz NOT NULL DEFAULT now()
);

-- "Was this order confirmed?" is asked by order.
CREATE INDEX deliveries_by_order ON deliveries (order_id);
