//! Programs in a pod or a Job, SQL through a port-forward: chosen by the binding, unseen by the plugin.

use rota_testbed::{Cluster, Database, Namespace, Postgres, PostgresVersion};
use rota_tests::{Rota, probe};
use serde_json::{Value, json};
use std::time::Duration;

/// A namespace with a pod of the database's programs, a database, and a host whose bindings lead there.
pub(crate) struct World {
    pub(crate) rota: Rota,
    /// None where the test needs no cluster.
    pub(crate) cluster: Option<Namespace>,
    pub(crate) database: Database,
    /// The login of the sql binding `shop`: a role of the test's own, so that its password is nobody else's.
    pub(crate) password: String,
}

/// An idle pod with the programs of PostgreSQL 16.
pub(crate) const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tools", "labels": {"app": "tools"}}, "spec": {
    "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "postgres:16", "command": ["sleep", "600"]}]}}"#;

impl World {
    pub(crate) async fn new(name: &str) -> Self {
        let namespace = Cluster::shared().await.unwrap().namespace(name).await.unwrap();
        Self::of(name, Some(namespace)).await
    }

    /// Without the binding `prod`.
    pub(crate) async fn without_cluster(name: &str) -> Self {
        Self::of(name, None).await
    }

    async fn of(name: &str, cluster: Option<Namespace>) -> Self {
        let server = Postgres::shared().await.unwrap();
        let database = server.fresh_database(name).await.unwrap();
        let (role, password) = server.fresh_role(name, "superuser").await.unwrap();
        let mut rota = crate::rota();
        rota.set("SHOP", database.url_as(&role, &password));
        let world = Self { rota, cluster, database, password };
        world.bind("");
        world
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        self.cluster.as_ref().unwrap()
    }

    /// The bindings `prod` and `shop`, and more.
    pub(crate) fn bind(&self, more: &str) {
        let cluster = self.cluster.as_ref().map_or_else(String::new, |namespace| {
            let kubeconfig = namespace.kubeconfig_for(namespace.cluster().token()).unwrap();
            format!("[bindings.prod]\nkind = \"kubernetes\"\nkubeconfig = \"file:{}\"\n", kubeconfig.display())
        });
        let toml = format!("{cluster}[bindings.shop]\nkind = \"sql\"\nurl = \"env:SHOP\"\n{more}\n");
        self.rota.configure(&toml).unwrap();
    }

    pub(crate) async fn pod(&self) {
        self.namespace().apply(POD).await.unwrap();
        self.namespace().kubectl(["wait", "pod/tools", "--for=condition=Ready", "--timeout=50s"]).await.unwrap();
    }

    /// A tool binding in the pod.
    fn tool(&self, name: &str, path: &str, more: &str) -> String {
        format!(
            "[bindings.{name}]\nkind = \"tool\"\npath = \"{path}\"\n{more}\n\
             place.pod = {{ cluster = \"prod\", selector = \"app=tools\", container = \"main\" }}\n"
        )
    }

    fn pg(&self, program: &str) -> String {
        PostgresVersion::V16.programs().unwrap().join(program).display().to_string()
    }

    async fn calls(&self, calls: &[Value], flags: &[&str]) -> (Vec<Value>, Value) {
        let mut arguments = vec!["run".to_owned(), probe::path().display().to_string()];
        arguments.extend(probe::arguments("calls", &json!({ "calls": calls })));
        arguments.extend(flags.iter().map(ToString::to_string));
        let answer = self.rota.json(&arguments).await.unwrap_or_else(|error| panic!("{error}"));
        let answers = answer["report"]["data"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        (answers, answer)
    }

    /// Processes by what the node sees of them: `cmdline` or `environ` holds a text.
    fn processes_with(file: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |file: &str| {
                std::fs::read(entry.path().join(file)).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
            };
            if read(file).is_ok_and(|content| content.contains(text)) {
                found.push(format!("{}: {}", entry.path().display(), read("cmdline").unwrap_or_default()));
            }
        }
        found
    }
}

const PROGRAM: [&str; 4] = ["--bind", "program=run_here", "--grant", "program=run"];

