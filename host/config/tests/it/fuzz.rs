//! Whatever is written, it is read or refused; nothing panics, and every place is within its text.

use proptest::prelude::*;
use rota_config::{BindArgument, Config, Source};

const EXAMPLE: &str = include_str!("../../../../rota.toml.example");

fn load_and_show(text: &str, variables: &[(String, String)]) {
    let source = Source::empty().with_text("rota.toml", text);
    let source = variables.iter().fold(source, |source, (name, value)| source.with_variable(name, value));
    match Config::load(&source) {
        Ok(config) => {
            // What was read can be used: every schedule by the scheduler, and all of it compared.
            for (name, job) in &config.jobs {
                assert!(job.schedule.as_ref().is_none_or(|schedule| schedule.resolve(name).is_ok()));
                assert!(config.job_digest(name.as_str()).is_some());
            }
            assert!(config.difference(&config).is_empty() && config.digest() == config.clone().digest());
        }
        Err(error) => {
            let shown = rota_config::render(error.problems(), true);
            assert!(error.problems().iter().any(|problem| !problem.is_warning()), "{shown}");
            for place in error.problems().iter().filter_map(|problem| problem.place()) {
                assert!(place.line() >= 1 && place.column() >= 1);
                assert!(place.source_name() != "rota.toml" || place.span().end <= text.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_example_is_read_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, "[a-z\"'\\[\\]{}=.,#\n é🔑0-9:/@-]{0,6}"), 1..8),
    ) {
        let mut text = EXAMPLE.replace("\n# ", "\n");
        for (at, length, instead) in edits {
            let start = text.floor_char_boundary(at.index(text.len()));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &instead);
        }
        load_and_show(&text, &[]);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}|(\\[bindings\\.[a-b]\\]\n|url = |kind = |\"sql\"|\"é://:@\"|=|\n|\"|\\{|\\}|,|a){0,24}") {
        load_and_show(&text, &[]);
    }

    #[test]
    fn any_variable_is_read_or_refused(
        variables in prop::collection::vec(
            ("ROTA_(LIMITS|BINDINGS__A|JOBS__B|JOBS__B__SCHEDULE|STORE|STORE__KEEP|SANDBOX|SERVER)(__)?(_)?(MEMORY|URL|KIND|PATH|SLOTS__X|PARAMETERS__Y|PLUGIN|CRON|AT|WINDOWS|AFTER|LABELS|LISTEN|AGE|RETRIES|JITTER)?(__ACCESS|__)?",
             "sql|tool|[\\[\\{]?[a-z\"=, é0-9/:]{0,12}[\\]\\}]?"), 0..6),
    ) {
        load_and_show("", &variables);
    }

    #[test]
    fn any_schedule_is_read_or_refused(
        keys in prop::collection::vec(
            "(cron|every|at|anchor|start|end|jitter|timezone|windows|blackouts|outside|misfire) = \
             (\"(0 2 \\* \\* \\*|@daily|15m|2026-1[0-3]-[0-3][0-9](T[0-2][0-9]:[0-6]0(Z|\\+08:00)?)?|UTC|Asia/Shanghai|defer|all)\"|\
             \\[\\{ (days = \\[\"(sat|sun)\"\\], )?(from = \"[0-2][0-9]:[0-5]0\")?(from = \"2026-12-0[1-3]\", until = \"2026-12-0[1-3]\")? \\}\\])",
            1..4),
    ) {
        load_and_show(&format!("[jobs.a]\nplugin = \"p\"\n[jobs.a.schedule]\n{}\n", keys.join("\n")), &[]);
    }

    #[test]
    fn any_argument_of_bind_is_read_or_refused(text in "(postgres|s3|file|oss|é)?(://)?\\PC{0,30}|[a-z:@/?#%=&]{0,30}") {
        // env: and file: would read what the test's machine has.
        prop_assume!(!text.starts_with("file:") && !text.starts_with("env:"));
        let _ = BindArgument::parse(&text).map_err(|error| error.to_string());
    }
}
