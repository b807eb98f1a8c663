//! The lexical rules of PostgreSQL (with `standard_conforming_strings` on, as servers have it) and of psql: what is text, what is a comment, what is neither.
//!
//! It decides where a statement ends and where a variable stands, never what may run: that is the host's, by PostgreSQL's own grammar.

use std::ops::Range;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Spaces and comments.
    Blank,
    /// A keyword or a plain name.
    Word,
    /// A name in double quotes.
    Name,
    /// A string of any kind: `'...'`, `E'...'`, `$tag$...$tag$`.
    Text,
    /// A number.
    Number,
    /// `$1`.
    Placeholder,
    /// A variable of psql's.
    Variable(Form),
    /// `:{?name}` of psql's.
    Test,
    /// `;`
    End,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// A backslash and the word behind it.
    Backslash,
    /// Any other character, `::` and `:=`.
    Other,
    /// Something that begins and never ends.
    Unclosed(&'static str),
}

/// How a variable is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `:name`
    Plain,
    /// `:'name'`
    Text,
    /// `:"name"`
    Name,
}

/// A piece of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Where it stands, in bytes.
    pub(crate) at: Range<usize>,
}

impl Token {
    pub(crate) fn text<'t>(&self, script: &'t str) -> &'t str {
        &script[self.at.clone()]
    }

    /// The name of a variable, without what is around it.
    pub(crate) fn name<'t>(&self, script: &'t str) -> &'t str {
        self.text(script).trim_start_matches(':').trim_matches(['\'', '"'])
    }

    pub(crate) fn is_word(&self, script: &str, word: &str) -> bool {
        self.kind == Kind::Word && self.text(script).eq_ignore_ascii_case(word)
    }
}

/// Reads a script piece by piece. The pieces, laid beside each other, are the script.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'s> {
    script: &'s str,
    at: usize,
    /// What is open: `(` or `[`.
    open: Vec<u8>,
    /// Whether the piece before was an operand, behind which a colon is an operator of SQL's (a slice, a key of JSON).
    behind: Behind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Operator,
    Word { keyword: bool },
    Operand,
}

/// Words behind which an operand begins, also within brackets.
const KEYWORDS: [&str; 19] = [
    "and", "any", "all", "between", "case", "distinct", "else", "from", "ilike", "in", "is", "like", "not", "or",
    "select", "some", "then", "when", "where",
];

impl<'s> Lexer<'s> {
    pub(crate) fn new(script: &'s str) -> Self {
        // A mark of byte order, as editors on Windows leave one.
        let at = if script.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { script, at, open: Vec::new(), behind: Behind::Operator }
    }

    /// Where the next piece begins.
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// The rest of the line, without its end: what a backslash command takes.
    pub(crate) fn take_line(&mut self) -> Range<usize> {
        let rest = &self.script[self.at..];
        let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = self.at..self.at + length;
        self.at = line.end;
        self.begin();
        line
    }

    /// Forget what was open: another statement begins.
    pub(crate) fn begin(&mut self) {
        self.open.clear();
        self.behind = Behind::Operator;
    }

