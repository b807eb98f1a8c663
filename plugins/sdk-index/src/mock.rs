//! Indexes for tests on the mock host.

use crate::Index;
use rota_sdk::mock::{MockHost, MockRows, SqlMock};
use rota_sdk::{Timestamp, rows};

/// What every look at indexes asks.
const INDEXES: &str =
    "from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace";

/// An index of one plain key that nobody builds, valid unless `change` says otherwise.
#[must_use]
pub fn index(table: &str, name: &str, key: &str, change: impl FnOnce(&mut Index)) -> Index {
    let mut index = Index {
        oid: 9,
        schema: "public".to_owned(),
        name: name.to_owned(),
        quoted: format!("public.{name}"),
        table_oid: 7,
        table: format!("public.{table}"),
        method: "btree".to_owned(),
        valid: true,
        ready: true,
        live: true,
        unique: false,
        nulls_not_distinct: false,
        constraint: None,
        replica_identity: false,
        keys: vec![key.to_owned()],
        orders: vec![String::new()],
        operator_classes: vec![String::new()],
        class_names: vec!["int8_ops".to_owned()],
        collations: vec![String::new()],
        included: Vec::new(),
        predicate: None,
        options: Vec::new(),
        definition: format!("CREATE INDEX {name} ON public.{table} USING btree ({key})"),
        bytes: 8192,
        entries: 10,
        scans: 0,
        builder: None,
    };
    change(&mut index);
    index
}

/// Indexes as the catalog answers them to [`INDEXES`].
fn rows_of(indexes: &[Index]) -> MockRows {
    let columns = [
        "oid",
        "schema",
        "name",
        "quoted",
        "table_oid",
        "table",
        "method",
        "valid",
        "ready",
        "live",
        "unique",
        "nulls_not_distinct",
        "constraint",
        "replica_identity",
        "keys",
        "orders",
        "operator_classes",
        "class_names",
        "collations",
        "included",
        "predicate",
        "options",
        "definition",
        "bytes",
        "entries",
        "scans",
        "builder",
    ];
    let mut all = rows! { columns };
    for i in indexes {
        all = all.and(rows! { columns => [
            i.oid, i.schema, i.name, i.quoted, i.table_oid, i.table, i.method, i.valid, i.ready, i.live, i.unique, i.nulls_not_distinct,
            i.constraint, i.replica_identity, i.keys, i.orders, i.operator_classes, i.class_names, i.collations, i.included, i.predicate,
            i.options, i.definition, i.bytes, i.entries, i.scans, i.builder
        ] });
    }
    all
}

/// From here on the database has these indexes.
pub fn has(database: &SqlMock, indexes: &[Index]) {
    database.on(INDEXES, rows_of(indexes));
}

/// A host whose database has these indexes, whose server has been up for a moment, and on which nobody holds a build up or is seen building.
pub fn host(indexes: &[Index]) -> (MockHost, SqlMock) {
    let host = MockHost::new();
    let now = Timestamp(1_767_225_600_000_000);
    host.set_now(now);
    let database = host.sql("database");
    database.inspected(now, now, None, true);
    database.on(
        "from pg_catalog.pg_stat_activity a left join (select distinct l.pid",
        rows! { ["pid", "prepared", "who", "seconds", "locks_table"] },
    );
    database.on(
        "from pg_catalog.pg_stat_progress_create_index p where p.pid",
        rows! { ["phase", "done", "total", "unit", "locker"] },
    );
    has(&database, indexes);
    (host, database)
}
