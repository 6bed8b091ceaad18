//! The configuration and what the running agent says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::facts::{Agent, Answers, Facts};
use super::super::finding::Finding;
use super::{SHOWN, paths, printed, then_reloaded};
use crate::agent::status::Counter;
use crate::control::document::{Document, Instance, Rejection};
use crate::control::words;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = configuration(facts).into_iter().collect();
    match &facts.agent {
        Agent::Answers(answers) => findings.extend(reload(facts, answers)),
        Agent::Absent(why) => findings.push(
            Finding::warning("no-agent", "host", why.clone())
                .why(match facts.subjects.is_empty() {
                    true => "this host takes no part until an agent runs",
                    false => {
                        "this host takes no part until an agent runs; it was examined from the \
                         configuration file"
                    }
                })
                // Which says so where the file is still the example.
                .run("vipward configured && systemctl enable --now vipward"),
        ),
        Agent::Mute(why) => findings.push(
            Finding::error("agent-silent", "host", why.clone())
                .why("an agent that does not answer may not defend its addresses either")
                .run("systemctl status vipward")
                .run("systemctl restart vipward"),
        ),
        Agent::Forbidden(why) => findings.push(
            Finding::warning("agent-not-asked", "host", why.clone())
                .why("what the agent knows of its peers was left out")
                .run("sudo vipward doctor"),
        ),
    }
    findings
}

/// What it says of each instance that is examined.
pub(super) fn instances(facts: &Facts) -> Vec<Finding> {
    let Some(answers) = facts.answers() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for subject in &facts.subjects {
        if let Some(instance) = answers.after.instance(&subject.name) {
            let before = answers.before.instance(&subject.name);
            findings.extend(of_instance(facts, &answers.after, instance, before));
        }
    }
    findings
}

fn configuration(facts: &Facts) -> Option<Finding> {
    let path = facts.configuration.path.display();
    facts.configuration.faults.as_ref().map(|_| {
        let what = format!("{path} has faults, which are shown above");
        let rest = match facts.answers().is_some() {
            true => "what runs was examined as the agent describes it",
            false => "the rest of the host was examined, and no instance",
        };
        Finding::error("configuration", "host", what)
            .why(format!(
                "an agent that is started now would not start; {rest}"
            ))
            .run(format!("vipward validate {path}"))
    })
}

fn reload(facts: &Facts, answers: &Answers) -> Option<Finding> {
    let loaded = &answers.after.config;
    let digest = facts.configuration.digest.as_ref()?;
    let same_file = facts.configuration.path.display().to_string() == loaded.path;
    (same_file && *digest != loaded.digest).then(|| {
        let what = format!("{} was changed after the agent read it", loaded.path);
        Finding::warning("not-reloaded", "host", what)
            .why("the running agent follows the older one, and its next start the newer one")
            .run(format!(
                "vipward validate {} && vipward reload",
                loaded.path
            ))
    })
}

fn of_instance(
    facts: &Facts,
    document: &Document,
    now: &Instance,
    before: Option<&Instance>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(obstacles(now));
    findings.extend(drained(document, now));
    findings.extend(nobody(facts, now));
    for drift in &now.drift {
        let whom = drift.node.as_ref().unwrap_or(&drift.source);
        let what = format!(
            "{}: {whom} has {}; this node has {}",
            drift.code, drift.theirs, drift.ours
        );
        let finding = Finding::warning("drift", &now.name, what).why(
            "the nodes follow different configurations, and a failover changes more than the host",
        );
        findings.push(
            printed(facts, finding)
                .advise("on both nodes: make the two agree, then `vipward reload`"),
        );
    }
    for conflict in &now.conflicts {
        let what = format!(
            "{} claimed {} while it was held here",
            conflict.hardware_address, conflict.address
        );
        findings.push(
            Finding::error("address-conflict", &now.name, what)
                .why("two hosts answer for the address, and clients reach one or the other")
                .run("ip neighbour show")
                .advise(format!(
                    "find the host with that hardware address and take {} from it",
                    conflict.address
                )),
        );
    }
    findings.extend(now.rejections.iter().filter_map(|rejection| {
        let known = before.and_then(|before| {
            let mut all = before.rejections.iter();
            all.find(|old| old.kind == rejection.kind && old.source == rejection.source)
        });
        let rising = known.is_none_or(|old| old.count < rejection.count);
        rejected(facts, document, now, rejection, rising)
    }));
    findings.extend(rising(now, before));
    findings
}

