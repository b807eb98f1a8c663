//! Files, folders, and none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rota_config::{Binding, Config, PluginRef, SecretRef, Source, Store, check};
use tempfile::TempDir;

use super::lines;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn errors(path: &Path) -> Vec<String> {
    lines(Config::load(&Source::empty().with_path(path)).unwrap_err().problems())
}

#[test]
fn without_a_file_everything_has_its_default() {
    let config = Config::load(&Source::empty()).unwrap();
    assert_eq!(config.store, Store::default());
    assert!(config.bindings.is_empty() && config.jobs.is_empty() && config.files().is_empty());
    assert!(config.state_dir().ends_with("rota"));
    assert!(config.cache_dir().ends_with("rota/compiled"));
}

#[test]
fn a_folder_is_merged_in_the_order_of_names() {
    let folder = folder(&[
        ("10-limits.toml", "[limits]\nhandles = 9\n"),
        ("20-more.toml", "[limits]\nmemory = \"1GiB\"\n[bindings.a]\nkind = \"storage\"\n"),
        ("30-rest.toml", "[bindings.a]\nurl = \"file:///srv\"\n"),
        (".hidden.toml", "not toml"),
        ("notes.md", "not toml"),
    ]);
    let config = Config::load(&Source::empty().with_path(folder.path())).unwrap();
    assert_eq!((config.limits.handles, config.limits.memory.to_string().as_str()), (9, "1GiB"));
    assert!(matches!(config.bindings["a"], Binding::Storage(_)));
    assert_eq!(config.files().len(), 3);
    let place = config.place("bindings.a.url").unwrap().to_string();
    assert_eq!(place, format!("{}:2:1", folder.path().join("30-rest.toml").display()));
}

#[test]
fn a_key_in_two_files_names_both() {
    let folder = folder(&[("a.toml", "[limits]\nhandles = 9\n"), ("b.toml", "\n[limits]\nhandles = 10\n")]);
    let (a, b) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    assert_eq!(
        errors(folder.path()),
        [format!(
            "{}:3:1: limits.handles is set twice: here and at {}:2:1 (keep one of the two)",
            b.display(),
            a.display()
        )]
    );
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let folder = folder(&[]);
    let path = folder.path().join("rota.toml");
    let shown = path.display().to_string();
    assert_eq!(
        errors(&path),
        [format!(
            "the configuration file {shown} does not exist (check --config and ROTA_CONFIG; without both, none is needed)"
        )]
    );
    fs::write(&path, b"[limits]\n# \xff\n").unwrap();
    assert_eq!(errors(&path), [format!("the configuration file {shown} cannot be read: line 2 is not UTF-8 text")]);
    fs::write(&path, vec![b'#'; 9 << 20]).unwrap();
    assert_eq!(errors(&path), [format!("the configuration file {shown} cannot be read: it is larger than 8 MiB")]);
}

#[test]
fn what_is_unusual_is_a_warning() {
    let empty = folder(&[]);
    let checked = check(&Source::empty().with_path(empty.path()));
    assert!(checked.config.is_some());
    assert_eq!(
        lines(&checked.problems),
        [format!("the configuration folder {} holds no *.toml file", empty.path().display())]
    );
    let open = folder(&[("rota.toml", "[bindings.t]\nkind = \"tool\"\npath = \"/nowhere/pg_dump\"\n")]);
    let path = open.path().join("rota.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let shown = path.display();
    assert_eq!(
        lines(&check(&Source::empty().with_path(&path)).problems),
        [
            format!("the configuration file {shown} can be written by everyone (run: chmod o-w {shown})"),
            format!(
                "{shown}:3:1: bindings.t.path: /nowhere/pg_dump cannot be found (No such file or directory (os error 2))"
            ),
        ]
    );
}

#[test]
fn relative_paths_start_from_their_file() {
    let folder = folder(&[(
        "rota.toml",
        "state_dir = \"state\"\n[jobs.a]\nplugin = \"./mine.wasm\"\n[bindings.b]\nkind = \"sql\"\nurl = \"file:secret-url\"\nca_file = \"/ca\"\n",
    )]);
    let config = Config::load(&Source::empty().with_path(folder.path().join("rota.toml"))).unwrap();
    assert_eq!(config.state_dir(), folder.path().join("state"));
    assert_eq!(config.jobs["a"].plugin, PluginRef::File(folder.path().join("./mine.wasm")));
    let Binding::Sql(sql) = &config.bindings["b"] else { panic!("no sql binding") };
    let url = rota_config::Address::Secret(SecretRef::File(folder.path().join("secret-url")));
    assert_eq!((&sql.url, sql.ca_file.as_deref()), (&url, Some(Path::new("/ca"))));
}

#[test]
fn a_source_prints_without_the_values_of_variables() {
    let source = Source::empty().with_variable("ROTA_TOKEN", "c4nary-token").with_text("rota.toml", "c4nary-text");
    let shown = format!("{source:?}");
    assert!(shown.contains("ROTA_TOKEN") && !shown.contains("c4nary"), "{shown}");
}
