//! Programs of every kind: how they end, what they get, what holds them.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common;

use common::{Run, eventually, marker, processes_with, script, scripted, tool, words};
use rota_authority::Mode;
use rota_capability::LogLevel;
use rota_capability_tools::{Child, Ended};
use rota_config::ToolProfile;
use rota_contract::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn output(child: &mut Child) -> Result<String, std::io::Error> {
    let mut text = String::new();
    child.stdout().unwrap().read_to_string(&mut text).await.map(|_| text)
}

/// The first bytes of it, while the program may still run.
async fn output_of(child: &mut Child, bytes: usize) -> String {
    let mut got = vec![0; bytes];
    child.stdout().unwrap().read_exact(&mut got).await.unwrap();
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    for (text, expected) in [
        ("exit 0", Ended::Code(0)),
        ("exit 3", Ended::Code(3)),
        ("kill -TERM $$", Ended::Signal(15)),
        ("kill -SEGV $$", Ended::Signal(11)),
        ("exit 143", Ended::Code(143)),
    ] {
        let (run, _script) = scripted(text);
        let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
        assert_eq!(child.wait().await.unwrap().unwrap().status, expected, "{text}");
        assert_eq!(run.outcomes(), [if expected == Ended::Code(0) { "done" } else { "failed" }], "{text}");
        assert!(run.private_folders().is_empty());
    }
}

#[tokio::test]
async fn output_of_a_program_that_fails_is_no_whole_output() {
    let (run, _script) = scripted("echo half; echo 'tool: error: disk on fire' >&2; exit 7");
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let mut got = Vec::new();
    let mut stdout = child.stdout().unwrap();
    let error = stdout.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(got, b"half\n");
    let Error::Failed(fault) = rota_capability::streams::error_of(&error) else { panic!("{error}") };
    assert_eq!(
        (fault.code.as_str(), fault.message.as_str()),
        ("exit-7", "tool exited with 7: tool: error: disk on fire")
    );
    let finished = child.wait().await.unwrap().unwrap();
    assert_eq!((finished.status, finished.stderr.as_str()), (Ended::Code(7), "tool: error: disk on fire\n"));
    assert!(matches!(child.stdout(), Err(Error::Conflict(_))));
    assert_eq!(run.log.lines(), [(LogLevel::Warn, "tool".to_owned(), "tool: error: disk on fire".to_owned())]);
}

#[tokio::test]
async fn output_of_a_program_that_is_killed_is_no_whole_output() {
    let (run, _script) = scripted("echo half; exec sleep 86400");
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let mut stdout = child.stdout().unwrap();
    let mut got = [0; 5];
    stdout.read_exact(&mut got).await.unwrap();
    child.kill().await.unwrap();
    let error = stdout.read(&mut got).await.unwrap_err();
    assert!(error.to_string().contains("signal 9"), "{error}");
    assert_eq!(child.wait().await.unwrap().unwrap().status, Ended::Signal(9));
    child.kill().await.unwrap();
}

#[tokio::test]
async fn output_of_a_child_that_is_dropped_is_no_whole_output() {
    let (run, _script) = scripted("echo half; exec sleep 86400");
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let mut stdout = child.stdout().unwrap();
    let mut got = [0; 5];
    stdout.read_exact(&mut got).await.unwrap();
    drop(child);
    let error = stdout.read(&mut got).await.unwrap_err();
    assert_eq!(rota_capability::streams::error_of(&error), Error::Cancelled);
    eventually("the interruption on record", || run.outcomes() == ["interrupted"]).await;
    eventually("the folder gone", || run.private_folders().is_empty()).await;
}

#[tokio::test]
async fn nothing_but_what_the_host_adds_is_in_the_environment() {
    let (run, _script) = scripted("/usr/bin/env; umask; pwd; ulimit -c; ulimit -n");
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let folder = run.private_folders().pop().unwrap();
    let text = output(&mut child).await.unwrap();
    let home = folder.display().to_string();
    // PWD, OLDPWD, SHLVL, _ are the shell's own.
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LC_ALL"]);
    assert!(text.contains(&format!("HOME={home}\n")) && text.ends_with(&format!("0077\n{home}\n0\n1024\n")), "{text}");
}

