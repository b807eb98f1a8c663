//! What stands in FROM.

use pg_query::NodeEnum;
use pg_query::protobuf as pg;

use super::names::{TypeUse, parts};
use super::{Walk, Walker};
use crate::refusal::Refusal;

impl Walker {
    pub(super) fn join(&mut self, join: &pg::JoinExpr) -> Walk {
        let pg::JoinExpr {
            jointype: _,
            is_natural: _,
            larg,
            rarg,
            using_clause,
            join_using_alias,
            quals,
            alias,
            rtindex: _,
        } = join;
        self.maybe(larg)?;
        self.maybe(rarg)?;
        parts(using_clause)?;
        self.maybe_alias(join_using_alias)?;
        self.maybe_alias(alias)?;
        self.maybe(quals)
    }

    pub(super) fn range_subselect(&mut self, subselect: &pg::RangeSubselect) -> Walk {
        let pg::RangeSubselect { lateral: _, subquery, alias } = subselect;
        self.maybe_alias(alias)?;
        self.maybe(subquery)
    }

    pub(super) fn range_function(&mut self, range: &pg::RangeFunction) -> Walk {
        let pg::RangeFunction { lateral: _, ordinality: _, is_rowsfrom: _, functions, alias, coldeflist } = range;
        self.maybe_alias(alias)?;
        self.column_definitions(coldeflist)?;
        for function in functions {
            // Each is a pair: the call, and its own column definitions (ROWS FROM).
            match &function.node {
                Some(NodeEnum::List(pg::List { items })) if items.len() == 2 => {
                    self.node(&items[0])?;
                    match &items[1].node {
                        Some(NodeEnum::List(pg::List { items })) => self.column_definitions(items)?,
                        Some(_) => {
                            return Err(Refusal::unknown("ROWS FROM with something else than column definitions"));
                        }
                        None => {}
                    }
                }
                _ => return Err(Refusal::unknown("a function in FROM of unknown form")),
            }
        }
        Ok(())
    }

    /// `AS t(a int, b text)`: the values that the function gives are turned into these types.
    fn column_definitions(&mut self, definitions: &[pg::Node]) -> Walk {
        definitions.iter().try_for_each(|definition| match &definition.node {
            Some(NodeEnum::ColumnDef(definition)) => self.column_definition(definition, TypeUse::Value),
            _ => Err(Refusal::unknown("a column definition of unknown form")),
        })
    }

    pub(super) fn range_table_function(&mut self, range: &pg::RangeTableFunc) -> Walk {
        // XMLTABLE.
        let pg::RangeTableFunc { lateral: _, docexpr, rowexpr, namespaces, columns, alias, location: _ } = range;
        self.maybe_alias(alias)?;
        self.maybe(docexpr)?;
        self.maybe(rowexpr)?;
        self.nodes(namespaces)?;
        self.nodes(columns)
    }

    pub(super) fn range_table_function_column(&mut self, column: &pg::RangeTableFuncCol) -> Walk {
        let pg::RangeTableFuncCol {
            colname: _,
            type_name,
            for_ordinality: _,
            is_not_null: _,
            colexpr,
            coldefexpr,
            location: _,
        } = column;
        self.maybe_type(type_name, TypeUse::Value)?;
        self.maybe(colexpr)?;
        self.maybe(coldefexpr)
    }

    pub(super) fn range_sample(&mut self, sample: &pg::RangeTableSample) -> Walk {
        let pg::RangeTableSample { relation, method, args, repeatable, location: _ } = sample;
        self.sampling_method(method)?;
        self.maybe(relation)?;
        self.nodes(args)?;
        self.maybe(repeatable)
    }
}
