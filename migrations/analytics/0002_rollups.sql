-- Orders and revenue by the minute in which the order was accepted (UTC).
CREATE TABLE orders_per_minute (
    minute        timestamptz PRIMARY KEY,
    orders        bigint      NOT NULL,
    revenue_cents bigint      NOT NULL
);

-- Sales by product and UTC day.
CREATE TABLE product_sales (
    day           date    NOT NULL,
    product_id    integer NOT NULL,
    quantity      bigint  NOT NULL,
    revenue_cents bigint  NOT NULL,
    PRIMARY KEY (day, product_id)
);
