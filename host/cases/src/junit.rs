//! Results as JUnit's XML, which CI systems show.

use crate::suite::FileResults;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The results of a plugin's cases: one suite a file. What XML cannot hold is left out of texts.
///
/// # Errors
/// When it cannot be written.
pub fn junit(plugin: &str, results: &[FileResults]) -> Result<String, String> {
    let mut report = Report::new(plugin);
    let mut all = Duration::ZERO;
    for file in results {
        let name = file.path.display().to_string();
        let mut suite = TestSuite::new(&name);
        let mut took = Duration::ZERO;
        for case in &file.cases {
            let status = if case.passed() {
                TestCaseStatus::success()
            } else {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                let what: Vec<&str> = case.wrong.iter().map(|wrong| wrong.what.as_str()).collect();
                let how: Vec<String> =
                    case.wrong.iter().map(|wrong| format!("{}:\n{}", wrong.what, wrong.how)).collect();
                status.set_type("case").set_message(what.join(", ")).set_description(how.join("\n\n"));
                status
            };
            let mut test = TestCase::new(&case.name, status);
            test.set_classname(format!("{plugin}.{name}")).set_time(case.took);
            if !case.passed() {
                let lines: Vec<String> =
                    case.log.iter().map(|line| format!("{} {}: {}", line.level, line.source, line.message)).collect();
                test.set_system_out(lines.join("\n"));
            }
            took += case.took;
            suite.add_test_case(test);
        }
        suite.set_time(took);
        all += took;
        report.add_test_suite(suite);
    }
    report.set_time(all);
    report.to_string().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CaseResult;
    use crate::check::Wrong;
    use std::collections::BTreeSet;

    #[test]
    fn it_is_well_formed_whatever_the_texts_are() {
        let case = |name: &str, wrong: Vec<Wrong>| CaseResult {
            name: name.into(),
            wrong,
            log: Vec::new(),
            took: Duration::from_millis(1_500),
            used: BTreeSet::new(),
        };
        let hostile = "a < b && \"c\" ]]> \u{0}\u{1b}[31md";
        let cases = vec![case("good", Vec::new()), case(hostile, vec![Wrong::new(hostile, "effects <&>")])];
        let text = junit("mine", &[FileResults { path: "tests/a.toml".into(), cases }]).unwrap();
        assert!(text.contains(r#"<testsuites name="mine" tests="2""#), "{text}");
        assert!(text.contains(r#"<testcase name="good""#) && text.contains("time=\"1.500\""), "{text}");
        assert!(text.contains("a &lt; b &amp;&amp;") && !text.contains('\u{1b}') && !text.contains('\u{0}'), "{text}");
        // Read back by a parser: counting tags would say nothing of quotes and entities.
        let read = Report::deserialize_from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!((read.tests, read.failures, read.errors, read.test_suites.len()), (2, 1, 0, 1), "{text}");
        let suite = &read.test_suites[0];
        assert_eq!((suite.name.as_str(), suite.tests, suite.failures), ("tests/a.toml", 2, 1), "{text}");
        let names: Vec<&str> = suite.test_cases.iter().map(|case| case.name.as_str()).collect();
        let left = "a < b && \"c\" ]]> d";
        assert_eq!(names, ["good", left], "{text}");
        assert!(matches!(suite.test_cases[0].status, TestCaseStatus::Success { .. }), "{text}");
        let TestCaseStatus::NonSuccess { message, description, .. } = &suite.test_cases[1].status else {
            panic!("the second has failed: {text}")
        };
        assert_eq!(message.as_deref(), Some(left), "{text}");
        let how = format!("{left}:\neffects <&>");
        assert_eq!(description.as_deref(), Some(how.as_str()), "{text}");
    }
}
