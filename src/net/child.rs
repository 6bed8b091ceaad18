//! What a program of somebody else may inherit from this process: nothing.
//! Runs in the child, between fork and exec.
//!
//! Other threads may hold any lock at the moment of a fork, so nothing here
//! allocates, logs or panics in the child.

use std::ffi::{CString, c_char, c_int, c_ulong};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// Who the program becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, the primary one as well if it is wanted there.
    pub groups: Vec<u32>,
}

/// What a service manager says to the agent alone, in the environment.
pub const FOR_THE_AGENT_ALONE: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// `struct __user_cap_data_struct`; version 3 takes two, for 64 bits.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// A program to be started by execve(2): without a search along PATH, and
/// without the C library's habit of giving a file that is no program to a
/// shell.
pub struct Program {
    path: CString,
    /// With the path as the first one.
    arguments: Strings,
    /// Each as NAME=VALUE.
    environment: Strings,
}

/// Strings, and the array of pointers to them, with a null at the end, as
/// execve(2) wants it: nothing may be allocated after a fork.
struct Strings {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

// SAFETY: the pointers lead to the buffers of strings which live as long as
// they do, are never changed, and stay where they are when the vectors move.
unsafe impl Send for Strings {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Strings {}

impl Strings {
    fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|text| text.as_ptr());
        Self {
            pointers: pointers.chain([ptr::null()]).collect(),
            _owned: owned,
        }
    }
}

impl Program {
    /// # Errors
    ///
    /// InvalidInput where a string holds a zero byte.
    pub fn new<'a>(
        path: &str,
        arguments: impl Iterator<Item = &'a str>,
        environment: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<Self> {
        let path = CString::new(path)?;
        let arguments = arguments.map(CString::new);
        let arguments: Result<Vec<_>, _> =
            [Ok(path.clone())].into_iter().chain(arguments).collect();
        let environment: Result<Vec<_>, _> = environment
            .map(|(name, value)| CString::new(format!("{name}={value}")))
            .collect();
        Ok(Self {
            path,
            arguments: Strings::new(arguments?),
            environment: Strings::new(environment?),
        })
    }

    /// Returns only what went wrong.
    fn execute(&self) -> io::Error {
        // SAFETY: a string that ends with zero, and two arrays of such strings
        // that end with null; all live, and only read.
        unsafe {
            libc::execve(
                self.path.as_ptr(),
                self.arguments.pointers.as_ptr(),
                self.environment.pointers.as_ptr(),
            )
        };
        io::Error::last_os_error()
    }
}

/// A command that runs the program; only its directory and its three
/// descriptors are still to be set.
///
/// Gives the program a session and process group of its own (the group's
/// number is its pid), default signals, ordinary scheduling, umask 022, no
/// core dump, no descriptor beyond the three, and no inheritable or ambient
/// capability.
///
/// With an `identity` it has that user's ordinary rights, as from a login:
/// every capability for root, none for others, who may use what has the
/// set-user-ID bit or capabilities of its own (`ping`, `sudo`).
///
/// Without an identity the program stays who we are, and cannot gain rights by
/// executing another (no_new_privs): we might not be permitted to end it then.
///
/// `dies_with_us`: it is killed when the *thread* that started it ends, and so
/// when this process does, however that happens. The kernel forgets this when
/// the program gains rights by executing another.
///
/// What cannot be done fails the start with the kernel's error, except for
/// what costs no safety: a raised nice value stays where it may not be lowered.
pub fn confined(program: Program, identity: Option<Identity>, dies_with_us: bool) -> Command {
    let mut command = Command::new("/");
    // SAFETY: `apply` and `execute` make only system calls, bare or through
    // wrappers that are async-signal-safe; they neither allocate nor take
    // locks, and what is captured is only read.
    unsafe {
        command.pre_exec(move || {
            apply(identity.as_ref(), dies_with_us)?;
            Err(program.execute())
        });
    }
    command
}

/// For a process of ours that is to outlive us: a session of its own, default
/// signals, ordinary scheduling, no descriptor beyond the three, no ambient
/// capabilities. It keeps the user.
pub fn detach(command: &mut Command) {
    // SAFETY: as in `confined`.
    unsafe {
        command.pre_exec(|| {
            own_session()?;
            default_signals();
            ordinary_scheduling()?;
            close_on_exec();
            clear_ambient()
        });
    }
}

/// For a process of ours that watches over us: a session of its own, deaf to
/// every signal that asks a service to end, ordinary scheduling, and no
/// descriptor beyond the three and the `kept` ones. It keeps user and rights.
pub fn watchful(command: &mut Command, kept: Vec<RawFd>) {
    // SAFETY: as in `confined`.
    unsafe {
        command.pre_exec(move || {
            own_session()?;
            default_signals();
            ignore_endings();
            ordinary_scheduling()?;
            close_on_exec();
            kept.iter().try_for_each(|descriptor| {
                // SAFETY: clears the descriptor's one flag; a number that is
                // none is refused.
                checked(libc::fcntl(*descriptor, libc::F_SETFD, 0))
            })
        });
    }
}

