//! Every import of the contract, called as a test asks; the answer is `{"ok": ...}` or `{"error": kind, "text": ...}`.

use crate::bindings::rota::runbook::sql::{Isolation, Session, TransactionOptions, Value as Sql};
use crate::bindings::rota::runbook::storage::{Bucket, PutOptions, Range};
use crate::bindings::rota::runbook::tools::Connection;
use crate::bindings::rota::runbook::types::Error;
use crate::bindings::rota::runbook::{bytes, process, run, tools};
use crate::bindings::wit_stream;
use serde_json::{Value, json};
use wit_bindgen::StreamReader;

pub(crate) fn said(error: &Error) -> Value {
    let (kind, text) = match error {
        Error::Denied(t) => ("denied", t.clone()),
        Error::InvalidArgument(t) => ("invalid-argument", t.clone()),
        Error::NotFound(t) => ("not-found", t.clone()),
        Error::Conflict(t) => ("conflict", t.clone()),
        Error::TimedOut(t) => ("timed-out", t.clone()),
        Error::Cancelled => ("cancelled", String::new()),
        Error::Unavailable(t) => ("unavailable", t.clone()),
        Error::Failed(f) => ("failed", format!("{} {} {}", f.code, f.message, f.detail.clone().unwrap_or_default())),
        Error::Quota(t) => ("quota", t.clone()),
    };
    LAST.with_borrow_mut(|last| *last = Some(error.clone()));
    json!({ "error": kind, "text": text })
}

pub(crate) fn answer<T>(result: Result<T, Error>, show: impl FnOnce(T) -> Value) -> Value {
    match result {
        Ok(value) => json!({ "ok": show(value) }),
        Err(error) => said(&error),
    }
}

/// A stream of the guest's own.
pub(crate) fn stream_of(data: Vec<u8>) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        writer.write_all(data).await;
    });
    reader
}

pub(crate) async fn read_all(mut stream: StreamReader<u8>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(64 * 1024)).await;
        all.extend_from_slice(&chunk);
        if !matches!(result, wit_bindgen::StreamResult::Complete(_)) {
            return all;
        }
    }
}

pub(crate) fn text<'v>(call: &'v Value, key: &str) -> &'v str {
    call[key].as_str().unwrap_or_default()
}

fn shown(value: &Sql) -> Value {
    match value {
        Sql::Null => Value::Null,
        Sql::Boolean(b) => json!(b),
        Sql::Int16(n) => json!(n),
        Sql::Int32(n) => json!(n),
        Sql::Int64(n) => json!(n),
        Sql::Text(t) | Sql::Numeric(t) | Sql::Uuid(t) | Sql::Json(t) | Sql::Inet(t) | Sql::Regclass(t) => json!(t),
        other => json!(format!("{other:?}")),
    }
}

/// Make one call; the error too, where it gave one.
pub(crate) async fn call(call: &Value) -> (Value, Option<Error>) {
    LAST.with_borrow_mut(|last| *last = None);
    let answer = made(call).await;
    (answer, LAST.with_borrow_mut(Option::take))
}

std::thread_local! {
    /// The error of the call under way, kept for a failure's cause.
    static LAST: std::cell::RefCell<Option<Error>> = const { std::cell::RefCell::new(None) };
}

async fn made(call: &Value) -> Value {
    let import = text(call, "import");
    match import.split('.').next().unwrap_or_default() {
        "sql" => sql(import, call).await,
        "storage" => storage(import, call).await,
        "cache" => crate::caches::call(import, call).await,
        "jetstream" => crate::streams::call(import, call).await,
        "tools" | "process" => tool(import, call).await,
        "bytes" => filter(import, call).await,
        "run" => of_run(import, call).await,
        "kubernetes" => crate::cluster::call(import, call).await,
        _ => json!({ "error": "no such import", "text": import }),
    }
}

pub(crate) fn slot<'v>(call: &'v Value, default: &'v str) -> String {
    call["slot"].as_str().unwrap_or(default).to_owned()
}

async fn rows(result: Result<crate::bindings::rota::runbook::sql::Answer, Error>) -> Value {
    let (columns, mut stream, end) = match result {
        Ok(answer) => answer,
        Err(error) => return said(&error),
    };
    let mut rows = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(256)).await;
        rows.extend(chunk.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>()));
        if !matches!(result, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    let names: Vec<_> = columns.iter().map(|c| c.name.clone()).collect();
    answer(end.await, |count| json!({ "count": count, "columns": names, "rows": rows }))
}

