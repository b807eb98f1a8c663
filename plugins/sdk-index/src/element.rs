//! What an index is to be made of, as an operator writes it, and whether an index has it already.

use crate::catalog::Index;
use rota_sdk::prelude::*;

/// A column of a table.
#[derive(Clone, Debug, FromRow)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its name, quoted by the server.
    pub quoted: String,
    /// Its type, as the server writes it: `vector(3)`.
    pub type_name: String,
    /// Its type's bare name: `vector`.
    pub base_type: String,
    /// What the type is limited to: the dimensions of a vector; -1 for nothing.
    pub modifier: i32,
}

const COLUMNS: &str = "\
    select a.attname::text as name, format('%I', a.attname) as quoted, format_type(a.atttypid, a.atttypmod) as type_name, \
           y.typname::text as base_type, a.atttypmod as modifier \
    from pg_catalog.pg_attribute a join pg_catalog.pg_type y on y.oid = a.atttypid \
    where a.attrelid = $1::int8::oid and a.attnum > 0 and not a.attisdropped order by a.attnum";

impl Column {
    /// The columns of a table, in its order.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn of(session: &mut Session, table: i64) -> Result<Vec<Self>> {
        session.query_all(COLUMNS, params![table]).await.context("looking for the table's columns")
    }

    /// The column that a name means: as it is, or as SQL would read it.
    pub fn named<'c>(columns: &'c [Self], name: &str) -> Option<&'c Self> {
        let folded = folded(name);
        columns
            .iter()
            .find(|column| column.name == name)
            .or_else(|| columns.iter().find(|column| Some(&column.name) == folded.as_ref()))
    }
}

/// A name as SQL reads it: in quotes as it is, plain in lower case; none for what is no name.
fn folded(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return (!inner.is_empty() && !inner.replace("\"\"", "").contains('"')).then(|| inner.replace("\"\"", "\""));
    }
    let mut letters = text.chars();
    let first = letters.next()?;
    let plain = (first.is_alphabetic() || first == '_') && letters.all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    plain.then(|| text.to_lowercase())
}

/// One key of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// A column's quoted name, or an expression in parentheses.
    pub key: String,
    /// The column, where it is one.
    pub column: Option<String>,
    /// As [`Index::orders`] has it.
    pub order: String,
    /// The operator class, as written.
    pub operator_class: Option<String>,
    /// The collation, as written.
    pub collation: Option<String>,
}

impl Element {
    /// Out of an element as in `CREATE INDEX`: `tenant_id`, `created_at DESC NULLS LAST`, `lower(email) text_pattern_ops`; a column's bare name in whatever case.
    ///
    /// # Errors
    /// When it names no column of the table, or its parentheses and quotes do not match.
    pub fn read(text: &str, columns: &[Column]) -> Result<Self> {
        let text = text.trim();
        if let Some(column) = columns.iter().find(|column| column.name == text) {
            return Ok(Self::of(column));
        }
        let mut words =
            words(text).ok_or_else(|| Error::new(format!("{text:?}: its quotes or parentheses do not match")))?;
        let is = |words: &[&str], place: usize, word: &str| {
            words.len() > place && words[words.len() - 1 - place].eq_ignore_ascii_case(word)
        };
        let mut nulls_first = None;
        if is(&words, 1, "nulls") && (is(&words, 0, "first") || is(&words, 0, "last")) {
            nulls_first = Some(is(&words, 0, "first"));
            words.truncate(words.len() - 2);
        }
        let mut descending = false;
        if is(&words, 0, "desc") || is(&words, 0, "asc") {
            descending = is(&words, 0, "desc");
            words.pop();
        }
        let order = match (descending, nulls_first.unwrap_or(descending)) {
            (false, false) => "",
            (false, true) => "nulls first",
            (true, true) => "desc",
            (true, false) => "desc nulls last",
        };
        // A class and its parameters, as in `gist_trgm_ops(siglen=32)`, are one word here.
        let class = words.len() > 1
            && is_qualified(words[words.len() - 1].split('(').next().unwrap_or_default())
            && !is(&words, 1, "collate")
            && ends_a_value(words[words.len() - 2]);
        let operator_class = if class { words.pop().map(str::to_owned) } else { None };
        let mut collation = None;
        if is(&words, 1, "collate") {
            collation = words.pop().map(str::to_owned);
            words.pop();
        }
        let key = words.join(" ");
        let rest = Self { key: String::new(), column: None, order: order.to_owned(), operator_class, collation };
        if let Some(column) = Column::named(columns, &key) {
            return Ok(Self { key: column.quoted.clone(), column: Some(column.name.clone()), ..rest });
        }
        if key.is_empty() || folded(&key).is_some() {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Error::new(format!("{text:?}: the table has no such column"))
                .hint(format!("it has {}", names.join(", "))));
        }
        crate::enclosed("columns", &key)?;
        Ok(Self { key: format!("({key})"), ..rest })
    }

    /// A whole column, in its default order.
    pub fn of(column: &Column) -> Self {
        let (key, column) = (column.quoted.clone(), Some(column.name.clone()));
        Self { key, column, order: String::new(), operator_class: None, collation: None }
    }

    fn written(&self) -> String {
        let mut text = self.key.clone();
        if let Some(collation) = &self.collation {
            text.push_str(" COLLATE ");
            text.push_str(collation);
        }
        if let Some(class) = &self.operator_class {
            text.push(' ');
            text.push_str(class);
        }
        if !self.order.is_empty() {
            text.push(' ');
            text.push_str(&self.order.to_uppercase());
        }
        text
    }
}

