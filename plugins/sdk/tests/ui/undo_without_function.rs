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
    undo: String,
    run
}

async fn run(_: Context, _: ()) -> Outcome {
    Ok(Report::new())
}

fn main() {}
