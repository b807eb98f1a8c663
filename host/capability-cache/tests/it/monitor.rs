//! Watching: bounded, redacted, and closed afterwards.

use crate::common::{Bench, LONG};
use rota_authority::{CacheAccess, Outcome};
use rota_capability_cache::wit::SeenCommand;
use rota_contract::Error;
use rota_testbed::{RespClient, Valkey, eventually};

async fn watchers(plain: &mut RespClient) -> usize {
    let list = plain.call(&["CLIENT", "LIST"]).await.unwrap().text();
    list.lines().filter(|line| line.contains(" flags=O ")).count()
}

async fn watch(bench: &Bench, seconds: u32, limit: u32) -> (Vec<SeenCommand>, Option<Error>) {
    let permit = bench.permit(CacheAccess::Debug).await;
    let mut commands = bench.client.monitor(permit, seconds, limit).await.unwrap();
    let mut seen = Vec::new();
    while let Some(command) = commands.commands.recv().await {
        match command {
            Ok(command) => seen.push(command),
            Err(error) => return (seen, Some(error)),
        }
    }
    (seen, None)
}

#[tokio::test]
async fn it_ends_at_its_limit_and_shows_no_argument() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let busy = async {
        loop {
            plain.call(&[&b"SET"[..], b"session:c4nary", b"c4nary \"\n\xff"]).await.unwrap();
            plain.call(&["AUTH", valkey.password()]).await.unwrap();
        }
    };
    let (seen, error) = tokio::select! { watched = watch(&bench, 20, 20) => watched, () = busy => unreachable!() };
    assert!(seen.len() == 20 && error.is_none(), "{error:?}");
    let set = seen.iter().find(|seen| seen.command.name == "SET").unwrap();
    assert_eq!(
        (set.command.arguments.as_slice(), set.command.key_prefix.as_deref()),
        (&[14, 10][..], Some("session:"))
    );
    assert!(set.client > 0 && set.at > 1_600_000_000_000_000);
    let text = format!("{seen:?}");
    assert!(!text.contains("c4nary") && !text.contains(valkey.password()) && !text.contains("127.0.0.1"), "{text}");
    // It was seen closed before it ended.
    assert_eq!(watchers(&mut valkey.client().await.unwrap()).await, 0);
    assert!(matches!(&bench.ledger.effects()[0].outcome, Some(Outcome::Done(text)) if text.starts_with("20 commands")));
}

#[tokio::test]
async fn it_ends_with_its_time() {
    let valkey = Valkey::start().await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let (seen, error) = watch(&bench, 1, 100).await;
    assert!(seen.is_empty() && error.is_none(), "{seen:?} {error:?}");
}

#[tokio::test]
async fn dropped_it_is_closed() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let permit = bench.permit(CacheAccess::Debug).await;
    let commands = bench.client.monitor(permit, 60, 100).await.unwrap();
    assert_eq!(watchers(&mut plain).await, 1);
    drop(commands);
    eventually(LONG, "the end of the watching", async || Ok((watchers(&mut plain).await == 0).then_some(())))
        .await
        .unwrap();
    assert_eq!(bench.ledger.effects()[0].outcome, Some(Outcome::Interrupted));
}

#[tokio::test]
async fn a_server_that_goes_away_ends_it_with_an_error() {
    let mut valkey = Valkey::start().await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let permit = bench.permit(CacheAccess::Debug).await;
    let mut commands = bench.client.monitor(permit, 60, 100).await.unwrap();
    valkey.kill();
    let last = commands.commands.recv().await;
    assert!(matches!(last, Some(Err(Error::Unavailable(_)))), "{last:?}");
    assert!(matches!(bench.ledger.effects()[0].outcome, Some(Outcome::Failed(_))));
}
