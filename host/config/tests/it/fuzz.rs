//! Whatever is written, it is read or refused; nothing panics, and every place is within its text.

use proptest::prelude::*;
use rota_config::{BindArgument, Config, Source};

const EXAMPLE: &str = include_str!("../../../../rota.toml.example");

fn load_and_show(text: &str, variables: &[(String, String)]) {
    let source = Source::empty().with_text("rota.toml", text);
    let source = variables.iter().fold(source, |source, (name, value)| source.with_variable(name, value));
    if let Err(error) = Config::load(&source) {
        let shown = rota_config::render(error.problems(), true);
        assert!(error.problems().iter().any(|problem| !problem.is_warning()), "{shown}");
        for place in error.problems().iter().filter_map(|problem| problem.place()) {
            assert!(place.line() >= 1 && place.column() >= 1);
            assert!(place.source_name() != "rota.toml" || place.span().end <= text.len());
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
    fn any_argument_of_bind_is_read_or_refused(text in "(postgres|s3|file|oss|é)?(://)?\\PC{0,30}|[a-z:@/?#%=&]{0,30}") {
        // env: and file: would read what the test's machine has.
        prop_assume!(!text.starts_with("file:") && !text.starts_with("env:"));
        let _ = BindArgument::parse(&text).map_err(|error| error.to_string());
    }
}
