-- Role and database of the consumer that `./dev chaos` watches order per key with. They exist in the stack of a chaos run
-- and nowhere else. The form is that of deploy/postgres/databases.sql.
CREATE ROLE chaos LOGIN PASSWORD 'chaos';
ALTER ROLE chaos SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE chaos SET lock_timeout = '3s';
ALTER ROLE chaos SET statement_timeout = '10s';
CREATE DATABASE chaos OWNER chaos;
REVOKE CONNECT ON DATABASE chaos FROM PUBLIC;
