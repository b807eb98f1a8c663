use rota_sdk::prelude::*;

procedure! {
    name: "demo",
    summary: "Does nothing.",
    description: "Does nothing.",
    risk: change,
    idempotent: true,
    slots: { database: sql [read, maintian] "Vacuums." },
    parameters: (),
    report: (),
    run
}

fn main() {}
