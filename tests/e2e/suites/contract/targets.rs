//! What the imports reach: a server that logs every statement, a folder, a program, a key; and an independent look at each.

use super::table::{Case, Named, Trace};
use rota_testbed::{Cluster, Namespace, Nats, Postgres, PostgresOptions, Valkey, eventually};
use rota_tests::{Rota, probe};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) struct Targets {
    rota: Rota,
    server: Postgres,
    cache: Valkey,
    nats: Nats,
    /// Where the server's log ended before the run under test.
    recipient: String,
    session: (u64, i64),
    namespace: Namespace,
    /// Kept: it is what `terminate-backend` ends.
    _victim: PgConnection,
}

/// Who makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// The probe, in Rust.
    Probe,
    /// The one in JavaScript (script.js).
    Script,
    /// The one in Python (python/), which has what no script has.
    Python,
}

/// What a run answered.
pub(super) struct Ran {
    pub(super) answers: Vec<Value>,
    pub(super) effects: Vec<Value>,
}

const DATABASE: &str = "targets";

impl Targets {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let config = vec!["log_statement = all".to_owned()];
        let server = Postgres::start(PostgresOptions { config, pgvector: false, ..PostgresOptions::default() }).await?;
        server.create_database(DATABASE).await?;
        server.execute(DATABASE, "create table probe (n int, t text); insert into probe values (0, 'there')").await?;
        let cache = Valkey::start().await?;
        let nats = Nats::start().await?;
        let mut events = nats.client().await?;
        events.stream("PROBE", &json!({})).await?;
        events.store("PROBE.a", 1, "c4nary-payload").await?;
        let mut plain = cache.client().await?;
        for key in ["there", "match:1", "match:2", "match:3", "doomed", "expiring"] {
            plain.call(&["SET", &format!("probe:{key}"), "x"]).await?;
        }
        for key in ["probe:hash", "probe:onefield"] {
            plain.call(&["HSET", key, "f", "v"]).await?;
        }
        let mut rota = crate::rota();
        rota.set("TARGETS_URL", server.url(DATABASE));
        // For what is built in Python; without it those tests say what is missing.
        if let Ok(programs) = rota_testbed::tool("bin") {
            rota.set("PATH", format!("/usr/local/bin:/usr/bin:/bin:{}", programs.display()));
        }
        // What ALTER SYSTEM may set is the configuration's to say, and no flag's.
        rota.configure(
            "[bindings.database]\nkind = \"sql\"\nurl = \"env:TARGETS_URL\"\nalter_system = [\"work_mem\"]\n",
        )?;
        std::fs::create_dir(rota.path("bucket"))?;
        std::fs::write(rota.path("bucket/there.txt"), "there")?;
        std::fs::write(rota.path("bucket/doomed.txt"), "doomed")?;
        let identity = age::x25519::Identity::generate();
        crate::write_private(&rota.path("key.txt"), &crate::exposed(&identity))?;
        let mut victim = server.connect(DATABASE).await?;
        let (pid, start): (i32, i64) = sqlx::query_as(
            "select pid, (extract(epoch from backend_start) * 1000000)::int8 from pg_stat_activity where pid = pg_backend_pid()",
        )
        .fetch_one(&mut victim)
        .await?;
        let session = (u64::from(pid.unsigned_abs()), start);
        let recipient = identity.to_public().to_string();
        let namespace = Cluster::shared().await?.namespace("targets").await?;
        namespace.apply(&objects()).await?;
        namespace.kubectl(["wait", "pod/idle", "--for=condition=Ready", "--timeout=50s"]).await?;
        Ok(Self { rota, server, cache, nats, recipient, session, namespace, _victim: victim })
    }

    pub(super) fn named(&self) -> Named {
        Named { session: self.session, recipient: self.recipient.clone() }
    }

    pub(super) fn bind(&self) -> Vec<String> {
        let program = self.server.program("pg_dump").unwrap();
        let kubeconfig = self.namespace.kubeconfig_for(self.namespace.cluster().token()).unwrap();
        [
            "database=database".to_owned(),
            format!("bucket=file://{}", self.rota.path("bucket").display()),
            format!("program={}", program.display()),
            format!("key=file:{}", self.rota.path("key.txt").display()),
            format!("cache={}", self.cache.url()),
            format!("stream={}?monitoring={}", self.nats.url(), self.nats.monitoring()),
            format!("cluster=kubernetes://{}", kubeconfig.display()),
        ]
        .into_iter()
        .flat_map(|binding| ["--bind".to_owned(), binding])
        .collect()
    }

    /// The same for some slots only: what a guest does not declare cannot be bound.
    pub(super) fn bind_of(&self, slots: &[&str]) -> Vec<String> {
        let all = self.bind();
        let of = |binding: &str| slots.iter().any(|slot| binding.starts_with(&format!("{slot}=")));
        all.chunks(2).filter(|pair| of(&pair[1])).flatten().cloned().collect()
    }

    /// One run that makes all the calls, one after the other; it must succeed, whatever the calls say.
    pub(super) async fn run(&self, cases: &[Case], flags: &[String]) -> Ran {
        self.run_by(Guest::Probe, cases, flags).await
    }

    /// The same by a guest in another language.
    pub(super) async fn run_by(&self, guest: Guest, cases: &[Case], flags: &[String]) -> Ran {
        let calls: Vec<Value> = cases.iter().map(Case::call).collect();
        let mut arguments = vec!["run".to_owned()];
        match guest {
            Guest::Probe => {
                arguments.push(probe::path().display().to_string());
                arguments.extend(probe::arguments("calls", &json!({ "calls": calls })));
            }
            Guest::Script => {
                let file = self.rota.path("work/script-probe.wasm");
                if !file.is_file() {
                    std::fs::write(&file, rota_catalog::javascript(include_str!("script.js")).unwrap()).unwrap();
                }
                arguments.extend([file.display().to_string(), "-p".to_owned(), format!("calls={}", json!(calls))]);
            }
            Guest::Python => {
                let file = self.python().await;
                arguments.extend([file.display().to_string(), "-p".to_owned(), format!("calls={}", json!(calls))]);
            }
        }
        arguments.extend_from_slice(flags);
        let answer = self.rota.json(&arguments).await.unwrap();
        let data = &answer["report"]["data"];
        let answers = data.as_array().or(data["answers"].as_array()).unwrap_or_else(|| panic!("{answer}")).clone();
        assert_eq!(answers.len(), cases.len());
        Ran { answers, effects: answer["effects"].as_array().unwrap().clone() }
    }

    /// The component in Python, built when it is first wanted.
    async fn python(&self) -> std::path::PathBuf {
        let folder = self.rota.path("work/python-calls");
        let file = folder.join("python-calls.wasm");
        if !file.is_file() {
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("app.py"), include_str!("python/app.py")).unwrap();
            std::fs::write(folder.join("world.wit"), include_str!("python/world.wit")).unwrap();
            let build = ["plugin", "build", "python-calls"];
            let said = self.rota.run_within(&build, Duration::from_secs(240)).await.unwrap();
            assert_eq!(said.status, Some(0), "{said:?}");
        }
        file
    }

    /// The same calls after a run was cancelled; what each answers in the run's grace.
    pub(super) async fn run_cancelled(&self, cases: &[Case], flags: &[String]) -> Vec<Value> {
        let mut calls = vec![probe::call("run.sleep", json!({ "milliseconds": 3_600_000 }))];
        calls.extend(cases.iter().map(Case::call));
        let mut arguments = vec!["run".to_owned(), probe::path().display().to_string()];
        arguments.extend(probe::arguments("calls", &json!({ "calls": calls })));
        arguments.extend_from_slice(flags);
        let running = self.rota.start(&arguments).unwrap();
        eventually(Duration::from_secs(30), "the run to begin", async || {
            let runs = self.rota.json(&["runs", "list"]).await?;
            Ok((runs[0]["status"] == "running").then_some(()))
        })
        .await
        .unwrap();
        running.signal(Signal::INT).unwrap();
        let said = running.end().await.unwrap();
        assert_eq!(said.status, Some(130), "{said:?}");
        let answer = said.json().unwrap();
        assert_eq!(answer["effects"], json!([]), "nothing begins in the grace");
        answer["report"]["data"].as_array().unwrap_or_else(|| panic!("{answer}"))[1..].to_vec()
    }

    /// The imports that the last run's recording has.
    pub(super) fn recorded_operations(&self) -> BTreeSet<String> {
        use std::io::BufRead as _;
        let files = rota_tests::files(&self.rota.state().join("artifacts"));
        let file = files.iter().find(|file| file.ends_with("recording")).expect("a recording");
        let decoder = zstd::stream::read::Decoder::new(std::fs::File::open(file).unwrap()).unwrap();
        let lines = std::io::BufReader::new(decoder).lines().map(Result::unwrap);
        let line = |line: String| serde_json::from_str::<Value>(&line).unwrap()["ask"].as_str().map(str::to_owned);
        lines.filter_map(line).collect()
    }

    /// Stops everything but the host, which is answered.
    pub(super) async fn gone(self) -> anyhow::Result<Rota> {
        let Self { rota, mut server, mut cache, nats, namespace, _victim, .. } = self;
        server.stop().await?;
        cache.kill();
        drop((nats, namespace, _victim));
        std::fs::remove_dir_all(rota.path("bucket"))?;
        std::fs::remove_file(rota.path("key.txt"))?;
        Ok(rota)
    }

    async fn is_touched(&self, trace: Trace) -> bool {
        let bucket = self.rota.path("bucket");
        match trace {
            Trace::Statement(text) => self.server.log().contains(text),
            Trace::Made(name) => bucket.join(name).exists(),
            Trace::Gone(name) => !bucket.join(name).exists(),
            Trace::KeyMade(key) => self.has_key(key).await,
            Trace::KeyGone(key) => !self.has_key(key).await,
            Trace::SessionEnded => !self.session_lives().await,
            Trace::InCluster(words, text) => self.namespace.kubectl(words.split(' ')).await.unwrap().contains(text),
            Trace::GoneFromCluster(words, text) => {
                !self.namespace.kubectl(words.split(' ')).await.unwrap().contains(text)
            }
            Trace::AskedOfJetstream(page) => {
                self.nats.page("/varz").await.unwrap()["http_req_stats"][page].as_u64().unwrap_or(0) > 0
            }
            Trace::None => false,
        }
    }

    async fn has_key(&self, key: &str) -> bool {
        let mut plain = self.cache.client().await.unwrap();
        plain.call(&["EXISTS", key]).await.unwrap().integer() == Some(1)
    }

    async fn session_lives(&self) -> bool {
        let mut connection = self.server.connect(DATABASE).await.unwrap();
        let pid = i32::try_from(self.session.0).unwrap();
        let lives: bool = sqlx::query_scalar("select exists(select from pg_stat_activity where pid = $1)")
            .bind(pid)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        lives
    }

    pub(super) async fn untouched(&self, cases: &[Case]) {
        for case in cases {
            assert!(!self.is_touched(case.trace).await, "{} reached its target: {:?}", case.import, case.trace);
        }
    }

    pub(super) async fn touched(&self, cases: &[Case]) {
        for case in cases.iter().filter(|case| !matches!(case.trace, Trace::None)) {
            // A session that was ended takes a moment to be gone.
            let seen = eventually(Duration::from_secs(5), "the trace of the call", async || {
                Ok(self.is_touched(case.trace).await.then_some(()))
            })
            .await;
            assert!(seen.is_ok(), "{} did not reach its target: {:?}", case.import, case.trace);
        }
    }
}

/// What the calls find in the cluster.
fn objects() -> String {
    let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "1" } });
    let container =
        json!({ "name": "main", "image": "busybox:1", "command": ["sh", "-c", "echo begun; exec sleep 600"] });
    let spec = json!({ "terminationGracePeriodSeconds": 0, "containers": [container] });
    let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": spec });
    let web = json!({ "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": template });
    let items = [
        map("there"),
        map("doomed"),
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "idle" }, "spec": spec }),
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": web }),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}
