use super::super::Fate;
use super::*;
use crate::doctor::rules::tests::vrrp;
use rstest::rstest;

/// A table with a chain for each direction and these rules in the first.
fn ruleset(policy: &str, rules: &str) -> Ruleset {
    let text = format!(
        r#"{{"nftables": [{{"metainfo": {{"version": "1.0.6"}}}},
            {{"table": {{"family": "inet", "name": "filter", "handle": 1}}}},
            {{"set": {{"family": "inet", "table": "filter", "name": "friends",
                       "type": "ipv4_addr", "elem": ["192.0.2.2", "192.0.2.3"]}}}},
            {{"chain": {{"family": "inet", "table": "filter", "name": "input", "handle": 1,
                         "type": "filter", "hook": "input", "prio": 0, "policy": "{policy}"}}}},
            {{"chain": {{"family": "inet", "table": "filter", "name": "ours", "handle": 2}}}},
            {rules}]}}"#
    );
    from_nft_json(&text).unwrap()
}

fn rule(chain: &str, expressions: &str) -> String {
    format!(
        r#"{{"rule": {{"family": "inet", "table": "filter", "chain": "{chain}", "handle": 9,
                       "expr": [{expressions}]}}}}"#
    )
}

fn matching(left: &str, op: &str, right: &str) -> String {
    format!(r#"{{"match": {{"op": "{op}", "left": {left}, "right": {right}}}}}"#)
}

#[rstest]
#[case(r#"{"meta": {"key": "l4proto"}}"#, "==", "112", true)]
#[case(r#"{"meta": {"key": "l4proto"}}"#, "==", r#""vrrp""#, true)]
#[case(
    r#"{"meta": {"key": "l4proto"}}"#,
    "==",
    r#"{"set": ["udp", "vrrp"]}"#,
    true
)]
#[case(
    r#"{"meta": {"key": "l4proto"}}"#,
    "!=",
    r#"{"set": ["tcp", "udp"]}"#,
    true
)]
#[case(r#"{"meta": {"key": "l4proto"}}"#, "==", r#""tcp""#, false)]
#[case(
    r#"{"payload": {"protocol": "ip", "field": "protocol"}}"#,
    "==",
    r#""vrrp""#,
    true
)]
#[case(
    r#"{"payload": {"protocol": "ip6", "field": "nexthdr"}}"#,
    "==",
    r#""vrrp""#,
    false
)]
#[case(
    r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#,
    "!=",
    "22",
    false
)]
#[case(
    r#"{"payload": {"protocol": "ip", "field": "daddr"}}"#,
    "==",
    r#""224.0.0.18""#,
    true
)]
#[case(
    r#"{"payload": {"protocol": "ip", "field": "daddr"}}"#,
    "==",
    r#"{"prefix": {"addr": "224.0.0.0", "len": 4}}"#,
    true
)]
#[case(
    r#"{"payload": {"protocol": "ip", "field": "saddr"}}"#,
    "==",
    r#""@friends""#,
    true
)]
#[case(
    r#"{"payload": {"protocol": "ip", "field": "saddr"}}"#,
    "!=",
    r#""@friends""#,
    false
)]
#[case(r#"{"meta": {"key": "iifname"}}"#, "==", r#""eth*""#, true)]
#[case(r#"{"meta": {"key": "iifname"}}"#, "!=", r#""eth0""#, false)]
#[case(
    r#"{"ct": {"key": "state"}}"#,
    "in",
    r#"["established", "related"]"#,
    false
)]
#[case(r#"{"ct": {"key": "state"}}"#, "in", r#""invalid""#, false)]
#[case(r#"{"ct": {"key": "state"}}"#, "in", r#""new""#, true)]
fn a_rule_that_drops_what_it_matches(
    #[case] left: &str,
    #[case] op: &str,
    #[case] right: &str,
    #[case] drops: bool,
) {
    let drop = rule(
        "input",
        &(matching(left, op, right) + r#", {"drop": null}"#),
    );
    let fate = ruleset("accept", &drop).fate(&vrrp());
    match (fate, drops) {
        (Fate::Dropped(_), true) | (Fate::Passes, false) => {}
        (fate, _) => panic!("{fate:?}"),
    }
}

#[test]
fn a_map_of_states_and_a_called_chain_as_distributions_have_them() {
    let map = r#"{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [
        ["invalid", {"drop": null}], ["established", {"accept": null}]]}}}"#;
    let ssh = matching(
        r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#,
        "==",
        "22",
    );
    let rules = |more: &str| {
        let mut all = vec![
            rule("input", map),
            rule("input", &(ssh.clone() + r#", {"accept": null}"#)),
            rule("input", r#"{"jump": {"target": "ours"}}"#),
        ];
        if !more.is_empty() {
            all.push(rule("ours", more));
        }
        all.join(",")
    };
    let Fate::Dropped(place) = ruleset("drop", &rules("")).fate(&vrrp()) else {
        panic!("dropped")
    };
    assert_eq!(
        place.to_string(),
        "`policy drop` in chain input of inet filter"
    );
    let accept = matching(r#"{"meta": {"key": "l4proto"}}"#, "==", "112") + r#", {"accept": null}"#;
    assert_eq!(ruleset("drop", &rules(&accept)).fate(&vrrp()), Fate::Passes);
}

#[test]
fn a_limit_or_something_newer_may_match() {
    for unknown in [
        r#"{"limit": {"rate": 5, "per": "second"}}"#,
        r#"{"brand-new": {}}"#,
    ] {
        let drop = rule("input", &format!(r#"{unknown}, {{"drop": null}}"#));
        let fate = ruleset("accept", &drop).fate(&vrrp());
        assert!(matches!(fate, Fate::MayBeDropped(_)), "{fate:?}");
    }
}

#[test]
fn a_rule_is_shown_as_it_is_written() {
    let accept = matching(r#"{"meta": {"key": "iifname"}}"#, "==", r#""eth0""#)
        + ", "
        + &matching(
            r#"{"payload": {"protocol": "ip", "field": "protocol"}}"#,
            "==",
            r#""vrrp""#,
        )
        + r#", {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}"#;
    let Fate::Dropped(place) = ruleset("accept", &rule("input", &accept)).fate(&vrrp()) else {
        panic!("dropped")
    };
    assert_eq!(place.rule, "iifname eth0 ip protocol vrrp drop");
}

#[test]
fn what_is_no_ruleset_is_refused() {
    assert!(from_nft_json("").is_err());
    assert!(from_nft_json("[]").is_err());
    assert!(from_nft_json(r#"{"nftables": [{"rule": 7}, {"chain": null}, 4]}"#).is_ok());
}
