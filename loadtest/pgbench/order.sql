-- The textbook order transaction, as pgbench runs it: one line per order, five statements and a commit, each a round trip, on the tables of the
-- shop. What `loadtest bench orders` measures its orders by; the server and its settings are the same, nothing else runs.
\set product random(1, 100)
\set quantity random(1, 3)
\set customer random(1, 1000000)
BEGIN;
SELECT price_cents AS price FROM products WHERE id = :product \gset
\set total :price * :quantity
-- Sorted by time as the ids of the shop are (UUIDv7), so that indexes grow at their right end here as well.
INSERT INTO orders (id, user_id, email, phone, total_cents, last_sequence, occurred_at)
VALUES ((lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || substr(md5(random()::text), 1, 20))::uuid,
        :customer, 'customer@example.com', '+15550000000', :total, 1, now())
RETURNING id AS order_id \gset
INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price_cents) VALUES (:order_id::uuid, 1, :product, :quantity, :price);
INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, payload)
VALUES ('order.events', :order_id::uuid, 1, gen_random_uuid(), 'OrderCreated', '/orderflow/order-api',
        json_build_object('id', :order_id::text, 'type', 'OrderCreated', 'source', '/orderflow/order-api', 'sequence', 1, 'schema_version', 1,
                          'time', now(), 'data', json_build_object('order_id', :order_id::text, 'user_id', :customer::bigint,
                          'email', 'customer@example.com', 'phone', '+15550000000', 'total', :total::bigint,
                          'items', json_build_array(json_build_object('product_id', :product::integer, 'quantity', :quantity::integer, 'unit_price', :price::bigint)))));
COMMIT;
