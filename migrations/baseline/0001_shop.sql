-- The baseline keeps everything in one database. Catalogue, prices and stock are those of the event-driven system, so that
-- the comparison is between ways of working and not between data.
CREATE TABLE products (
    id          integer PRIMARY KEY,
    name        text    NOT NULL,
    description text    NOT NULL,
    price_cents bigint  NOT NULL CONSTRAINT products_price_is_positive CHECK (price_cents > 0),
    version     bigint  NOT NULL DEFAULT 1,
    stock       integer NOT NULL CONSTRAINT products_stock_never_goes_negative CHECK (stock >= 0)
);

INSERT INTO products (id, name, description, price_cents, stock)
SELECT n,
       'Product ' || n,
       'Description of product ' || n,
       CASE n WHEN 1 THEN 2999 ELSE 499 + (n * 7919) % 19500 END,
       50 + (n * 6151) % 451
FROM generate_series(1, 100) AS n;

CREATE TABLE orders (
    id          uuid        PRIMARY KEY,
    user_id     bigint      NOT NULL,
    email       text        NOT NULL,
    phone       text        NOT NULL,
    status      text        NOT NULL DEFAULT 'pending' CONSTRAINT orders_status_is_known CHECK (status IN ('pending')),
    total_cents bigint      NOT NULL,
    -- Trace under which the order was created: 32 hex digits (W3C Trace Context).
    trace_id    text,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE order_items (
    order_id         uuid    NOT NULL REFERENCES orders (id),
    line_no          integer NOT NULL,
    product_id       integer NOT NULL,
    quantity         integer NOT NULL CONSTRAINT order_items_quantity_is_positive CHECK (quantity > 0),
    unit_price_cents bigint  NOT NULL,
    PRIMARY KEY (order_id, line_no)
);

-- The analytics step: orders and revenue per minute (UTC).
CREATE TABLE sales (
    minute        timestamptz PRIMARY KEY,
    orders        bigint      NOT NULL,
    revenue_cents bigint      NOT NULL
);
