//! Bindings to JetStream: what the right ones mean, and what is wrong with the others.

use super::{config, refused};
use rota_config::{Binding, JetstreamBinding, JetstreamLogin};

fn stream(rest: &str) -> String {
    format!("[bindings.b]\nkind = \"jetstream\"\n{rest}\n")
}

fn binding(rest: &str) -> JetstreamBinding {
    match config(&stream(rest)).bindings["b"].clone() {
        Binding::Jetstream(binding) => binding,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_url_says_where_it_is() {
    let one = binding("url = \"nats://rota@h\"").target().unwrap();
    assert_eq!((one.servers, one.tls), (vec![("h".to_owned(), 4222)], false));
    assert_eq!(one.login, JetstreamLogin::User("rota".into(), None));
    let all = binding("url = \"tls://a:1?servers=b:2,[::1]:3&domain=hub&monitoring=http://a:8222/,https://b\"")
        .target()
        .unwrap();
    let servers: Vec<_> = all.servers.iter().map(|(host, port)| (host.as_str(), *port)).collect();
    assert_eq!(servers, [("a", 1), ("b", 2), ("::1", 3)]);
    assert_eq!((all.tls, all.domain.as_deref(), all.login), (true, Some("hub"), JetstreamLogin::Anonymous));
    assert_eq!(all.monitoring, ["http://a:8222", "https://b"]);
}

#[test]
fn secrets_are_read_when_they_are_needed() {
    for (keys, login) in [
        ("username = \"u\"\npassword = \"env:P\"", "User"),
        ("token = \"env:P\"", "Token"),
        ("nkey = \"env:P\"", "Nkey"),
        ("credentials = \"env:P\"", "Credentials"),
    ] {
        let binding = binding(&format!("url = \"nats://h\"\n{keys}"));
        let target = binding.target_with(|name| Some(format!("c4nary-{name}").into())).unwrap();
        assert!(format!("{:?}", target.login).starts_with(login), "{target:?}");
        assert!(!format!("{target:?}{binding:?}").contains("c4nary"));
        assert!(binding.target_with(|_| None).unwrap_err().to_string().contains("P is not set"));
    }
}

#[test]
fn a_binding_that_cannot_be_is_refused() {
    let url = |url: &str| stream(&format!("url = \"{url}\""));
    for (text, line) in [
        (
            url("mqtt://h"),
            "rota.toml:3:7: bindings.b.url: JetStream needs a URL that begins with nats:// or tls://, and the scheme here is \"mqtt\"",
        ),
        (url("nats://h/x"), "rota.toml:3:7: bindings.b.url: a URL of NATS has no path"),
        (url("nats://h?servers=a"), "rota.toml:3:7: bindings.b.url: the server \"a\" is not HOST:PORT"),
        (
            url("nats://h?domain=a.b"),
            "rota.toml:3:7: bindings.b.url: a domain is one word without dots, spaces, * and >",
        ),
        (
            url("nats://h?monitoring=ftp://h"),
            "rota.toml:3:7: bindings.b.url: the monitoring address \"ftp://h\" is not http://HOST:PORT or https://HOST",
        ),
        (
            stream("url = \"nats://h\"\ntoken = \"env:T\"\nnkey = \"env:N\""),
            "rota.toml:4:9: bindings.b logs in with one of username and password, token, nkey, or credentials",
        ),
        (
            stream("url = \"nats://h\"\naccess = [\"write\"]"),
            "rota.toml:4:10: bindings.b.access: a jetstream binding has no access \"write\" (it has read)",
        ),
    ] {
        refused(&text, line);
    }
}
