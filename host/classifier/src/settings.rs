//! The few settings that a statement may set for its session.
//!
//! They steer how a statement is planned and how much it may use. None changes what a statement means, who runs it, whether it may write, or
//! how long it may take: those are the host's. (What shows values also reads them: with another `datestyle`, '01/02/2026' is another day.)
//! Setting one asks for `read` only; the memory and cost of maintenance matter to those alone who may maintain or index.

/// Settings that may be set, sorted.
const ALLOWED: [&str; 47] = [
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "enable_async_append",
    "enable_bitmapscan",
    "enable_distinct_reordering",
    "enable_gathermerge",
    "enable_group_by_reordering",
    "enable_hashagg",
    "enable_hashjoin",
    "enable_incremental_sort",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_memoize",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_parallel_append",
    "enable_parallel_hash",
    "enable_partition_pruning",
    "enable_partitionwise_aggregate",
    "enable_partitionwise_join",
    "enable_presorted_aggregate",
    "enable_self_join_elimination",
    "enable_seqscan",
    "enable_sort",
    "enable_tidscan",
    "hnsw.ef_search",
    "hnsw.iterative_scan",
    "hnsw.max_scan_tuples",
    "hnsw.scan_mem_multiplier",
    "ivfflat.iterative_scan",
    "ivfflat.max_probes",
    "ivfflat.probes",
    "jit",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers_per_gather",
    "plan_cache_mode",
    "random_page_cost",
    "seq_page_cost",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
];

/// The one setting that a reader could harm the server with.
pub(crate) const WORK_MEM: &str = "work_mem";

/// The most that a statement may set `work_mem` to: a plan can use it several times over.
pub(crate) const MAX_WORK_MEM_KB: f64 = 1024.0 * 1024.0;

/// Whether the setting may be set at all.
pub(crate) fn may_be_set(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == WORK_MEM || ALLOWED.binary_search(&name.as_str()).is_ok()
}

/// Why a setting is not set by statement.
pub(crate) fn why(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "statement_timeout"
        | "lock_timeout"
        | "transaction_timeout"
        | "idle_in_transaction_session_timeout"
        | "idle_session_timeout" => "the host sets the timeouts; ask for others in the options of begin or execute",
        "search_path" => "it decides what names mean, and the host sets it; write names with their schema",
        "role" | "session_authorization" => "the binding says under which role a run works",
        "transaction_read_only"
        | "default_transaction_read_only"
        | "transaction_isolation"
        | "default_transaction_isolation"
        | "transaction_deferrable"
        | "default_transaction_deferrable" => "the host opens transactions; choose their mode in the options of begin",
        "datestyle" | "intervalstyle" | "timezone" | "bytea_output" | "extra_float_digits" => {
            "it changes what a text means as a date, a time or a number, also in a statement that was agreed to; write dates as 2026-01-02, and use `at time zone`, to_char or encode"
        }
        "standard_conforming_strings"
        | "backslash_quote"
        | "escape_string_warning"
        | "client_encoding"
        | "transform_null_equals" => {
            "it changes how the server reads a statement, which then would not be the one that was judged"
        }
        _ => {
            "only settings that steer planning and memory may be set by statement (enable_*, work_mem, hnsw.*, ivfflat.* ...)"
        }
    }
}

/// The amount in kilobytes that a memory setting's value means, or `None` if it is not clear.
pub(crate) fn kilobytes(value: &str) -> Option<f64> {
    let value = value.trim();
    let unit_at = value.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(value.len());
    let number: f64 = value[..unit_at].parse().ok()?;
    let factor = match value[unit_at..].trim() {
        "B" => 1.0 / 1024.0,
        "" | "kB" => 1.0,
        "MB" => 1024.0,
        "GB" => 1024.0 * 1024.0,
        "TB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(ALLOWED.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn names_are_compared_as_the_server_does() {
        assert!(may_be_set("Work_Mem") && may_be_set("HNSW.ef_search"));
        assert!(!may_be_set("transaction_read_only") && !may_be_set("search_path"));
        assert!(!may_be_set("DateStyle") && !may_be_set("TimeZone"), "what is agreed to would be another thing");
    }

    #[test]
    fn memory_is_read_with_its_unit() {
        assert_eq!(kilobytes("64MB"), Some(65536.0));
        assert_eq!(kilobytes("4096"), Some(4096.0));
        assert_eq!(kilobytes(" 1.5 GB "), Some(1_572_864.0));
        assert_eq!(kilobytes("-1"), None);
        assert_eq!(kilobytes("0x7fffffff"), None);
        assert_eq!(kilobytes("1e9"), None);
    }
}
