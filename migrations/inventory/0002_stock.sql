-- What is in the warehouse. on_hand = sum of the product's movements - sum of its reserved quantities, at all times.
CREATE TABLE stock (
    product_id integer PRIMARY KEY,
    on_hand    integer NOT NULL CONSTRAINT stock_never_goes_negative CHECK (on_hand >= 0)
);

-- Every change of stock that is not an order: the first delivery, a restock, a correction.
CREATE TABLE stock_movements (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id integer     NOT NULL REFERENCES stock (product_id),
    delta      integer     NOT NULL,
    reason     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What was decided for each line of an order. A line that the stock could not serve is an outcome, not an error.
CREATE TABLE reservations (
    order_id   uuid        NOT NULL,
    product_id integer     NOT NULL,
    quantity   integer     NOT NULL,
    outcome    text        NOT NULL CONSTRAINT reservations_outcome_is_known CHECK (outcome IN ('reserved', 'insufficient')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, product_id)
);

-- 100 products, 50 to 500 pieces each, the same on every machine.
INSERT INTO stock (product_id, on_hand)
SELECT n, 50 + (n * 6151) % 451 FROM generate_series(1, 100) AS n;
INSERT INTO stock_movements (product_id, delta, reason)
SELECT product_id, on_hand, 'first delivery' FROM stock ORDER BY product_id;
