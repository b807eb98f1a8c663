//! JavaScript as far as a prompt must know it: where a statement ends, and what it declares.

use std::ops::Range;

/// What a piece of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    /// A string, a part of a template, a regular expression.
    Literal,
    Mark(char),
    Newline,
}

/// A piece of the text.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) at: Range<usize>,
    pub(super) kind: Kind,
    /// How many brackets are open before it.
    pub(super) depth: usize,
}

/// A text, taken apart.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) all: Vec<Token>,
    /// What is open at the end: brackets, a template, a comment.
    pub(super) open: usize,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Brackets that are open; `$` for those of a template's expression.
    open: Vec<char>,
    tokens: Tokens,
}

/// Words behind which a slash begins a regular expression.
const BEFORE_A_PATTERN: [&str; 13] =
    ["return", "typeof", "case", "in", "of", "instanceof", "new", "delete", "void", "throw", "await", "yield", "else"];

/// Take a text apart. It never fails: what is wrong the engine says.
pub(super) fn tokens(text: &str) -> Tokens {
    let mut reader = Reader { text, at: 0, open: Vec::new(), tokens: Tokens::default() };
    while let Some(c) = reader.peek() {
        reader.token(c);
    }
    reader.tokens.open += reader.open.len();
    reader.tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c == '#'
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, from: usize, kind: Kind) {
        let depth = self.open.len();
        self.tokens.all.push(Token { at: from..self.at, kind, depth });
    }

    fn token(&mut self, c: char) {
        let from = self.at;
        let rest = self.rest();
        if c == '\n' {
            self.at += 1;
            self.push(from, Kind::Newline);
        } else if c.is_whitespace() {
            self.at += c.len_utf8();
        } else if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(inside) = rest.strip_prefix("/*") {
            match inside.find("*/") {
                Some(end) => self.at += end + 4,
                None => {
                    self.at = self.text.len();
                    self.tokens.open += 1;
                }
            }
        } else if c.is_ascii_digit() {
            self.at += rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len());
            self.push(from, Kind::Number);
        } else if is_word(c) {
            self.at += rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            self.push(from, Kind::Word);
        } else {
            self.mark(c, from);
        }
    }

    fn mark(&mut self, c: char, from: usize) {
        match c {
            '"' | '\'' => {
                self.at += 1;
                self.string(c);
                self.push(from, Kind::Literal);
            }
            '`' => {
                self.at += 1;
                self.template();
                self.push(from, Kind::Literal);
            }
            '/' if self.begins_a_pattern() && self.pattern() => self.push(from, Kind::Literal),
            '(' | '[' | '{' => {
                self.at += 1;
                self.push(from, Kind::Mark(c));
                self.open.push(c);
            }
            ')' | ']' | '}' => {
                self.at += 1;
                let was = self.open.pop();
                self.push(from, Kind::Mark(c));
                if c == '}' && was == Some('$') {
                    self.template();
                }
            }
            _ => {
                self.at += c.len_utf8();
                self.push(from, Kind::Mark(c));
            }
        }
    }

    /// To the end of a string, which is on its line unless that ends with a backslash.
    fn string(&mut self, quote: char) {
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '\\' => match self.peek() {
                    Some(next) => {
                        self.at += next.len_utf8();
                        if next == '\n' && self.at == self.text.len() {
                            self.tokens.open += 1;
                        }
                    }
                    None => self.tokens.open += 1,
                },
                '\n' => {
                    self.at -= 1;
                    return;
                }
                _ if c == quote => return,
                _ => {}
            }
        }
    }

    /// To the end of a template, or to an expression within it.
    fn template(&mut self) {
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '\\' => self.at += self.peek().map_or(0, char::len_utf8),
                '`' => return,
                '$' if self.peek() == Some('{') => {
                    self.at += 1;
                    self.open.push('$');
                    return;
                }
                _ => {}
            }
        }
        self.tokens.open += 1;
    }

    fn begins_a_pattern(&self) -> bool {
        match self.tokens.all.iter().rev().find(|token| token.kind != Kind::Newline) {
            None => true,
            Some(Token { kind: Kind::Mark(mark), .. }) => !matches!(mark, ')' | ']' | '}'),
            Some(Token { kind: Kind::Word, at, .. }) => BEFORE_A_PATTERN.contains(&&self.text[at.clone()]),
            Some(_) => false,
        }
    }

    /// Over a regular expression. False: it is none, and nothing was read.
    fn pattern(&mut self) -> bool {
        let (mut in_class, mut escaped) = (false, false);
        for (place, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => return false,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => in_class = true,
                ']' => in_class = false,
                '/' if !in_class => {
                    self.at += place + 1;
                    return true;
                }
                _ => {}
            }
        }
        false
    }
}

impl Tokens {
    /// Whether more must follow the token before `end`: an operator stands there.
    fn goes_on_behind(&self, end: usize) -> bool {
        let mut before = self.all[..end].iter().rev().filter(|token| token.kind != Kind::Newline);
        let Some(Token { kind: Kind::Mark(last), at, .. }) = before.next() else { return false };
        let doubled = before.next().is_some_and(|token| token.kind == Kind::Mark(*last) && token.at.end == at.start);
        match last {
            '+' | '-' => !doubled,
            _ => "*/%=&|^<>?:,.!~".contains(*last),
        }
    }

