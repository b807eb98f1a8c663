//! Python in the sandbox: nothing of the machine is there, limits and breakdowns are named, and what it costs.

use crate::{component, rota};
use rota_testbed::Postgres;
use serde_json::{Value, json};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

#[tokio::test]
async fn nothing_of_the_machine_is_there() {
    // Somebody listens, so that a connection that was let out would succeed.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let datagrams = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let mut rota = rota();
    rota.set("OF_THE_HOST", "a-secret-of-the-host");
    let (component, port) = (component::probe(), format!("port={port}"));
    let arguments = ["run", component.to_str().unwrap(), "-p", "check=sandbox", "-p", &port, "--output", "json"];
    let object = rota.json(&arguments).await.unwrap();
    let mut data = object["report"]["data"].clone();
    let (slept, time, random) = (data["slept"].take(), data["time"].take(), data["random"].take());
    assert_eq!(
        data,
        json!({
            "environment": {},
            "arguments": [],
            "stdin": "done: ''",
            "getcwd_entries": "FileNotFoundError",
            "root_entries": "FileNotFoundError",
            "read_passwd": "FileNotFoundError",
            "read_own_source": "FileNotFoundError",
            "write": "FileNotFoundError",
            "write_here": "FileNotFoundError",
            "climb": "FileNotFoundError",
            "tcp": "PermissionError",
            "udp": "PermissionError",
            "listen": "PermissionError",
            "resolve": "gaierror",
            "subprocess": "OSError",
            "system": "AttributeError",
            "fork": "AttributeError",
            "slept": null,
            "time": null,
            "random": null,
        })
    );
    let none = std::io::ErrorKind::WouldBlock;
    assert_eq!(listener.accept().map(|_| ()).unwrap_err().kind(), none);
    assert_eq!(datagrams.recv(&mut [0; 8]).unwrap_err().kind(), none);
    // Clocks and random numbers are those of the run, not those of the build.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(slept.as_f64().unwrap() >= 0.02 && (time.as_f64().unwrap() - now).abs() < 60.0, "{slept} {time}");
    let again = rota.json(&arguments).await.unwrap();
    for (first, second) in random.as_array().unwrap().iter().zip(again["report"]["data"]["random"].as_array().unwrap())
    {
        assert_ne!(first, second);
    }
}

#[tokio::test]
async fn limits_and_breakdowns_are_named_and_the_traceback_is_in_the_log() {
    let component = component::probe();
    let rota = rota();
    let ended = [
        ("raise", "trap", "broke off", "KeyError: 'nobody catches this'"),
        ("recurse", "trap", "broke off", "RecursionError"),
        ("spin", "limit", "of CPU time", "about to misbehave"),
        ("hoard", "limit", "256 MiB of memory", "about to misbehave"),
    ];
    for (check, kind, message, logged) in ended {
        let check = format!("check={check}");
        let arguments = ["run", component.to_str().unwrap(), "-p", &check, "--limit", "cpu=5s", "--output", "json"];
        let said = rota.run(&arguments).await.unwrap();
        assert_eq!(said.status, Some(1), "{said:?}");
        let error = &said.json().unwrap()["error"];
        assert_eq!(error["kind"], kind, "{check}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{check}: {error}");
        let log = rota.run(&["runs", "logs", "last", "--output", "human"]).await.unwrap();
        assert!(log.stdout.contains(logged), "{check}: {log:?}");
    }
}

#[tokio::test]
async fn it_is_compiled_once_and_starts_at_once_within_little_memory() {
    let component = component::table_sizes();
    let database = Postgres::shared().await.unwrap().fresh_database("python").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let compiled = folder.path().join("compiled");
    let began = Instant::now();
    component::verify(&component, &compiled);
    let cold = began.elapsed();

    let rota = rota_tests::Rota::new(env!("CARGO_BIN_EXE_rota"), compiled.to_str().unwrap()).unwrap();
    let bind = format!("database={}", database.url());
    // An eighth of the default limit.
    let arguments =
        ["run", component.to_str().unwrap(), "--bind", &bind, "--limit", "memory=32MiB", "--output", "json"];
    let (mut warm, mut within) = (Duration::MAX, u64::MAX);
    for _ in 0..3 {
        let began = Instant::now();
        let object: Value = rota.json(&arguments).await.unwrap();
        warm = warm.min(began.elapsed());
        within = within.min(object["run"]["duration_ms"].as_u64().unwrap());
    }
    let size = std::fs::metadata(&component).unwrap().len() >> 20;
    println!("python: {size} MiB; check and compile {cold:.1?}; then a run {within} ms, the whole command {warm:.0?}");
    assert!(warm * 3 < cold, "compiled again? {warm:?} after {cold:?}");
}
