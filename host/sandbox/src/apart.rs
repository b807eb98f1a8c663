//! Compiling in a process of its own: what is compiled is somebody else's, and a compiler can be made to take hours and gigabytes.
//!
//! The host starts its own executable again with `__compile` ([`compile_if_asked`]), gives it the component as standard input and reads the
//! compiled one from standard output. The child bounds itself before it reads anything: address space, processor time, no files. The host
//! bounds what it reads and how long it waits. A child that breaks, as a compiler may on what nobody foresaw, takes nobody with it.

use crate::LoadError;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// The argument that makes an executable a compiler.
const WORD: &str = "__compile";
/// What is read of what the child says, bytes.
const SAID: u64 = 8 << 10;
/// The largest compiled component that is taken, bytes: about four times the largest component.
const LARGEST: u64 = 1 << 30;
/// The largest component that the child reads, bytes.
const LARGEST_COMPONENT: u64 = 257 << 20;
/// The most threads that compile.
const THREADS: usize = 4;
/// What the child ends with when the compiler refuses the component, and says why.
const REFUSED: u8 = 3;

/// Who compiles what is not ours, and how much that may take.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// An executable that calls [`compile_if_asked`] first of all.
    pub program: PathBuf,
    /// The most address space, bytes. A component of 20 MB takes between 500 and 700 MiB, of which it fills 323.
    pub memory: u64,
    /// The most seconds, by the clock and of the processor.
    pub seconds: u64,
}

impl Compiler {
    /// This process' own executable, with bounds that any component of 256 MiB keeps if nobody made it to be slow.
    pub fn of_this_process() -> Self {
        Self { program: "/proc/self/exe".into(), memory: 4 << 30, seconds: 180 }
    }

    /// Compile a component apart from this process. It blocks.
    pub(crate) fn compile(&self, component: &[u8], stack: usize) -> Result<Vec<u8>, LoadError> {
        let broken =
            |error: std::io::Error| LoadError::Compile(format!("the compiler's process could not be used: {error}"));
        let mut command = Command::new(&self.program);
        let host = std::process::id().to_string();
        command.args([WORD, &self.memory.to_string(), &self.seconds.to_string(), &stack.to_string(), &host]);
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // It allocates much and lives for a moment: what it frees goes back at once. A tenth less memory, at no measurable time.
        command.envs([
            ("MALLOC_ARENA_MAX", "1"),
            ("MALLOC_TRIM_THRESHOLD_", "65536"),
            ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ]);
        // Each thread holds what a function takes while it is compiled: about 9 MiB for one in Python, more for one that means it.
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        command.env("RAYON_NUM_THREADS", processors.min(THREADS).to_string());
        let mut child = command.spawn().map_err(broken)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(broken(std::io::Error::other("no pipes")));
        };
        let child = Arc::new(Mutex::new(child));
        let limit = Duration::from_secs(self.seconds);
        let (ended, end) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // One that ends early closes its end; what it says tells why.
            scope.spawn(move || stdin.write_all(component));
            let said = scope.spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.take(SAID).read_to_end(&mut text);
                text
            });
            let watched = child.clone();
            let watch = scope.spawn(move || {
                let late = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
                if late {
                    let _ = lock(&watched).kill();
                }
                late
            });
            let mut artifact = Vec::new();
            let read = stdout.take(LARGEST + 1).read_to_end(&mut artifact);
            let too_large = artifact.len() as u64 > LARGEST;
            if too_large {
                let _ = lock(&child).kill();
            }
            let status = wait(&child);
            drop(ended);
            let late = watch.join().unwrap_or(true);
            let said = said.join().unwrap_or_default();
            let status = status.map_err(broken)?;
            if status.success() && !too_large {
                return read.map(|_| artifact).map_err(broken);
            }
            Err(self.why(status, late, too_large, &said))
        })
    }

    fn why(&self, status: ExitStatus, late: bool, too_large: bool, said: &[u8]) -> LoadError {
        let said = String::from_utf8_lossy(said);
        let line: String = said.chars().filter(|c| !c.is_control() || *c == '\n').take(1_000).collect();
        let line = line.trim();
        // What the bounds do to a process: no memory aborts it, no time left ends it.
        const XCPU: i32 = 24;
        const KILL: i32 = 9;
        // HUP, INT, QUIT, TERM: what a terminal or a service manager sends to all that belongs to a host. They tell nothing of the component.
        const ENDED: [i32; 4] = [1, 2, 3, 15];
        match status.signal() {
            Some(signal) if ENDED.contains(&signal) => {
                LoadError::Compile(format!("its compiler was ended from outside (signal {signal})"))
            }
            _ if status.code() == Some(i32::from(REFUSED)) => LoadError::Compile(line.to_owned()),
            _ if too_large => LoadError::TooCostly(format!("more than {} MiB of compiled code", LARGEST >> 20)),
            Some(XCPU | KILL) if late || status.signal() == Some(XCPU) => {
                LoadError::TooCostly(format!("more than {} s", self.seconds))
            }
            Some(KILL) => LoadError::TooCostly(format!(
                "more than {} s of the processor, or the system ended it for want of memory",
                self.seconds
            )),
            _ if line.contains("memory allocation of") || line.contains("Cannot allocate memory") => {
                LoadError::TooCostly(format!("more than {} MiB of memory", self.memory >> 20))
            }
            Some(signal) => LoadError::TooCostly(format!(
                "a depth or a size that breaks the compiler (signal {signal}, bounds: {} MiB and {} s)",
                self.memory >> 20,
                self.seconds
            )),
            None => LoadError::Compile(format!("the compiler broke: {}", line.lines().last().unwrap_or_default())),
        }
    }
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wait for the end without holding the child, so that it can be killed meanwhile.
fn wait(child: &Mutex<Child>) -> std::io::Result<ExitStatus> {
    loop {
        if let Some(status) = lock(child).try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Be the compiler if this process was started as one: then the exit code is to be returned from `main` at once.
///
/// It must be called before any thread is started.
pub fn compile_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != WORD {
        return None;
    }
    let numbers: Vec<u64> = arguments.filter_map(|text| text.to_str()?.parse().ok()).collect();
    Some(match compile(&numbers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(REFUSED)
        }
    })
}

fn compile(numbers: &[u64]) -> Result<(), String> {
    let [memory, seconds, stack, host] = *numbers else { return Err("it was not asked as a host asks".into()) };
    bound(memory, seconds).map_err(|error| format!("the compiler's process cannot be bounded: {error}"))?;
    // A host that was gone before it could be followed sends no signal any more.
    if u64::from(std::os::unix::process::parent_id()) != host {
        return Err("its host is gone".into());
    }
    let mut component = Vec::new();
    let read = std::io::stdin().lock().take(LARGEST_COMPONENT).read_to_end(&mut component);
    read.map_err(|error| format!("the component did not come: {error}"))?;
    let stack = usize::try_from(stack).unwrap_or(usize::MAX);
    let engine = wasmtime::Engine::new(&crate::engine::compiling(stack)).map_err(|error| format!("{error:#}"))?;
    let artifact = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    drop(component);
    let mut out = std::io::stdout().lock();
    out.write_all(&artifact)
        .and_then(|()| out.flush())
        .map_err(|error| format!("the compiled component could not be given back: {error}"))
}

fn bound(memory: u64, seconds: u64) -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    // With the host, whatever becomes of it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let at_most = |limit: u64| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, at_most(memory))?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + 1) })?;
    setrlimit(Resource::Fsize, at_most(0))?;
    setrlimit(Resource::Core, at_most(0))
}
