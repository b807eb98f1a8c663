//! The capability on a folder: `file:///...`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common;

use common::*;
use rota_authority::{Mode, Outcome, Storage, StorageAccess};
use rota_capability_storage::{Client, Connections, Name, Put, settled};
use rota_contract::Error;
use rota_testbed::SmallDisk;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

async fn folder() -> (TempDir, Bench) {
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(binding(&format!("file://{}", folder.path().display()))).await.unwrap();
    (folder, bench)
}

/// Everything in the folder, hidden files too.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything(&entry.path()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_is_put_can_be_got_listed_and_deleted() {
    let (folder, bench) = folder().await;
    let data = bytes(3 * MIB + 17);
    let stored = bench.put_bytes("daily/1/data.dump", &data).await.unwrap();
    assert_eq!((stored.size, stored.sha256), (data.len() as u64, sha256(&data)));
    bench.put_bytes("daily/1.txt", b"one").await.unwrap();
    bench.put_bytes("empty", b"").await.unwrap();
    assert_eq!(bench.get("daily/1/data.dump", None).await.unwrap(), data);
    assert_eq!(bench.get("empty", None).await.unwrap(), b"");
    assert_eq!(std::fs::read(folder.path().join("daily/1/data.dump")).unwrap(), data);
    let object = bench.client.stat(&bench.reads(), &Name::parse("daily/1/data.dump").unwrap()).await.unwrap();
    assert_eq!(object.size, data.len() as u64);
    assert!(object.modified.unwrap() > 1_600_000_000_000_000);
    // In the order of whole names, as an object store has it: `.` before `/`.
    assert_eq!(bench.names("").await.unwrap(), ["daily/1.txt", "daily/1/data.dump", "empty"]);
    assert_eq!(bench.names("daily/1/").await.unwrap(), ["daily/1/data.dump"]);
    assert_eq!(bench.names("weekly/").await.unwrap(), Vec::<String>::new());
    bench.delete("daily/1/data.dump").await.unwrap();
    bench.delete("daily/1/data.dump").await.unwrap();
    bench.delete("empty/below").await.unwrap();
    assert_eq!(bench.names("").await.unwrap(), ["daily/1.txt", "empty"]);
    assert!(!folder.path().join("daily/1").exists(), "the empty folder stayed");
    assert!(matches!(bench.get("daily/1/data.dump", None).await, Err(Error::NotFound(_))));
    assert!(matches!(bench.get("daily", None).await, Err(Error::NotFound(_))));
    assert!(matches!(bench.get("empty/below", None).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn objects_are_private_to_the_user() {
    let (folder, bench) = folder().await;
    bench.put_bytes("a/b", b"x").await.unwrap();
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("a/b")), (0o700, 0o600));
}

#[tokio::test]
async fn ranges_are_read() {
    let (_folder, bench) = folder().await;
    let data = bytes(MIB);
    bench.put_bytes("a", &data).await.unwrap();
    for (offset, length) in [
        (0, Some(10)),
        (500_000, Some(100_000)),
        (MIB as u64 - 5, None),
        (MIB as u64 - 5, Some(100)),
        (MIB as u64, None),
        (7, Some(0)),
    ] {
        let end = length.map_or(MIB, |length| (offset + length).min(MIB as u64) as usize);
        assert_eq!(
            bench.get("a", Some((offset, length))).await.unwrap(),
            data[offset as usize..end],
            "{offset} {length:?}"
        );
    }
    let refused = bench.get("a", Some((MIB as u64 + 1, None))).await.unwrap_err();
    assert!(text(&refused).contains("`a` has 1048576 bytes"), "{refused:?}");
}

#[tokio::test]
async fn a_put_if_absent_replaces_nothing() {
    let (folder, bench) = folder().await;
    bench.put("a", &b"first"[..], if_absent()).await.unwrap();
    let refused = bench.put("a", &b"second"[..], if_absent()).await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict(text) if text.contains("already an object `a`")), "{refused:?}");
    assert_eq!(bench.get("a", None).await.unwrap(), b"first");
    bench.put("a", &b"third"[..], Put::default()).await.unwrap();
    assert_eq!(bench.get("a", None).await.unwrap(), b"third");
    assert_eq!(everything(folder.path()), [folder.path().join("a")]);
}

#[tokio::test]
async fn of_two_puts_if_absent_at_once_one_wins() {
    let (folder, bench) = folder().await;
    let puts = (0..8_u8).map(|n| bench.put("a", std::io::Cursor::new(vec![n; 100_000]), if_absent()));
    let results = futures::future::join_all(puts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(Error::Conflict(_)))), "{results:?}");
    assert_eq!(everything(folder.path()), [folder.path().join("a")]);
}

