//! The procedures for caches, as a user runs them, against a real Valkey (which stands in for Dragonfly), checked by a client of our own.

use crate::rota;
use rota_testbed::{Dragonfly, RespClient, Valkey};
use rota_tests::{Rota, Said};
use serde_json::Value;

/// Run a procedure on the cache at a URL.
async fn run(rota: &Rota, url: &str, plugin: &str, more: &[&str]) -> Said {
    let bind = format!("cache={url}");
    let mut arguments = vec!["run", plugin, "--bind", &bind, "--grant", "declared"];
    arguments.extend(more);
    rota.run(&arguments).await.unwrap()
}

async fn ran(rota: &Rota, url: &str, plugin: &str, more: &[&str]) -> Value {
    let said = run(rota, url, plugin, more).await;
    assert_eq!(said.status, Some(0), "{plugin} {more:?}: {said:?}");
    said.json().unwrap()
}

async fn keys(plain: &mut RespClient) -> Vec<String> {
    let keys = plain.call(&["KEYS", "*"]).await.unwrap().array();
    let mut keys: Vec<String> = keys.iter().map(rota_testbed::Resp::text).collect();
    keys.sort();
    keys
}

/// What the runbook's script does to these: `xargs` splits the first two into other keys and deletes those, a quote aborts it half-way.
#[tokio::test]
async fn invalidating_touches_what_matches_and_nothing_else() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let seen: [&[u8]; 6] = [
        b"session:1 admin",
        b"session:2\nadmin",
        b"session:\"unclosed",
        b"session:'",
        b"session:\xff\x00",
        b"session:3",
    ];
    let others: [&[u8]; 4] = [b"admin", b"session", b"sessions:1", b"user:1"];
    for key in seen.iter().chain(&others) {
        plain.call(&[b"SET", *key, b"c4nary-value"]).await.unwrap();
    }
    let rota = rota();
    let plan = ran(&rota, &valkey.url(), "cache-invalidate", &["-p", "prefix=session:", "--plan"]).await;
    assert_eq!(plan["report"]["data"]["matched"], 6, "{plan}");
    assert_eq!(plan["effects"].as_array().unwrap().len(), 1);
    assert!(
        plan["effects"][0]["detail"].as_str().unwrap().starts_with("unlinks 6 keys that begin with `session:`"),
        "{plan}"
    );
    assert_eq!(keys(&mut plain).await.len(), 10, "a plan unlinks nothing");

    let done = ran(&rota, &valkey.url(), "cache-invalidate", &["-p", "prefix=session:", "-p", "expected_keys=6"]).await;
    assert_eq!(
        (done["report"]["data"]["unlinked"].as_u64(), done["report"]["data"]["left"].as_u64()),
        (Some(6), Some(0))
    );
    assert_eq!(keys(&mut plain).await, ["admin", "session", "sessions:1", "user:1"]);
    for text in [plan.to_string(), done.to_string()] {
        assert!(!text.contains("c4nary") && !text.contains(valkey.password()), "{text}");
    }
    // No match: the script runs a bare DEL, which is an error.
    let none = ran(&rota, &valkey.url(), "cache-invalidate", &["-p", "prefix=session:"]).await;
    assert_eq!(none["report"]["summary"], "no key matches session:");
    assert_eq!(none["effects"], serde_json::json!([]));
}

