use rota_sdk::prelude::*;

procedure! {
    name: "demo",
    summary: "Does nothing.",
    description: "Does nothing.",
    risk: destroy,
    idempotent: false,
    slots: {},
    parameters: (),
    report: (),
    run
}

fn main() {}
