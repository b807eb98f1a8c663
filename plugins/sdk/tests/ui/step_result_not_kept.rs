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

struct Rows(u64);

async fn run(cx: Context, _: ()) -> Outcome {
    let rows = cx.step("count", async || Ok(Rows(1))).await?;
    let _ = rows.0;
    Ok(Report::new())
}

fn main() {}
