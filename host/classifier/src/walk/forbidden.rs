//! Statements, commands and extensions that are refused whatever is granted, each with its reason.

use pg_query::NodeEnum;
use pg_query::protobuf::AlterTableType;

pub(super) const AUTHORITY: &str = "it changes who may do what; that is for a person, not for a procedure";
pub(super) const CODE: &str = "it makes code that runs later, unseen, as whoever sets it off";
pub(super) const FOREIGN_DATA: &str =
    "foreign data opens connections from the database server to elsewhere, past every binding";
pub(super) const OBJECT: &str =
    "objects of this kind hold code, authority or connections, and are not a procedure's to change";
pub(super) const PREPARED: &str =
    "what it runs was given elsewhere and cannot be judged here; send the statement itself";
const COPY: &str = "its data does not fit through a statement; use the verbs copy-out and copy-in";
const CURSOR: &str = "a query's rows are a stream already; use query";
const ELSEWHERE: &str = "it reads the server's files or loads code from them";
const MESSAGES: &str = "notifications between sessions are no part of the contract";
const REPLICATION: &str = "publications and subscriptions carry data elsewhere, past every binding";
const SERVER: &str = "it changes the settings of a server, a database or a role beyond this run";
const SESSION: &str = "it undoes the session as the host has set it up";
const TABLESPACE: &str = "tablespaces are folders of the database server's host";
const TRANSACTION: &str = "transactions have their own verbs: begin, commit, rollback";

/// A statement's name and the reason why it is refused.
pub(super) fn statement(node: &NodeEnum) -> Option<(&'static str, &'static str)> {
    Some(match node {
        NodeEnum::CopyStmt(_) => ("COPY", COPY),
        NodeEnum::TransactionStmt(_) => ("transaction control", TRANSACTION),

        NodeEnum::PrepareStmt(_) => ("PREPARE", PREPARED),
        NodeEnum::ExecuteStmt(_) => ("EXECUTE", PREPARED),
        NodeEnum::DeallocateStmt(_) => ("DEALLOCATE", PREPARED),
        NodeEnum::DeclareCursorStmt(_) => ("DECLARE", CURSOR),
        NodeEnum::FetchStmt(_) => ("FETCH or MOVE", CURSOR),
        NodeEnum::ClosePortalStmt(_) => ("CLOSE", CURSOR),
        NodeEnum::DiscardStmt(_) => ("DISCARD", SESSION),
        NodeEnum::ListenStmt(_) => ("LISTEN", MESSAGES),
        NodeEnum::NotifyStmt(_) => ("NOTIFY", MESSAGES),
        NodeEnum::UnlistenStmt(_) => ("UNLISTEN", MESSAGES),

        NodeEnum::DoStmt(_) => ("DO", CODE),
        NodeEnum::CallStmt(_) => ("CALL", CODE),
        NodeEnum::CreateFunctionStmt(_) => ("CREATE FUNCTION or PROCEDURE", CODE),
        NodeEnum::AlterFunctionStmt(_) => ("ALTER FUNCTION or PROCEDURE", CODE),
        NodeEnum::CreateTrigStmt(_) => ("CREATE TRIGGER", CODE),
        NodeEnum::CreateEventTrigStmt(_) => ("CREATE EVENT TRIGGER", CODE),
        NodeEnum::AlterEventTrigStmt(_) => ("ALTER EVENT TRIGGER", CODE),
        NodeEnum::RuleStmt(_) => ("CREATE RULE", CODE),
        NodeEnum::CreatePlangStmt(_) => ("CREATE LANGUAGE", CODE),
        NodeEnum::CreateTransformStmt(_) => ("CREATE TRANSFORM", CODE),
        NodeEnum::CreateAmStmt(_) => ("CREATE ACCESS METHOD", CODE),
        NodeEnum::CreateCastStmt(_) => ("CREATE CAST", CODE),
        NodeEnum::CreateConversionStmt(_) => ("CREATE CONVERSION", CODE),
        NodeEnum::CreateOpClassStmt(_) => ("CREATE OPERATOR CLASS", CODE),
        NodeEnum::CreateOpFamilyStmt(_) => ("CREATE OPERATOR FAMILY", CODE),
        NodeEnum::AlterOpFamilyStmt(_) => ("ALTER OPERATOR FAMILY", CODE),
        NodeEnum::AlterOperatorStmt(_) => ("ALTER OPERATOR", CODE),
        NodeEnum::AlterTypeStmt(_) => ("ALTER TYPE ... SET", CODE),
        NodeEnum::AlterObjectDependsStmt(_) => ("ALTER ... DEPENDS ON EXTENSION", CODE),
        NodeEnum::AlterExtensionContentsStmt(_) => ("ALTER EXTENSION ... ADD or DROP", CODE),
        NodeEnum::LoadStmt(_) => ("LOAD", ELSEWHERE),

        NodeEnum::GrantStmt(_) => ("GRANT or REVOKE", AUTHORITY),
        NodeEnum::GrantRoleStmt(_) => ("GRANT or REVOKE of a role", AUTHORITY),
        NodeEnum::AlterDefaultPrivilegesStmt(_) => ("ALTER DEFAULT PRIVILEGES", AUTHORITY),
        NodeEnum::AlterOwnerStmt(_) => ("ALTER ... OWNER TO", AUTHORITY),
        NodeEnum::CreateRoleStmt(_) => ("CREATE ROLE", AUTHORITY),
        NodeEnum::AlterRoleStmt(_) => ("ALTER ROLE", AUTHORITY),
        NodeEnum::AlterRoleSetStmt(_) => ("ALTER ROLE ... SET", SERVER),
        NodeEnum::DropRoleStmt(_) => ("DROP ROLE", AUTHORITY),
        NodeEnum::DropOwnedStmt(_) => ("DROP OWNED", AUTHORITY),
        NodeEnum::ReassignOwnedStmt(_) => ("REASSIGN OWNED", AUTHORITY),
        NodeEnum::CreatePolicyStmt(_) => ("CREATE POLICY", AUTHORITY),
        NodeEnum::AlterPolicyStmt(_) => ("ALTER POLICY", AUTHORITY),
        NodeEnum::SecLabelStmt(_) => ("SECURITY LABEL", AUTHORITY),

        NodeEnum::AlterDatabaseSetStmt(_) => ("ALTER DATABASE ... SET", SERVER),
        NodeEnum::CreateTableSpaceStmt(_) => ("CREATE TABLESPACE", TABLESPACE),
        NodeEnum::AlterTableSpaceOptionsStmt(_) => ("ALTER TABLESPACE", TABLESPACE),
        NodeEnum::DropTableSpaceStmt(_) => ("DROP TABLESPACE", TABLESPACE),
        NodeEnum::AlterTableMoveAllStmt(_) => ("ALTER ... ALL IN TABLESPACE", TABLESPACE),

        NodeEnum::CreateFdwStmt(_) => ("CREATE FOREIGN DATA WRAPPER", FOREIGN_DATA),
        NodeEnum::AlterFdwStmt(_) => ("ALTER FOREIGN DATA WRAPPER", FOREIGN_DATA),
        NodeEnum::CreateForeignServerStmt(_) => ("CREATE SERVER", FOREIGN_DATA),
        NodeEnum::AlterForeignServerStmt(_) => ("ALTER SERVER", FOREIGN_DATA),
        NodeEnum::CreateForeignTableStmt(_) => ("CREATE FOREIGN TABLE", FOREIGN_DATA),
        NodeEnum::CreateUserMappingStmt(_) => ("CREATE USER MAPPING", FOREIGN_DATA),
        NodeEnum::AlterUserMappingStmt(_) => ("ALTER USER MAPPING", FOREIGN_DATA),
        NodeEnum::DropUserMappingStmt(_) => ("DROP USER MAPPING", FOREIGN_DATA),
        NodeEnum::ImportForeignSchemaStmt(_) => ("IMPORT FOREIGN SCHEMA", FOREIGN_DATA),
        NodeEnum::CreatePublicationStmt(_) => ("CREATE PUBLICATION", REPLICATION),
        NodeEnum::AlterPublicationStmt(_) => ("ALTER PUBLICATION", REPLICATION),
        NodeEnum::CreateSubscriptionStmt(_) => ("CREATE SUBSCRIPTION", REPLICATION),
        NodeEnum::AlterSubscriptionStmt(_) => ("ALTER SUBSCRIPTION", REPLICATION),
        NodeEnum::DropSubscriptionStmt(_) => ("DROP SUBSCRIPTION", REPLICATION),
        _ => return None,
    })
}

