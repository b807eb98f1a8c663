//! Command lines that are let through, as what, and command lines that are not.

use super::{Checked, Custom, Profile, Reach};
use rota_authority::SqlAccess;

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(ToString::to_string).collect()
}

fn check(profile: &Profile, line: &[&str], connected: bool) -> Result<Checked, String> {
    profile.check(&words(line), connected).map_err(|refusal| refusal.to_string())
}

#[track_caller]
fn becomes(profile: &Profile, connected: bool, line: &[&str], expected: &[&str]) {
    let checked = check(profile, line, connected).unwrap_or_else(|refusal| panic!("{line:?} was refused: {refusal}"));
    assert_eq!(checked.arguments, expected, "{line:?}");
}

#[track_caller]
fn refused(profile: &Profile, connected: bool, line: &[&str], because: &str) {
    match check(profile, line, connected) {
        Ok(checked) => panic!("{line:?} was let through as {:?}", checked.arguments),
        Err(refusal) => {
            assert!(refusal.contains(because), "{line:?} was refused for another reason than {because:?}: {refusal}")
        }
    }
}

#[test]
fn pg_dump_gets_what_is_harmless_in_one_spelling() {
    for (line, expected) in [
        (&[][..], &[][..]),
        (&["--format=custom"], &["--format=custom"]),
        (&["--format", "custom"], &["--format=custom"]),
        (&["-Fc"], &["--format=c"]),
        (&["-F", "c"], &["--format=c"]),
        (&["-Fc", "-Z0"], &["--format=c", "--compress=0"]),
        (&["-vFc"], &["--verbose", "--format=c"]),
        (&["-vOxFp"], &["--verbose", "--no-owner", "--no-privileges", "--format=p"]),
        (&["-Z", "zstd:1"], &["--compress=zstd:1"]),
        (&["--compress=zstd:level=3,long"], &["--compress=zstd:level=3,long"]),
        (&["--compress=none"], &["--compress=none"]),
        (&["-b"], &["--blobs"]),
        (&["--large-objects"], &["--large-objects"]),
        (&["-t", "public.orders"], &["--table=public.orders"]),
        // What looks like an option is a value where one is due, and stays one.
        (&["-t", "-x"], &["--table=-x"]),
        (&["--table", "--file=/etc/passwd"], &["--table=--file=/etc/passwd"]),
        (&["-tf"], &["--table=f"]),
        (&["--table=a=b"], &["--table=a=b"]),
        (&["-t="], &["--table=="]),
        (&["--table=naïve \"x\""], &["--table=naïve \"x\""]),
        (&["-n", "a", "-n", "b"], &["--schema=a", "--schema=b"]),
        (&["--lock-wait-timeout=30s"], &["--lock-wait-timeout=30s"]),
        (&["--lock-wait-timeout", "500"], &["--lock-wait-timeout=500"]),
        (&["--snapshot=00000003-0000001B-1"], &["--snapshot=00000003-0000001B-1"]),
        (&["--section=pre-data"], &["--section=pre-data"]),
        (&["--extra-float-digits=-15"], &["--extra-float-digits=-15"]),
        (&["--rows-per-insert=100", "--inserts"], &["--rows-per-insert=100", "--inserts"]),
    ] {
        becomes(&Profile::PgDump, true, line, expected);
    }
}

