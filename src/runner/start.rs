//! Starting one program. Blocks: a user data base or a file system may be
//! slow, or hang, so it runs on a thread that nobody waits for.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::unistd::{Uid, User, getgrouplist};

use super::catalog::Script;
use super::check_file;
use crate::agent::jobs::Verdict;
use crate::net::child::{self, Identity, Program};

/// Whom a program runs as when nothing is said.
pub const USER_DEFAULT: &str = "nobody";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// While somebody has the file open for writing, as a copy over it does.
const BUSY_TRIES: u32 = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Everything that one start needs.
#[derive(Clone, Debug)]
pub struct Launch {
    pub script: Arc<Script>,
    /// After those in the configuration.
    pub arguments: Vec<String>,
    /// Beside PATH and LANG; names that begin with VIPWARD_.
    pub environment: Vec<(&'static str, String)>,
    pub accounts: Arc<Accounts>,
    /// A hook may leave something running, and is to be finished even without
    /// us. A check ends with us, and with its end all that it started.
    pub may_leave: bool,
}

/// A program under way, and the reading end of what it prints.
#[derive(Debug)]
pub struct Started {
    pub child: Child,
    pub output: OwnedFd,
}

/// Users that were found already; asked for again after a reload.
#[derive(Debug, Default)]
pub struct Accounts {
    known: Mutex<BTreeMap<String, Identity>>,
}

impl Accounts {
    pub fn forget(&self) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn identity(&self, name: &str) -> Result<Identity, Verdict> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = known().get(name) {
            return Ok(identity.clone());
        }
        let user = look_up(name)?;
        let groups = std::ffi::CString::new(name)
            .map_err(io::Error::from)
            .and_then(|name| Ok(getgrouplist(&name, user.gid)?))
            .map_err(|error| {
                not_run(&format!("the groups of user {name} are not known: {error}"))
            })?;
        let identity = Identity {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
        };
        known().insert(name.to_owned(), identity.clone());
        Ok(identity)
    }
}

fn look_up(name: &str) -> Result<User, Verdict> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(Verdict::Refused(format!(
            "there is no user {name}; create it, or write another `user`"
        ))),
        Err(error) => Err(not_run(&format!(
            "user {name} cannot be looked up: {error}"
        ))),
    }
}

fn not_run(why: &str) -> Verdict {
    Verdict::NotRun(why.to_owned())
}

impl Launch {
    /// Starts it, or says why not; then nothing runs.
    pub fn start(&self) -> Result<Started, Verdict> {
        let identity = self.identity()?;
        let user = identity.as_ref().map(|identity| identity.uid);
        let Some((program, arguments)) = self.script.command.split_first() else {
            return Err(Verdict::Refused("the command is empty".to_owned()));
        };
        let as_root = identity.is_some();
        let inspect = || {
            check_file::inspect_for(Path::new(program), as_root, user)
                .map_err(|refusal| Verdict::Refused(refusal.to_string()))
        };
        inspect()?;

        let prepared = |error: io::Error| not_run(&format!("no pipe for its output: {error}"));
        let (output, input) = io::pipe().map_err(prepared)?;
        let arguments = arguments.iter().chain(&self.arguments).map(String::as_str);
        let told = self.environment.iter();
        let told = told.map(|(name, value)| (*name, value.as_str()));
        let environment = [("PATH", PATH), ("LANG", "C.UTF-8")]
            .into_iter()
            .chain(told);
        let executed = Program::new(program, arguments, environment)
            .map_err(|_| Verdict::Refused(format!("the command of {program} holds a zero byte")))?;
        let mut command = child::confined(executed, identity, !self.may_leave);
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(input.try_clone().map_err(prepared)?)
            .stderr(input);
        let mut outcome = command.spawn();
        for _ in 1..BUSY_TRIES {
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                _ => break,
            }
            thread::sleep(BUSY_PAUSE);
            outcome = command.spawn();
        }
        if outcome.is_err() {
            // The file may have been changed since it was looked at; what is
            // wrong with it now says more than the kernel's number.
            inspect()?;
        }
        self.judge(outcome, output.into())
    }

    /// Nobody when the program stays who we are, because we are not root.
    fn identity(&self) -> Result<Option<Identity>, Verdict> {
        let own = Uid::effective();
        let wanted = self.script.user.as_deref();
        if own.is_root() {
            let name = wanted.unwrap_or(USER_DEFAULT);
            return self.accounts.identity(name).map(Some);
        }
        let Some(name) = wanted else { return Ok(None) };
        if look_up(name)?.uid == own {
            return Ok(None);
        }
        Err(Verdict::Refused(format!(
            "it is to run as {name}, which only root can start; this runner is user {own}"
        )))
    }

    fn judge(&self, outcome: io::Result<Child>, output: OwnedFd) -> Result<Started, Verdict> {
        let error = match outcome {
            Ok(child) => return Ok(Started { child, output }),
            Err(error) => error,
        };
        let program = self.script.command.first().map_or("", String::as_str);
        let user = self.script.user.as_deref().unwrap_or(USER_DEFAULT);
        let refused = |why: String| Err(Verdict::Refused(why));
        match error.raw_os_error() {
            Some(libc::EACCES) => refused(format!(
                "{program} may not be executed by {}, or a directory on the way is closed \
                 to it, or its file system is mounted noexec",
                match Uid::effective().is_root() {
                    true => user,
                    false => "this runner",
                }
            )),
            Some(libc::ENOENT) => refused(format!(
                "{program} cannot be started: the interpreter in its first line (#!) does not exist"
            )),
            Some(libc::ENOEXEC) => refused(format!(
                "{program} is no program: a script begins with a line such as #!/bin/sh"
            )),
            Some(libc::E2BIG) => refused(format!(
                "{program} cannot be started: its arguments or the list of addresses \
                 (VIPWARD_ADDRESSES) are longer than the kernel takes"
            )),
            Some(libc::EPERM) => refused(format!(
                "{program} cannot be started as {user}: the runner lacks the right to change \
                 users (CAP_SETUID, CAP_SETGID)"
            )),
            // Too many processes, no memory, a file being written: a matter of
            // the moment.
            _ => Err(not_run(&format!(
                "{program} cannot be started now: {error}"
            ))),
        }
    }
}