#[tokio::test]
async fn a_program_cannot_write_outside_its_folder_nor_look_around() {
    assert!(
        rota_capability_tools::launch::landlock_available(),
        "this kernel has no Landlock, so this test cannot tell"
    );
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    let victim = outside.path().display();
    let (run, _script) = scripted(&format!(
        "echo own > \"$HOME/file\" && echo wrote-own
         echo x > {victim}/new || echo refused-new
         cat {victim}/secret || echo refused-read
         cat /proc/{}/environ || echo refused-proc
         kill -0 {} || echo refused-signal
         echo x > \"$0\" || echo refused-self
         : > /dev/null && echo wrote-null",
        std::process::id(),
        std::process::id()
    ));
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let text = output(&mut child).await.unwrap();
    assert_eq!(text, "wrote-own\nrefused-new\nrefused-read\nrefused-proc\nrefused-signal\nrefused-self\nwrote-null\n");
    assert!(!outside.path().join("new").exists());
}

#[tokio::test]
async fn privileges_cannot_be_gained() {
    let (run, _script) = scripted("grep NoNewPrivs /proc/self/status || sed -n 's/x/x/p' /dev/null; exit 0");
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    // /proc is out of reach, so the flag is read from here.
    drop(output(&mut child).await);
    let (run, _script) = scripted("echo ready; exec sleep 86400");
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let mut stdout = child.stdout().unwrap();
    stdout.read_exact(&mut [0; 6]).await.unwrap();
    let home = run.private_folders().pop().unwrap();
    let pid = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == home))
        .unwrap();
    let status = std::fs::read_to_string(pid.join("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[tokio::test]
async fn limits_end_a_program_and_say_so() {
    let script = script("while :; do :; done");
    let mut grant = tool("tool", &script.path, ToolProfile::Custom, &[]);
    if let rota_config::Binding::Tool(binding) = &mut grant.binding {
        binding.cpu = rota_config::Duration::from_secs(1);
    }
    let run = Run::new(Mode::Execute, vec![grant]);
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let error = output(&mut child).await.unwrap_err();
    assert!(error.to_string().contains("raise `cpu`"), "{error}");
    assert_eq!(child.wait().await.unwrap().unwrap().status, Ended::Signal(24));
}

#[tokio::test]
async fn a_flood_on_standard_error_is_bounded_and_harmless() {
    let canary = rota_telemetry::Secret::new("c4nary-of-the-flood");
    let (run, _script) = scripted(&format!(
        "head -c 5000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; printf '\\033[31mred {} \\007end\\n' >&2",
        canary.expose()
    ));
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let stderr = child.wait().await.unwrap().unwrap().stderr;
    assert!(stderr.len() <= 64 << 10 && stderr.len() > 60 << 10, "{}", stderr.len());
    assert!(stderr.ends_with("x\nred *** end\n"), "{}", &stderr[stderr.len() - 40..]);
    let lines = run.log.lines();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].2.len() < 5000 && lines[1].2 == "red *** end", "{:?}", lines[1]);
}

/// Starts a program that leaves children of every kind behind it: in its group, in a session of their own, orphaned.
const FAMILY: &str = "
    sleep $1 &
    (sleep $1 &)
    setsid sh -c 'sleep $0 & setsid sleep $0 & wait' $1 &
    (setsid setsid sh -c 'trap \"\" TERM HUP INT; (sleep $0 &) ; sleep $0' $1 >/dev/null 2>&1 </dev/null &)
    echo ready";

async fn family(then: &str) -> (Run, common::Script, Child, String) {
    let (run, script) = scripted(&format!("{FAMILY}\n{then}"));
    let marker = marker();
    let mut child = run.client.spawn("tool", &words(&[&marker]), None, None).await.unwrap();
    child.stdout().unwrap().read_exact(&mut [0; 6]).await.unwrap();
    (run, script, child, marker)
}

