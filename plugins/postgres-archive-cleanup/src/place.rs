//! Where the archive lies: a folder in a pod, or a bucket.

use crate::Parameters;
use crate::names::HEADER;
use rota_sdk::cluster::{Cluster, Command};
use rota_sdk::prelude::*;

/// How much a listing may say: some hundred thousand files.
const MOST_BYTES: usize = 32 << 20;
/// How many objects are listed at most.
const MOST_OBJECTS: usize = 500_000;

/// The folder is the first argument, the data directory that the server names the second. Nothing here is made from text that came from outside. Says
/// `refuse` and why, or `folder` and its identity; leaves the shell in the folder.
pub(crate) const PROBE: &str = r#"set -eu
LC_ALL=C; export LC_ALL
refuse() { printf 'refuse %s\n' "$*"; exit 0; }
probe() {
  case $1 in /*) ;; *) refuse "$1 is no absolute path" ;; esac
  [ -d "$1" ] || refuse "$1 is no folder there"
  cd -P -- "$1"
  here=$(pwd -P)
  [ ! -e archive_status ] || refuse "$here holds archive_status: it is a pg_wal"
  [ ! -e summaries ] || refuse "$here holds summaries: it is a pg_wal"
  case ${here##*/} in pg_wal|pg_xlog) refuse "$here is named as a pg_wal is" ;; esac
  at=$here
  while :; do
    for mark in PG_VERSION postmaster.pid global/pg_control; do
      [ ! -e "${at%/}/$mark" ] || refuse "$at holds $mark: it is a data directory"
    done
    [ "$at" != / ] || break
    at=${at%/*}
    [ -n "$at" ] || at=/
  done
  for data in "${PGDATA-}" "$2" /proc/[0-9]*/cwd; do
    if [ -n "$data" ] && [ "$data/pg_wal" -ef . ]; then refuse "$here is the pg_wal of the server in $data"; fi
  done
  printf 'folder %s %s\n' "$(stat -c %d:%i .)" "$here"
}
"#;

pub(crate) const LIST: &str = r#"probe "$1" "$2"
find . ! -name . -prune -type f -exec stat -c 'file %s %n' {} +
printf 'end\n'
"#;

pub(crate) const HEADERS: &str = r#"probe "$1" "$2"
shift 2
for name do
  printf 'header %s %s\n' "$name" "$(head -c 40 "./$name" | od -An -v -tx1 | tr -d ' \n')"
done
printf 'end\n'
"#;

