//! Relations that are not read even where the role could (secrets), and those that are never changed (catalogs).

/// Relations of the catalogs that hold what no procedure needs and nobody may carry out, each with the reason.
const SECRETS: [(&str, &str); 11] = [
    ("_pg_user_mappings", "it holds the passwords of foreign servers"),
    ("pg_authid", "it holds password hashes; pg_roles has everything else"),
    ("pg_hba_file_rules", "its options can hold LDAP and RADIUS secrets"),
    ("pg_largeobject", "it holds the contents of large objects, past their privileges"),
    ("pg_shadow", "it holds password hashes; pg_roles has everything else"),
    ("pg_statistic", "it holds values of columns, past their privileges; pg_stats shows those that the role may see"),
    (
        "pg_statistic_ext_data",
        "it holds values of columns, past their privileges; pg_stats_ext shows those that the role may see",
    ),
    ("pg_subscription", "it holds connection strings with passwords; pg_stat_subscription has the state"),
    ("pg_user_mapping", "it holds the passwords of foreign servers"),
    ("pg_user_mappings", "it holds the passwords of foreign servers"),
    ("user_mapping_options", "it holds the passwords of foreign servers"),
];

/// Schemas that are the server's own.
const SYSTEM_SCHEMAS: [&str; 3] = ["information_schema", "pg_catalog", "pg_toast"];

/// Why the relation is not to be read, if it is not. `schema` is empty if none was written.
pub(crate) fn secret(schema: &str, name: &str) -> Option<&'static str> {
    if schema == "pg_toast" {
        return Some("it holds the large values of another relation, secrets among them; read that relation");
    }
    if !(schema.is_empty() || SYSTEM_SCHEMAS.contains(&schema)) {
        return None;
    }
    SECRETS.iter().find(|(secret, _)| *secret == name).map(|(_, why)| *why)
}

/// Whether the relation is, or could be, one of the server's catalogs. `schema` is empty if none was written:
/// then names that begin with `pg_` are taken for catalogs, which are found first.
pub(crate) fn is_catalog(schema: &str, name: &str) -> bool {
    if schema.is_empty() { name.starts_with("pg_") } else { is_system_schema(schema) }
}

/// Whether the schema is the server's own.
pub(crate) fn is_system_schema(schema: &str) -> bool {
    SYSTEM_SCHEMAS.contains(&schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_with_and_without_their_schema() {
        assert!(secret("", "pg_authid").is_some());
        assert!(secret("pg_catalog", "pg_shadow").is_some());
        assert!(secret("information_schema", "user_mapping_options").is_some());
        assert!(secret("app", "pg_authid").is_none());
        assert!(secret("", "pg_roles").is_none());
        assert!(secret("pg_toast", "pg_toast_1260").is_some());
    }

    #[test]
    fn catalogs_are_known_by_schema_or_prefix() {
        assert!(is_catalog("", "pg_class") && is_catalog("pg_catalog", "x") && is_catalog("information_schema", "x"));
        assert!(!is_catalog("app", "pg_class") && !is_catalog("", "orders") && !is_catalog("pg_temp", "t"));
    }
}
