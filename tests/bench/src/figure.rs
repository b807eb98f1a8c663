//! One row of the table, and how rows are printed.

use crate::measure::{Rounds, Spread};
use crate::store::StoreFigure;
use serde::Serialize;
use std::fmt::Write as _;

/// A row.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// A name for programs and for --only.
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) against: String,
    pub(crate) goal: &'static str,
    /// What the goal is about: the ratio, or the time over.
    pub(crate) value: Spread,
    /// How `value` is shown: "x", "%", "% of a core", "s", "ms" or "us".
    pub(crate) unit: &'static str,
    /// What both sides are counted in.
    pub(crate) sides: Sides,
    /// Our side.
    pub(crate) ours: Spread,
    /// The other side.
    pub(crate) theirs: Option<Spread>,
    /// What stands in the table for `value`, where its middle and ends say too little.
    pub(crate) shown: Option<String>,
    pub(crate) met: bool,
    /// What else was seen.
    pub(crate) notes: Vec<String>,
}

/// What a figure is about.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) against: String,
    pub(crate) goal: &'static str,
}

/// What the two sides of a figure are.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Sides {
    /// Seconds.
    Seconds,
    /// So many a second.
    PerSecond,
    /// A share of one core.
    Share,
    /// Memory.
    Mebibytes,
}

impl Sides {
    fn show(self, number: f64) -> String {
        match self {
            Self::Seconds => time(number),
            Self::PerSecond => format!("{number:.0}/s"),
            Self::Mebibytes => format!("{number:.0} MiB"),
            Self::Share => format!("{:.2} %", number * 1e2),
        }
    }
}

/// Everything, as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Figure>,
    /// Of the store alone.
    pub(crate) store: Vec<StoreFigure>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) when: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// The load of the last minute, before and after: far above the cores means that others were at work.
    pub(crate) load_before: f64,
    pub(crate) load_after: f64,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()));
        Self {
            when: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            processor: processor.unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load_before: load(),
            load_after: f64::NAN,
        }
    }
}

pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

impl Figure {
    /// A ratio of two sides that were measured in turn, by the clock.
    pub(crate) fn in_turn(about: About, value: Spread, measured: &Rounds, met: bool, notes: Vec<String>) -> Self {
        Self {
            name: about.name,
            what: about.what,
            against: about.against,
            goal: about.goal,
            value,
            unit: "x",
            sides: Sides::Seconds,
            ours: measured.our_wall(),
            theirs: Some(measured.their_wall()),
            shown: None,
            met,
            notes,
        }
    }

    fn value(&self, number: f64) -> String {
        match self.unit {
            "% of a core" => format!("{:.2} %", number * 1e2),
            "%" => format!("{:.0} %", number * 1e2),
            "ms" if number < 0.01 => format!("{:.2} ms", number * 1e3),
            "ms" => format!("{:.0} ms", number * 1e3),
            "s" => format!("{number:.1} s"),
            "us" => format!("{:.2} us", number * 1e6),
            _ => format!("{number:.2}x"),
        }
    }

    /// The line of the table.
    pub(crate) fn line(&self) -> String {
        let theirs = self.theirs.map_or_else(|| "-".into(), |theirs| self.sides.show(theirs.median));
        let measured = self.shown.clone().unwrap_or_else(|| {
            let [median, min, max] =
                [self.value.median, self.value.min, self.value.max].map(|number| self.value(number));
            format!("{median} ({min} to {max})")
        });
        format!(
            "| {} | {} | {} | {} | {} | {measured} | {} |",
            self.what,
            self.against,
            self.sides.show(self.ours.median),
            theirs,
            self.goal,
            if self.met { "met" } else { "**missed**" }
        )
    }
}

impl Results {
    /// The table, as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| what | against | Rota | the other | goal | measured (least to most) | |\n|---|---|---|---|---|---|---|\n",
        );
        for figure in &self.figures {
            let _ = writeln!(text, "{}", figure.line());
        }
        if !self.store.is_empty() {
            text.push_str("\n| of the store alone | Rota | the other | | goal |\n|---|---|---|---|---|\n");
        }
        for figure in &self.store {
            let _ = writeln!(text, "{}", figure.line());
        }
        text.push('\n');
        for figure in &self.figures {
            for note in &figure.notes {
                let _ = writeln!(text, "- {}: {note}", figure.name);
            }
        }
        let machine = &self.machine;
        let _ = writeln!(
            text,
            "\nMeasured {} on {} cores of {}; load {:.1} before, {:.1} after.",
            machine.when, machine.cores, machine.processor, machine.load_before, machine.load_after
        );
        text
    }
}
