//! What the agent says, and what the kernel says of the agent.

use std::fs;
use std::path::Path;

use super::super::facts::{Agent, Answers, Process};
use crate::control::client::{self, ClientError};
use crate::control::document::Document;

/// Its status, or what stands for it.
///
/// # Errors
///
/// A sentence: the socket is somebody else's.
pub fn ask(socket: &Path) -> Result<Result<Document, Agent>, String> {
    let why = match client::fetch_status(socket, client::TIMEOUT) {
        Ok(document) => return Ok(Ok(document)),
        Err(why) => why,
    };
    let said = why.to_string();
    Ok(Err(match why {
        ClientError::NotOurs { .. } => return Err(said),
        ClientError::Absent(_) | ClientError::Dead(_) => Agent::Absent(said),
        ClientError::Forbidden { .. } => Agent::Forbidden(said),
        ClientError::Silent { .. }
        | ClientError::Refused { .. }
        | ClientError::Garbled { .. }
        | ClientError::Io { .. } => Agent::Mute(said),
    }))
}

/// After the listening. One that has gone meanwhile does not answer.
pub fn again(socket: &Path, first: Result<Document, Agent>) -> Agent {
    let before = match first {
        Ok(before) => before,
        Err(other) => return other,
    };
    match ask(socket) {
        Ok(Ok(after)) => Agent::Answers(Box::new(Answers {
            process: process(after.pid),
            before,
            after,
        })),
        Ok(Err(Agent::Absent(why) | Agent::Mute(why) | Agent::Forbidden(why))) | Err(why) => {
            Agent::Mute(format!("the agent answered first, and then no more: {why}"))
        }
        Ok(Err(Agent::Answers(answers))) => Agent::Answers(answers),
    }
}

/// Nothing where the process is not to be seen from here, or is another's: an
/// agent in a container has a number of its own.
fn process(pid: u32) -> Option<Process> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let stat = read("stat")?;
    (read("comm")?.trim() == "vipward").then_some(())?;
    Some(Process {
        real_time: is_real_time(&stat)?,
        locked_kib: locked_kib(&read("status")?)?,
    })
}

/// Field 41 is the policy of the first thread (proc_pid_stat(5)); the name
/// before may hold anything.
fn is_real_time(stat: &str) -> Option<bool> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // The first word after the name is field 3.
    let policy = after_name.split_whitespace().nth(41 - 3)?;
    let policy: i32 = policy.parse().ok()?;
    Some(policy & 0xff == 1 || policy & 0xff == 2)
}

fn locked_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_fields_are_found() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = |policy: &str| {
            let mut fields = fields.clone();
            fields[41 - 3] = policy.to_owned();
            format!("4242 (vip) ward) {}", fields.join(" "))
        };
        assert_eq!(is_real_time(&stat("1")), Some(true));
        assert_eq!(is_real_time(&stat("0")), Some(false));
        assert_eq!(is_real_time("4242 (x)"), None);
        assert_eq!(locked_kib("VmPeak:\t 9 kB\nVmLck:\t   72 kB\n"), Some(72));
    }

    #[test]
    fn this_process_is_read_like_any() {
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(is_real_time(&own), Some(false));
    }
}
