//! Databases as a whole. Restoring needs to create, rename and drop them.

use pg_query::NodeEnum;
use pg_query::protobuf as pg;

use super::{Shape, Walker};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;
use crate::statement::quoted;

impl Walker {
    pub(super) fn create_database(&mut self, create: &pg::CreatedbStmt) -> Result<Shape, Refusal> {
        let pg::CreatedbStmt { dbname, options } = create;
        self.defines();
        self.changes(quoted(dbname));
        self.options(options)?;
        Ok(Shape::of("CREATE DATABASE").outside_transaction_if(true))
    }

    pub(super) fn alter_database(&mut self, alter: &pg::AlterDatabaseStmt) -> Result<Shape, Refusal> {
        let pg::AlterDatabaseStmt { dbname, options } = alter;
        self.defines();
        self.changes(quoted(dbname));
        self.options(options)?;
        Ok(Shape::of("ALTER DATABASE").outside_transaction_if(has_option(options, "tablespace")))
    }

    pub(super) fn refresh_collation(&mut self, alter: &pg::AlterDatabaseRefreshCollStmt) -> Result<Shape, Refusal> {
        let pg::AlterDatabaseRefreshCollStmt { dbname } = alter;
        self.defines();
        self.changes(quoted(dbname));
        Ok(Shape::of("ALTER DATABASE"))
    }

    pub(super) fn drop_database(&mut self, drop: &pg::DropdbStmt) -> Result<Shape, Refusal> {
        let pg::DropdbStmt { dbname, missing_ok: _, options } = drop;
        self.need(SqlAccess::Ddl, EffectClass::Destructive);
        if has_option(options, "force") {
            // It terminates all who are connected.
            self.need(SqlAccess::Signal, EffectClass::Destructive);
        }
        self.changes(quoted(dbname));
        self.options(options)?;
        Ok(Shape::of("DROP DATABASE").outside_transaction_if(true))
    }
}

fn has_option(options: &[pg::Node], name: &str) -> bool {
    options.iter().any(|option| matches!(&option.node, Some(NodeEnum::DefElem(option)) if option.defname == name))
}