#[test]
fn pg_dump_writes_no_file_and_chooses_no_server() {
    const FILE: &str = "names no files";
    const ADDRESS: &str = "the host's to give";
    for (line, because) in [
        (&["--file=/x"][..], FILE),
        (&["--file", "/x"], FILE),
        (&["-f/x"], FILE),
        (&["-f", "/x"], FILE),
        (&["-vf/x"], FILE),
        (&["-f-"], FILE),
        (&["--file=-"], FILE),
        (&["--filter=/etc/passwd"], FILE),
        (&["--host=evil"], ADDRESS),
        (&["-hevil"], ADDRESS),
        (&["-h", "evil"], ADDRESS),
        (&["-vhevil"], ADDRESS),
        (&["--port=1"], ADDRESS),
        (&["-p1"], ADDRESS),
        (&["--username=postgres"], ADDRESS),
        (&["-Upostgres"], ADDRESS),
        (&["-dpostgres://evil/x"], ADDRESS),
        (&["-d", "postgres://evil/x"], ADDRESS),
        (&["--dbname=host=evil"], ADDRESS),
        (&["--dbname", "x"], ADDRESS),
        (&["--service=x"], ADDRESS),
        (&["-W"], "nobody is there to be asked"),
        (&["--password"], "nobody is there to be asked"),
        (&["-w"], "the host adds it"),
        (&["--no-password"], "the host adds it"),
        (&["--role=postgres"], "the role is the binding's"),
        (&["-Fd"], "must be one of"),
        (&["-F", "d"], "must be one of"),
        (&["-Ft"], "must be one of"),
        (&["--format=directory"], "must be one of"),
        (&["-Fcustom "], "must be one of"),
        (&["-j", "4"], "files"),
        (&["--jobs=4"], "files"),
        (&["--include-foreign-data=*"], "other servers"),
        (&["--binary-upgrade"], "pg_upgrade"),
        (&["--sync-method=fsync"], "files"),
        (&["--version"], "tools.info"),
        (&["-V"], "tools.info"),
        (&["-?"], "tools.info"),
        (&["--help"], "tools.info"),
        (&["kosmos"], "is no option"),
        (&["postgres://evil/x"], "is no option"),
        (&["-Fc", "kosmos"], "is no option"),
        (&["-"], "is no option"),
        (&[""], "is no option"),
        (&["--"], "ends the options"),
        (&["--", "kosmos"], "ends the options"),
        (&["-Fc", "--", "-f/x"], "ends the options"),
    ] {
        refused(&Profile::PgDump, true, line, because);
    }
}

#[test]
fn nothing_is_guessed() {
    for (line, because) in [
        (&["--fil=/x"][..], "abbreviations"),
        (&["--fil", "/x"], "abbreviations"),
        (&["--f"], "abbreviations"),
        (&["--hos=evil"], "abbreviations"),
        (&["--form=custom"], "abbreviations"),
        (&["--dbnam=x"], "abbreviations"),
        (&["--verb"], "abbreviations"),
        (&["--tabel=x"], "the nearest is `--table`"),
        (&["--FILE=/x"], "no option"),
        (&["--file\u{200b}=/x"], "no option"),
        (&["--=x"], "no option"),
        (&["---file=/x"], "no option"),
        (&["-\u{fe0f}"], "no option"),
        (&["-X"], "no option"),
        (&["-vX"], "no option"),
        (&["-format=custom"], "names no files"),
        (&["--format"], "needs a value"),
        (&["-F"], "needs a value"),
        (&["-vF"], "needs a value"),
        (&["--verbose=yes"], "takes no value"),
        (&["--table="], "empty"),
        (&["-t", ""], "empty"),
        (&["--compress=10"], "level from 0 to 9"),
        (&["--compress=zstd:"], "level from 0 to 9"),
        (&["--compress=gzip:1;x"], "level from 0 to 9"),
        (&["-Z-1"], "level from 0 to 9"),
        (&["--lock-wait-timeout=1; drop table x"], "must be a time"),
        (&["--lock-wait-timeout=s"], "must be a time"),
        (&["--extra-float-digits=4"], "from -15 to 3"),
        (&["--rows-per-insert=+4"], "from 1 to"),
        (&["--snapshot=a'b"], "letters, digits"),
        (&["--encoding=UTF8'"], "letters, digits"),
        (&["--table=a\0b"], "NUL"),
    ] {
        refused(&Profile::PgDump, true, line, because);
    }
    let long = "x".repeat(5000);
    refused(&Profile::PgDump, true, &["-t", &long], "longer than");
    let many = vec!["-v"; 513];
    refused(&Profile::PgDump, true, &many, "too many");
}

#[test]
fn a_dump_reads_a_database_and_is_an_effect() {
    let checked = check(&Profile::PgDump, &["-Fc"], true).unwrap();
    assert_eq!((&*checked.needs, checked.reach), (&[SqlAccess::Read][..], Reach::Environment));
    assert!(!checked.only_reads && !checked.destructive);
    refused(&Profile::PgDump, false, &["-Fc"], "give `connection`");
}