    /// Whether it is whole: nothing is open, and its last line does not end with an operator.
    pub(super) fn is_whole(&self) -> bool {
        self.open == 0 && !self.goes_on_behind(self.all.len())
    }

    /// Where lines end at which the text before is whole.
    pub(super) fn ends(&self) -> impl Iterator<Item = usize> {
        let at = |(place, token): (usize, &Token)| {
            let ends = token.kind == Kind::Newline
                && token.depth == 0
                && self.all[..place].iter().any(|token| token.kind != Kind::Newline)
                && !self.goes_on_behind(place);
            ends.then_some(token.at.end)
        };
        self.all.iter().enumerate().filter_map(at)
    }
}

/// The text with its own `let`, `const` and `class` declarations as `var`: they may be made anew, and another instance can be given them.
/// Lines stay lines, and columns where they were but behind a class.
pub(super) fn redeclarable(text: &str) -> String {
    let tokens = tokens(text);
    let mut made = String::with_capacity(text.len() + 16);
    let mut from = 0;
    let mut class = false;
    for (place, token) in tokens.all.iter().enumerate() {
        let before = place.checked_sub(1).map(|before| &tokens.all[before]);
        if token.depth > 0 {
            continue;
        }
        match (token.kind, &text[token.at.clone()]) {
            (Kind::Word, word @ ("let" | "const")) if before.is_none_or(|it| it.kind != Kind::Mark('.')) => {
                made.push_str(&text[from..token.at.start]);
                made.push_str(if word == "let" { "var" } else { "var  " });
                from = token.at.end;
            }
            (Kind::Word, "class") if begins(&tokens, place) => {
                let Some(name) = tokens.all.get(place + 1).filter(|it| it.kind == Kind::Word) else { continue };
                made.push_str(&text[from..token.at.start]);
                made.push_str(&format!("var {}=", &text[name.at.clone()]));
                from = token.at.start;
                class = true;
            }
            // The brackets of the class's own body are the first at this depth to close.
            (Kind::Mark('}'), _) if class => {
                made.push_str(&text[from..token.at.end]);
                made.push(';');
                from = token.at.end;
                class = false;
            }
            _ => {}
        }
    }
    made.push_str(&text[from..]);
    made
}

/// Whether a statement can begin here.
fn begins(tokens: &Tokens, place: usize) -> bool {
    match place.checked_sub(1).map(|before| tokens.all[before].kind) {
        None | Some(Kind::Mark(';' | '}')) => true,
        Some(Kind::Newline) => !tokens.goes_on_behind(place),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{redeclarable, tokens};

    #[test]
    fn what_is_whole_is_known() {
        for text in [
            "1",
            "f(1, [2])",
            "'('",
            "\"\\\"(\"",
            "`a ${ `b ${1}` } c`",
            "/[/(]+/.test('x')",
            "x = a / b",
            "// (",
            "/* { */ 1",
            "i++",
            "a\n",
            ")",
            "'unended",
            "return /(/.test(x)",
            "x.y(/\\//g)",
        ] {
            assert!(tokens(text).is_whole(), "{text}");
        }
        for text in [
            "f(",
            "{",
            "`a",
            "`a ${",
            "`a ${1} b",
            "/* ",
            "1 +",
            "x =",
            "a,",
            "() =>",
            "a.",
            "'a\\",
            "x = [1,\n2",
            "a\n&&",
        ] {
            assert!(!tokens(text).is_whole(), "{text}");
        }
    }

    #[test]
    fn a_statement_ends_with_a_line_at_which_nothing_is_open() {
        let ends = |text: &str| tokens(text).ends().collect::<Vec<_>>();
        assert_eq!(ends("a\nb\n"), [2, 4]);
        assert_eq!(ends("f(\n1)\nb"), [6]);
        assert_eq!(ends("a =\n1\n"), [6]);
        assert_eq!(ends("\n\na\n"), [4]);
        assert_eq!(ends("`\n`\n"), [4]);
    }

    #[test]
    fn declarations_can_be_made_anew() {
        for (text, made) in [
            ("let a = 1; const b = 2", "var a = 1; var   b = 2"),
            ("for (const x of y) { let z = x }", "for (const x of y) { let z = x }"),
            ("const { a, b } = c", "var   { a, b } = c"),
            ("x.let = 1; 'let a'", "x.let = 1; 'let a'"),
            ("class A { b() {} } new A()", "var A=class A { b() {} }; new A()"),
            ("x = class {}", "x = class {}"),
            ("x =\nclass A {}", "x =\nclass A {}"),
            ("f()\nclass A extends B {\n}\nlet c", "f()\nvar A=class A extends B {\n};\nvar c"),
            ("function f() { const a = 1 }", "function f() { const a = 1 }"),
            ("`let ${ x } const`", "`let ${ x } const`"),
        ] {
            assert_eq!(redeclarable(text), made);
        }
    }
}
