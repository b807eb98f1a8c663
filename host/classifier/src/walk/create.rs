//! CREATE of tables, views, schemas, sequences, types, statistics and extensions.

use pg_query::NodeEnum;
use pg_query::protobuf::{self as pg, ObjectType};

use super::names::{TypeUse, parts};
use super::{Shape, Walk, Walker, forbidden, none_of};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;
use crate::relations;
use crate::statement::quoted;

impl Walker {
    pub(super) fn defines(&mut self) {
        self.need(SqlAccess::Ddl, EffectClass::Write);
    }

    pub(super) fn create_table(&mut self, create: &pg::CreateStmt) -> Result<Shape, Refusal> {
        let pg::CreateStmt {
            relation,
            table_elts,
            inh_relations,
            partbound,
            partspec,
            of_typename,
            constraints,
            nnconstraints,
            options,
            oncommit: _,
            tablespacename: _,
            access_method: _,
            if_not_exists: _,
        } = create;
        none_of(nnconstraints, "CreateStmt.nnconstraints")?;
        self.defines();
        self.writes(relation)?;
        self.nodes(table_elts)?;
        self.nodes(inh_relations)?;
        self.maybe_bound(partbound)?;
        self.maybe_partitioning(partspec)?;
        self.maybe_type(of_typename, TypeUse::Column)?;
        self.nodes(constraints)?;
        self.options(options)?;
        Ok(Shape::of("CREATE TABLE"))
    }

    /// CREATE TABLE AS and CREATE MATERIALIZED VIEW: the query runs now.
    pub(super) fn create_table_as(&mut self, create: &pg::CreateTableAsStmt) -> Result<Shape, Refusal> {
        let pg::CreateTableAsStmt { query, into, objtype: _, is_select_into: _, if_not_exists: _ } = create;
        let Some(into) = into else { return Err(Refusal::unknown("CREATE TABLE AS without a table")) };
        self.select_into(into)?;
        if let Some(NodeEnum::ExecuteStmt(_)) = query.as_ref().and_then(|node| node.node.as_ref()) {
            return Err(Refusal::forbidden("EXECUTE", forbidden::PREPARED));
        }
        self.maybe(query)?;
        Ok(Shape::of(if create.objtype() == ObjectType::ObjectMatview {
            "CREATE MATERIALIZED VIEW"
        } else {
            "CREATE TABLE AS"
        }))
    }

    /// CREATE VIEW: whatever its query does counts, as if it ran now.
    pub(super) fn create_view(&mut self, create: &pg::ViewStmt) -> Result<Shape, Refusal> {
        let pg::ViewStmt { view, aliases, query, replace: _, options, with_check_option: _ } = create;
        self.defines();
        self.writes(view)?;
        parts(aliases)?;
        self.options(options)?;
        self.maybe(query)?;
        Ok(Shape::of("CREATE VIEW"))
    }

    pub(super) fn create_schema(&mut self, create: &pg::CreateSchemaStmt) -> Result<Shape, Refusal> {
        let pg::CreateSchemaStmt { schemaname, authrole, schema_elts, if_not_exists: _ } = create;
        if authrole.is_some() {
            return Err(Refusal::forbidden("CREATE SCHEMA ... AUTHORIZATION", forbidden::AUTHORITY));
        }
        self.defines();
        self.changes(quoted(schemaname));
        for element in schema_elts {
            let Some(element) = &element.node else {
                return Err(Refusal::unknown("an empty element of CREATE SCHEMA"));
            };
            self.statement(element)?;
        }
        Ok(Shape::of("CREATE SCHEMA"))
    }

    pub(super) fn create_sequence(&mut self, create: &pg::CreateSeqStmt) -> Result<Shape, Refusal> {
        let pg::CreateSeqStmt { sequence, options, owner_id: _, for_identity: _, if_not_exists: _ } = create;
        self.defines();
        self.writes(sequence)?;
        self.options(options)?;
        Ok(Shape::of("CREATE SEQUENCE"))
    }