#[tokio::test]
async fn a_place_that_cannot_be_is_refused_at_configuration() {
    let rota = crate::rota();
    let cluster = "[bindings.prod]\nkind = \"kubernetes\"\nkubeconfig = \"file:/none\"\nnamespaces = [\"db\"]\naccess = [\"read\", \"run\"]\n";
    let image = format!("registry/a@sha256:{}", "0".repeat(64));
    for (more, said) in [
        ("place.pod = { cluster = \"prd\", selector = \"a=b\" }", "there is no binding \"prd\" of kind kubernetes"),
        ("place.pod = { cluster = \"prod\", selector = \"a=b\" }", "bindings.prod.access does not allow \"exec\""),
        ("place.pod = { cluster = \"prod\", selector = \"a in (b)\" }", "no list of labels KEY=VALUE"),
        ("place.job = { cluster = \"prod\", image = \"a:1\" }", "not pinned by its digest"),
        (
            &format!("place.job = {{ cluster = \"prod\", namespace = \"web\", image = \"{image}\" }}"),
            "does not reach the namespace web",
        ),
        ("place = {}", "either a pod or a job"),
        ("place.pod = { cluster = \"prod\", selektor = \"a=b\" }", "did you mean \"selector\""),
    ] {
        let toml = format!(
            "{cluster}[bindings.tool]\nkind = \"tool\"\npath = \"/usr/bin/tool\"\nprofile = \"custom\"\narguments = [\"a\"]\n{more}\n"
        );
        rota.configure(&toml).unwrap();
        let answer = rota.run(&["config", "check"]).await.unwrap();
        assert_eq!(answer.status, Some(2), "{more}: {answer:?}");
        assert!(answer.all().replace("\\\"", "\"").contains(said), "{more}: {}", answer.all());
    }
    for (path, more, said) in [
        ("pg_restore", "place.pod = { cluster = \"prod\", selector = \"a=b\" }".to_owned(), "cut off near 192 KiB"),
        (
            "pg_dump",
            format!("place.job = {{ cluster = \"prod\", image = \"{image}\" }}"),
            "the log of a Job holds only lines",
        ),
        ("pg_dump", "connection = [\"read\"]".to_owned(), "goes with profile = \"custom\""),
    ] {
        let toml = format!("{cluster}[bindings.tool]\nkind = \"tool\"\npath = \"/usr/bin/{path}\"\n{more}\n");
        rota.configure(&toml).unwrap();
        let answer = rota.run(&["config", "check"]).await.unwrap();
        assert!(
            answer.status == Some(2) && answer.all().replace("\\\"", "\"").contains(said),
            "{path}: {}",
            answer.all()
        );
    }
    let sql = "[bindings.s]\nkind = \"sql\"\nurl = \"postgres://a@db/x\"\nthrough = { cluster = \"prod\" }\n";
    rota.configure(&format!("{cluster}{sql}")).unwrap();
    let answer = rota.run(&["config", "check"]).await.unwrap();
    assert!(answer.status == Some(2) && answer.all().contains("either a service or a pod"), "{}", answer.all());
}

