//! The walker: it visits every node of a parse tree and adds up what the statement needs.
//!
//! Two rules keep it honest:
//! - A node's kind that is not named in [`Walker::node`] (or in `statement.rs`, for whole statements) is refused.
//! - A struct is taken apart without `..`: a field that a later parser adds does not compile until it is visited.
//!   Fields that only PostgreSQL's analysis fills must be empty ([`nothing`]).

mod change;
mod copy;
mod create;
mod database;
mod expression;
mod forbidden;
mod from;
mod index;
mod json;
mod maintenance;
mod names;
mod object;
mod query;
mod session;
mod statement;
mod table;

use std::fmt::{self, Write};

use pg_query::NodeEnum;
use pg_query::protobuf as pg;

use crate::access::{AccessSet, EffectClass, SqlAccess};
use crate::functions::{self, Verdict};
use crate::refusal::Refusal;
use crate::statement::{Statement, TransactionRule};

/// A visit either goes on or ends with a refusal.
type Walk = Result<(), Refusal>;

/// Deeper than this the walker does not go. The decoder stops at 100 nested messages already; this one holds if it
/// should be built without its limit.
const MAX_DEPTH: u32 = 250;

/// What is found so far.
#[derive(Debug, Default)]
struct Walker {
    accesses: AccessSet,
    effect: Option<EffectClass>,
    /// The first relation that is read, and the first object that is changed.
    read: Option<String>,
    changed: Option<String>,
    functions: Vec<String>,
    user_code: Vec<String>,
    /// The server's parameter that ALTER SYSTEM is about.
    parameter: Option<String>,
    /// Names of common table expressions: no relations, whatever they are called.
    ctes: Vec<String>,
    /// How many columns were referred to: a WHERE without any does not select.
    columns: usize,
    depth: u32,
}

/// What a statement is, beside what is found in it.
#[derive(Clone, Copy, Debug)]
struct Shape {
    verb: &'static str,
    transaction: TransactionRule,
    returns_rows: bool,
}

impl Shape {
    /// A statement without rows that may run in a transaction.
    const fn of(verb: &'static str) -> Self {
        Shape { verb, transaction: TransactionRule::Allowed, returns_rows: false }
    }

    const fn with_rows(mut self, returns_rows: bool) -> Self {
        self.returns_rows = returns_rows;
        self
    }

    const fn outside_transaction_if(mut self, outside: bool) -> Self {
        if outside {
            self.transaction = TransactionRule::Forbidden;
        }
        self
    }
}

/// Classifies what is no COPY.
pub(crate) fn classify(tree: &pg::ParseResult) -> Result<Statement, Refusal> {
    let mut walker = Walker::default();
    let shape = walker.statement(only_statement(tree)?)?;
    Ok(walker.into_statement(shape))
}

/// Classifies a COPY and nothing else.
pub(crate) fn classify_copy(tree: &pg::ParseResult, into_table: bool) -> Result<Statement, Refusal> {
    let NodeEnum::CopyStmt(copy) = only_statement(tree)? else {
        return Err(Refusal::forbidden(
            "a statement other than COPY",
            "copy-out and copy-in run COPY only; use query, execute or a transaction",
        ));
    };
    if copy.is_from != into_table {
        let (what, why) = if into_table {
            ("COPY ... TO STDOUT", "copy-in runs COPY ... FROM STDIN; use copy-out")
        } else {
            ("COPY ... FROM STDIN", "copy-out runs COPY ... TO STDOUT; use copy-in")
        };
        return Err(Refusal::forbidden(what, why));
    }
    let mut walker = Walker::default();
    let shape = walker.copy(copy)?;
    Ok(walker.into_statement(shape))
}

fn only_statement(tree: &pg::ParseResult) -> Result<&NodeEnum, Refusal> {
    let pg::ParseResult { version: _, stmts } = tree;
    match stmts.as_slice() {
        [] => Err(Refusal::Empty),
        [pg::RawStmt { stmt, stmt_location: _, stmt_len: _ }] => {
            stmt.as_ref().and_then(|node| node.node.as_ref()).ok_or(Refusal::Empty)
        }
        several => Err(Refusal::SeveralStatements { count: several.len() }),
    }
}