#[tokio::test]
async fn a_failing_source_leaves_nothing_and_tells_its_error() {
    let (folder, bench) = folder().await;
    let error = Error::Unavailable("pg_dump exited with 1".into());
    let failed = bench.put("new/folder/a", failing(bytes(2 * MIB), error), Put::default()).await.unwrap_err();
    assert!(text(&failed).contains("pg_dump exited with 1"), "{failed:?}");
    assert_eq!(everything(folder.path()), Vec::<PathBuf>::new());
    assert!(matches!(&bench.ledger.effects()[0].outcome, Some(Outcome::Failed(_))));
}

#[tokio::test]
async fn a_dropped_put_leaves_nothing() {
    let (folder, bench) = folder().await;
    {
        let put = bench.put("new/a", endless(bytes(2 * MIB)), Put::default());
        tokio::pin!(put);
        let begun = rota_testbed::eventually(Duration::from_secs(10), "the part file", async || {
            Ok((everything(folder.path()).len() == 2).then_some(()))
        });
        tokio::select! { result = &mut put => panic!("{result:?}"), begun = begun => begun.unwrap() }
        // An unfinished object is not listed.
        assert_eq!(bench.names("").await.unwrap(), Vec::<String>::new());
    }
    assert!(settled(Duration::from_secs(10)).await);
    assert_eq!(everything(folder.path()), Vec::<PathBuf>::new());
    assert_eq!(bench.ledger.effects()[0].outcome, Some(Outcome::Interrupted));
}

#[tokio::test]
async fn what_a_killed_host_leaves_is_swept() {
    let (folder, bench) = folder().await;
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    let left = folder.path().join("deep/.rota-part-0e0d5e0c-0000-4000-8000-000000000000");
    std::fs::write(&left, "half").unwrap();
    let put = bench.put("deep/a", endless(bytes(2 * MIB)), Put::default());
    tokio::pin!(put);
    // It is locked a moment after it is made, and written after that.
    let written =
        || everything(folder.path()).iter().any(|path| path.metadata().is_ok_and(|of| of.len() >= MIB as u64));
    let begun =
        rota_testbed::eventually(Duration::from_secs(10), "the part file", async || Ok(written().then_some(())));
    tokio::select! { result = &mut put => panic!("{result:?}"), begun = begun => begun.unwrap() }
    // What is being written is not what was left.
    let found = bench.client.leftovers(&bench.reads(), Duration::ZERO).await.unwrap();
    assert_eq!(
        found.iter().map(|leftover| &*leftover.name).collect::<Vec<_>>(),
        ["deep/.rota-part-0e0d5e0c-0000-4000-8000-000000000000"]
    );
    let permit = bench.permit(StorageAccess::Delete).await;
    assert_eq!(bench.client.sweep(&permit, Duration::ZERO).await.unwrap().len(), 1);
    assert!(!left.exists());
    assert_eq!(everything(folder.path()).len(), 2);
}

#[tokio::test]
async fn other_bytes_than_promised_are_not_kept() {
    let (folder, bench) = folder().await;
    let promised = |bytes: &[u8]| Put { sha256: Some(sha256(bytes)), ..Put::default() };
    let refused = bench.put("a", &b"this"[..], promised(b"that")).await.unwrap_err();
    assert!(text(&refused).contains("checksum-mismatch"), "{refused:?}");
    assert_eq!(everything(folder.path()), Vec::<PathBuf>::new());
    bench.put("a", &b"this"[..], promised(b"this")).await.unwrap();
}

