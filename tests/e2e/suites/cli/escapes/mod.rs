//! Scripts that try to leave: each ends with an error that says why, or harmlessly; the process that ran it ends by itself, and nothing happens
//! without its grant, nor what the plan does not have.

mod effects;
mod language;

use super::exec::exec;
use rota_tests::{Rota, Said};
use serde_json::Value;

/// What it ended with: by itself, with an object that is whole.
async fn ended(rota: &Rota, text: &str, more: &[&str]) -> (i32, Value, Said) {
    let said = exec(rota, &[&["-e", text], more].concat()).await;
    let status = said.status.unwrap_or_else(|| panic!("a signal ended the host: {text}: {said:?}"));
    assert!(matches!(status, 0 | 1 | 3 | 124), "{text}: {said:?}");
    let json = said.json().unwrap_or_else(|error| panic!("{text}: {error}: {said:?}"));
    (status, json, said)
}