fn obstacles(now: &Instance) -> Option<Finding> {
    let texts: Vec<String> = now
        .obstacles
        .iter()
        // Advertisements that do not arrive are told with the paths.
        .filter(|obstacle| paths::is_in_the_way(&obstacle.code))
        .map(|obstacle| format!("{}: {}", obstacle.source, obstacle.text))
        .collect();
    if texts.is_empty() {
        return None;
    }
    let listed = words::list(&texts, SHOWN);
    let finding = match now.state.as_str() {
        "active" => Finding::warning(
            "degraded",
            &now.name,
            format!("it is Active, and not whole: {listed}"),
        )
        .why("clients miss what is not there"),
        "fault" => Finding::error(
            "fault",
            &now.name,
            format!("it cannot be Active here: {listed}"),
        )
        .why("there is no failover to this node while that lasts"),
        _ => Finding::warning(
            "obstacle",
            &now.name,
            format!("something is in its way: {listed}"),
        )
        .why("a failover to this node may fail"),
    };
    Some(finding.run(format!("vipward status {}", now.name)))
}

fn drained(document: &Document, now: &Instance) -> Option<Finding> {
    now.drained.as_ref()?;
    let what = format!("an operator has drained it on {}", document.node);
    Some(
        Finding::warning("drained", &now.name, what)
            .why("there is no failover to this node until it takes part again")
            .run(format!("vipward undrain {}", now.name)),
    )
}

/// A Backup that knows of no Active for longer than it should wait.
fn nobody(facts: &Facts, now: &Instance) -> Option<Finding> {
    let waited = Duration::from_millis(now.active_down_interval_ms.saturating_mul(2));
    let since = now.since.age(facts.now);
    (now.state == "backup" && now.active_router.is_none() && since > waited).then(|| {
        Finding::error(
            "nobody-active",
            &now.name,
            "it is Backup, and knows of no Active",
        )
        .why("nobody holds the addresses")
        .run(format!("vipward status {}", now.name))
        .run("vipward events -n 20")
    })
}

fn rejected(
    facts: &Facts,
    document: &Document,
    now: &Instance,
    rejection: &Rejection,
    rising: bool,
) -> Option<Finding> {
    let node = document
        .nodes
        .iter()
        .find(|node| node.has_address(&rejection.source));
    let whose = match node {
        Some(node) => format!("{} ({})", node.name, rejection.source),
        None => rejection.source.clone(),
    };
    let what = format!(
        "advertisements of {whose} are not believed: {}",
        rejection.text
    );
    if !rising {
        let what = format!("{} {what}", rejection.count).replace(" are not", " were not");
        return Some(
            Finding::note(
                "authentication-past",
                &now.name,
                format!("{what} ({})", rejection.kind),
            )
            .why("none came while this command listened, so it may have been mended")
            .run(format!("vipward status {}", now.name)),
        );
    }
    let code = code_of(rejection);
    let finding = Finding::error(code, &now.name, what)
        .why("neither hears the other, and both hosts become Active");
    Some(with_remedy(facts, now, finding, (code, &whose)))
}

fn code_of(rejection: &Rejection) -> &'static str {
    match rejection.kind.as_str() {
        "missing" => "authentication-missing",
        "wrong-key" => "wrong-key",
        "unknown-key" => "unknown-key",
        "clock" | "stale" | "no-mark" => "clock-refused",
        "replayed" => "replayed",
        "password" | "type" => "wrong-password",
        _ => "authentication-error",
    }
}

