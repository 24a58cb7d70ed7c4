//! Running external commands: scripts of trackers and notifications, start-up and shutdown scripts.
//!
//! Shell: the only place that does. Each command has a process group of its own, its user and group, no input, no
//! output, nobody's file descriptors (all of ours are close-on-exec) and a deadline, after which its whole group gets
//! TERM and, [`KILL_AFTER`] later, KILL. When main dies it gets TERM. Main never raises its own priority or limits
//! its CPUs, so that there is nothing to put back.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Group, Pid, Uid, User};
use tokio::process::{Child, Command as Process};
use tokio::time::timeout;

use super::script_path::{self, PathProblem};
use crate::command::{Command, CommandForm, RunAs};
use crate::conf::config::DaemonConfig;

/// Between TERM and KILL for a command that overran its deadline.
pub const KILL_AFTER: Duration = Duration::from_secs(2);
/// After KILL; a process that is still there hangs in the kernel, and nobody waits for it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// The user that scripts run as when it exists and nothing else is configured, as in keepalived.
const DEFAULT_USER: &str = "keepalived_script";
/// What a script could be subverted by, as in keepalived.
const REMOVED_ENVIRONMENT: [&str; 3] = ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"];

/// How commands of one configuration are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `script_user`.
    pub default_user: Option<RunAs>,
    /// `enable_script_security`.
    pub security: bool,
    /// `set_supplementary_groups`.
    pub supplementary_groups: bool,
}

impl Policy {
    /// What a configuration says.
    pub fn of(config: &DaemonConfig) -> Self {
        Self {
            default_user: config.script_user.clone(),
            security: config.script_security,
            supplementary_groups: config.supplementary_groups,
        }
    }
}

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// The groups besides, when they are asked for.
    pub supplementary: Vec<Gid>,
}

/// Why a command cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its file.
    #[error(transparent)]
    Path(#[from] PathProblem),
    /// No such user.
    #[error("there is no user `{0}` on this machine")]
    NoUser(String),
    /// No such group.
    #[error("there is no group `{0}` on this machine")]
    NoGroup(String),
    /// `[[` or `/dev/tcp` and no bash.
    #[error("this shell line needs bash (`[[`, `/dev/tcp`), which this machine does not have")]
    NoBash,
    /// A program form without words.
    #[error("the command is empty")]
    Empty,
}

/// A command that can be run: its file exists, its user exists, security is satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    program: PathBuf,
    args: Vec<String>,
    /// `None`: as main itself.
    identity: Option<Identity>,
    /// Something that keepalived would warn of too, when security is off.
    pub remark: Option<String>,
}

/// What became of a run.
#[derive(Debug)]
pub enum Outcome {
    /// It ended by itself.
    Exited(ExitStatus),
    /// It overran its deadline and was ended.
    TimedOut {
        /// TERM was not enough.
        killed: bool,
    },
    /// It could not be started.
    NotStarted(std::io::Error),
}

impl Outcome {
    /// Exit status 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

impl fmt::Display for Outcome {
    /// keepalived's words, which log watchers look for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) if status.success() => f.write_str("succeeded"),
            Self::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "failed (exited with status {code})"),
                (None, signal) => write!(f, "failed (due to signal {})", signal.unwrap_or_default()),
            },
            Self::TimedOut { killed: false } => f.write_str("timed out"),
            Self::TimedOut { killed: true } => f.write_str("timed out and had to be killed"),
            Self::NotStarted(error) => write!(f, "failed (could not be started: {error})"),
        }
    }
}

/// The accounts of this machine, looked up once per configuration: a name service may be slow or hang, and it must
/// not do so for each run of a script.
#[derive(Debug, Clone)]
pub struct Runner {
    policy: Policy,
    /// Looked up with the others if a command needs it: without one there is no need to load a name service.
    default_identity: Arc<OnceLock<Option<Identity>>>,
    accounts: Arc<BTreeMap<RunAs, Identity>>,
}

