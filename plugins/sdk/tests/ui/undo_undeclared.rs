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

/// What would be undone.
#[data]
struct Mark {
    /// The object.
    object: String,
}

async fn run(cx: Context, _: ()) -> Outcome {
    let _mark = cx.undo("mark", &Mark { object: "a".to_owned() }).await?;
    Ok(Report::new())
}

fn main() {}