/// Deletes only where it is still the folder that was looked at, and only files.
pub(crate) const DELETE: &str = r#"probe "$1" "$2"
[ "$(stat -c %d:%i .)" = "$3" ] || refuse "$here is another folder than the one that was looked at"
shift 3
for name do
  case $name in */*|.*|'') refuse "$name is no file's name" ;; esac
  if [ -L "$name" ] || [ -d "$name" ]; then refuse "$name is no file"; fi
  rm -f -- "./$name"
done
printf 'end\n'
"#;

/// A file of the archive.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Where the archive lies.
pub(crate) enum Place<'r> {
    /// A folder in a pod.
    Folder(Folder<'r>),
    /// Objects below a prefix.
    Bucket { bucket: Bucket, prefix: String },
}

/// A folder in a pod.
pub(crate) struct Folder<'r> {
    pub(crate) cluster: Cluster,
    pub(crate) parameters: &'r Parameters,
    pub(crate) folder: String,
    pub(crate) pod: String,
    /// What the server says that its data directory is.
    pub(crate) data_directory: String,
    /// Which folder it was, and where, once it was looked at.
    pub(crate) identity: Option<(String, String)>,
}

/// Why it is not touched.
fn refused(why: &str) -> Error {
    Error::new(format!("refused: {why}")).hint(
        "only an archive is cleaned. Files of pg_wal are never removed by hand: the server recycles them once nobody holds them; postgres-disk says who does",
    )
}

impl Folder<'_> {
    /// What a script said, line by line; none in a plan.
    async fn run(&self, script: &str, arguments: &[&str]) -> Result<Option<Vec<String>>> {
        let script = format!("{PROBE}{script}");
        let mut words = vec!["sh", "-c", &script, "rota", &self.folder, &self.data_directory];
        words.extend(arguments);
        let mut command = Command::new(&self.pod, &words);
        command.namespace.clone_from(&self.parameters.namespace);
        command.container.clone_from(&self.parameters.container);
        let child = self.cluster.exec(command, None).await?;
        let bytes = child.stdout()?.collect(MOST_BYTES).await?;
        if child.success().await?.is_planned() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Some(why) = lines.iter().find_map(|line| line.strip_prefix("refuse ")) {
            return Err(refused(why));
        }
        if lines.last().is_none_or(|line| line != "end") {
            return Err(Error::new(format!("what pod {} said of {} did not arrive whole", self.pod, self.folder)));
        }
        Ok(Some(lines))
    }
}

impl Place<'_> {
    /// In words.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Folder(folder) => {
                format!("{} in pod {}", folder.identity.as_ref().map_or(&folder.folder, |(_, path)| path), folder.pod)
            }
            Self::Bucket { prefix, .. } if prefix.is_empty() => "the archive".to_owned(),
            Self::Bucket { prefix, .. } => format!("the archive below {prefix}"),
        }
    }

    /// Its files, once it is certain that it is no data directory; none in a plan of a pod.
    pub(crate) async fn list(&mut self) -> Result<Option<Vec<File>>> {
        match self {
            Self::Folder(folder) => {
                let Some(lines) = folder.run(LIST, &[]).await? else { return Ok(None) };
                let mut files = Vec::new();
                for line in lines {
                    if let Some((identity, path)) = line.strip_prefix("folder ").and_then(|rest| rest.split_once(' ')) {
                        folder.identity = Some((identity.to_owned(), path.to_owned()));
                    }
                    let file = line.strip_prefix("file ").and_then(|rest| rest.split_once(" ./"));
                    if let Some((bytes, name)) = file {
                        files.push(File { name: name.to_owned(), bytes: bytes.parse().unwrap_or(0) });
                    }
                }
                Ok(Some(files))
            }
            Self::Bucket { bucket, prefix } => list_bucket(bucket, prefix).await.map(Some),
        }
    }

    /// The first bytes of some files.
    pub(crate) async fn headers(&self, names: &[&str]) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Folder(folder) => {
                let lines = folder.run(HEADERS, names).await?.unwrap_or_default();
                let bytes = |text: &str| {
                    let digits = text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).ok());
                    digits.filter_map(|two| u8::from_str_radix(two?, 16).ok()).collect::<Vec<u8>>()
                };
                let of = |name: &&str| {
                    let prefix = format!("header {name} ");
                    lines.iter().find_map(|line| line.strip_prefix(&prefix)).map(bytes).unwrap_or_default()
                };
                Ok(names.iter().map(of).collect())
            }
            Self::Bucket { bucket, prefix } => {
                let mut all = Vec::new();
                for name in names {
                    let reading = bucket.get_range(&format!("{prefix}{name}"), 0, Some(HEADER as u64)).await?;
                    let bytes = reading.stream.collect(HEADER).await?;
                    reading.ending.wait().await?;
                    all.push(bytes);
                }
                Ok(all)
            }
        }
    }

    /// Delete some files. One that is not there is no error.
    pub(crate) async fn delete(&self, names: &[&str]) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                let Some((identity, _)) = &folder.identity else {
                    return Err(Error::new("a folder is looked at before anything in it is deleted"));
                };
                let mut arguments = vec![identity.as_str()];
                arguments.extend(names);
                folder.run(DELETE, &arguments).await.map(drop)
            }
            Self::Bucket { bucket, prefix } => {
                for name in names {
                    bucket.delete(&format!("{prefix}{name}")).await?;
                }
                Ok(())
            }
        }
    }
}

async fn list_bucket(bucket: &Bucket, prefix: &str) -> Result<Vec<File>> {
    // A binding of the kind file:// may lead into a data directory.
    let mut at = prefix;
    loop {
        for mark in ["PG_VERSION", "postmaster.pid", "global/pg_control"] {
            if bucket.stat(&format!("{at}{mark}")).await?.is_some() {
                return Err(refused(&format!("{at}{mark} is there: this is a data directory")));
            }
        }
        if at.is_empty() {
            break;
        }
        at = at.trim_end_matches('/').rfind('/').map_or("", |slash| &prefix[..=slash]);
    }
    if prefix.trim_end_matches('/').rsplit('/').next().is_some_and(|last| last == "pg_wal" || last == "pg_xlog") {
        return Err(refused(&format!("{prefix} is named as a pg_wal is")));
    }
    let mut files = Vec::new();
    for object in bucket.list(prefix).await?.collect(MOST_OBJECTS).await? {
        let Some(name) = object.name.strip_prefix(prefix) else { continue };
        match name.split_once('/') {
            Some(("archive_status" | "summaries", _)) => {
                return Err(refused(&format!("{} is there: this is a pg_wal", object.name)));
            }
            Some(_) => {}
            None => files.push(File { name: name.to_owned(), bytes: object.size }),
        }
    }
    Ok(files)
}