    pub(super) fn alter_sequence(&mut self, alter: &pg::AlterSeqStmt) -> Result<Shape, Refusal> {
        let pg::AlterSeqStmt { sequence, options, for_identity: _, missing_ok: _ } = alter;
        self.defines();
        self.writes(sequence)?;
        self.options(options)?;
        Ok(Shape::of("ALTER SEQUENCE"))
    }

    pub(super) fn create_composite_type(&mut self, create: &pg::CompositeTypeStmt) -> Result<Shape, Refusal> {
        let pg::CompositeTypeStmt { typevar, coldeflist } = create;
        self.defines();
        self.writes(typevar)?;
        self.nodes(coldeflist)?;
        Ok(Shape::of("CREATE TYPE"))
    }

    pub(super) fn create_enum(&mut self, create: &pg::CreateEnumStmt) -> Result<Shape, Refusal> {
        let pg::CreateEnumStmt { type_name, vals } = create;
        self.defines();
        self.writes_named(type_name)?;
        parts(vals)?;
        Ok(Shape::of("CREATE TYPE"))
    }

    pub(super) fn alter_enum(&mut self, alter: &pg::AlterEnumStmt) -> Result<Shape, Refusal> {
        let pg::AlterEnumStmt {
            type_name,
            old_val: _,
            new_val: _,
            new_val_neighbor: _,
            new_val_is_after: _,
            skip_if_new_val_exists: _,
        } = alter;
        self.defines();
        self.writes_named(type_name)?;
        Ok(Shape::of("ALTER TYPE"))
    }

    pub(super) fn create_range(&mut self, create: &pg::CreateRangeStmt) -> Result<Shape, Refusal> {
        let pg::CreateRangeStmt { type_name, params } = create;
        self.defines();
        self.writes_named(type_name)?;
        self.options(params)?;
        for parameter in params {
            if let Some(NodeEnum::DefElem(parameter)) = &parameter.node
                && !matches!(
                    parameter.defname.as_str(),
                    "subtype" | "subtype_opclass" | "collation" | "multirange_type_name"
                )
            {
                return Err(Refusal::forbidden(
                    format!("CREATE TYPE ... ({} = ...)", quoted(&parameter.defname)),
                    forbidden::CODE,
                ));
            }
        }
        Ok(Shape::of("CREATE TYPE"))
    }

    pub(super) fn create_domain(&mut self, create: &pg::CreateDomainStmt) -> Result<Shape, Refusal> {
        let pg::CreateDomainStmt { domainname, type_name, coll_clause, constraints } = create;
        self.defines();
        self.writes_named(domainname)?;
        self.maybe_type(type_name, TypeUse::Column)?;
        coll_clause.as_ref().map_or(Ok(()), |collate| self.collate(collate))?;
        self.nodes(constraints)?;
        Ok(Shape::of("CREATE DOMAIN"))
    }

    pub(super) fn alter_domain(&mut self, alter: &pg::AlterDomainStmt) -> Result<Shape, Refusal> {
        let pg::AlterDomainStmt { subtype: _, type_name, name: _, def, behavior: _, missing_ok: _ } = alter;
        self.defines();
        self.writes_named(type_name)?;
        self.maybe(def)?;
        Ok(Shape::of("ALTER DOMAIN"))
    }

    /// CREATE of collations and text search configurations; whatever brings code is refused.
    pub(super) fn define(&mut self, define: &pg::DefineStmt) -> Result<Shape, Refusal> {
        let pg::DefineStmt { kind: _, oldstyle: _, defnames, args, definition, if_not_exists: _, replace: _ } = define;
        let verb = match define.kind() {
            ObjectType::ObjectCollation => "CREATE COLLATION",
            ObjectType::ObjectTsconfiguration => "CREATE TEXT SEARCH CONFIGURATION",
            ObjectType::ObjectTsdictionary => "CREATE TEXT SEARCH DICTIONARY",
            other => {
                return Err(Refusal::forbidden(
                    format!("CREATE of an object of the kind {}", other.as_str_name()),
                    forbidden::CODE,
                ));
            }
        };
        none_of(args, "DefineStmt.args")?;
        self.defines();
        self.writes_named(defnames)?;
        self.options(definition)?;
        Ok(Shape::of(verb))
    }

