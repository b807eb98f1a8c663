//! One server, no cluster.

use super::{State, World, titles, until};
use rota_testbed::{Postgres, PostgresVersion};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_backup_is_put_in_the_live_databases_place_whole() {
    let world = World::new("restore_live").await;
    in_its_place(&world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_postgresql_18_with_two_jobs() {
    let world = World::on(PostgresVersion::V18, "restore_live_18").await;
    in_its_place(&world, &["-p", "jobs=2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_16_moves_to_18_and_one_of_18_is_not_taken_by_16() {
    let mut world = World::new("restore_move").await;
    let old = world.server.clone();
    world.server = Postgres::shared_version(PostgresVersion::V18).await.unwrap();
    let said = world.restored(&[]).await;
    assert_eq!(State::at(&world.server, world.live.name()).await, State::backed_up());
    assert!(titles(&said).iter().any(|title| title.contains("a move to another major version")), "{said:#}");
    world.server.execute("postgres", &format!("drop database {}", world.live.name())).await.unwrap();
    world.server = old;
    let newer = World::on(PostgresVersion::V18, "restore_newer").await;
    let arguments = newer.arguments_as(&world.server.url("postgres"), &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, said) = crate::run(&newer.rota, "postgres-restore", &arguments).await;
    assert_eq!(status, Some(1), "{said:#}");
    assert!(said["error"]["message"].as_str().unwrap().contains("older than the backup's"), "{said:#}");
}

/// Seen of the script: rows doubled, later tables left, a stop at a foreign key.
async fn in_its_place(world: &World, more: &[&str]) {
    let said = world.restored(more).await;
    let data = &said["report"]["data"];
    assert_eq!(State::of(&world.live).await, State::backed_up(), "{said:#}");
    assert_eq!((&data["swapped"], &data["tables"], &data["rows"]), (&json!(true), &json!(3), &json!(301)), "{data:#}");
    // What it was before is kept, whole and closed, and says what it is.
    let old = data["old_database"].as_str().unwrap();
    assert_eq!(world.databases().await, [world.live.name().to_owned(), old.to_owned()]);
    let mut connection = world.server.connect("postgres").await.unwrap();
    let (closed, remark): (bool, String) = sqlx::query_as(
        "select not datallowconn, shobj_description(oid, 'pg_database') from pg_database where datname = $1",
    )
    .bind(old)
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert!(
        closed && remark.contains("kept until") && remark.contains(said["run"]["id"].as_str().unwrap()),
        "{remark}"
    );
    // The planner's statistics are there.
    let analysed: bool = sqlx::query_scalar("select count(*) > 0 from pg_stats where tablename = 'orders'")
        .fetch_one(&mut world.live.connect().await.unwrap())
        .await
        .unwrap();
    assert!(analysed);
    // The way back that the report gives is one.
    let kept = said["report"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["title"].as_str().unwrap().contains("is kept for 7 day(s)"));
    let advice = kept.unwrap()["remedy"]["note"].as_str().unwrap();
    let statements = advice.split("applications stopped: ").nth(1).unwrap();
    for statement in statements.split("; ") {
        world.server.execute("postgres", statement).await.unwrap();
    }
    assert_eq!(State::of(&world.live).await, State::after());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_beside_leaves_the_live_database_alone_and_a_database_that_is_not_there_is_made() {
    let world = World::new("restore_beside").await;
    let said = world.restored(&["-p", "only_beside=true"]).await;
    let beside = said["report"]["data"]["restored"].as_str().unwrap().to_owned();
    assert_eq!(said["report"]["data"]["swapped"], false);
    assert_eq!(State::at(&world.server, &beside).await, State::backed_up());
    assert_eq!(State::of(&world.live).await, State::after());
    let other = format!("{}_other", world.live.name());
    let said = world.restored(&["-p", &format!("target={other}")]).await;
    assert_eq!(
        (&said["report"]["data"]["old_database"], &said["report"]["data"]["swapped"]),
        (&json!(null), &json!(true))
    );
    assert_eq!(State::at(&world.server, &other).await, State::backed_up());
    assert_eq!(State::of(&world.live).await, State::after());
    assert_eq!(world.databases().await, [world.live.name().to_owned(), other, beside]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_use_is_not_swapped_unless_they_are_to_be_ended() {
    let world = World::new("restore_sessions").await;
    let mut other = world.live.connect().await.unwrap();
    sqlx::query("set application_name = 'somebody at work'").execute(&mut other).await.unwrap();
    let (why, said) = world.failed(&[]).await;
    assert!(why.contains("is used by 1 session(s) of others") && why.contains("somebody at work"), "{why}");
    assert_eq!(said["effects"].as_array().unwrap().len(), 0, "before anything is done: {said:#}");
    sqlx::query("select 1").execute(&mut other).await.unwrap();
    let said = world.restored(&["-p", "end_sessions=true"]).await;
    let ended = said["report"]["data"]["sessions_ended"].as_array().unwrap();
    assert!(ended.len() == 1 && ended[0].as_str().unwrap().contains("somebody at work"), "{ended:?}");
    assert!(sqlx::query("select 1").execute(&mut other).await.is_err(), "it was ended");
    assert_eq!(State::of(&world.live).await, State::backed_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_runs_and_the_other_is_told_who() {
    let world = World::new("restore_two").await;
    // Restoring it goes on only once a role is gone: roles can be seen from every database.
    let name = world.live.name();
    let gate = format!("{name}_gate");
    world
        .live
        .execute(&format!(
            "create function open_gate(int) returns boolean language plpgsql as $$ begin \
               while exists (select from pg_catalog.pg_roles where rolname = '{gate}') loop perform pg_catalog.pg_sleep(0.02); end loop; return true; end $$; \
             create table slow (id int check (public.open_gate(id))); insert into slow values (1)"
        ))
        .await
        .unwrap();
    let backup = world.back_up().await;
    assert_eq!(backup["report"]["data"]["stored"], true, "{backup:#}");
    world.server.create_role(&gate, "").await.unwrap();
    let first = {
        let mut command = vec!["run".to_owned(), "postgres-restore".to_owned()];
        command.extend(world.arguments(&["--output", "json"]));
        world.rota.start(&command).unwrap()
    };
    until(
        &world.server,
        "the first restore to fill its database",
        "select exists (select from pg_stat_activity where starts_with(datname, $1) and query like 'COPY%slow%')",
        &format!("{name}_restore_"),
    )
    .await;
    // Another operator: another machine, another store.
    let second = World {
        rota: crate::rota(),
        server: world.server.clone(),
        live: world.server.fresh_database("none").await.unwrap(),
        bucket: world.bucket.clone(),
    };
    let arguments = world.arguments(&[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, said) = crate::run(&second.rota, "postgres-restore", &arguments).await;
    assert_eq!(status, Some(1), "{said:#}");
    let why = said["error"]["message"].as_str().unwrap().to_owned();
    world.server.execute("postgres", &format!("drop role {gate}")).await.unwrap();
    let first = first.end().await.unwrap();
    let first = first.json().unwrap_or_else(|error| panic!("{error}"));
    let run = first["run"]["id"].as_str().unwrap();
    assert!(why.contains("is being restored by another run") && why.contains(run), "{why} names {run}");
    assert_eq!(first["run"]["status"], "succeeded", "{first:#}");
    assert_eq!(State::of(&world.live).await, State { afterwards: true, ..State::after() });
    assert_eq!(world.databases().await.len(), 2, "the live one and the old one, nothing of the second operator");
}

/// The role may end whom it likes but for superusers, and the plan says who that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_the_sessions_of_superusers_that_the_role_cannot_end() {
    let world = World::new("restore_superusers").await;
    let (role, password) = world.server.fresh_role("restore_ender", "createdb").await.unwrap();
    let name = world.live.name();
    world
        .live
        .execute(&format!(
            "alter database {name} owner to {role}; grant pg_monitor, pg_signal_backend to {role}; alter schema public owner to {role}"
        ))
        .await
        .unwrap();
    let mut other = world.live.connect().await.unwrap();
    sqlx::query("set application_name = 'psql of a superuser'").execute(&mut other).await.unwrap();
    let url = world.server.url_as(&role, &password, "postgres");
    let control = format!("control={}", world.server.url("postgres"));
    let plan = async |url: &str| {
        let arguments = world.arguments_as(url, &["--bind", &control, "-p", "end_sessions=true", "--plan"]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (status, said) = crate::run(&world.rota, "postgres-restore", &arguments).await;
        assert_eq!(status, Some(0), "{said:#}");
        said
    };
    let said = plan(&url).await;
    let title = format!("{name}: 1 session(s) of superusers, which this role cannot end");
    let finding = said["report"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["title"].as_str().unwrap().starts_with(&title));
    let finding = finding.unwrap_or_else(|| panic!("{said:#}"));
    assert_eq!(finding["severity"], "warning", "{said:#}");
    assert!(finding["title"].as_str().unwrap().contains("psql of a superuser"), "{said:#}");
    assert!(finding["remedy"]["note"].as_str().unwrap().contains("pg_terminate_backend"), "{said:#}");
    // A superuser ends them.
    let said = plan(&world.server.url("postgres")).await;
    assert!(!said.to_string().contains("session(s) of superusers"), "{said:#}");
    sqlx::query("select 1").execute(&mut other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_restores_and_a_privileged_binding_makes_the_extension() {
    let world = World::new("restore_owner").await;
    let (role, password) = world.server.fresh_role("restore_owner", "createdb").await.unwrap();
    let name = world.live.name();
    // All but the extension is the role's.
    world
        .live
        .execute(&format!(
            "alter database {name} owner to {role}; alter table orders owner to {role}; alter table items owner to {role}; \
             alter table \"Odd \"\"name\"\" %\" owner to {role}; alter view open_orders owner to {role}; alter table afterwards owner to {role}; \
             grant pg_monitor to {role}; alter schema public owner to {role}"
        ))
        .await
        .unwrap();
    world.back_up().await;
    let url = world.server.url_as(&role, &password, "postgres");
    let arguments = world.arguments_as(&url, &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, said) = crate::run(&world.rota, "postgres-restore", &arguments).await;
    assert_eq!(status, Some(1), "{said:#}");
    assert!(said["error"]["message"].as_str().unwrap().contains("may not create extension vector"), "{said:#}");
    let control = format!("control={}", world.server.url("postgres"));
    let arguments = world.arguments_as(&url, &["--bind", &control]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, said) = crate::run(&world.rota, "postgres-restore", &arguments).await;
    assert_eq!(status, Some(0), "{said:#}");
    assert!(titles(&said).contains(&"made by the privileged binding: extension vector"), "{said:#}");
    let owner: String = sqlx::query_scalar("select pg_get_userbyid(datdba)::text from pg_database where datname = $1")
        .bind(name)
        .fetch_one(&mut world.server.connect("postgres").await.unwrap())
        .await
        .unwrap();
    assert_eq!(owner, role);
}