#[tokio::test]
async fn a_program_in_a_pod_tells_its_version_its_codes_and_its_refusals() {
    let world = World::new("codes").await;
    world.pod().await;
    let shell = world.tool("run_here", "/bin/sh", "profile = \"custom\"\narguments = [\"-c\", \"exit 7\", \"echo out; echo err >&2; exit 3\", \"kill -9 $$\", \"cat\", \"ulimit -t\"]\ncpu = \"77s\"");
    world.bind(&format!("{shell}{}", world.tool("dump", &world.pg("pg_dump"), "")));
    let spawn = |line: &str| probe::call("tools.spawn", json!({ "arguments": ["-c", line] }));
    let kinds = ["exit 7", "echo out; echo err >&2; exit 3", "kill -9 $$", "cat", "ulimit -t", "rm -rf /"];
    let (answers, _) = world.calls(&kinds.map(spawn), &PROGRAM).await;
    assert_eq!(answers[0]["ok"]["status"], json!({ "code": 7 }), "{answers:?}");
    assert_eq!(answers[1]["ok"]["status"], json!({ "code": 3 }));
    assert_eq!(answers[1]["ok"]["stdout"], "out\n");
    assert!(answers[1]["ok"]["stderr"].as_str().unwrap().contains("err"), "{answers:?}");
    assert_eq!(answers[2]["ok"]["status"], json!({ "code": 137 }), "{answers:?}");
    // Its input is empty, and its limits hold.
    assert_eq!((&answers[3]["ok"]["status"], &answers[3]["ok"]["stdout"]), (&json!({ "code": 0 }), &json!("")));
    assert_eq!(answers[4]["ok"]["stdout"], "77\n", "{answers:?}");
    assert_eq!(answers[5]["error"], "denied", "the profile holds there as here: {answers:?}");
    // Bulk input is refused with words, before anything runs.
    let fed = probe::call("tools.spawn", json!({ "arguments": ["-c", "cat"], "stdin": "x" }));
    let (answers, run) = world.calls(&[fed], &PROGRAM).await;
    assert!(answers[0]["text"].as_str().unwrap().contains("cut off near 192 KiB"), "{answers:?}");
    assert_eq!(run["effects"], json!([]));
    // A plan starts nothing.
    let (answers, _) = world.calls(&[spawn("exit 7")], &[&PROGRAM[..], &["--plan"]].concat()).await;
    assert_eq!(answers[0]["ok"]["status"], "planned", "{answers:?}");

    let (answers, _) = world
        .calls(&[probe::call("tools.info", json!({}))], &["--bind", "program=dump", "--grant", "program=run"])
        .await;
    assert_eq!(answers[0]["ok"]["major"], 16, "{answers:?}");
    let doctor = world.rota.run(&["doctor", "--binding", "dump"]).await.unwrap();
    assert!(
        doctor.status == Some(0) && doctor.all().contains("version 16") && doctor.all().contains("/tools of prod"),
        "{doctor:?}"
    );
    world.namespace().kubectl(["delete", "pod/tools", "--wait=true"]).await.unwrap();
    let doctor = world.rota.run(&["doctor", "--binding", "dump"]).await.unwrap();
    assert!(doctor.status == Some(1) && doctor.all().contains("no ready pod with app=tools"), "{doctor:?}");
}

#[tokio::test]
async fn a_backup_by_a_pods_pg_dump_restores_equal_and_leaves_the_password_nowhere() {
    let world = World::new("dump").await;
    world
        .database
        .execute("create table orders (id int primary key, note text); insert into orders select i, repeat(md5(i::text), 20) from generate_series(1, 20000) i")
        .await
        .unwrap();
    world.pod().await;
    let bucket = world.rota.path("bucket");
    std::fs::create_dir(&bucket).unwrap();
    world.bind(&format!(
        "{}{}[bindings.backups]\nkind = \"storage\"\nurl = \"file://{}\"\n[bindings.pg_restore]\nkind = \"tool\"\npath = \"{}\"\n",
        world.tool("pg_dump", &world.pg("pg_dump"), ""),
        world.tool("pg_dumpall", &world.pg("pg_dumpall"), ""),
        bucket.display(),
        world.pg("pg_restore"),
    ));
    let arguments = [
        "--bind",
        "database=shop",
        "--bind",
        "bucket=backups",
        "--bind",
        "pg_dump=pg_dump",
        "--bind",
        "pg_dumpall=pg_dumpall",
        "--bind",
        "pg_restore=pg_restore",
        "--grant",
        "declared",
    ];
    let (status, run) = crate::run(&world.rota, "postgres-backup", &arguments).await;
    assert_eq!(status, Some(0), "{run:#}");
    let password = &world.password;
    assert!(!run.to_string().contains(password.as_str()));
    // The dump itself: restored by the real pg_restore, every row is there.
    let verify = [
        "--bind",
        "scratch=shop",
        "--bind",
        "bucket=backups",
        "--bind",
        "pg_restore=pg_restore",
        "--bind",
        "pg_dump=pg_dump",
        "--grant",
        "declared",
        "-p",
        "level=restored",
    ];
    let (status, verified) = crate::run(&world.rota, "postgres-backup-verify", &verify).await;
    assert_eq!(status, Some(0), "{verified:#}");
    // Nowhere in what the cluster keeps.
    for kind in ["pods", "events", "secrets", "configmaps"] {
        let all = world.namespace().kubectl(["get", kind, "--output=yaml"]).await.unwrap();
        assert!(!all.contains(password.as_str()), "{kind}");
    }
    let log = world.namespace().kubectl(["logs", "tools"]).await.unwrap();
    assert!(!log.contains(password.as_str()));
}

