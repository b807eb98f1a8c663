//! Where a program looks for its libraries besides the system's: the search path (`RPATH`, `RUNPATH`) in its own file. A
//! program that came in an archive or a wheel finds its libraries only there, and Landlock must let it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The program headers and the dynamic section are small; a file that says otherwise is none that runs.
const MOST_HEADERS: u16 = 128;
const MOST_DYNAMIC: u64 = 64 << 10;
const LONGEST_PATH: usize = 4096;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const STRING_TABLE: u64 = 5;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

/// The folders on the search path of a program; none for what is not a 64-bit ELF file of this machine's byte order.
pub(crate) fn search_path(program: &Path) -> Vec<PathBuf> {
    let texts = Elf::open(program).and_then(|elf| elf.search_paths()).unwrap_or_default();
    let origin = program.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    let folders = texts.iter().flat_map(|text| text.split(':'));
    let folders = folders.map(|folder| PathBuf::from(folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)));
    // A relative one would depend on where the program works.
    folders.filter(|folder| folder.is_absolute()).collect()
}

struct Elf {
    file: File,
    segments: Vec<Segment>,
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

impl Elf {
    fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let header = read(&file, 0, 64)?;
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        if header[..6] != [0x7f, b'E', b'L', b'F', 2, order] {
            return None;
        }
        let (at, size, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
        if size != 56 || count > MOST_HEADERS {
            return None;
        }
        let table = read(&file, at, usize::from(size) * usize::from(count))?;
        let segment = |entry: &[u8]| {
            Some(Segment {
                kind: u32_at(entry, 0)?,
                offset: u64_at(entry, 8)?,
                address: u64_at(entry, 16)?,
                size: u64_at(entry, 32)?,
            })
        };
        let segments = table.chunks_exact(56).map(segment).collect::<Option<_>>()?;
        Some(Self { file, segments })
    }

    fn search_paths(&self) -> Option<Vec<String>> {
        let dynamic = self.segments.iter().find(|segment| segment.kind == DYNAMIC && segment.size <= MOST_DYNAMIC)?;
        let table = read(&self.file, dynamic.offset, usize::try_from(dynamic.size).ok()?)?;
        let entries: Vec<(u64, u64)> =
            table.chunks_exact(16).filter_map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?))).collect();
        let strings =
            entries.iter().find(|(tag, _)| *tag == STRING_TABLE).and_then(|(_, address)| self.offset_of(*address))?;
        let paths = entries.iter().filter(|(tag, _)| matches!(*tag, RPATH | RUNPATH));
        Some(paths.filter_map(|(_, at)| self.text(strings.checked_add(*at)?)).collect())
    }

    /// Where in the file an address comes from.
    fn offset_of(&self, address: u64) -> Option<u64> {
        let loaded = self.segments.iter().filter(|segment| segment.kind == LOAD);
        let within =
            |segment: &&Segment| address.checked_sub(segment.address).is_some_and(|distance| distance < segment.size);
        loaded.filter(within).find_map(|segment| segment.offset.checked_add(address - segment.address))
    }

    fn text(&self, at: u64) -> Option<String> {
        let mut bytes = vec![0; LONGEST_PATH];
        let length = self.file.read_at(&mut bytes, at).ok()?;
        let end = bytes[..length].iter().position(|byte| *byte == 0)?;
        String::from_utf8(bytes[..end].to_vec()).ok()
    }
}

fn read(file: &File, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_has_no_search_path() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in
            [("empty", &b""[..]), ("script", b"#!/bin/sh\n"), ("cut", b"\x7fELF\x02\x01\x01"), ("zero", &[0; 200])]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(search_path(&path), Vec::<PathBuf>::new(), "{name}");
        }
        assert_eq!(search_path(Path::new("/nonexistent")), Vec::<PathBuf>::new());
    }

    #[test]
    fn lies_in_a_file_do_no_harm() {
        let mut bytes = std::fs::read("/proc/self/exe").unwrap();
        bytes.truncate(1 << 20);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lies");
        for at in (0..64).chain(64..64 + 56 * 12).step_by(2) {
            let mut changed = bytes.clone();
            changed[at] = 0xff;
            changed[at + 1] = 0xff;
            std::fs::write(&path, changed).unwrap();
            let _ = search_path(&path);
        }
    }

    #[test]
    fn the_wheels_pg_dump_finds_its_libraries() {
        let program = rota_testbed::PostgresVersion::V16.programs().unwrap().join("pg_dump").canonicalize().unwrap();
        let found = search_path(&program);
        assert!(
            found.iter().any(|folder| folder.join("..").exists()
                && folder.read_dir().is_ok_and(|mut files| files.any(|file| file
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("libpq")))),
            "{found:?}"
        );
    }
}
