//! The testbed's S3 service: what a client without keys sees, buckets, and its end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use rota_testbed::{S3, S3Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The answer to an unsigned request, head and body.
async fn unsigned(port: u16, request: &str) -> anyhow::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn buckets_are_there_and_closed_to_strangers() {
    let s3 = S3::shared().await.unwrap();
    let bucket = s3.fresh_bucket("Test_bucket").await.unwrap();
    assert!(bucket.starts_with("testbucket-"));
    for bucket in [s3.bucket(), &bucket] {
        let answer = unsigned(s3.port(), &format!("GET /{bucket}?list-type=2")).await.unwrap();
        assert!(answer.contains("AccessDenied"), "{answer}");
    }
    assert_ne!(s3.keys().access_key, s3.reader().access_key);
}

#[tokio::test]
async fn it_can_be_killed_and_comes_back_with_its_buckets() {
    let mut s3 = S3::start(S3Options { buckets: vec!["one".to_owned(), "two".to_owned()], ..S3Options::default() })
        .await
        .unwrap();
    assert!(s3.is_running());
    s3.kill();
    unsigned(s3.port(), "GET /one").await.unwrap_err();
    s3.restart().await.unwrap();
    for bucket in ["one", "two"] {
        let answer = unsigned(s3.port(), &format!("GET /{bucket}")).await.unwrap();
        assert!(answer.contains("AccessDenied"), "{answer}");
    }
}