#[tokio::test]
async fn the_whole_family_is_gone_after_a_drop() {
    let (_run, _script, child, marker) = family("exec sleep $1").await;
    eventually("the family", || processes_with(&marker).len() >= 9).await;
    drop(child);
    eventually("the end of the family", || processes_with(&marker).is_empty()).await;
}

#[tokio::test]
async fn the_whole_family_is_gone_after_a_kill_and_after_an_end() {
    let (_run, _script, mut child, marker) = family("exec sleep $1").await;
    eventually("the family", || processes_with(&marker).len() >= 9).await;
    child.kill().await.unwrap();
    assert_eq!(processes_with(&marker), Vec::<u32>::new());
    let (_run, _script, mut child, marker) = family("exit 5").await;
    assert_eq!(child.wait().await.unwrap().unwrap().status, Ended::Code(5));
    assert_eq!(processes_with(&marker), Vec::<u32>::new());
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_starts_leaves_nothing() {
    let (run, _script) = scripted("exec sleep $1");
    let marker = marker();
    for delay in [0, 1, 2, 4, 8, 16] {
        let arguments = words(&[&marker]);
        let spawning = run.client.spawn("tool", &arguments, None, None);
        let _ = tokio::time::timeout(Duration::from_millis(delay), spawning).await;
    }
    eventually("the end of all", || processes_with(&marker).is_empty() && run.private_folders().is_empty()).await;
    eventually("their records", || !run.outcomes().contains(&"under way".to_owned())).await;
}

#[tokio::test]
async fn a_launcher_that_is_killed_takes_the_program_with_it() {
    let (_run, _script, mut child, marker) = family("exec sleep $1").await;
    // The launcher's command line has no marker; it is the parent of the script's process.
    let pids = processes_with(&marker);
    let parent = |pid: u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()?
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse::<u32>()
            .ok()
    };
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let launcher = pids.iter().filter_map(|pid| parent(*pid)).find(|pid| name(*pid).contains("__launch")).unwrap();
    let main = *pids.iter().find(|pid| parent(**pid) == Some(launcher)).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(launcher.cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let error = child.wait().await.unwrap_err();
    assert!(matches!(&error, Error::Failed(fault) if fault.code == "lost"), "{error}");
    eventually("the program's end", || !processes_with(&marker).contains(&main)).await;
    for pid in processes_with(&marker) {
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(),
            rustix::process::Signal::KILL,
        );
    }
}

fn reader(bytes: impl tokio::io::AsyncRead + Send + 'static) -> Option<rota_capability::streams::Reader> {
    Some(Box::pin(bytes))
}

#[tokio::test]
async fn standard_input_is_passed_on_to_its_end() {
    let (run, _script) = scripted("exec wc -c");
    let input = tokio::io::repeat(7).take(20_000_000);
    let mut child = run.client.spawn("tool", &[], None, reader(input)).await.unwrap();
    assert_eq!(output(&mut child).await.unwrap().trim(), "20000000");
}

#[tokio::test]
async fn an_input_that_was_read_whole_is_known_to_be_though_the_program_ends_before_its_end_comes() {
    struct End(Arc<AtomicBool>);
    impl tokio::io::AsyncRead for End {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.0.store(true, Ordering::SeqCst);
            std::task::Poll::Ready(Ok(()))
        }
    }
    let (run, _script) = scripted("exec head -c 5");
    let (mut writer, input) = tokio::io::duplex(100);
    let reached = Arc::new(AtomicBool::new(false));
    let mut child = run.client.spawn("tool", &[], None, reader(input.chain(End(reached.clone())))).await.unwrap();
    writer.write_all(b"whole").await.unwrap();
    assert_eq!(output_of(&mut child, 5).await, "whole");
    let last = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(writer);
    });
    assert_eq!(child.wait().await.unwrap().unwrap().status, Ended::Code(0));
    assert!(reached.load(Ordering::SeqCst), "whoever wrote it is told that it was not read to its end");
    last.await.unwrap();
}

