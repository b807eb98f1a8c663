//! `rota serve` as a process, and what the kernel says of it.

use super::place::Place;
use crate::health::built;
use anyhow::Context as _;
use rota_tests::{Rota, Running};

/// A host that serves.
pub(crate) struct Serving {
    running: Running,
    /// Its files go with it.
    _rota: Rota,
}

impl Serving {
    /// Start it with a configuration in some files; it may not serve yet.
    pub(crate) fn start(place: &Place, configuration: &[String]) -> anyhow::Result<Self> {
        let compiled = place.folder().join("compiled");
        let mut rota = Rota::new(
            built("rota")?.to_str().context("the path of rota is not UTF-8")?,
            compiled.to_str().context("the path of the cache is not UTF-8")?,
        )?;
        let files = rota.path("configuration");
        std::fs::create_dir(&files)?;
        for (number, text) in configuration.iter().enumerate() {
            std::fs::write(files.join(format!("{number:04}.toml")), text)?;
        }
        rota.set("ROTA_CONFIG", files);
        let running = rota.start(&["serve"])?;
        Ok(Self { running, _rota: rota })
    }

    /// Wait until it does.
    pub(crate) async fn serves(&mut self) -> anyhow::Result<()> {
        self.running.says("serving as").await
    }

    pub(crate) fn pid(&self) -> anyhow::Result<i32> {
        self.running.pid().context("rota serve has ended")
    }

    /// Seconds of CPU that it has used.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let seconds = crate::measure::cpu_seconds_of(self.pid()?);
        anyhow::ensure!(!seconds.is_nan(), "rota serve has ended");
        Ok(seconds)
    }

    /// A size of its memory, as /proc/PID/status names it, bytes.
    pub(crate) fn memory(&self, name: &str) -> anyhow::Result<u64> {
        crate::backup::memory(&self.pid()?.to_string(), name).context("rota serve has ended")
    }

    /// Stop it in order; it must have been well.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.signal(rustix::process::Signal::TERM)?;
        let said = self.running.end().await?;
        anyhow::ensure!(said.status == Some(0), "rota serve ended with {said:?}");
        Ok(())
    }
}
