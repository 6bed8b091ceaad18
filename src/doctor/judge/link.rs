//! The peer link, as the agent tells of it.

use super::super::facts::{Facts, Subject};
use super::super::finding::Finding;
use super::then_reloaded;
use crate::agent::cluster::Refusal;
use crate::control::document::Node;
use crate::control::words;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(answers) = facts.answers() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let refused = refused(facts);
    for node in &answers.after.nodes {
        match node.reachable {
            false => findings.push(unreachable(node, facts, refused.is_some())),
            true => findings.extend(in_part(node)),
        }
    }
    findings.extend(refused);
    for subject in &facts.subjects {
        findings.extend(successors(facts, subject));
    }
    findings.extend(versions(facts));
    findings
}

fn unreachable(node: &Node, facts: &Facts, refused: bool) -> Finding {
    let paths: Vec<String> = node
        .paths
        .iter()
        .map(|path| {
            let answers = match path
                .address
                .parse()
                .ok()
                .and_then(|at| facts.echoes.get(&at))
            {
                Some(super::super::facts::Echo::Answered) => ", which answers ping",
                Some(super::super::facts::Echo::Silent) => ", which does not answer ping",
                Some(super::super::facts::Echo::Failed(_)) | None => "",
            };
            match &path.error {
                Some(error) => format!("{}{answers} ({error})", path.address),
                None => format!("{}{answers}", path.address),
            }
        })
        .collect();
    let since = match node.last_heard_age_ms {
        Some(age) => format!("for {}", words::span(std::time::Duration::from_millis(age))),
        None => "since this agent started".to_owned(),
    };
    let what = format!(
        "nothing was heard of {} {since}, by no path: {}",
        node.name,
        paths.join("; ")
    );
    let finding = Finding::error("node-unreachable", &node.name, what).why(
        "it may be off; if it runs, neither knows what the other does, and a firewall that eats \
         advertisements makes two Actives",
    );
    let first = node.paths.first();
    let finding = first.into_iter().fold(finding, |finding, path| {
        finding.run(format!("ping -c 3 {}", path.address))
    });
    let finding = match refused {
        true => finding.advise("see what was refused, below: its key or its clock is another"),
        false => finding,
    };
    finding.advise(format!(
        "on {}: `systemctl status vipward` and `vipward doctor`",
        node.name
    ))
}

fn in_part(node: &Node) -> Vec<Finding> {
    let all = node.paths.iter().filter_map(|path| {
        let address = &path.address;
        let (what, direction) = match (path.reachable, path.heard_there) {
            (true, Some(true) | None) => return None,
            (true, Some(false)) => (
                format!("{} does not hear this node by {address}, and this node hears it", node.name),
                "from this node to it",
            ),
            (false, Some(true)) => (
                format!("nothing of {} is heard by {address}, and it hears this node", node.name),
                "from it to this node",
            ),
            (false, Some(false) | None) => (
                format!("nothing of {} is heard by {address}", node.name),
                "in both directions",
            ),
        };
        Some(
            Finding::warning("path-closed", &node.name, what)
                .why(format!(
                    "the peer link does not pass {direction} on this path; when the other fails, \
                     too, the nodes lose sight of each other"
                ))
                .run(format!("ping -c 3 {address}"))
                .advise("let the peer link's UDP port pass on this network, on both hosts and between them"),
        )
    });
    all.collect()
}

/// Whether anybody could take an instance over that is not drained here.
fn successors(facts: &Facts, subject: &Subject) -> Vec<Finding> {
    let Some(answers) = facts.answers().filter(|_| facts.told(subject).is_some()) else {
        return Vec::new();
    };
    let name = &subject.name;
    let reachable: Vec<&Node> = answers
        .after
        .nodes
        .iter()
        .filter(|node| node.reachable)
        .collect();
    let unable: Vec<(&Node, String)> = reachable
        .iter()
        .filter_map(|node| Some((*node, unable(node, name)?)))
        .collect();
    // One that is not reachable has a finding of its own.
    let alone = unable.len() == reachable.len();
    let finding = |(node, why): &(&Node, String)| {
        let what = format!("{} could not take it over: {why}", node.name);
        let finding = match alone {
            true => Finding::error("no-successor", name, what)
                .why("no other node that is reachable could: there is no failover"),
            false => Finding::warning("unable-successor", name, what)
                .why("another node can; when that one fails, too, nobody is left"),
        };
        let drained = node
            .instance(name)
            .is_some_and(|told| told.state == "drained");
        match drained {
            true => finding.run(format!("vipward undrain {name} --node {}", node.name)),
            false => finding
                .run(format!("vipward status {name}"))
                .advise(format!("on {}: `vipward doctor`", node.name)),
        }
    };
    unable.iter().map(finding).collect()
}