#[tokio::test]
async fn an_input_that_never_ends_does_not_keep_a_program_that_has() {
    let (run, _script) = scripted("exec head -c 5");
    let (mut writer, input) = tokio::io::duplex(100);
    let mut child = run.client.spawn("tool", &[], None, reader(input)).await.unwrap();
    writer.write_all(b"whole").await.unwrap();
    let since = std::time::Instant::now();
    assert_eq!(child.wait().await.unwrap().unwrap().status, Ended::Code(0));
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    writer.write_all(&[0; 200]).await.unwrap_err();
}

#[tokio::test]
async fn a_program_that_stops_reading_is_no_error() {
    let (run, _script) = scripted("head -c 10 >/dev/null; exec <&-; echo fine");
    let mut child = run.client.spawn("tool", &[], None, reader(tokio::io::repeat(7))).await.unwrap();
    assert_eq!(output(&mut child).await.unwrap(), "fine\n");
}

#[tokio::test]
async fn an_input_that_fails_kills_the_program() {
    let (run, _script) = scripted("cat >/dev/null; echo took-it-for-whole");
    let (mut writer, input) = tokio::io::duplex(100);
    let failing = input.chain(tokio_test_failure());
    let mut child = run.client.spawn("tool", &[], None, reader(failing)).await.unwrap();
    writer.write_all(b"half").await.unwrap();
    drop(writer);
    let error = output(&mut child).await.unwrap_err();
    assert_eq!(rota_capability::streams::error_of(&error), Error::Unavailable("the bucket is gone".into()));
    assert_eq!(child.wait().await.unwrap_err(), Error::Unavailable("the bucket is gone".into()));
}

/// A reader that fails at once.
pub(crate) fn tokio_test_failure() -> impl tokio::io::AsyncRead + Send {
    struct Failing;
    impl tokio::io::AsyncRead for Failing {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(rota_capability::streams::stream_error(Error::Unavailable(
                "the bucket is gone".into(),
            ))))
        }
    }
    Failing
}

#[tokio::test]
async fn an_output_that_nobody_takes_does_not_keep_a_program() {
    let (run, _script) = scripted("head -c 30000000 /dev/zero; echo done >&2");
    let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
    let finished = child.wait().await.unwrap().unwrap();
    assert_eq!((finished.status, finished.stderr.as_str()), (Ended::Code(0), "done\n"));
    assert!(matches!(child.stdout(), Err(Error::Conflict(_))));
}

#[tokio::test]
async fn a_plan_starts_nothing_and_lists_it() {
    let script = script("touch \"$0.ran\"");
    let run = Run::new(Mode::Plan, vec![tool("tool", &script.path, ToolProfile::Custom, &["it's", "plain"])]);
    let mut child =
        run.client.spawn("tool", &words(&["it's", "plain"]), None, reader(tokio::io::repeat(7))).await.unwrap();
    assert_eq!(output(&mut child).await.unwrap(), "");
    assert!(matches!(child.stdout(), Err(Error::Conflict(_))));
    assert_eq!(child.wait().await.unwrap(), None);
    child.kill().await.unwrap();
    let effects = run.ledger.effects();
    assert_eq!(effects.len(), 1);
    assert_eq!(
        (effects[0].record.operation, effects[0].record.detail.as_str(), effects[0].record.planned),
        ("tools.spawn", r"tool 'it'\''s' plain", true)
    );
    assert!(!script.path.with_extension("ran").exists() && run.private_folders().is_empty());
}