#[tokio::test]
async fn a_password_is_on_no_command_line_and_what_runs_goes_with_its_connection() {
    let world = World::new("gone").await;
    world.pod().await;
    // Waits for a lock that the test holds, so that it is there to be looked at.
    world.database.execute("create table held (id int)").await.unwrap();
    let mut holder = world.database.connect().await.unwrap();
    sqlx::raw_sql("begin; lock table held in access exclusive mode").execute(&mut holder).await.unwrap();
    world.bind(&world.tool("dump", &world.pg("pg_dump"), ""));
    let mark = world.database.name().to_owned();
    let here = format!("PGDATABASE={mark} ");
    let spawn = probe::call("tools.spawn", json!({ "arguments": ["--format=custom"], "connection": "database" }));
    let parameters = probe::arguments("calls", &json!({ "calls": [spawn] }));
    let path = probe::path().display().to_string();
    let begin = || {
        let mut arguments = vec!["run".to_owned(), path.clone()];
        arguments.extend(parameters.clone());
        arguments.extend(
            [
                "--bind",
                "program=dump",
                "--bind",
                "database=shop",
                "--grant",
                "program=run",
                "--grant",
                "database=read",
                "--output",
                "json",
            ]
            .map(str::to_owned),
        );
        world.rota.start(&arguments).unwrap()
    };
    // A session of the dump is the proof that it has logged in and runs.
    let sessions = async |count: i64| {
        let mut eyes = world.database.connect().await.unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(25);
        loop {
            let sql = "select count(*) from pg_stat_activity where datname = $1 and application_name like 'rota/%'";
            let seen: i64 = sqlx::query_scalar(sql).bind(&mark).fetch_one(&mut eyes).await.unwrap();
            if seen == count {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{seen} sessions of the dump, not {count}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        let running = begin();
        sessions(1).await;
        let seen = World::processes_with("cmdline", &world.password);
        assert!(seen.is_empty(), "the password is on a command line: {seen:?}");
        assert!(!World::processes_with("environ", &here).is_empty());
        let pod = world.namespace().kubectl(["get", "pods", "--output=json"]).await.unwrap();
        assert!(!pod.contains(world.password.as_str()));
        running.signal(signal).unwrap();
        // The program is gone, though exec alone would let it go on: it waits for a lock and writes nothing.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !World::processes_with("environ", &here).is_empty() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "it goes on: {:?}",
                World::processes_with("environ", &here)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(running);
        // Its backend waits for the lock and does not look whether its client is there. By a connection of its own: a transaction sees
        // the sessions as they were when it first looked.
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name like 'rota/%'";
        sqlx::query(sql).bind(&mark).execute(&mut world.database.connect().await.unwrap()).await.unwrap();
        sessions(0).await;
    }
    // A pod that goes is a failure, not an end.
    let running = begin();
    sessions(1).await;
    world.namespace().kubectl(["delete", "pod/tools", "--wait=false", "--grace-period=0", "--force"]).await.unwrap();
    let said = running.end().await.unwrap();
    let answer = &said.json().unwrap()["report"]["data"][0];
    assert!(answer["error"].is_string() || answer["ok"]["status"] != json!({ "code": 0 }), "{said:?}");
}

#[tokio::test]
async fn a_job_runs_a_program_with_a_secret_of_the_clusters_and_leaves_nothing() {
    let world = World::new("jobs").await;
    let image = format!("postgres:16@sha256:{}", "a".repeat(64));
    let job = |secrets: &str, deadline: &str| {
        format!(
            "[bindings.run_here]\nkind = \"tool\"\npath = \"{}\"\nprofile = \"custom\"\nconnection = [\"read\"]\n\
             arguments = [\"--version\", \"-Atc*\"]\n[bindings.run_here.place.job]\ncluster = \"prod\"\nimage = \"{image}\"\nmemory = \"256Mi\"\n{secrets}\n{deadline}\n",
            world.pg("psql")
        )
    };
    world.bind(&job("", ""));
    let query = |sql: &str| {
        probe::call("tools.spawn", json!({ "arguments": [format!("-Atc {sql}")], "connection": "database" }))
    };
    let flags =
        ["--bind", "program=run_here", "--bind", "database=shop", "--grant", "program=run", "--grant", "database=read"];
    let (answers, _) = world.calls(&[query("select 1")], &flags).await;
    assert!(answers[0]["text"].as_str().unwrap().contains("place.job.secrets"), "{answers:?}");

    world
        .namespace()
        .kubectl(["create", "secret", "generic", "login", &format!("--from-literal=password={}", world.password)])
        .await
        .unwrap();
    world.bind(&job("secrets = [{ variable = \"PGPASSWORD\", secret = \"login\", key = \"password\" }]", ""));
    let calls = [probe::call("tools.info", json!({})), query("select 6*7, current_database()"), query("select 1/0")];
    let (answers, run) = world.calls(&calls, &flags).await;
    assert_eq!(answers[0]["ok"]["major"], 16, "{answers:?}");
    assert_eq!(answers[1]["ok"]["stdout"], format!("42|{}\n", world.database.name()), "{answers:?}");
    assert_eq!(answers[2]["ok"]["status"], json!({ "code": 1 }), "{answers:?}");
    assert!(!run.to_string().contains(&world.password));
    let left = world.namespace().kubectl(["get", "jobs,pods", "--output=name"]).await.unwrap();
    assert!(left.trim().is_empty(), "left behind: {left}");
    let doctor = world.rota.run(&["doctor", "--binding", "run_here"]).await.unwrap();
    assert!(doctor.status == Some(0) && doctor.all().contains("in a Job in"), "{doctor:?}");

    // A cancel kills it.
    let mut arguments = vec!["run".to_owned(), probe::path().display().to_string()];
    arguments.extend(probe::arguments("calls", &json!({ "calls": [query("select pg_sleep(300)")] })));
    arguments.extend(flags.map(str::to_owned));
    let running = world.rota.start(&arguments).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !world
        .namespace()
        .kubectl(["get", "pods", "--output=jsonpath={.items[*].status.phase}"])
        .await
        .unwrap()
        .contains("Running")
    {
        assert!(tokio::time::Instant::now() < deadline, "the Job did not start");
    }
    let spec = world.namespace().kubectl(["get", "jobs,pods", "--output=json"]).await.unwrap();
    assert!(!spec.contains(&world.password) && spec.contains("\"backoffLimit\": 0"), "{spec}");
    running.signal(rustix::process::Signal::INT).unwrap();
    running.end().await.unwrap();
    let left = world.namespace().kubectl(["get", "jobs", "--output=name"]).await.unwrap();
    assert!(left.trim().is_empty(), "left behind: {left}");

    // A host that is killed leaves its Job to the next one.
    let running = world.rota.start(&arguments).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while world.namespace().kubectl(["get", "jobs", "--output=name"]).await.unwrap().trim().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the Job was not made");
    }
    running.signal(rustix::process::Signal::KILL).unwrap();
    drop(running);
    let left = world.namespace().kubectl(["get", "jobs", "--output=name"]).await.unwrap();
    assert!(!left.trim().is_empty(), "it was killed");
    world.calls(&[query("select 1")], &flags).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !world.namespace().kubectl(["get", "jobs", "--output=name"]).await.unwrap().trim().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the next one did not remove it");
    }

    // Its own deadline ends it, and that is said.
    world.bind(&job(
        "secrets = [{ variable = \"PGPASSWORD\", secret = \"login\", key = \"password\" }]",
        "deadline = \"2s\"",
    ));
    let (answers, _) = world.calls(&[query("select pg_sleep(300)")], &flags).await;
    assert!(answers[0]["text"].as_str().is_some_and(|text| text.contains("DeadlineExceeded")), "{answers:?}");
}