/// The same for the commands of ALTER TABLE.
pub(super) fn alter_command(command: AlterTableType) -> Option<(&'static str, &'static str)> {
    Some(match command {
        AlterTableType::AtChangeOwner => ("OWNER TO", AUTHORITY),
        AlterTableType::AtEnableRowSecurity
        | AlterTableType::AtDisableRowSecurity
        | AlterTableType::AtForceRowSecurity
        | AlterTableType::AtNoForceRowSecurity => ("ROW LEVEL SECURITY", AUTHORITY),
        AlterTableType::AtEnableTrig
        | AlterTableType::AtEnableAlwaysTrig
        | AlterTableType::AtEnableReplicaTrig
        | AlterTableType::AtDisableTrig
        | AlterTableType::AtEnableTrigAll
        | AlterTableType::AtDisableTrigAll
        | AlterTableType::AtEnableTrigUser
        | AlterTableType::AtDisableTrigUser => {
            ("ENABLE or DISABLE TRIGGER", "triggers hold the checks that others rely on")
        }
        AlterTableType::AtEnableRule
        | AlterTableType::AtEnableAlwaysRule
        | AlterTableType::AtEnableReplicaRule
        | AlterTableType::AtDisableRule => ("ENABLE or DISABLE RULE", "rules hold the checks that others rely on"),
        AlterTableType::AtGenericOptions | AlterTableType::AtAlterColumnGenericOptions => ("OPTIONS", FOREIGN_DATA),
        _ => return None,
    })
}

/// Why an extension is not installed or updated by a procedure, if it is not. A list of what is known: installing
/// is a matter of the role's privileges too, and the functions of an unknown extension are not on the allow-list.
pub(super) fn extension(name: &str) -> Option<&'static str> {
    const REACH_OUT: [&str; 17] = [
        "adminpack",
        "aws_lambda",
        "aws_s3",
        "http",
        "lo",
        "multicorn",
        "orafce",
        "pageinspect",
        "pg_background",
        "pg_cron",
        "pg_dirtyread",
        "pg_net",
        "pg_surgery",
        "pg_tle",
        "pgsql_http",
        "wrappers",
        "xml2",
    ];
    // Transforms such as hstore_plperl bring their language along.
    const LANGUAGES: [&str; 3] = ["plperl", "plpython", "pltcl"];
    let is_language = name.starts_with("pl") && !name.starts_with("plpgsql");
    if name == "dblink" || name.ends_with("_fdw") {
        Some(FOREIGN_DATA)
    } else if is_language || REACH_OUT.contains(&name) || LANGUAGES.iter().any(|language| name.contains(language)) {
        Some("it brings functions that run code, open connections, or reach the server's files or insides")
    } else {
        None
    }
}
