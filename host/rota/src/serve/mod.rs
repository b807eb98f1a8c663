//! `rota serve`: scheduler, worker and a few pages in one process, until told to stop.
//!
//! | signal | what happens |
//! | --- | --- |
//! | SIGTERM, SIGINT | nothing more is taken; runs may finish for `server.drain_timeout`, then are handed back or cancelled. Again: at once |
//! | SIGHUP | the configuration is read again, and taken on if all of it is valid |

mod http;
mod lock;

pub(crate) use lock::ServeLock;

use crate::cli::{Common, ServeArgs};
use crate::output::safe;
use crate::settings::UsageError;
use anyhow::Context as _;
use rota_config::{Config, Listen};
use rota_runs::{Host, HostError, Scheduler, Settings, StoreChoice, Worker, WorkerOptions};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long a store that is away at the start is waited for between two tries, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A process that has worked for so long without an answer of the store does not feed the watchdog.
const WATCHDOG_PATIENCE: u32 = 4;

pub(crate) async fn serve(common: &Common, args: ServeArgs) -> anyhow::Result<u8> {
    let config = crate::settings::load(common)?;
    let settings = Settings::from_config(&config)?;
    let _lock = match &settings.store {
        StoreChoice::Sqlite { folder } => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
            Some(ServeLock::take(folder)?)
        }
        StoreChoice::Postgres { .. } => None,
    };
    let (stop, stopped) = watch::channel(false);
    // Before anything else: a signal that nobody listens to ends the process.
    let hangup = signal(SignalKind::hangup())?;
    let stops = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut signals = tokio::spawn(stop_on_signal(stops, stop.clone()));
    let Some(host) = open(&config, stopped.clone()).await? else { return Ok(0) };
    let untrusted = say_untrusted(&config, &host).await;
    let host = Arc::new(host);
    let options = options(&config, &args);
    let lease = options.lease;
    let worker = Arc::new(Worker::register(host.clone(), options).await?);
    let scheduler = Arc::new(Scheduler::new(
        host.clone(),
        config.server.host_name(),
        worker.incarnation().clone(),
        config.server.poll.into(),
    ));
    let changes = scheduler.apply().await?;
    say(&format!("schedules: {changes}"));

    let mut tasks = tokio::task::JoinSet::new();
    if let Some(address) = listen(&config, &args)? {
        let (listener, address) = http::listen(address)
            .await
            .with_context(|| format!("cannot listen on {address}; `--listen none` serves no pages"))?;
        say(&format!("pages on http://{address}: /livez /readyz /metrics"));
        let served = http::Served {
            worker: worker.clone(),
            host: host.clone(),
            store: host.store().clone(),
            patience: lease * 2,
        };
        tasks.spawn(http::serve(listener, served, stopped.clone()));
    }
    if config.server.scheduler && !args.no_scheduler {
        tasks.spawn(scheduler.clone().fire_for_ever(stopped.clone()));
    }
    let (keep, name) = (config.store.keep.clone(), config.server.host_name());
    let config = Arc::new(config);
    let (on_reload, at_start) = (config.clone(), config);
    tasks.spawn(reload_on_signal(
        hangup,
        common.to_owned(),
        on_reload,
        host.clone(),
        scheduler.clone(),
        stopped.clone(),
    ));
    tasks.spawn(host.clone().prune_for_ever(keep, stopped.clone()));
    let working = tokio::spawn(worker.clone().work(stopped.clone()));
    tasks.spawn(watchdog(worker.clone(), lease, stopped.clone()));
    say(&format!("serving as {name} (incarnation {})", worker.incarnation().0));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    // Beside the serving, which is not to wait for every plugin to be read.
    tasks.spawn(say_what_cannot_run(at_start, untrusted, host.clone(), stopped.clone()));

    tokio::select! {
        () = wait(stopped.clone()) => {}
        _ = &mut signals => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if worker.running() > 0 {
        say(&format!("draining: {} runs may finish (again: at once)", worker.running()));
    }
    working.await.context("the worker broke")?;
    while tasks.join_next().await.is_some() {}
    drop((worker, scheduler));
    match Arc::try_unwrap(host) {
        Ok(host) => host.close().await,
        Err(host) => host.store().close().await,
    }
    say("stopped");
    Ok(0)
}

/// Say which jobs' plugins are not trusted. Their runs are refused; others go on. Answers those plugins.
async fn say_untrusted(config: &Config, host: &Host) -> BTreeSet<String> {
    let (mut said, mut untrusted) = (BTreeSet::new(), BTreeSet::new());
    // Without rules, nothing is read.
    for (name, job) in config.jobs.iter().filter(|(_, job)| job.enabled && !config.trust.is_empty()) {
        let plugin = job.plugin.to_string();
        // What cannot be found or read is said by the run.
        if said.insert(plugin.clone())
            && let Ok(Some(verdict)) = host.plugins().verdict(&plugin).await
            && let Err(reason) = verdict.result
        {
            say(&format!("runs of job {name} will be refused: plugin {plugin}: {reason}"));
            untrusted.insert(plugin);
        }
    }
    untrusted
}