impl Runner {
    /// For one configuration; `commands` are all that it may run.
    pub fn new<'a>(policy: Policy, commands: impl Iterator<Item = &'a Command> + Clone) -> Self {
        let needs_default = commands.clone().any(|c| c.user.is_none());
        let wanted = commands.filter_map(|c| c.user.as_ref()).chain(policy.default_user.as_ref());
        let groups = policy.supplementary_groups;
        let accounts = wanted.filter_map(|user| Some((user.clone(), resolve(user, groups).ok()?))).collect();
        let runner = Self { policy, default_identity: Arc::default(), accounts: Arc::new(accounts) };
        if needs_default && runner.policy.default_user.is_none() {
            runner.default_identity();
        }
        runner
    }

    fn default_identity(&self) -> Option<&Identity> {
        let look_up = || resolve(&RunAs::new(DEFAULT_USER, None), self.policy.supplementary_groups).ok();
        self.default_identity.get_or_init(look_up).as_ref()
    }

    /// The rules that it was made for.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who a command runs as, `None` for main itself, without asking a name service again; without a command the
    /// default.
    pub fn known_identity(&self, command: Option<&Command>) -> Option<&Identity> {
        let user = command.and_then(|command| command.user.as_ref()).or(self.policy.default_user.as_ref());
        match user {
            Some(user) => self.accounts.get(user),
            None => self.default_identity.get().and_then(Option::as_ref),
        }
    }

    /// Finds the command's file and user and applies the rules. Cheap enough to do before every run, so that a
    /// script which is installed later, or loses its execute bit, is noticed without a reload.
    ///
    /// # Errors
    /// It cannot be run, or must not.
    pub fn prepare(&self, command: &Command) -> Result<Prepared, PrepareError> {
        let identity = self.identity(command)?;
        let (program, args) = match &command.form {
            CommandForm::Program(words) => {
                let (program, args) = words.split_first().ok_or(PrepareError::Empty)?;
                (script_path::locate(program)?, args.to_vec())
            }
            CommandForm::Shell { line, needs_bash } => (shell(*needs_bash)?, vec!["-c".to_owned(), line.clone()]),
        };
        let mut remark = None;
        let is_root = |identity: &Identity| identity.uid.is_root() || identity.gid.as_raw() == 0;
        if identity.as_ref().is_none_or(is_root) && nix::unistd::geteuid().is_root() {
            match files_to_guard(&program, &command.form)
                .iter()
                .try_for_each(|f| script_path::check_only_root_writes(f))
            {
                Err(problem) if self.policy.security => return Err(problem.into()),
                Err(problem) => remark = Some(problem.to_string()),
                Ok(()) => {}
            }
        }
        Ok(Prepared { program, args, identity, remark })
    }

    /// What will keep this command from running as its user, as far as modes tell. It is tried all the same.
    pub fn forbidden(&self, command: &Command) -> Option<PathProblem> {
        let identity = self.identity(command).ok()?.filter(|identity| !identity.uid.is_root())?;
        let CommandForm::Program(words) = &command.form else { return None };
        let program = script_path::locate(words.first()?).ok()?;
        let user = command.user.as_ref().or(self.policy.default_user.as_ref());
        let user = user.map_or_else(|| "keepalived_script".to_owned(), |user| user.user.clone());
        script_path::check_user_runs(&program, &user, &identity).err()
    }

    fn identity(&self, command: &Command) -> Result<Option<Identity>, PrepareError> {
        let Some(user) = command.user.as_ref().or(self.policy.default_user.as_ref()) else {
            return Ok(self.default_identity().cloned());
        };
        match self.accounts.get(user) {
            Some(identity) => Ok(Some(identity.clone())),
            None => resolve(user, self.policy.supplementary_groups).map(Some),
        }
    }
}

/// The user and group on this machine; `all_groups`: with those that it is a member of, whether or not it says so itself.
///
/// # Errors
/// There is no such user or group.
pub fn resolve(user: &RunAs, all_groups: bool) -> Result<Identity, PrepareError> {
    let no_user = || PrepareError::NoUser(user.user.clone());
    let (uid, found) = match user.user.parse::<u32>() {
        Ok(number) => (Uid::from_raw(number), User::from_uid(Uid::from_raw(number)).ok().flatten()),
        Err(_) => {
            let found = User::from_name(&user.user).ok().flatten().ok_or_else(no_user)?;
            (found.uid, Some(found))
        }
    };
    let gid = match &user.group {
        None => found.as_ref().ok_or_else(no_user)?.gid,
        Some(group) => match group.parse::<u32>() {
            Ok(number) => Gid::from_raw(number),
            Err(_) => {
                let found = Group::from_name(group).ok().flatten();
                found.ok_or_else(|| PrepareError::NoGroup(group.clone()))?.gid
            }
        },
    };
    let supplementary = match found {
        Some(account) if user.supplementary || all_groups => groups_of(&account.name, gid),
        _ => Vec::new(),
    };
    Ok(Identity { uid, gid, supplementary })
}

fn groups_of(account: &str, gid: Gid) -> Vec<Gid> {
    let name = CString::new(account).ok();
    name.and_then(|name| nix::unistd::getgrouplist(&name, gid).ok()).unwrap_or_default()
}

fn shell(needs_bash: bool) -> Result<PathBuf, PrepareError> {
    match script_path::locate("bash") {
        Ok(bash) => Ok(bash),
        Err(_) if needs_bash => Err(PrepareError::NoBash),
        Err(_) => Ok(script_path::locate("/bin/sh")?),
    }
}

