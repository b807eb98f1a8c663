use rota_sdk::prelude::*;

procedure! {
    name: "demo",
    summary: "Does nothing.",
    description: "Does nothing.",
    risk: observe,
    idempotent: true,
    slots: { database: sqll [read] "Reads." },
    parameters: (),
    report: (),
    run
}

fn main() {}
