//! The names of files in an archive.

/// How archive commands mark what they compressed or encrypted.
const SUFFIXES: [&str; 10] = ["gz", "zst", "lz4", "xz", "bz2", "lzo", "br", "age", "gpg", "enc"];

/// What a file is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A segment of the log.
    Segment(Segment),
    /// The part of a segment that a timeline ended in.
    Partial(Segment),
    /// The history file of a base backup, which needs the log from this segment on.
    BackupHistory(Segment),
    /// The history of a timeline.
    TimelineHistory,
    /// Something else, which is none of our business.
    Other,
}

/// A segment, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    /// Where it begins in the log, as the name has it: the order of segments, timelines apart.
    pub(crate) place: (u32, u32),
    pub(crate) timeline: u32,
}

impl Segment {
    /// By its position in the log, rounded down to a segment.
    pub(crate) fn at(position: u64, segment_bytes: u64) -> Option<(u32, u32)> {
        let high = u32::try_from(position >> 32).ok()?;
        let low = u32::try_from((position & 0xFFFF_FFFF).checked_div(segment_bytes)?).ok()?;
        Some((high, low))
    }

    /// Where it begins in the log, in bytes.
    pub(crate) fn position(&self, segment_bytes: u64) -> u64 {
        (u64::from(self.place.0) << 32) + u64::from(self.place.1) * segment_bytes
    }
}

/// The name without its timeline, which is how segments are compared: `0000001800000080`.
pub(crate) fn told(place: (u32, u32)) -> String {
    format!("{:08X}{:08X}", place.0, place.1)
}

fn hex(text: &str) -> Option<u32> {
    let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    if plain { u32::from_str_radix(text, 16).ok() } else { None }
}

fn segment(name: &str) -> Option<(Segment, &str)> {
    let (timeline, high, low) = (hex(name.get(..8)?)?, hex(name.get(8..16)?)?, hex(name.get(16..24)?)?);
    Some((Segment { place: (high, low), timeline }, name.get(24..)?))
}

/// What a name stands for.
pub(crate) fn kind(name: &str) -> Kind {
    let mut plain = name;
    while let Some((rest, end)) = plain.rsplit_once('.')
        && SUFFIXES.contains(&end)
    {
        plain = rest;
    }
    if let Some(timeline) = plain.strip_suffix(".history")
        && hex(timeline).is_some()
    {
        return Kind::TimelineHistory;
    }
    match segment(plain) {
        Some((segment, "")) => Kind::Segment(segment),
        Some((segment, ".partial")) => Kind::Partial(segment),
        Some((segment, rest)) if is_backup(rest) => Kind::BackupHistory(segment),
        _ => Kind::Other,
    }
}

/// `.00000028.backup`
fn is_backup(rest: &str) -> bool {
    rest.strip_prefix('.').and_then(|rest| rest.strip_suffix(".backup")).is_some_and(|offset| hex(offset).is_some())
}

/// What may be given as a cutoff: a segment, also as `pg_archivecleanup` takes it (`.partial`, `.00000028.backup`).
pub(crate) fn cutoff(text: &str) -> Option<Segment> {
    let (segment, rest) = segment(text)?;
    (rest.is_empty() || rest == ".partial" || is_backup(rest)).then_some(segment)
}

/// Whether a name is a whole segment as the server wrote it.
pub(crate) fn is_plain(name: &str) -> bool {
    name.len() == 24 && matches!(kind(name), Kind::Segment(_))
}

/// What the first page of a segment says (`XLogLongPageHeaderData`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) timeline: u32,
    pub(crate) position: u64,
    pub(crate) system: u64,
    pub(crate) segment_bytes: u64,
}

/// How many bytes of a segment are looked at.
pub(crate) const HEADER: usize = 40;

impl Header {
    /// Out of a segment's first bytes; none for what is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |from: usize, length: usize| -> Option<u64> {
            let mut wide = [0; 8];
            wide.get_mut(..length)?.copy_from_slice(bytes.get(from..from + length)?);
            Some(u64::from_le_bytes(wide))
        };
        // The first byte of the magic grows with each major version, the second has been 0xD1 since 9.5; the flag says that the header is the long one.
        let (magic, flags) = (number(0, 2)?, number(2, 2)?);
        let segment_bytes = number(32, 4)?;
        let valid = magic >> 8 == 0xD1
            && flags & 2 != 0
            && segment_bytes.is_power_of_two()
            && (1 << 20..=1 << 30).contains(&segment_bytes);
        let timeline = u32::try_from(number(4, 4)?).ok()?;
        valid.then_some(Self { timeline, position: number(8, 8)?, system: number(24, 8)?, segment_bytes })
    }
}
