//! Any program, held to the rules for arguments that its operator wrote.

use super::{Checked, Reach, Refusal};
use rota_config::ArgumentRule;

pub(super) fn check(rules: &[ArgumentRule], arguments: &[String], connected: bool) -> Result<Checked, Refusal> {
    if connected {
        return Err(Refusal::denied(
            "a program of profile `custom` is not given a connection; use one of the profiles pg_dump, pg_dumpall, pg_restore",
        ));
    }
    if let Some(argument) = arguments.iter().find(|argument| !rules.iter().any(|rule| allows(rule, argument))) {
        return Err(Refusal::at(argument, "the binding's list of allowed arguments does not hold it"));
    }
    Ok(Checked {
        arguments: arguments.to_vec(),
        needs: &[],
        reach: Reach::Nothing,
        only_reads: false,
        destructive: false,
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
