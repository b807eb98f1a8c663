//! ALTER SYSTEM, by what the binding names.

use super::*;

#[tokio::test]
async fn alter_system_sets_what_the_binding_names_and_nothing_else() {
    let database = database("host_alter_system").await;
    let before = sqlx::query_scalar::<_, String>("show random_page_cost");
    let before = before.fetch_one(&mut database.connect().await.unwrap()).await.unwrap();
    // The server is shared with other tests, which look at other parameters. With nothing else granted, in a session that only reads; the binding names work_mem and random_page_cost.
    let mut host = Host::new(binding(&database.url()), Mode::Execute, &["alter-system"]);
    host.call(async |imports| {
        let session = open(imports).await;
        let run = async |statement: &str| {
            HostSessionWithStore::execute(imports, again(&session), statement.into(), vec![]).await.unwrap()
        };
        for (statement, why) in [
            (
                "alter system set maintenance_work_mem = '5MB'",
                "only work_mem, Random_Page_Cost, not maintenance_work_mem",
            ),
            ("alter system reset maintenance_work_mem", "bindings.kosmos.alter_system = ["),
            ("alter system set archive_command = 'evil'", "the server runs it as a program"),
            ("alter system reset all", "it undoes what others have set"),
        ] {
            let denied = error(run(statement).await);
            assert_eq!(denied.kind(), "denied", "{statement}: {denied:?}");
            assert!(denied.to_string().contains(why), "{statement}: {denied}");
        }
        // Within a transaction the server refuses it, and the host before that.
        let transaction = Sql::begin(imports, again(&session), WRITING).await.unwrap().unwrap();
        let within = HostTransactionWithStore::execute(
            imports,
            again(&transaction),
            "alter system set random_page_cost = 3.5".into(),
            vec![],
        );
        assert_eq!(error(within.await.unwrap()).kind(), "invalid-argument");
        HostTransactionWithStore::rollback(imports, again(&transaction)).await.unwrap().unwrap();
        let asked = HostSessionWithStore::query(
            imports,
            again(&session),
            "alter system set random_page_cost = 3.5".into(),
            vec![],
        );
        assert_eq!(error(asked.await.unwrap().map(drop)).kind(), "invalid-argument");

        run("ALTER SYSTEM SET Random_Page_Cost = 3.5").await.unwrap();
        assert!(Sql::reload_configuration(imports, again(&session)).await.unwrap().unwrap());
    })
    .await;
    let effects = host.ledger().effects();
    let on_record: Vec<(&str, &str)> = effects.iter().map(|e| (e.record.operation, e.record.target.as_str())).collect();
    assert_eq!(on_record, [("sql.execute", "kosmos: random_page_cost"), ("sql.reload-configuration", "kosmos")]);
    let mut connection = database.connect().await.unwrap();
    let in_force = async |connection: &mut sqlx::PgConnection, wanted: &str| {
        rota_testbed::eventually(std::time::Duration::from_secs(20), "the reload", async || {
            let shown: String = sqlx::query_scalar("show random_page_cost").fetch_one(&mut *connection).await?;
            Ok((shown == wanted).then_some(()))
        })
        .await
        .unwrap();
    };
    in_force(&mut connection, "3.5").await;
    host.call(async |imports| {
        let session = open(imports).await;
        HostSessionWithStore::execute(imports, again(&session), "alter system reset random_page_cost".into(), vec![])
            .await
            .unwrap()
            .unwrap();
        Sql::reload_configuration(imports, again(&session)).await.unwrap().unwrap();
    })
    .await;
    in_force(&mut connection, &before).await;
}

#[tokio::test]
async fn a_binding_that_names_no_parameter_lets_nothing_be_set_and_nothing_reloaded() {
    let database = database("host_no_parameter").await;
    let nothing = SqlBinding { alter_system: Vec::new(), ..binding(&database.url()) };
    let mut host = Host::new(nothing, Mode::Execute, &ALL);
    host.call(async |imports| {
        let session = open(imports).await;
        let set = "alter system set work_mem = '9MB'".to_owned();
        let set = HostSessionWithStore::execute(imports, again(&session), set, vec![]).await.unwrap();
        let reloaded = Sql::reload_configuration(imports, again(&session)).await.unwrap();
        for denied in [error(set.map(drop)), error(reloaded.map(drop))] {
            assert_eq!(denied.kind(), "denied");
            assert!(denied.to_string().contains("lets ALTER SYSTEM set no parameter"), "{denied}");
        }
    })
    .await;
    assert!(host.ledger().effects().is_empty());
}
