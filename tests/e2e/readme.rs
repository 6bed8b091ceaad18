//! What the README shows is what the program prints: the same words, numbers
//! and times aside, wherever lines are broken.

use std::collections::BTreeMap;

use libtest_mimic::Trial;

use crate::agent_doctor::provide_nft;
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
    // The machine may have faults of its own.
    let (said, is) = (words(blocks("# vipward doctor")[0]), words(&doctor));
    let missing: Vec<_> = said.keys().filter(|word| !is.contains_key(*word)).collect();
    assert!(missing.is_empty(), "the README has {missing:?}:\n{doctor}");

    lb2.let_advertisements_in();
    other.wait_instance("web", "without obstacles", |one| {
        codes(&one["obstacles"]).is_empty()
    });
    let orders = [
        (&first, "handover web"),
        (&first, "handover web --to lb1"),
        (&first, "drain --for 2h"),
        (&other, "undrain --node lb1"),
    ];
    let moves =
        blocks("$ vipward handover web              # to the best able node; --to lb2 names it");
    let moves = moves.first().expect("the moves");
    for (agent, order) in orders {
        let arguments: Vec<&str> = order.split(' ').collect();
        let text = printed(agent, &arguments);
        if !order.ends_with("--to lb1") {
            assert!(moves.contains(text.trim()), "{order} printed: {text}");
        }
        first.wait_instance("web", "at rest", |one| {
            ["active", "backup", "drained"]
                .iter()
                .any(|state| one["state"] == *state)
        });
    }
}
