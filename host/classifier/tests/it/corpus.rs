//! The corpus: what each statement must be classified as, evasions included.

use rota_classifier::{
    AccessSet, CopyDirection, Refusal, SqlAccess, Statement, TransactionRule, classify, classify_copy,
};

/// One line of a corpus.
struct Line {
    number: usize,
    fields: Vec<&'static str>,
}

fn lines(corpus: &'static str, columns: usize) -> Vec<Line> {
    let meaningful = corpus.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    meaningful
        .map(|(at, line)| {
            let fields: Vec<_> = line.split('\t').collect();
            assert_eq!(fields.len(), columns, "line {}: {line}", at + 1);
            Line { number: at + 1, fields }
        })
        .collect()
}

/// The outcome in the corpus' words: accesses or refusal, effect, transaction.
fn words(outcome: &Result<Statement, Refusal>) -> (String, String, &'static str) {
    let kind = match outcome {
        Ok(found) => {
            let transaction = match found.transaction {
                TransactionRule::Allowed => "tx",
                TransactionRule::Forbidden => "no-tx",
            };
            return (found.accesses.to_string(), found.effect.to_string(), transaction);
        }
        Err(Refusal::Empty) => "empty",
        Err(Refusal::SeveralStatements { .. }) => "several",
        Err(Refusal::Syntax { .. }) => "syntax",
        Err(Refusal::TooLong) => "long",
        Err(Refusal::TooDeep) => "deep",
        Err(Refusal::Forbidden { .. }) => "forbidden",
        Err(Refusal::UnknownFunction { .. }) => "unknown-function",
        Err(Refusal::UnknownNode { .. }) => "unknown-node",
        Err(_) => "parser",
    };
    (format!("refused:{kind}"), "-".into(), "-")
}

/// Accesses in the order of the contract, whatever the order of the corpus.
fn expected(accesses: &str) -> String {
    if accesses.starts_with("refused:") {
        return accesses.to_owned();
    }
    let set: Result<AccessSet, _> = accesses.split(" + ").map(str::parse::<SqlAccess>).collect();
    set.unwrap_or_else(|unknown| panic!("{unknown}")).to_string()
}

fn compare(wrong: &mut Vec<String>, line: &Line, from: usize, outcome: Result<Statement, Refusal>) {
    let [accesses, effect, transaction, statement, note] = line.fields[from..] else { unreachable!() };
    let (found, found_effect, found_transaction) = words(&outcome);
    if (found.as_str(), found_effect.as_str(), found_transaction) != (expected(accesses).as_str(), effect, transaction)
    {
        wrong.push(format!(
            "line {}: {statement}\n  ({note})\n  expected {accesses}, {effect}, {transaction}\n  found    {found}, {found_effect}, {found_transaction}\n  {outcome:?}",
            line.number
        ));
    }
}

#[test]
fn every_statement_is_classified_as_the_corpus_says() {
    let corpus = lines(include_str!("corpus/statements.tsv"), 5);
    assert!(corpus.len() >= 550, "the corpus has shrunk to {}", corpus.len());
    let mut wrong = Vec::new();
    for line in &corpus {
        compare(&mut wrong, line, 0, classify(&line.fields[3].replace('⏎', "\n")));
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
}

#[test]
fn every_copy_is_classified_as_the_corpus_says() {
    let mut wrong = Vec::new();
    for line in lines(include_str!("corpus/copy.tsv"), 6) {
        let direction = if line.fields[0] == "out" { CopyDirection::Out } else { CopyDirection::In };
        compare(&mut wrong, &line, 1, classify_copy(line.fields[4], direction));
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is refused alone must be refused, and what asks for more must ask for it, wherever it stands.
#[test]
fn nesting_hides_nothing() {
    for line in lines(include_str!("corpus/statements.tsv"), 5) {
        let statement = line.fields[3].replace('⏎', "\n");
        // VALUES are left out: those of an INSERT read nothing.
        let is_query = ["SELECT", "TABLE", "WITH"].iter().any(|verb| statement.starts_with(verb));
        let Ok(alone) = classify(&statement) else {
            if is_query && line.fields[0] == "refused:forbidden" {
                for wrapped in wrap(&statement) {
                    assert!(classify(&wrapped).is_err(), "{wrapped}");
                }
            }
            continue;
        };
        if is_query && alone.verb == "SELECT" {
            for wrapped in wrap(&statement) {
                let found = classify(&wrapped).unwrap_or_else(|refusal| panic!("{wrapped}: {refusal}"));
                assert!(alone.accesses.is_subset(found.accesses), "{wrapped}");
                assert!(alone.effect <= found.effect, "{wrapped}");
            }
        }
    }
}

fn wrap(query: &str) -> [String; 6] {
    [
        format!("SELECT * FROM ({query}\n) AS wrapped"),
        format!("WITH wrapped AS ({query}\n) SELECT 1"),
        format!("SELECT 1 WHERE EXISTS ({query}\n)"),
        format!("EXPLAIN ANALYZE {query}"),
        format!("CREATE VIEW v AS {query}"),
        format!("INSERT INTO t {query}"),
    ]
}
