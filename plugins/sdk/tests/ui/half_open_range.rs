use rota_sdk::prelude::*;

#[parameters]
pub struct Parameters {
    /// The level.
    #[parameter(range = 1..10)]
    level: u32,
}

fn main() {}
