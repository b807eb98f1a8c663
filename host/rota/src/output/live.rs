//! The live line of a run: how far it is, how fast, how long still.

use super::format;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A line on stderr that is gone when the run has ended.
pub(crate) struct Live {
    bar: ProgressBar,
    began: Mutex<Option<(Instant, u64, String)>>,
}

impl Live {
    /// For a run of a plugin; nothing is drawn unless stderr is a terminal.
    pub(crate) fn new(name: &str, draw: bool) -> Self {
        let bar = ProgressBar::with_draw_target(
            None,
            if draw { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() },
        );
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed_precise:.dim} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, began: Mutex::new(None) }
    }

    /// How far it is.
    pub(crate) fn progress(&self, done: u64, total: Option<u64>, unit: &str, note: &str) {
        let mut began = self.began.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = began.as_ref().is_none_or(|(_, from, u)| *from > done || u != unit);
        if fresh {
            *began = Some((Instant::now(), done, unit.to_owned()));
        }
        let rate = began.as_ref().and_then(|(since, from, _)| {
            let seconds = since.elapsed().as_secs_f64();
            (seconds > 0.5 && done > *from).then(|| (done - from) as f64 / seconds)
        });
        self.bar.set_message(line(done, total, unit, note, rate));
    }

    /// Print a line above it.
    pub(crate) fn say(&self, line: &str) {
        if self.bar.is_hidden() { eprintln!("{line}") } else { self.bar.println(line) }
    }

    /// Print a line on stdout, above it where both are the terminal.
    pub(crate) fn print(&self, line: &str) {
        use std::io::Write as _;
        // A reader that went away is found out by what prints the rest.
        self.bar.suspend(|| drop(writeln!(std::io::stdout().lock(), "{line}")));
    }

    /// Take it away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn line(done: u64, total: Option<u64>, unit: &str, note: &str, rate: Option<f64>) -> String {
    let amount =
        |n: u64| if unit == "bytes" { format::bytes(n) } else { format::integer(i64::try_from(n).unwrap_or(i64::MAX)) };
    let mut text = match total {
        Some(total) if total > 0 => format!(
            "{} {} of {} {:.0}%",
            bar(done, total),
            amount(done),
            amount(total),
            done as f64 * 100.0 / total as f64
        ),
        _ => amount(done),
    };
    if unit != "bytes" && !unit.is_empty() {
        text.push(' ');
        text.push_str(unit);
    }
    if let Some(rate) = rate {
        text.push_str(&format!(
            "  {}/s",
            if unit == "bytes" { format::bytes(rate as u64) } else { format!("{rate:.1}") }
        ));
        if let Some(total) = total.filter(|total| *total > done) {
            text.push_str(&format!("  {} left", format::seconds((total - done) as f64 / rate)));
        }
    }
    if !note.is_empty() {
        text.push_str("  ");
        text.push_str(note);
    }
    text
}

fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 20;
    let filled = (done.min(total) * WIDTH / total) as usize;
    format!("{}{}", "█".repeat(filled), "░".repeat(WIDTH as usize - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let text = line(512 << 20, Some(1 << 30), "bytes", "dumping", Some(128.0 * 1024.0 * 1024.0));
        assert_eq!(text, "██████████░░░░░░░░░░ 512.0 MiB of 1.0 GiB 50%  128.0 MiB/s  4.0 s left  dumping");
        assert_eq!(line(3, None, "tables", "", None), "3 tables");
    }
}
