//! CREATE INDEX and what indexes are made of.

use pg_query::protobuf as pg;

use super::names::parts;
use super::{Shape, Walk, Walker, none_of};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;

impl Walker {
    pub(super) fn create_index(&mut self, index: &pg::IndexStmt) -> Result<Shape, Refusal> {
        let pg::IndexStmt {
            idxname: _,
            relation,
            access_method: _,
            table_space: _,
            index_params,
            index_including_params,
            options,
            where_clause,
            exclude_op_names,
            idxcomment: _,
            index_oid: _,
            old_number: _,
            old_create_subid: _,
            old_first_relfilelocator_subid: _,
            unique: _,
            nulls_not_distinct: _,
            primary: _,
            isconstraint: _,
            iswithoutoverlaps: _,
            deferrable: _,
            initdeferred: _,
            transformed: _,
            concurrent,
            if_not_exists: _,
            reset_default_tblspc: _,
        } = index;
        none_of(exclude_op_names, "IndexStmt.exclude_op_names")?;
        self.need(SqlAccess::Index, EffectClass::Write);
        self.writes(relation)?;
        self.nodes(index_params)?;
        self.nodes(index_including_params)?;
        self.options(options)?;
        self.maybe(where_clause)?;
        Ok(Shape::of("CREATE INDEX").outside_transaction_if(*concurrent))
    }

    pub(super) fn index_element(&mut self, element: &pg::IndexElem) -> Walk {
        let pg::IndexElem {
            name: _,
            expr,
            indexcolname: _,
            collation,
            opclass,
            opclassopts,
            ordering: _,
            nulls_ordering: _,
        } = element;
        self.maybe(expr)?;
        parts(collation)?;
        // Operator classes are made by superusers only: any may be used.
        parts(opclass)?;
        self.options(opclassopts)
    }
}
