//! Expressions.

use pg_query::NodeEnum;
use pg_query::protobuf::{self as pg, AExprKind};

use super::names::{TypeUse, parts};
use super::{Walk, Walker, none_of, nothing};
use crate::refusal::Refusal;

impl Walker {
    pub(super) fn call(&mut self, call: &pg::FuncCall) -> Walk {
        let pg::FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
            agg_star: _,
            agg_distinct: _,
            func_variadic: _,
            funcformat: _,
            location: _,
        } = call;
        self.function(funcname)?;
        self.nodes(args)?;
        self.nodes(agg_order)?;
        self.maybe(agg_filter)?;
        over.as_ref().map_or(Ok(()), |over| self.window(over))
    }

    pub(super) fn operation(&mut self, operation: &pg::AExpr) -> Walk {
        let pg::AExpr { kind, name, lexpr, rexpr, rexpr_list_start: _, rexpr_list_end: _, location: _ } = operation;
        match AExprKind::try_from(*kind) {
            Ok(
                AExprKind::AexprOp
                | AExprKind::AexprOpAny
                | AExprKind::AexprOpAll
                | AExprKind::AexprDistinct
                | AExprKind::AexprNotDistinct
                | AExprKind::AexprNullif
                | AExprKind::AexprIn
                | AExprKind::AexprLike
                | AExprKind::AexprIlike
                | AExprKind::AexprSimilar,
            ) => self.operator(name)?,
            // Their name is the keyword; they become comparisons.
            Ok(
                AExprKind::AexprBetween
                | AExprKind::AexprNotBetween
                | AExprKind::AexprBetweenSym
                | AExprKind::AexprNotBetweenSym,
            ) => {}
            Ok(AExprKind::Undefined) | Err(_) => return Err(Refusal::unknown("an A_Expr of unknown kind")),
        }
        self.maybe(lexpr)?;
        self.maybe(rexpr)
    }

    pub(super) fn bool_expr(&mut self, expression: &pg::BoolExpr) -> Walk {
        let pg::BoolExpr { xpr, boolop: _, args, location: _ } = expression;
        nothing(xpr, "BoolExpr.xpr")?;
        self.nodes(args)
    }

    pub(super) fn boolean_test(&mut self, test: &pg::BooleanTest) -> Walk {
        let pg::BooleanTest { xpr, arg, booltesttype: _, location: _ } = test;
        nothing(xpr, "BooleanTest.xpr")?;
        self.maybe(arg)
    }

    pub(super) fn null_test(&mut self, test: &pg::NullTest) -> Walk {
        let pg::NullTest { xpr, arg, nulltesttype: _, argisrow: _, location: _ } = test;
        nothing(xpr, "NullTest.xpr")?;
        self.maybe(arg)
    }

    pub(super) fn case(&mut self, case: &pg::CaseExpr) -> Walk {
        let pg::CaseExpr { xpr, casetype: _, casecollid: _, arg, args, defresult, location: _ } = case;
        nothing(xpr, "CaseExpr.xpr")?;
        self.maybe(arg)?;
        self.nodes(args)?;
        self.maybe(defresult)
    }

    pub(super) fn case_when(&mut self, when: &pg::CaseWhen) -> Walk {
        let pg::CaseWhen { xpr, expr, result, location: _ } = when;
        nothing(xpr, "CaseWhen.xpr")?;
        self.maybe(expr)?;
        self.maybe(result)
    }

    pub(super) fn coalesce(&mut self, coalesce: &pg::CoalesceExpr) -> Walk {
        let pg::CoalesceExpr { xpr, coalescetype: _, coalescecollid: _, args, location: _ } = coalesce;
        nothing(xpr, "CoalesceExpr.xpr")?;
        self.nodes(args)
    }

    pub(super) fn min_max(&mut self, min_max: &pg::MinMaxExpr) -> Walk {
        let pg::MinMaxExpr { xpr, minmaxtype: _, minmaxcollid: _, inputcollid: _, op: _, args, location: _ } = min_max;
        nothing(xpr, "MinMaxExpr.xpr")?;
        self.nodes(args)
    }

    pub(super) fn row(&mut self, row: &pg::RowExpr) -> Walk {
        let pg::RowExpr { xpr, args, row_typeid: _, row_format: _, colnames, location: _ } = row;
        nothing(xpr, "RowExpr.xpr")?;
        self.nodes(args)?;
        parts(colnames).map(drop)
    }

    pub(super) fn array(&mut self, array: &pg::AArrayExpr) -> Walk {
        let pg::AArrayExpr { elements, list_start: _, list_end: _, location: _ } = array;
        self.nodes(elements)
    }

    pub(super) fn indices(&mut self, indices: &pg::AIndices) -> Walk {
        let pg::AIndices { is_slice: _, lidx, uidx } = indices;
        self.maybe(lidx)?;
        self.maybe(uidx)
    }

    pub(super) fn indirection(&mut self, indirection: &pg::AIndirection) -> Walk {
        let pg::AIndirection { arg, indirection } = indirection;
        self.maybe(arg)?;
        for node in indirection {
            if let Some(NodeEnum::String(pg::String { sval })) = &node.node {
                self.attribute(sval)?;
            }
        }
        self.nodes(indirection)
    }

    pub(super) fn column(&mut self, column: &pg::ColumnRef) -> Walk {
        let pg::ColumnRef { fields, location: _ } = column;
        self.columns += 1;
        let named = fields.iter().all(|field| matches!(field.node, Some(NodeEnum::String(_) | NodeEnum::AStar(_))));
        if let [_, .., last] = fields.as_slice()
            && let Some(NodeEnum::String(pg::String { sval })) = &last.node
        {
            self.attribute(sval)?;
        }
        if named { Ok(()) } else { Err(Refusal::unknown("a column that is neither a name nor *")) }
    }

    pub(super) fn cast(&mut self, cast: &pg::TypeCast) -> Walk {
        let pg::TypeCast { arg, type_name, location: _ } = cast;
        self.maybe_type(type_name, TypeUse::Value)?;
        self.maybe(arg)
    }

    pub(super) fn collate(&mut self, collate: &pg::CollateClause) -> Walk {
        let pg::CollateClause { arg, collname, location: _ } = collate;
        self.maybe(arg)?;
        parts(collname).map(drop)
    }

    pub(super) fn sub_link(&mut self, link: &pg::SubLink) -> Walk {
        let pg::SubLink { xpr, sub_link_type: _, sub_link_id: _, testexpr, oper_name, subselect, location: _ } = link;
        nothing(xpr, "SubLink.xpr")?;
        self.maybe(testexpr)?;
        if !oper_name.is_empty() {
            self.operator(oper_name)?;
        }
        self.maybe(subselect)
    }

    pub(super) fn named_argument(&mut self, argument: &pg::NamedArgExpr) -> Walk {
        let pg::NamedArgExpr { xpr, arg, name: _, argnumber: _, location: _ } = argument;
        nothing(xpr, "NamedArgExpr.xpr")?;
        self.maybe(arg)
    }

    pub(super) fn grouping_function(&mut self, grouping: &pg::GroupingFunc) -> Walk {
        let pg::GroupingFunc { xpr, args, refs, agglevelsup: _, location: _ } = grouping;
        nothing(xpr, "GroupingFunc.xpr")?;
        none_of(refs, "GroupingFunc.refs")?;
        self.nodes(args)
    }

    pub(super) fn grouping_set(&mut self, set: &pg::GroupingSet) -> Walk {
        let pg::GroupingSet { kind: _, content, location: _ } = set;
        self.nodes(content)
    }

    pub(super) fn merge_action(&mut self, function: &pg::MergeSupportFunc) -> Walk {
        let pg::MergeSupportFunc { xpr, msftype: _, msfcollid: _, location: _ } = function;
        nothing(xpr, "MergeSupportFunc.xpr")
    }

    pub(super) fn value_function(&mut self, function: &pg::SqlValueFunction) -> Walk {
        // CURRENT_DATE, CURRENT_USER and their like.
        let pg::SqlValueFunction { xpr, op: _, r#type: _, typmod: _, location: _ } = function;
        nothing(xpr, "SQLValueFunction.xpr")
    }

    pub(super) fn set_to_default(&mut self, default: &pg::SetToDefault) -> Walk {
        let pg::SetToDefault { xpr, type_id: _, type_mod: _, collation: _, location: _ } = default;
        nothing(xpr, "SetToDefault.xpr")
    }

    pub(super) fn target(&mut self, target: &pg::ResTarget) -> Walk {
        let pg::ResTarget { name: _, indirection, val, location: _ } = target;
        self.nodes(indirection)?;
        self.maybe(val)
    }

    pub(super) fn multi_assign(&mut self, assign: &pg::MultiAssignRef) -> Walk {
        let pg::MultiAssignRef { source, colno: _, ncolumns: _ } = assign;
        // The columns share one source, which the parser repeats with each of them; `bounds` keeps that small.
        self.maybe(source)
    }

    pub(super) fn sort(&mut self, sort: &pg::SortBy) -> Walk {
        let pg::SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location: _ } = sort;
        if !use_op.is_empty() {
            self.operator(use_op)?;
        }
        self.maybe(node)
    }

    pub(super) fn window(&mut self, window: &pg::WindowDef) -> Walk {
        let pg::WindowDef {
            name: _,
            refname: _,
            partition_clause,
            order_clause,
            frame_options: _,
            start_offset,
            end_offset,
            location: _,
        } = window;
        self.nodes(partition_clause)?;
        self.nodes(order_clause)?;
        self.maybe(start_offset)?;
        self.maybe(end_offset)
    }

    pub(super) fn xml(&mut self, xml: &pg::XmlExpr) -> Walk {
        let pg::XmlExpr {
            xpr,
            op: _,
            name: _,
            named_args,
            arg_names,
            args,
            xmloption: _,
            indent: _,
            r#type: _,
            typmod: _,
            location: _,
        } = xml;
        nothing(xpr, "XmlExpr.xpr")?;
        none_of(arg_names, "XmlExpr.arg_names")?;
        self.nodes(named_args)?;
        self.nodes(args)
    }

    pub(super) fn xml_serialize(&mut self, xml: &pg::XmlSerialize) -> Walk {
        let pg::XmlSerialize { xmloption: _, expr, type_name, indent: _, location: _ } = xml;
        self.maybe_type(type_name, TypeUse::Value)?;
        self.maybe(expr)
    }
}
