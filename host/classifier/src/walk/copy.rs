//! COPY, which only the verbs copy-out and copy-in run: to and from the client, never a file or a program.

use pg_query::NodeEnum;
use pg_query::protobuf as pg;

use super::names::parts;
use super::{Shape, Walk, Walker};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;
use crate::statement::quoted;

/// The options of COPY up to PostgreSQL 18.
const OPTIONS: [&str; 15] = [
    "default",
    "delimiter",
    "encoding",
    "escape",
    "force_not_null",
    "force_null",
    "force_quote",
    "format",
    "freeze",
    "header",
    "log_verbosity",
    "null",
    "on_error",
    "quote",
    "reject_limit",
];

impl Walker {
    pub(super) fn copy(&mut self, copy: &pg::CopyStmt) -> Result<Shape, Refusal> {
        let pg::CopyStmt { relation, query, attlist, is_from, is_program, filename, options, where_clause } = copy;
        if *is_program {
            return Err(Refusal::forbidden("COPY ... PROGRAM", "it runs a program on the database server's host"));
        }
        if !filename.is_empty() {
            return Err(Refusal::forbidden(
                "COPY with a file",
                "it reads or writes files of the database server's host; use STDIN or STDOUT with the verbs copy-in and copy-out",
            ));
        }
        parts(attlist)?;
        self.copy_options(options)?;
        if *is_from {
            self.need(SqlAccess::CopyIn, EffectClass::Write);
            self.writes(relation)?;
        } else {
            self.need(SqlAccess::CopyOut, EffectClass::Read);
            self.need(SqlAccess::Read, EffectClass::Read);
            relation.as_ref().map_or(Ok(()), |relation| self.reads(relation))?;
        }
        self.maybe(query)?;
        self.maybe(where_clause)?;
        Ok(Shape::of("COPY"))
    }

    fn copy_options(&mut self, options: &[pg::Node]) -> Walk {
        for option in options {
            if let Some(NodeEnum::DefElem(option)) = &option.node
                && !OPTIONS.contains(&option.defname.as_str())
            {
                return Err(Refusal::forbidden(
                    format!("the option {} of COPY", quoted(&option.defname)),
                    "it is none of the options of PostgreSQL 18",
                ));
            }
        }
        self.options(options)
    }
}