    pub(super) fn create_statistics(&mut self, create: &pg::CreateStatsStmt) -> Result<Shape, Refusal> {
        let pg::CreateStatsStmt {
            defnames,
            stat_types,
            exprs,
            relations,
            stxcomment: _,
            transformed: _,
            if_not_exists: _,
        } = create;
        self.defines();
        if !defnames.is_empty() {
            self.writes_named(defnames)?;
        }
        parts(stat_types)?;
        self.nodes(relations)?;
        self.nodes(exprs)?;
        Ok(Shape::of("CREATE STATISTICS"))
    }

    pub(super) fn statistics_element(&mut self, element: &pg::StatsElem) -> Walk {
        let pg::StatsElem { name: _, expr } = element;
        self.maybe(expr)
    }

    pub(super) fn alter_statistics(&mut self, alter: &pg::AlterStatsStmt) -> Result<Shape, Refusal> {
        let pg::AlterStatsStmt { defnames, stxstattarget, missing_ok: _ } = alter;
        self.defines();
        self.writes_named(defnames)?;
        self.maybe(stxstattarget)?;
        Ok(Shape::of("ALTER STATISTICS"))
    }

    pub(super) fn create_extension(&mut self, create: &pg::CreateExtensionStmt) -> Result<Shape, Refusal> {
        let pg::CreateExtensionStmt { extname, if_not_exists: _, options } = create;
        self.extension(extname, options)?;
        for option in options {
            if let Some(NodeEnum::DefElem(option)) = &option.node
                && option.defname == "schema"
                && let Some(NodeEnum::String(schema)) = option.arg.as_ref().and_then(|arg| arg.node.as_ref())
                && relations::is_system_schema(&schema.sval)
            {
                return Err(Refusal::forbidden(
                    "CREATE EXTENSION ... SCHEMA pg_catalog",
                    "names in the server's own schemas are trusted to be the server's",
                ));
            }
        }
        Ok(Shape::of("CREATE EXTENSION"))
    }

    pub(super) fn alter_extension(&mut self, alter: &pg::AlterExtensionStmt) -> Result<Shape, Refusal> {
        let pg::AlterExtensionStmt { extname, options } = alter;
        self.extension(extname, options)?;
        Ok(Shape::of("ALTER EXTENSION"))
    }

    fn extension(&mut self, name: &str, options: &[pg::Node]) -> Walk {
        if let Some(why) = forbidden::extension(name) {
            return Err(Refusal::forbidden(format!("the extension {}", quoted(name)), why));
        }
        self.defines();
        self.changes(quoted(name));
        self.options(options)
    }

    pub(super) fn alter_ts_dictionary(&mut self, alter: &pg::AlterTsDictionaryStmt) -> Result<Shape, Refusal> {
        let pg::AlterTsDictionaryStmt { dictname, options } = alter;
        self.defines();
        self.writes_named(dictname)?;
        self.options(options)?;
        Ok(Shape::of("ALTER TEXT SEARCH DICTIONARY"))
    }

    pub(super) fn alter_ts_configuration(&mut self, alter: &pg::AlterTsConfigurationStmt) -> Result<Shape, Refusal> {
        let pg::AlterTsConfigurationStmt {
            kind: _,
            cfgname,
            tokentype,
            dicts,
            r#override: _,
            replace: _,
            missing_ok: _,
        } = alter;
        self.defines();
        self.writes_named(cfgname)?;
        parts(tokentype)?;
        for dictionary in dicts {
            match &dictionary.node {
                Some(NodeEnum::List(pg::List { items })) => parts(items).map(drop)?,
                _ => return Err(Refusal::unknown("a text search dictionary that is not a name")),
            }
        }
        Ok(Shape::of("ALTER TEXT SEARCH CONFIGURATION"))
    }

    pub(super) fn alter_collation(&mut self, alter: &pg::AlterCollationStmt) -> Result<Shape, Refusal> {
        let pg::AlterCollationStmt { collname } = alter;
        self.defines();
        self.changes(crate::statement::qualified(parts(collname)?));
        Ok(Shape::of("ALTER COLLATION"))
    }
}
