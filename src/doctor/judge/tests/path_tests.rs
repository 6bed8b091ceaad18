//! What questions of protocol 112 show, and what follows from silence.

use std::time::Duration;

use super::super::super::facts::*;
use super::super::judge;
use super::told::told;
use super::{codes, error, eth0, with};
use crate::control::sample;

/// A silent Backup, by questions of protocol 112.
#[test]
fn questions_tell_of_a_silent_peer() {
    let tested = |on_wire: u32, delivered: u32| {
        with(|facts| {
            facts.hearing = Ok(Hearing {
                span: Duration::from_secs(3),
                tests: vec![asked(3, None)],
                passed: vec![answered(on_wire, delivered)],
                ..Hearing::default()
            });
        })
    };
    let ways = |facts: &Facts| {
        let paths = judge(facts).paths;
        let mut paths = paths.iter().filter(|path| path.carries == "vrrp");
        let path = paths.next().unwrap();
        assert_eq!(path.address, "192.0.2.2");
        (path.from_peer.works, path.to_peer.works)
    };
    let well = tested(3, 3);
    assert_eq!(codes(&well), []);
    assert_eq!(ways(&well), (Some(true), Some(true)));
    let deaf = tested(3, 0);
    assert_eq!(codes(&deaf), error("adverts-dropped-here"));
    assert_eq!(ways(&deaf), (Some(false), Some(true)));
    // One that came last may still be on its way to the program.
    assert_eq!(codes(&tested(1, 0)), []);
}

#[test]
fn questions_that_do_not_leave() {
    let held = |left: u32, error: Option<&str>| {
        with(|facts| {
            facts.hearing = Ok(Hearing {
                span: Duration::from_secs(3),
                tests: vec![asked(left, error)],
                ..Hearing::default()
            });
        })
    };
    let refused = held(0, Some("Operation not permitted"));
    assert_eq!(codes(&refused), error("adverts-do-not-leave"));
    let finding = &judge(&refused).findings[0];
    assert!(
        finding.what.contains("Operation not permitted"),
        "{finding:?}"
    );
    assert_eq!(judge(&refused).paths[0].to_peer.works, Some(false));
    assert_eq!(codes(&held(0, None)), error("adverts-do-not-leave"));
    // The queue was full once.
    assert_eq!(codes(&held(2, Some("again"))), []);
}

fn asked(left: u32, error: Option<&str>) -> PathTest {
    PathTest {
        interface: eth0(),
        source: "192.0.2.1".parse().unwrap(),
        destination: "224.0.0.18".parse().unwrap(),
        sent: if error.is_some() { left } else { 3 },
        left,
        error: error.map(str::to_owned),
    }
}

fn answered(on_wire: u32, delivered: u32) -> Passed {
    Passed {
        interface: eth0(),
        source: "192.0.2.2".parse().unwrap(),
        destination: "224.0.0.18".parse().unwrap(),
        on_wire,
        delivered,
        answers_for: [51].into(),
    }
}

/// lb2 tells by the peer link that it listens; who is heard one way and
/// answers nothing does not hear the other.
#[test]
fn silence_of_a_node_that_would_answer() {
    let facts = |hears: bool, asked_it: bool| {
        let mut document = sample::cluster();
        let own = document.version.clone();
        document.instances.retain(|one| one.name == "web");
        document.nodes.retain(|node| node.name == "lb2");
        let lb2 = &mut document.nodes[0];
        lb2.version = Some(own);
        lb2.instances.retain(|one| one.name == "web");
        lb2.instances[0].known_age_ms = 80;
        if !hears {
            lb2.instances[0].active_router = None;
        }
        let mut facts = told(document);
        facts.subjects = vec![super::web()];
        let mut hearing = Hearing::default();
        if asked_it {
            hearing.tests.push(asked(3, None));
        }
        facts.hearing = Ok(hearing);
        facts
    };
    let ways = |facts: &Facts| {
        let paths = judge(facts).paths;
        let mut paths = paths.iter();
        let path = paths.find(|path| path.carries == "vrrp" && path.instance == "web");
        let path = path.expect("a path to lb2");
        (path.from_peer.works, path.to_peer.works)
    };
    // It takes us for the Active, and its answer does not come.
    assert_eq!(ways(&facts(true, true)), (Some(false), Some(true)));
    // Nobody asked: nothing follows.
    assert_eq!(ways(&facts(true, false)), (None, Some(true)));
}