#[tokio::test]
async fn sql_and_its_programs_go_through_a_port_forward() {
    let mut world = World::new("forward").await;
    // The node's pods share the machine's network: the pod's port is where the test's server listens.
    let port = world.database.server().port();
    let pod = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "db" } }, "spec": {
            "terminationGracePeriodSeconds": 0, "containers": [{ "name": "main", "image": "busybox:1", "command": ["sleep", "600"],
            "ports": [{ "name": "sql", "containerPort": port }] }] } })
        .to_string()
    };
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "db" },
        "spec": { "selector": { "app": "db" }, "ports": [{ "port": 5432, "targetPort": "sql" }] } });
    world.namespace().apply(&pod("db-0")).await.unwrap();
    world.namespace().apply(&service.to_string()).await.unwrap();
    world.namespace().kubectl(["wait", "pod/db-0", "--for=condition=Ready", "--timeout=50s"]).await.unwrap();
    let url = world.rota_url("db.kosmos-db.svc", 5432);
    world.rota.set("SHOP", url);
    let through = |way: &str| {
        format!(
            "through = {{ cluster = \"prod\", {way} }}\n[bindings.dump]\nkind = \"tool\"\npath = \"{}\"\n",
            world.pg("pg_dump")
        )
    };
    world.bind(&through("service = \"db\""));
    let doctor = world.rota.run(&["doctor", "--binding", "shop"]).await.unwrap();
    assert!(doctor.status == Some(0) && doctor.all().contains("PostgreSQL 16"), "{doctor:?}");
    world.database.execute("create table orders (id int)").await.unwrap();
    let (status, health) =
        crate::run(&world.rota, "postgres-health", &["--bind", "database=shop", "--grant", "declared"]).await;
    assert!(status == Some(0) || status == Some(1), "{health:#}");
    assert!(health.to_string().contains("\"server"), "{health:#}");
    // A program beside the host goes the same way, on the loopback and only for its run.
    let dump = probe::call(
        "tools.spawn",
        json!({ "arguments": ["--format=plain", "--schema-only"], "connection": "database" }),
    );
    let flags =
        ["--bind", "program=dump", "--bind", "database=shop", "--grant", "program=run", "--grant", "database=read"];
    let (answers, _) = world.calls(&[dump], &flags).await;
    assert!(
        answers[0]["ok"]["stdout"].as_str().is_some_and(|text| text.contains("CREATE TABLE public.orders")),
        "{answers:?}"
    );
    // Another pod takes over: the next connection finds it.
    world.namespace().apply(&pod("db-1")).await.unwrap();
    world.namespace().kubectl(["wait", "pod/db-1", "--for=condition=Ready", "--timeout=50s"]).await.unwrap();
    world.namespace().kubectl(["delete", "pod/db-0", "--wait=true"]).await.unwrap();
    let doctor = world.rota.run(&["doctor", "--binding", "shop"]).await.unwrap();
    assert_eq!(doctor.status, Some(0), "{doctor:?}");
    // TLS is spoken with the server, over the forward: it is not skipped because the bytes leave by a socket.
    world.bind(&through("service = \"db\"").replacen("through", "tls = \"verify-full\"\nthrough", 1));
    let doctor = world.rota.run(&["doctor", "--binding", "shop"]).await.unwrap();
    assert!(doctor.status == Some(1) && doctor.all().contains("the server does not speak TLS"), "{doctor:?}");
    // And what is wrong with the way is said.
    for (way, said) in [
        ("service = \"nowhere\"", "nowhere"),
        ("service = \"db\", port = 6000", "has no port 6000 but 5432"),
        ("pod = \"db-9\"", "db-9"),
        (&format!("pod = \"db-1\", port = {}", rota_testbed::free_port().unwrap()), "port-forward to pod"),
    ] {
        world.bind(&through(way));
        let doctor = world.rota.run(&["doctor", "--binding", "shop"]).await.unwrap();
        assert!(doctor.status == Some(1) && doctor.all().contains(said), "{way}: {doctor:?}");
    }
}

impl World {
    /// The URL by which the database is known inside a cluster.
    fn rota_url(&self, host: &str, port: u16) -> String {
        let known = self.database.url();
        let (login, rest) = known.split_once('@').unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        format!("{login}@{host}:{port}/{database}")
    }
}