/// A service manager's stop and watchdog, a terminal's, and those whose
/// default is death without their being meant so. Outlives exec.
fn ignore_endings() {
    let endings = [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGABRT,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];
    for signal in endings {
        // SAFETY: replaces a disposition by one that runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn apply(identity: Option<&Identity>, dies_with_us: bool) -> io::Result<()> {
    own_session()?;
    default_signals();
    ordinary_scheduling()?;
    no_core()?;
    // SAFETY: umask only replaces a number of this process.
    unsafe { libc::umask(0o022) };
    close_on_exec();
    clear_ambient()?;
    let unprivileged = match identity {
        Some(identity) => identity.uid != 0,
        // SAFETY: reads a number of this process.
        None => (unsafe { libc::geteuid() }) != 0,
    };
    if let Some(identity) = identity {
        become_user(identity)?;
    }
    set_capabilities(unprivileged)?;
    if dies_with_us {
        // After the change of user, which would undo it.
        let signal = c_ulong::from(libc::SIGKILL.unsigned_abs());
        prctl(libc::PR_SET_PDEATHSIG, signal, 0)?;
    }
    match identity {
        Some(_) => Ok(()),
        None => prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0),
    }
}

fn checked(outcome: c_int) -> io::Result<()> {
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn own_session() -> io::Result<()> {
    // SAFETY: a bare system call. A fresh child leads no group, so it may.
    match unsafe { libc::setsid() } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Ignored signals would stay ignored across exec, and blocked ones blocked.
fn default_signals() {
    // The kernel's `struct sigaction` has at most 32 bytes; all zeros is
    // SIG_DFL without flags.
    let default = [0_u64; 4];
    let set_bytes: usize = 8;
    // Not by the C library, which hides two of them.
    for signal in 1..=64_usize {
        // SAFETY: the kernel reads no more than the 32 bytes, and writes
        // nothing. SIGKILL and SIGSTOP are refused, which changes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                set_bytes,
            );
        }
    }
    // SAFETY: all zeros is a valid `sigset_t` to be overwritten, and both
    // calls get a pointer to a live one.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// SCHED_OTHER and nice 0 for the calling thread.
///
/// # Errors
///
/// Only when real-time scheduling cannot be given up, which the kernel always
/// allows. A nice value above 0 may stay.
pub fn ordinary_scheduling() -> io::Result<()> {
    // SAFETY: all zeros is a valid `sched_param`: priority 0, as SCHED_OTHER
    // wants it. The pointer is to a live one; 0 names the calling thread.
    checked(unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameters)
    })?;
    // SAFETY: a bare system call; 0 names the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
    Ok(())
}

/// From now on no core of this process or its children is written. The hard
/// limit stays: a service that a hook starts may want its own.
///
/// # Errors
///
/// The limit cannot be read or lowered, which the kernel always allows.
pub fn no_core() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live `rlimit`, which is written.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) })?;
    limit.rlim_cur = 0;
    // SAFETY: the pointer is to a live `rlimit`, which is only read.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) })
}

/// Everything that we open is closed on exec already; this also meets what we
/// ourselves inherited. A kernel before 5.11 refuses, and that much is lost.
fn close_on_exec() {
    let first: libc::c_uint = 3;
    // SAFETY: sets a flag on descriptors; none is closed before exec.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

fn clear_ambient() -> io::Result<()> {
    let clear = c_ulong::from(libc::PR_CAP_AMBIENT_CLEAR_ALL.unsigned_abs());
    prctl(libc::PR_CAP_AMBIENT, clear, 0)
}

fn prctl(option: c_int, first: c_ulong, second: c_ulong) -> io::Result<()> {
    let zero: c_ulong = 0;
    // SAFETY: the options used here take numbers, never pointers.
    checked(unsafe { libc::prctl(option, first, second, zero, zero) })
}

fn become_user(identity: &Identity) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one live slice, which
    // is only read.
    checked(unsafe { libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) })?;
    let (uid, gid) = (identity.uid, identity.gid);
    // SAFETY: bare numbers.
    checked(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: bare numbers.
    checked(unsafe { libc::setresuid(uid, uid, uid) })
}

/// Empties the inheritable set, and, with `all`, the others as well: giving
/// up root does that only where no securebit says otherwise.
fn set_capabilities(all: bool) -> io::Result<()> {
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut data = [CapabilityData::default(); 2];
    if !all {
        // SAFETY: version 3 writes two elements, and there are two.
        let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
        if read != 0 {
            return Err(io::Error::last_os_error());
        }
        for half in &mut data {
            half.inheritable = 0;
        }
    }
    // SAFETY: version 3 reads two elements, and there are two.
    match unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
