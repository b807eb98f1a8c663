//! Any program, held to the rules for arguments that its operator wrote.

use super::{Checked, Custom, Reach, Refusal};
use rota_config::ArgumentRule;

pub(super) fn check(rules: &Custom, arguments: &[String], connected: bool) -> Result<Checked, Refusal> {
    if connected && rules.needs.is_none() {
        return Err(Refusal::denied(
            "this program is not given a connection; its operator says in the binding what it needs of one: connection = [accesses]",
        ));
    }
    let one_of = |list: &[ArgumentRule], argument: &str| list.iter().any(|rule| allows(rule, argument));
    let only_reads =
        !connected && !arguments.is_empty() && arguments.iter().all(|argument| one_of(&rules.looks, argument));
    let refused = |argument: &&String| !one_of(&rules.allowed, argument) && !one_of(&rules.looks, argument);
    if let Some(argument) = arguments.iter().find(refused) {
        return Err(Refusal::at(argument, "the binding's list of allowed arguments does not hold it"));
    }
    Ok(Checked {
        arguments: arguments.to_vec(),
        needs: rules.needs.clone().filter(|_| connected).unwrap_or_default().into(),
        reach: if connected { Reach::Variables } else { Reach::Nothing },
        only_reads,
        // What a migration does is not known, and it may drop.
        destructive: connected,
        spooled: false,
    })
}

/// What a star stands for holds no control character, so that no line is smuggled into something that reads lines, and leads no
/// way up, so that a rule for what is in a folder is none for what is outside of it.
fn allows(rule: &ArgumentRule, argument: &str) -> bool {
    let plain = !argument.contains(char::is_control) && !leads_up(argument);
    rule.allows(argument) && (plain || rule.to_string() == argument)
}

/// Whether a part of a path in it is `..`, whatever stands in front of the path (`--file=../x`, `a:../b`).
fn leads_up(argument: &str) -> bool {
    argument.split(['/', '\\', '=', ':', ',', ';', ' ']).any(|part| part == "..")
}
