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
    let _session = cx.databse().open().await?;
    Ok(Report::new())
}

fn main() {}
