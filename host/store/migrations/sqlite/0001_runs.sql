-- Runs, their effects, logs and artifacts. Times are microseconds since 1970-01-01T00:00Z.
create table runs (
    id text primary key,
    job text,
    plugin text not null,
    version text not null,
    digest text not null,
    mode text not null,
    trigger text not null,
    attempt integer not null,
    scheduled_for integer,
    parameters text not null,
    grants text not null,
    status text not null,
    -- Which process works on it: host name, boot, process id with the namespace that it
    -- counts in, and when that process started (pids are used again).
    host text not null,
    boot text not null,
    pid_namespace text not null,
    pid integer not null,
    pid_started integer not null,
    started_at integer not null,
    finished_at integer,
    report text,
    error text,
    dropped_log_lines integer not null default 0
) strict;
create index runs_by_job on runs (job, id) where job is not null;
create index runs_under_way on runs (status) where status = 'running';

create table effects (
    run text not null references runs (id) on delete cascade,
    sequence integer not null,
    capability text not null,
    operation text not null,
    target text not null,
    access text not null,
    detail text not null,
    class text not null,
    planned integer not null,
    started_at integer not null,
    finished_at integer,
    outcome text not null,
    said text,
    primary key (run, sequence)
) strict, without rowid;

create table logs (
    run text not null references runs (id) on delete cascade,
    sequence integer not null,
    time integer not null,
    level text not null,
    source text not null,
    message text not null,
    fields text not null,
    primary key (run, sequence)
) strict, without rowid;

create table artifacts (
    run text not null references runs (id) on delete cascade,
    name text not null,
    media_type text not null,
    size integer not null,
    sha256 text not null,
    primary key (run, name)
) strict, without rowid;
