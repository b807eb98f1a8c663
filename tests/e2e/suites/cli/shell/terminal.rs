//! `rota shell` at a terminal: lines, questions, signals.

use super::{ORDERS, SLOW, fresh, number, slow, told};
use crate::rota;
use rota_testbed::eventually;
use rota_tests::{Rota, Terminal};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

async fn at_terminal(rota: &Rota, arguments: &[&str]) -> Terminal {
    let mut all = vec!["shell"];
    all.extend(arguments);
    let terminal = Terminal::begin(rota, env!("CARGO_BIN_EXE_rota"), &all).await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_lines_are_completed_continued_and_remembered() {
    let rota = rota();
    let database = fresh("shell_terminal", "create table customers_of_old (id int, favourite text)").await;
    let bind = format!("database={}", database.url());
    let mut terminal = at_terminal(&rota, &["--bind", &bind]).await;
    assert!(terminal.shown().await.unwrap().contains("database = database (read)"));
    terminal.enters("const add = (a, b) => {").await.unwrap();
    terminal.enters("return a + b }").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("add(40, 2)").await.unwrap();
    terminal.shows("42").await.unwrap();
    // Tables and columns come from the database.
    terminal.types("select count(*) as n from customers_o").await.unwrap();
    terminal.presses("Tab").await.unwrap();
    terminal.waits_at("from customers_of_old").await.unwrap();
    terminal.types(" where fav").await.unwrap();
    terminal.presses("Tab").await.unwrap();
    terminal.waits_at("where favourite").await.unwrap();
    terminal.enters(" is null;").await.unwrap();
    terminal.shows("(1 row)").await.unwrap();
    terminal.types("\\eff").await.unwrap();
    terminal.presses("Tab").await.unwrap();
    terminal.waits_at("\\effects").await.unwrap();
    terminal.presses("C-c").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("alter role nobody password 'hunter22';").await.unwrap();
    terminal.shows("denied").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.presses("C-d").await.unwrap();
    terminal.shows("ended: 0").await.unwrap();
    drop(terminal);
    let file = rota.state().join("shell/history");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let history = std::fs::read_to_string(&file).unwrap();
    assert!(history.contains("add(40, 2)") && !history.contains("hunter22"), "{history}");
    // The next one has them, and may keep none.
    let mut terminal = at_terminal(&rota, &["--bind", &bind]).await;
    terminal.presses("Up").await.unwrap();
    terminal.waits_at("favourite is null;").await.unwrap();
    terminal.presses("C-c").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("\\history off").await.unwrap();
    terminal.shows("is not kept").await.unwrap();
    terminal.enters("'unkept' + 1").await.unwrap();
    terminal.shows("unkept1").await.unwrap();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("'unkept'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_effects_are_asked_for() {
    let rota = rota();
    let database = fresh("shell_asks", ORDERS).await;
    let bind = format!("database={}", database.url());
    let total = async || number(&database, "select sum(total) from orders").await;
    let mut terminal = at_terminal(&rota, &["--bind", &bind]).await;
    terminal.enters("update orders set total = 0;").await.unwrap();
    terminal.shows("\\grant database=read,write").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("\\grant database=write").await.unwrap();
    terminal.shows("for the rest of this session? [y/N]").await.unwrap();
    terminal.enters("y").await.unwrap();
    terminal.shows("granted: write on database").await.unwrap();
    let script = "for (const id of [1, 2, 3]) await db.execute('update orders set total = 1 where id = $1', [id])";
    for (answer, after) in [("n", 60), ("", 60), ("C-c", 60), ("y", 3)] {
        terminal.enters(script).await.unwrap();
        terminal.shows("run these 3 effects? [y/N]").await.unwrap();
        match answer {
            "C-c" => terminal.presses("C-c").await.unwrap(),
            answer => terminal.enters(answer).await.unwrap(),
        }
        terminal.waits_at("rota>").await.unwrap();
        assert_eq!(total().await, after, "{answer:?}");
    }
    terminal.enters("\\effects").await.unwrap();
    let shown = terminal.shows("done").await.unwrap();
    assert_eq!(shown.matches("sql.execute").count(), 3, "{shown}");
    terminal.enters("\\plan on").await.unwrap();
    terminal.waits_at("rota (plan)>").await.unwrap();
    terminal.enters("delete from orders;").await.unwrap();
    terminal.shows("only planned").await.unwrap();
    terminal.enters("\\plan off").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("begin;").await.unwrap();
    terminal.waits_at("rota*>").await.unwrap();
    terminal.enters("\\quit").await.unwrap();
    terminal.shows("ended: 0").await.unwrap();
    assert_eq!(total().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_asked_for_with_what_was_registered_to_undo_before_it() {
    let rota = rota();
    let database = fresh("shell_widened", ORDERS).await;
    let bind = format!("database={}", database.url());
    let mut terminal = at_terminal(&rota, &["--bind", &bind]).await;
    let undo = "const it = await compensate('zero', async () => { await db.execute('update orders set total = 0') })";
    terminal.enters(undo).await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("\\grant database=write").await.unwrap();
    terminal.shows("`zero`, which was registered before").await.unwrap();
    terminal.enters("n").await.unwrap();
    terminal.shows("nothing was granted").await.unwrap();
    // What is dismissed has nothing of it.
    terminal.enters("await it.dismiss()").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("\\grant database=write").await.unwrap();
    terminal.shows("for the rest of this session? [y/N]").await.unwrap();
    terminal.enters("n").await.unwrap();
    terminal.shows("nothing was granted").await.unwrap();
    terminal.presses("C-d").await.unwrap();
    terminal.shows("ended: 0").await.unwrap();
    assert_eq!(number(&database, "select sum(total) from orders").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_the_statement_on_the_server_and_keeps_the_session() {
    let rota = rota();
    let database = fresh("shell_stopped", "").await;
    let bind = format!("database={}", database.url());
    let mut terminal = at_terminal(&rota, &["--bind", &bind]).await;
    terminal.enters("var kept = 'still' + ' here'").await.unwrap();
    terminal.waits_at("rota>").await.unwrap();
    for (statement, is_query) in [
        (format!("{SLOW};"), true),
        (format!("await db.query('{SLOW}')"), true),
        ("for (;;) {}".to_owned(), false),
        ("while (true) { try { await sleep(60) } catch {} }".to_owned(), false),
    ] {
        terminal.enters(&statement).await.unwrap();
        if is_query {
            eventually(Duration::from_secs(20), "the query", async || Ok((slow(&database).await == 1).then_some(())))
                .await
                .unwrap();
        } else {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let pressed = Instant::now();
        terminal.presses("C-c").await.unwrap();
        terminal.shows("stopped").await.unwrap();
        assert!(pressed.elapsed() < Duration::from_secs(1), "{statement}: {:?}", pressed.elapsed());
        terminal.waits_at("rota>").await.unwrap();
        eventually(Duration::from_secs(5), "its end", async || Ok((slow(&database).await == 0).then_some(())))
            .await
            .unwrap();
    }
    terminal.enters("kept").await.unwrap();
    terminal.shows("still here").await.unwrap();
    terminal.enters("select 6 * 7 as answer;").await.unwrap();
    terminal.shows("42").await.unwrap();
    terminal.presses("C-d").await.unwrap();
    terminal.shows("ended: 0").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_while_it_asks_it_does_nothing_and_ends() {
    let rota = rota();
    let database = fresh("shell_told", ORDERS).await;
    let bind = format!("database={}", database.url());
    let mut terminal = at_terminal(&rota, &["--bind", &bind, "--grant", "database=read,write"]).await;
    terminal.enters("delete from orders;").await.unwrap();
    terminal.shows("run this effect? [y/N]").await.unwrap();
    terminal.signals("TERM").await.unwrap();
    // Nobody answers.
    terminal.shows("ended: 130").await.unwrap();
    assert_eq!(number(&database, "select count(*) from orders").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_between_the_plan_and_what_is_done_stops_it() {
    let rota = rota();
    let database = fresh("shell_between", ORDERS).await;
    let bind = format!("database={}", database.url());
    let mut terminal = at_terminal(&rota, &["--bind", &bind, "--grant", "database=read,write"]).await;
    terminal.enters("delete from orders;").await.unwrap();
    terminal.shows("run this effect? [y/N]").await.unwrap();
    terminal.signals("INT").await.unwrap();
    // Whatever is answered after that.
    tokio::time::sleep(Duration::from_millis(300)).await;
    terminal.enters("y").await.unwrap();
    terminal.shows("stopped").await.unwrap();
    assert_eq!(number(&database, "select count(*) from orders").await, 3);
    // The session is there, and so is the next statement.
    terminal.waits_at("rota>").await.unwrap();
    terminal.enters("delete from orders;").await.unwrap();
    terminal.shows("run this effect? [y/N]").await.unwrap();
    terminal.enters("y").await.unwrap();
    terminal.shows("3 rows touched").await.unwrap();
    terminal.presses("C-d").await.unwrap();
    terminal.shows("ended: 0").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_from_elsewhere_it_ends_and_the_terminal_is_as_before() {
    let rota = rota();
    let database = fresh("shell_cancelled", "").await;
    let bind = format!("database={}", database.url());
    // At the prompt, and within a statement.
    for statement in [None, Some(format!("{SLOW};"))] {
        let mut terminal = at_terminal(&rota, &["--bind", &bind]).await;
        terminal.enters("1 + 1").await.unwrap();
        terminal.waits_at("rota>").await.unwrap();
        if let Some(statement) = statement {
            terminal.enters(&statement).await.unwrap();
            eventually(Duration::from_secs(20), "the query", async || Ok((slow(&database).await == 1).then_some(())))
                .await
                .unwrap();
        }
        let runs = rota.json(&["runs", "list", "--status", "running"]).await.unwrap();
        let id = runs[0]["id"].as_str().unwrap_or_else(|| panic!("{runs:#}")).to_owned();
        assert_eq!(runs.as_array().unwrap().len(), 1, "{runs:#}");
        let said = rota.run(&["runs", "cancel", &id]).await.unwrap();
        assert_eq!(said.status, Some(0), "{said:?}");
        terminal.shows("ended: 130").await.unwrap();
        let shown = rota.json(&["runs", "show", &id]).await.unwrap();
        assert_eq!(shown["run"]["status"], "cancelled", "{shown:#}");
        eventually(Duration::from_secs(5), "the end", async || Ok((slow(&database).await == 0).then_some(())))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_is_undone_when_the_session_is_cancelled() {
    let rota = rota();
    let database = fresh("shell_undo", ORDERS).await;
    let bind = format!("database={}", database.url());
    let input = "\
await compensate('put back', async (state) => { await db.execute('update orders set total = $1 where id = 1', [state.total]) }, { total: 10 })\n\
update orders set total = 99 where id = 1;\n";
    let arguments = ["--bind", &bind, "--grant", "database=read,write", "--yes"];
    told(&rota, 0, &arguments, input).await;
    assert_eq!(number(&database, "select total::bigint from orders where id = 1").await, 99, "it ended well");
    database.execute("update orders set total = 10").await.unwrap();
    // Nothing is typed for too long.
    let mut terminal = Terminal::begin(
        &rota,
        env!("CARGO_BIN_EXE_rota"),
        &[&["shell", "--idle-timeout", "3s"], &arguments[..]].concat(),
    )
    .await
    .unwrap();
    terminal.waits_at("rota>").await.unwrap();
    for line in input.lines() {
        terminal.enters(line).await.unwrap();
        terminal.waits_at("rota>").await.unwrap();
    }
    terminal.shows("ended: 130").await.unwrap();
    assert_eq!(number(&database, "select total::bigint from orders where id = 1").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_registered_before_a_grant_is_undone_by_what_was_granted_later() {
    let database = fresh("shell_undo_widened", ORDERS).await;
    let bind = format!("database={}", database.url());
    let begin = ["shell", "--idle-timeout", "3s", "--bind", &bind, "--yes"];
    let undo = "await compensate('back', async (state) => { await db.execute('update orders set total = $1', [state.total]) }, { total: 7 })";
    // Without the grant the undo may not, and with it the same one may.
    for (granted, shown, after) in [(false, "undoing `back` (try 2)", 60), (true, "ended: ", 21)] {
        let rota = rota();
        let mut terminal = Terminal::begin(&rota, env!("CARGO_BIN_EXE_rota"), &begin).await.unwrap();
        terminal.waits_at("rota>").await.unwrap();
        terminal.enters(undo).await.unwrap();
        terminal.waits_at("rota>").await.unwrap();
        if granted {
            terminal.enters("\\grant database=write").await.unwrap();
            terminal.shows("granted: write on database").await.unwrap();
        }
        // Denied, it is tried again after a while, and longer each time: that is not waited for.
        terminal.shows(shown).await.unwrap();
        assert_eq!(number(&database, "select sum(total) from orders").await, after, "granted: {granted}");
    }
}
