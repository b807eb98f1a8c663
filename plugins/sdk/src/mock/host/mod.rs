//! The contract's functions under the names and signatures that `wit-bindgen` gives them.

#![allow(clippy::unused_async, reason = "as on wasm")]

pub(crate) mod cache;
pub(crate) mod jetstream;
pub(crate) mod kubernetes;
pub(crate) mod run;

pub(crate) mod sql {
    use super::super::answers::{Answered, SqlMock, access};
    use super::super::{Bound, current};
    use crate::HostError;
    use crate::bindings::rota::runbook::sql::{Notice, ServerInfo, TransactionOptions, Value};
    use crate::mock::{Ending, Stream};

    fn bound(slot: &str, access: Option<&str>) -> Result<SqlMock, HostError> {
        match current().authorise(slot, access)? {
            Bound::Sql(mock) => Ok(mock),
            _ => Err(HostError::InvalidArgument(format!("slot `{slot}` holds no database"))),
        }
    }

    fn query(slot: &str, statement: &str, values: &[Value]) -> Result<Answered, HostError> {
        if access(statement) != "read" {
            return Err(HostError::Denied(format!(
                "query only reads, and this needs `{}`: {statement}",
                access(statement)
            )));
        }
        bound(slot, Some("read"))?.query(statement, values)
    }

    fn execute(slot: &str, statement: &str, values: &[Value]) -> Result<u64, HostError> {
        let mock = bound(slot, Some(access(statement)))?;
        if current().effect("sql.execute", slot, statement) { mock.execute(statement, values) } else { Ok(0) }
    }

    #[derive(Debug)]
    pub(crate) struct Session(String);

    impl Session {
        pub(crate) async fn open(slot: String) -> Result<Self, HostError> {
            bound(&slot, None)?.open()?;
            Ok(Self(slot))
        }

        /// One mock answers for every database of a server; which ones were opened is on its list of statements.
        pub(crate) async fn open_database(slot: String, database: String) -> Result<Self, HostError> {
            let mock = bound(&slot, None)?;
            mock.open()?;
            mock.opened(&database);
            Ok(Self(slot))
        }

        pub(crate) async fn server(&self) -> Result<ServerInfo, HostError> {
            Ok(bound(&self.0, None)?.info())
        }

        pub(crate) async fn query(&self, statement: String, parameters: Vec<Value>) -> Result<Answered, HostError> {
            query(&self.0, &statement, &parameters)
        }

        pub(crate) async fn execute(&self, statement: String, parameters: Vec<Value>) -> Result<u64, HostError> {
            execute(&self.0, &statement, &parameters)
        }

        pub(crate) async fn begin(&self, _options: TransactionOptions) -> Result<Transaction, HostError> {
            Ok(Transaction(self.0.clone()))
        }

        pub(crate) async fn copy_out(&self, statement: String) -> Result<(Stream<u8>, Ending<u64>), HostError> {
            let (bytes, rows) = bound(&self.0, Some("copy-out"))?.copy_out(&statement);
            Ok((Stream::whole(bytes), Ending::new(Ok(rows))))
        }

        pub(crate) async fn copy_in(&self, statement: String, data: Stream<u8>) -> Result<u64, HostError> {
            let mock = bound(&self.0, Some("copy-in"))?;
            if !current().effect("sql.copy-in", &self.0, statement.clone()) {
                return Ok(0);
            }
            let bytes = data.into_whole()?;
            mock.execute(&statement, &[Value::Bytes(bytes)])
        }

        pub(crate) fn notices(&self) -> Vec<Notice> {
            bound(&self.0, None).map(|mock| mock.take_notices()).unwrap_or_default()
        }

        pub(crate) fn backend_pid(&self) -> u32 {
            4242
        }

        pub(crate) async fn configure(&self, name: String, value: String) -> Result<(), HostError> {
            bound(&self.0, None)?.set(name, value);
            Ok(())
        }

        pub(crate) async fn cancel_backend(&self, pid: u32, start: i64) -> Result<bool, HostError> {
            signal(&self.0, "sql.cancel-backend", "cancel", pid, start)
        }

        pub(crate) async fn terminate_backend(&self, pid: u32, start: i64) -> Result<bool, HostError> {
            signal(&self.0, "sql.terminate-backend", "terminate", pid, start)
        }

        pub(crate) async fn reload_configuration(&self) -> Result<bool, HostError> {
            let mock = bound(&self.0, Some("alter-system"))?;
            let carried_out =
                current().effect("sql.reload-configuration", &self.0, "reload the configuration".to_owned());
            Ok(carried_out && mock.execute("reload configuration", &[])? > 0)
        }

