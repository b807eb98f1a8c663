use rota_sdk::prelude::*;

procedure! {
    name: "demo",
    summary: "Does nothing.",
    description: "Does nothing.",
    risk: observe,
    idempotent: true,
    slots: {},
    parameters: (),
    report: Data,
    run
}

/// Data.
#[data]
pub struct Data {
    /// How many.
    rows: i64,
}

async fn run(_: Context, _: ()) -> Outcome<Data> {
    let data = Data { rows: 1 };
    let _ = data.rows;
    Ok(Report::new())
}

fn main() {}
