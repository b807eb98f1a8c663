//! `rota plugin test --from-run`: a case of a recorded run.

use super::reference;
use super::test_real::came;
use crate::cli::TestArgs;
use rota_cases::{Came, Suite, of_recording};
use rota_catalog::Catalog;
use rota_runs::{Artifacts, ReplayRequest, RunRecords, open_recording, recorded_component};
use std::path::Path;

/// The most calls that are made into answers: a file with more is nothing that anybody reads.
const CALLS: usize = 10_000;

pub(crate) async fn from_run(
    catalog: &Catalog,
    records: &RunRecords,
    artifacts: &Artifacts,
    args: &TestArgs,
) -> anyhow::Result<u8> {
    let run = args.from_run.clone().unwrap_or_default();
    let request = ReplayRequest { run, with: None, until: None, attempt: None };
    let whole = open_recording(records, artifacts, &request).await?.reading.whole(CALLS)?;
    let loaded = match args.what.first() {
        Some(file) if Path::new(file).is_file() => catalog.load(&reference(Path::new(file))).await?,
        _ => recorded_component(catalog, records, artifacts, &whole.header, &request).await?,
    };
    // What is on record of it; of a run of another store, only the recording is there.
    let came = match records.find(&whole.header.run).await {
        Ok(view) => came(&view),
        Err(_) => Came::default(),
    };
    let name = format!("as in the run {}", whole.header.run);
    let text = rota_telemetry::mask(&of_recording(&whole, &loaded.descriptor, &came, &name)).into_owned();
    // What is written must be a case.
    let suite = Suite::of_text(Path::new("the case"), text.clone());
    if let Err(error) = suite.and_then(|suite| suite.fits(&loaded.descriptor)) {
        anyhow::bail!("no case could be made of the run: {error}");
    }
    super::print(text.trim_end())?;
    Ok(0)
}
