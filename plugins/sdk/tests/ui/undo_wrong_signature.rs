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
    undo: String => forget,
    run
}

async fn run(_: Context, _: ()) -> Outcome {
    Ok(Report::new())
}

async fn forget(_: Context, _: String) -> Result<()> {
    Ok(())
}

fn main() {}
