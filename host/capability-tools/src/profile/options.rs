//! Command lines as GNU `getopt_long` reads them, told apart strictly.
//!
//! A profile lists every option that its program knows, harmless or not. What comes out is not the guest's text but the
//! options in one canonical spelling (`--format=custom`), and only that is given to the program: a difference between
//! this reader and the program's own cannot matter. Abbreviations (`--fil=/x`), which `getopt_long` would complete, are refused.

use super::Refusal;
use super::shape::Shape;

/// An option that a program knows.
pub(super) struct Opt {
    /// Without the two hyphens.
    pub(super) long: &'static str,
    /// Its letter, where it has one.
    pub(super) short: Option<char>,
    /// What is done with it.
    pub(super) rule: Rule,
}

/// What is done with an option.
pub(super) enum Rule {
    /// Harmless, takes no value.
    Flag,
    /// Harmless with a value of this shape.
    Value(Shape),
    /// Never taken from a guest, and why.
    Refused(&'static str),
}

/// A harmless option without a value.
pub(super) const fn flag(long: &'static str) -> Opt {
    Opt { long, short: None, rule: Rule::Flag }
}

/// The same with a letter.
pub(super) const fn flag_or(short: char, long: &'static str) -> Opt {
    Opt { long, short: Some(short), rule: Rule::Flag }
}

/// A harmless option with a value.
pub(super) const fn value(long: &'static str, shape: Shape) -> Opt {
    Opt { long, short: None, rule: Rule::Value(shape) }
}

/// The same with a letter.
pub(super) const fn value_or(short: char, long: &'static str, shape: Shape) -> Opt {
    Opt { long, short: Some(short), rule: Rule::Value(shape) }
}

/// An option that is refused.
pub(super) const fn refused(long: &'static str, why: &'static str) -> Opt {
    Opt { long, short: None, rule: Rule::Refused(why) }
}

/// The same with a letter.
pub(super) const fn refused_or(short: char, long: &'static str, why: &'static str) -> Opt {
    Opt { long, short: Some(short), rule: Rule::Refused(why) }
}

/// Why the options that choose a server are refused.
pub(super) const ADDRESS: &str = "the connection is the host's to give: name the sql slot in `connection`";
/// Why the options that choose a file are refused.
pub(super) const FILE: &str =
    "a plugin names no files: the program writes to its standard output and reads its standard input";
/// Why `--role` is refused.
pub(super) const ROLE: &str = "the role is the binding's; the host adds it";
/// Why `--help` and `--version` are refused.
pub(super) const TALK: &str = "it does no work; the program's version is told by `tools.info`";
/// Why `--jobs` is refused.
pub(super) const JOBS: &str = "parallel work needs an archive in files, and a plugin has only streams";

/// The options that every client program of PostgreSQL has and no guest may give.
pub(super) const COMMON: &[Opt] = &[
    refused_or('h', "host", ADDRESS),
    refused_or('p', "port", ADDRESS),
    refused_or('U', "username", ADDRESS),
    refused_or('d', "dbname", ADDRESS),
    refused_or('w', "no-password", "the host adds it"),
    refused_or('W', "password", "nobody is there to be asked; the host gives the password in a file"),
    refused("service", ADDRESS),
    refused("role", ROLE),
    refused_or('?', "help", TALK),
    refused_or('V', "version", TALK),
    refused("filter", FILE),
    refused("sync-method", "nothing is written to files"),
    refused("binary-upgrade", "it is for pg_upgrade alone"),
];

/// One option as it was given, by its long name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) long: &'static str,
    pub(super) value: Option<String>,
}

