//! The binary: the command line, and the wiring of a host. Nothing else.

mod cli;
mod commands;
mod output;
mod serve;
mod settings;

use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Command, Common, ConfigCommand, PluginCommand, RunsCommand};
use commands::Printing;
use rota_config::Config;
use rota_runs::{Artifacts, Host, JobError, RunRecords, Settings, open_store};
use rota_sandbox::SandboxOptions;
use std::process::ExitCode;

/// Usage or configuration.
const USAGE: u8 = 2;
/// Anything that failed before a run could say how it ended.
const FAILED: u8 = 1;
/// What was more than its team may.
const DENIED: u8 = 3;
/// The exit status of what waits for an approval.
const NEEDS_APPROVAL: u8 = 4;

fn main() -> ExitCode {
    // First of all: this executable is also the launcher that holds the programs of the tools capability.
    if let Some(code) = rota_capability_tools::launch::run_if_asked() {
        return code;
    }
    if let Some(code) = rota_sandbox::compile_if_asked() {
        return code;
    }
    rota_telemetry::install_panic_hook();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rota: the runtime could not be started: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let printing = Printing::new(cli.common.output);
    let status = runtime.block_on(dispatch(cli, printing)).unwrap_or_else(|error| report_error(&error, printing));
    // Reads on blocking threads (a guest's stream, the terminal) must not hold the process back.
    runtime.shutdown_background();
    ExitCode::from(status)
}

async fn dispatch(cli: Cli, printing: Printing) -> anyhow::Result<u8> {
    settings::start_log(&cli.common)?;
    match cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "rota", &mut std::io::stdout());
            Ok(0)
        }
        Command::Config(ConfigCommand::Schema) => commands::config::schema(),
        Command::Config(ConfigCommand::Apply { plan }) => commands::config::apply(&cli.common, plan, printing).await,
        Command::Config(ConfigCommand::Check) => commands::config::check(&cli.common, printing).await,
        Command::Plugins(command) => {
            let config = settings::load(&cli.common)?;
            let catalog = catalog(&config)?;
            commands::plugins::plugins(&catalog, &config, command, printing).await
        }
        Command::Plugin(PluginCommand::Dev(args)) => {
            let host = host(&cli.common).await?;
            let status = commands::plugin::dev(&host, args, printing).await;
            host.close().await;
            status
        }
        Command::Plugin(PluginCommand::Test(args)) if args.from_run.is_some() => {
            let config = settings::load(&cli.common)?;
            let catalog = offline_catalog(&config)?;
            let settings = Settings::from_config(&config)?;
            let store = open_store(&settings).await?;
            let (records, artifacts) = (RunRecords::new(store.clone()), Artifacts::new(&settings));
            let status = commands::plugin::from_run(&catalog, &records, &artifacts, &args).await;
            store.close().await;
            status
        }
        Command::Plugin(PluginCommand::Test(args)) if args.real => {
            let host = host(&cli.common).await?;
            let status = commands::plugin::test_real(&host, &args, printing).await;
            host.close().await;
            status
        }
        Command::Plugin(command) => {
            let config = settings::load(&cli.common)?;
            let catalog = catalog(&config)?;
            commands::plugin::plugin(&catalog, command, printing).await
        }
        Command::Runs(RunsCommand::Retry { run, undo: false, queue }) => {
            let host = host(&cli.common).await?;
            let status = commands::run::again(&host, &run, queue, printing).await;
            host.close().await;
            status
        }
        Command::Runs(RunsCommand::Replay { run, with, until, attempt }) => {
            let config = settings::load(&cli.common)?;
            let catalog = offline_catalog(&config)?;
            let settings = Settings::from_config(&config)?;
            let store = open_store(&settings).await?;
            let request = rota_runs::ReplayRequest { run, with, until, attempt };
            let records = RunRecords::new(store.clone());
            let status = commands::replay::replay(&catalog, &records, &settings, &request, printing).await;
            store.close().await;
            status
        }
        Command::Runs(command) => {
            let settings = Settings::from_config(&settings::load(&cli.common)?)?;
            let store = open_store(&settings).await?;
            // What was lost with its worker is shown as such.
            if let Err(error) = store.reap().await {
                // What cannot be written now can be read all the same.
                tracing::warn!(%error, "runs whose worker is gone could not be looked for");
            }
            let artifacts = Artifacts::new(&settings);
            let status = commands::runs::runs(&RunRecords::new(store.clone()), &artifacts, command, printing).await;
            store.close().await;
            status
        }
        Command::Approvals(command) => {
            let settings = Settings::from_config(&settings::load(&cli.common)?)?;
            let store = open_store(&settings).await?;
            let status = commands::approvals::approvals(&RunRecords::new(store.clone()), command, printing).await;
            store.close().await;
            status
        }
        Command::Hosts(command) => {
            let settings = Settings::from_config(&settings::load(&cli.common)?)?;
            let store = open_store(&settings).await?;
            let status = commands::hosts::hosts(&RunRecords::new(store.clone()), command, printing).await;
            store.close().await;
            status
        }
        Command::Teams(command) => {
            let settings = Settings::from_config(&settings::load(&cli.common)?)?;
            let store = open_store(&settings).await?;
            let status = commands::teams::teams(&settings, store.as_ref(), command, printing).await;
            store.close().await;
            status
        }
        Command::Store(command) => {
            let settings = Settings::from_config(&settings::load(&cli.common)?)?;
            commands::store::store(&settings, command, printing).await
        }
        Command::Jobs(command) => {
            let host = host(&cli.common).await?;
            let status = commands::jobs::jobs(&host, command, printing).await;
            host.close().await;
            status
        }
        Command::Serve(args) => serve::serve(&cli.common, args).await,
        Command::Run(args) => {
            let host = host(&cli.common).await?;
            let status = commands::run::run(&host, *args, printing).await;
            host.close().await;
            status
        }
        Command::Exec(args) if args.types => {
            print!("{}", commands::exec::TYPES);
            Ok(0)
        }
        Command::Exec(args) => {
            let host = host(&cli.common).await?;
            let status = commands::exec::exec(&host, *args, printing).await;
            host.close().await;
            status
        }
        Command::Shell(args) => {
            let host = std::sync::Arc::new(host(&cli.common).await?);
            let status = commands::shell::shell(&host, *args, printing).await;
            if let Some(host) = std::sync::Arc::into_inner(host) {
                host.close().await;
            }
            status
        }
        Command::Doctor(args) => {
            let host = host(&cli.common).await?;
            let status = commands::doctor::doctor(&host, args, printing).await;
            host.close().await;
            status
        }
    }
}

