//! Files that somebody names, or that lie where somebody may put something else.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Open a file to read it, and nothing else: what lies in its place is refused at once.
///
/// # Errors
/// When it cannot be opened, or is a folder, a pipe, a socket or a device.
pub fn open_file(path: &Path) -> io::Result<File> {
    // Without NONBLOCK, opening a FIFO would wait for a writer for ever.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match file {
        Ok(file) => file,
        // A socket cannot be opened, and says so in words that nobody understands.
        Err(error) => match std::fs::metadata(path) {
            Ok(about) if about.file_type().is_socket() => return Err(no_file(about.file_type())),
            _ => return Err(error),
        },
    };
    let about = file.metadata()?;
    if about.is_file() { Ok(file) } else { Err(no_file(about.file_type())) }
}

fn no_file(found: FileType) -> io::Error {
    let what = if found.is_dir() {
        "a folder"
    } else if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    io::Error::other(format!("it is not a file, but {what}"))
}

/// The bytes of a file of at most so many, as [`open_file`] opens it.
///
/// # Errors
/// When it cannot be read, is no file, or larger.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_file(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// The text of a file of at most so many bytes, as [`open_file`] opens it.
///
/// # Errors
/// When it cannot be read, is no file, larger, or no text.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_file(path, most)?).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read_text(&at(name), 1 << 20).unwrap(), "text");
        }
        for (path, what) in [
            (folder.path().to_owned(), "it is not a file, but a folder"),
            (at("pipe"), "it is not a file, but a pipe"),
            (at("socket"), "it is not a file, but a socket"),
            ("/dev/zero".into(), "it is not a file, but a device"),
        ] {
            assert_eq!(read_file(&path, 1 << 20).unwrap_err().to_string(), what);
        }
        assert_eq!(read_file(&at("none"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(at("file"), vec![0; (1 << 20) + 1]).unwrap();
        assert_eq!(read_file(&at("file"), 1 << 20).unwrap_err().to_string(), "it is larger than 1 MiB");
        std::fs::write(at("file"), [0xff]).unwrap();
        assert_eq!(read_text(&at("file"), 1 << 20).unwrap_err().to_string(), "it is not UTF-8 text");
    }
}