        pub(crate) async fn promote(&self, wait: u32) -> Result<bool, HostError> {
            let mock = bound(&self.0, Some("promote"))?;
            let carried_out = current().effect("sql.promote", &self.0, format!("wait {wait} s"));
            Ok(carried_out && mock.execute("promote", &[])? > 0)
        }
    }

    /// The mock answers to `cancel` and `terminate` like to a statement: touching a row is success.
    fn signal(slot: &str, operation: &'static str, word: &str, pid: u32, start: i64) -> Result<bool, HostError> {
        let mock = bound(slot, Some("signal"))?;
        let carried_out = current().effect(operation, slot, format!("pid {pid}"));
        Ok(carried_out && mock.execute(&format!("{word} {pid}"), &[Value::Int64(start)])? > 0)
    }

    #[derive(Debug)]
    pub(crate) struct Transaction(String);

    impl Transaction {
        pub(crate) async fn query(&self, statement: String, parameters: Vec<Value>) -> Result<Answered, HostError> {
            query(&self.0, &statement, &parameters)
        }

        pub(crate) async fn execute(&self, statement: String, parameters: Vec<Value>) -> Result<u64, HostError> {
            execute(&self.0, &statement, &parameters)
        }

        pub(crate) async fn commit(&self) -> Result<(), HostError> {
            Ok(())
        }

        pub(crate) async fn rollback(&self) -> Result<(), HostError> {
            Ok(())
        }
    }
}

pub(crate) mod storage {
    use super::super::buckets::StorageMock;
    use super::super::{Bound, current};
    use crate::HostError;
    use crate::bindings::rota::runbook::storage::{Object, PutOptions, Range, Stored};
    use crate::mock::{Ending, Stream};

    fn bound(slot: &str, access: Option<&str>) -> Result<StorageMock, HostError> {
        match current().authorise(slot, access)? {
            Bound::Storage(mock) => Ok(mock),
            _ => Err(HostError::InvalidArgument(format!("slot `{slot}` holds no bucket"))),
        }
    }

    #[derive(Debug)]
    pub(crate) struct Bucket(String);

    impl Bucket {
        pub(crate) async fn open(slot: String) -> Result<Self, HostError> {
            bound(&slot, None)?;
            Ok(Self(slot))
        }

        pub(crate) async fn put(
            &self,
            name: String,
            data: Stream<u8>,
            options: PutOptions,
        ) -> Result<Stored, HostError> {
            let mock = bound(&self.0, Some("write"))?;
            let state = current();
            if !state.effect("storage.put", &self.0, name.clone()) {
                return Ok(Stored { size: options.size_estimate.unwrap_or(0), sha256: String::new(), etag: None });
            }
            mock.put(&name, data, &options, state.now.get())
        }

        pub(crate) async fn get(
            &self,
            name: String,
            range: Option<Range>,
        ) -> Result<(Object, Stream<u8>, Ending<u64>), HostError> {
            let (object, bytes) = bound(&self.0, Some("read"))?.get(&name, range)?;
            let size = bytes.len() as u64;
            Ok((object, Stream::whole(bytes), Ending::new(Ok(size))))
        }

        pub(crate) async fn stat(&self, name: String) -> Result<Object, HostError> {
            bound(&self.0, Some("read"))?.stat(&name)
        }

        pub(crate) async fn list(&self, prefix: String) -> Result<(Stream<Object>, Ending<u64>), HostError> {
            let objects = bound(&self.0, Some("read"))?.list(&prefix);
            let count = objects.len() as u64;
            Ok((Stream::whole(objects), Ending::new(Ok(count))))
        }

        pub(crate) async fn delete(&self, name: String) -> Result<(), HostError> {
            let mock = bound(&self.0, Some("delete"))?;
            if current().effect("storage.delete", &self.0, name.clone()) {
                mock.delete(&name);
            }
            Ok(())
        }
    }
}

pub(crate) mod process {
    use crate::HostError;
    use crate::bindings::rota::runbook::process::{Ended, ExitStatus};
    use crate::mock::{Stream, ToolOutput};
    use std::cell::Cell;

    #[derive(Debug)]
    pub(crate) struct Child {
        output: ToolOutput,
        taken: Cell<bool>,
    }

    impl Child {
        pub(crate) fn new(output: ToolOutput) -> Self {
            Self { output, taken: Cell::new(false) }
        }

        pub(crate) fn stdout(&self) -> Result<Stream<u8>, HostError> {
            if self.taken.replace(true) {
                return Err(HostError::Conflict("the output was already taken".to_owned()));
            }
            let failure = match self.output.status {
                ExitStatus::Code(0) | ExitStatus::Planned => None,
                _ => Some(super::super::failed("exit", &format!("the program failed: {}", self.output.stderr))),
            };
            Ok(Stream::ending_with(self.output.stdout.clone(), failure))
        }