impl Given {
    /// In the one spelling that is given to the program.
    pub(super) fn canonical(&self) -> String {
        match &self.value {
            Some(value) => format!("--{}={value}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// Read a command line against the options that the program knows.
pub(super) fn read(tables: &[&'static [Opt]], arguments: &[String]) -> Result<Vec<Given>, Refusal> {
    let reader = Reader { tables };
    let mut given = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut following = || rest.next().map(String::as_str);
        if argument == "--" {
            return Err(Refusal::at(argument, "it ends the options, and nothing but options is taken"));
        } else if let Some(long) = argument.strip_prefix("--") {
            given.push(reader.long(argument, long, &mut following)?);
        } else if argument.len() > 1 && argument.starts_with('-') {
            reader.cluster(argument, &mut following, &mut given)?;
        } else {
            return Err(Refusal::at(
                argument,
                "it is no option; a database or file is not named here (the database goes into `connection`)",
            ));
        }
    }
    Ok(given)
}

struct Reader<'t> {
    tables: &'t [&'static [Opt]],
}

impl Reader<'_> {
    fn all(&self) -> impl Iterator<Item = &'static Opt> {
        self.tables.iter().flat_map(|table| table.iter())
    }

    /// `--name`, `--name=value`, `--name value`.
    fn long<'a>(
        &self,
        argument: &'a str,
        text: &'a str,
        following: &mut dyn FnMut() -> Option<&'a str>,
    ) -> Result<Given, Refusal> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(option) = self.all().find(|option| option.long == name) else {
            return Err(self.unknown(argument, name));
        };
        self.take(argument, option, attached, following)
    }

    /// `-v`, `-vc`, `-Fc`, `-F c`, `-vFc`.
    fn cluster<'a>(
        &self,
        argument: &'a str,
        following: &mut dyn FnMut() -> Option<&'a str>,
        given: &mut Vec<Given>,
    ) -> Result<(), Refusal> {
        let mut rest = argument[1..].chars();
        while let Some(letter) = rest.next() {
            let Some(option) = self.all().find(|option| option.short == Some(letter)) else {
                return Err(Refusal::at(
                    argument,
                    format!("`-{}` is no option that this profile knows", letter.escape_default()),
                ));
            };
            if matches!(option.rule, Rule::Flag) {
                given.push(Given { long: option.long, value: None });
                continue;
            }
            let attached = rest.as_str();
            given.push(self.take(argument, option, (!attached.is_empty()).then_some(attached), following)?);
            break;
        }
        Ok(())
    }

    fn take<'a>(
        &self,
        argument: &str,
        option: &'static Opt,
        attached: Option<&'a str>,
        following: &mut dyn FnMut() -> Option<&'a str>,
    ) -> Result<Given, Refusal> {
        let long = option.long;
        match &option.rule {
            Rule::Refused(why) => Err(Refusal::at(argument, format!("`--{long}` is not for a plugin: {why}"))),
            Rule::Flag if attached.is_some() => Err(Refusal::at(argument, format!("`--{long}` takes no value"))),
            Rule::Flag => Ok(Given { long, value: None }),
            Rule::Value(shape) => {
                let Some(value) = attached.or_else(following) else {
                    return Err(Refusal::at(argument, format!("`--{long}` needs a value")));
                };
                shape.check(value).map_err(|why| Refusal::at(argument, format!("`--{long}`: {why}")))?;
                Ok(Given { long, value: Some(value.to_owned()) })
            }
        }
    }

    fn unknown(&self, argument: &str, name: &str) -> Refusal {
        let mut completions =
            self.all().map(|option| option.long).filter(|long| !name.is_empty() && long.starts_with(name)).peekable();
        if let Some(first) = completions.peek() {
            return Refusal::at(argument, format!("abbreviations are not taken; write `--{first}` in full"));
        }
        let near = self.all().map(|option| (strsim::damerau_levenshtein(option.long, name), option.long)).min();
        match near {
            Some((distance, long)) if distance <= 3 => {
                Refusal::at(argument, format!("no option that this profile knows; the nearest is `--{long}`"))
            }
            _ => Refusal::at(argument, "no option that this profile knows"),
        }
    }
}
