//! What lies in the archive, and whether it is one.

use crate::names::{Header, Kind, Segment, is_plain, kind, told};
use crate::needs::Need;
use crate::place::{File, Place};
use rota_sdk::prelude::*;
use std::collections::BTreeSet;

/// How many gaps are told.
const TOLD: usize = 10;

/// An archive that was looked at.
pub(crate) struct Archive {
    /// Its files, by name.
    pub(crate) files: Vec<File>,
    /// The system identifier in its segments.
    pub(crate) system: Option<String>,
    /// The size of its segments.
    pub(crate) segment_bytes: Option<u64>,
}

impl Archive {
    /// Look at the content of some segments: an archive holds finished ones, which are what their names say. A live `pg_wal` holds recycled ones, too.
    pub(crate) async fn read(place: &Place<'_>, mut files: Vec<File>) -> Result<Self> {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut plain: Vec<(Segment, &str)> = files
            .iter()
            .filter(|file| is_plain(&file.name))
            .filter_map(|file| match kind(&file.name) {
                Kind::Segment(segment) => Some((segment, file.name.as_str())),
                _ => None,
            })
            .collect();
        plain.sort();
        let mut names: Vec<&str> = Vec::new();
        for sample in [0, plain.len() / 2, plain.len().saturating_sub(2), plain.len().saturating_sub(1)] {
            if let Some((_, name)) = plain.get(sample)
                && !names.contains(name)
            {
                names.push(name);
            }
        }
        let mut archive = Self { system: None, segment_bytes: None, files: Vec::new() };
        if !names.is_empty() {
            for (name, bytes) in names.iter().zip(place.headers(&names).await?) {
                archive.learn(name, &bytes)?;
            }
        }
        archive.files = files;
        Ok(archive)
    }

    fn learn(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let Kind::Segment(segment) = kind(name) else { return Ok(()) };
        let Some(header) = Header::parse(bytes) else {
            return Err(strange(name, "it does not begin as a WAL segment does"));
        };
        // The first page may still be of the timeline before.
        if header.position != segment.position(header.segment_bytes) || header.timeline > segment.timeline {
            return Err(strange(name, "its content is of another segment, as in a file that a server has recycled"));
        }
        let system = header.system.to_string();
        if self.system.as_ref().is_some_and(|other| *other != system) {
            return Err(strange(name, "it is of another cluster than others in the same place"));
        }
        self.system = Some(system);
        self.segment_bytes = Some(header.segment_bytes);
        Ok(())
    }

    /// The segments and partial ones.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&File, Segment)> {
        self.files.iter().filter_map(|file| match kind(&file.name) {
            Kind::Segment(segment) | Kind::Partial(segment) => Some((file, segment)),
            _ => None,
        })
    }

    /// Refuse what holds a segment that the server has not finished.
    pub(crate) fn is_no_live_log(&self, current: (u32, u32), place: &Place<'_>) -> Result<()> {
        let unfinished = self
            .files
            .iter()
            .find(|file| matches!(kind(&file.name), Kind::Segment(segment) if segment.place >= current));
        match unfinished {
            Some(file) => Err(Error::new(format!(
                "refused: {} is in {}, and the server has not finished it: this is a live pg_wal, or the archive of another server",
                file.name,
                place.told()
            ))
            .hint("only an archive is cleaned. Files of pg_wal are never removed by hand; postgres-disk says who holds them")),
            None => Ok(()),
        }
    }

    /// What lies before the cutoff, the oldest first.
    pub(crate) fn older_than(&self, cutoff: (u32, u32)) -> Vec<&File> {
        let mut older: Vec<(Segment, &File)> = self
            .segments()
            .filter(|(_, segment)| segment.place < cutoff)
            .map(|(file, segment)| (segment, file))
            .collect();
        older.sort_by(|(a, x), (b, y)| (a, &x.name).cmp(&(b, &y.name)));
        older.into_iter().map(|(_, file)| file).collect()
    }

    /// Refuse to delete where the first segment that stays is not there: then it is another archive, or nothing would be left of it.
    pub(crate) fn holds(&self, cutoff: &Need, any_older: bool) -> Result<()> {
        let there = self
            .files
            .iter()
            .any(|file| matches!(kind(&file.name), Kind::Segment(segment) if segment.place == cutoff.place));
        if there || !any_older {
            return Ok(());
        }
        Err(Error::new(format!(
            "the archive does not hold the segment {} that {} {} needs first",
            cutoff.segment,
            cutoff.kind.word(),
            cutoff.name
        ))
        .hint(
            "either it is another archive, or that segment is not archived yet: select pg_switch_wal() has it archived",
        ))
    }

    /// What is missing between the segments that stay.
    pub(crate) fn gaps(&self, cutoff: (u32, u32), segment_bytes: u64) -> Vec<String> {
        let number = |segment: &Segment| segment.position(segment_bytes) / segment_bytes;
        let kept: BTreeSet<u64> = self
            .files
            .iter()
            .filter_map(|file| match kind(&file.name) {
                Kind::Segment(segment) if segment.place >= cutoff => Some(number(&segment)),
                _ => None,
            })
            .collect();
        let name = |number: u64| Segment::at(number * segment_bytes, segment_bytes).map_or_else(String::new, told);
        let pairs = kept.iter().zip(kept.iter().skip(1)).filter(|(a, b)| **b > **a + 1);
        pairs
            .take(TOLD)
            .map(|(a, b)| match b - a - 1 {
                1 => format!("segment {}", name(a + 1)),
                missing => format!("{missing} segments, {} to {}", name(a + 1), name(b - 1)),
            })
            .collect()
    }
}

/// Whether a file is a segment before the cutoff.
pub(crate) fn is_older(name: &str, cutoff: (u32, u32)) -> bool {
    matches!(kind(name), Kind::Segment(segment) | Kind::Partial(segment) if segment.place < cutoff)
}

fn strange(name: &str, why: &str) -> Error {
    Error::new(format!("refused: {name} is not a finished segment: {why}"))
        .hint("a live pg_wal looks like this, a damaged archive too: nothing was deleted")
}
