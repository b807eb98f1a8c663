//! Where a backup's objects lie: `<prefix><database>/<time>-<id>/<object>`.

use rota_sdk::Timestamp;
use std::fmt::Write as _;

/// The manifest's name in a backup's folder.
pub const MANIFEST: &str = "manifest.json";
/// How the names of verification results end.
pub const VERIFIED: &str = ".verified.json";

/// A database's name as one part of an object's name: letters a-z, digits, `_`, `-` and `.` stand for themselves (the last two not in
/// front), every other byte of the name's UTF-8 is `=` and two lower-case hex digits. Capitals too: some file systems take
/// `App` and `app` for one.
pub fn encode_database(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for (place, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => part.push(char::from(byte)),
            b'-' | b'.' if place > 0 => part.push(char::from(byte)),
            _ => {
                // Writing to a string does not fail.
                let _ = write!(part, "={byte:02x}");
            }
        }
    }
    part
}

/// The database's name out of [`encode_database`]; none for anything that it does not make.
pub fn decode_database(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'=' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    let name = String::from_utf8(bytes).ok()?;
    // Only one spelling of each name, so that no database has two folders.
    (!name.is_empty() && encode_database(&name) == part).then_some(name)
}

/// The id of a backup: its start in UTC, and eight hex digits of the run's id.
pub fn backup_id(start: Timestamp, run: &str) -> String {
    let digits: String = run.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect();
    // The end of a UUIDv7 is random; its beginning is the time again.
    let tail = digits.get(digits.len().saturating_sub(8)..).unwrap_or_default();
    format!("{}-{tail:0>8}", start.compact())
}

/// Whether two backups were made by one run (its attempts, for example): their ids end alike.
pub fn same_run(id: &str, other: &str) -> bool {
    let tail = |id: &str| id.split_once('-').map(|(_, tail)| tail.to_owned());
    tail(id).is_some() && tail(id) == tail(other)
}

/// When a backup was started, out of its id; none for what is no id.
pub fn time_of(id: &str) -> Option<Timestamp> {
    let (time, tail) = id.split_once('-')?;
    let hex = tail.len() == 8 && tail.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let shape = time.len() == 16 && time.is_ascii() && time.as_bytes()[8] == b'T' && time.ends_with('Z');
    if !hex || !shape {
        return None;
    }
    let (y, m, d, h, min, s) = (&time[..4], &time[4..6], &time[6..8], &time[9..11], &time[11..13], &time[13..15]);
    Timestamp::parse(&format!("{y}-{m}-{d}T{h}:{min}:{s}Z")).filter(|at| at.compact() == time)
}

/// A prefix as an operator wrote it, with its `/` at the end; empty for the binding's own.
pub fn prefix(text: &str) -> String {
    let text = text.trim_matches('/');
    if text.is_empty() { String::new() } else { format!("{text}/") }
}

/// The folder of one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// With a `/` at its end, or empty.
    pub prefix: String,
    /// The database's name, as it is.
    pub database: String,
    /// The backup's id.
    pub id: String,
}

impl Folder {
    /// The folder's own name, without a `/` at its end.
    pub fn path(&self) -> String {
        format!("{}{}/{}", self.prefix, encode_database(&self.database), self.id)
    }

    /// The name of an object in it.
    pub fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.path())
    }

    /// The manifest's name.
    pub fn manifest(&self) -> String {
        self.object(MANIFEST)
    }

    /// Take an object's name apart: the folder and the name in it; none for what belongs to no backup.
    pub fn of(prefix: &str, name: &str) -> Option<(Self, String)> {
        let mut parts = name.strip_prefix(prefix)?.splitn(3, '/');
        let (database, id, object) = (parts.next()?, parts.next()?, parts.next()?);
        time_of(id)?;
        let database = decode_database(database)?;
        Some((Self { prefix: prefix.to_owned(), database, id: id.to_owned() }, object.to_owned()))
    }
}

/// What a program may be told to read in a backup's folder: a plain name, which leads nowhere else.
pub fn is_plain(object: &str) -> bool {
    !object.is_empty()
        && !object.starts_with('.')
        && object.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_databases_go_there_and_back() {
        for (name, part) in [
            ("kosmos", "kosmos"),
            ("-x", "=2dx"),
            ("a/b", "a=2fb"),
            ("..", "=2e."),
            ("Kosmos", "=4bosmos"),
            ("a=b", "a=3db"),
            ("it's \"x\"", "it=27s=20=22x=22"),
            ("\u{1f980}", "=f0=9f=a6=80"),
            ("a.b-c_1", "a.b-c_1"),
        ] {
            assert_eq!(encode_database(name), part);
            assert_eq!(decode_database(part).as_deref(), Some(name));
        }
        for bad in ["", "A", "a=2Fb", "a=", "a=2", "=61", "a/b", "-x", "=ff", "a%2fb", "a=zz", "="] {
            assert_eq!(decode_database(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_sort_by_time_and_are_read_back() {
        let at = Timestamp::parse("2026-11-23T16:45:07Z").unwrap();
        let id = backup_id(at, "01234567-89ab-7def-8123-456789ABCDEF");
        assert_eq!(id, "20261123T164507Z-89abcdef");
        assert_eq!(time_of(&id), Some(at));
        assert_eq!(time_of(&backup_id(at, "")), Some(at));
        assert!(same_run(&id, &backup_id(Timestamp(0), "89abcdef")) && !same_run(&id, &backup_id(at, "89abcdee")));
        assert!(!same_run("x", "x"));
        for bad in [
            "20261123T164507Z",
            "20261123T164507Z-",
            "20261123T164507Z-89ABCDEF",
            "20261323T164507Z-89abcdef",
            "2026-11-23T164507Z-89abcdef",
            "20261123T164507é-89abcdef",
        ] {
            assert_eq!(time_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn object_names_are_taken_apart() {
        let folder =
            Folder { prefix: prefix("/daily"), database: "a/b".to_owned(), id: "20261123T164507Z-89abcdef".to_owned() };
        assert_eq!(folder.manifest(), "daily/a=2fb/20261123T164507Z-89abcdef/manifest.json");
        assert_eq!(Folder::of("daily/", &folder.manifest()), Some((folder, "manifest.json".to_owned())));
        for stray in [
            "daily/x",
            "daily/x/y/z",
            "other/a/20261123T164507Z-89abcdef/manifest.json",
            "daily/A/20261123T164507Z-89abcdef/x",
        ] {
            assert_eq!(Folder::of("daily/", stray), None, "{stray}");
        }
        assert!(
            is_plain("dump.pgdump.zst") && !is_plain("../x") && !is_plain("a/b") && !is_plain("") && !is_plain("..")
        );
    }

    proptest! {
        #[test]
        fn every_name_has_one_safe_spelling(name in "\\PC{1,63}|[ -~]{1,63}|[./=%\\\\]{1,20}") {
            let part = encode_database(&name);
            prop_assert_eq!(decode_database(&part), Some(name));
            prop_assert!(part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.=".contains(&b)));
            prop_assert!(part != "." && part != ".." && !part.starts_with('-'));
        }

        #[test]
        fn whatever_is_decoded_is_encoded_the_same(part in "[a-z0-9=_.A-F-]{0,20}") {
            if let Some(name) = decode_database(&part) {
                prop_assert_eq!(encode_database(&name), part);
            }
        }
    }
}
