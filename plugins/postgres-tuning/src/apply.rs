//! Setting what is advised, telling the server, looking whether it took; and the way back.

use crate::compute::Wanted;
use crate::look::{Looked, auto};
use crate::{Context, Parameters};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use std::time::Duration;

/// How long the server is given to read its files.
const RELOAD: Duration = Duration::from_secs(15);
/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(100);

/// A setting that is to be another one.
#[data]
pub(crate) struct Change {
    /// Its name.
    pub(crate) name: String,
    /// What is in force, and where that comes from.
    pub(crate) from: String,
    /// What postgresql.auto.conf says, which is what ALTER SYSTEM writes; null where it says nothing.
    pub(crate) before: Option<String>,
    /// What it is to be.
    pub(crate) to: String,
    /// The same in bytes, or as a number.
    pub(crate) value: f64,
}

impl Change {
    /// What sets it, with what it was.
    fn statement(&self) -> Result<Sql> {
        statement(&self.name, Some(&self.to), &format!("was {}", self.from))
    }
}

/// How a change ended.
#[data]
pub(crate) enum State {
    /// The run is a plan.
    Planned,
    /// It is in force.
    InForce,
    /// It is written, and a restart makes it so.
    NeedsRestart,
    /// It is written, and something that counts for more says otherwise here.
    Overridden,
}

/// A setting that was set.
#[data]
pub(crate) struct Applied {
    /// Its name.
    pub(crate) name: String,
    /// What was in force, and where that came from.
    pub(crate) from: String,
    /// What is written.
    pub(crate) to: String,
    /// What has become of it.
    pub(crate) state: State,
    /// The statement that takes it back.
    pub(crate) undo: String,
}

/// What the run has set, or was about to.
#[data]
pub struct Left {
    /// Each, with what was there before it.
    changes: Vec<Change>,
}

/// Set what differs. All that is set is put back by the host if the run does not succeed.
pub(crate) async fn apply(
    cx: &Context,
    session: &mut Session,
    server: &mut Server,
    looked: &Looked,
    wanted: &[Wanted],
    parameters: &Parameters,
    report: &mut Report,
) -> Result<Vec<Applied>> {
    let changes = changes(looked, wanted, parameters, report)?;
    // An attempt that begins anew finds some of them set: what was there before is what the first one saw.
    let changes: Vec<Change> = cx.step("what is to be set", async || Ok(changes)).repeatable().await?;
    let Some(first) = changes.first() else { return Ok(Vec::new()) };
    // What is not granted at all is denied before there is anything to undo.
    if !cx.database().grants("alter-system") {
        session.execute(first.statement()?, params![]).await?;
    }
    cx.undo("the settings as they were", &Left { changes: changes.clone() }).await?;
    let mut set = Vec::new();
    for change in changes {
        match session.execute(change.statement()?, params![]).await {
            Ok(_) => set.push(change),
            // The grant is there: it is the binding that does not name this one, and it may name others.
            Err(error) if error.is_denied() && cx.database().grants("alter-system") => {
                report.warning(format!("{}: not set to {}", change.name, change.to)).because(&error);
            }
            Err(error) => {
                let grant = format!(
                    "as a superuser: GRANT ALTER SYSTEM ON PARAMETER {} TO the role (PostgreSQL 15 and later)",
                    change.name
                );
                let forbidden = error.code() == Some("42501");
                let error = error.context(format!("setting {}", change.name));
                return Err(if forbidden { error.hint(grant) } else { error });
            }
        }
    }
    if set.is_empty() {
        return Ok(Vec::new());
    }
    let now = if cx.is_plan() {
        session.reload_configuration().await?;
        None
    } else {
        reload(cx, session).await?;
        Some(Looked::at(session, server).await?)
    };
    set.into_iter().map(|change| ended(change, now.as_ref(), report)).collect()
}

/// What is to be set: what differs, can be set this way, and was asked for.
fn changes(looked: &Looked, wanted: &[Wanted], parameters: &Parameters, report: &mut Report) -> Result<Vec<Change>> {
    let known = |name: &String| wanted.iter().any(|wanted| wanted.name == *name);
    if let Some(unknown) = parameters.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        return Err(Error::new(format!("`only` names {unknown}, which this procedure does not set"))
            .hint(format!("it sets {}", names.join(", "))));
    }
    let Some(written) = &looked.written else {
        return Err(Error::new("what is written in the server's files cannot be seen, so nothing that is set could be put back or verified").hint(
            "as a superuser: GRANT SELECT ON pg_file_settings and GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() to the role, and pg_monitor",
        ));
    };
    if let Some(wrong) = looked.not_taken.iter().find(|line| line.error.is_some()) {
        let error = wrong.error.clone().unwrap_or_default();
        return Err(Error::new(format!(
            "{}: {} has an error ({error}), and a reload would meet it",
            wrong.place, wrong.name
        ))
        .hint("mend that line first; nothing was set"));
    }
    let mut changes = Vec::new();
    for wanted in wanted.iter().filter(|wanted| wanted.differs) {
        if !parameters.only.is_empty() && !parameters.only.contains(&wanted.name) {
            continue;
        }
        if matches!(wanted.source.as_str(), "command line" | "environment variable") {
            report
                .warning(format!("{}: not set to {}", wanted.name, wanted.advised))
                .detail(format!(
                    "It comes from the server's {}, which counts for more than what ALTER SYSTEM writes.",
                    wanted.source
                ))
                .advice("Change how the server is started");
            continue;
        }
        let before = auto(written, &wanted.name);
        if let Some(text) = &before {
            plain(&wanted.name, text)?;
        }
        changes.push(Change {
            name: wanted.name.clone(),
            from: format!("{} ({})", wanted.current, wanted.source),
            before,
            to: wanted.advised.clone(),
            value: wanted.value,
        });
    }
    Ok(changes)
}

