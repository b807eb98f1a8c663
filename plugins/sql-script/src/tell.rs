//! What a run says of its script.

use crate::failure::Failure;
use crate::split::{Action, Step};
use crate::{Data, Ran, State, What, Work};
use rota_sdk::prelude::*;
use rota_sdk::text;
use rota_sdk_sql::show;

/// How many steps are told one by one; of the others those that failed, as many again.
const TOLD: usize = 1_000;
/// How many errors and warnings are findings of their own.
const FINDINGS: usize = 50;

/// What became of the steps so far.
pub(crate) struct Told {
    steps: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    changed: u64,
    planned: u64,
    results: Vec<Ran>,
    /// What failed, as findings: title, line.
    errors: Vec<(String, String)>,
    /// Whether a statement returned rows that are not shown.
    returning: bool,
}

impl Told {
    pub(crate) fn new(steps: u64) -> Self {
        Self {
            steps,
            done: 0,
            failed: 0,
            changed: 0,
            planned: 0,
            results: Vec::new(),
            errors: Vec::new(),
            returning: false,
        }
    }

    /// It was done.
    pub(crate) fn ran(&mut self, ran: Ran, step: &Step) {
        self.done += 1;
        self.changed += ran.touched.unwrap_or(0);
        if let Action::Statement(statement) = &step.action {
            self.returning |= ran.kind == What::Change
                && (statement.returning || statement.begins(&["select"]) || statement.begins(&["with"]));
        }
        self.keep(ran);
    }

    /// It would be done.
    pub(crate) fn planned(&mut self, mut ran: Ran) {
        self.planned += 1;
        ran.state = State::Planned;
        self.keep(ran);
    }

    pub(crate) fn failed(&mut self, mut ran: Ran, failure: &Failure) {
        self.failed += 1;
        ran.state = failure.state;
        ran.error = Some(failure.told.clone());
        self.errors.push((failure.text.clone(), failure.told.source.clone()));
        if self.results.len() < 2 * TOLD {
            self.results.push(ran);
        }
    }

    fn keep(&mut self, ran: Ran) {
        if self.results.len() < TOLD {
            self.results.push(ran);
        }
    }

    /// What was done is taken back.
    pub(crate) fn rolled_back(&mut self) {
        self.all(State::RolledBack);
    }

    /// What became of everything that was done and could be taken back.
    pub(crate) fn all(&mut self, state: State) {
        for ran in &mut self.results {
            if ran.state == State::Done && !matches!(ran.kind, What::Query | What::Echo) {
                ran.state = state;
            }
        }
        (self.done, self.changed) = (0, 0);
    }

    /// `5 statements, 17 rows changed`
    pub(crate) fn count(&self) -> String {
        let number = self.done + self.planned;
        let statements = if number == 1 { "1 statement".to_owned() } else { format!("{number} statements") };
        match self.changed {
            0 => statements,
            1 => format!("{statements}, 1 row changed"),
            rows => format!("{statements}, {rows} rows changed"),
        }
    }

    pub(crate) fn report(self, work: &Work<'_>, end: &str) -> Report<Data> {
        let mut report = Report::new();
        report.summary(format!("{}: {end}", work.source.name));
        let told = self.results.len() as u64;
        let mut table = report.table("statements", "Statements", ["line", "statement", "result", "time"]);
        for ran in &self.results {
            table.row(cells![ran.line, &ran.text, result(ran), Seconds(ran.seconds)]);
        }
        for ran in &self.results {
            if !ran.plan.is_empty() {
                let title = format!("Line {}: the server's plan", ran.line);
                let mut table = report.table(&format!("plan-{}", ran.number), &title, ["step"]);
                for line in &ran.plan {
                    table.row(cells![line]);
                }
            }
            if !ran.columns.is_empty() {
                let columns = ran.columns.iter().map(|column| column.name.clone()).collect();
                let title = format!("Line {}: {}", ran.line, ran.text);
                let mut table = report.table_of(&format!("rows-{}", ran.number), &title, columns);
                for row in &ran.rows {
                    table.row(row.iter().map(show::cell).collect());
                }
            }
        }
        for (title, line) in self.errors.iter().take(FINDINGS) {
            report.critical(title).detail(line);
        }
        if self.errors.len() > FINDINGS {
            report.critical(format!("{} more errors", self.errors.len() - FINDINGS));
        }
        let warnings = self.results.iter().flat_map(|ran| ran.notices.iter().map(move |notice| (ran.line, notice)));
        for (line, notice) in warnings.filter(|(_, notice)| notice.starts_with("WARNING")).take(FINDINGS) {
            report.warning(format!("{}:{line}: {notice}", work.source.name));
        }
        let cut: Vec<String> =
            self.results.iter().filter(|ran| ran.truncated).map(|ran| ran.line.to_string()).collect();
        if !cut.is_empty() {
            report
                .note(format!("not all rows are shown of the queries in lines {}", cut.join(", ")))
                .advice("-p rows=10000 (512 KiB in all), narrow the query, or \\copy it to the bucket");
        }
        if self.returning {
            report.note("rows that a changing statement returns are not shown, only their number");
        }
        if told < self.done + self.failed + self.planned {
            report.note(format!("only the first {TOLD} statements, and those that failed, are listed"));
        }
        report.data(Data {
            server: work.server.clone(),
            steps: self.steps,
            done: self.done,
            failed: self.failed,
            changed: self.changed,
            results: self.results,
        })
    }
}

/// What became of a step, in few words.
fn result(ran: &Ran) -> String {
    let rows = |rows: u64| if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    let what = match (&ran.object, ran.touched, ran.kind) {
        _ if ran.state == State::Planned => match ran.expected_rows {
            Some(expected) => format!("about {expected} rows"),
            None => String::new(),
        },
        (Some(object), stored, _) => {
            let stored = stored.map(|stored| format!("{} stored, ", rows(stored))).unwrap_or_default();
            format!("{stored}{}, SHA-256 {}", text::size(object.bytes), object.sha256)
        }
        (None, Some(touched), _) => format!("{} changed", rows(touched)),
        (None, None, What::Query) if ran.error.is_none() => {
            format!("{}{}", rows(ran.rows.len() as u64), if ran.truncated { " and more" } else { "" })
        }
        (None, None, _) => String::new(),
    };
    let state = match ran.state {
        State::Done if ran.kind == What::Echo => "",
        State::Done => "done",
        State::Failed => "failed",
        State::Unknown => "not known whether done",
        State::RolledBack => "rolled back",
        State::Planned if ran.kind == What::Query => "would be read",
        State::Planned if ran.kind == What::Echo => "",
        State::Planned => "would be run",
    };
    match (state, what.as_str()) {
        (state, "") => state.to_owned(),
        ("done", what) => what.to_owned(),
        ("", what) => what.to_owned(),
        (state, what) => format!("{state}, {what}"),
    }
}