#[test]
fn pg_dumpall_dumps_globals_only() {
    becomes(&Profile::PgDumpall, true, &["--globals-only"], &["--globals-only"]);
    becomes(
        &Profile::PgDumpall,
        true,
        &["-g", "--no-role-passwords", "-v"],
        &["--globals-only", "--no-role-passwords", "--verbose"],
    );
    becomes(&Profile::PgDumpall, true, &["-gc", "--if-exists"], &["--globals-only", "--clean", "--if-exists"]);
    for (line, because) in [
        (&[][..], "--globals-only"),
        (&["--clean"], "--globals-only"),
        (&["--globals"], "abbreviations"),
        (&["-g", "-f/x"], "names no files"),
        (&["-g", "-lpostgres"], "the host's to give"),
        (&["-g", "--database=postgres"], "the host's to give"),
        (&["-g", "-dhost=evil"], "the host's to give"),
        (&["-g", "--data-only"], "only `--globals-only`"),
        (&["-g", "-r"], "only `--globals-only`"),
        (&["-g", "kosmos"], "is no option"),
    ] {
        refused(&Profile::PgDumpall, true, line, because);
    }
    refused(&Profile::PgDumpall, false, &["-g"], "give `connection`");
    let checked = check(&Profile::PgDumpall, &["-g"], true).unwrap();
    assert_eq!((&*checked.needs, checked.reach, checked.only_reads), (&[SqlAccess::Read][..], Reach::Database, false));
}

#[test]
fn pg_restore_without_a_connection_only_reads() {
    for (line, expected) in [
        (&["--list"][..], &["--list"][..]),
        (&["-l"], &["--list"]),
        (&[], &["--file=-"]),
        (&["--file=-"], &["--file=-"]),
        (&["-f-", "-f", "-"], &["--file=-"]),
        (&["-Fc", "--data-only"], &["--format=c", "--data-only", "--file=-"]),
        (&["-lFc"], &["--list", "--format=c"]),
    ] {
        becomes(&Profile::PgRestore, false, line, expected);
        let checked = check(&Profile::PgRestore, line, false).unwrap();
        assert!(checked.only_reads && checked.needs.is_empty() && checked.reach == Reach::Nothing, "{line:?}");
    }
}

#[test]
fn pg_restore_into_a_database_needs_what_an_archive_may_do() {
    let line = &["--exit-on-error", "--no-owner", "-x", "-1"];
    becomes(
        &Profile::PgRestore,
        true,
        line,
        &["--exit-on-error", "--no-owner", "--no-privileges", "--single-transaction"],
    );
    let checked = check(&Profile::PgRestore, line, true).unwrap();
    assert_eq!(*checked.needs, [SqlAccess::Write, SqlAccess::Ddl, SqlAccess::Index, SqlAccess::Maintain]);
    assert!(checked.reach == Reach::Dbname && !checked.only_reads && !checked.destructive);
    assert!(check(&Profile::PgRestore, &["--clean"], true).unwrap().destructive);
    refused(&Profile::PgRestore, true, &["--list"], "not both");
    let parallel = check(&Profile::PgRestore, &["-j4"], true).unwrap();
    assert_eq!((parallel.arguments, parallel.spooled), (vec!["--jobs=4".to_owned()], true));
    assert!(!checked.spooled);
    refused(&Profile::PgRestore, false, &["-j4"], "only into a database");
    refused(&Profile::PgRestore, true, &["-j0"], "must be");
    refused(&Profile::PgRestore, true, &["--file=-"], "not both");
}