    fn kind_and_length(&self, rest: &str, first: char) -> (Kind, usize) {
        let bytes = rest.as_bytes();
        let second = bytes.get(1).copied();
        match first {
            c if is_space(c) => (Kind::Blank, rest.find(|c| !is_space(c)).unwrap_or(rest.len())),
            '-' if second == Some(b'-') => (Kind::Blank, line_length(rest)),
            '/' if second == Some(b'*') => match comment(rest) {
                Some(length) => (Kind::Blank, length),
                None => (Kind::Unclosed("a comment"), rest.len()),
            },
            '\'' => string(rest, 0, false),
            'e' | 'E' if second == Some(b'\'') => string(rest, 1, true),
            'b' | 'B' | 'x' | 'X' | 'n' | 'N' if second == Some(b'\'') => string(rest, 1, false),
            'u' | 'U' if rest[1..].starts_with("&'") => string(rest, 2, false),
            'u' | 'U' if rest[1..].starts_with("&\"") => name(rest, 2),
            '"' => name(rest, 0),
            '$' => self.dollar(rest),
            ':' => self.colon(rest),
            ';' => (Kind::End, 1),
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            '[' => (Kind::OpenBracket, 1),
            ']' => (Kind::CloseBracket, 1),
            '\\' => {
                let length = rest[1..].find(|c: char| is_space(c) || c == '\\').unwrap_or(rest.len() - 1);
                // `\;` and the like are one character.
                let length = if rest[1..].starts_with(is_name_start) { length } else { length.min(1) };
                (Kind::Backslash, 1 + length.max(usize::from(rest[1..].starts_with('\\'))))
            }
            '0'..='9' => (Kind::Number, number(rest)),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => (Kind::Number, number(rest)),
            c if is_name_start(c) => (Kind::Word, rest.find(|c| !is_name(c)).unwrap_or(rest.len())),
            c => (Kind::Other, c.len_utf8()),
        }
    }

    fn dollar(&self, rest: &str) -> (Kind, usize) {
        let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - 1);
        if digits > 0 {
            return (Kind::Placeholder, 1 + digits);
        }
        let tag = rest[1..].find(|c: char| !(is_name(c) && c != '$')).unwrap_or(rest.len() - 1);
        if !rest[1 + tag..].starts_with('$') {
            return (Kind::Other, 1);
        }
        let tag = &rest[..tag + 2];
        match rest[tag.len()..].find(tag) {
            Some(inside) => (Kind::Text, 2 * tag.len() + inside),
            None => (Kind::Unclosed("a string in dollars"), rest.len()),
        }
    }

    fn colon(&self, rest: &str) -> (Kind, usize) {
        let next = &rest[1..];
        if next.starts_with([':', '=']) {
            return (Kind::Other, 2);
        }
        let operator = match self.behind {
            Behind::Operator => false,
            Behind::Operand => true,
            Behind::Word { keyword } => self.open.last() == Some(&b'[') && !keyword,
        };
        if operator {
            return (Kind::Other, 1);
        }
        if next.starts_with("{?") {
            return (Kind::Test, 1);
        }
        let quoted = |quote: char, form: Form| {
            let inside = next.strip_prefix(quote)?;
            let length = inside.find(|c| !is_name(c))?;
            (length > 0 && inside[length..].starts_with(quote)).then_some((Kind::Variable(form), length + 3))
        };
        if let Some(found) = quoted('\'', Form::Text).or_else(|| quoted('"', Form::Name)) {
            return found;
        }
        if next.starts_with(is_name_start) {
            // A dollar belongs to no variable's name.
            let length = next.find(|c: char| !is_name(c) || c == '$').unwrap_or(next.len());
            return (Kind::Variable(Form::Plain), 1 + length);
        }
        (Kind::Other, 1)
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let rest = &self.script[self.at..];
        let (kind, length) = self.kind_and_length(rest, rest.chars().next()?);
        let token = Token { kind, at: self.at..self.at + length };
        self.at = token.at.end;
        match kind {
            Kind::Open => self.open.push(b'('),
            Kind::OpenBracket => self.open.push(b'['),
            Kind::Close | Kind::CloseBracket => drop(self.open.pop()),
            _ => {}
        }
        self.behind = match kind {
            Kind::Blank | Kind::Unclosed(_) => self.behind,
            Kind::Word => {
                let word = token.text(self.script).to_ascii_lowercase();
                Behind::Word { keyword: KEYWORDS.contains(&word.as_str()) }
            }
            Kind::Name | Kind::Text | Kind::Number | Kind::Placeholder | Kind::Variable(_) => Behind::Operand,
            Kind::Close | Kind::CloseBracket => Behind::Operand,
            _ => Behind::Operator,
        };
        Some(token)
    }
}