/// Whether a word can be the end of what is indexed: then another word after it is the operator class.
fn ends_a_value(word: &str) -> bool {
    word.ends_with(['"', '\'', ')']) || folded(word).is_some() || word.contains('.')
}

/// Whether a word is one or more names joined by points.
fn is_qualified(word: &str) -> bool {
    !word.is_empty() && word.split('.').all(|part| folded(part).is_some())
}

/// Words at the top level: what is in parentheses or quotes belongs to its word. None when they do not match.
fn words(text: &str) -> Option<Vec<&str>> {
    let (mut words, mut start, mut depth, mut quote) = (Vec::new(), None, 0_usize, None);
    for (place, c) in text.char_indices() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '(' => depth += 1,
            None if c == ')' => depth = depth.checked_sub(1)?,
            None => {}
        }
        let gap = quote.is_none() && depth == 0 && c.is_whitespace();
        match (gap, start) {
            (false, None) => start = Some(place),
            (true, Some(begin)) => {
                words.push(&text[begin..place]);
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|begin| &text[begin..]));
    (quote.is_none() && depth == 0).then_some(words)
}

/// An index that is to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its access method.
    pub method: &'static str,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether a NULL equals a NULL in it.
    pub nulls_not_distinct: bool,
    /// Its keys.
    pub elements: Vec<Element>,
    /// The quoted names of the columns that it carries beside them.
    pub included: Vec<String>,
    /// Its condition: the operator's SQL.
    pub predicate: Option<String>,
    /// Its storage parameters.
    pub options: Vec<(String, String)>,
}

impl Spec {
    /// The statement that builds it without locking writers out. What an operator wrote in it is SQL, which the host classifies as any other.
    ///
    /// # Errors
    /// For a storage parameter that is none.
    pub fn statement(&self, name: &Quoted, table: &Quoted) -> Result<Sql> {
        let keys: Vec<String> = self.elements.iter().map(Element::written).collect();
        let mut rest = format!("({})", keys.join(", "));
        if !self.included.is_empty() {
            rest.push_str(&format!(" INCLUDE ({})", self.included.join(", ")));
        }
        if self.nulls_not_distinct {
            rest.push_str(" NULLS NOT DISTINCT");
        }
        if !self.options.is_empty() {
            let mut options = Vec::new();
            for (name, value) in &self.options {
                let plain = |text: &str, more: &str| {
                    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
                };
                if !plain(name, "_") || !plain(value, "_.-") {
                    return Err(Error::new(format!("{name} = {value}: not a storage parameter"))
                        .hint("for example fillfactor = 70"));
                }
                options.push(format!("{name} = {value}"));
            }
            rest.push_str(&format!(" WITH ({})", options.join(", ")));
        }
        if let Some(predicate) = &self.predicate {
            rest.push_str(&format!(" WHERE ({predicate})"));
        }
        let rest = Sql::from_operator(rest);
        let method = Sql::from(self.method);
        Ok(if self.unique {
            sql!("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} USING {} {}", name, table, method, rest)
        } else {
            sql!("CREATE INDEX CONCURRENTLY {} ON {} USING {} {}", name, table, method, rest)
        })
    }

    /// Whether an index is what this describes, as far as its catalog entry and the operator's text can be compared: columns, order, operator classes,
    /// condition and uniqueness. Storage parameters do not matter.
    pub fn describes(&self, index: &Index) -> bool {
        let same = |ours: &str, theirs: &str| normal(ours) == normal(theirs);
        index.method == self.method
            && (index.unique, index.nulls_not_distinct) == (self.unique, self.nulls_not_distinct)
            && index.keys.len() == self.elements.len()
            && self.elements.iter().enumerate().all(|(place, element)| {
                let at = |list: &[String]| list.get(place).cloned().unwrap_or_default();
                let last = |written: &String| {
                    written
                        .split('(')
                        .next()
                        .unwrap_or_default()
                        .rsplit('.')
                        .next()
                        .unwrap_or_default()
                        .trim_matches('"')
                        .to_owned()
                };
                let class = match &element.operator_class {
                    Some(written) => last(written) == at(&index.class_names),
                    None => at(&index.operator_classes).is_empty(),
                };
                // A collation that is the column's own is not listed as such.
                let collation = match &element.collation {
                    Some(written) => at(&index.collations).is_empty() || last(written) == at(&index.collations),
                    None => at(&index.collations).is_empty(),
                };
                same(&element.key, &at(&index.keys)) && element.order == at(&index.orders) && class && collation
            })
            && {
                let (mut a, mut b) = (self.included.clone(), index.included.clone());
                a.sort();
                b.sort();
                a == b
            }
            && same(self.predicate.as_deref().unwrap_or_default(), index.predicate.as_deref().unwrap_or_default())
    }

