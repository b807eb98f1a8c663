//! Bindings to caches: what the right ones mean, and what is wrong with the others.

use super::{config, refused};
use rota_config::{Binding, CacheBinding, CacheMode};

fn cache(rest: &str) -> String {
    format!("[bindings.b]\nkind = \"cache\"\n{rest}\n")
}

fn binding(rest: &str) -> CacheBinding {
    match config(&cache(rest)).bindings["b"].clone() {
        Binding::Cache(binding) => binding,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_url_says_where_it_is() {
    let one = binding("url = \"redis://rota@h:7000/3\"").target().unwrap();
    assert_eq!((one.nodes, one.database, one.username.as_deref()), (vec![("h".to_owned(), 7000)], 3, Some("rota")));
    assert_eq!((one.mode, one.tls), (CacheMode::Single, false));
    assert!(binding("url = \"rediss://h\"").target().unwrap().tls);
    let all = binding(
        "url = \"redis://a/1\"\nmode = \"sentinel\"\nnodes = [\"b:1\", \"[::1]:2\"]\nservice = \"primary\"\ntls = true\nusername = \"u\"",
    )
    .target()
    .unwrap();
    let nodes: Vec<_> = all.nodes.iter().map(|(host, port)| (host.as_str(), *port)).collect();
    assert_eq!(nodes, [("a", 26379), ("b", 1), ("::1", 2)]);
    assert_eq!((all.service.as_deref(), all.tls, all.username.as_deref()), (Some("primary"), true, Some("u")));
    let cluster = binding("url = \"valkey://a?mode=cluster&nodes=b:1,c:2\"").target().unwrap();
    assert_eq!((cluster.mode, cluster.nodes.len()), (CacheMode::Cluster, 3));
}

#[test]
fn secrets_are_read_when_they_are_needed() {
    let binding = binding("url = \"redis://h\"\npassword = \"env:P\"\nsentinel_password = \"env:S\"");
    let target = binding.target_with(|name| Some(format!("c4nary-{name}").into())).unwrap();
    assert_eq!(target.password.as_ref().unwrap().expose(), "c4nary-P");
    assert_eq!(target.sentinel_password.as_ref().unwrap().expose(), "c4nary-S");
    assert!(!format!("{target:?}{binding:?}").contains("c4nary"));
    assert!(binding.target_with(|_| None).unwrap_err().to_string().contains("P is not set"));
}

#[test]
fn a_cache_binding_that_cannot_be_is_refused() {
    let url = |url: &str| cache(&format!("url = \"{url}\""));
    for (text, line) in [
        (
            url("memcached://h"),
            "rota.toml:3:7: bindings.b.url: a cache needs a URL that begins with redis:// or rediss://, and the scheme here is \"memcached\"",
        ),
        (url("redis://h/x"), "rota.toml:3:7: bindings.b.url: the database \"x\" is not a number from 0 to 255"),
        (url("redis://h/1?mode=cluster"), "rota.toml:3:7: bindings.b.url: a cluster has only the database 0"),
        (
            url("redis://h?mode=sentinel"),
            "rota.toml:3:7: bindings.b.url: sentinels need the name of the primary, as in service = \"mymaster\"",
        ),
        (
            url("redis://h?nodes=a:1"),
            "rota.toml:3:7: bindings.b.url: one server has no other nodes; set mode = \"cluster\" or \"sentinel\"",
        ),
        (url("redis://h?mode=cluster&nodes=a"), "rota.toml:3:7: bindings.b.url: the node \"a\" is not HOST:PORT"),
        (
            url("redis://h?db=1"),
            "rota.toml:3:7: bindings.b.url: the URL has an unknown parameter, \"db\": the parameters are mode, nodes and service",
        ),
        (
            cache("url = \"redis://h\"\nclient_key = \"/k\""),
            "rota.toml:1:1: bindings.b needs client_cert and client_key together",
        ),
        (
            cache("url = \"redis://h\"\nprotected = [\"\"]"),
            "rota.toml:4:13: bindings.b.protected: an empty prefix protects every key (do not grant `write` and `delete` instead)",
        ),
        (
            cache("url = \"redis://h\"\naccess = [\"maintain\"]"),
            "rota.toml:4:10: bindings.b.access: a cache binding has no access \"maintain\" (it has read, write, delete and debug)",
        ),
        (
            cache("url = \"redis://h\"\nmaximum_keys = 0"),
            "rota.toml:4:16: bindings.b.maximum_keys must be between 1 and 5000000, not 0",
        ),
    ] {
        refused(&text, line);
    }
}