fn with_remedy(
    facts: &Facts,
    now: &Instance,
    finding: Finding,
    (code, whose): (&'static str, &str),
) -> Finding {
    let name = &now.name;
    match code {
        "authentication-missing" => then_reloaded(facts, finding).advise(format!(
            "on {whose}: give {name} the same `auth` section and key files, then `vipward reload`; \
             while that is rolled out, write `mode: permissive` here"
        )),
        "wrong-key" => finding.run("sha256sum /etc/vipward/keys/*").advise(format!(
            "on both nodes: the sums of the file under `auth.keys` with that number must \
                 agree; copy it to {whose}, then `vipward reload`"
        )),
        "unknown-key" => {
            let finding = finding.advise(format!(
                "list the key that {whose} signs with (its `auth.active_key`) under `auth.keys` \
                 here, then:"
            ));
            then_reloaded(facts, finding)
        }
        "clock-refused" => finding
            .run("timedatectl set-ntp true")
            .run("timedatectl status")
            .advise("on both nodes: one of the two clocks is wrong"),
        "wrong-password" => {
            let finding = finding.advise(
                "make `auth` agree on both nodes (a password protects from mistakes alone), then:",
            );
            then_reloaded(facts, finding)
        }
        _ => finding.run(format!("tcpdump -ni {} -vv proto 112", now.interface)),
    }
}

/// Counters that rose while this command listened.
fn rising(now: &Instance, before: Option<&Instance>) -> Vec<Finding> {
    let none = BTreeMap::new();
    let before_errors = before.map_or(&none, |before| &before.counters.errors);
    let mut findings = Vec::new();
    for (name, after) in &now.counters.errors {
        let Some(counter) = Counter::ALL
            .into_iter()
            .find(|counter| counter.name() == name)
        else {
            continue;
        };
        let rose = after.saturating_sub(before_errors.get(name).copied().unwrap_or(0));
        let Some(words) = words::counter(name).filter(|_| rose > 0 && before.is_some()) else {
            continue;
        };
        let what = format!("{rose} while this command listened: {words} ({name})");
        let finding = match counter {
            // These are told with their sources, by others.
            Counter::AuthenticationError | Counter::VridError => continue,
            Counter::SendError => Finding::error("send-error", &now.name, what)
                .why("the other nodes do not hear this one, and become Active as well")
                .run("nft list ruleset")
                .run(format!("ip -statistics link show dev {}", now.interface)),
            Counter::ChecksumError
            | Counter::VersionError
            | Counter::IntervalError
            | Counter::IpTtlError
            | Counter::UnexpectedSource => Finding::error("adverts-discarded", &now.name, what)
                .why("what is discarded is not heard, and two hosts become Active")
                .run(format!("tcpdump -ni {} -vv proto 112", now.interface)),
            Counter::IpHeaderError
            | Counter::ProtocolError
            | Counter::Loop
            | Counter::PacketLengthError
            | Counter::InvalidType => Finding::warning("adverts-discarded", &now.name, what)
                .why("somebody sends what is no sound advertisement")
                .run(format!("tcpdump -ni {} -vv proto 112", now.interface)),
        };
        findings.push(finding);
    }
    let stalls = before.map_or(0, |before| {
        now.counters.stalls.saturating_sub(before.counters.stalls)
    });
    if stalls > 0 {
        let what = format!("the agent ran late {stalls} times while this command listened");
        findings.push(
            Finding::warning("stalls", &now.name, what)
                .why("the host is overloaded, and the other node takes over from a host that is well")
                .run("cat /proc/pressure/cpu"),
        );
    } else if now.counters.stalls > 0 {
        let what = format!(
            "the agent ran late {} times since its start",
            now.counters.stalls
        );
        findings.push(
            Finding::note("stalls", &now.name, what)
                .why("the host was overloaded or suspended then")
                .run("cat /proc/pressure/cpu"),
        );
    }
    findings
}
