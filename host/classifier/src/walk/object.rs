//! DROP, RENAME, SET SCHEMA, COMMENT: one statement for objects of all kinds.

use pg_query::NodeEnum;
use pg_query::protobuf::{self as pg, DropBehavior, ObjectType};

use super::names::parts;
use super::{Shape, Walk, Walker, forbidden};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;
use crate::relations;
use crate::statement::{qualified, quoted};

/// The kinds of objects that may be dropped, renamed and moved, with the verbs.
fn verbs(kind: ObjectType) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ObjectType::ObjectTable => ("DROP TABLE", "ALTER TABLE"),
        ObjectType::ObjectIndex => ("DROP INDEX", "ALTER INDEX"),
        ObjectType::ObjectView => ("DROP VIEW", "ALTER VIEW"),
        ObjectType::ObjectMatview => ("DROP MATERIALIZED VIEW", "ALTER MATERIALIZED VIEW"),
        ObjectType::ObjectSequence => ("DROP SEQUENCE", "ALTER SEQUENCE"),
        ObjectType::ObjectSchema => ("DROP SCHEMA", "ALTER SCHEMA"),
        ObjectType::ObjectType => ("DROP TYPE", "ALTER TYPE"),
        ObjectType::ObjectDomain => ("DROP DOMAIN", "ALTER DOMAIN"),
        ObjectType::ObjectExtension => ("DROP EXTENSION", "ALTER EXTENSION"),
        ObjectType::ObjectCollation => ("DROP COLLATION", "ALTER COLLATION"),
        ObjectType::ObjectStatisticExt => ("DROP STATISTICS", "ALTER STATISTICS"),
        ObjectType::ObjectTsconfiguration => ("DROP TEXT SEARCH CONFIGURATION", "ALTER TEXT SEARCH CONFIGURATION"),
        ObjectType::ObjectTsdictionary => ("DROP TEXT SEARCH DICTIONARY", "ALTER TEXT SEARCH DICTIONARY"),
        // Parts of the above: renamed through them.
        ObjectType::ObjectColumn | ObjectType::ObjectTabconstraint => ("", "ALTER TABLE"),
        ObjectType::ObjectAttribute => ("", "ALTER TYPE"),
        ObjectType::ObjectDomconstraint => ("", "ALTER DOMAIN"),
        ObjectType::ObjectDatabase => ("", "ALTER DATABASE"),
        _ => return None,
    })
}

fn refused(action: &str, kind: ObjectType) -> Refusal {
    let words = kind.as_str_name().trim_start_matches("OBJECT_").replace('_', " ");
    Refusal::forbidden(format!("{action} {words}"), forbidden::OBJECT)
}

impl Walker {
    pub(super) fn drop_objects(&mut self, drop: &pg::DropStmt) -> Result<Shape, Refusal> {
        let pg::DropStmt { objects, remove_type: _, behavior: _, missing_ok: _, concurrent } = drop;
        let kind = drop.remove_type();
        let verb = match verbs(kind) {
            Some((verb, _)) if !verb.is_empty() => verb,
            _ => return Err(refused("DROP", kind)),
        };
        if kind == ObjectType::ObjectIndex {
            self.need(SqlAccess::Index, EffectClass::Write);
            if drop.behavior() == DropBehavior::DropCascade {
                // Foreign keys that lean on a unique index go with it.
                self.need(SqlAccess::Ddl, EffectClass::Destructive);
            }
        } else {
            self.need(SqlAccess::Ddl, EffectClass::Destructive);
        }
        for object in objects {
            self.changed_object(kind, object)?;
        }
        Ok(Shape::of(verb).outside_transaction_if(*concurrent))
    }