#[tokio::test]
async fn symbolic_links_do_not_lead_out() {
    let (folder, bench) = folder().await;
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), folder.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    symlink("/proc/self/environ", folder.path().join("environ")).unwrap();
    for name in ["out/secret", "file", "environ"] {
        let refused = bench.get(name, None).await.unwrap_err();
        assert!(text(&refused).contains("leads out of the binding's folder"), "{name}: {refused:?}");
    }
    assert!(matches!(bench.put_bytes("out/new", b"x").await, Err(Error::InvalidArgument(_))));
    assert!(matches!(bench.delete("out/secret").await, Err(Error::InvalidArgument(_))));
    // To put where a link is replaces the link, not what it points to.
    bench.put_bytes("file", b"mine").await.unwrap();
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(everything(outside.path()), [outside.path().join("secret")]);
    assert_eq!(bench.names("").await.unwrap(), ["file"]);
    // A link that stays below the folder is a way like any other.
    bench.put_bytes("a/b", b"x").await.unwrap();
    symlink("a", folder.path().join("inside")).unwrap();
    assert_eq!(bench.get("inside/b", None).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(8).unwrap() else {
        eprintln!("skipped: no small disk can be mounted here");
        return;
    };
    let bench = Bench::open(binding(&format!("file://{}", disk.path().display()))).await.unwrap();
    bench.put_bytes("fits", &bytes(MIB)).await.unwrap();
    let refused = bench.put_bytes("a/too-large", &bytes(20 * MIB)).await.unwrap_err();
    let Error::Failed(fault) = &refused else { panic!("{refused:?}") };
    assert_eq!(fault.code, "ENOSPC");
    assert!(fault.message.contains("free some space") && fault.message.contains("a/too-large"), "{fault:?}");
    assert_eq!(everything(disk.path()), [disk.path().join("fits")]);
    assert!(disk.free().unwrap() >= 6 * MIB as u64);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_says_why() {
    let missing = Bench::open(binding("file:///nowhere/at/all")).await.err().unwrap();
    assert!(text(&missing).contains("/nowhere/at/all") && text(&missing).contains("mkdir -p"), "{missing:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = Bench::open(binding(&format!("file://{}", file.path().display()))).await.err().unwrap();
    assert!(text(&refused).contains("is no folder"), "{refused:?}");
    let (_folder, bench) = folder().await;
    bench.put_bytes("a", b"x").await.unwrap();
    let below = bench.put_bytes("a/b", b"x").await.unwrap_err();
    assert!(text(&below).contains("is an object, not a folder"), "{below:?}");
    bench.put_bytes("f/b", b"x").await.unwrap();
    assert!(text(&bench.put_bytes("f", b"x").await.unwrap_err()).contains("is a folder"));
    let long = format!("x/{}", "y".repeat(300));
    assert!(text(&bench.put_bytes(&long, b"x").await.unwrap_err()).contains("255 bytes"));
}

#[tokio::test]
async fn an_object_that_shrinks_while_it_is_read_is_no_whole_object() {
    let (folder, bench) = folder().await;
    bench.put_bytes("a", &bytes(4 * MIB)).await.unwrap();
    let (_, mut reader) = bench.client.get(&bench.reads(), &Name::parse("a").unwrap(), None).await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("a")).unwrap();
    file.set_len(10).unwrap();
    let error = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await.unwrap_err();
    let told = rota_capability::streams::error_of(&error);
    assert!(text(&told).contains("short-read"), "{told:?}");
}

#[tokio::test]
async fn a_large_list_comes_in_order_and_ends_with_its_reader() {
    let (folder, bench) = folder().await;
    for n in 0..2000 {
        std::fs::write(folder.path().join(format!("{n:05}")), "").unwrap();
    }
    let names = bench.names("").await.unwrap();
    assert_eq!(names.len(), 2000);
    assert!(names.is_sorted());
    let mut listing = bench.client.list(&bench.reads(), &Default::default()).await.unwrap();
    assert_eq!(listing.objects.recv().await.unwrap().unwrap().name, "00000");
}

#[tokio::test]
async fn a_plan_has_no_permit_and_so_no_put() {
    let folder = TempDir::new().unwrap();
    let (gate, ledger) = gate(binding(&format!("file://{}", folder.path().display())), Mode::Plan, &["read", "write"]);
    let authorized = gate.authorise::<Storage>("storage.put", "bucket", &[StorageAccess::Write]).unwrap();
    let effect = rota_authority::Effect {
        object: "a".into(),
        detail: "about 1 MB".into(),
        class: rota_authority::EffectClass::Write,
        exact: rota_authority::Exact::shown(),
    };
    assert!(matches!(authorized.effect(effect).await.unwrap(), rota_authority::Decision::Planned));
    assert!(ledger.effects()[0].record.planned);
    // Reads go on.
    let reads = gate.authorise::<Storage>("storage.list", "bucket", &[StorageAccess::Read]).unwrap();
    let client = Client::connect(&Connections::default(), &reads).await.unwrap();
    assert!(client.list(&reads, &Default::default()).await.unwrap().objects.recv().await.is_none());
}

#[tokio::test]
async fn without_a_grant_there_is_no_token() {
    let (gate, _) = gate(binding("file:///tmp"), Mode::Execute, &["read"]);
    let denied = gate.authorise::<Storage>("storage.put", "bucket", &[StorageAccess::Write]).err().unwrap().to_string();
    assert!(denied.contains("--grant bucket=read,write"), "{denied}");
    assert!(gate.authorise::<Storage>("storage.delete", "bucket", &[StorageAccess::Delete]).is_err());
}