/// Refuses a field which only PostgreSQL's analysis fills: it would be a tree that no text gives.
fn nothing(node: &Option<Box<pg::Node>>, place: &str) -> Walk {
    match node {
        Some(node) if node.node.is_some() => Err(Refusal::unknown(place)),
        _ => Ok(()),
    }
}

/// The same for a list.
fn none_of(nodes: &[pg::Node], place: &str) -> Walk {
    if nodes.is_empty() { Ok(()) } else { Err(Refusal::unknown(place)) }
}

impl Walker {
    fn into_statement(self, shape: Shape) -> Statement {
        Statement {
            accesses: self.accesses,
            effect: self.effect.unwrap_or(EffectClass::Read),
            verb: shape.verb,
            target: self.changed.or(self.read),
            parameter: self.parameter,
            transaction: shape.transaction,
            returns_rows: shape.returns_rows,
            functions: self.functions,
            user_code: self.user_code,
        }
    }

    fn need(&mut self, access: SqlAccess, effect: EffectClass) {
        self.accesses.insert(access);
        self.effect = self.effect.max(Some(effect));
    }

    fn changes(&mut self, target: String) {
        self.changed.get_or_insert(target);
    }

    /// Acts on what was found out about a function, operator, type or sampling method.
    fn act(&mut self, verdict: Verdict, kind: &str, name: String) -> Walk {
        match verdict {
            Verdict::Allowed => {}
            Verdict::Writes => self.need(SqlAccess::Write, EffectClass::Write),
            Verdict::Forbidden(why) => return Err(Refusal::forbidden(format!("the {kind} {name}"), why)),
            Verdict::Unknown => {
                let bare = name.rsplit('.').next().unwrap_or_default();
                let nearest = if kind == "function" { functions::nearest_function(bare) } else { None };
                return Err(Refusal::UnknownFunction { name: format!("the {kind} {name}"), nearest });
            }
            Verdict::User => {
                self.need(SqlAccess::Write, EffectClass::Write);
                self.need(SqlAccess::Ddl, EffectClass::Write);
                let code = format!("{kind} {name}");
                if !self.user_code.contains(&code) {
                    self.user_code.push(code);
                }
            }
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &[pg::Node]) -> Walk {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    fn maybe(&mut self, node: &Option<Box<pg::Node>>) -> Walk {
        node.as_ref().map_or(Ok(()), |node| self.node(node))
    }

    /// Visits a node below a statement. An empty one is a NULL in a list, as DISTINCT leaves one.
    fn node(&mut self, node: &pg::Node) -> Walk {
        let Some(node) = &node.node else { return Ok(()) };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        let walked = self.visit(node);
        self.depth -= 1;
        walked
    }

    fn visit(&mut self, node: &NodeEnum) -> Walk {
        match node {
            // Leaves.
            NodeEnum::AConst(_)
            | NodeEnum::AStar(_)
            | NodeEnum::BitString(_)
            | NodeEnum::Boolean(_)
            | NodeEnum::Float(_)
            | NodeEnum::Integer(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::ReturningOption(_)
            | NodeEnum::String(_) => Ok(()),
            NodeEnum::List(pg::List { items }) => self.nodes(items),

            // Expressions.
            NodeEnum::AArrayExpr(e) => self.array(e),
            NodeEnum::AExpr(e) => self.operation(e),
            NodeEnum::AIndices(e) => self.indices(e),
            NodeEnum::AIndirection(e) => self.indirection(e),
            NodeEnum::BoolExpr(e) => self.bool_expr(e),
            NodeEnum::BooleanTest(e) => self.boolean_test(e),
            NodeEnum::CaseExpr(e) => self.case(e),
            NodeEnum::CaseWhen(e) => self.case_when(e),
            NodeEnum::CoalesceExpr(e) => self.coalesce(e),
            NodeEnum::CollateClause(e) => self.collate(e),
            NodeEnum::ColumnRef(e) => self.column(e),
            NodeEnum::FuncCall(e) => self.call(e),
            NodeEnum::GroupingFunc(e) => self.grouping_function(e),
            NodeEnum::GroupingSet(e) => self.grouping_set(e),
            NodeEnum::MergeSupportFunc(e) => self.merge_action(e),
            NodeEnum::MinMaxExpr(e) => self.min_max(e),
            NodeEnum::MultiAssignRef(e) => self.multi_assign(e),
            NodeEnum::NamedArgExpr(e) => self.named_argument(e),
            NodeEnum::NullTest(e) => self.null_test(e),
            NodeEnum::ResTarget(e) => self.target(e),
            NodeEnum::RowExpr(e) => self.row(e),
            NodeEnum::SetToDefault(e) => self.set_to_default(e),
            NodeEnum::SortBy(e) => self.sort(e),
            NodeEnum::SqlvalueFunction(e) => self.value_function(e),
            NodeEnum::SubLink(e) => self.sub_link(e),
            NodeEnum::TypeCast(e) => self.cast(e),
            NodeEnum::WindowDef(e) => self.window(e),
            NodeEnum::XmlExpr(e) => self.xml(e),
            NodeEnum::XmlSerialize(e) => self.xml_serialize(e),

            // SQL/JSON.
            NodeEnum::JsonArgument(e) => self.json_argument(e),
            NodeEnum::JsonArrayAgg(e) => self.json_array_agg(e),
            NodeEnum::JsonArrayConstructor(e) => self.json_array(e),
            NodeEnum::JsonArrayQueryConstructor(e) => self.json_array_query(e),
            NodeEnum::JsonFuncExpr(e) => self.json_function(e),
            NodeEnum::JsonIsPredicate(e) => self.json_is(e),
            NodeEnum::JsonKeyValue(e) => self.json_key_value(e),
            NodeEnum::JsonObjectAgg(e) => self.json_object_agg(e),
            NodeEnum::JsonObjectConstructor(e) => self.json_object(e),
            NodeEnum::JsonParseExpr(e) => self.json_parse(e),
            NodeEnum::JsonScalarExpr(e) => self.json_scalar(e),
            NodeEnum::JsonSerializeExpr(e) => self.json_serialize(e),
            NodeEnum::JsonTable(e) => self.json_table(e),
            NodeEnum::JsonTableColumn(e) => self.json_table_column(e),
            NodeEnum::JsonTablePathSpec(e) => self.json_path(e),
            NodeEnum::JsonValueExpr(e) => self.json_value(e),

            // FROM and WITH.
            NodeEnum::CommonTableExpr(e) => self.common_table(e),
            NodeEnum::JoinExpr(e) => self.join(e),
            NodeEnum::LockingClause(e) => self.locking(e),
            NodeEnum::RangeFunction(e) => self.range_function(e),
            NodeEnum::RangeSubselect(e) => self.range_subselect(e),
            NodeEnum::RangeTableFunc(e) => self.range_table_function(e),
            NodeEnum::RangeTableFuncCol(e) => self.range_table_function_column(e),
            NodeEnum::RangeTableSample(e) => self.range_sample(e),
            NodeEnum::RangeVar(e) => self.reads(e),

            // Queries, which can be within others. Whether they return rows is asked for at the top only.
            NodeEnum::DeleteStmt(s) => self.delete(s).map(drop),
            NodeEnum::InsertStmt(s) => self.insert(s).map(drop),
            NodeEnum::MergeStmt(s) => self.merge(s).map(drop),
            NodeEnum::MergeWhenClause(e) => self.merge_when(e),
            NodeEnum::SelectStmt(s) => self.select(s).map(drop),
            NodeEnum::UpdateStmt(s) => self.update(s).map(drop),

            // Parts of definitions.
            NodeEnum::ColumnDef(e) => self.column_definition(e, names::TypeUse::Column),
            NodeEnum::Constraint(e) => self.constraint(e),
            NodeEnum::IndexElem(e) => self.index_element(e),
            NodeEnum::PartitionElem(e) => self.partition_element(e),
            NodeEnum::PartitionRangeDatum(e) => self.partition_datum(e),
            NodeEnum::StatsElem(e) => self.statistics_element(e),
            NodeEnum::TableLikeClause(e) => self.table_like(e),

            unknown => Err(Refusal::unknown(kind(unknown))),
        }
    }
}

/// PostgreSQL's name of the node's kind, for a person to look up.
fn kind(node: &NodeEnum) -> String {
    let mut name = FirstWord(String::new());
    // The error is how it stops after the first word, before all that is in the node.
    let _ = write!(name, "{node:?}");
    name.0
}

/// Takes the first word of what is written and then no more.
struct FirstWord(String);

impl fmt::Write for FirstWord {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let word = text.find(|c: char| !c.is_ascii_alphanumeric());
        self.0.push_str(&text[..word.unwrap_or(text.len())]);
        if word.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}
