//! Folders of pods: what is asked there, and what the commands refuse.

use super::*;

/// A pod with the folder `/archive` whose files are kept here.
fn pod(files: &[String], refuse: Option<&str>) -> (MockHost, Rc<RefCell<Vec<String>>>) {
    let host = MockHost::new();
    let files = Rc::new(RefCell::new(files.to_vec()));
    let cluster = host.cluster("cluster");
    let say = |refuse: Option<&str>, said: String| {
        ToolOutput::success(refuse.map_or(format!("folder 1:2 /archive\n{said}end\n"), |why| format!("refuse {why}\n")))
    };
    let refuse = refuse.map(str::to_owned);
    let (listed, why) = (files.clone(), refuse.clone());
    cluster.on_with("find . !", move |_, _| {
        let lines: String = listed.borrow().iter().map(|name| format!("file 16777216 ./{name}\n")).collect();
        say(why.as_deref(), lines)
    });
    let why = refuse.clone();
    cluster.on_with("od -An", move |words, _| {
        let line = |name: &String| {
            let n = u64::from_str_radix(&name[16..24], 16).unwrap();
            let hex: String = content(1, n, SYSTEM).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("header {name} {hex}\n")
        };
        say(why.as_deref(), words[6..].iter().map(line).collect())
    });
    let deleted = files.clone();
    cluster.on_with("rm -f", move |words, _| {
        assert_eq!(words[4..7], ["/archive", "", "1:2"]);
        deleted.borrow_mut().retain(|name| !words[7..].contains(name));
        say(refuse.as_deref(), String::new())
    });
    (host, files)
}

fn folder(more: Json) -> Json {
    let mut parameters = json!({ "pod": "db-0", "folder": "/archive" });
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parameters
}

#[test]
fn a_folder_in_a_pod_is_cleaned_by_commands_there() {
    let mut names: Vec<String> = (1..20).map(|n| name(1, n)).collect();
    names.extend([format!("{}.00000028.backup", name(1, 8)), "00000001.history".to_owned(), "a b".to_owned()]);
    let (host, files) = pod(&names, None);
    let report = host.run::<Plugin>(folder(json!({ "batch": 3 }))).unwrap();
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(report.data["deleted"], json!({ "files": 7, "bytes": 7 * 16 * MB }));
    assert_eq!(files.borrow().len(), 15);
    assert_eq!(report.data["server"], Json::Null);

    let (host, files) = pod(&names, Some("/archive is the pg_wal of the server in /data"));
    let failed = host.run::<Plugin>(folder(json!({}))).unwrap_err();
    assert_eq!(failed.message, "refused: /archive is the pg_wal of the server in /data");
    assert_eq!(files.borrow().len(), 22);
}

