use rota_sdk::prelude::*;

#[parameters]
pub struct Parameters {
    /// The table.
    table: String,
    level: u32,
}

fn main() {}
