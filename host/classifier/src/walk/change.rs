//! INSERT, UPDATE, DELETE, MERGE and TRUNCATE.
//!
//! All ask for `write`, TRUNCATE too: it takes away rows, not the table. What reads beside it asks for `read` as
//! well: a subquery, FROM or USING, and RETURNING. Without a WHERE that looks at a column, UPDATE and DELETE are
//! destructive; TRUNCATE always is.

use pg_query::NodeEnum;
use pg_query::protobuf::{self as pg, CmdType, MergeMatchKind};

use super::query::is_values;
use super::{Shape, Walk, Walker};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;

impl Walker {
    pub(super) fn insert(&mut self, insert: &pg::InsertStmt) -> Result<Shape, Refusal> {
        let pg::InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: _,
        } = insert;
        self.need(SqlAccess::Write, EffectClass::Write);
        self.writes(relation)?;
        self.maybe_with(with_clause)?;
        self.nodes(cols)?;
        match select_stmt.as_ref().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(values)) if is_values(values) => self.select_parts(values)?,
            _ => self.maybe(select_stmt)?,
        }
        if let Some(conflict) = on_conflict_clause {
            let pg::OnConflictClause { action: _, infer, target_list, where_clause, location: _ } = conflict.as_ref();
            if let Some(infer) = infer {
                let pg::InferClause { index_elems, where_clause, conname: _, location: _ } = infer.as_ref();
                self.nodes(index_elems)?;
                self.maybe(where_clause)?;
            }
            self.nodes(target_list)?;
            self.maybe(where_clause)?;
        }
        self.returning("INSERT", returning_clause)
    }

    pub(super) fn update(&mut self, update: &pg::UpdateStmt) -> Result<Shape, Refusal> {
        let pg::UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause } = update;
        self.need(SqlAccess::Write, EffectClass::Write);
        self.writes(relation)?;
        self.maybe_with(with_clause)?;
        self.nodes(target_list)?;
        self.other_relations(from_clause)?;
        self.selection(where_clause)?;
        self.returning("UPDATE", returning_clause)
    }

    pub(super) fn delete(&mut self, delete: &pg::DeleteStmt) -> Result<Shape, Refusal> {
        let pg::DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause } = delete;
        self.need(SqlAccess::Write, EffectClass::Write);
        self.writes(relation)?;
        self.maybe_with(with_clause)?;
        self.other_relations(using_clause)?;
        self.selection(where_clause)?;
        self.returning("DELETE", returning_clause)
    }

    pub(super) fn merge(&mut self, merge: &pg::MergeStmt) -> Result<Shape, Refusal> {
        let pg::MergeStmt {
            relation,
            source_relation,
            join_condition,
            merge_when_clauses,
            returning_clause,
            with_clause,
        } = merge;
        self.need(SqlAccess::Write, EffectClass::Write);
        self.need(SqlAccess::Read, EffectClass::Read);
        self.writes(relation)?;
        self.maybe_with(with_clause)?;
        self.maybe(source_relation)?;
        self.maybe(join_condition)?;
        self.nodes(merge_when_clauses)?;
        self.returning("MERGE", returning_clause)
    }

    pub(super) fn merge_when(&mut self, when: &pg::MergeWhenClause) -> Walk {
        let pg::MergeWhenClause { match_kind, command_type, r#override: _, condition, target_list, values } = when;
        let before = self.columns;
        self.maybe(condition)?;
        let unconditional = self.columns == before;
        let not_in_source = *match_kind == MergeMatchKind::MergeWhenNotMatchedBySource as i32;
        let takes_away = *command_type == CmdType::CmdDelete as i32 || *command_type == CmdType::CmdUpdate as i32;
        if not_in_source && takes_away && unconditional {
            // Every row that the source happens not to have, all of them if it is empty.
            self.need(SqlAccess::Write, EffectClass::Destructive);
        }
        self.nodes(target_list)?;
        self.nodes(values)
    }

    pub(super) fn truncate(&mut self, truncate: &pg::TruncateStmt) -> Result<Shape, Refusal> {
        let pg::TruncateStmt { relations, restart_seqs: _, behavior: _ } = truncate;
        self.need(SqlAccess::Write, EffectClass::Destructive);
        for relation in relations {
            match &relation.node {
                Some(NodeEnum::RangeVar(relation)) => self.writes(&Some(relation.clone()))?,
                _ => return Err(Refusal::unknown("TRUNCATE of something else than a relation")),
            }
        }
        Ok(Shape::of("TRUNCATE"))
    }

    fn other_relations(&mut self, relations: &[pg::Node]) -> Walk {
        if !relations.is_empty() {
            self.need(SqlAccess::Read, EffectClass::Read);
        }
        self.nodes(relations)
    }

    /// The WHERE of a change. One that refers to no column takes every row or none.
    fn selection(&mut self, clause: &Option<Box<pg::Node>>) -> Walk {
        let before = self.columns;
        self.maybe(clause)?;
        if self.columns == before {
            self.need(SqlAccess::Write, EffectClass::Destructive);
        }
        Ok(())
    }

    fn returning(&mut self, verb: &'static str, clause: &Option<pg::ReturningClause>) -> Result<Shape, Refusal> {
        let Some(pg::ReturningClause { options, exprs }) = clause else { return Ok(Shape::of(verb)) };
        self.need(SqlAccess::Read, EffectClass::Read);
        self.nodes(options)?;
        self.nodes(exprs)?;
        Ok(Shape::of(verb).with_rows(!exprs.is_empty()))
    }
}
