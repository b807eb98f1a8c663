#![deny(unused_must_use)]
use rota_sdk::prelude::*;

procedure! {
    name: "demo",
    summary: "Does nothing.",
    description: "Does nothing.",
    risk: observe,
    idempotent: true,
    slots: { database: sql [read] "Reads." },
    parameters: (),
    report: (),
    run
}

async fn run(cx: Context, _: ()) -> Outcome {
    cx.step("count", async || Ok(1_u64));
    Ok(Report::new())
}

fn main() {}