    /// A name as PostgreSQL would give: `orders_tenant_id_created_at_idx`.
    pub fn default_name(&self, table: &str) -> String {
        let part = |element: &Element| element.column.clone().unwrap_or_else(|| "expr".to_owned());
        let mut parts = vec![table.to_owned()];
        parts.extend(self.elements.iter().map(part));
        let end = if self.unique { "_key" } else { "_idx" };
        let mut name = parts.join("_");
        // Room for a number behind it.
        name.truncate(name.floor_char_boundary(63 - end.len() - 3));
        name + end
    }
}

/// An expression without what the server adds when it prints one: parentheses, spaces, the types of literals, and the case of what is not in quotes.
fn normal(text: &str) -> String {
    let (mut out, mut quote) = (String::new(), None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match quote {
            Some(end) => {
                out.push(c);
                if c == end {
                    quote = None;
                    // `'open'::text`
                    if end == '\'' && rest.peek() == Some(&':') {
                        while rest.peek().is_some_and(|c| {
                            *c == ':' || *c == ' ' || *c == '"' || *c == '_' || c.is_ascii_alphanumeric()
                        }) {
                            // `'a'::text AND` ends at the space, `timestamp with time zone` does too: good enough for a comparison.
                            if rest.peek() == Some(&' ') {
                                break;
                            }
                            rest.next();
                        }
                    }
                }
            }
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                out.push(c);
            }
            None if c.is_whitespace() || c == '(' || c == ')' => {}
            None => out.extend(c.to_lowercase()),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |name: &str, quoted: &str| Column {
            name: name.to_owned(),
            quoted: quoted.to_owned(),
            type_name: "text".to_owned(),
            base_type: "text".to_owned(),
            modifier: -1,
        };
        vec![
            column("tenant_id", "tenant_id"),
            column("TenantId", "\"TenantId\""),
            column("created at", "\"created at\""),
            column("email", "email"),
        ]
    }

    fn read(text: &str) -> Element {
        Element::read(text, &columns()).unwrap()
    }

    #[test]
    fn elements_are_read_as_sql_writes_them() {
        for (text, written) in [
            ("tenant_id", "tenant_id"),
            ("TENANT_ID desc", "tenant_id DESC"),
            ("TenantId", "\"TenantId\""),
            ("created at", "\"created at\""),
            ("\"created at\" DESC NULLS LAST", "\"created at\" DESC NULLS LAST"),
            ("email text_pattern_ops", "email text_pattern_ops"),
            ("email COLLATE \"C\" public.my_ops ASC NULLS FIRST", "email COLLATE \"C\" public.my_ops NULLS FIRST"),
            ("email gist_trgm_ops(siglen=32)", "email gist_trgm_ops(siglen=32)"),
            ("lower(email)", "(lower(email))"),
            ("lower(email) text_pattern_ops DESC", "(lower(email)) text_pattern_ops DESC"),
            ("(email || ')')", "((email || ')'))"),
            ("tenant_id + 1", "(tenant_id + 1)"),
        ] {
            assert_eq!(read(text).written(), written, "{text}");
        }
        for bad in ["emali", "", "lower(email", "\"email", "email)"] {
            assert!(Element::read(bad, &columns()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_expression_is_known_however_it_is_printed() {
        assert_eq!(normal("status = 'Open'"), normal("(status = 'Open'::text)"));
        assert_eq!(normal("(LOWER(email))"), normal("lower(email)"));
        assert_ne!(normal("status = 'Open'"), normal("status = 'open'"));
        assert_ne!(normal("\"A\""), normal("\"a\""));
    }

    #[test]
    fn a_statement_holds_all_that_was_asked_for() {
        let spec = Spec {
            method: "btree",
            unique: true,
            nulls_not_distinct: true,
            elements: vec![read("tenant_id"), read("lower(email)")],
            included: vec!["\"TenantId\"".to_owned()],
            predicate: Some("email IS NOT NULL".to_owned()),
            options: vec![("fillfactor".to_owned(), "70".to_owned())],
        };
        let (name, table) = (Quoted::from_server("\"My idx\"").unwrap(), Quoted::from_server("app.orders").unwrap());
        assert_eq!(
            spec.statement(&name, &table).unwrap().as_str(),
            "CREATE UNIQUE INDEX CONCURRENTLY \"My idx\" ON app.orders USING btree (tenant_id, (lower(email))) INCLUDE (\"TenantId\") \
             NULLS NOT DISTINCT WITH (fillfactor = 70) WHERE (email IS NOT NULL)"
        );
        assert_eq!(spec.default_name("orders"), "orders_tenant_id_expr_key");
        assert!(spec.default_name(&"é".repeat(60)).len() <= 60);
        let bad = Spec { options: vec![("fillfactor".to_owned(), "70) WHERE (true".to_owned())], ..spec };
        assert!(bad.statement(&name, &table).is_err());
    }
}