async fn sql(import: &str, call: &Value) -> Value {
    let opened = match (import, call["database"].as_str()) {
        ("sql.session.open-database", name) => {
            Session::open_database(slot(call, "database"), name.unwrap_or("postgres").into()).await
        }
        (_, Some(name)) => Session::open_database(slot(call, "database"), name.into()).await,
        (_, None) => Session::open(slot(call, "database")).await,
    };
    let session = match opened {
        Ok(session) => session,
        Err(error) => return said(&error),
    };
    let statement = call["statement"].as_str().unwrap_or("select 1").to_owned();
    let write = call["statement"].as_str().unwrap_or("insert into probe values (1)").to_owned();
    let options = TransactionOptions { isolation: Isolation::ReadCommitted, read_only: false, lock_timeout: None };
    let pid = call["pid"].as_u64().and_then(|p| u32::try_from(p).ok()).unwrap_or(1);
    let start = call["start"].as_i64().unwrap_or(0);
    match import {
        "sql.session.open" | "sql.session.open-database" => json!({ "ok": null }),
        "sql.session.server" => answer(session.server().await, |s| json!({ "version": s.version_num, "role": s.role })),
        "sql.session.query" => rows(session.query(statement, vec![]).await).await,
        "sql.session.execute" => answer(session.execute(write, vec![]).await, |n| json!(n)),
        "sql.session.begin" => answer(session.begin(options).await, |_| json!(null)),
        "sql.session.copy-out" => {
            match session.copy_out(call["statement"].as_str().unwrap_or("copy (select 1) to stdout").into()).await {
                Ok((data, end)) => {
                    let data = read_all(data).await;
                    answer(end.await, |n| json!({ "rows": n, "text": String::from_utf8_lossy(&data) }))
                }
                Err(error) => said(&error),
            }
        }
        "sql.session.copy-in" => {
            let data = stream_of(call["data"].as_str().unwrap_or("1\n").as_bytes().to_vec());
            answer(
                session.copy_in(call["statement"].as_str().unwrap_or("copy probe from stdin").into(), data).await,
                |n| json!(n),
            )
        }
        "sql.session.notices" => json!({ "ok": session.notices().len() }),
        "sql.session.backend-pid" => json!({ "ok": session.backend_pid() }),
        "sql.session.configure" => {
            answer(session.configure(text(call, "name").into(), text(call, "value").into()).await, |()| json!(null))
        }
        "sql.session.cancel-backend" => answer(session.cancel_backend(pid, start).await, |hit| json!(hit)),
        "sql.session.terminate-backend" => answer(session.terminate_backend(pid, start).await, |hit| json!(hit)),
        "sql.session.reload-configuration" => answer(session.reload_configuration().await, |told| json!(told)),
        "sql.session.promote" => answer(session.promote(1).await, |done| json!(done)),
        _ => {
            let transaction = match session.begin(options).await {
                Ok(transaction) => transaction,
                Err(error) => return said(&error),
            };
            match import {
                "sql.transaction.query" => rows(transaction.query(statement, vec![]).await).await,
                "sql.transaction.execute" => {
                    let result = transaction.execute(write, vec![]).await;
                    if call["commit"].as_bool() == Some(true)
                        && let Err(error) = transaction.commit().await
                    {
                        return said(&error);
                    }
                    answer(result, |n| json!(n))
                }
                "sql.transaction.commit" => answer(transaction.commit().await, |()| json!(null)),
                "sql.transaction.rollback" => answer(transaction.rollback().await, |()| json!(null)),
                _ => json!({ "error": "no such import", "text": import }),
            }
        }
    }
}

async fn storage(import: &str, call: &Value) -> Value {
    let bucket = match Bucket::open(slot(call, "bucket")).await {
        Ok(bucket) => bucket,
        Err(error) => return said(&error),
    };
    let name = call["name"].as_str().unwrap_or("probe.txt").to_owned();
    match import {
        "storage.bucket.open" => json!({ "ok": null }),
        "storage.bucket.put" => {
            let data = stream_of(call["data"].as_str().unwrap_or("probe").as_bytes().to_vec());
            let options = PutOptions {
                if_absent: call["if-absent"].as_bool().unwrap_or(false),
                size_estimate: call["size"].as_u64(),
                media_type: None,
                sha256: call["sha256"].as_str().map(str::to_owned),
            };
            answer(bucket.put(name, data, options).await, |s| json!({ "size": s.size, "sha256": s.sha256 }))
        }
        "storage.bucket.get" => {
            let range = call["offset"].as_u64().map(|offset| Range { offset, length: call["length"].as_u64() });
            match bucket.get(name, range).await {
                Ok((object, data, end)) => {
                    let data = read_all(data).await;
                    answer(
                        end.await,
                        |n| json!({ "bytes": n, "size": object.size, "text": String::from_utf8_lossy(&data) }),
                    )
                }
                Err(error) => said(&error),
            }
        }
        "storage.bucket.stat" => answer(bucket.stat(name).await, |o| json!({ "name": o.name, "size": o.size })),
        "storage.bucket.list" => match bucket.list(call["prefix"].as_str().unwrap_or("").into()).await {
            Ok((mut objects, end)) => {
                let mut names = Vec::new();
                while let Some(object) = objects.next().await {
                    names.push(object.name);
                }
                answer(end.await, |n| json!({ "count": n, "names": names }))
            }
            Err(error) => said(&error),
        },
        "storage.bucket.delete" => answer(bucket.delete(name).await, |()| json!(null)),
        _ => json!({ "error": "no such import", "text": import }),
    }
}

