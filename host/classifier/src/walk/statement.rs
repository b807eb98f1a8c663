//! Whole statements: each kind to the method that walks it, and the rest to a refusal with its reason.

use pg_query::NodeEnum;

use super::{Shape, Walker, forbidden, kind};
use crate::refusal::Refusal;

impl Walker {
    pub(super) fn statement(&mut self, statement: &NodeEnum) -> Result<Shape, Refusal> {
        match statement {
            NodeEnum::SelectStmt(s) => self.select(s),
            NodeEnum::InsertStmt(s) => self.insert(s),
            NodeEnum::UpdateStmt(s) => self.update(s),
            NodeEnum::DeleteStmt(s) => self.delete(s),
            NodeEnum::MergeStmt(s) => self.merge(s),
            NodeEnum::TruncateStmt(s) => self.truncate(s),

            NodeEnum::ExplainStmt(s) => self.explain(s),
            NodeEnum::VariableShowStmt(s) => self.show(s),
            NodeEnum::VariableSetStmt(s) => self.set(s),
            NodeEnum::LockStmt(s) => self.lock(s),
            NodeEnum::AlterSystemStmt(s) => self.alter_system(s),
            NodeEnum::ConstraintsSetStmt(s) => self.set_constraints(s),

            NodeEnum::VacuumStmt(s) => self.vacuum(s),
            NodeEnum::ClusterStmt(s) => self.cluster(s),
            NodeEnum::ReindexStmt(s) => self.reindex(s),
            NodeEnum::CheckPointStmt(s) => self.checkpoint(s),
            NodeEnum::RefreshMatViewStmt(s) => self.refresh(s),

            NodeEnum::IndexStmt(s) => self.create_index(s),

            NodeEnum::CreateStmt(s) => self.create_table(s),
            NodeEnum::CreateTableAsStmt(s) => self.create_table_as(s),
            NodeEnum::ViewStmt(s) => self.create_view(s),
            NodeEnum::CreateSchemaStmt(s) => self.create_schema(s),
            NodeEnum::CreateSeqStmt(s) => self.create_sequence(s),
            NodeEnum::CompositeTypeStmt(s) => self.create_composite_type(s),
            NodeEnum::CreateEnumStmt(s) => self.create_enum(s),
            NodeEnum::CreateRangeStmt(s) => self.create_range(s),
            NodeEnum::CreateDomainStmt(s) => self.create_domain(s),
            NodeEnum::CreateStatsStmt(s) => self.create_statistics(s),
            NodeEnum::CreateExtensionStmt(s) => self.create_extension(s),
            NodeEnum::DefineStmt(s) => self.define(s),

            NodeEnum::AlterTableStmt(s) => self.alter_table(s),
            NodeEnum::AlterSeqStmt(s) => self.alter_sequence(s),
            NodeEnum::AlterEnumStmt(s) => self.alter_enum(s),
            NodeEnum::AlterDomainStmt(s) => self.alter_domain(s),
            NodeEnum::AlterStatsStmt(s) => self.alter_statistics(s),
            NodeEnum::AlterExtensionStmt(s) => self.alter_extension(s),
            NodeEnum::AlterTsdictionaryStmt(s) => self.alter_ts_dictionary(s),
            NodeEnum::AlterTsconfigurationStmt(s) => self.alter_ts_configuration(s),
            NodeEnum::AlterCollationStmt(s) => self.alter_collation(s),

            NodeEnum::DropStmt(s) => self.drop_objects(s),
            NodeEnum::RenameStmt(s) => self.rename(s),
            NodeEnum::AlterObjectSchemaStmt(s) => self.set_schema(s),
            NodeEnum::CommentStmt(s) => self.comment(s),

            NodeEnum::CreatedbStmt(s) => self.create_database(s),
            NodeEnum::AlterDatabaseStmt(s) => self.alter_database(s),
            NodeEnum::AlterDatabaseRefreshCollStmt(s) => self.refresh_collation(s),
            NodeEnum::DropdbStmt(s) => self.drop_database(s),

            other => Err(match forbidden::statement(other) {
                Some((what, why)) => Refusal::forbidden(what, why),
                None => Refusal::unknown(kind(other)),
            }),
        }
    }
}
