//! "Did you mean": the valid word nearest to one that is not.

/// The candidate that `word` was probably meant to be, if any is near. Case, `-` and `_` do not count.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    let tolerated = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A beginning counts as near: `mem` for `memory`.
fn distance(word: &str, candidate: &str) -> usize {
    let whole = strsim::damerau_levenshtein(word, candidate);
    if word.len() >= 3 && candidate.starts_with(word) { whole.min(1) } else { whole }
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// `"; the nearest is \"memory\""`, or what there is.
pub(crate) fn advice(word: &str, candidates: &[&str], what: &str) -> String {
    match (nearest(word, candidates.iter().copied()), candidates) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, []) => format!("there are no {what}"),
        (None, all) => format!("the {what} are {}", list(all)),
    }
}

/// `a, b and c`.
pub(crate) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let keys = ["memory", "table_elements", "cpu", "host_calls_in_flight"];
        assert_eq!(nearest("memroy", keys), Some("memory"));
        assert_eq!(nearest("MEMORY", keys), Some("memory"));
        assert_eq!(nearest("mem", keys), Some("memory"));
        assert_eq!(nearest("host-calls-in-fligth", keys), Some("host_calls_in_flight"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("a", []), None);
    }

    #[test]
    fn without_a_near_word_all_are_listed() {
        assert_eq!(advice("memroy", &["memory", "cpu"], "keys"), "did you mean \"memory\"?");
        assert_eq!(advice("colour", &["memory", "cpu", "wall"], "keys"), "the keys are memory, cpu and wall");
        assert_eq!(advice("colour", &[], "bindings"), "there are no bindings");
    }
}