async fn tool(import: &str, call: &Value) -> Value {
    let slot = slot(call, "program");
    if import == "tools.info" {
        return answer(tools::info(slot).await, |i| json!({ "version": i.version, "major": i.major }));
    }
    let arguments =
        call["arguments"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let connection = call["connection"]
        .as_str()
        .map(|slot| Connection { slot: slot.into(), database: call["database"].as_str().map(str::to_owned) });
    let stdin = call["stdin"].as_str().map(|data| stream_of(data.as_bytes().to_vec()));
    let child = match tools::spawn(slot, arguments, connection, stdin).await {
        Ok(child) => child,
        Err(error) => return said(&error),
    };
    if import == "process.child.kill" {
        return answer(child.kill().await, |()| json!(null));
    }
    let stdout = match child.stdout() {
        Ok(stdout) => String::from_utf8_lossy(&read_all(stdout).await).into_owned(),
        Err(error) => return said(&error),
    };
    answer(child.wait().await, |ended| {
        let status = match ended.status {
            process::ExitStatus::Code(code) => json!({ "code": code }),
            process::ExitStatus::Signal(signal) => json!({ "signal": signal }),
            process::ExitStatus::Planned => json!("planned"),
        };
        json!({ "status": status, "stdout": stdout, "stderr": ended.stderr })
    })
}

async fn filter(import: &str, call: &Value) -> Value {
    let data = stream_of(call["data"].as_str().unwrap_or("probe").as_bytes().to_vec());
    let filtered = match import {
        "bytes.tee-sha256" => Ok(bytes::tee_sha256(data)),
        "bytes.count" => Ok(bytes::count(data)),
        "bytes.compress" => bytes::compress(data, bytes::Codec::Zstd(1)),
        "bytes.decompress" => match bytes::compress(data, bytes::Codec::Zstd(1)) {
            Ok((packed, _)) => Ok(bytes::decompress(packed, bytes::Coding::Zstd)),
            Err(error) => Err(error),
        },
        "bytes.encrypt" => bytes::encrypt(data, &[text(call, "recipient").to_owned()]),
        // Encrypted first, so that a test needs no age file.
        "bytes.decrypt" => match bytes::encrypt(data, &[text(call, "recipient").to_owned()]) {
            Ok((sealed, _)) => bytes::decrypt(sealed, &slot(call, "key")),
            Err(error) => Err(error),
        },
        "bytes.rate-limit" => bytes::rate_limit(data, 1 << 20),
        "bytes.drain" => return answer(bytes::drain(data).await, |p| json!({ "in": p.bytes_in })),
        _ => return json!({ "error": "no such import", "text": import }),
    };
    let (out, end) = match filtered {
        Ok(filtered) => filtered,
        Err(error) => return said(&error),
    };
    let out = read_all(out).await;
    answer(
        end.await,
        |p| json!({ "in": p.bytes_in, "out": p.bytes_out, "sha256": p.sha256, "text": String::from_utf8_lossy(&out) }),
    )
}

async fn of_run(import: &str, call: &Value) -> Value {
    match import {
        "run.mode" => json!({ "ok": format!("{:?}", run::mode()) }),
        "run.info" => {
            let info = run::info();
            json!({ "ok": { "id": info.id, "attempt": info.attempt, "job": info.job } })
        }
        "run.slots" => {
            json!({ "ok": run::slots().into_iter().map(|s| json!({ "name": s.name, "binding": s.binding, "accesses": s.accesses })).collect::<Vec<_>>() })
        }
        "run.log" => {
            run::log(run::Level::Info, text(call, "message"), &[]);
            json!({ "ok": null })
        }
        "run.progress" => {
            run::progress(1, Some(2), "steps", "probing");
            json!({ "ok": null })
        }
        "run.metric" => {
            run::metric("probe", &[], 1.0, run::MetricKind::Gauge);
            json!({ "ok": null })
        }
        "run.artifact" => {
            let data = stream_of(vec![b'x'; usize::try_from(call["size"].as_u64().unwrap_or(10)).unwrap_or(10)]);
            answer(
                run::artifact(call["name"].as_str().unwrap_or("probe.txt").into(), "text/plain".into(), data).await,
                |n| json!(n),
            )
        }
        _ => crate::durable::call(import, call).await,
    }
}
