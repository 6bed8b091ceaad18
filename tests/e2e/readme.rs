//! What the README shows is what the program prints: the same words, numbers
//! and times aside, wherever lines are broken.

use std::collections::BTreeMap;

use libtest_mimic::Trial;

use crate::agent_doctor::{OF_THE_MACHINE, provide_nft};
use crate::agent_link::acquainted;
use crate::lab::agent::{Agent, program};
use crate::lab::cluster::{Cluster, codes};
use crate::lab::config::Router;
use crate::lab::{LONG, Lab};
use crate::{Needs, trial};

const README: &str = include_str!("../../README.md");

pub fn trials() -> Vec<Trial> {
    vec![
        trial("readme_shows_two_hosts", Needs::Nothing, alone),
        trial("readme_shows_a_cluster_and_doctor", Needs::Nft, cluster),
    ]
}

/// The blocks that begin with this line, in their order.
fn blocks(first: &str) -> Vec<&'static str> {
    let begin = format!("```\n{first}\n");
    let parts = README.split(begin.as_str()).skip(1);
    let ends = parts.map(|rest| rest.split("```").next().expect("a part"));
    ends.collect()
}

/// Each word and how often it comes; what may differ by run is the same word.
fn words(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for word in text.split_whitespace() {
        let plain = word.trim_matches(|c: char| "(),;:.".contains(c));
        let word = match plain {
            "ms" | "s" | "min" | "h" => "TIME".to_owned(),
            _ if plain.starts_with(|c: char| c.is_ascii_digit()) => "NUMBER".to_owned(),
            _ if plain.ends_with(".yaml") => "FILE".to_owned(),
            _ => plain.to_owned(),
        };
        *found.entry(word).or_default() += 1;
    }
    found
}

#[track_caller]
fn shown(block: &str, printed: &str) {
    let (said, is) = (words(block), words(printed));
    let missing: Vec<_> = said
        .iter()
        .filter(|(word, n)| is.get(*word) != Some(n))
        .collect();
    let new: Vec<_> = is
        .iter()
        .filter(|(word, n)| said.get(*word) != Some(n))
        .collect();
    assert!(
        missing.is_empty() && new.is_empty(),
        "the README has {missing:?}, printed were {new:?}; paste:\n{printed}"
    );
}

fn printed(agent: &Agent, arguments: &[&str]) -> String {
    let output = agent.ask(arguments);
    String::from_utf8(output.stdout).expect("text")
}

fn alone() {
    let lab = Lab::new();
    let [lb1] = lab.hosts(["lb1"]);
    let router = Router::new(150).interval_ms(1000);
    let router = router.addresses(&["192.0.2.10/24", "2001:db8::10/64"]);
    let agent = lab.agent(&lb1, &[router]);
    agent.wait_state("web", "active", LONG);
    agent.wait_instance("web", "that holds both", |one| {
        let mut addresses = one["addresses"].as_array().expect("a list").iter();
        addresses.all(|address| address["held"] == true)
    });
    shown(blocks("$ vipward status")[0], &printed(&agent, &["status"]));
}

fn cluster() {
    let lab = Lab::new();
    let ([lb1, lb2], _gateway) = lab.nodes(["lb1", "lb2"]);
    let cluster = Cluster::of(&lab, &[&lb1, &lb2]);
    let router = |priority| {
        let router = Router::new(priority).interval_ms(1000);
        router.addresses(&["192.0.2.10/24"])
    };
    let first = cluster.agent(&lab, &lb1, router(150));
    first.wait_state("web", "active", LONG);
    let other = cluster.agent(&lab, &lb2, router(100));
    other.wait_state("web", "backup", LONG);
    for (agent, node) in [(&first, "lb2"), (&other, "lb1")] {
        acquainted(agent, node);
    }
    other.wait_instance("web", "that has heard the Active", |one| {
        one["active_router"]["node"] == "lb1"
    });
    lb2.block_incoming_advertisements();
    other.wait_instance("web", "that says why", |one| {
        codes(&one["obstacles"]) == ["split-heartbeat-path"]
    });
    shown(blocks("$ vipward status")[1], &printed(&other, &["status"]));
    provide_nft();
    let mut command = lb2.namespace.command(&program());
    let command = command
        .args(["doctor", "--runtime-dir"])
        .arg(&other.runtime);
    let output = command.output().expect("it starts");
    let doctor = String::from_utf8(output.stdout).expect("text");
    examined(blocks("# vipward doctor")[0], &doctor);

    lb2.let_advertisements_in();
    other.wait_instance("web", "without obstacles", |one| {
        codes(&one["obstacles"]).is_empty()
    });
    let moves = session("$ vipward handover web ");
    let orders: Vec<&str> = moves.iter().map(|(order, _)| order.as_str()).collect();
    let expected = ["handover web", "drain --for 2h", "undrain --node lb1"];
    assert_eq!(orders, expected, "this trial carries out others");
    let ordered = |agent: &Agent, order: &str| {
        let arguments: Vec<&str> = order.split(' ').collect();
        printed(agent, &arguments)
    };
    for (agent, (order, says)) in [&first, &first, &other].into_iter().zip(&moves) {
        assert_eq!(ordered(agent, order), *says, "{order}");
        if order.starts_with("handover") {
            first.wait_state("web", "backup", LONG);
            ordered(&first, "handover web --to lb1");
            first.wait_state("web", "active", LONG);
        }
    }
}

/// The block that begins so: each command without its comment, and what it
/// prints.
fn session(begin: &str) -> Vec<(String, String)> {
    let from = README.find(&format!("```\n{begin}")).expect("the block");
    let block = README
        .get(from + 4..)
        .and_then(|rest| rest.split("```").next());
    let parts = block.expect("a block").split("$ vipward ").skip(1);
    let parts = parts.map(|part| {
        let (order, says) = part.split_once('\n').expect("a line");
        let order = order.split('#').next().unwrap_or_default().trim();
        (order.to_owned(), says.to_owned())
    });
    parts.collect()
}

/// All but the notes, which the README leaves out, and what this machine has
/// of its own.
#[track_caller]
fn examined(block: &str, printed: &str) {
    let (said, is) = (block.split_once('\n'), printed.split_once('\n'));
    let (headline, said) = said.expect("a headline");
    let (counted, is) = is.expect("a headline");
    assert!(counted.starts_with(headline), "{counted}");
    let kept = is.split("\n\n").filter(|section| {
        let head = section.lines().next().unwrap_or_default();
        let own = OF_THE_MACHINE.iter().any(|code| head.contains(*code));
        !head.starts_with("note, ") && !own
    });
    let kept: Vec<&str> = kept.collect();
    shown(said, &kept.join("\n\n"));
}
