//! Names: of functions, operators, types, relations and whatever else is qualified by a schema.

use pg_query::NodeEnum;
use pg_query::protobuf as pg;

use super::{Walk, Walker};
use crate::access::{EffectClass, SqlAccess};
use crate::functions::{self, Verdict};
use crate::refusal::Refusal;
use crate::relations;
use crate::statement::qualified;

/// What a type's name is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeUse {
    /// Something becomes a value of the type now: the type's input function, casts and checks run.
    Value,
    /// A column or domain is declared to be of the type.
    Column,
}

/// The parts of a qualified name.
pub(super) fn parts(nodes: &[pg::Node]) -> Result<Vec<&str>, Refusal> {
    nodes
        .iter()
        .map(|node| match &node.node {
            Some(NodeEnum::String(pg::String { sval })) => Ok(sval.as_str()),
            _ => Err(Refusal::unknown("a name with a part that is not a name")),
        })
        .collect()
}

/// The schema, if one was written, and the name proper. A database's name may stand before them.
fn split<'a>(parts: &[&'a str]) -> Result<(Option<&'a str>, &'a str), Refusal> {
    match *parts {
        [name] => Ok((None, name)),
        [schema, name] | [_, schema, name] => Ok((Some(schema), name)),
        _ => Err(Refusal::unknown("a name of no part or more than three")),
    }
}

/// A relation's name as the audit shows it.
pub(super) fn shown(relation: &pg::RangeVar) -> String {
    qualified([relation.catalogname.as_str(), &relation.schemaname, &relation.relname])
}

impl Walker {
    pub(super) fn function(&mut self, name: &[pg::Node]) -> Walk {
        let parts = parts(name)?;
        let (schema, bare) = split(&parts)?;
        let shown = parts.join(".");
        if !self.functions.contains(&shown) {
            self.functions.push(shown.clone());
        }
        self.act(functions::function(schema, bare), "function", shown)
    }

    /// The name after a dot. Where no column has it, PostgreSQL calls the function of that name with what stands before the dot:
    /// `(x).f` is `f(x)`. Which of the two it is only the server knows, so a name that no statement may call is refused.
    pub(super) fn attribute(&mut self, name: &str) -> Walk {
        match functions::function(None, name) {
            Verdict::Allowed => Ok(()),
            // A column, by all likelihood; but no column of ours or the server's is named as the server's insides are.
            Verdict::Unknown | Verdict::User if !functions::could_be_the_servers(name) => Ok(()),
            verdict => {
                if !self.functions.iter().any(|known| known == name) {
                    self.functions.push(name.to_owned());
                }
                self.act(verdict, "function", format!("{name} (written as an attribute)"))
            }
        }
    }

    pub(super) fn operator(&mut self, name: &[pg::Node]) -> Walk {
        let parts = parts(name)?;
        let (schema, bare) = split(&parts)?;
        self.act(functions::operator(schema, bare), "operator", parts.join("."))
    }

    pub(super) fn sampling_method(&mut self, name: &[pg::Node]) -> Walk {
        let parts = parts(name)?;
        let (schema, bare) = split(&parts)?;
        self.act(functions::sampling(schema, bare), "sampling method", parts.join("."))
    }

    pub(super) fn maybe_type(&mut self, name: &Option<pg::TypeName>, purpose: TypeUse) -> Walk {
        name.as_ref().map_or(Ok(()), |name| self.type_name(name, purpose))
    }

    pub(super) fn type_name(&mut self, name: &pg::TypeName, purpose: TypeUse) -> Walk {
        let pg::TypeName { names, type_oid, setof, pct_type, typmods, typemod: _, array_bounds, location: _ } = name;
        if *type_oid != 0 || *setof || *pct_type {
            return Err(Refusal::unknown("SETOF, %TYPE or a type by its number"));
        }
        self.nodes(typmods)?;
        self.nodes(array_bounds)?;
        let parts = parts(names)?;
        let (schema, bare) = split(&parts)?;
        match (functions::type_name(schema, bare), purpose) {
            (Verdict::User, TypeUse::Column) => {
                self.need(SqlAccess::Ddl, EffectClass::Write);
                Ok(())
            }
            (verdict, _) => self.act(verdict, "type", parts.join(".")),
        }
    }

    /// A relation in FROM or wherever else it is read.
    pub(super) fn reads(&mut self, relation: &pg::RangeVar) -> Walk {
        let pg::RangeVar { catalogname: _, schemaname, relname, inh: _, relpersistence: _, alias, location: _ } =
            relation;
        self.maybe_alias(alias)?;
        if let Some(why) = relations::secret(schemaname, relname) {
            return Err(Refusal::forbidden(format!("reading {}", shown(relation)), why));
        }
        let is_cte = schemaname.is_empty() && self.ctes.contains(relname);
        if self.read.is_none() && !is_cte {
            self.read = Some(shown(relation));
        }
        Ok(())
    }

    /// A relation whose rows or definition change.
    pub(super) fn writes(&mut self, relation: &Option<pg::RangeVar>) -> Walk {
        let Some(relation) = relation else { return Err(Refusal::unknown("a change without a relation")) };
        let pg::RangeVar { catalogname: _, schemaname, relname, inh: _, relpersistence: _, alias, location: _ } =
            relation;
        self.maybe_alias(alias)?;
        not_a_catalog(schemaname, relname)?;
        self.changes(shown(relation));
        Ok(())
    }

    /// A relation that is tended without changing what is in it: catalogs too.
    pub(super) fn tends(&mut self, relation: &pg::RangeVar) -> Walk {
        let pg::RangeVar { catalogname: _, schemaname: _, relname: _, inh: _, relpersistence: _, alias, location: _ } =
            relation;
        self.maybe_alias(alias)?;
        self.changes(shown(relation));
        Ok(())
    }

    /// An object that changes, given by its name as a list.
    pub(super) fn writes_named(&mut self, name: &[pg::Node]) -> Walk {
        let parts = parts(name)?;
        let (schema, bare) = split(&parts)?;
        not_a_catalog(schema.unwrap_or_default(), bare)?;
        self.changes(qualified(parts));
        Ok(())
    }

    pub(super) fn maybe_alias(&mut self, alias: &Option<pg::Alias>) -> Walk {
        match alias {
            Some(pg::Alias { aliasname: _, colnames }) => parts(colnames).map(drop),
            None => Ok(()),
        }
    }
}

fn not_a_catalog(schema: &str, name: &str) -> Walk {
    if relations::is_catalog(schema, name) {
        return Err(Refusal::forbidden(
            format!("changing {}", qualified([schema, name])),
            "the catalogs are the server's own (and so are unqualified names that begin with pg_; write the schema of a table of yours)",
        ));
    }
    Ok(())
}
