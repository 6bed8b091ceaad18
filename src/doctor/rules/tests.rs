use super::*;

fn rule(tests: Vec<What>, verdict: Verdict) -> Rule {
    Rule {
        text: format!("{verdict:?}"),
        tests: tests.into_iter().map(Test::is).collect(),
        verdict,
    }
}

fn chain(name: &str, drops: Option<bool>, rules: Vec<Rule>) -> Chain {
    Chain {
        table: "inet filter".to_owned(),
        name: name.to_owned(),
        base: drops.map(|drops| Base {
            hook: Hook::Incoming,
            drops,
            family: None,
        }),
        rules,
    }
}

/// An advertisement that comes in.
pub(super) fn vrrp() -> Packet {
    Packet {
        hook: Hook::Incoming,
        family: Family::Ipv4,
        protocol: 112,
        interface: "eth0".to_owned(),
        source: "192.0.2.2".parse().ok(),
        destination: "224.0.0.18".parse().ok(),
        destination_port: None,
        answers: false,
    }
}

fn fate(chains: Vec<Chain>) -> Fate {
    Ruleset { chains }.fate(&vrrp())
}

fn dropped(text: &str) -> Fate {
    Fate::Dropped(chain("input", None, vec![]).place(text))
}

fn doubtful(text: &str) -> Fate {
    Fate::MayBeDropped(chain("input", None, vec![]).place(text))
}

#[test]
fn what_no_chain_drops_passes() {
    assert_eq!(fate(Vec::new()), Fate::Passes);
    let tcp = rule(vec![What::Protocol(vec![6])], Verdict::Drop);
    assert_eq!(
        fate(vec![chain("input", Some(false), vec![tcp])]),
        Fate::Passes
    );
}

#[test]
fn a_rule_for_the_protocol_drops_it() {
    let rules = || vec![rule(vec![What::Protocol(vec![112])], Verdict::Drop)];
    assert_eq!(
        fate(vec![chain("input", Some(false), rules())]),
        dropped("Drop")
    );
    let accepted = rule(
        vec![What::InInterface(vec!["eth*".into()])],
        Verdict::Accept,
    );
    let mut before = vec![accepted];
    before.extend(rules());
    assert_eq!(
        fate(vec![chain("input", Some(false), before)]),
        Fate::Passes
    );
}

#[test]
fn what_is_not_understood_is_no_certainty() {
    let drops = rule(vec![What::Unknown], Verdict::Drop);
    assert_eq!(
        fate(vec![chain("input", Some(false), vec![drops])]),
        doubtful("Drop")
    );
    let accepts = rule(vec![What::Unknown], Verdict::Accept);
    assert_eq!(
        fate(vec![chain("input", Some(true), vec![accepts])]),
        doubtful("policy drop")
    );
    assert_eq!(
        fate(vec![chain("input", Some(true), vec![])]),
        dropped("policy drop")
    );
}

#[test]
fn answers_only_are_no_way_in() {
    let established = What::Connection {
        new: false,
        established: true,
    };
    let answers = || vec![rule(vec![established.clone()], Verdict::Accept)];
    let chains = || vec![chain("input", Some(true), answers())];
    assert_eq!(fate(chains()), dropped("policy drop"));
    let udp = Packet {
        protocol: 17,
        destination_port: Some(9851),
        answers: true,
        ..vrrp()
    };
    let ruleset = Ruleset { chains: chains() };
    assert_eq!(ruleset.fate(&udp), doubtful("policy drop"));
}

#[test]
fn called_chains_decide_or_return() {
    let calls = |verdict| chain("input", Some(true), vec![rule(vec![], verdict)]);
    let jump = || calls(Verdict::Jump("ours".to_owned()));
    let called = |verdict| chain("ours", None, vec![rule(vec![], verdict)]);
    assert_eq!(fate(vec![jump(), called(Verdict::Accept)]), Fate::Passes);
    assert_eq!(
        fate(vec![jump(), called(Verdict::Return)]),
        dropped("policy drop")
    );
    let Fate::Dropped(place) = fate(vec![jump(), called(Verdict::Drop)]) else {
        panic!("dropped")
    };
    assert_eq!(place.to_string(), "`Drop` in chain ours of inet filter");
    // A chain that calls itself ends.
    assert_eq!(
        fate(vec![jump(), called(Verdict::Jump("ours".to_owned()))]),
        doubtful("policy drop")
    );
}

#[test]
fn another_hook_or_family_is_of_no_concern() {
    let mut other = chain("input", Some(true), vec![]);
    other.base = Some(Base {
        hook: Hook::Outgoing,
        drops: true,
        family: None,
    });
    assert_eq!(fate(vec![other.clone()]), Fate::Passes);
    other.base = Some(Base {
        hook: Hook::Incoming,
        drops: true,
        family: Some(Family::Ipv6),
    });
    assert_eq!(fate(vec![other]), Fate::Passes);
}
