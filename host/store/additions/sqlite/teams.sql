-- What the runs of a team have used in a day. The tables are those of PostgreSQL's.

create table team_usage (
    team text not null,
    day integer not null,
    runs integer not null default 0,
    -- Microseconds.
    cpu integer not null default 0,
    bytes_out integer not null default 0,
    effects integer not null default 0,
    primary key (team, day)
) strict, without rowid;

create table team_runs (
    run text primary key,
    team text not null,
    day integer not null
) strict, without rowid;
