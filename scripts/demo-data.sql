-- The demo's database: a shop's orders, documents with embeddings, and a table full of dead rows.
create extension if not exists vector;
create table customers (id bigint primary key generated always as identity, name text not null, created timestamptz not null default now());
insert into customers (name) select 'customer ' || n from generate_series(1, 5000) n;
create table orders (id bigint primary key generated always as identity, customer bigint not null references customers, total numeric(12, 2) not null, note text, placed timestamptz not null);
insert into orders (customer, total, note, placed)
    select 1 + n % 5000, (n % 10000) / 7.0, repeat(md5(n::text), 4), now() - n * interval '1 minute' from generate_series(1, 200000) n;
create table documents (id bigint primary key generated always as identity, content text not null, embedding vector(384) not null);
insert into documents (content, embedding)
    select md5(n::text), (select array_agg(sin(n * 0.37 + d) * cos(d * 1.7 + n))::vector from generate_series(1, 384) d) from generate_series(1, 20000) n;
create table sessions (id bigint primary key generated always as identity, token text not null, seen timestamptz not null default now()) with (autovacuum_enabled = off);
insert into sessions (token) select md5(n::text) from generate_series(1, 120000) n;
update sessions set seen = now() where id % 2 = 0;
-- Odd names are names too.
create table "odd ""name"" % 🦀" (id int primary key, note text) with (autovacuum_enabled = off);
insert into "odd ""name"" % 🦀" select n, 'x' from generate_series(1, 30000) n;
delete from "odd ""name"" % 🦀" where id % 2 = 0;
analyze;
-- Who may do what: the second wall behind Rota's grants.
create role rota_backup login password 'demo-backup' in role pg_read_all_data, pg_monitor;
create role rota_maintainer login password 'demo-maintain' in role pg_monitor;
alter table sessions owner to rota_maintainer;
alter table "odd ""name"" % 🦀" owner to rota_maintainer;
alter table orders owner to rota_maintainer;
alter table documents owner to rota_maintainer;
alter table customers owner to rota_maintainer;