#[test]
fn a_plan_of_a_pod_says_what_it_cannot_know() {
    let (host, _) = pod(&[], None);
    let host = host.plan();
    server(&host, nobody());
    backup(&host, NEW, Some("0/28000000"), None);
    let report = host.run::<Plugin>(folder(json!({}))).unwrap();
    assert_eq!((report.status, &report.data["deletable"]), (Severity::Unknown, &Json::Null));
    assert!(report.summary.ends_with("everything before 0000000000000028 would go"), "{}", report.summary);
    let remedy = report
        .finding("which files would be deleted is not known")
        .unwrap()
        .remedy
        .as_ref()
        .unwrap()
        .parameters
        .clone();
    assert!(remedy.contains(r#""list_only":true"#) && remedy.contains(r#""folder":"/archive""#), "{remedy}");
}

#[test]
fn what_a_pod_says_is_believed_whole_or_not_at_all() {
    for said in ["folder 1:2 /archive\nfile 1 ./000000010000000000000001\n", ""] {
        let (host, _) = pod(&[], None);
        host.cluster("cluster").on("find . !", ToolOutput::success(said));
        assert!(host.run::<Plugin>(folder(json!({}))).unwrap_err().message.contains("did not arrive whole"));
    }
    let (host, _) = pod(&[], None);
    host.cluster("cluster").on("find . !", ToolOutput::failure(126, "no sh"));
    assert!(host.run::<Plugin>(folder(json!({}))).is_err());
    let (host, _) = pod(&[], None);
    assert_eq!(host.run::<Plugin>(folder(json!({}))).unwrap().summary, "/archive in pod db-0: no WAL segment");
}

/// A folder that goes with the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().canonicalize().unwrap().join(format!("rota-archive-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn make(&self, folders: &[&str], files: &[&str]) {
        folders.iter().for_each(|folder| std::fs::create_dir_all(self.0.join(folder)).unwrap());
        files.iter().for_each(|file| std::fs::write(self.0.join(file), "x").unwrap());
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a script says, run by this machine's own shell as a pod's would run it.
fn sh(script: &str, arguments: &[&str], pgdata: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("{}{script}", place::PROBE), "rota"])
        .args(arguments)
        .env("PGDATA", pgdata)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_of_the_pod_refuse_what_resolves_to_a_pg_wal() {
    let scratch = Scratch::new("refuse");
    scratch.make(
        &["data/pg_wal", "data/archive", "far", "archive", "moved", "other"],
        &["data/PG_VERSION", "archive/000000010000000000000001"],
    );
    scratch.make(&["walled/archive_status", "crumbs/global"], &["crumbs/global/pg_control"]);
    for (link, to) in [("to_wal", "data/pg_wal"), ("to_archive", "archive"), ("other/pg_wal", "far")] {
        std::os::unix::fs::symlink(scratch.at(to), scratch.at(link)).unwrap();
    }
    for (folder, words) in [
        ("data/pg_wal", "is named as a pg_wal is"),
        ("to_wal", "is named as a pg_wal is"),
        ("archive/../data/pg_wal", "is named as a pg_wal is"),
        ("archive/../to_wal/.", "is named as a pg_wal is"),
        ("data", "holds PG_VERSION"),
        ("data/archive", "holds PG_VERSION"),
        ("walled", "holds archive_status"),
        ("crumbs", "holds global/pg_control"),
        ("far", "is the pg_wal of the server in"),
        ("none", "is no folder there"),
    ] {
        for script in [place::LIST, place::HEADERS, place::DELETE] {
            let said = sh(script, &[&scratch.at(folder), "", "1:1", "000000010000000000000001"], &scratch.at("other"));
            assert!(said.starts_with("refuse ") && said.contains(words), "{folder}: {said}");
        }
    }
    // By the data directory that the server names, too.
    assert!(
        sh(place::LIST, &[&scratch.at("far"), &scratch.at("other")], "").contains("is the pg_wal of the server in")
    );
    for folder in ["archive", "to_archive", "far/../archive"] {
        let said = sh(place::LIST, &[&scratch.at(folder), ""], &scratch.at("other"));
        assert!(
            said.ends_with(&format!(" {}\nfile 1 ./000000010000000000000001\nend\n", scratch.at("archive"))),
            "{said}"
        );
    }
}

#[test]
fn the_commands_of_the_pod_delete_files_of_the_folder_that_was_looked_at() {
    let scratch = Scratch::new("delete");
    scratch.make(&["archive/sub"], &["archive/-rf", "archive/a b", "archive/keep", "archive/sub/keep", "outside"]);
    std::os::unix::fs::symlink(scratch.at("outside"), scratch.at("archive/link")).unwrap();
    let said = sh(place::LIST, &[&scratch.at("archive"), ""], "");
    let identity = said.lines().next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let delete = |identity: &str, names: &[&str]| {
        sh(place::DELETE, &[&[scratch.at("archive").as_str(), "", identity], names].concat(), "")
    };
    assert!(delete("1:1", &["keep"]).contains("is another folder"));
    for bad in ["sub", "link", "../outside", "sub/keep", ".", ".."] {
        assert!(delete(&identity, &[bad]).contains("refuse "), "{bad}");
    }
    assert!(delete(&identity, &["-rf", "a b", "gone already"]).ends_with("end\n"));
    let left = sh(place::LIST, &[&scratch.at("archive"), ""], "");
    assert!(left.contains("./keep\n") && !left.contains("a b") && !left.contains("-rf"), "{left}");
    assert!(scratch.0.join("outside").exists() && scratch.0.join("archive/sub/keep").exists());
}
