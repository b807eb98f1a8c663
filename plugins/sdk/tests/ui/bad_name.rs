use rota_sdk::prelude::*;

procedure! {
    name: "Postgres_Vacuum",
    summary: "Does nothing.",
    description: "Does nothing.",
    risk: observe,
    idempotent: true,
    slots: {},
    parameters: (),
    report: (),
    run
}

fn main() {}
