//! Reads the firewall's rules by its own tools: from fixed places, without a
//! shell, with an environment of ours, and for no longer than a few seconds.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::super::facts::Firewall;
use super::super::rules::{Ruleset, from_iptables_save, from_nft_json};
use crate::agent::values::Family;
use crate::net::rights;

const DIRECTORIES: [&str; 6] = [
    "/usr/sbin",
    "/sbin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];
const PATIENCE: Duration = Duration::from_secs(3);
const OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;
const WORDS_SHOWN: usize = 120;

pub fn read() -> Firewall {
    let mut firewall = Firewall::default();
    let missing = rights::missing_capabilities();
    if missing.contains(&"CAP_NET_ADMIN") {
        firewall.unread.push("CAP_NET_ADMIN is missing".to_owned());
        return firewall;
    }
    match find("nft") {
        Some(nft) => {
            let text = run(&nft, &["-j", "list", "ruleset"]);
            let ruleset = text.and_then(|text| match text.trim() {
                "" => Ok(Ruleset::default()),
                text => from_nft_json(text),
            });
            keep(&mut firewall, ruleset);
            // What nft does not show: the older kernel interface, where it is
            // in use at all.
            for (file, tool, family) in [
                (
                    "/proc/net/ip_tables_names",
                    "iptables-legacy-save",
                    Family::Ipv4,
                ),
                (
                    "/proc/net/ip6_tables_names",
                    "ip6tables-legacy-save",
                    Family::Ipv6,
                ),
            ] {
                let used = fs::read_to_string(file).is_ok_and(|names| !names.trim().is_empty());
                if used {
                    iptables(&mut firewall, tool, family);
                }
            }
        }
        None => {
            let tools = [
                ("iptables-save", Family::Ipv4),
                ("ip6tables-save", Family::Ipv6),
            ];
            if tools.iter().all(|(tool, _)| find(tool).is_none()) {
                let why = "neither nft nor iptables-save is installed";
                firewall.unread.push(why.to_owned());
            } else {
                for (tool, family) in tools {
                    iptables(&mut firewall, tool, family);
                }
            }
        }
    }
    firewall
}

fn iptables(firewall: &mut Firewall, tool: &str, family: Family) {
    let text = match find(tool) {
        Some(path) => run(&path, &[]),
        None => Err(format!("{tool} is not installed")),
    };
    keep(firewall, text.map(|text| from_iptables_save(&text, family)));
}

fn keep(firewall: &mut Firewall, ruleset: Result<Ruleset, String>) {
    match ruleset {
        Ok(ruleset) => firewall.rulesets.push(ruleset),
        Err(why) => firewall.unread.push(why),
    }
}

fn find(tool: &str) -> Option<PathBuf> {
    let places = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(tool));
    places.into_iter().find(|path| path.is_file())
}

/// What a tool prints. One that does not end is ended.
fn run(tool: &Path, arguments: &[&str]) -> Result<String, String> {
    let name = tool.display();
    let spawned = Command::new(tool)
        .args(arguments)
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| format!("{name} could not be started: {error}"))?;
    let (sender, receiver) = mpsc::channel();
    let pipes = (child.stdout.take(), child.stderr.take());
    thread::spawn(move || {
        let read = |pipe: Option<&mut dyn Read>, most: u64| {
            let mut bytes = Vec::new();
            let _ = pipe.map(|pipe| pipe.take(most).read_to_end(&mut bytes));
            bytes
        };
        let (mut out, mut err) = pipes;
        let out = read(
            out.as_mut().map(|pipe| pipe as &mut dyn Read),
            OUTPUT_BYTES_MAX + 1,
        );
        let err = read(err.as_mut().map(|pipe| pipe as &mut dyn Read), 4_096);
        // Nobody waits any more after the patience is over.
        let _ = sender.send((out, err));
    });
    let Ok((out, err)) = receiver.recv_timeout(PATIENCE) else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!(
            "{name} did not end within {} s",
            PATIENCE.as_secs()
        ));
    };
    if out.len() as u64 > OUTPUT_BYTES_MAX {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{name} printed more than {OUTPUT_BYTES_MAX} bytes"));
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&out).into_owned()),
        false => {
            let words = String::from_utf8_lossy(&err);
            let words: String = words
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            Err(format!(
                "{name} failed: {}",
                crate::control::words::cut(words.trim(), WORDS_SHOWN)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_run_and_its_failure_told() {
        let run = |tool: &str, arguments: &[&str]| run(Path::new(tool), arguments);
        assert_eq!(run("/bin/echo", &["a"]), Ok("a\n".to_owned()));
        assert!(run("/bin/false", &[]).unwrap_err().contains("failed"));
        assert!(
            run("/nowhere/nft", &[])
                .unwrap_err()
                .contains("could not be started")
        );
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let why = run(Path::new("/bin/sleep"), &["60"]).unwrap_err();
        assert!(why.contains("within 3 s"), "{why}");
    }
}
