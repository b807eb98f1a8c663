use rota_sdk::prelude::*;

procedure! {
    name: "demo",
    summary: "Does nothing.",
    description: "Does nothing.",
    idempotent: true,
    slots: {},
    parameters: (),
    report: (),
    run
}

fn main() {}
