//! EXPLAIN, SHOW, SET, LOCK and SET CONSTRAINTS.

use pg_query::NodeEnum;
use pg_query::protobuf::{self as pg, VariableSetKind, a_const};

use super::{Shape, Walk, Walker};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;
use crate::server_parameters::server_parameter;
use crate::settings;
use crate::statement::quoted;

/// The options of EXPLAIN up to PostgreSQL 18; later ones and those of extensions are not known to be harmless.
const EXPLAIN_OPTIONS: [&str; 12] = [
    "analyze",
    "buffers",
    "costs",
    "format",
    "generic_plan",
    "memory",
    "serialize",
    "settings",
    "summary",
    "timing",
    "verbose",
    "wal",
];

/// The longest value that a parameter is set to, in bytes: amounts, numbers and words.
const MAX_VALUE: usize = 100;

impl Walker {
    /// EXPLAIN plans, EXPLAIN ANALYZE runs. Planning may already evaluate stable functions, so what is explained is
    /// walked in full; what it would do when run does not count, but for users' code.
    pub(super) fn explain(&mut self, explain: &pg::ExplainStmt) -> Result<Shape, Refusal> {
        let pg::ExplainStmt { query, options } = explain;
        self.options(options)?;
        let analyze = explain_analyzes(options)?;
        let Some(query) = query.as_ref().and_then(|query| query.node.as_ref()) else {
            return Err(Refusal::unknown("EXPLAIN of nothing"));
        };
        self.need(SqlAccess::Read, EffectClass::Read);
        if analyze {
            self.explained(query)?;
            return Ok(Shape::of("EXPLAIN ANALYZE").with_rows(true));
        }
        let mut inner = Walker { depth: self.depth, ..Walker::default() };
        inner.explained(query)?;
        if !inner.user_code.is_empty() {
            self.need(SqlAccess::Write, EffectClass::Write);
            self.need(SqlAccess::Ddl, EffectClass::Write);
        }
        self.functions = inner.functions;
        self.user_code = inner.user_code;
        self.changed = inner.changed;
        self.read = inner.read;
        Ok(Shape::of("EXPLAIN").with_rows(true))
    }

    fn explained(&mut self, query: &NodeEnum) -> Walk {
        match query {
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
            | NodeEnum::CreateTableAsStmt(_)
            | NodeEnum::RefreshMatViewStmt(_)
            | NodeEnum::DeclareCursorStmt(_)
            | NodeEnum::ExecuteStmt(_) => self.statement(query).map(drop),
            other => Err(Refusal::unknown(format!("EXPLAIN of {}", super::kind(other)))),
        }
    }

    pub(super) fn show(&mut self, show: &pg::VariableShowStmt) -> Result<Shape, Refusal> {
        let pg::VariableShowStmt { name } = show;
        self.need(SqlAccess::Read, EffectClass::Read);
        self.changes(quoted(name));
        Ok(Shape::of("SHOW").with_rows(true))
    }

    pub(super) fn set(&mut self, set: &pg::VariableSetStmt) -> Result<Shape, Refusal> {
        let pg::VariableSetStmt { kind: _, name, args, jumble_args: _, is_local: _, location: _ } = set;
        let verb = match set.kind() {
            VariableSetKind::VarSetValue | VariableSetKind::VarSetDefault => "SET",
            VariableSetKind::VarReset => "RESET",
            VariableSetKind::VarResetAll => {
                return Err(Refusal::forbidden("RESET ALL", "it undoes what the host set for the session"));
            }
            VariableSetKind::VarSetMulti => {
                return Err(Refusal::forbidden(format!("SET {name}"), settings::why("transaction_read_only")));
            }
            VariableSetKind::VarSetCurrent | VariableSetKind::Undefined => {
                return Err(Refusal::unknown("SET ... FROM CURRENT"));
            }
        };
        if !settings::may_be_set(name) {
            return Err(Refusal::forbidden(format!("{verb} {}", quoted(name)), settings::why(name)));
        }
        self.nodes(args)?;
        if name.eq_ignore_ascii_case(settings::WORK_MEM) {
            args.iter().try_for_each(work_mem)?;
        }
        self.need(SqlAccess::Read, EffectClass::Read);
        self.changes(quoted(name));
        Ok(Shape::of(verb))
    }

