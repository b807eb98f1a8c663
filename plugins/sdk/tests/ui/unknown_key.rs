use rota_sdk::prelude::*;

procedure! {
    name: "demo",
    summary: "Does nothing.",
    description: "Does nothing.",
    risk: observe,
    idempotnet: true,
    slots: {},
    parameters: (),
    report: (),
    run
}

fn main() {}