#[tokio::test]
async fn invalidating_stops_at_its_bounds() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let set = |n: u32| vec![b"SET".to_vec(), format!("user:{n}").into_bytes(), b"x".to_vec()];
    plain.many((0..2_000).map(set)).await.unwrap();
    let rota = rota();
    for (more, expected) in [
        (&["-p", "prefix=user:", "-p", "maximum_keys=1999"][..], "more than 1999 keys"),
        (&["-p", "prefix=user:", "-p", "expected_keys=1500"], "1500 were planned"),
        (&["-p", "pattern=u*"], "literal bytes"),
        (&["-p", "pattern=*"], "literal bytes"),
    ] {
        for plan in [&["--plan"][..], &[]] {
            let said = run(&rota, &valkey.url(), "cache-invalidate", &[more, plan].concat()).await;
            assert_eq!(said.status, Some(1), "{more:?}: {said:?}");
            assert!(said.all().contains(expected), "{more:?}: {said:?}");
        }
    }
    assert_eq!(plain.call(&["DBSIZE"]).await.unwrap().integer(), Some(2_000));
    // The operator's own, in the configuration.
    rota.configure(
        "[bindings.dragonfly]\nkind = \"cache\"\nurl = \"env:CACHE_URL\"\nprotected = [\"user:1\"]\nmaximum_keys = 5000\n\
         [jobs.users]\nplugin = \"cache-invalidate\"\nparameters = { prefix = \"user:\" }\n\
         slots.cache = { binding = \"dragonfly\", access = [\"read\", \"delete\"] }\n",
    )
    .unwrap();
    let mut rota = rota;
    rota.set("CACHE_URL", valkey.url());
    let done = rota.json(&["run", "users"]).await.unwrap();
    assert_eq!(done["report"]["data"]["protected"], 1_111, "{done}");
    assert_eq!(plain.call(&["DBSIZE"]).await.unwrap().integer(), Some(1_111));
    let doctor = rota.run(&["doctor"]).await.unwrap();
    assert!(doctor.all().contains("valkey 9.1.2, nodes 1, keys 1111"), "{doctor:?}");
}

#[tokio::test]
async fn without_its_grant_nothing_is_unlinked() {
    let valkey = Valkey::start().await.unwrap();
    valkey.client().await.unwrap().call(&["SET", "user:1", "x"]).await.unwrap();
    let rota = rota();
    let bind = format!("cache={}", valkey.url());
    let said = rota.run(&["run", "cache-invalidate", "--bind", &bind, "-p", "prefix=user:"]).await.unwrap();
    assert_eq!(said.status, Some(3), "{said:?}");
    assert!(said.all().contains("--grant cache="), "{said:?}");
    assert_eq!(keys(&mut valkey.client().await.unwrap()).await, ["user:1"]);
}

#[tokio::test]
async fn health_of_a_server_and_of_one_like_dragonfly() {
    let valkey = Valkey::with(&["--maxmemory", "64mb"]).await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.call(&["SET", "a", "x"]).await.unwrap();
    let rota = rota();
    let well = ran(&rota, &valkey.url(), "cache-health", &["-p", "expected_replicas=0"]).await;
    assert_eq!(
        (&well["report"]["status"], &well["report"]["data"]["databases"][0]["keys"]),
        (&"ok".into(), &1.into()),
        "{well}"
    );
    // An independent look at the same number.
    let info = plain.call(&["INFO", "memory"]).await.unwrap().text();
    let used: f64 = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    let said = well["report"]["data"]["nodes"][0]["memory_used"].as_f64().unwrap();
    assert!((said / used - 1.0).abs() < 0.5, "{said} {used}");
    // Full: 90 % of its memory.
    let some = "x".repeat(1 << 20);
    for n in 0..57 {
        plain.call(&["SET", &format!("big:{n}"), &some]).await.unwrap();
    }
    let full = ran(&rota, &valkey.url(), "cache-health", &["-p", "expected_replicas=0"]).await;
    assert_eq!(full["report"]["status"], "critical", "{full}");
    plain.call(&["FLUSHALL"]).await.unwrap();

    let dragonfly = Dragonfly::start(valkey.port()).await.unwrap();
    let url = valkey.url_at(dragonfly.port());
    let stubs = ran(&rota, &url, "cache-health", &["-p", "expected_replicas=0"]).await;
    assert_eq!(stubs["report"]["data"]["nodes"][0]["product"], "dragonfly");
    assert_eq!(stubs["report"]["data"]["nodes"][0]["rejected"], Value::Null, "-1 is no number of connections");
    dragonfly.loading(true);
    let loading = ran(&rota, &url, "cache-health", &[]).await;
    assert_eq!(
        (&loading["report"]["status"], &loading["report"]["data"]["visibility_complete"]),
        (&"critical".into(), &false.into())
    );
    assert!(loading.to_string().contains("loading"), "{loading}");
}

