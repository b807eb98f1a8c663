//! SELECT, VALUES and TABLE, and the WITH before any query.

use pg_query::NodeEnum;
use pg_query::protobuf as pg;

use super::names::parts;
use super::{Shape, Walk, Walker, none_of};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;

impl Walker {
    pub(super) fn select(&mut self, select: &pg::SelectStmt) -> Result<Shape, Refusal> {
        self.need(SqlAccess::Read, EffectClass::Read);
        self.select_parts(select)?;
        if select.into_clause.is_some() {
            return Ok(Shape::of("SELECT INTO"));
        }
        Ok(Shape::of(if is_values(select) { "VALUES" } else { "SELECT" }).with_rows(true))
    }

    /// What a SELECT is made of, without asking for `read`: VALUES of an INSERT read nothing by themselves.
    pub(super) fn select_parts(&mut self, select: &pg::SelectStmt) -> Walk {
        let pg::SelectStmt {
            distinct_clause,
            into_clause,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause,
            op: _,
            all: _,
            larg,
            rarg,
        } = select;
        self.maybe_with(with_clause)?;
        if let Some(into) = into_clause {
            self.select_into(into)?;
        }
        self.nodes(from_clause)?;
        self.nodes(target_list)?;
        self.nodes(distinct_clause)?;
        self.maybe(where_clause)?;
        self.nodes(group_clause)?;
        self.maybe(having_clause)?;
        self.nodes(window_clause)?;
        self.nodes(values_lists)?;
        self.nodes(sort_clause)?;
        self.maybe(limit_offset)?;
        self.maybe(limit_count)?;
        self.nodes(locking_clause)?;
        for side in [larg, rarg].into_iter().flatten() {
            self.deeper(|walker| walker.select(side).map(drop))?;
        }
        Ok(())
    }

    /// A UNION's sides nest without a node between them: they count as one.
    fn deeper(&mut self, walk: impl FnOnce(&mut Self) -> Walk) -> Walk {
        self.depth += 1;
        if self.depth > super::MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        walk(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// The table that SELECT INTO or CREATE TABLE AS makes.
    pub(super) fn select_into(&mut self, into: &pg::IntoClause) -> Walk {
        let pg::IntoClause {
            rel,
            col_names,
            access_method: _,
            options,
            on_commit: _,
            table_space_name: _,
            view_query,
            skip_data: _,
        } = into;
        if view_query.is_some() {
            return Err(Refusal::unknown("IntoClause.view_query"));
        }
        self.need(SqlAccess::Ddl, EffectClass::Write);
        self.writes(rel)?;
        parts(col_names)?;
        self.options(options)
    }

    pub(super) fn locking(&mut self, locking: &pg::LockingClause) -> Walk {
        let pg::LockingClause { locked_rels, strength: _, wait_policy: _ } = locking;
        // A row lock is written into the row and holds up writers.
        self.need(SqlAccess::Write, EffectClass::Write);
        locked_rels.iter().try_for_each(|relation| match &relation.node {
            // These are aliases of what stands in FROM, which was looked at there.
            Some(NodeEnum::RangeVar(relation)) => self.maybe_alias(&relation.alias),
            _ => Err(Refusal::unknown("FOR UPDATE of something else than a relation")),
        })
    }

    pub(super) fn maybe_with(&mut self, with: &Option<pg::WithClause>) -> Walk {
        let Some(pg::WithClause { ctes, recursive: _, location: _ }) = with else { return Ok(()) };
        for cte in ctes {
            if let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node {
                self.ctes.push(cte.ctename.clone());
            }
        }
        self.nodes(ctes)
    }

    pub(super) fn common_table(&mut self, cte: &pg::CommonTableExpr) -> Walk {
        let pg::CommonTableExpr {
            ctename: _,
            aliascolnames,
            ctematerialized: _,
            ctequery,
            search_clause,
            cycle_clause,
            location: _,
            cterecursive: _,
            cterefcount: _,
            ctecolnames,
            ctecoltypes,
            ctecoltypmods,
            ctecolcollations,
        } = cte;
        parts(aliascolnames)?;
        none_of(ctecolnames, "CommonTableExpr.ctecolnames")?;
        none_of(ctecoltypes, "CommonTableExpr.ctecoltypes")?;
        none_of(ctecoltypmods, "CommonTableExpr.ctecoltypmods")?;
        none_of(ctecolcollations, "CommonTableExpr.ctecolcollations")?;
        if let Some(search) = search_clause {
            let pg::CteSearchClause { search_col_list, search_breadth_first: _, search_seq_column: _, location: _ } =
                search;
            parts(search_col_list)?;
        }
        if let Some(cycle) = cycle_clause {
            let pg::CteCycleClause {
                cycle_col_list,
                cycle_mark_column: _,
                cycle_mark_value,
                cycle_mark_default,
                cycle_path_column: _,
                location: _,
                cycle_mark_type: _,
                cycle_mark_typmod: _,
                cycle_mark_collation: _,
                cycle_mark_neop: _,
            } = cycle.as_ref();
            parts(cycle_col_list)?;
            self.maybe(cycle_mark_value)?;
            self.maybe(cycle_mark_default)?;
        }
        self.maybe(ctequery)
    }
}

/// Whether it is VALUES and nothing before or around it.
pub(super) fn is_values(select: &pg::SelectStmt) -> bool {
    !select.values_lists.is_empty()
}