/// As PostgreSQL's lexer has it.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_name(c: char) -> bool {
    is_name_start(c) || c.is_ascii_digit() || c == '$'
}

fn line_length(rest: &str) -> usize {
    rest.find(['\n', '\r']).unwrap_or(rest.len())
}

/// Comments nest.
fn comment(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_u32, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// A string whose quote stands behind a prefix; what continues it on a later line belongs to it.
fn string(rest: &str, prefix: usize, escapes: bool) -> (Kind, usize) {
    let bytes = rest.as_bytes();
    let mut at = prefix + 1;
    loop {
        match bytes.get(at) {
            None => return (Kind::Unclosed("a string"), rest.len()),
            Some(b'\\') if escapes => at += 2,
            Some(b'\'') if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            Some(b'\'') => match continued(&rest[at + 1..]) {
                Some(length) => at += 1 + length,
                None => return (Kind::Text, at + 1),
            },
            Some(_) => at += 1,
        }
    }
}

/// How far it is behind the quote that continues a string: spaces and comments of a line, one end of a line at least, and a quote.
fn continued(rest: &str) -> Option<usize> {
    let (mut at, mut lines) = (0, false);
    loop {
        let left = &rest[at..];
        match left.chars().next()? {
            '\'' => return lines.then_some(at + 1),
            c if is_space(c) => (at, lines) = (at + 1, lines || matches!(c, '\n' | '\r')),
            '-' if left.starts_with("--") => at += line_length(left),
            _ => return None,
        }
    }
}

fn name(rest: &str, prefix: usize) -> (Kind, usize) {
    let mut at = prefix + 1;
    loop {
        let Some(inside) = rest[at..].find('"') else { return (Kind::Unclosed("a name in quotes"), rest.len()) };
        at += inside + 1;
        if !rest[at..].starts_with('"') {
            return (Kind::Name, at);
        }
        at += 1;
    }
}

fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let radix = matches!(bytes, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
    let mut at = 0;
    while let Some(&c) = bytes.get(at) {
        let exponent = !radix
            && matches!(c, b'e' | b'E')
            && matches!(bytes.get(at + 1), Some(b'+' | b'-'))
            && bytes.get(at + 2).is_some_and(u8::is_ascii_digit);
        if exponent {
            at += 2;
        } else if c == b'.' && bytes.get(at + 1) == Some(&b'.') {
            break;
        } else if c.is_ascii_alphanumeric() || c == b'_' || c == b'.' {
            at += 1;
        } else {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(script: &str) -> Vec<(Kind, &str)> {
        Lexer::new(script)
            .filter(|token| token.kind != Kind::Blank)
            .map(|token| (token.kind, token.text(script)))
            .collect()
    }

    fn variables(script: &str) -> Vec<&str> {
        Lexer::new(script)
            .filter(|token| matches!(token.kind, Kind::Variable(_)))
            .map(|token| token.text(script))
            .collect()
    }

    #[test]
    fn strings_end_where_the_server_ends_them() {
        for whole in [
            "'it''s'",
            "'a\\'",
            "E'it\\'s'",
            "e'\\\\'",
            "E'a\\\n'",
            "B'01'",
            "x'ff'",
            "N'n'",
            "U&'\\0061'",
            "$$ ; ' $$",
            "$tag$ $$ ; $other$ $tag$",
            "$é1$ x $é1$",
            "'a' \n -- between\n 'b'",
            "E'a'\n'it\\'s'",
            "''",
            "''''",
        ] {
            assert_eq!(seen(whole), [(Kind::Text, whole)], "{whole}");
        }
        assert_eq!(seen("'a' 'b'"), [(Kind::Text, "'a'"), (Kind::Text, "'b'")]);
        assert_eq!(seen("'a' /* c */\n 'b'").len(), 2, "a comment of blocks ends it, as in PostgreSQL");
        for (open, what) in [
            ("'a", "a string"),
            ("E'a\\'", "a string"),
            ("$$ a $", "a string in dollars"),
            ("$a$ x $A$", "a string in dollars"),
            ("\"a", "a name in quotes"),
            ("\"a\"\"", "a name in quotes"),
            ("/* a /* b */", "a comment"),
            ("/*/", "a comment"),
            ("'é", "a string"),
            ("E'é\\", "a string"),
        ] {
            assert_eq!(seen(open), [(Kind::Unclosed(what), open)], "{open}");
        }
    }

    #[test]
    fn names_numbers_and_comments() {
        assert_eq!(seen("\"a\"\";'\""), [(Kind::Name, "\"a\"\";'\"")]);
        assert_eq!(seen("U&\"\\0061\""), [(Kind::Name, "U&\"\\0061\"")]);
        assert_eq!(seen("a$b$c"), [(Kind::Word, "a$b$c")], "no string begins within a word");
        assert_eq!(seen("größe_9"), [(Kind::Word, "größe_9")]);
        assert_eq!(seen("-- ; '\n/* ; /* ' */ ; */"), []);
        assert_eq!(
            seen("1e-5 0x1F .5 1_000"),
            [(Kind::Number, "1e-5"), (Kind::Number, "0x1F"), (Kind::Number, ".5"), (Kind::Number, "1_000")]
        );
        assert_eq!(seen("$1"), [(Kind::Placeholder, "$1")]);
        assert_eq!(seen("a*/*x*/b").len(), 3);
        assert_eq!(seen("\u{feff}select"), [(Kind::Word, "select")]);
        assert_eq!(seen("\\set a"), [(Kind::Backslash, "\\set"), (Kind::Word, "a")]);
        assert_eq!(seen("\\! ls"), [(Kind::Backslash, "\\!"), (Kind::Word, "ls")]);
        assert_eq!(seen("\\;x"), [(Kind::Backslash, "\\;"), (Kind::Word, "x")]);
        assert_eq!(seen("\\"), [(Kind::Backslash, "\\")]);
    }

    #[test]
    fn variables_are_told_from_casts_slices_and_keys() {
        for (script, found) in [
            ("select :a, :'b', :\"c\"", vec![":a", ":'b'", ":\"c\""]),
            ("where id=:id and x = :x::int", vec![":id", ":x"]),
            ("select a::int, 'x'::text, b :: int, (c)::regclass", vec![]),
            ("select a[1:2], a[:lo:hi], a[lo:hi], a[b(1):c], a[x[1]:2]", vec![":lo"]),
            ("select a[:lo : :hi]", vec![":lo", ":hi"]),
            ("select array[:a, :b], array[case when :c then 1 else :d end]", vec![":a", ":b", ":c", ":d"]),
            ("select a[(select :x)]", vec![":x"]),
            ("select json_object('k':v, 'l' : :w)", vec![":w"]),
            ("select ':a', \":b\", $$:c$$, $t$ :d $t$ -- :e\n /* :f */", vec![]),
            ("a := :b", vec![":b"]),
            ("select :größe, :a_1", vec![":größe", ":a_1"]),
            ("f(a=>:x)", vec![":x"]),
            ("limit :n offset :m;", vec![":n", ":m"]),
            ("select :'a b', :'', :\"\"", vec![]),
            ("select :1, : x", vec![]),
            ("select -:x", vec![":x"]),
        ] {
            assert_eq!(variables(script), found, "{script}");
        }
        assert_eq!(seen("select :{?a}")[1], (Kind::Test, ":"));
    }

    proptest::proptest! {
        #[test]
        fn the_pieces_are_the_script(script in "([ \\n;:'\"$\\\\()\\[\\]/*a-cEé1-]|--|/\\*|\\$a\\$|E'|:'a'){0,40}") {
            let mut at = Lexer::new(&script).place();
            for token in Lexer::new(&script) {
                proptest::prop_assert!(token.at.start == at && token.at.end > at, "{:?}", token);
                at = token.at.end;
            }
            proptest::prop_assert_eq!(at, script.len());
        }
    }
}
