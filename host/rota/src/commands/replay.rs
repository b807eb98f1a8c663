//! `rota runs replay`: a recorded run again, on its recorded answers.

use super::{Printing, print, print_json};
use crate::output::{bold, coloured, dim, format, safe};
use owo_colors::{OwoColorize as _, Stream};
use rota_catalog::Catalog;
use rota_recording::lines_of;
use rota_runs::{Artifacts, Difference, Ending, Outcome, ReplayRequest, Replayed, RunRecords, Settings};
use serde_json::Value;
use std::fmt::Write as _;

/// Lines around a difference that are shown.
const AROUND: usize = 3;

pub(crate) async fn replay(
    catalog: &Catalog,
    records: &RunRecords,
    settings: &Settings,
    request: &ReplayRequest,
    printing: Printing,
) -> anyhow::Result<u8> {
    let replayed = rota_runs::replay(catalog, records, &Artifacts::new(settings), settings, request).await?;
    if printing.human() {
        print(&shown(&replayed))?;
    } else {
        print_json(&replayed.to_json())?;
    }
    Ok(replayed.exit_status())
}

fn shown(replayed: &Replayed) -> String {
    let header = &replayed.header;
    let attempt = if header.attempt > 1 { format!(", attempt {}", header.attempt) } else { String::new() };
    let mut text = format!(
        "{} {} {} of run {}{attempt}",
        dim("replay"),
        bold(&safe(&header.plugin)),
        safe(&header.version),
        safe(&header.run)
    );
    if replayed.digest != header.digest {
        let short = |digest: &str| safe(digest.get(..12).unwrap_or(digest));
        let _ =
            write!(text, "\n  with another build: {} instead of {}", short(&replayed.digest), short(&header.digest));
    }
    if !replayed.lower.is_empty() {
        let _ = write!(
            text,
            "\n  held to lower limits than the recorded run, those of this host: {}",
            replayed.lower.join(", ")
        );
    }
    let _ = write!(
        text,
        "\n  {} recorded calls made in {}\n\n",
        replayed.calls,
        format::seconds(replayed.took.as_secs_f64())
    );
    text.push_str(&told(replayed));
    text
}

fn told(replayed: &Replayed) -> String {
    match &replayed.outcome {
        Outcome::Same(end) => format!("{}  it ends as it did: {}", coloured("ok"), safe(&Replayed::said(end))),
        Outcome::Differs(difference) => differs(difference),
        Outcome::EndsOtherwise { recorded, replayed } => {
            let lines = |value: &Option<Value>| value.as_ref().map(lines_of).unwrap_or_default();
            let whole = |end: &rota_recording::End| {
                format!("{}\n{}{}", Replayed::said(end), lines(&end.said), lines(&end.report))
            };
            format!(
                "{}  the same calls, and another end\n  recorded  {}\n  replayed  {}\n\n{}",
                coloured("failed"),
                safe(&Replayed::said(recorded)),
                safe(&Replayed::said(replayed)),
                difference_of(&whole(recorded), &whole(replayed)),
            )
        }
        Outcome::Ends { call, ending, replayed } => {
            let mut text = format!("{}  the recording ends here, after call {call}: {}", coloured("ok"), why(ending));
            if let Some(end) = replayed {
                let _ = write!(text, "\n  the replay went on to its end: {}", safe(&Replayed::said(end)));
            }
            text
        }
        Outcome::Until(call) => {
            let mut text = String::new();
            for made in &replayed.last {
                let _ = writeln!(text, "{}", dim(&format!("call {}", made.call)));
                push_lines(&mut text, "  ", &made.asked);
                push_lines(&mut text, "  = ", made.answered.as_deref().unwrap_or("(not answered yet)"));
            }
            let _ = write!(text, "\nstopped before call {call}");
            text
        }
    }
}

/// An answer may be as long as a call's may: what is shown of it is not.
fn push_lines(text: &mut String, lead: &str, lines: &str) {
    const MOST: usize = 20;
    let blank = " ".repeat(lead.len());
    for (at, line) in lines.lines().enumerate() {
        if at == MOST {
            let _ = writeln!(text, "{blank}...");
            return;
        }
        let _ = writeln!(text, "{}{}", if at == 0 { lead } else { &blank }, safe(&shortened(line)));
    }
}

fn shortened(line: &str) -> String {
    const LONGEST: usize = 500;
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

fn why(ending: &Ending) -> String {
    match ending {
        Ending::Torn => "its host was killed, or could not write it any longer".to_owned(),
        Ending::Full(most) => {
            format!(
                "it was as large as it might be ({}; raise record_bytes to record more), or what came next was larger than a line may be",
                format::bytes(*most)
            )
        }
        Ending::Ended(end) => format!("the recorded run was ended: {}", safe(&Replayed::said(end))),
    }
}

fn differs(difference: &Difference) -> String {
    let lines = difference_of(&difference.recorded, &difference.replayed);
    format!("{}  {}\n\n{lines}", coloured("failed"), safe(&difference.what))
}

/// Two texts as `diff -u` has them.
fn difference_of(recorded: &str, replayed: &str) -> String {
    let difference = similar::TextDiff::from_lines(recorded, replayed);
    let unified = difference.unified_diff().context_radius(AROUND).header("recorded", "replayed").to_string();
    let line = |line: &str| {
        let text = safe(&shortened(line));
        match line.as_bytes().first() {
            Some(b'-') => text.if_supports_color(Stream::Stdout, |text| text.red()).to_string(),
            Some(b'+') => text.if_supports_color(Stream::Stdout, |text| text.green()).to_string(),
            Some(b'@') => dim(&text),
            _ => text,
        }
    };
    unified.lines().map(line).collect::<Vec<_>>().join("\n")
}
