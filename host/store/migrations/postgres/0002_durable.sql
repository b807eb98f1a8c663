-- Everything that Rota remembers. (Numbers of migrations mean the same in both engines; 0001 is SQLite's alone.) Times are microseconds since 1970-01-01T00:00Z by this server's clock; what is structured is JSON text.
-- Names and ids compare by bytes, as in SQLite.
--
-- Hot and cold are apart. `runs` is written when a run is made, claimed and ended, and none of the columns that change is indexed, so that
-- these are HOT updates. What is scanned again and again (queue, leases) is narrow and holds only what is under way: each run that is not
-- over has a row in exactly one of the two. No foreign keys: they would lock `runs` for each effect.

create table rota.runs (
    id text collate "C" primary key,
    job text collate "C",
    plugin text not null,
    version text not null,
    digest text not null,
    mode text not null,
    trigger text not null,
    parameters text not null,
    grants text not null,
    scheduled_for bigint,
    labels text not null,
    policy text not null,
    parent text collate "C",
    not_before bigint,
    hold text,
    created_at bigint not null,
    -- What changes.
    state text not null,
    wait text,
    due bigint not null,
    attempt bigint not null default 0,
    lease_number bigint not null default 0,
    host text not null default '',
    started_at bigint,
    finished_at bigint,
    cancel text,
    pending_end text,
    report text,
    error text,
    dropped_log_lines bigint not null default 0,
    progress text,
    note text
) with (fillfactor = 60);
create index runs_by_job on rota.runs (job, id) where job is not null;
create index runs_by_parent on rota.runs (parent, id) where parent is not null;

-- Runs that nobody holds and that are not over.
create table rota.queue (
    run text collate "C" primary key,
    job text collate "C" not null,
    priority bigint not null,
    due bigint not null,
    -- Until it is released: approval, window.
    hold text,
    -- A key that was taken when it was last looked at, and how many may hold it.
    blocked text collate "C",
    blocked_limit bigint,
    host_labels text not null,
    keys text not null,
    undo bigint not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index queue_ready on rota.queue (priority desc, due, run) where hold is null and blocked is null;
create index queue_jobs on rota.queue (job, priority desc, due, run) where hold is null and blocked is null;
create index queue_blocked on rota.queue (blocked, priority desc, due, run) where hold is null and blocked is not null;

-- Runs that somebody holds. Nothing that a heartbeat changes is indexed.
create table rota.leases (
    run text collate "C" primary key,
    job text collate "C" not null,
    holder text collate "C" not null,
    number bigint not null,
    expires bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Which runs that are held carry which concurrency key.
create table rota.held_keys (
    key text collate "C" not null,
    run text collate "C" not null,
    primary key (key, run)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index held_keys_by_run on rota.held_keys (run);

create table rota.attempts (
    run text collate "C" not null,
    number bigint not null,
    host text not null,
    incarnation text not null,
    lease bigint not null,
    started_at bigint not null,
    finished_at bigint,
    outcome text,
    error text,
    primary key (run, number)
) with (fillfactor = 80);

create table rota.effects (
    run text collate "C" not null,
    sequence bigint not null,
    capability text not null,
    operation text not null,
    target text not null,
    access text not null,
    detail text not null,
    class text not null,
    planned bigint not null,
    started_at bigint not null,
    finished_at bigint,
    outcome text not null,
    said text,
    lease bigint not null default 0,
    primary key (run, sequence)
) with (fillfactor = 80);

create table rota.steps (
    run text collate "C" not null,
    name text collate "C" not null,
    attempt bigint not null,
    started_at bigint not null,
    finished_at bigint,
    first_effect bigint not null,
    last_effect bigint,
    result text,
    primary key (run, name)
) with (fillfactor = 80);

create table rota.compensations (
    run text collate "C" not null,
    sequence bigint not null,
    name text collate "C" not null,
    state text not null,
    status text not null,
    attempts bigint not null default 0,
    error text,
    due bigint,
    digest text collate "C" not null,
    registered_at bigint not null,
    finished_at bigint,
    note text,
    primary key (run, sequence)
) with (fillfactor = 80);
create unique index compensations_by_name on rota.compensations (run, name);
create index compensations_by_digest on rota.compensations (digest);

create table rota.components (
    digest text collate "C" primary key,
    content bytea not null,
    kept_at bigint not null
);

create table rota.logs (
    run text collate "C" not null,
    sequence bigint not null,
    time bigint not null,
    level text not null,
    source text not null,
    message text not null,
    fields text not null,
    primary key (run, sequence)
);

create table rota.artifacts (
    run text collate "C" not null,
    name text collate "C" not null,
    media_type text not null,
    size bigint not null,
    sha256 text not null,
    primary key (run, name)
);

create table rota.schedules (
    job text collate "C" primary key,
    definition text not null,
    hash text not null,
    version bigint not null,
    decided bigint,
    next bigint,
    fire_at bigint,
    enabled bigint not null,
    paused text,
    failures bigint not null default 0,
    shard bigint not null
) with (fillfactor = 80);
create index schedules_due on rota.schedules (fire_at) where enabled = 1 and fire_at is not null;

-- One decision for each schedule and instant.
create table rota.fires (
    job text collate "C" not null,
    nominal bigint not null,
    outcome text not null,
    run text collate "C",
    reason text,
    decided_at bigint not null,
    decided_by text not null,
    missed_more bigint not null default 0,
    primary key (job, nominal)
);

create table rota.hosts (
    incarnation text collate "C" primary key,
    name text not null,
    version text not null,
    labels text not null,
    configuration text not null,
    capacity bigint not null,
    machine text not null,
    boot text not null,
    pid_namespace text not null,
    pid bigint not null,
    pid_started bigint not null,
    started_at bigint not null,
    seen_at bigint not null,
    lease bigint not null default 0,
    draining bigint not null default 0,
    left_at bigint
) with (fillfactor = 50);

-- Runs that are over and whose end others wait for, until somebody has seen to it.
create table rota.ended (
    run text collate "C" primary key,
    job text not null,
    state text not null,
    ended_at bigint not null
);
