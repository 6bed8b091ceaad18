//! The guardian itself. It waits for the agent's death and for nothing else,
//! and has in hand beforehand all that it needs then.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::daemon::leftovers::{Leftovers, farewell, memory};
use crate::net::farewell_socket::FarewellSocket;
use crate::net::kernel::Cleaner;
use crate::net::rights;

/// Things named in the sentence at the end; the others are counted.
const NAMED_MAX: usize = 3;
/// A pipe takes so many bytes as a whole or not at all.
const SENTENCE_BYTES_MAX: usize = 4096;

/// What the agent left open for its guardian.
pub struct Vigil {
    pub memory: OwnedFd,
    /// A pidfd: the proof of its death.
    pub agent: OwnedFd,
    /// Held until the end, and nothing is done with it.
    pub lock: OwnedFd,
    /// For the sentence only.
    pub pid: u32,
}

impl Vigil {
    /// Waits until the agent is dead, then does what it no longer can.
    ///
    /// # Errors
    ///
    /// It cannot keep watch; nothing was done.
    pub fn keep(self) -> io::Result<()> {
        let sockets = FarewellSocket::open();
        let mut cleaner = Cleaner::open()?;
        let memory = File::from(self.memory);
        // Both are the better for it, and neither is needed.
        let _ = rights::raise_priority();
        let _ = rights::lock_whole_program();
        // Far sooner than the pidfd, and no proof by itself.
        let _ = memory::wait_until_released(&memory);
        if !is_dying(self.pid) {
            wait_for_death(&self.agent)?;
        }
        let sentence = match memory::read(&memory).and_then(|bytes| Leftovers::read(&bytes)) {
            Ok(left) if left.instances.is_empty() => return Ok(()),
            Ok(left) => {
                let signer = farewell::Signer::new(&memory);
                act(&left, &sockets, signer, &mut cleaner)
            }
            Err(why) => format!(
                "what it left is not known, the shared memory having failed: {why}; the next \
                 start, or `vipward cleanup`, removes it"
            ),
        };
        drop(self.lock);
        tell(&format!(
            "guardian: the agent (pid {}) died without goodbye; {sentence}",
            self.pid
        ));
        Ok(())
    }
}

/// The kernel has begun to take the process apart, and nothing stops that any
/// more: PF_EXITING in its flags (proc(5)), or it waits to be reaped.
///
/// Should another have the number by now, the agent is dead, and whatever this
/// says of the other is right of the agent too, or a moment late.
fn is_dying(pid: u32) -> bool {
    const EXITING: u32 = 0x4;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // After the name, in brackets, which may hold anything: state, parent,
    // group, session, terminal, its group, flags.
    let flags = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & EXITING != 0)
}

/// Returns when the process is dead, and never before: only its end makes the
/// descriptor readable.
fn wait_for_death(agent: &OwnedFd) -> io::Result<()> {
    loop {
        let mut set = [PollFd::new(agent.as_fd(), PollFlags::POLLIN)];
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let [set] = set;
        let found = set.revents().unwrap_or(PollFlags::POLLERR);
        if found.contains(PollFlags::POLLIN) {
            return Ok(());
        }
        return Err(io::Error::other("the agent cannot be watched"));
    }
}

/// Priority 0 first: peers need longer than the kernel.
fn act(
    left: &Leftovers,
    sockets: &FarewellSocket,
    mut signer: farewell::Signer<'_>,
    cleaner: &mut Cleaner,
) -> String {
    let mut told = Vec::new();
    let mut removed = Vec::new();
    let mut problems = Vec::new();
    for instance in left.instances.iter().filter(|instance| instance.speaks) {
        match farewell::say(sockets, instance, &mut signer) {
            Ok(()) => told.push(instance.name.clone()),
            Err(why) => problems.push(format!("no priority 0 for {}: {why}", instance.name)),
        }
    }
    for (interface, network) in left.addresses() {
        match cleaner.remove(interface, network) {
            Ok(true) => removed.push(format!("{network} on {interface}")),
            Ok(false) => {}
            Err(why) => problems.push(format!("{network} may still be on {interface}: {why}")),
        }
    }
    for item in left.routing() {
        match cleaner.remove_routing(&item) {
            Ok(true) => removed.push(item.to_string()),
            Ok(false) => {}
            Err(why) => problems.push(format!("the {item} may still be there: {why}")),
        }
    }
    for link in left.links() {
        match cleaner.remove_link(link) {
            Ok(true) => removed.push(format!("the interface {link}")),
            Ok(false) => {}
            Err(why) => problems.push(format!("the interface {link} may still be there: {why}")),
        }
    }
    let mut sentence = format!(
        "sent priority 0 for {}, removed {}",
        list(&told),
        list(&removed)
    );
    if !problems.is_empty() {
        sentence.push_str("; failed: ");
        sentence.push_str(&list(&problems));
    }
    sentence
}

fn list(things: &[String]) -> String {
    let mut words: Vec<&str> = things.iter().map(String::as_str).take(NAMED_MAX).collect();
    let more = things.len().saturating_sub(NAMED_MAX);
    let rest = format!("{more} more");
    if more > 0 {
        words.push(&rest);
    }
    if words.is_empty() {
        return "nothing".to_owned();
    }
    words.join(", ")
}

/// One line, if somebody takes it now: nobody may hold a guardian up.
fn tell(sentence: &str) {
    let mut line = sentence.as_bytes().to_vec();
    line.truncate(SENTENCE_BYTES_MAX - 1);
    line.push(b'\n');
    let mut stderr = io::stderr();
    let mut set = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if !poll(&mut set, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        return;
    }
    let _ = stderr.write(&line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dying_are_told_from_the_living() {
        assert!(!is_dying(std::process::id()));
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(!is_dying(child.id()));
        child.kill().unwrap();
        let begun = std::time::Instant::now();
        while !is_dying(child.id()) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        }
        child.wait().unwrap();
        assert!(!is_dying(child.id()));
    }

    #[test]
    fn a_long_list_is_counted() {
        let things: Vec<String> = (1..=5).map(|number| format!("a{number}")).collect();
        assert_eq!(list(&things[..0]), "nothing");
        assert_eq!(list(&things[..3]), "a1, a2, a3");
        assert_eq!(list(&things), "a1, a2, a3, 2 more");
    }
}