    pub(super) fn rename(&mut self, rename: &pg::RenameStmt) -> Result<Shape, Refusal> {
        let pg::RenameStmt {
            rename_type: _,
            relation_type: _,
            relation,
            object,
            subname,
            newname,
            behavior: _,
            missing_ok: _,
        } = rename;
        let kind = rename.rename_type();
        let Some((_, verb)) = verbs(kind) else { return Err(refused("RENAME of a", kind)) };
        self.need(SqlAccess::Ddl, EffectClass::Write);
        if kind == ObjectType::ObjectIndex {
            // ALTER INDEX ... RENAME renames tables and views too: so it asks for both.
            self.need(SqlAccess::Index, EffectClass::Write);
        }
        if kind == ObjectType::ObjectSchema
            && (relations::is_system_schema(subname) || relations::is_system_schema(newname))
        {
            return Err(Refusal::forbidden(
                format!("renaming the schema {}", quoted(subname)),
                "it is the server's own",
            ));
        }
        if relation.is_some() {
            self.writes(relation)?;
        }
        if let Some(object) = object {
            self.changed_object(kind, object)?;
        }
        if relation.is_none() && object.is_none() {
            self.changes(quoted(subname));
        }
        Ok(Shape::of(verb))
    }

    pub(super) fn set_schema(&mut self, alter: &pg::AlterObjectSchemaStmt) -> Result<Shape, Refusal> {
        let pg::AlterObjectSchemaStmt { object_type: _, relation, object, newschema, missing_ok: _ } = alter;
        let kind = alter.object_type();
        let Some((_, verb)) = verbs(kind) else { return Err(refused("SET SCHEMA of a", kind)) };
        if relations::is_system_schema(newschema) {
            return Err(Refusal::forbidden(
                format!("{verb} ... SET SCHEMA {newschema}"),
                "names in the server's own schemas are trusted to be the server's",
            ));
        }
        self.need(SqlAccess::Ddl, EffectClass::Write);
        if relation.is_some() {
            self.writes(relation)?;
        }
        if let Some(object) = object {
            self.changed_object(kind, object)?;
        }
        Ok(Shape::of(verb))
    }

    pub(super) fn comment(&mut self, comment: &pg::CommentStmt) -> Result<Shape, Refusal> {
        let pg::CommentStmt { objtype: _, object, comment: _ } = comment;
        self.need(SqlAccess::Ddl, EffectClass::Write);
        if let Some(object) = object {
            self.named_object(object)?;
        }
        Ok(Shape::of("COMMENT"))
    }

    /// An object that is dropped, renamed or moved, by its name in one of the forms of the grammar.
    fn changed_object(&mut self, kind: ObjectType, object: &pg::Node) -> Walk {
        match &object.node {
            Some(NodeEnum::String(pg::String { sval })) => {
                if kind == ObjectType::ObjectSchema && relations::is_system_schema(sval) {
                    return Err(Refusal::forbidden(format!("changing the schema {sval}"), "it is the server's own"));
                }
                if kind == ObjectType::ObjectExtension && sval == "plpgsql" {
                    return Err(Refusal::forbidden(
                        "dropping the extension plpgsql",
                        "functions of others are written in it",
                    ));
                }
                self.changes(quoted(sval));
                Ok(())
            }
            Some(NodeEnum::List(pg::List { items })) => self.writes_named(items),
            Some(NodeEnum::TypeName(name)) => self.writes_named(&name.names),
            _ => Err(Refusal::unknown("an object's name of unknown form")),
        }
    }

    /// An object that is only spoken about: nothing of it runs.
    fn named_object(&mut self, object: &pg::Node) -> Walk {
        match &object.node {
            Some(NodeEnum::String(pg::String { sval })) => self.changes(quoted(sval)),
            Some(NodeEnum::Float(_) | NodeEnum::Integer(_)) => {}
            Some(NodeEnum::List(pg::List { items })) => {
                if let Ok(name) = parts(items) {
                    self.changes(qualified(name));
                }
                for item in items {
                    self.named_object(item)?;
                }
            }
            Some(NodeEnum::TypeName(name)) => self.changes(qualified(parts(&name.names)?)),
            Some(NodeEnum::ObjectWithArgs(pg::ObjectWithArgs {
                objname,
                objargs: _,
                objfuncargs: _,
                args_unspecified: _,
            })) => {
                self.changes(qualified(parts(objname)?));
            }
            _ => return Err(Refusal::unknown("an object's name of unknown form")),
        }
        Ok(())
    }
}
