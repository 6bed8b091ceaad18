//! Capabilities, real-time scheduling, locked memory.

use super::super::facts::{Agent, Facts};
use super::super::finding::Finding;

const UNIT: &str = "vipward.service";

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    match &facts.agent {
        Agent::Answers(answers) => {
            let mut findings = of_agent(answers.process);
            findings.extend(partial(facts));
            findings
        }
        Agent::Mute(_) | Agent::Forbidden(_) => partial(facts).into_iter().collect(),
        Agent::Absent(_) => of_this_command(facts),
    }
}

/// What this command could not look at.
fn partial(facts: &Facts) -> Option<Finding> {
    let missing = &facts.rights.missing;
    (!missing.is_empty()).then(|| {
        let what = format!(
            "this command runs without {}, so the wire, the firewall's rules and the paths \
             are examined in part or not at all",
            missing.join(" and ")
        );
        Finding::warning("examined-in-part", "host", what)
            .why("what keeps failover from working may be in the part that was not seen")
            .run("sudo vipward doctor")
    })
}

fn of_agent(process: Option<super::super::facts::Process>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(process) = process else {
        return findings;
    };
    if !process.real_time {
        findings.push(real_time(
            "the agent runs without real-time scheduling".to_owned(),
        ));
    }
    if process.locked_kib == 0 {
        findings.push(memory("the agent's memory is not locked".to_owned()));
    }
    findings
}

fn of_this_command(facts: &Facts) -> Vec<Finding> {
    let rights = &facts.rights;
    let mut findings = Vec::new();
    if !rights.missing.is_empty() {
        let what = format!(
            "the capabilities {} are missing here, and an agent started like this command would \
             end at once",
            rights.missing.join(" and ")
        );
        findings.push(
            Finding::error("capabilities", "host", what)
                .why("advertisements need raw sockets, and addresses the right to change them")
                .run(format!("systemctl start {UNIT}"))
                .advise(format!(
                    "or run this command, and the agent, as root; another unit needs \
                     AmbientCapabilities={}",
                    rights.missing.join(" ")
                )),
        );
    }
    if let Err(reason) = &rights.real_time {
        findings.push(real_time(format!(
            "an agent started like this command would get no real-time scheduling ({reason})"
        )));
    }
    if let Err(reason) = &rights.locked_memory {
        findings.push(memory(format!(
            "an agent started like this command could not lock its memory ({reason})"
        )));
    }
    findings
}

fn real_time(what: String) -> Finding {
    Finding::warning("no-real-time", "host", what)
        .why(
            "on a busy host its heartbeats may be late, and the other node takes over from a \
             host that is well",
        )
        .run(drop_in("LimitRTPRIO=10"))
        .advise("a unit with CPUQuota= or CPUWeight= is refused it by some kernels: take those out")
}

fn memory(what: String) -> Finding {
    Finding::warning("memory-not-locked", "host", what)
        .why("when the host swaps, the agent stands still, and the other node takes over")
        .run(drop_in("LimitMEMLOCK=infinity"))
}

fn drop_in(line: &str) -> String {
    format!(
        "mkdir -p /etc/systemd/system/{UNIT}.d && printf '[Service]\\n{line}\\n' \
         >/etc/systemd/system/{UNIT}.d/{}.conf && systemctl daemon-reload && systemctl restart {UNIT}",
        line.split_once('=').map_or(line, |(key, _)| key)
    )
}
