-- Binding kosmos: the role that it needs. As a superuser, in the database itself.
--   index: reindex-vectors
--   maintain: reindex-vectors, switchover, vacuum
--   read: connections, failover, index-advice, locks, long-queries, postgres-disk, postgres-health, postgres-metrics, reindex-vectors, statement, switchover, tuning, vacuum, vector-indexes
--   signal: connections, long-queries
CREATE ROLE "rota_maintainer" NOLOGIN;
-- GRANT "rota_maintainer" TO the login of the binding's url;
-- GRANT the_owner TO "rota_maintainer"; -- an index is made by the owner of its table
-- GRANT pg_maintain TO "rota_maintainer"; -- PostgreSQL 17 and later: VACUUM, ANALYZE, REINDEX of everything
-- GRANT the_owner TO "rota_maintainer"; -- before 17: the owner of the tables, or of the database
GRANT pg_monitor TO "rota_maintainer"; -- what others' sessions do: without it reports are never ok
-- GRANT pg_read_all_data TO "rota_maintainer"; -- only for procedures that read rows: backups, statements
GRANT pg_signal_backend TO "rota_maintainer";

-- Binding kosmos-owner: the role that it needs. As a superuser, in the database itself.
--   ddl: migrate, postgres-health, restore
--   index: migrate, restore
--   maintain: restore
--   read: migrate, nightly-backup, postgres-health, restore
--   signal: restore
--   write: migrate, postgres-health, restore
CREATE ROLE "kosmos_owner" NOLOGIN;
-- GRANT "kosmos_owner" TO the login of the binding's url;
-- ALTER ROLE "kosmos_owner" CREATEDB; -- where databases are made (restore, verification)
-- GRANT the_owner TO "kosmos_owner"; -- an index is made by the owner of its table
-- GRANT pg_maintain TO "kosmos_owner"; -- PostgreSQL 17 and later: VACUUM, ANALYZE, REINDEX of everything
-- GRANT the_owner TO "kosmos_owner"; -- before 17: the owner of the tables, or of the database
GRANT pg_monitor TO "kosmos_owner"; -- what others' sessions do: without it reports are never ok
-- GRANT pg_read_all_data TO "kosmos_owner"; -- only for procedures that read rows: backups, statements
GRANT pg_signal_backend TO "kosmos_owner";
-- GRANT INSERT, UPDATE, DELETE ON the tables TO "kosmos_owner";

-- Binding kosmos-replica: the role that it needs. As a superuser, in the database itself.
--   ddl: failover, switchover
--   maintain: switchover
--   promote: failover, switchover
--   read: failover, index-advice, postgres-metrics, switchover
--   write: failover, switchover
CREATE ROLE "rota_promoter" NOLOGIN;
-- GRANT "rota_promoter" TO the login of the binding's url;
-- ALTER ROLE "rota_promoter" CREATEDB; -- where databases are made (restore, verification)
-- GRANT pg_maintain TO "rota_promoter"; -- PostgreSQL 17 and later: VACUUM, ANALYZE, REINDEX of everything
-- GRANT the_owner TO "rota_promoter"; -- before 17: the owner of the tables, or of the database
GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO "rota_promoter";
GRANT pg_monitor TO "rota_promoter"; -- what others' sessions do: without it reports are never ok
-- GRANT pg_read_all_data TO "rota_promoter"; -- only for procedures that read rows: backups, statements
-- GRANT INSERT, UPDATE, DELETE ON the tables TO "rota_promoter";
