-- An accepted order. It is never changed by the consumers: they own their effects in databases of their own.
CREATE TABLE orders (
    -- UUIDv7: new orders land on the right edge of the index.
    id            uuid        PRIMARY KEY,
    user_id       bigint      NOT NULL,
    email         text        NOT NULL,
    phone         text        NOT NULL,
    status        text        NOT NULL DEFAULT 'pending' CONSTRAINT orders_status_is_known CHECK (status IN ('pending')),
    total_cents   bigint      NOT NULL,
    -- Trace under which the order was created: 32 hex digits (W3C Trace Context).
    trace_id      text,
    -- Number of the last event of this order. An event takes the next number while this row is locked.
    last_sequence bigint      NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- One line per product. The price is the one of the moment of ordering.
CREATE TABLE order_items (
    order_id         uuid    NOT NULL REFERENCES orders (id),
    line_no          integer NOT NULL,
    product_id       integer NOT NULL,
    quantity         integer NOT NULL CONSTRAINT order_items_quantity_is_positive CHECK (quantity > 0),
    unit_price_cents bigint  NOT NULL,
    PRIMARY KEY (order_id, line_no)
);
