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

async fn run(cx: Context, _: ()) -> Outcome {
    let _mark = cx.undo("mark", &7_u64).await?;
    Ok(Report::new())
}

async fn forget(_: Context, _: Undo<String>) -> Result<()> {
    Ok(())
}

fn main() {}