#[tokio::test]
async fn the_slow_log_since_the_last_look() {
    let valkey = Valkey::with(&["--slowlog-log-slower-than", "0", "--slowlog-max-len", "20"]).await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.call(&["SET", "session:c4nary-key", "c4nary-value"]).await.unwrap();
    plain.call(&["DEBUG", "SLEEP", "0"]).await.ok();
    let rota = rota();
    let first = ran(&rota, &valkey.url(), "cache-slowlog", &["-p", "warn_ms=10000"]).await;
    let kinds = first["report"]["data"]["kinds"].to_string();
    assert!(kinds.contains("session:") && kinds.contains("SET"), "{kinds}");
    assert!(!first.to_string().contains("c4nary") && !first.to_string().contains(valkey.password()), "{first}");
    let last = first["report"]["data"]["last_ids"][0].as_u64().unwrap();
    for _ in 0..60 {
        plain.call(&["GET", "a"]).await.unwrap();
    }
    let since = format!("since_ids=[{last}]");
    let second = ran(&rota, &valkey.url(), "cache-slowlog", &["-p", &since, "-p", "warn_ms=10000"]).await;
    assert!(second["report"]["data"]["missed"].as_u64().unwrap() > 0, "the log has wrapped: {second}");
    assert_eq!(second["report"]["status"], "unknown");
}

#[tokio::test]
async fn monitoring_is_bounded_redacted_and_closed() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let rota = rota();
    let url = valkey.url();
    let look = ran(&rota, &url, "cache-monitor", &["-p", "seconds=30", "-p", "limit=50"]);
    tokio::pin!(look);
    let busy = async {
        loop {
            plain.call(&["SET", "session:c4nary-key", "c4nary-value"]).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    let seen = tokio::select! { seen = &mut look => seen, () = busy => unreachable!() };
    assert_eq!(
        (&seen["report"]["data"]["commands"], &seen["report"]["data"]["limited"]),
        (&50.into(), &true.into()),
        "{seen}"
    );
    let text = seen.to_string();
    assert!(!text.contains("c4nary") && !text.contains("127.0.0.1") && !text.contains(valkey.password()), "{text}");
    let clients = valkey.client().await.unwrap().call(&["CLIENT", "LIST"]).await.unwrap().text();
    assert!(!clients.contains(" flags=O "), "it watches no more: {clients}");
    let plan = ran(&rota, &url, "cache-monitor", &["--plan"]).await;
    assert_eq!(
        (&plan["effects"][0]["operation"], &plan["report"]["data"]["commands"]),
        (&"cache.monitor".into(), &0.into())
    );
}

/// A server that goes away, or never answers: a failure that names the binding and what to do, and no secret.
#[tokio::test]
async fn a_server_that_is_away_is_a_failure_that_says_so() {
    let mut valkey = Valkey::start().await.unwrap();
    let (url, secret) = (valkey.url(), valkey.password().to_owned());
    valkey.kill();
    let rota = rota();
    for (plugin, more) in [
        ("cache-health", &[][..]),
        ("cache-invalidate", &["-p", "prefix=user:"]),
        ("cache-slowlog", &[]),
        ("cache-monitor", &[]),
    ] {
        let said = run(&rota, &url, plugin, more).await;
        assert_eq!(said.status, Some(1), "{plugin}: {said:?}");
        assert!(said.all().contains("cannot be reached") && !said.all().contains(&secret), "{plugin}: {said:?}");
    }
}
