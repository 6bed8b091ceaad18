//! What the agent knows, and says.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rstest::rstest;

use super::super::super::facts::*;
use super::super::super::report::Report;
use super::super::judge;
use super::{facts, is_whole, on_eth0, with};
use crate::control::document::Document;
use crate::control::sample;

/// lb1, whose agent says this; nothing was heard.
pub(super) fn told(document: Document) -> Facts {
    with(|facts| {
        facts.subjects = document
            .instances
            .iter()
            .filter_map(Subject::told)
            .collect();
        facts.configuration.path = PathBuf::from(&document.config.path);
        facts.configuration.digest = Some(document.config.digest.clone());
        facts.hearing = Ok(Hearing::default());
        facts.agent = Agent::Answers(Box::new(Answers {
            before: document.clone(),
            after: document,
            process: Some(Process {
                real_time: true,
                locked_kib: 9_000,
            }),
        }));
    })
}

fn all_codes(facts: &Facts) -> BTreeSet<(String, &'static str)> {
    let found = judge(facts).findings;
    found.iter().for_each(is_whole);
    let found = found.into_iter();
    found.map(|finding| (finding.about, finding.code)).collect()
}

#[test]
fn what_the_agent_knows_is_told() {
    let found = all_codes(&told(sample::cluster()));
    for (about, code) in [
        ("lb3", "node-unreachable"),
        ("lb2", "path-closed"),
        ("web", "drift"),
        ("web", "address-conflict"),
        ("web", "authentication-past"),
        ("mail", "fault"),
        ("db", "degraded"),
    ] {
        assert!(
            found.contains(&(about.to_owned(), code)),
            "{about} {code}: {found:#?}"
        );
    }
    assert!(!found.iter().any(|(_, code)| *code == "not-reloaded"));
}

#[rstest]
#[case("wrong-key", "wrong-key")]
#[case("missing", "authentication-missing")]
#[case("clock", "clock-refused")]
#[case("no-mark", "clock-refused")]
#[case("unknown-key", "unknown-key")]
fn a_wrong_key_a_missing_trailer_and_a_clock_are_told_apart(
    #[case] kind: &str,
    #[case] code: &'static str,
) {
    let mut document = sample::document();
    document.instances.retain(|instance| instance.name == "web");
    document.instances[0].rejections[0].kind = kind.to_owned();
    let mut facts = told(document);
    let found = all_codes(&facts);
    assert!(
        found.contains(&("web".to_owned(), "authentication-past")),
        "{found:?}"
    );
    let Agent::Answers(answers) = &mut facts.agent else {
        panic!("it answers")
    };
    answers.after.instances[0].rejections[0].count += 1;
    let found = all_codes(&facts);
    assert!(found.contains(&("web".to_owned(), code)), "{found:?}");
}

#[test]
fn counters_that_rise_are_told_and_old_ones_are_not() {
    let mut facts = told(sample::document());
    let before = all_codes(&facts);
    assert!(!before.iter().any(|(_, code)| *code == "adverts-discarded"));
    let Agent::Answers(answers) = &mut facts.agent else {
        panic!("it answers")
    };
    let web = answers
        .after
        .instances
        .iter_mut()
        .find(|one| one.name == "web")
        .unwrap();
    *web.counters.errors.get_mut("checksum-error").unwrap() += 5;
    *web.counters.errors.get_mut("send-error").unwrap() += 1;
    let found = all_codes(&facts);
    for code in ["adverts-discarded", "send-error"] {
        assert!(found.contains(&("web".to_owned(), code)), "{found:?}");
    }
}

#[test]
fn a_file_that_was_changed_and_one_with_faults() {
    let mut facts = told(sample::document());
    facts.configuration.digest = Some("another".to_owned());
    assert!(all_codes(&facts).contains(&("host".to_owned(), "not-reloaded")));
    facts.configuration.digest = None;
    facts.configuration.faults = Some("error: ...".to_owned());
    let found = all_codes(&facts);
    assert!(found.contains(&("host".to_owned(), "configuration")));
    assert!(!found.contains(&("host".to_owned(), "not-reloaded")));
}

