//! A program in a pod that runs already.
//!
//! - **Its login** comes as the first lines of the command's standard input and becomes variables of the program alone: it is on no command
//!   line, in no object of the cluster and in no file of the pod. Who is the same user in the container can read it there, as they could the
//!   program's memory.
//! - **Its end** is what the cluster's Status says, and that what arrived of its output is what it wrote (a SHA-256 made in the container).
//! - **Its life** is tied to the connection: standard input stays open, and when it ends, because the host asked, was killed or lost its
//!   way, a shell beside the program kills it and its children. Exec itself knows no such thing: a command goes on when its client is gone.
//! - Nothing else goes in: a container runtime cuts standard input off near 192 KiB when the command writes nothing.

use super::reach;
use crate::client::Client;
use crate::exec::{PING, STDIN};
use crate::output::{Reports, Running};
use crate::verify::Verification;
use futures::{SinkExt as _, StreamExt as _};
use kube::client::Connection;
use rota_authority::{Authorized, Tool};
use rota_capability::{ChildEnded, ChildStatus, Conclude, RemoteProgram};
use rota_config::PodPlace;
use rota_contract::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use url::form_urlencoded::Serializer;

/// How long a program that was told to end may take to be gone.
const KILL: Duration = Duration::from_secs(15);

/// What runs in the container. Variables that would lead the program elsewhere are taken away first.
const SCRIPT: &str = r#"word=$1 cpu=$2 memory=$3; shift 3
exec 3>&1 4>&2 7<&0 </dev/null
run() {
  unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS PGREQUIREAUTH PGCHANNELBINDING \
    PGSSLMODE PGSSLROOTCERT PGSSLCERT PGSSLKEY PGSSLCRL PGSSLNEGOTIATION PGGSSENCMODE PGTARGETSESSIONATTRS PGCLIENTENCODING PGAPPNAME
  all=
  while IFS= read -r line; do if [ -z "$line" ]; then all=1; break; fi; export "$line"; done <&7
  [ -n "$all" ] || return 125
  ulimit -c 0 2>/dev/null; ulimit -t "$cpu" 2>/dev/null; ulimit -v "$memory" 2>/dev/null
  if command -v setsid >/dev/null 2>&1; then set -- setsid "$@"; fi
  "$@" </dev/null 3>&- 4>&- 5>&- 7<&- &
  child=$!
  unset PGPASSWORD
  { while IFS= read -r line; do [ "$line" = kill ] && break; done
    kill -KILL "-$child" || kill -KILL "$child"; } <&7 >/dev/null 2>&1 3>&- 4>&- 5>&- 7<&- &
  watch=$!
  wait "$child"; code=$?
  kill "$watch" 2>/dev/null
  return "$code"
}
end=$({ { run "$@" 2>&4; echo "$?" >&5; } | { tee /dev/fd/6 >&3; } 6>&1 | { sha256sum; }; } 5>&1) || exit 125
set -- $end
printf '\n%s %s %s\n' "$word" "$1" "$2" >&2
exit "$1""#;

/// A program that has its connection.
pub(super) struct Exec {
    client: Client,
    what: String,
    connection: Connection,
    verification: Verification,
    /// What goes in first.
    login: Vec<u8>,
}

/// What has begun in either place.
pub(super) enum Started {
    Pod(Box<Exec>),
    Job(Box<super::job::Begun>),
}

impl Started {
    /// Stay with it, as a guest holds it.
    pub(super) fn run(self, conclude: Conclude) -> Running {
        match self {
            Self::Pod(exec) => {
                let what = exec.what.clone();
                Running::start_stoppable(what, move |reports, stop| async move {
                    let ended = exec.attend(&reports, &stop).await;
                    reports.end(conclude(ended).await);
                })
            }
            Self::Job(job) => job.run(conclude),
        }
    }
}

/// Connect to the program's container.
pub(super) async fn begin(tool: &Authorized<Tool>, place: &PodPlace, program: RemoteProgram) -> Result<Exec, Error> {
    let (client, namespace) = reach(tool.binding_name(), &place.cluster, place.namespace.as_deref()).await?;
    let pod = client.ready_pod(&namespace, &place.selector).await?;
    let (word, verification) = Verification::new();
    let mut words = ["sh", "-c", SCRIPT, "rota", &word].map(str::to_owned).to_vec();
    words.extend([program.cpu_seconds.to_string(), (program.memory >> 10).to_string(), program.path]);
    words.extend(program.arguments);
    let path = path(&namespace, &pod.name, place.container.as_deref(), &words);
    let what = format!("exec in pod {namespace}/{}", pod.name);
    // Its input is never closed but with the connection, so that an older protocol does as well.
    let connection = client.begin_exec(&what, Ok(path), false).await?;
    let mut login = Vec::new();
    let password = program.password.as_ref().map(|password| ("PGPASSWORD", password.expose()));
    for (name, value) in program.environment.iter().map(|(name, value)| (*name, value.as_str())).chain(password) {
        if value.contains(['\n', '\0']) {
            let text =
                format!("the connection's {name} holds a line end or a NUL, which a program in a pod cannot be given");
            return Err(Error::InvalidArgument(text));
        }
        login.extend_from_slice(format!("{name}={value}\n").as_bytes());
    }
    login.push(b'\n');
    Ok(Exec { client, what, connection, verification, login })
}

fn path(namespace: &str, pod: &str, container: Option<&str>, words: &[String]) -> String {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec?");
    let start = path.len();
    let mut query = Serializer::for_suffix(path, start);
    query.append_pair("stdin", "true").append_pair("stdout", "true").append_pair("stderr", "true");
    if let Some(container) = container {
        query.append_pair("container", container);
    }
    for word in words {
        query.append_pair("command", word);
    }
    query.finish()
}

impl Exec {
    /// Stay with it to its end; told to stop, have it killed and see that it is.
    async fn attend(self, reports: &Reports, stop: &Arc<Notify>) -> Result<ChildEnded, Error> {
        let Self { client, what, connection, verification, login } = self;
        let (mut sink, stream) = connection.into_stream().split();
        let mut receiving = std::pin::pin!(client.receive(&what, stream, Some(verification), reports));
        let message = |text: &[u8]| {
            let mut piece = vec![STDIN];
            piece.extend_from_slice(text);
            Message::binary(piece)
        };
        // A connection that broke is told by the other end.
        let _ = sink.send(message(&login)).await;
        drop(login);
        let mut killed: Option<Instant> = None;
        loop {
            tokio::select! {
                ended = &mut receiving => return match (ended, killed) {
                    // Its Status has come, so it is gone; what it last wrote does not matter any more.
                    (Ok(ended), Some(_)) => Ok(ChildEnded { status: ChildStatus::Signal(9), ..ended }),
                    (ended, _) => ended,
                },
                () = stop.notified(), if killed.is_none() => {
                    killed = Some(Instant::now() + KILL);
                    let _ = sink.send(message(b"kill\n")).await;
                }
                () = sleep_until(killed.unwrap_or_else(Instant::now)), if killed.is_some() => {
                    let text = format!("{what}: the program was told to end, and whether it has is not known after {} s", KILL.as_secs());
                    return Err(Error::TimedOut(text));
                }
                () = sleep(PING) => drop(sink.send(Message::Ping(bytes::Bytes::new())).await),
            }
        }
    }
}
