//! The parts of a table's definition, and ALTER TABLE with its kin.

use pg_query::NodeEnum;
use pg_query::protobuf::{self as pg, AlterTableType, ObjectType};

use super::names::{TypeUse, parts};
use super::{Shape, Walk, Walker, forbidden, none_of, nothing};
use crate::access::{EffectClass, SqlAccess};
use crate::refusal::Refusal;

impl Walker {
    pub(super) fn column_definition(&mut self, column: &pg::ColumnDef, purpose: TypeUse) -> Walk {
        let pg::ColumnDef {
            colname: _,
            type_name,
            compression: _,
            inhcount: _,
            is_local: _,
            is_not_null: _,
            is_from_type: _,
            storage: _,
            storage_name: _,
            raw_default,
            cooked_default,
            identity: _,
            identity_sequence,
            generated: _,
            coll_clause,
            coll_oid: _,
            constraints,
            fdwoptions,
            location: _,
        } = column;
        nothing(cooked_default, "ColumnDef.cooked_default")?;
        if identity_sequence.is_some() {
            return Err(Refusal::unknown("ColumnDef.identity_sequence"));
        }
        if !fdwoptions.is_empty() {
            return Err(Refusal::forbidden("a column with OPTIONS", forbidden::FOREIGN_DATA));
        }
        self.maybe_type(type_name, purpose)?;
        self.maybe(raw_default)?;
        coll_clause.as_ref().map_or(Ok(()), |collate| self.collate(collate))?;
        self.nodes(constraints)
    }

    pub(super) fn constraint(&mut self, constraint: &pg::Constraint) -> Walk {
        let pg::Constraint {
            contype: _,
            conname: _,
            deferrable: _,
            initdeferred: _,
            is_enforced: _,
            skip_validation: _,
            initially_valid: _,
            is_no_inherit: _,
            raw_expr,
            cooked_expr: _,
            generated_when: _,
            generated_kind: _,
            nulls_not_distinct: _,
            keys,
            without_overlaps: _,
            including,
            exclusions,
            options,
            indexname: _,
            indexspace: _,
            reset_default_tblspc: _,
            access_method: _,
            where_clause,
            pktable,
            fk_attrs,
            pk_attrs,
            fk_with_period: _,
            pk_with_period: _,
            fk_matchtype: _,
            fk_upd_action: _,
            fk_del_action: _,
            fk_del_set_cols,
            old_conpfeqop,
            old_pktable_oid: _,
            location: _,
        } = constraint;
        self.maybe(raw_expr)?;
        for names in [keys, including, fk_attrs, pk_attrs, fk_del_set_cols] {
            parts(names)?;
        }
        none_of(old_conpfeqop, "Constraint.old_conpfeqop")?;
        exclusions.iter().try_for_each(|exclusion| self.exclusion(exclusion))?;
        self.options(options)?;
        self.maybe(where_clause)?;
        pktable.as_ref().map_or(Ok(()), |table| self.reads(table))
    }

    /// `EXCLUDE USING gist (c WITH &&)`: a pair of index element and operator.
    fn exclusion(&mut self, exclusion: &pg::Node) -> Walk {
        match &exclusion.node {
            Some(NodeEnum::List(pg::List { items })) => match items.as_slice() {
                [element, pg::Node { node: Some(NodeEnum::List(pg::List { items: operator })) }] => {
                    self.node(element)?;
                    self.operator(operator)
                }
                _ => Err(Refusal::unknown("an exclusion constraint of unknown form")),
            },
            _ => Err(Refusal::unknown("an exclusion constraint of unknown form")),
        }
    }

    pub(super) fn table_like(&mut self, like: &pg::TableLikeClause) -> Walk {
        let pg::TableLikeClause { relation, options: _, relation_oid: _ } = like;
        relation.as_ref().map_or(Ok(()), |relation| self.reads(relation))
    }

    pub(super) fn maybe_partitioning(&mut self, specification: &Option<pg::PartitionSpec>) -> Walk {
        let Some(pg::PartitionSpec { strategy: _, part_params, location: _ }) = specification else { return Ok(()) };
        self.nodes(part_params)
    }

    pub(super) fn partition_element(&mut self, element: &pg::PartitionElem) -> Walk {
        let pg::PartitionElem { name: _, expr, collation, opclass, location: _ } = element;
        self.maybe(expr)?;
        parts(collation)?;
        parts(opclass).map(drop)
    }

    pub(super) fn maybe_bound(&mut self, bound: &Option<pg::PartitionBoundSpec>) -> Walk {
        let Some(bound) = bound else { return Ok(()) };
        let pg::PartitionBoundSpec {
            strategy: _,
            is_default: _,
            modulus: _,
            remainder: _,
            listdatums,
            lowerdatums,
            upperdatums,
            location: _,
        } = bound;
        self.nodes(listdatums)?;
        self.nodes(lowerdatums)?;
        self.nodes(upperdatums)
    }

    pub(super) fn partition_datum(&mut self, datum: &pg::PartitionRangeDatum) -> Walk {
        let pg::PartitionRangeDatum { kind: _, value, location: _ } = datum;
        self.maybe(value)
    }