/// What has become of a change; an error where the server did not take it.
fn ended(change: Change, now: Option<&Looked>, report: &mut Report) -> Result<Applied> {
    let Change { name, from, before, to, value } = change;
    let undo = undo_of(&name, before.as_deref());
    let Some(now) = now else {
        report.note(format!("{name} would be set to {to}")).detail(format!("It is {from}. To take it back: {undo}"));
        return Ok(Applied { name, from, to, state: State::Planned, undo });
    };
    let refused =
        |why: String| Error::new(format!("{name} = {to} was written, and the server does not take it: {why}"));
    let setting = now
        .settings
        .iter()
        .find(|setting| setting.name == name)
        .ok_or_else(|| refused("there is no such setting".to_owned()))?;
    let written = now.written.as_ref().and_then(|written| auto(written, &name));
    if written.as_deref() != Some(to.as_str()) {
        let found = written.map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}"));
        return Err(refused(format!("postgresql.auto.conf says {found} of it")));
    }
    if let Some(line) = now.not_taken.iter().find(|line| line.name == name && line.error.is_some()) {
        return Err(refused(line.error.clone().unwrap_or_default()));
    }
    let state = if (setting.value - value).abs() <= 1e-9 * value.abs().max(1.0) {
        State::InForce
    } else if setting.pending {
        State::NeedsRestart
    } else if setting.source == "configuration file" {
        return Err(refused(format!("{} is in force, from the configuration files", setting.shown)));
    } else {
        report
            .warning(format!("{name} = {to} is written, and here {} counts", setting.shown))
            .detail(format!(
                "It comes from: {}, which counts for more in this database or for this role.",
                setting.source
            ))
            .advice("ALTER DATABASE or ALTER ROLE ... RESET it where it should be the server's");
        State::Overridden
    };
    let what = match state {
        State::NeedsRestart => "is written, and waits for a restart",
        _ => "is set",
    };
    report.note(format!("{name} = {to} {what}")).detail(format!("It was {from}. To take it back: {undo}"));
    Ok(Applied { name, from, to, state, undo })
}

/// Have the server read its files, and wait until this session's own process has.
async fn reload(cx: &Context, session: &mut Session) -> Result<()> {
    const LOADED: &str = "select pg_catalog.pg_conf_load_time()";
    let before: Timestamp = session.query_one(LOADED, params![]).await?;
    session
        .reload_configuration()
        .await
        .hint("as a superuser: GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() to the role")?;
    let deadline = cx.now().plus_seconds(i64::try_from(RELOAD.as_secs()).unwrap_or(15));
    loop {
        if session.query_one::<Timestamp>(LOADED, params![]).await? > before {
            return Ok(());
        }
        if cx.now() >= deadline {
            return Err(Error::new(format!("the server has not read its files in {} s", RELOAD.as_secs()))
                .hint("its log says why"));
        }
        cx.sleep(PAUSE).await?;
    }
}

/// The statement that takes a change back, for people.
pub(crate) fn undo_of(name: &str, before: Option<&str>) -> String {
    before.map_or_else(|| format!("ALTER SYSTEM RESET {name}"), |text| format!("ALTER SYSTEM SET {name} = '{text}'"))
}

/// `ALTER SYSTEM` of one of this procedure's own settings, to a plain text, with a word for whoever reads the plan.
fn statement(name: &str, to: Option<&str>, word: &str) -> Result<Sql> {
    if !name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_') {
        return Err(Error::new(format!("{name:?} is no name of a setting")));
    }
    if let Some(text) = to {
        plain(name, text)?;
    }
    let word: String = word.chars().filter(|c| !c.is_control()).take(200).collect();
    Ok(Sql::from_operator(format!("{} -- {word}", undo_of(name, to))))
}

/// A value that can stand between quotes as it is, and be read in a plan as what it is.
fn plain(name: &str, text: &str) -> Result<()> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_' | ' ')) {
        return Ok(());
    }
    Err(Error::new(format!("postgresql.auto.conf has {text:?} for {name}, which is not put back as it is"))
        .hint("mend it by hand, or leave the setting out with `only`"))
}

/// Put back what the run has set and nobody else has changed since. Harmless where nothing was set, and when it comes twice.
pub(crate) async fn put_back(cx: Context, undo: Undo<Left>) -> Result<()> {
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    let looked = Looked::at(&mut session, &mut server).await?;
    let Some(written) = &looked.written else {
        return Err(Error::new("what is written in the server's files cannot be seen any more"));
    };
    let mut put = 0;
    for change in &undo.state.changes {
        let now = auto(written, &change.name);
        if now == change.before {
            continue;
        }
        if now.as_deref() != Some(change.to.as_str()) {
            warn!("{} was changed by somebody else meanwhile, and is left as it is: {now:?}", change.name);
            continue;
        }
        let back = statement(&change.name, change.before.as_deref(), "put back");
        match session.execute(back?, params![]).await {
            Ok(_) => put += 1,
            // It was never set: the binding does not name it, and did not then.
            Err(error) if error.is_denied() => warn!("{}: {error}", change.name),
            Err(error) => return Err(error.context(format!("putting {} back", change.name))),
        }
    }
    // Also where nothing is left to put back: an attempt before this one may have been ended before the server was told.
    match reload(&cx, &mut session).await {
        // Who may not now could not then either: nothing that the run wrote was ever read.
        Err(error) if put == 0 && (error.is_denied() || error.code() == Some("42501")) => {
            warn!("nothing was put back, and the server was not told: {error}");
            Ok(())
        }
        told => told,
    }
}
