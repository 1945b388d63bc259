-- The catalogue: 100 products, the same on every machine. Prices are whole cents; orders are priced from here and
-- from nowhere else.
CREATE TABLE products (
    id          integer     PRIMARY KEY,
    name        text        NOT NULL,
    description text        NOT NULL,
    price_cents bigint      NOT NULL CONSTRAINT products_price_is_positive CHECK (price_cents > 0),
    -- Grows with every change, so that a cache can refuse an older copy.
    version     bigint      NOT NULL DEFAULT 1
);

-- Product 1 costs 29.99. The others follow from their number, without a random generator.
INSERT INTO products (id, name, description, price_cents)
SELECT n,
       'Product ' || n,
       'Description of product ' || n,
       CASE n WHEN 1 THEN 2999 ELSE 499 + (n * 7919) % 19500 END
FROM generate_series(1, 100) AS n;