    /// The server's own settings, which outlive the run: of a list, to one plain value.
    pub(super) fn alter_system(&mut self, alter: &pg::AlterSystemStmt) -> Result<Shape, Refusal> {
        let pg::AlterSystemStmt { setstmt } = alter;
        let Some(set) = setstmt else { return Err(Refusal::unknown("ALTER SYSTEM of nothing")) };
        let pg::VariableSetStmt { kind: _, name, args, jumble_args: _, is_local, location: _ } = set;
        let resets = match set.kind() {
            VariableSetKind::VarSetValue => false,
            VariableSetKind::VarSetDefault | VariableSetKind::VarReset => true,
            VariableSetKind::VarResetAll => {
                return Err(Refusal::forbidden(
                    "ALTER SYSTEM RESET ALL",
                    "it undoes what others have set; reset parameters one by one",
                ));
            }
            VariableSetKind::VarSetCurrent | VariableSetKind::VarSetMulti | VariableSetKind::Undefined => {
                return Err(Refusal::unknown("ALTER SYSTEM SET of this form"));
            }
        };
        if let Err(why) = server_parameter(name) {
            return Err(Refusal::forbidden(format!("ALTER SYSTEM of {}", quoted(name)), why));
        }
        let well_formed = if resets { args.is_empty() } else { matches!(args.as_slice(), [value] if is_plain(value)) };
        if *is_local || !well_formed {
            return Err(Refusal::forbidden(
                format!("ALTER SYSTEM SET {} to anything but one plain value", quoted(name)),
                "what is written into the server's file has to be judged by whoever reads the plan",
            ));
        }
        self.need(SqlAccess::AlterSystem, EffectClass::Write);
        self.parameter = Some(name.to_ascii_lowercase());
        self.changes(quoted(name));
        Ok(Shape::of("ALTER SYSTEM").outside_transaction_if(true))
    }

    pub(super) fn lock(&mut self, lock: &pg::LockStmt) -> Result<Shape, Refusal> {
        let pg::LockStmt { relations, mode: _, nowait: _ } = lock;
        // Any mode: even the weakest holds up ALTER TABLE, and behind that everybody.
        self.need(SqlAccess::Write, EffectClass::Write);
        for relation in relations {
            match &relation.node {
                Some(NodeEnum::RangeVar(relation)) => self.writes(&Some(relation.clone()))?,
                _ => return Err(Refusal::unknown("LOCK of something else than a relation")),
            }
        }
        Ok(Shape::of("LOCK"))
    }

    pub(super) fn set_constraints(&mut self, set: &pg::ConstraintsSetStmt) -> Result<Shape, Refusal> {
        let pg::ConstraintsSetStmt { constraints, deferred: _ } = set;
        self.need(SqlAccess::Write, EffectClass::Write);
        for constraint in constraints {
            match &constraint.node {
                Some(NodeEnum::RangeVar(constraint)) => self.tends(constraint)?,
                _ => return Err(Refusal::unknown("SET CONSTRAINTS of something else than names")),
            }
        }
        Ok(Shape::of("SET CONSTRAINTS"))
    }
}

/// Whether any of the options may say that the statement runs. What is not plainly "off" is "on".
fn explain_analyzes(options: &[pg::Node]) -> Result<bool, Refusal> {
    let mut analyzes = false;
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else {
            return Err(Refusal::unknown("an option of EXPLAIN of unknown form"));
        };
        if !EXPLAIN_OPTIONS.contains(&option.defname.as_str()) {
            return Err(Refusal::forbidden(
                format!("the option {} of EXPLAIN", quoted(&option.defname)),
                "it is none of the options of PostgreSQL 18, and could be an extension's",
            ));
        }
        if option.defname == "analyze" {
            analyzes |= !is_off(option.arg.as_ref().and_then(|arg| arg.node.as_ref()));
        }
    }
    Ok(analyzes)
}

fn is_off(value: Option<&NodeEnum>) -> bool {
    match value {
        Some(NodeEnum::Integer(pg::Integer { ival })) => *ival == 0,
        Some(NodeEnum::Boolean(pg::Boolean { boolval })) => !*boolval,
        Some(NodeEnum::String(pg::String { sval })) => {
            sval.eq_ignore_ascii_case("off") || sval.eq_ignore_ascii_case("false")
        }
        _ => false,
    }
}

/// A number, a word or a text of one printable line: nothing that could be more than one line of the server's file.
fn is_plain(value: &pg::Node) -> bool {
    let Some(NodeEnum::AConst(pg::AConst { isnull: false, val: Some(val), location: _ })) = &value.node else {
        return false;
    };
    match val {
        a_const::Val::Ival(_) | a_const::Val::Fval(_) | a_const::Val::Boolval(_) => true,
        a_const::Val::Sval(pg::String { sval }) => sval.len() <= MAX_VALUE && !sval.contains(char::is_control),
        a_const::Val::Bsval(_) => false,
    }
}

fn work_mem(value: &pg::Node) -> Walk {
    let kilobytes = match &value.node {
        Some(NodeEnum::AConst(pg::AConst { val: Some(val), .. })) => match val {
            a_const::Val::Ival(pg::Integer { ival }) => Some(f64::from(*ival)),
            a_const::Val::Fval(pg::Float { fval }) => fval.parse().ok(),
            a_const::Val::Sval(pg::String { sval }) => settings::kilobytes(sval),
            _ => None,
        },
        _ => None,
    };
    match kilobytes {
        Some(kilobytes) if kilobytes <= settings::MAX_WORK_MEM_KB => Ok(()),
        _ => Err(Refusal::forbidden(
            "SET work_mem over 1GB (or to what is not plainly an amount)",
            "a plan can use it several times over",
        )),
    }
}
