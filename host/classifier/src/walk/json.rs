//! The SQL/JSON functions of the standard, JSON_TABLE included.

use pg_query::protobuf as pg;

use super::names::TypeUse;
use super::{Walk, Walker, nothing};
use crate::refusal::Refusal;

/// A JSON format is two enumerations: nothing in it to visit.
fn format(format: &Option<pg::JsonFormat>) {
    if let Some(pg::JsonFormat { format_type: _, encoding: _, location: _ }) = format {}
}

impl Walker {
    pub(super) fn json_value(&mut self, value: &pg::JsonValueExpr) -> Walk {
        let pg::JsonValueExpr { raw_expr, formatted_expr, format: json_format } = value;
        format(json_format);
        nothing(formatted_expr, "JsonValueExpr.formatted_expr")?;
        self.maybe(raw_expr)
    }

    fn maybe_value(&mut self, value: &Option<Box<pg::JsonValueExpr>>) -> Walk {
        value.as_ref().map_or(Ok(()), |value| self.json_value(value))
    }

    fn output(&mut self, output: &Option<pg::JsonOutput>) -> Walk {
        let Some(pg::JsonOutput { type_name, returning }) = output else { return Ok(()) };
        if let Some(pg::JsonReturning { format: json_format, typid: _, typmod: _ }) = returning {
            format(json_format);
        }
        self.maybe_type(type_name, TypeUse::Value)
    }

    fn behavior(&mut self, behavior: &Option<Box<pg::JsonBehavior>>) -> Walk {
        let Some(behavior) = behavior else { return Ok(()) };
        let pg::JsonBehavior { btype: _, expr, coerce: _, location: _ } = behavior.as_ref();
        self.maybe(expr)
    }

    pub(super) fn json_argument(&mut self, argument: &pg::JsonArgument) -> Walk {
        let pg::JsonArgument { val, name: _ } = argument;
        self.maybe_value(val)
    }

    pub(super) fn json_key_value(&mut self, pair: &pg::JsonKeyValue) -> Walk {
        let pg::JsonKeyValue { key, value } = pair;
        self.maybe(key)?;
        self.maybe_value(value)
    }

    /// JSON_EXISTS, JSON_QUERY, JSON_VALUE.
    pub(super) fn json_function(&mut self, function: &pg::JsonFuncExpr) -> Walk {
        let pg::JsonFuncExpr {
            op: _,
            column_name: _,
            context_item,
            pathspec,
            passing,
            output,
            on_empty,
            on_error,
            wrapper: _,
            quotes: _,
            location: _,
        } = function;
        self.maybe_value(context_item)?;
        self.maybe(pathspec)?;
        self.nodes(passing)?;
        self.output(output)?;
        self.behavior(on_empty)?;
        self.behavior(on_error)
    }

    pub(super) fn json_table(&mut self, table: &pg::JsonTable) -> Walk {
        let pg::JsonTable { context_item, pathspec, passing, columns, on_error, alias, lateral: _, location: _ } =
            table;
        self.maybe_alias(alias)?;
        self.maybe_value(context_item)?;
        self.maybe_path(pathspec)?;
        self.nodes(passing)?;
        self.nodes(columns)?;
        self.behavior(on_error)
    }

    pub(super) fn json_table_column(&mut self, column: &pg::JsonTableColumn) -> Walk {
        let pg::JsonTableColumn {
            coltype: _,
            name: _,
            type_name,
            pathspec,
            format: json_format,
            wrapper: _,
            quotes: _,
            columns,
            on_empty,
            on_error,
            location: _,
        } = column;
        format(json_format);
        self.maybe_type(type_name, TypeUse::Value)?;
        self.maybe_path(pathspec)?;
        self.nodes(columns)?;
        self.behavior(on_empty)?;
        self.behavior(on_error)
    }

    fn maybe_path(&mut self, path: &Option<Box<pg::JsonTablePathSpec>>) -> Walk {
        path.as_ref().map_or(Ok(()), |path| self.json_path(path))
    }

    pub(super) fn json_path(&mut self, path: &pg::JsonTablePathSpec) -> Walk {
        let pg::JsonTablePathSpec { string, name: _, name_location: _, location: _ } = path;
        self.maybe(string)
    }

    pub(super) fn json_is(&mut self, predicate: &pg::JsonIsPredicate) -> Walk {
        let pg::JsonIsPredicate { expr, format: json_format, item_type: _, unique_keys: _, location: _ } = predicate;
        format(json_format);
        self.maybe(expr)
    }

    pub(super) fn json_parse(&mut self, parse: &pg::JsonParseExpr) -> Walk {
        let pg::JsonParseExpr { expr, output, unique_keys: _, location: _ } = parse;
        self.maybe_value(expr)?;
        self.output(output)
    }

    pub(super) fn json_scalar(&mut self, scalar: &pg::JsonScalarExpr) -> Walk {
        let pg::JsonScalarExpr { expr, output, location: _ } = scalar;
        self.maybe(expr)?;
        self.output(output)
    }

    pub(super) fn json_serialize(&mut self, serialize: &pg::JsonSerializeExpr) -> Walk {
        let pg::JsonSerializeExpr { expr, output, location: _ } = serialize;
        self.maybe_value(expr)?;
        self.output(output)
    }

    pub(super) fn json_object(&mut self, object: &pg::JsonObjectConstructor) -> Walk {
        let pg::JsonObjectConstructor { exprs, output, absent_on_null: _, unique: _, location: _ } = object;
        self.nodes(exprs)?;
        self.output(output)
    }

    pub(super) fn json_array(&mut self, array: &pg::JsonArrayConstructor) -> Walk {
        let pg::JsonArrayConstructor { exprs, output, absent_on_null: _, location: _ } = array;
        self.nodes(exprs)?;
        self.output(output)
    }

    pub(super) fn json_array_query(&mut self, array: &pg::JsonArrayQueryConstructor) -> Walk {
        let pg::JsonArrayQueryConstructor { query, output, format: json_format, absent_on_null: _, location: _ } =
            array;
        format(json_format);
        self.maybe(query)?;
        self.output(output)
    }

    pub(super) fn json_object_agg(&mut self, aggregate: &pg::JsonObjectAgg) -> Walk {
        let pg::JsonObjectAgg { constructor, arg, absent_on_null: _, unique: _ } = aggregate;
        self.aggregate(constructor)?;
        let Some(pair) = arg else { return Err(Refusal::unknown("JSON_OBJECTAGG without an argument")) };
        self.json_key_value(pair)
    }

    pub(super) fn json_array_agg(&mut self, aggregate: &pg::JsonArrayAgg) -> Walk {
        let pg::JsonArrayAgg { constructor, arg, absent_on_null: _ } = aggregate;
        self.aggregate(constructor)?;
        self.maybe_value(arg)
    }

    fn aggregate(&mut self, constructor: &Option<Box<pg::JsonAggConstructor>>) -> Walk {
        let Some(constructor) = constructor else { return Ok(()) };
        let pg::JsonAggConstructor { output, agg_filter, agg_order, over, location: _ } = constructor.as_ref();
        self.output(output)?;
        self.maybe(agg_filter)?;
        self.nodes(agg_order)?;
        over.as_ref().map_or(Ok(()), |over| self.window(over))
    }
}
