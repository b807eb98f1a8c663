//! VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT and REFRESH MATERIALIZED VIEW: all `maintain`.
//!
//! None takes data away, so all are plain writes: also VACUUM FULL and CLUSTER, which rewrite a table and lock
//! others out for as long as that takes. They may tend the catalogs too.

use pg_query::NodeEnum;
use pg_query::protobuf::{self as pg, ReindexObjectType};

use super::names::parts;
use super::{Shape, Walker};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;
use crate::statement::quoted;

impl Walker {
    fn maintains(&mut self) {
        self.need(SqlAccess::Maintain, EffectClass::Write);
    }

    pub(super) fn vacuum(&mut self, vacuum: &pg::VacuumStmt) -> Result<Shape, Refusal> {
        let pg::VacuumStmt { options, rels, is_vacuumcmd } = vacuum;
        self.maintains();
        self.options(options)?;
        for relation in rels {
            match &relation.node {
                Some(NodeEnum::VacuumRelation(pg::VacuumRelation { relation: Some(relation), oid: 0, va_cols })) => {
                    self.tends(relation)?;
                    parts(va_cols)?;
                }
                _ => return Err(Refusal::unknown("VACUUM or ANALYZE of something else than a relation")),
            }
        }
        Ok(if *is_vacuumcmd { Shape::of("VACUUM").outside_transaction_if(true) } else { Shape::of("ANALYZE") })
    }

    pub(super) fn cluster(&mut self, cluster: &pg::ClusterStmt) -> Result<Shape, Refusal> {
        let pg::ClusterStmt { relation, indexname: _, params } = cluster;
        self.maintains();
        self.options(params)?;
        relation.as_ref().map_or(Ok(()), |relation| self.tends(relation))?;
        Ok(Shape::of("CLUSTER").outside_transaction_if(relation.is_none()))
    }

    pub(super) fn reindex(&mut self, reindex: &pg::ReindexStmt) -> Result<Shape, Refusal> {
        let pg::ReindexStmt { kind: _, relation, name, params } = reindex;
        self.maintains();
        self.options(params)?;
        relation.as_ref().map_or(Ok(()), |relation| self.tends(relation))?;
        if !name.is_empty() {
            self.changes(quoted(name));
        }
        let whole =
            !matches!(reindex.kind(), ReindexObjectType::ReindexObjectIndex | ReindexObjectType::ReindexObjectTable);
        let concurrently = params
            .iter()
            .any(|option| matches!(&option.node, Some(NodeEnum::DefElem(option)) if option.defname == "concurrently"));
        Ok(Shape::of("REINDEX").outside_transaction_if(whole || concurrently))
    }

    pub(super) fn checkpoint(&mut self, checkpoint: &pg::CheckPointStmt) -> Result<Shape, Refusal> {
        let pg::CheckPointStmt {} = checkpoint;
        self.maintains();
        Ok(Shape::of("CHECKPOINT"))
    }

    pub(super) fn refresh(&mut self, refresh: &pg::RefreshMatViewStmt) -> Result<Shape, Refusal> {
        let pg::RefreshMatViewStmt { concurrent: _, skip_data: _, relation } = refresh;
        self.maintains();
        self.writes(relation)?;
        Ok(Shape::of("REFRESH MATERIALIZED VIEW"))
    }
}
