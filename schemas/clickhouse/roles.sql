-- The roles of the read model, with the least grants: those of {db}, the registry's
-- database, and of its generations, {db}_g*, which come and go; in a cluster also of {claims},
-- where switches are, which on one server is the registry's, too. The views that an insert
-- runs do so as whoever inserts, so whoever inserts may read what it inserts.
--
-- An account has one of them as its default role. They are the server's: read models on
-- one server have them in common.

-- projector run, verify, sweep
CREATE ROLE IF NOT EXISTS projector;
GRANT SELECT, INSERT, ALTER UPDATE, ALTER DELETE ON {db}_g*.* TO projector;
GRANT SELECT ON {db}.generations, SELECT, INSERT ON {db}.coverage, SELECT ON {db}.left_out, SELECT, INSERT ON {db}.sweeps, SHOW TABLES ON {claims}.* TO projector;
GRANT SELECT ON system.parts, SELECT ON system.mutations TO projector;

-- query
CREATE ROLE IF NOT EXISTS query;
GRANT SELECT ON {db}_g*.* TO query;
GRANT SELECT ON {db}.generations, SELECT ON {db}.left_out, SHOW TABLES ON {claims}.* TO query;

-- projector migrate (but for the roles), rebuild, verify, switch, rollback, generations
CREATE ROLE IF NOT EXISTS operator;
GRANT SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP DATABASE, DROP TABLE, DROP VIEW ON {db}_g*.* TO operator;
GRANT SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW ON {db}.*, DROP TABLE ON {db}._tmp_replace_* TO operator;
GRANT CREATE DATABASE, CREATE TABLE, SHOW TABLES ON {claims}.* TO operator;
GRANT TABLE ENGINE ON Null, TABLE ENGINE ON AggregatingMergeTree, TABLE ENGINE ON ReplacingMergeTree TO operator;
GRANT SELECT ON system.parts TO operator;

-- What analysts read, which is all that they may.
CREATE ROLE IF NOT EXISTS analyst;
GRANT SELECT ON {db}.messages, SELECT ON {db}.conversations, SELECT ON {db}.reads, SELECT ON {db}.group_members, SELECT ON {db}.group_profiles, SELECT ON {db}.user_profiles, SELECT ON {db}.activity_daily, SELECT ON {db}.activity_user_daily TO analyst;