        pub(crate) async fn wait(&self) -> Result<Ended, HostError> {
            Ok(Ended { status: self.output.status, stderr: self.output.stderr.clone() })
        }

        pub(crate) async fn kill(&self) -> Result<(), HostError> {
            Ok(())
        }
    }
}

pub(crate) mod tools {
    use super::super::programs::ToolMock;
    use super::super::{Bound, current};
    use super::process::Child;
    use crate::HostError;
    use crate::bindings::rota::runbook::process::ExitStatus;
    use crate::bindings::rota::runbook::tools::{Connection, ToolInfo};
    use crate::mock::{Stream, ToolOutput};

    fn bound(slot: &str) -> Result<ToolMock, HostError> {
        match current().authorise(slot, Some("run"))? {
            Bound::Tool(mock) => Ok(mock),
            _ => Err(HostError::InvalidArgument(format!("slot `{slot}` holds no program"))),
        }
    }

    pub(crate) async fn info(slot: String) -> Result<ToolInfo, HostError> {
        Ok(bound(&slot)?.info())
    }

    pub(crate) async fn spawn(
        slot: String,
        arguments: Vec<String>,
        connection: Option<Connection>,
        stdin: Option<Stream<u8>>,
    ) -> Result<Child, HostError> {
        let mock = bound(&slot)?;
        let state = current();
        if let Some(connection) = connection {
            state.authorise(&connection.slot, None)?;
        }
        let (only_reads, run) = mock.find(&arguments);
        if !only_reads && !state.effect("tools.spawn", &slot, arguments.join(" ")) {
            return Ok(Child::new(ToolOutput {
                stdout: Vec::new(),
                stderr: String::new(),
                status: ExitStatus::Planned,
            }));
        }
        mock.started(&arguments);
        let (stdin, broken) = stdin.map(Stream::into_parts).unwrap_or_default();
        let mut output = run(&arguments, &stdin);
        if broken.is_some() && output.status == ExitStatus::Code(0) {
            output = ToolOutput::failure(1, "the input ended early");
        }
        Ok(Child::new(output))
    }
}

pub(crate) mod bytes {
    use super::super::filters::{AGE, Filtered, GZIP, filter, marked, sha256, unmarked, unzstd, zstd};
    use super::super::{Bound, current};
    use crate::HostError;
    use crate::bindings::rota::runbook::bytes::{Codec, Coding, Passed};
    use crate::mock::Stream;

    pub(crate) fn tee_sha256(data: Stream<u8>) -> Filtered {
        filter(data, true, Ok)
    }

    pub(crate) fn count(data: Stream<u8>) -> Filtered {
        filter(data, false, Ok)
    }

    pub(crate) fn compress(data: Stream<u8>, codec: Codec) -> Result<Filtered, HostError> {
        match codec {
            Codec::Zstd(level @ 1..=19) => Ok(filter(data, false, zstd(level))),
            Codec::Gzip(1..=9) => Ok(filter(data, false, marked(GZIP))),
            Codec::Zstd(level) => Err(HostError::InvalidArgument(format!("zstd has no level {level}"))),
            Codec::Gzip(level) => Err(HostError::InvalidArgument(format!("gzip has no level {level}"))),
        }
    }

    pub(crate) fn decompress(data: Stream<u8>, coding: Coding) -> Filtered {
        match coding {
            Coding::Zstd => filter(data, false, unzstd),
            Coding::Gzip => filter(data, false, unmarked(GZIP)),
        }
    }

    pub(crate) fn encrypt(data: Stream<u8>, recipients: &[String]) -> Result<Filtered, HostError> {
        if recipients.is_empty() || recipients.iter().any(|recipient| !recipient.starts_with("age1")) {
            return Err(HostError::InvalidArgument("a recipient begins with age1, and one is needed".to_owned()));
        }
        Ok(filter(data, false, marked(AGE)))
    }

    pub(crate) fn decrypt(data: Stream<u8>, slot: &str) -> Result<Filtered, HostError> {
        match current().authorise(slot, Some("decrypt"))? {
            Bound::Key => Ok(filter(data, false, unmarked(AGE))),
            _ => Err(HostError::InvalidArgument(format!("slot `{slot}` holds no key"))),
        }
    }

    pub(crate) fn rate_limit(data: Stream<u8>, bytes_per_second: u64) -> Result<Filtered, HostError> {
        if bytes_per_second == 0 {
            return Err(HostError::InvalidArgument("0 bytes a second never end".to_owned()));
        }
        Ok(filter(data, false, Ok))
    }

    pub(crate) async fn drain(data: Stream<u8>) -> Result<Passed, HostError> {
        let bytes = data.into_whole()?;
        Ok(Passed { bytes_in: bytes.len() as u64, bytes_out: bytes.len() as u64, sha256: Some(sha256(&bytes)) })
    }
}