/// A host as configured.
async fn host(common: &Common) -> anyhow::Result<Host> {
    let config = settings::load(common)?;
    open(&config).await
}

async fn open(config: &Config) -> anyhow::Result<Host> {
    let settings = Settings::from_config(config)?;
    let host = Host::open(settings, sandbox(config), settings::plugin_folder(config)).await?;
    let host = host.with_packages(settings::packages(config));
    host.plugins().trust(settings::policy(config));
    Ok(host)
}

/// The plugins alone, for what needs no records.
fn catalog(config: &Config) -> anyhow::Result<rota_catalog::Catalog> {
    Ok(offline_catalog(config)?.with_packages(settings::packages(config)))
}

/// The same without registries, for what is run again and reaches nothing. The rules of trust are the same.
fn offline_catalog(config: &Config) -> anyhow::Result<rota_catalog::Catalog> {
    let catalog = Host::catalog(sandbox(config), settings::plugin_folder(config))?;
    catalog.trust(settings::policy(config));
    Ok(catalog)
}

fn sandbox(config: &Config) -> SandboxOptions {
    SandboxOptions {
        instances: config.sandbox.pool_instances,
        max_memory: config.sandbox.pool_memory.as_u64(),
        stack: config.sandbox.stack.as_usize(),
        cache: Some(config.cache_dir()),
        // What is not ours is compiled in a process of its own.
        compiler: Some(rota_sandbox::Compiler::of_this_process()),
    }
}

/// Say what went wrong before a run could: on stderr for people, as the error of an object for programs.
fn report_error(error: &anyhow::Error, printing: Printing) -> u8 {
    let status = exit_status(error);
    let message = rota_telemetry::mask(&format!("{error:#}")).into_owned();
    if printing.human() {
        eprintln!("rota: {}", message.lines().map(output::safe).collect::<Vec<_>>().join("\n"));
    } else {
        let kind = if status == USAGE { "usage" } else { "failed" };
        let object = serde_json::json!({ "run": null, "report": null, "effects": [], "error": { "kind": kind, "message": message, "hint": null } });
        if commands::print_json(&object).is_err() {
            eprintln!("rota: {message}");
        }
    }
    status
}

fn exit_status(error: &anyhow::Error) -> u8 {
    if matches!(error.downcast_ref(), Some(rota_runs::ExecuteError::NeedsApproval(_))) {
        return NEEDS_APPROVAL;
    }
    if let Some(rota_runs::AgainError::Revive(rota_runs::ReviveError::Team(_))) = error.downcast_ref() {
        return DENIED;
    }
    if matches!(error.downcast_ref(), Some(rota_catalog::Refusal::Wider { .. })) {
        return NEEDS_APPROVAL;
    }
    // Whichever command found it, and whatever it stands in.
    let refused = match error.downcast_ref() {
        Some(rota_catalog::Refusal::Catalog(refused)) => Some(refused),
        _ => error.downcast_ref(),
    };
    if let Some(refused) = refused {
        return commands::packages::status_of(refused);
    }
    let usage = error.is::<rota_runs::PrepareError>()
        || matches!(error.downcast_ref(), Some(error) if !matches!(error, rota_runs::RemedyError::Run(_)))
        || matches!(
            error.downcast_ref(),
            Some(rota_catalog::Refusal::NotLocked { .. } | rota_catalog::Refusal::NotTaken { .. })
        )
        || error.is::<rota_config::ConfigError>()
        || error.is::<rota_config::TargetError>()
        || matches!(error.downcast_ref(), Some(error) if !matches!(error, JobError::Store(_)))
        || error.is::<settings::UsageError>()
        || matches!(error.downcast_ref(), Some(rota_runs::RecordsError::Filter(_)))
        || matches!(
            error.downcast_ref(),
            Some(rota_runs::ReplayError::Catalog(_) | rota_runs::ReplayError::AttemptOfFile(..))
        );
    if usage { USAGE } else { FAILED }
}