/// Why a node could not be Active for an instance.
fn unable(node: &Node, name: &str) -> Option<String> {
    let Some(told) = node.instance(name) else {
        return Some("it does not have the instance".to_owned());
    };
    let obstacles = told.obstacles.iter();
    // One that is warned of is better than nobody.
    let obstacles = obstacles
        .filter(|told| super::paths::is_in_the_way(&told.code) && told.code != "early-warning");
    let texts: Vec<String> = obstacles
        .map(|obstacle| format!("{}: {}", obstacle.source, obstacle.text))
        .collect();
    match (texts.is_empty(), told.state.as_str()) {
        // It is not whole, and may be the better one all the same.
        (_, "active") => None,
        (false, _) => Some(words::list(&texts, 3)),
        (true, "drained") => Some("it is drained there".to_owned()),
        (true, _) => None,
    }
}

/// What was discarded during the examination.
fn refused(facts: &Facts) -> Option<Finding> {
    let answers = facts.answers()?;
    let before = &answers.before.link.refused;
    let mut rising = answers
        .after
        .link
        .refused
        .iter()
        .filter_map(|(name, after)| {
            let before = before.get(name).copied().unwrap_or(0);
            (*after > before).then_some((name.as_str(), after - before))
        });
    let (name, count) = rising.next()?;
    let known = Refusal::ALL.into_iter().find(|why| why.name() == name);
    let meaning = known.map_or(name, |why| why.meaning());
    let what = format!(
        "{} of the peer link refused while this command listened: {meaning} ({name})",
        words::count(
            usize::try_from(count).unwrap_or(usize::MAX),
            "message was",
            "messages were"
        )
    );
    let finding = Finding::error("peer-link-refused", "host", what)
        .why("the nodes do not believe, or do not understand, each other");
    Some(match known {
        Some(Refusal::Forged) => finding
            .run("sha256sum /etc/vipward/cluster.key")
            .advise("on all nodes: the sums of `cluster.key_file` must agree; copy the file, then `vipward reload`"),
        Some(Refusal::UnknownNode | Refusal::UnexpectedSource) => {
            let finding = finding.advise(
                "make `cluster.nodes` the same on all nodes, each address where it belongs, then:",
            );
            then_reloaded(facts, finding)
        }
        Some(Refusal::OtherVersion | Refusal::Undecodable) => {
            finding
                .run("vipward --version")
                .advise("bring vipward to the same version on all nodes")
        }
        Some(Refusal::Malformed | Refusal::Replayed) | None => {
            let port = facts.link.as_ref().map_or(9851, |link| link.listen.port());
            finding
                .run(format!("tcpdump -ni any udp port {port}"))
                .advise("find out who sends to that port")
        }
    })
}

fn versions(facts: &Facts) -> Option<Finding> {
    let answers = facts.answers()?;
    let other = |node: &&Node| {
        node.version
            .as_ref()
            .is_some_and(|v| *v != answers.after.version)
    };
    let differ: Vec<String> = answers
        .after
        .nodes
        .iter()
        .filter(other)
        .map(|node| {
            format!(
                "{} {}",
                node.name,
                node.version.as_deref().unwrap_or_default()
            )
        })
        .collect();
    (!differ.is_empty()).then(|| {
        let what = format!(
            "the nodes run different versions of vipward: this one {}, {}",
            answers.after.version,
            words::list(&differ, 4)
        );
        Finding::note("versions", "host", what)
            .why("that works while an upgrade is rolled out, and is not tested for longer")
            .advise("bring the others to the same version")
    })
}