/// What must belong to root: the program and, in a shell line, every executable that it names by an absolute path.
fn files_to_guard(program: &Path, form: &CommandForm) -> Vec<PathBuf> {
    let mut files = vec![program.to_owned()];
    if let CommandForm::Shell { line, .. } = form {
        let words = line.split(|c: char| c.is_whitespace() || "|&;<>()`'\"".contains(c));
        files.extend(words.filter(|w| w.starts_with('/')).filter_map(|w| script_path::locate(w).ok()));
    }
    files
}

/// Ends the process group when a run is given up half-way (its task is aborted at a reload or at the end).
#[derive(Debug)]
struct GroupGuard(Option<Pid>);

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // ESRCH: gone already, which is what we want.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs a command with more arguments after its own and waits for its end, at most `limit` plus [`KILL_AFTER`].
/// Dropping the future kills the command's group.
pub async fn run(command: &Prepared, more_args: &[String], limit: Duration) -> Outcome {
    let mut child = match spawn(command, more_args) {
        Ok(child) => child,
        Err(error) => return Outcome::NotStarted(error),
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut guard = GroupGuard(group);
    let outcome = match timeout(limit, child.wait()).await {
        Ok(Ok(status)) => Outcome::Exited(status),
        Ok(Err(error)) => Outcome::NotStarted(error),
        Err(_) => Outcome::TimedOut { killed: end(&mut child, group).await },
    };
    // What a script leaves running in the background on purpose (a service that it started) is not ours to end.
    guard.0 = None;
    outcome
}

/// TERM, then KILL for whatever of the group is left. Returns whether KILL was needed for the command itself.
async fn end(child: &mut Child, group: Option<Pid>) -> bool {
    let signal = |signal| group.map(|group| killpg(group, signal));
    signal(Signal::SIGTERM);
    let ended = timeout(KILL_AFTER, child.wait()).await.is_ok();
    signal(Signal::SIGKILL);
    if !ended {
        let _ = timeout(GIVE_UP_AFTER, child.wait()).await;
    }
    !ended
}

/// A command that goes on until it is ended: the reader of a FIFO. Dropping it kills its group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    guard: GroupGuard,
}

impl Running {
    /// Starts it, with more arguments after its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &Prepared, more_args: &[String]) -> std::io::Result<Self> {
        let child = spawn(command, more_args)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, guard: GroupGuard(group) })
    }

    /// Waits until it ends by itself. Safe to drop half-way.
    pub async fn wait(&mut self) -> Outcome {
        match self.child.wait().await {
            Ok(status) => Outcome::Exited(status),
            Err(error) => Outcome::NotStarted(error),
        }
    }

    /// TERM, then KILL for whatever is left of its group.
    pub async fn end(mut self) {
        end(&mut self.child, self.guard.0).await;
        self.guard.0 = None;
    }
}

fn spawn(command: &Prepared, more_args: &[String]) -> std::io::Result<Child> {
    let mut process = Process::new(&command.program);
    process.args(&command.args).args(more_args);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    for name in REMOVED_ENVIRONMENT {
        process.env_remove(name);
    }
    if let Some(identity) = &command.identity {
        run_as(&mut process, identity);
    }
    // The kernel forgets it when the user changes.
    end_with_parent(&mut process);
    process.spawn()
}

#[allow(unsafe_code)]
fn run_as(process: &mut Process, identity: &Identity) {
    let (uid, gid) = (identity.uid, identity.gid);
    if identity.supplementary.is_empty() {
        if (uid, gid) != (nix::unistd::geteuid(), nix::unistd::getegid()) {
            // Setting a user as root also drops the supplementary groups.
            process.uid(uid.as_raw()).gid(gid.as_raw());
        }
        return;
    }
    let groups = identity.supplementary.clone();
    // SAFETY: the closure runs between fork and exec and makes three system calls, which are async-signal-safe; it
    // allocates nothing and takes no lock.
    unsafe {
        process.pre_exec(move || {
            nix::unistd::setgroups(&groups)?;
            nix::unistd::setgid(gid)?;
            Ok(nix::unistd::setuid(uid)?)
        });
    }
}

/// The command gets TERM when the thread that starts it ends: main's only thread, which lives as long as main.
#[allow(unsafe_code)]
fn end_with_parent(process: &mut Process) {
    // SAFETY: the closure runs between fork and exec and makes one system call, which is async-signal-safe; it
    // allocates nothing and takes no lock.
    unsafe {
        process.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(std::io::Error::from));
    }
}

#[cfg(test)]
mod tests;