#[test]
fn pg_restore_names_no_file_and_no_database() {
    for (line, because) in [
        (&["--file=/x"][..], "names no files"),
        (&["-f/x"], "names no files"),
        (&["-f", "/x"], "names no files"),
        (&["-f-/../x"], "names no files"),
        (&["-L/x"], "names no files"),
        (&["--use-list=/x"], "names no files"),
        (&["--filter=/x"], "names no files"),
        (&["-dx"], "the host's to give"),
        (&["--dbname=postgres://evil/x"], "the host's to give"),
        (&["-hevil"], "the host's to give"),
        (&["-C"], "would name the database"),
        (&["--create"], "would name the database"),
        (&["-eC"], "would name the database"),
        (&["-Fd"], "must be one of"),
        (&["/var/backups/x.dump"], "is no option"),
        (&["--role=x"], "the role is the binding's"),
    ] {
        for connected in [false, true] {
            refused(&Profile::PgRestore, connected, line, because);
        }
    }
}

#[test]
fn custom_holds_to_the_operators_list() {
    let custom = |rules: &[&str]| {
        Profile::Custom(Custom {
            allowed: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            ..Custom::default()
        })
    };
    let profile = custom(&["upgrade", "head", "--level=*", "-n*", "*.sql"]);
    becomes(&profile, false, &["upgrade", "head"], &["upgrade", "head"]);
    becomes(&profile, false, &["--level=3", "--level="], &["--level=3", "--level="]);
    becomes(&profile, false, &["-n5"], &["-n5"]);
    becomes(&profile, false, &["x.sql"], &["x.sql"]);
    for line in
        [&["downgrade"][..], &["upgrade", "base"], &["--leve=3"], &["--level"], &["head "], &["x.sq"], &["--"], &[""]]
    {
        refused(&profile, false, line, "list of allowed arguments");
    }
    refused(&profile, false, &["--level=a\nb"], "list of allowed arguments");
    let inside = custom(&["/srv/sql/*.sql", "--file=*", "../up.sql"]);
    becomes(&inside, false, &["/srv/sql/a..b.sql"], &["/srv/sql/a..b.sql"]);
    becomes(&inside, false, &["../up.sql"], &["../up.sql"]);
    for line in [&["/srv/sql/../../etc/x.sql"][..], &["--file=../x"], &["--file=a/.."], &["--file=x:../y"]] {
        refused(&inside, false, line, "list of allowed arguments");
    }
    refused(&profile, true, &["head"], "not given a connection");
    assert!(!check(&profile, &[], false).unwrap().only_reads);
    refused(&custom(&[]), false, &["x"], "list of allowed arguments");
}

#[test]
fn a_refusal_shows_no_control_characters_and_little_text() {
    let argument = format!("\u{1b}[2J\n{}", "x".repeat(1000));
    let refusal = check(&Profile::PgDump, &[&argument], true).unwrap_err();
    assert!(!refusal.contains(char::is_control) && refusal.len() < 300, "{refusal}");
}

#[test]
fn a_program_that_connects_needs_what_its_operator_says_and_one_that_looks_runs_in_plans() {
    let rules = |list: &[&str]| list.iter().map(|rule| rule.parse().unwrap()).collect::<Vec<_>>();
    let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let needs = Some(vec![SqlAccess::Ddl, SqlAccess::Write]);
    let custom = Profile::Custom(Custom {
        allowed: rules(&["upgrade", "head"]),
        looks: rules(&["-c", "/srv/*", "heads"]),
        needs,
    });
    let look = custom.check(&words(&["-c", "/srv/alembic.ini", "heads"]), false).unwrap();
    assert!(look.only_reads && look.needs.is_empty() && !look.destructive, "{look:?}");
    let change = custom.check(&words(&["-c", "/srv/alembic.ini", "upgrade", "head"]), true).unwrap();
    assert_eq!((&*change.needs, change.reach), (&[SqlAccess::Ddl, SqlAccess::Write][..], Reach::Variables));
    assert!(!change.only_reads && change.destructive);
    // What connects is never taken for a look, and what is not allowed is refused as ever.
    assert!(!custom.check(&words(&["heads"]), true).unwrap().only_reads);
    assert!(!custom.check(&words(&["upgrade"]), false).unwrap().only_reads);
    assert!(custom.check(&words(&["-c", "/srv/../etc/x", "heads"]), false).is_err());
    assert!(custom.check(&words(&["downgrade"]), true).is_err());
}
