//! Whatever the text, classifying ends with an answer: it neither panics nor overflows nor takes unbounded memory.

use proptest::prelude::*;
use rota_classifier::{CopyDirection, MAX_CODE_BYTES, MAX_STATEMENT_BYTES, Refusal, classify, classify_copy};

const CORPUS: &str = include_str!("corpus/statements.tsv");

fn statements() -> Vec<&'static str> {
    CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split('\t').nth(3))
        .collect()
}

/// What an accepted statement must always fulfil; a refusal must say something.
fn check(statement: &str) {
    match classify(statement) {
        Ok(found) => {
            assert!(!found.accesses.is_empty(), "{statement}");
            assert!(!found.verb.is_empty(), "{statement}");
        }
        Err(Refusal::ParserFailed { message }) => panic!("{statement}: {message}"),
        Err(refusal) => assert!(refusal.to_string().len() > 10, "{statement}: {refusal}"),
    }
    for direction in [CopyDirection::Out, CopyDirection::In] {
        if let Err(Refusal::ParserFailed { message }) = classify_copy(statement, direction) {
            panic!("{statement}: {message}");
        }
    }
}

/// A statement of the corpus with pieces taken out, doubled, swapped or put in from another one.
fn mutated() -> impl Strategy<Value = String> {
    let pick = || prop::sample::select(statements());
    (pick(), pick(), any::<[prop::sample::Index; 4]>(), 0..6_u8).prop_map(|(one, other, places, how)| {
        let one: Vec<&str> = pieces(one);
        let other: Vec<&str> = pieces(other);
        if one.is_empty() || other.is_empty() {
            return String::new();
        }
        let (from, to) = {
            let (a, b) = (places[0].index(one.len()), places[1].index(one.len()));
            (a.min(b), a.max(b))
        };
        let piece = other[places[2].index(other.len())];
        let mut parts = one.clone();
        match how {
            0 => drop(parts.drain(from..to)),
            1 => parts.insert(from, piece),
            2 => parts[from] = piece,
            3 => parts.swap(from, to),
            4 => parts.extend(&one[from..to]),
            _ => parts.truncate(to),
        }
        parts.concat()
    })
}

/// Words, numbers and single signs, which together give the text again.
fn pieces(statement: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let end = if word(first) { rest.find(|c| !word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_an_answer(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_text_of_sql_signs_has_an_answer(text in "[a-z0-9 '\"$\\\\;(),.*=<>:@#%^&|!?/\\[\\]{}_Uu&\n-]{0,80}") {
        check(&text);
    }

    #[test]
    fn mutated_statements_have_an_answer(statement in mutated()) {
        check(&statement);
    }

    #[test]
    fn comments_change_nothing(statement in prop::sample::select(statements())) {
        let plain = classify(statement);
        // A syntax error knows its place, which moves.
        prop_assume!(!matches!(plain, Err(Refusal::Syntax { .. })));
        prop_assert_eq!(&classify(&format!("/* x */ {statement}\n-- y")), &plain);
        if plain.is_ok() {
            let twice = classify(&format!("{statement}\n;{statement}"));
            prop_assert_eq!(twice, Err(Refusal::SeveralStatements { count: 2 }));
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    for depth in [60, 200, 2_000, 15_000] {
        for (open, inner, close) in [
            ("(", "1", ")"),
            ("(SELECT ", "1", ")"),
            ("abs(", "1", ")"),
            ("ARRAY[", "1", "]"),
            ("CASE WHEN true THEN ", "1", " END"),
            ("NOT ", "true", ""),
            ("- ", "1", ""),
            ("", "1", "+1"),
            ("", "'a'", "||'a'"),
            ("", "1", "::int"),
            ("", "a", " COLLATE \"C\""),
            ("", "1", " UNION SELECT 1"),
            ("", "1 FROM a", " JOIN a ON true"),
            ("", "1", " IS NULL"),
            ("", "1 WHERE true", " AND (a OR true)"),
        ] {
            let statement = format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth));
            match classify(&statement) {
                Ok(_) => {}
                Err(Refusal::TooDeep | Refusal::TooLong) => {}
                Err(other) => panic!("{open}{inner}{close} x {depth}: {other:?}"),
            }
        }
    }
    let deep = format!("SELECT {}1{}", "(SELECT ".repeat(60), ")".repeat(60));
    assert_eq!(classify(&deep), Err(Refusal::TooDeep));
}

#[test]
fn usual_nesting_is_accepted() {
    assert!(classify(&format!("SELECT 'a'{}", " || 'a'".repeat(40))).is_ok());
    assert!(classify(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(80))).is_ok());
    assert!(classify(&format!("SELECT 1 FROM a{}", " JOIN b ON true".repeat(40))).is_ok());
    assert!(classify(&format!("SELECT 1 WHERE true{}", " AND a = 1".repeat(3_000))).is_ok());
    assert!(classify(&format!("SELECT 1 WHERE a IN (1{})", ", 1".repeat(10_000))).is_ok());
    assert!(classify(&format!("SELECT {}1{}", "(SELECT ".repeat(14), ")".repeat(14))).is_ok());
}

/// A host call can run where little stack is left: a fiber, or a thread with a small one.
#[test]
fn the_callers_stack_does_not_matter() {
    let small = std::thread::Builder::new().stack_size(64 * 1024);
    let answers = small.spawn(|| {
        let chain = format!("SELECT 1{}", "+1".repeat(20_000));
        (classify(&chain), classify("SELECT 1").is_ok())
    });
    assert_eq!(answers.unwrap().join().unwrap(), (Err(Refusal::TooDeep), true));
}

#[test]
fn threads_do_not_disturb_each_other() {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for statement in statements() {
                    drop(classify(statement));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // libpg_query has put stderr back.
    eprintln!("stderr is there");
}

#[test]
fn bounds_hold() {
    assert_eq!(classify(&" ".repeat(MAX_STATEMENT_BYTES + 1)), Err(Refusal::TooLong));
    assert_eq!(classify(&" ".repeat(MAX_STATEMENT_BYTES)), Err(Refusal::Empty));
    assert_eq!(classify(&format!("SELECT {}1", "1,".repeat(MAX_CODE_BYTES))), Err(Refusal::TooLong));
    let vector = format!("SELECT '[{}1]'::vector", "0.125,".repeat(100_000));
    assert!(classify(&vector).is_ok());
    assert!(matches!(classify("SELECT '\0'"), Err(Refusal::Syntax { position: Some(9), .. })));
    let mut nested = "1".to_owned();
    for _ in 0..12 {
        nested = format!("WITH x AS (UPDATE t SET (a, b, c, d) = ({nested})) SELECT 1");
    }
    assert_eq!(classify(&nested), Err(Refusal::TooLong));
}