    pub(super) fn alter_table(&mut self, alter: &pg::AlterTableStmt) -> Result<Shape, Refusal> {
        let pg::AlterTableStmt { relation, cmds, objtype: _, missing_ok: _ } = alter;
        let verb = match alter.objtype() {
            ObjectType::ObjectTable => "ALTER TABLE",
            ObjectType::ObjectIndex => "ALTER INDEX",
            ObjectType::ObjectSequence => "ALTER SEQUENCE",
            ObjectType::ObjectView => "ALTER VIEW",
            ObjectType::ObjectMatview => "ALTER MATERIALIZED VIEW",
            ObjectType::ObjectType => "ALTER TYPE",
            ObjectType::ObjectForeignTable => {
                return Err(Refusal::forbidden("ALTER FOREIGN TABLE", forbidden::FOREIGN_DATA));
            }
            other => return Err(Refusal::unknown(format!("ALTER of {}", other.as_str_name()))),
        };
        let access = if alter.objtype() == ObjectType::ObjectIndex { SqlAccess::Index } else { SqlAccess::Ddl };
        self.need(access, EffectClass::Write);
        self.writes(relation)?;
        let mut outside = false;
        for command in cmds {
            match &command.node {
                Some(NodeEnum::AlterTableCmd(command)) => outside |= self.alter_command(verb, command)?,
                _ => return Err(Refusal::unknown("ALTER TABLE with something else than commands")),
            }
        }
        Ok(Shape::of(verb).outside_transaction_if(outside))
    }

    /// One command of ALTER TABLE. Whether it must run outside a transaction block.
    fn alter_command(&mut self, verb: &str, command: &pg::AlterTableCmd) -> Result<bool, Refusal> {
        let pg::AlterTableCmd { subtype: _, name: _, num: _, newowner, def, behavior: _, missing_ok: _, recurse: _ } =
            command;
        if let Some((what, why)) = forbidden::alter_command(command.subtype()) {
            return Err(Refusal::forbidden(format!("{verb} ... {what}"), why));
        }
        if newowner.is_some() {
            return Err(Refusal::forbidden(format!("{verb} ... OWNER TO"), forbidden::AUTHORITY));
        }
        match command.subtype() {
            AlterTableType::AtDropColumn | AlterTableType::AtAlterColumnType | AlterTableType::AtSetUnLogged => {
                self.need(SqlAccess::Ddl, EffectClass::Destructive);
            }
            AlterTableType::Undefined
            | AlterTableType::AtAddColumnToView
            | AlterTableType::AtCookedColumnDefault
            | AlterTableType::AtReAddIndex
            | AlterTableType::AtReAddConstraint
            | AlterTableType::AtReAddDomainConstraint
            | AlterTableType::AtReAddComment
            | AlterTableType::AtReAddStatistics
            | AlterTableType::AtReplaceRelOptions => {
                return Err(Refusal::unknown(format!("{verb} {}", command.subtype().as_str_name())));
            }
            _ => {}
        }
        let Some(definition) = def.as_ref().and_then(|node| node.node.as_ref()) else { return Ok(false) };
        match definition {
            NodeEnum::PartitionCmd(pg::PartitionCmd { name, bound, concurrent }) => {
                self.writes(name)?;
                self.maybe_bound(bound)?;
                return Ok(*concurrent);
            }
            NodeEnum::List(pg::List { items }) => self.options(items)?,
            NodeEnum::DefElem(option) => self.option(option)?,
            NodeEnum::TypeName(name) => self.type_name(name, TypeUse::Column)?,
            NodeEnum::RangeVar(parent) => self.writes(&Some(parent.clone()))?,
            NodeEnum::ReplicaIdentityStmt(pg::ReplicaIdentityStmt { identity_type: _, name: _ }) => {}
            NodeEnum::AtalterConstraint(pg::AtAlterConstraint {
                conname: _,
                alter_enforceability: _,
                is_enforced: _,
                alter_deferrability: _,
                deferrable: _,
                initdeferred: _,
                alter_inheritability: _,
                noinherit: _,
            }) => {}
            other => self.visit(other)?,
        }
        Ok(false)
    }

    pub(super) fn options(&mut self, options: &[pg::Node]) -> Walk {
        options.iter().try_for_each(|option| match &option.node {
            Some(NodeEnum::DefElem(option)) => self.option(option),
            _ => Err(Refusal::unknown("an option of unknown form")),
        })
    }

    pub(super) fn option(&mut self, option: &pg::DefElem) -> Walk {
        let pg::DefElem { defnamespace: _, defname: _, arg, defaction: _, location: _, arg_location: _ } = option;
        arg.as_ref().map_or(Ok(()), |value| self.option_value(value))
    }

    /// An option's value: a constant, a list of them, or a word, which the grammar takes for a type's name.
    fn option_value(&mut self, value: &pg::Node) -> Walk {
        match &value.node {
            None
            | Some(
                NodeEnum::AConst(_)
                | NodeEnum::AStar(_)
                | NodeEnum::Boolean(_)
                | NodeEnum::Float(_)
                | NodeEnum::Integer(_)
                | NodeEnum::String(_),
            ) => Ok(()),
            Some(NodeEnum::List(pg::List { items })) => items.iter().try_for_each(|item| self.option_value(item)),
            Some(NodeEnum::TypeName(word)) => {
                let pg::TypeName {
                    names,
                    type_oid: _,
                    setof: _,
                    pct_type: _,
                    typmods,
                    typemod: _,
                    array_bounds,
                    location: _,
                } = word;
                parts(names)?;
                self.nodes(typmods)?;
                self.nodes(array_bounds)
            }
            Some(other) => Err(Refusal::unknown(format!("an option with {}", super::kind(other)))),
        }
    }
}
