-- One role and one database per service: nobody reads another's tables, save the auditor at the end. Role, password and
-- database have the same name, which is right for a machine of one's own and for tests; give the roles other passwords
-- anywhere else.
--
-- Read by ./dev (psql), by the container image of Postgres (as an init file) and by the tests (statement by statement),
-- so keep to plain statements, each ending with a semicolon at the end of a line, and comments on lines of their own.
-- CREATE fails where the thing exists already; every reader goes on after that, so that the file can be applied again.
--
-- The time-outs keep a frozen process from holding its successor up: a transaction left open gives its locks back after
-- 5 s, waiting for a lock ends after 3 s, a statement after 10 s. A service raises them for its own migrations.

-- A grant that is there already says so in a notice, which no reader needs.
SET client_min_messages = warning;

-- orders: accepted orders, the catalogue and the outbox: order-api and outbox-relay.
CREATE ROLE orders LOGIN PASSWORD 'orders';
ALTER ROLE orders SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE orders SET lock_timeout = '3s';
ALTER ROLE orders SET statement_timeout = '10s';
CREATE DATABASE orders OWNER orders;
REVOKE CONNECT ON DATABASE orders FROM PUBLIC;

-- inventory: stock and reservations: inventory-consumer.
CREATE ROLE inventory LOGIN PASSWORD 'inventory';
ALTER ROLE inventory SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE inventory SET lock_timeout = '3s';
ALTER ROLE inventory SET statement_timeout = '10s';
CREATE DATABASE inventory OWNER inventory;
REVOKE CONNECT ON DATABASE inventory FROM PUBLIC;

-- email: confirmations sent by e-mail: email-consumer.
CREATE ROLE email LOGIN PASSWORD 'email';
ALTER ROLE email SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE email SET lock_timeout = '3s';
ALTER ROLE email SET statement_timeout = '10s';
CREATE DATABASE email OWNER email;
REVOKE CONNECT ON DATABASE email FROM PUBLIC;

-- sms: confirmations sent as text messages: sms-consumer.
CREATE ROLE sms LOGIN PASSWORD 'sms';
ALTER ROLE sms SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE sms SET lock_timeout = '3s';
ALTER ROLE sms SET statement_timeout = '10s';
CREATE DATABASE sms OWNER sms;
REVOKE CONNECT ON DATABASE sms FROM PUBLIC;

-- analytics: orders and revenue added up: analytics-consumer.
CREATE ROLE analytics LOGIN PASSWORD 'analytics';
ALTER ROLE analytics SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE analytics SET lock_timeout = '3s';
ALTER ROLE analytics SET statement_timeout = '10s';
CREATE DATABASE analytics OWNER analytics;
REVOKE CONNECT ON DATABASE analytics FROM PUBLIC;

-- baseline: the synchronous system that the others are compared with.
CREATE ROLE baseline LOGIN PASSWORD 'baseline';
ALTER ROLE baseline SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE baseline SET lock_timeout = '3s';
ALTER ROLE baseline SET statement_timeout = '10s';
CREATE DATABASE baseline OWNER baseline;
REVOKE CONNECT ON DATABASE baseline FROM PUBLIC;

-- auditor: reads every service's tables and writes none, to compare them (`ops audit`). The one exception to "nobody reads
-- another's tables": no service has its password. Its statements read whole tables, so they may take minutes.
CREATE ROLE auditor LOGIN PASSWORD 'auditor';
ALTER ROLE auditor SET default_transaction_read_only = on;
ALTER ROLE auditor SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE auditor SET lock_timeout = '3s';
ALTER ROLE auditor SET statement_timeout = '10min';
GRANT pg_read_all_data TO auditor;
GRANT CONNECT ON DATABASE orders TO auditor;
GRANT CONNECT ON DATABASE inventory TO auditor;
GRANT CONNECT ON DATABASE email TO auditor;
GRANT CONNECT ON DATABASE sms TO auditor;
GRANT CONNECT ON DATABASE analytics TO auditor;
