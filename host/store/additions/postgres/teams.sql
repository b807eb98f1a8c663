-- What the runs of a team have used in a day (of UTC, counted from 1970), on all hosts together. Hosts of the version before know no teams,
-- and count nothing.
create table rota.team_usage (
    team text collate "C" not null,
    day bigint not null,
    runs bigint not null default 0,
    -- Microseconds.
    cpu bigint not null default 0,
    bytes_out bigint not null default 0,
    effects bigint not null default 0,
    primary key (team, day)
) with (fillfactor = 50);

-- Runs that were counted, so that one is counted once whatever becomes of its attempts.
create table rota.team_runs (
    run text collate "C" primary key,
    team text collate "C" not null,
    day bigint not null
);
