//! What holds a program: set in the child, between fork and exec, so that it is there before the program's first instruction.

use super::message::Confinement;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, Scope, path_beneath_rules,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use std::io;
use std::path::Path;

/// What programs read of the system: libraries, name resolution, time zones, certificates. `/proc` is not among them.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    // Of /etc only what programs of the system look at by themselves: keys and configurations of others lie beside it.
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/nix/store",
    "/run/systemd/resolve",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
];

/// The newest rights that are asked for; a kernel that knows fewer grants these fewer.
const RIGHTS: ABI = ABI::V5;

/// Confine this process to what its program may do.
pub(super) fn confine(confinement: &Confinement, folder: &Path, program: &Path, launcher: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The launcher may have gone before the signal was asked for.
    if getppid() != Some(launcher) {
        return Err(io::Error::other("the launcher is gone"));
    }
    set_limits(confinement)?;
    rustix::thread::set_no_new_privs(true)?;
    restrict(confinement, folder, program).map_err(io::Error::other)
}

fn set_limits(confinement: &Confinement) -> io::Result<()> {
    let limits = &confinement.limits;
    let wanted = [
        // A core file would hold the password.
        (Resource::Core, Some(0)),
        (Resource::Nofile, Some(limits.open_files)),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::As, limits.memory),
        (Resource::Fsize, Some(limits.file_bytes)),
    ];
    for (resource, value) in wanted.into_iter().filter_map(|(resource, value)| Some((resource, value?))) {
        // Never above what the host itself was given.
        let most = rustix::process::getrlimit(resource).maximum;
        let value = Some(most.map_or(value, |most| value.min(most)));
        // One second more for the hard limit of CPU time, so that the program ends by SIGXCPU and not by SIGKILL.
        let maximum = if resource == Resource::Cpu {
            value.map(|seconds| most.map_or(seconds + 1, |most| most.min(seconds + 1)))
        } else {
            value
        };
        setrlimit(resource, Rlimit { current: value, maximum })?;
    }
    Ok(())
}

/// Read and execute the system and the program; write only in the private folder; signal nobody outside. The network is left.
fn restrict(confinement: &Confinement, folder: &Path, program: &Path) -> Result<(), RulesetError> {
    let read = AccessFs::from_read(RIGHTS);
    let system = SYSTEM.iter().map(Path::new);
    let own = confinement.reads.iter().map(|path| path.as_path());
    // A path that is not there is left out; a right that a file cannot have (listing it) too.
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(system.chain(own).chain([program]), read))?
        .add_rules(path_beneath_rules([folder], AccessFs::from_all(RIGHTS) & !AccessFs::Execute))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::from_file(RIGHTS)))?
        .restrict_self()?;
    Ok(())
}

/// Whether this kernel has Landlock, and it is switched on. Without it a program can read and write what the host's user can.
pub fn landlock_available() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}
