//! What is refused before anything is touched.

use super::{State, World};
use rota_tests::files;
use serde_json::Value;
use std::path::PathBuf;

fn dump(world: &World) -> PathBuf {
    let all = files(&world.bucket);
    all.into_iter().find(|file| file.display().to_string().contains("dump.pgdump")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_fails_and_touches_nothing() {
    let world = World::new("restore_missing").await;
    std::fs::remove_file(dump(&world)).unwrap();
    let (why, said) = world.failed(&[]).await;
    assert!(why.contains("dump.pgdump") && why.contains("missing"), "{why}");
    assert_eq!(said["effects"].as_array().unwrap().len(), 0, "{said:#}");
    let (why, _) = world.failed(&["-p", "backup=20200101T000000Z-00000000"]).await;
    assert!(why.contains("there is no backup \"20200101T000000Z-00000000\""), "{why}");
    std::fs::remove_dir_all(&world.bucket).unwrap();
    std::fs::create_dir(&world.bucket).unwrap();
    let (why, _) = world.failed(&[]).await;
    assert!(why.contains("there is no backup of database"), "{why}");
    world.is_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_found_before_anything_is_done() {
    let world = World::new("restore_damaged").await;
    let file = dump(&world);
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&file, &flipped).unwrap();
    let (why, said) = world.failed(&[]).await;
    assert!(why.contains("not the bytes that were stored"), "{why}");
    let effects = said["effects"].as_array().unwrap();
    assert!(
        effects.iter().all(|effect| effect["detail"].as_str().unwrap().contains("advisory")),
        "only the lock: {effects:#?}"
    );
    // Cut, as the runbook's own check lets through.
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let (why, said) = world.failed(&[]).await;
    assert!(why.contains("bytes instead of"), "{why}");
    assert_eq!(said["effects"].as_array().unwrap().len(), 0, "{said:#}");
    world.is_untouched().await;
    // Whole again, it is restored.
    std::fs::write(&file, &whole).unwrap();
    world.restored(&[]).await;
    assert_eq!(State::of(&world.live).await, State::backed_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_is_asked_for_and_a_plan_proves_the_backup_and_changes_nothing() {
    let world = World::new("restore_plan").await;
    let arguments = world.arguments(&[]);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "RESTORE").collect();
    arguments.retain(|word| *word != "--confirm");
    let mut command = vec!["run", "postgres-restore"];
    command.extend(&arguments);
    let said = world.rota.run(&command).await.unwrap();
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.all().contains("--confirm RESTORE"), "{said:?}");

    let said = world.restored(&["--plan"]).await;
    let effects: Vec<&str> =
        said["effects"].as_array().unwrap().iter().map(|effect| effect["detail"].as_str().unwrap()).collect();
    for wanted in ["TEMPLATE template0", "pg_restore --exit-on-error", "ALLOW_CONNECTIONS false", "RENAME TO"] {
        assert!(effects.iter().any(|effect| effect.contains(wanted)), "{wanted}: {effects:#?}");
    }
    assert_eq!(said["report"]["data"]["proven"], "every byte read and decoded in this run");
    let summary = said["report"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("would restore backup") && summary.contains("would be kept as"), "{summary}");
    world.is_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_room_is_refused_and_unknown_room_is_said() {
    let world = World::new("restore_room").await;
    let (why, _) = world.failed(&["-p", "free_bytes=1000"]).await;
    assert!(why.contains("the restore needs about") && why.contains("1000 bytes are free"), "{why}");
    world.is_untouched().await;
    let arguments = world.arguments(&["--plan"]);
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .map(|word| if word.starts_with("free_bytes") { "jobs=1" } else { word })
        .collect();
    let (_, said) = crate::run(&world.rota, "postgres-restore", &arguments).await;
    // The server is one for all tests: that another restore is under way on it, or was left there by one that was killed, is a finding about
    // that one's database, and worse than what is not known.
    let about_another = |finding: &&Value| {
        let title = finding["title"].as_str().unwrap();
        title.starts_with("database ") && !title.contains(world.live.name())
    };
    let findings = said["report"]["findings"].as_array().unwrap();
    let ours: Vec<&Value> = findings.iter().filter(|finding| !about_another(finding)).collect();
    let room = ours.iter().find(|finding| finding["title"].as_str().unwrap().contains("has room"));
    assert_eq!(room.unwrap()["severity"], "unknown", "{said:#}");
    assert!(
        ours.iter().all(|finding| finding["severity"] != "warning" && finding["severity"] != "critical"),
        "{said:#}"
    );
    if ours.len() == findings.len() {
        assert_eq!(said["report"]["status"], "unknown", "{said:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_rights_of_the_database_are_not_lost_in_silence() {
    let world = World::new("restore_properties").await;
    let (role, _) = world.server.fresh_role("restore_app", "").await.unwrap();
    let name = world.live.name();
    world
        .live
        .execute(&format!(
            "alter database {name} set work_mem = '8MB'; revoke connect on database {name} from public; grant connect on database {name} to {role}"
        ))
        .await
        .unwrap();
    let (why, _) = world.failed(&[]).await;
    for wanted in [
        format!("ALTER DATABASE {name} SET work_mem TO '8MB'"),
        format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"),
        format!("GRANT CONNECT ON DATABASE {name} TO {role}"),
    ] {
        assert!(why.contains(&wanted), "{wanted}: {why}");
    }
    world.is_untouched().await;
    let said = world.restored(&["-p", "properties=report"]).await;
    assert_eq!(said["report"]["status"], "critical", "{said:#}");
    assert_eq!(State::of(&world.live).await, State::backed_up());
    // The statements that it gives do bring them back.
    let finding = said["report"]["findings"].as_array().unwrap().iter().find(|f| f["severity"] == "critical").unwrap();
    let advice = finding["remedy"]["note"].as_str().unwrap();
    let statements = advice.strip_prefix("As a superuser, in any database: ").unwrap();
    for statement in statements.split("; ") {
        world.server.execute("postgres", statement).await.unwrap();
    }
    let (why, _) = world.failed(&[]).await;
    assert!(why.contains("work_mem") && why.contains("REVOKE CONNECT") && why.contains(&role), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_a_standby_and_the_servers_own_databases_are_refused() {
    let world = World::new("restore_odd").await;
    let (why, _) = world.failed(&["-p", "target=postgres"]).await;
    assert!(why.contains("the server's own"), "{why}");
    let (role, password) = world.server.fresh_role("restore_plain", "").await.unwrap();
    let arguments = world.arguments_as(&world.server.url_as(&role, &password, "postgres"), &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, said) = crate::run(&world.rota, "postgres-restore", &arguments).await;
    assert_eq!(status, Some(1), "{said:#}");
    assert!(said["error"]["message"].as_str().unwrap().contains("may not make databases"), "{said:#}");
    world.is_untouched().await;
}
