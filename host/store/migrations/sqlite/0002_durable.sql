-- Durable runs. The tables are those of PostgreSQL's 0002. `runs` is made anew, because columns that were required are not any more; nothing
-- goes with it, because foreign keys are off.

create table runs_new (
    id text primary key,
    job text,
    plugin text not null,
    version text not null,
    digest text not null,
    mode text not null,
    trigger text not null,
    parameters text not null,
    grants text not null,
    scheduled_for integer,
    labels text not null,
    policy text not null,
    parent text,
    not_before integer,
    hold text,
    created_at integer not null,
    -- What changes.
    state text not null,
    wait text,
    due integer not null,
    attempt integer not null default 0,
    lease_number integer not null default 0,
    host text not null default '',
    started_at integer,
    finished_at integer,
    cancel text,
    pending_end text,
    report text,
    error text,
    dropped_log_lines integer not null default 0,
    progress text,
    note text
) strict;
insert into runs_new (id, job, plugin, version, digest, mode, trigger, parameters, grants, scheduled_for, labels, policy, created_at,
                      state, due, attempt, lease_number, host, started_at, finished_at, report, error, dropped_log_lines)
    select id, job, plugin, version, digest, mode, trigger, parameters, grants, scheduled_for, '{}', '{}', started_at,
           status, started_at, attempt, 1, host, started_at, finished_at, report, error, dropped_log_lines
    from runs;

-- Runs that nobody holds and that are not over.
create table queue (
    run text primary key,
    job text not null,
    priority integer not null,
    due integer not null,
    -- Until it is released: approval, window.
    hold text,
    -- A key that was taken when it was last looked at, and how many may hold it.
    blocked text,
    blocked_limit integer,
    host_labels text not null,
    keys text not null,
    undo integer not null
) strict;
create index queue_ready on queue (priority desc, due, run) where hold is null and blocked is null;
create index queue_jobs on queue (job, priority desc, due, run) where hold is null and blocked is null;
create index queue_blocked on queue (blocked, priority desc, due, run) where hold is null and blocked is not null;

-- Runs that somebody holds. Nothing that a heartbeat changes is indexed.
create table leases (
    run text primary key,
    job text not null,
    holder text not null,
    number integer not null,
    expires integer not null
) strict, without rowid;

-- Which runs that are held carry which concurrency key.
create table held_keys (
    key text not null,
    run text not null,
    primary key (key, run)
) strict, without rowid;
create index held_keys_by_run on held_keys (run);

create table attempts (
    run text not null,
    number integer not null,
    host text not null,
    incarnation text not null,
    lease integer not null,
    started_at integer not null,
    finished_at integer,
    outcome text,
    error text,
    primary key (run, number)
) strict, without rowid;

create table steps (
    run text not null,
    name text not null,
    attempt integer not null,
    started_at integer not null,
    finished_at integer,
    first_effect integer not null,
    last_effect integer,
    result text,
    primary key (run, name)
) strict, without rowid;

create table compensations (
    run text not null,
    sequence integer not null,
    name text not null,
    state text not null,
    status text not null,
    attempts integer not null default 0,
    error text,
    due integer,
    digest text not null,
    registered_at integer not null,
    finished_at integer,
    note text,
    primary key (run, sequence)
) strict;
create unique index compensations_by_name on compensations (run, name);
create index compensations_by_digest on compensations (digest);

create table components (
    digest text primary key,
    content blob not null,
    kept_at integer not null
) strict;

create table schedules (
    job text primary key,
    definition text not null,
    hash text not null,
    version integer not null,
    decided integer,
    next integer,
    fire_at integer,
    enabled integer not null,
    paused text,
    failures integer not null default 0,
    shard integer not null
) strict;
create index schedules_due on schedules (fire_at) where enabled = 1 and fire_at is not null;

-- One decision for each schedule and instant.
create table fires (
    job text not null,
    nominal integer not null,
    outcome text not null,
    run text,
    reason text,
    decided_at integer not null,
    decided_by text not null,
    missed_more integer not null default 0,
    primary key (job, nominal)
) strict, without rowid;

create table hosts (
    incarnation text primary key,
    name text not null,
    version text not null,
    labels text not null,
    configuration text not null,
    capacity integer not null,
    machine text not null,
    boot text not null,
    pid_namespace text not null,
    pid integer not null,
    pid_started integer not null,
    started_at integer not null,
    seen_at integer not null,
    lease integer not null default 0,
    draining integer not null default 0,
    left_at integer
) strict;

-- Runs that were under way belong to a process that this version does not know: their leases are over.
insert into hosts (incarnation, name, version, labels, configuration, capacity, machine, boot, pid_namespace, pid, pid_started, started_at, seen_at)
    select 'before:' || host || ':' || boot || ':' || pid_namespace || ':' || pid || ':' || pid_started,
           host, '0.1.0', '{}', '', 1, host, boot, pid_namespace, pid, pid_started, min(started_at), min(started_at)
    from runs where status = 'running' group by host, boot, pid_namespace, pid, pid_started;
insert into leases (run, job, holder, number, expires)
    select id, coalesce(job, ''), 'before:' || host || ':' || boot || ':' || pid_namespace || ':' || pid || ':' || pid_started, 1, started_at
    from runs where status = 'running';
insert into attempts (run, number, host, incarnation, lease, started_at, finished_at, outcome, error)
    select id, attempt, host, 'before:' || host || ':' || boot || ':' || pid_namespace || ':' || pid || ':' || pid_started, 1, started_at, finished_at,
           case status when 'running' then null when 'succeeded' then 'reported' when 'unknown' then 'vanished' else status end, error
    from runs;

drop table runs;
alter table runs_new rename to runs;
create index runs_by_job on runs (job, id) where job is not null;
create index runs_by_parent on runs (parent, id) where parent is not null;

alter table effects add column lease integer not null default 0;

-- Runs that are over and whose end others wait for, until somebody has seen to it.
create table ended (
    run text primary key,
    job text not null,
    state text not null,
    ended_at integer not null
) strict, without rowid;
