//! `rota shell` from a pipe: what is done, denied, limited, masked, saved.

use super::{ORDERS, SLOW, error, fresh, number, output, piped, slow, told};
use crate::rota;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn variables_functions_and_sessions_last_from_statement_to_statement() {
    let rota = rota();
    let database = fresh("shell_lasts", ORDERS).await;
    let bind = format!("database={}", database.url());
    let input = "\
const a = 1\n\
let b = a + 1; let b = b + 1\n\
function twice(n) {\n  return n * 2;\n}\n\
class Box { constructor(n) { this.n = n } }\n\
[a, b, twice(b), new Box(7).n]\n\
const rows = await db.query('select id from orders order by id')\n\
rows.length\n\
select id, total\n  from orders -- ;\n where total > 10 order by id;\n\
db.query('select 42 as answer')\n\
_.length + args.more\n\
x = `a\n${ '}' }`\n\
var y = `a\n${ '}' }`\n\
y\n";
    // A name that is not declared cannot be written to: that statement fails, which the shell ends with.
    let all = told(&rota, 1, &["--bind", &bind, "--arg", "more=5", "--keep-going"], input).await;
    let states: Vec<&str> = all[..all.len() - 1].iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "failed").count(), 1, "{all:#?}");
    assert_eq!(output(&all[4]), ["[1, 3, 6, 7]"], "{:#}", all[4]);
    assert_eq!(output(&all[6]), ["3"]);
    assert_eq!((&all[7]["rows"], &all[7]["tables"][0]["rows"]), (&2.into(), &serde_json::json!([[2, 20], [3, 30]])));
    assert_eq!(all[8]["tables"][0]["rows"], serde_json::json!([[42]]));
    assert_eq!(output(&all[9]), ["6"]);
    assert!(error(&all[10]).contains("not defined"), "{:#}", all[10]);
    assert_eq!(output(&all[12]), ["a", "}"]);
    // It is a run like others, with what was typed.
    let run = all.last().unwrap();
    assert_eq!((&run["run"]["plugin"], &run["run"]["status"]), (&"script".into(), &"succeeded".into()), "{run:#}");
    let id = run["run"]["id"].as_str().unwrap();
    assert_eq!(all[0]["run"], id);
    let shown = rota.json(&["runs", "show", id]).await.unwrap();
    let statements = shown["report"]["data"]["statements"].as_array().unwrap();
    assert_eq!((statements.len(), &statements[0]["text"]), (13, &"const a = 1".into()), "{shown:#}");
    let logs = rota.run(&["runs", "logs", id]).await.unwrap();
    assert!(logs.stdout.contains("class Box"), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_ends_a_pipe_unless_told_and_never_the_session() {
    let rota = rota();
    let database = fresh("shell_fails", ORDERS).await;
    let bind = format!("database={}", database.url());
    let input =
        "var n = 5\nthrow new Error('no further')\nn + 1\nselect 1/0;\nlet = ;\nselect nowhere from orders;\nn + 2\n";
    let all = told(&rota, 1, &["--bind", &bind], input).await;
    assert_eq!(all.len(), 3, "{all:#?}");
    assert!(error(&all[1]).contains("[2]:1:") && error(&all[1]).contains("no further"), "{:#}", all[1]);
    let all = told(&rota, 1, &["--bind", &bind, "--keep-going"], input).await;
    assert_eq!((all.len(), output(&all[2]), output(&all[6])), (8, vec!["6"], vec!["7"]), "{all:#?}");
    assert!(error(&all[3]).contains("division by zero"), "{:#}", all[3]);
    assert!(error(&all[4]).contains("SyntaxError"), "{:#}", all[4]);
    // What does not end is none.
    let said = piped(&rota, &["--bind", &bind], "select 1\n").await;
    assert!(said.status == Some(2) && said.stdout.contains("semicolon"), "{said:?}");
    let said = piped(&rota, &["--bind", &bind], "\\plann on\n").await;
    assert!(said.status == Some(2) && said.stdout.contains("did you mean \\\\plan"), "{said:?}");
    let said = piped(&rota, &["--bind", "databse=x"], "1\n").await;
    assert!(said.status == Some(2) && said.stdout.contains("database"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_agreed_to_and_held_to_what_was_planned() {
    let rota = rota();
    let database = fresh("shell_held", ORDERS).await;
    let bind = format!("database={}", database.url());
    let arguments = ["--bind", &bind, "--grant", "database=read,write,ddl"];
    let total = async || number(&database, "select sum(total) from orders").await;
    // Nobody is there to agree.
    let all = told(&rota, 3, &arguments, "select 1;\nupdate orders set total = 0;\nprint('not reached')\n").await;
    assert_eq!((all.len(), &all[1]["state"]), (3, &"refused".into()), "{all:#?}");
    assert!(error(&all[1]).contains("this effect") && error(&all[1]).contains("--yes"), "{:#}", all[1]);
    assert_eq!(all[1]["effects"][0]["outcome"], "planned");
    assert_eq!(total().await, 60);
    let yes = [&arguments[..], &["--yes"]].concat();
    // What an effect answered, and what was made by one, is there when the next statement is planned.
    let input = "\
const changed = await db.execute('update orders set total = total + 1 where id < $1', [3])\n\
await db.execute('insert into orders values ($1, $2)', [changed + 2, changed])\n\
create table made (n int);\n\
insert into made select id from orders;\n\
const list = new Map([['a', changed]]); const date = new Date(5)\n\
await db.execute('insert into made values ($1)', [list.get('a') * 100 + date.getTime()])\n\
\\effects\n";
    let all = told(&rota, 0, &yes, input).await;
    let run = all.last().unwrap();
    assert_eq!(run["effects"].as_array().unwrap().len(), 5, "{all:#?}");
    assert!(run["effects"].as_array().unwrap().iter().all(|effect| effect["outcome"] == "done"), "{run:#}");
    assert_eq!(all[all.len() - 2]["effects"].as_array().unwrap().len(), 5);
    assert_eq!(total().await, 64);
    assert_eq!(number(&database, "select max(n)::bigint from made").await, 205);
    // What the plan did not show is not let through, whatever a statement or one before it does.
    for (sly, first) in [
        ("if (!isPlan) await db.execute('delete from orders')\n", 11),
        // The first of the two was agreed to, and is done; the second was not.
        (
            "for (let n = isPlan ? 1 : 0; n < 2; n++) await db.execute('update orders set total = total + 1 where id = 1')\n",
            12,
        ),
        ("var values = isPlan ? [1] : [2]; await db.execute('update orders set total = $1', values)\n", 12),
    ] {
        let said = piped(&rota, &[&yes[..], &["--keep-going"]].concat(), sly).await;
        assert_eq!(said.status, Some(3), "{sly}: {said:?}");
        assert_eq!(number(&database, "select count(*) from orders where total > 2").await, 3, "{sly}: {said:?}");
        let now = number(&database, "select total::bigint from orders where id = 1").await;
        assert_eq!(now, first, "{sly}: {said:?}");
    }
    // What a variable does while it is looked at is no statement's, and nobody agreed to it. (Where it is shown, it is the statement's.)
    let trap = "Object.defineProperty(globalThis, 'trap', { enumerable: true, get() { db.execute('delete from orders'); return 1 } }); 1\n1\n1\n";
    let all = told(&rota, 0, &[&yes[..], &["--keep-going"]].concat(), trap).await;
    assert_eq!(all.last().unwrap()["effects"], serde_json::json!([]), "{all:#?}");
    assert_eq!(number(&database, "select count(*) from orders").await, 4, "{all:#?}");
    // Only planned, nothing is done; and what is read is read.
    let all =
        told(&rota, 0, &[&yes[..], &["--plan"]].concat(), "delete from orders;\nselect count(*) from orders;\n").await;
    assert_eq!(
        (&all[0]["state"], &all[1]["tables"][0]["rows"]),
        (&"planned".into(), &serde_json::json!([[4]])),
        "{all:#?}"
    );
    let all = told(&rota, 0, &yes, "\\plan on\ndelete from orders;\n\\plan off\n1 + 1\n").await;
    assert_eq!(all[0]["state"], "planned", "{all:#?}");
    assert_eq!(number(&database, "select count(*) from orders").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grant_nothing_is_changed_and_the_denial_names_it() {
    let rota = rota();
    let database = fresh("shell_denied", ORDERS).await;
    let bind = format!("database={}", database.url());
    let input = "delete from orders;\nawait db.execute('delete from orders')\nwith x as (delete from orders returning 1) select * from x;\n1\n";
    let all = told(&rota, 3, &["--bind", &bind, "--yes", "--keep-going"], input).await;
    for statement in &all[..3] {
        assert!(error(statement).contains("--grant database=read,write"), "{statement:#}");
    }
    assert_eq!((&all[3]["state"], number(&database, "select count(*) from orders").await), (&"done".into(), 3));
    // Granted in the session, it goes; and it is on record.
    let input = "\\grant database=write\ndelete from orders where id = 3;\n";
    // Nobody is there to agree: denied, with what to give.
    let all = told(&rota, 3, &["--bind", &bind], input).await;
    assert!(error(&all[0]).starts_with("denied") && error(&all[0]).contains("--yes"), "{all:#?}");
    assert!(error(&all[0]).contains("--grant database=read,write when"), "{all:#?}");
    assert_eq!((all.len(), number(&database, "select count(*) from orders").await), (2, 3), "{all:#?}");
    let all = told(&rota, 0, &["--bind", &bind, "--yes"], input).await;
    assert_eq!(number(&database, "select count(*) from orders").await, 2, "{all:#?}");
    let id = all.last().unwrap()["run"]["id"].as_str().unwrap().to_owned();
    let logs = rota.run(&["runs", "logs", &id]).await.unwrap();
    assert!(logs.stdout.contains("granted on database: write"), "{logs:?}");
    let standby = format!("standby={}", database.url());
    let said = piped(&rota, &["--bind", &standby, "--yes"], "\\grant standby=write\n").await;
    assert!(said.status == Some(2) && said.stdout.contains("does not declare"), "{said:?}");
    let said = piped(&rota, &["--bind", &bind, "--yes"], "\\grant cache=write\n").await;
    assert!(said.status == Some(2) && said.stdout.contains("nothing is bound"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_does_no_more_by_what_is_granted_meanwhile() {
    let rota = rota();
    let database = fresh("shell_under_way", ORDERS).await;
    let bind = format!("database={}", database.url());
    // It goes on behind the statements, and was agreed to by nobody.
    let input = "\
var done = false; void (async () => { for (let i = 0; i < 200; i++) { try { await db.execute('delete from orders'); done = true } catch {} await sleep(0.01) } })(); null\n\
\\grant database=write\n\
await sleep(1)\n\
print(done)\n";
    let said = piped(&rota, &["--bind", &bind, "--yes", "--keep-going"], input).await;
    assert_eq!(number(&database, "select count(*) from orders").await, 3, "{said:?}");
    assert!(said.stdout.contains(r#"["false"]"#), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_spans_statements_and_is_rolled_back_at_the_end() {
    let rota = rota();
    let database = fresh("shell_transaction", ORDERS).await;
    let bind = format!("database={}", database.url());
    let arguments = ["--bind", &bind, "--grant", "database=read,write", "--yes", "--keep-going"];
    let input = "begin;\ndelete from orders where id = 1;\nselect count(*) from orders;\nrollback;\nselect count(*) from orders;\n\
begin;\ndelete from orders where id = 2;\ncommit;\ncommit;\nbegin;\ndelete from orders;\n";
    let all = told(&rota, 1, &arguments, input).await;
    assert_eq!(all[2]["tables"][0]["rows"], serde_json::json!([[2]]), "{all:#?}");
    assert_eq!(all[4]["tables"][0]["rows"], serde_json::json!([[3]]), "{all:#?}");
    assert!(error(&all[8]).contains("no transaction is open"), "{:#}", all[8]);
    assert_eq!(number(&database, "select count(*) from orders").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_for_ever_is_stopped_and_the_session_goes_on() {
    let rota = rota();
    let database = fresh("shell_for_ever", "").await;
    let bind = format!("database={}", database.url());
    let input = format!(
        "\
var kept = 'kept'\n\
for (;;) {{}}\n\
for (;;) await null\n\
for (;;) {{ try {{ await sleep(1000) }} catch {{}} }}\n\
for (;;) {{ try {{ for (;;) {{}} }} catch {{}} finally {{ kept = 'bent' }} }}\n\
/(a+)+$/.test('a'.repeat(40) + '!')\n\
await Promise.all([1, 2, 3].map(() => db.query('{SLOW}').all()))\n\
{SLOW};\n\
sleep(60); 1\n\
kept\n\
select 1 as one;\n"
    );
    let began = Instant::now();
    let all = told(&rota, 124, &["--bind", &bind, "--statement-timeout", "1s", "--keep-going"], &input).await;
    for statement in &all[1..9] {
        assert!(statement["state"] == "interrupted" && error(statement).contains("timed-out"), "{statement:#}");
    }
    assert_eq!((output(&all[9]), &all[10]["tables"][0]["rows"]), (vec!["kept"], &serde_json::json!([[1]])), "{all:#?}");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert_eq!(slow(&database).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_session_and_leaves_none_behind() {
    let rota = rota();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_rota"))
        .arg("shell")
        .env_clear()
        .envs(rota.environment())
        .current_dir(rota.path("work"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"1\n2\n").unwrap();
    assert!(!child.wait().unwrap().success());
    let runs = rota.json(&["runs", "list"]).await.unwrap();
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_talked_with_by_a_shell_and_by_nobody_else() {
    let rota = rota();
    // The same plugin and parameter, run otherwise: its stdin is empty.
    let said = rota
        .run_with(&["run", "script", "-p", "script=", "-p", "session=true"], "{\"hello\":1}\n{\"js\":\"1\"}\n")
        .await
        .unwrap();
    assert!(said.status == Some(1) && said.stdout.contains("nobody is there to talk with it"), "{said:?}");
    let all = told(&rota, 0, &[], "1 + 1\n").await;
    let id = all.last().unwrap()["run"]["id"].as_str().unwrap().to_owned();
    let again = rota.run(&["runs", "retry", &id]).await.unwrap();
    assert_ne!(again.status, Some(0), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_secret_is_neither_on_record_nor_saved() {
    let rota = rota();
    let input = "var password = 'hunter2'\nprint(password.length, args.token.length)\n\\save quiet\n";
    let all = told(&rota, 0, &["--arg", "token=hunter2"], input).await;
    assert_eq!((output(&all[1]), &all[2]["left_out"]), (vec!["7 7"], &1.into()), "{all:#?}");
    let source = std::fs::read_to_string(rota.path("work/quiet/procedure.js")).unwrap();
    assert!(!source.contains("hunter2") && source.contains("A statement is left out here"), "{source}");
    let logs = rota.run(&["runs", "logs", "last"]).await.unwrap();
    assert!(!logs.all().contains("hunter2") && logs.stdout.contains("held a secret"), "{logs:?}");
    let shown = rota.json(&["runs", "show", "last"]).await.unwrap();
    assert!(!shown["report"].to_string().contains("hunter2"), "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_and_a_terminal_is_not_steered() {
    let rota = rota();
    let database = fresh("shell_secret", "").await;
    let url = database.url();
    let secret = url.split(':').nth(2).and_then(|rest| rest.split('@').next()).unwrap().to_owned();
    let input =
        format!("print('{secret}')\nthrow new Error('{secret}')\n'\\x1b[2J{secret}'\nselect '{secret}' as a;\n");
    for form in ["human", "json"] {
        let said =
            piped(&rota, &["--bind", &format!("database={url}"), "--keep-going", "--output", form], &input).await;
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(!said.all().contains(&secret) && !said.all().contains('\u{1b}'), "{form}: {said:?}");
    }
    for shown in ["show", "logs"] {
        let said = rota.run(&["runs", shown, "last"]).await.unwrap();
        assert!(said.status == Some(0) && !said.all().contains(&secret), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_worked_becomes_a_plugin() {
    let rota = rota();
    let database = fresh("shell_saved", ORDERS).await;
    let bind = format!("database={}", database.url());
    let input = "\
\\save too-early\n";
    let said = piped(&rota, &["--bind", &bind], input).await;
    assert!(said.status == Some(2) && said.stdout.contains("nothing has worked"), "{said:?}");
    let input = "\
const limit = args.below\n\
select nowhere from orders;\n\
const ids = (await db.query('select id from orders where id < $1 order by id', [limit])).map((row) => row.id)\n\
for (const id of ids) await db.execute('update orders set total = total + 5 where id = $1', [id])\n\
begin;\n\
delete from orders where id = 3;\n\
commit;\n\
begin;\ndelete from orders;\nrollback;\n\
select id, '`${x}\\' as odd from orders order by id;\n\
\\save mend-orders\n";
    let arguments =
        ["--bind", &bind, "--grant", "database=read,write,ddl", "--yes", "--keep-going", "--arg", "below=3"];
    let all = told(&rota, 1, &arguments, input).await;
    assert_eq!(number(&database, "select sum(total) from orders").await, 40, "{all:#?}");
    let folder = rota.path("work/mend-orders");
    let source = std::fs::read_to_string(folder.join("procedure.js")).unwrap();
    assert!(!source.contains("nowhere") && !source.contains("delete from orders`"), "{source}");
    database.execute("delete from orders").await.unwrap();
    database.execute("insert into orders select i, i * 10 from generate_series(1, 3) i").await.unwrap();
    let built = rota.json(&["plugin", "build", folder.to_str().unwrap()]).await.unwrap();
    assert_eq!((&built["plugin"], &built["risk"]), (&"mend-orders".into(), &"change".into()), "{built:#}");
    assert_eq!(built["slots"][0]["accesses"], serde_json::json!(["read", "write"]), "{built:#}");
    let checked = rota.run(&["plugin", "check", folder.to_str().unwrap()]).await.unwrap();
    assert_eq!(checked.status, Some(0), "{checked:?}");
    let file = folder.join("mend-orders.wasm").display().to_string();
    let run = ["run", &file, "--bind", &bind, "--grant", "declared"];
    let planned = rota.json(&[&run[..], &["--plan"]].concat()).await.unwrap();
    assert_eq!(planned["effects"].as_array().unwrap().len(), 3, "{planned:#}");
    let done = rota.json(&run).await.unwrap();
    assert_eq!(done["run"]["status"], "succeeded", "{done:#}");
    assert_eq!(number(&database, "select sum(total) from orders").await, 40, "{done:#}");
    // What is there is never written to, and a name that is taken is refused.
    for taken in ["mend-orders", "postgres-health", "No Name"] {
        let said = piped(&rota, &["--bind", &bind], &format!("1\n\\save {taken}\n")).await;
        assert_eq!(said.status, Some(2), "{said:?}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("procedure.js")).unwrap(), source);
}
