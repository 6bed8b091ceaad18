//! What the process may do: the capabilities it cannot work without, and the
//! scheduling and memory it takes where it is permitted to.

use std::io;

use caps::{CapSet, Capability};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// Low among the real-time priorities: ahead of every ordinary process,
/// behind the kernel's own threads (which have 50).
const REAL_TIME_PRIORITY: i32 = 10;

const NEEDED: [(Capability, &str); 2] = [
    (Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN"),
    (Capability::CAP_NET_RAW, "CAP_NET_RAW"),
];

/// Capabilities that the agent needs and does not have. Nothing was tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the right to {} is missing ({}): run as root, or grant it, as with \
     AmbientCapabilities={} in a systemd unit",
    purposes(.0), .0.join(", "), .0.join(" ")
)]
pub struct MissingRights(pub Vec<&'static str>);

fn purposes(missing: &[&'static str]) -> &'static str {
    match missing {
        ["CAP_NET_ADMIN"] => "change addresses",
        ["CAP_NET_RAW"] => "open raw sockets",
        _ => "change addresses and open raw sockets",
    }
}

/// The needed capabilities that are not in the effective set of the calling
/// thread. Should the set not be readable, none is reported: the first socket
/// will tell.
pub fn missing_capabilities() -> Vec<&'static str> {
    let Ok(effective) = caps::read(None, CapSet::Effective) else {
        return Vec::new();
    };
    let missing = |(capability, _): &&(Capability, &str)| !effective.contains(capability);
    NEEDED
        .iter()
        .filter(missing)
        .map(|(_, name)| *name)
        .collect()
}

/// [`missing_capabilities`] as an error to show.
pub fn check() -> Result<(), MissingRights> {
    let missing = missing_capabilities();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MissingRights(missing))
    }
}

/// Real-time scheduling for the calling thread alone: threads and processes
/// that it starts have ordinary scheduling. Without CAP_SYS_NICE or a limit
/// (RLIMIT_RTPRIO) it is refused and nothing changes.
pub fn raise_priority() -> io::Result<()> {
    run_in_real_time(REAL_TIME_PRIORITY)
}

/// The same one step lower: for what has to be done in time, and never before
/// an advertisement.
pub fn raise_priority_below() -> io::Result<()> {
    run_in_real_time(REAL_TIME_PRIORITY - 1)
}

fn run_in_real_time(priority: i32) -> io::Result<()> {
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: all zeros is a valid `sched_param`, whatever fields a C library
    // adds to it.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the pointer is to a live `sched_param`, which is only read; 0
    // names the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps every page in memory once it was touched, those of the future too.
/// Refused, with nothing changed, where the lockable memory is limited: the
/// limit would later fail an allocation, and thereby the process.
pub fn lock_memory() -> io::Result<()> {
    may_lock()?;
    give_back();
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    lock(on_fault)
}

/// As [`lock_memory`], and reads in the whole program now: what it has never
/// done yet must not have to wait for a disk.
pub fn lock_whole_program() -> io::Result<()> {
    lock(MlockAllFlags::empty())
}

/// What reading the configuration took, and was freed: locked, it could never
/// be given back any more.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches the allocator's free memory only, and takes its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn lock(how: MlockAllFlags) -> io::Result<()> {
    may_lock()?;
    Ok(mlockall(
        MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | how,
    )?)
}

/// Whether [`lock_memory`] would be permitted; nothing is changed.
pub fn may_lock() -> io::Result<()> {
    let may_lock = caps::has_cap(None, CapSet::Effective, Capability::CAP_IPC_LOCK);
    if may_lock.unwrap_or(false) {
        return Ok(());
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if limit == RLIM_INFINITY {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "neither CAP_IPC_LOCK nor an unlimited RLIMIT_MEMLOCK (LimitMEMLOCK=infinity)",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::read_to_string;

    use super::*;

    /// A line of `status` in /proc, as the kernel sees the calling thread.
    fn status(key: &str) -> String {
        let status = read_to_string("/proc/thread-self/status").expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.expect("the line is there").trim().to_owned()
    }

    #[test]
    fn agrees_with_proc() {
        let effective = u64::from_str_radix(&status("CapEff:"), 16).expect("a number");
        // Bits 12 and 13 (linux/capability.h).
        let expected: Vec<_> = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW")]
            .into_iter()
            .filter(|(bit, _)| effective & (1 << bit) == 0)
            .map(|(_, name)| name)
            .collect();
        assert_eq!(missing_capabilities(), expected);
    }

    #[test]
    fn one_missing_right_is_named_alone() {
        let error = MissingRights(vec!["CAP_NET_RAW"]).to_string();
        assert_eq!(
            error,
            "the right to open raw sockets is missing (CAP_NET_RAW): run as root, or grant it, \
             as with AmbientCapabilities=CAP_NET_RAW in a systemd unit"
        );
    }

    /// Of the calling thread: scheduling policy and its priority.
    fn scheduling() -> (i32, i32) {
        // SAFETY: all zeros is a valid `sched_param`.
        let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live `sched_param`; 0 names the calling
        // thread.
        unsafe {
            assert_eq!(libc::sched_getparam(0, &raw mut parameters), 0);
            (libc::sched_getscheduler(0), parameters.sched_priority)
        }
    }

    #[test]
    fn priority_is_the_calling_threads_alone() {
        let before = scheduling();
        std::thread::spawn(move || match raise_priority() {
            Ok(()) => {
                let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
                assert_eq!(scheduling(), (policy, REAL_TIME_PRIORITY));
                let child = std::thread::spawn(scheduling).join().expect("joined");
                assert_eq!(child, (libc::SCHED_OTHER, 0));
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(scheduling(), before);
            }
        })
        .join()
        .expect("the thread is content");
        assert_eq!(scheduling(), before);
    }

    #[test]
    fn memory_is_locked_or_left_alone() {
        let locked = lock_memory();
        let status = status("VmLck:");
        nix::sys::mman::munlockall().expect("unlocked");
        match locked {
            Ok(()) => assert_ne!(status, "0 kB"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(status, "0 kB");
            }
        }
    }
}
