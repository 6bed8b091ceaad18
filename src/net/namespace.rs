//! Network namespaces without names: made, entered by a child process or by
//! a short-lived thread, and cleared away by the kernel when the last holder
//! of the descriptor is gone.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use caps::{CapSet, Capability};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getegid, geteuid, getpid, getppid};

/// A network namespace, held open by a descriptor.
#[derive(Debug)]
pub struct Namespace {
    descriptor: OwnedFd,
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Namespace {
    /// A new one, with nothing in it but a loopback interface that is down.
    /// Errors: `PermissionDenied` without CAP_SYS_ADMIN.
    pub fn create() -> io::Result<Self> {
        // Only the thread moves, and it ends at once.
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let descriptor = File::open("/proc/thread-self/ns/net")?.into();
            Ok(Self { descriptor })
        })?
    }

    /// Runs `body` on a thread inside. Sockets opened there stay in the
    /// namespace, whoever uses them later; so do threads started there.
    ///
    /// Errors: the namespace could not be entered, or `body` panicked.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            setns(self, CloneFlags::CLONE_NEWNET)?;
            Ok(body())
        })?
    }

    /// Lets `command` start inside, as a child that dies with the *thread*
    /// that starts it: that must be one that lives as long as the program.
    pub fn contain<'c>(&self, command: &'c mut Command) -> io::Result<&'c mut Command> {
        let descriptor = self.descriptor.try_clone()?;
        let parent = getpid();
        let enter = move || -> io::Result<()> {
            setns(&descriptor, CloneFlags::CLONE_NEWNET)?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            die_if_orphaned(parent)
        };
        // SAFETY: between fork and exec the closure makes four system calls,
        // allocates nothing and takes no lock.
        unsafe { command.pre_exec(enter) };
        Ok(command)
    }
}

/// The parent may have ended before its end was asked to be signalled.
fn die_if_orphaned(parent: Pid) -> io::Result<()> {
    if getppid() == parent {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

fn on_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, body)?;
        let panicked = |_| io::Error::other("the thread in the namespace panicked");
        thread.join().map_err(panicked)
    })
}

/// Makes sure that network namespaces may be made, in a user namespace of our
/// own where the caller's rights do not suffice. The process must not have
/// started a thread yet.
///
/// Errors: a sentence that says what forbids it and how to allow it.
pub fn permit() -> Result<(), String> {
    if may_make_namespaces() {
        return Ok(());
    }
    become_root_of_own_users().map_err(|error| {
        format!(
            "network namespaces are not permitted here: {error}. {}",
            remedy()
        )
    })
}

fn may_make_namespaces() -> bool {
    [
        Capability::CAP_SYS_ADMIN,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
    ]
    .into_iter()
    .all(|right| caps::has_cap(None, CapSet::Effective, right).unwrap_or(false))
}

/// A user namespace in which we are root, and everybody else is nobody.
fn become_root_of_own_users() -> Result<(), String> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| format!("a user namespace was refused ({})", errno.desc()))?;
    let write = |file: &str, text: String| {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).map_err(|error| format!("{path} could not be written ({error})"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))?;
    if may_make_namespaces() {
        Ok(())
    } else {
        Err("the user namespace came without rights".to_owned())
    }
}

/// Settings by which distributions forbid user namespaces, with the value
/// that does and the value that allows them.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "10000"),
];

fn remedy() -> String {
    let forbidding = SWITCHES.iter().find(|(name, forbids, _)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::read_to_string(path).is_ok_and(|value| value.trim() == *forbids)
    });
    match forbidding {
        Some((name, forbids, allows)) => format!(
            "{name} is {forbids}: run this as root, or allow user namespaces by \
             \"sysctl {name}={allows}\""
        ),
        None => "Run this as root; in a container, one with the capabilities SYS_ADMIN, \
                 NET_ADMIN and NET_RAW"
            .to_owned(),
    }
}