/// Say which jobs cannot run as they are configured, each in a line. The others are served: a plugin that is not here yet is no reason not to start.
async fn say_what_cannot_run(
    config: Arc<Config>,
    untrusted: BTreeSet<String>,
    host: Arc<Host>,
    stopped: watch::Receiver<bool>,
) {
    let settings = host.settings();
    for (name, job) in &config.jobs {
        // What was said of a plugin is not said again.
        if !job.enabled || untrusted.contains(&job.plugin.to_string()) {
            continue;
        }
        let checked = tokio::select! {
            checked = host.check_job_of(&settings, name.as_str()) => checked,
            () = wait(stopped.clone()) => return,
        };
        if let Err(error) = checked {
            let place = config.place(&format!("jobs.{name}"));
            let place = place.map(|place| format!("{}:{}: ", place.source_name(), place.line())).unwrap_or_default();
            say(&format!(
                "{place}job `{name}` cannot run as it is configured, the others are served: {error}; `rota config check` tells when it is mended"
            ));
        }
    }
}

fn say(text: &str) {
    eprintln!("rota: {}", safe(text));
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone has stopped, too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Open the host; a store that is away is waited for, and said so. None: told to stop meanwhile.
async fn open(config: &Config, stopped: watch::Receiver<bool>) -> anyhow::Result<Option<Host>> {
    let mut pause = Duration::from_millis(500);
    loop {
        match crate::open(config).await {
            Ok(host) => return Ok(Some(host)),
            Err(error) => match error.downcast_ref::<HostError>() {
                Some(HostError::Store(away)) if away.is_passing() => {
                    say(&format!("the store is away, tried again in {pause:?}: {away}"));
                }
                _ => return Err(error),
            },
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_WAIT),
            () = wait(stopped.clone()) => return Ok(None),
        }
    }
}

fn options(config: &Config, args: &ServeArgs) -> WorkerOptions {
    let takes = config.server.worker && !args.no_worker;
    WorkerOptions {
        name: config.server.host_name(),
        labels: config.server.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        capacity: if takes { args.workers.unwrap_or(config.server.workers) } else { 0 },
        lease: config.server.lease.into(),
        poll: config.server.poll.into(),
        drain_timeout: config.server.drain_timeout.into(),
        configuration: config.digest(),
    }
}

fn listen(config: &Config, args: &ServeArgs) -> anyhow::Result<Option<std::net::SocketAddr>> {
    let listen = match &args.listen {
        None => config.server.listen,
        Some(text) => text.parse::<Listen>().map_err(|error| UsageError(error.to_string()))?,
    };
    Ok(listen.address())
}

/// The first signal stops; a second one ends the process at once.
async fn stop_on_signal((mut interrupt, mut terminate): (Signal, Signal), stop: watch::Sender<bool>) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if *stop.borrow() {
            std::process::exit(130);
        }
        stop.send_replace(true);
    }
}

/// Take on a changed configuration, whole or not at all.
async fn reload_on_signal(
    mut hangup: Signal,
    common: Common,
    mut current: Arc<Config>,
    host: Arc<Host>,
    scheduler: Arc<Scheduler>,
    stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = wait(stopped.clone()) => return,
        }
        match reload(&common, &host, &scheduler, &current).await {
            Ok(config) => current = Arc::new(config),
            Err(error) => say(&format!("the configuration is not taken on, nothing of it: {error:#}")),
        }
    }
}

async fn reload(common: &Common, host: &Host, scheduler: &Scheduler, current: &Config) -> anyhow::Result<Config> {
    let config = crate::settings::load(common)?;
    let settings = Settings::from_config(&config)?;
    // Another key, or none, is what a configuration is read again for: plugins are judged by the new policy from here on, and by the
    // old one again if the rest is not taken on.
    host.plugins().trust(crate::settings::policy(&config));
    let taken = take_on(host, scheduler, current, &config, settings).await;
    if taken.is_err() {
        host.plugins().trust(crate::settings::policy(current));
    }
    taken.map(|()| config)
}

async fn take_on(
    host: &Host,
    scheduler: &Scheduler,
    current: &Config,
    config: &Config,
    settings: Settings,
) -> anyhow::Result<()> {
    let before = host.settings();
    // Before any of it is in force: a run that begins meanwhile begins with what was.
    for job in settings.jobs.keys() {
        if let Err(error) = host.check_job_of(&settings, job).await {
            anyhow::bail!("job `{job}`: {error}");
        }
    }
    host.reconfigure(settings);
    match scheduler.apply().await {
        Ok(changes) => {
            say(&format!("the configuration is taken on; schedules: {changes}"));
            let difference = current.difference(config);
            for line in difference.to_string().lines() {
                say(&format!("  {line}"));
            }
            if difference.needs_restart().next().is_some() {
                say("  what concerns this process itself ([server], [store], [sandbox]) is taken on at its next start");
            }
            Ok(())
        }
        Err(error) => {
            host.reconfigure(before.as_ref().clone());
            Err(error.into())
        }
    }
}

/// Tell the service manager that the process lives, as long as it does: it beats, and is answered now and then.
async fn watchdog(worker: Arc<Worker>, lease: Duration, stopped: watch::Receiver<bool>) {
    let Some(every) = sd_notify::watchdog_enabled() else { return };
    loop {
        tokio::select! {
            () = tokio::time::sleep(every / 2) => {}
            () = wait(stopped.clone()) => return,
        }
        // A store that is away is no reason to be restarted; a heart that stands still is.
        if worker.last_beat().elapsed() < lease * WATCHDOG_PATIENCE {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}
