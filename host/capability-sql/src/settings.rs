//! The parameters that a guest may set for its session.

use crate::cell::Work;
use crate::connection::Connection;
use crate::session::Session;
use crate::value::parameter;
use crate::wit::Value;
use rota_authority::{Authorized, Sql};
use rota_contract::Error;
use sqlx::{Executor as _, Statement as _};

/// What may be set, by its name on the server.
const ALLOWED: [&str; 14] = [
    "statement_timeout",
    "lock_timeout",
    "maintenance_work_mem",
    "work_mem",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
    "search_path",
    "hnsw.ef_search",
    "hnsw.iterative_scan",
    "hnsw.max_scan_tuples",
    "hnsw.scan_mem_multiplier",
    "ivfflat.probes",
    "ivfflat.max_probes",
    "ivfflat.iterative_scan",
];

/// The longest value.
const LONGEST: usize = 1_000;

/// The most `work_mem` that a guest may ask for, kB: each sort and hash of each statement may take as much on the server.
const MOST_WORK_MEM: u64 = 1 << 20;

/// Schemas that must keep their place in the search path: in front, unseen.
const RESERVED: [&str; 2] = ["pg_catalog", "pg_temp"];

impl Session {
    /// Set a parameter for the session's later statements.
    ///
    /// # Errors
    /// `invalid-argument` for a name that is not on the list or a search path that is not plain; what the server says of a value.
    pub async fn configure(&self, authorized: &Authorized<Sql>, name: &str, value: &str) -> Result<(), Error> {
        self.0.check(authorized)?;
        let name = allowed(name)?;
        check_value(name, value)?;
        let mut lease = self.0.take(Work::Call).await?;
        let result = self.0.listening(set(lease.connection()?, name, value)).await;
        lease.settle(result)?;
        self.0.remember_setting(name, value);
        Ok(())
    }
}

/// Set a parameter by a bound value.
pub(crate) async fn set(connection: &mut Connection, name: &str, value: &str) -> Result<(), sqlx::Error> {
    if name.contains('.') {
        // The server checks pgvector's parameters only once its library is loaded, which receiving a vector does.
        let vector = [Value::Vector(vec![0.0])];
        let lookups = connection.lookups(&vector).await?;
        let arguments = parameter::arguments(&vector, &lookups)?;
        let statement = connection.prepare("select $1 is null", &parameter::types(&vector, &lookups)).await?;
        connection.pg.execute(statement.query_with(arguments)).await?;
    }
    let sql = "select pg_catalog.set_config($1, $2, false)";
    sqlx::query(sql).bind(name).bind(value).persistent(false).execute(&mut connection.pg).await.map(|_| ())
}

fn allowed(name: &str) -> Result<&'static str, Error> {
    ALLOWED.into_iter().find(|allowed| allowed.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        Error::InvalidArgument(format!(
            "the parameter `{shown}` cannot be configured; these can: {}",
            ALLOWED.join(", ")
        ))
    })
}

fn check_value(name: &str, value: &str) -> Result<(), Error> {
    if value.len() > LONGEST || value.contains('\0') {
        return Err(Error::InvalidArgument(format!("the value of `{name}` is over {LONGEST} bytes or holds a NUL")));
    }
    match name {
        "search_path" => check_search_path(value),
        "work_mem" | "maintenance_work_mem" => check_memory(name, value),
        _ => Ok(()),
    }
}

/// A plain number with a unit as the server has them (kB without one), and no more `work_mem` than a guest may have.
fn check_memory(name: &str, value: &str) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::InvalidArgument(format!("`{name}` is not set: {why}")));
    let text = value.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let kilobytes = match (digits.parse::<u64>(), unit.trim_start()) {
        (Ok(number), "B") => number >> 10,
        (Ok(number), "" | "kB") => number,
        (Ok(number), "MB") => number.saturating_mul(1 << 10),
        (Ok(number), "GB") => number.saturating_mul(1 << 20),
        (Ok(number), "TB") => number.saturating_mul(1 << 30),
        _ => return refuse("write a whole number and a unit (B, kB, MB, GB, TB), for example 64MB".into()),
    };
    if name == "work_mem" && kilobytes > MOST_WORK_MEM {
        return refuse(format!("a procedure may have at most {} MB of it", MOST_WORK_MEM >> 10));
    }
    Ok(())
}

/// Plain or quoted identifiers, and none that would put something in front of the server's own functions.
fn check_search_path(value: &str) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::InvalidArgument(format!("the search_path is not set: {why}")));
    for part in value.split(',').map(str::trim) {
        let inner = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let good = match inner {
            Some(inner) => !inner.is_empty() && !inner.contains(['"', '\\']) && !inner.contains(char::is_control),
            None => part.chars().next().is_some_and(|c| !c.is_ascii_digit() && c != '$') && part.chars().all(plain),
        };
        if !good {
            return refuse("name schemas as plain identifiers, separated by commas");
        }
        let name = inner.map_or_else(|| part.to_lowercase(), str::to_owned);
        if RESERVED.iter().any(|reserved| name == *reserved || name.starts_with("pg_temp")) {
            return refuse("pg_catalog and pg_temp are searched by themselves, and keep their place");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_parameters_are_set() {
        assert_eq!(allowed("Work_Mem").unwrap(), "work_mem");
        for name in [
            "role",
            "session_authorization",
            "default_transaction_read_only",
            "log_statement",
            "x; drop table t",
            "standard_conforming_strings",
        ] {
            assert!(allowed(name).is_err(), "{name}");
        }
    }

    #[test]
    fn memory_is_a_plain_number_and_bounded() {
        for (name, value) in [
            ("work_mem", "64MB"),
            ("work_mem", "1024 MB"),
            ("work_mem", "4096"),
            ("work_mem", "1GB"),
            ("maintenance_work_mem", "8GB"),
        ] {
            assert!(check_value(name, value).is_ok(), "{name} {value}");
        }
        for (name, value) in [
            ("work_mem", "1025MB"),
            ("work_mem", "2TB"),
            ("work_mem", "1048577"),
            ("work_mem", "0x7fffffff"),
            ("work_mem", "1e9"),
            ("work_mem", "99999999999999999999TB"),
            ("maintenance_work_mem", "lots"),
            ("work_mem", "-1"),
            ("work_mem", ""),
        ] {
            assert!(check_value(name, value).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn a_search_path_is_plain_and_leaves_the_catalog_in_front() {
        for path in ["public", "a, b", "\"Odd schema\", public", "größe", "\"$user\", public"] {
            assert!(check_search_path(path).is_ok(), "{path}");
        }
        for path in [
            "",
            "a,",
            "evil, pg_catalog",
            "PG_CATALOG",
            "\"pg_temp\"",
            "pg_temp_3",
            "a; drop",
            "'a'",
            "\"a\"\"b\"",
            "1a",
        ] {
            assert!(check_search_path(path).is_err(), "{path}");
        }
    }
}
