//! The worker of `rota serve`, in this process: claims, runs and ends what is in the store.

use super::place::Place;
use anyhow::Context as _;
use rota_authority::Mode;
use rota_capability::Trigger;
use rota_runs::{Host, Occasion, Request, Settings, Worker, WorkerOptions, new_run};
use rota_sandbox::SandboxOptions;
use rota_store::NewRun;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Nothing that is waited for takes longer.
const LONGEST: Duration = Duration::from_secs(120);

/// How often is looked how many runs have ended.
const LOOK: Duration = Duration::from_millis(5);

/// The job of most figures: it does nothing, and as much of it at once as there is room for.
pub(crate) const NOOP: &str = "[jobs.noop]\nplugin = \"GUEST\"\nconcurrency = 1_000\n";

/// A host over a place, as `rota serve` opens it.
pub(crate) async fn open(place: &Place, jobs: &str) -> anyhow::Result<Arc<Host>> {
    let config = place.config(jobs)?;
    let sandbox = SandboxOptions {
        instances: config.sandbox.pool_instances,
        max_memory: config.sandbox.pool_memory.as_u64(),
        stack: config.sandbox.stack.as_usize(),
        cache: Some(config.cache_dir()),
        compiler: None,
    };
    Ok(Arc::new(Host::open(Settings::from_config(&config)?, sandbox, None).await?))
}

/// A run of a job, as `rota jobs run` makes it, to make others like it from.
pub(crate) async fn run_of(host: &Host, job: &str) -> anyhow::Result<NewRun> {
    let request = Request {
        what: job.to_owned(),
        parameters: Vec::new(),
        mode: Mode::Execute,
        confirm: None,
        bind: Vec::new(),
        grant: Vec::new(),
        timeout: None,
        limits: Vec::new(),
        trigger: Trigger::Api,
        record: None,
    };
    let prepared = host.prepare(&request).await?;
    Ok(new_run(&prepared, &host.settings(), &Occasion { trigger: "api".into(), ..Occasion::default() }))
}

/// Another run like it.
pub(crate) fn another(run: &NewRun) -> NewRun {
    NewRun { id: uuid::Uuid::now_v7().to_string(), ..run.clone() }
}

/// A worker at work.
pub(crate) struct Working {
    pub(crate) host: Arc<Host>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Working {
    pub(crate) async fn start(host: Arc<Host>, places: u32) -> anyhow::Result<Self> {
        let options = WorkerOptions { name: "bench".into(), capacity: places, ..WorkerOptions::default() };
        let worker = Arc::new(Worker::register(host.clone(), options).await?);
        let (stop, stopped) = watch::channel(false);
        Ok(Self { host, stop, task: tokio::spawn(worker.work(stopped)) })
    }

    /// How many runs have ended here, whichever way.
    pub(crate) fn ended(&self) -> u64 {
        let text = self.host.metrics().text(|_| true);
        let counts = text.lines().filter(|line| line.starts_with("rota_runs_ended_total"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Until so many runs have ended here.
    pub(crate) async fn until(&self, ended: u64) -> anyhow::Result<()> {
        let wait = async {
            while self.ended() < ended {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(LONGEST, wait)
            .await
            .with_context(|| format!("{} of {ended} runs have ended in {LONGEST:?}", self.ended()))
    }

    /// Enqueue runs by so many tasks, each run in a commit of its own, and do them, as long as `length`. At most `backlog` of them have not
    /// ended at any time, so that the worker always finds some and never a heap. Answers how many were done, and the seconds from the first enqueue to
    /// the last end.
    pub(crate) async fn feed(
        &self,
        run: &NewRun,
        at_once: usize,
        backlog: usize,
        length: Duration,
    ) -> anyhow::Result<(u64, f64)> {
        let before = self.ended();
        let room = Arc::new(Semaphore::new(backlog));
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..at_once {
            let (store, room, run) = (self.host.store().clone(), room.clone(), run.clone());
            tasks.spawn(async move {
                let mut made = 0_u64;
                while began.elapsed() < length {
                    // Given back by whoever sees a run end.
                    room.acquire().await?.forget();
                    store.enqueue(vec![another(&run)]).await?;
                    made += 1;
                }
                anyhow::Ok(made)
            });
        }
        let mut seen = before;
        let mut made = 0;
        while !tasks.is_empty() {
            if let Ok(Some(done)) = tokio::time::timeout(LOOK, tasks.join_next()).await {
                made += done??;
            }
            let now = self.ended();
            room.add_permits(usize::try_from(now - seen)?);
            seen = now;
        }
        self.until(before + made).await?;
        Ok((made, began.elapsed().as_secs_f64()))
    }

    /// Stop the worker and close the store.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.task.await?;
        self.host.store().close().await;
        Ok(())
    }
}
