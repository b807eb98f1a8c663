//! Programs that print what the test says.

use crate::bindings::rota::runbook::process::ExitStatus;
use crate::bindings::rota::runbook::tools::ToolInfo;
use std::cell::RefCell;
use std::rc::Rc;

/// What a program prints, and how it ends.
#[derive(Clone, Debug)]
pub struct ToolOutput {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
    /// How it ends.
    pub status: ExitStatus,
}

impl ToolOutput {
    /// Prints this and exits with 0.
    pub fn success(stdout: impl Into<Vec<u8>>) -> Self {
        Self { stdout: stdout.into(), stderr: String::new(), status: ExitStatus::Code(0) }
    }

    /// Prints this to stderr and exits with a code.
    pub fn failure(code: i32, stderr: &str) -> Self {
        Self { stdout: Vec::new(), stderr: stderr.to_owned(), status: ExitStatus::Code(code) }
    }
}

type Run = Rc<dyn Fn(&[String], &[u8]) -> ToolOutput>;

struct Script {
    pattern: String,
    only_reads: bool,
    run: Run,
}

struct Inner {
    info: ToolInfo,
    scripts: Vec<Script>,
    calls: Vec<Vec<String>>,
}

/// The program in a slot. Clones are the same program.
#[derive(Clone)]
pub struct ToolMock(Rc<RefCell<Inner>>);

impl Default for ToolMock {
    fn default() -> Self {
        let info = ToolInfo { version: "16.14".to_owned(), major: 16 };
        Self(Rc::new(RefCell::new(Inner { info, scripts: Vec::new(), calls: Vec::new() })))
    }
}

impl ToolMock {
    /// Its version: `16.14`.
    pub fn version(&self, version: &str) -> &Self {
        let major =
            version.split('.').next().and_then(|major| major.parse().ok()).expect("a version begins with a number");
        self.0.borrow_mut().info = ToolInfo { version: version.to_owned(), major };
        self
    }

    /// What it does when its arguments, joined by spaces, contain a text. The latest such answer wins.
    pub fn on(&self, arguments: &str, output: ToolOutput) -> &Self {
        self.on_with(arguments, move |_, _| output.clone())
    }

    /// What it does with its arguments and standard input.
    pub fn on_with(&self, arguments: &str, run: impl Fn(&[String], &[u8]) -> ToolOutput + 'static) -> &Self {
        self.0.borrow_mut().scripts.push(Script {
            pattern: arguments.to_owned(),
            only_reads: false,
            run: Rc::new(run),
        });
        self
    }

    /// The profile says that the latest of these arguments only read: it is started in a plan, too.
    pub fn only_reads(&self) -> &Self {
        if let Some(script) = self.0.borrow_mut().scripts.last_mut() {
            script.only_reads = true;
        }
        self
    }

    /// The arguments of each start, in order.
    pub fn calls(&self) -> Vec<Vec<String>> {
        self.0.borrow().calls.clone()
    }

    pub(super) fn info(&self) -> ToolInfo {
        self.0.borrow().info.clone()
    }

    /// What these arguments do, and whether they only read.
    pub(super) fn find(&self, arguments: &[String]) -> (bool, Run) {
        let joined = arguments.join(" ");
        let inner = self.0.borrow();
        let script = inner.scripts.iter().rev().find(|script| joined.contains(&script.pattern));
        let script = script.unwrap_or_else(|| panic!("the mock does not know the arguments: {joined}"));
        (script.only_reads, script.run.clone())
    }

    pub(super) fn started(&self, arguments: &[String]) {
        self.0.borrow_mut().calls.push(arguments.to_vec());
    }
}