#[tokio::test]
async fn what_is_not_granted_is_denied() {
    let script = script("exit 0");
    let mut grant = tool("tool", &script.path, ToolProfile::Custom, &["ok"]);
    grant.accesses.clear();
    for (run, slot, text) in [
        (Run::new(Mode::Execute, vec![grant]), "tool", "--grant tool=run"),
        (Run::new(Mode::Execute, vec![]), "tool", "--bind tool="),
        (Run::new(Mode::Execute, vec![common::sql("tool", "postgres://h/d", &["read"])]), "tool", "another kind"),
    ] {
        let Err(Error::Denied(spawn)) = run.client.spawn(slot, &[], None, None).await else { panic!("not denied") };
        let Err(Error::Denied(info)) = run.client.info(slot).await else { panic!("not denied") };
        assert!(spawn.contains(text) && info.contains(text), "{spawn} / {info}");
        assert!(run.ledger.effects().is_empty());
    }
    let run = Run::new(Mode::Execute, vec![tool("tool", &script.path, ToolProfile::Custom, &["ok"])]);
    let Err(Error::Denied(text)) = run.client.spawn("tool", &words(&["other"]), None, None).await else {
        panic!("not denied")
    };
    assert!(text.contains("argument `other`") && run.gate.denials().1 == 1, "{text}");
}

#[tokio::test]
async fn unfit_programs_are_refused_before_anything_is_on_record() {
    for (path, text) in
        [("/nonexistent/tool", "does not exist"), ("/tmp", "regular file"), ("/etc/passwd", "not executable")]
    {
        let run = Run::new(Mode::Execute, vec![tool("tool", Path::new(path), ToolProfile::Custom, &[])]);
        let Err(Error::Unavailable(said)) = run.client.spawn("tool", &[], None, None).await else {
            panic!("{path} was started")
        };
        assert!(said.contains(text) && said.contains("tool-binding"), "{said}");
        assert!(run.ledger.effects().is_empty());
    }
}

#[tokio::test]
async fn a_file_that_is_no_program_is_told() {
    let script = script("");
    std::fs::write(&script.path, [0x7f, b'E', b'L', b'F', 9, 9]).unwrap();
    let run = Run::new(Mode::Execute, vec![tool("tool", &script.path, ToolProfile::Custom, &[])]);
    let Err(Error::Unavailable(said)) = run.client.spawn("tool", &[], None, None).await else {
        panic!("it was started")
    };
    assert!(said.contains("could not be started") && said.contains("Exec format error"), "{said}");
    assert_eq!(run.outcomes(), ["failed"]);
    assert!(run.private_folders().is_empty());
    // What the kernel cannot execute, a shell could: it must not get it.
    std::fs::write(&script.path, "echo a shell ran this\n").unwrap();
    let Err(Error::Unavailable(said)) = run.client.spawn("tool", &[], None, None).await else {
        panic!("it was started")
    };
    assert!(said.contains("Exec format error"), "{said}");
}

#[tokio::test]
async fn a_launcher_that_is_none_is_told() {
    let script = script("exit 0");
    let run = Run::with_launcher(
        Mode::Execute,
        vec![tool("tool", &script.path, ToolProfile::Custom, &[])],
        Path::new("/bin/true"),
    );
    let Err(Error::Unavailable(said)) = run.client.spawn("tool", &[], None, None).await else {
        panic!("it was started")
    };
    assert!(said.contains("could not be started"), "{said}");
    assert_eq!(run.outcomes(), ["failed"]);
}

#[tokio::test]
async fn a_version_is_asked_once_in_both_modes() {
    let counted = tempfile::tempdir().unwrap();
    // Landlock keeps the script from counting in a file, so it tells its time.
    let script = script("[ \"$1\" = --version ] && echo \"tool (Test) $(date +%s).$(date +%N)\"");
    for mode in [Mode::Plan, Mode::Execute] {
        let run = Run::new(mode, vec![tool("tool", &script.path, ToolProfile::Custom, &[])]);
        let first = run.client.info("tool").await.unwrap();
        assert_eq!(run.client.info("tool").await.unwrap(), first);
        assert!(run.ledger.effects().is_empty() && run.private_folders().is_empty());
        let text = std::fs::read_to_string(&script.path).unwrap();
        std::fs::write(&script.path, text + "\n").unwrap();
        assert_ne!(run.client.info("tool").await.unwrap(), first);
    }
    drop(counted);
}