#[test]
fn an_agent_without_real_time_is_seen() {
    let mut facts = told(sample::document());
    let Agent::Answers(answers) = &mut facts.agent else {
        panic!("it answers")
    };
    answers.process = Some(Process {
        real_time: false,
        locked_kib: 0,
    });
    let found = all_codes(&facts);
    for code in ["no-real-time", "memory-not-locked"] {
        assert!(found.contains(&("host".to_owned(), code)), "{found:?}");
    }
}

#[test]
fn one_that_was_handed_over_stands_by() {
    let mut document = sample::cluster();
    for instance in document
        .nodes
        .iter_mut()
        .flat_map(|node| &mut node.instances)
    {
        for obstacle in &mut instance.obstacles {
            obstacle.code = "yielded".to_owned();
        }
    }
    let found = all_codes(&told(document));
    let unable = |name: &str| found.contains(&(name.to_owned(), "no-successor"));
    assert!(unable("api") && !unable("mail"), "{found:#?}");
}

#[test]
fn who_could_not_take_over_is_told() {
    let found = all_codes(&told(sample::cluster()));
    let unable = |name: &str| found.contains(&(name.to_owned(), "no-successor"));
    // lb2 does not have it, has an obstacle, and is well; lb3 is not reachable.
    assert!(
        unable("api") && unable("mail") && !unable("web"),
        "{found:#?}"
    );
    let mut document = sample::cluster();
    let mut able = document.nodes[0].clone();
    able.name = "lb4".to_owned();
    for instance in &mut able.instances {
        instance.obstacles.clear();
    }
    document.nodes.push(able);
    let found = all_codes(&told(document));
    assert!(
        found.contains(&("mail".to_owned(), "unable-successor")),
        "{found:#?}"
    );
    assert!(
        found.contains(&("api".to_owned(), "no-successor")),
        "{found:#?}"
    );
}

#[test]
fn both_directions_of_a_path_where_nodes_tell_each_other() {
    let verdict = judge(&told(sample::cluster()));
    let path = |carries: &str, address: &str| {
        let mut all = verdict.paths.iter();
        let found = all.find(|path| path.carries == carries && path.address == address);
        found.unwrap_or_else(|| panic!("{carries} {address}: {:#?}", verdict.paths))
    };
    let one_way = path("peer-link", "192.0.2.2");
    assert_eq!(
        (one_way.from_peer.works, one_way.to_peer.works),
        (Some(true), Some(false))
    );
    let closed = path("peer-link", "10.0.0.2");
    assert_eq!(closed.from_peer.works, Some(false));
}

#[test]
fn a_peer_that_answers_nothing_is_told_unless_something_is_heard_of_it() {
    let silent = |change: fn(&mut Facts)| {
        let facts = with(|facts| {
            facts.subjects[0].peers = vec!["192.0.2.2".parse().unwrap()];
            facts.echoes = [("192.0.2.2".parse().unwrap(), Echo::Silent)].into();
            change(facts);
        });
        all_codes(&facts).contains(&("host".to_owned(), "peer-silent"))
    };
    assert!(silent(|facts| facts.hearing = Ok(Hearing::default())));
    let heard = |facts: &mut Facts| {
        let speaker = &mut facts.hearing.as_mut().unwrap().speakers[0];
        speaker.destination = "192.0.2.1".parse().unwrap();
    };
    assert!(!silent(heard));
}

#[test]
fn exit_codes_follow_the_worst() {
    let code = |facts: &Facts| Report::new(facts, judge(facts)).exit_code();
    assert_eq!(code(&facts()), 1);
    assert_eq!(code(&on_eth0(|found| found.carrier = false)), 2);
    let mut document = sample::document();
    document.instances.clear();
    document.checks.clear();
    document.groups.clear();
    assert_eq!(code(&told(document)), 0);
}
