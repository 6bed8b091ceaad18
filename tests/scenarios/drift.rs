//! Settings that differ between the hosts: accepted, told once, shown.

use rstest::rstest;
use vipward::agent::report::Fact;
use vipward::agent::status::StateName;

use crate::kit::*;

fn drift_lines(lab: &Lab, host: HostId) -> Vec<(&'static str, bool)> {
    let all = lab.facts(host).into_iter();
    all.filter_map(|(_, fact)| match fact {
        Fact::Drift { what, theirs, .. } => Some((what, theirs.is_some())),
        _ => None,
    })
    .collect()
}

fn shown(lab: &Lab, host: HostId) -> Vec<&'static str> {
    lab.status(host).drift.iter().map(|one| one.code).collect()
}

#[rstest]
#[case::interval("advert-interval")]
#[case::addresses("addresses")]
#[case::count("addresses")]
fn a_difference_is_told_once_and_cleared(#[case] code: &'static str) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let mut theirs = web(200);
    match code {
        "advert-interval" => theirs.advert_interval = centiseconds(50),
        _ => theirs.addresses.push(address("192.0.2.101/24")),
    }
    let b = lab.host(vec![theirs]);
    let same = lab.host(vec![web(200)]);
    lab.start(a);
    lab.mark();
    for _ in 0..100 {
        lab.run(ms(500));
        lab.forge(b, a, 200);
    }
    assert_eq!(lab.state(a), StateName::Backup, "it costs nothing");
    assert_eq!(drift_lines(&lab, a), [(code, true)]);
    assert_eq!(shown(&lab, a), [code]);
    lab.forge(same, a, 200);
    lab.forge(same, a, 200);
    assert_eq!(drift_lines(&lab, a), [(code, true), (code, false)]);
    assert_eq!(lab.status(a).drift, []);
}

#[test]
fn both_figures_are_shown() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let mut theirs = web(200);
    theirs.advert_interval = centiseconds(50);
    theirs.addresses = vec![address("192.0.2.101/24"), address("192.0.2.102/24")];
    let b = lab.host(vec![theirs]);
    lab.start(a);
    lab.forge(b, a, 200);
    let drift = lab.status(a).drift;
    let words: Vec<_> = drift
        .iter()
        .map(|one| (one.code, one.ours.as_str(), one.theirs.as_str(), one.source))
        .collect();
    let expected = [
        (
            "addresses",
            "192.0.2.100",
            "192.0.2.101, 192.0.2.102",
            Some(ip("192.0.2.2")),
        ),
        (
            "advert-interval",
            "1000 ms",
            "500 ms",
            Some(ip("192.0.2.2")),
        ),
    ];
    assert_eq!(words, expected);
}

#[test]
fn another_order_of_the_same_addresses_is_no_drift() {
    let mut lab = Lab::new();
    let mut ours = web(100);
    ours.addresses.push(address("192.0.2.101/24"));
    let mut theirs = ours.clone();
    theirs.addresses.reverse();
    let a = lab.host(vec![ours]);
    let b = lab.host(vec![theirs]);
    lab.start(a);
    lab.forge(b, a, 200);
    assert_eq!(lab.status(a).drift, []);
}

#[test]
fn what_is_not_advertised_is_no_drift() {
    let mut lab = Lab::new();
    let mut ours = web(100);
    let mut silent = address("192.0.2.101/24");
    silent.advertise = false;
    ours.addresses.extend([silent, address("2001:db8::100/64")]);
    let a = lab.host(vec![ours]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.forge(b, a, 200);
    assert_eq!(lab.status(a).drift, []);
    lab.forge(a, b, 100);
}

#[rstest]
fn an_active_that_loses_sees_the_winners_drift(#[values(Way::V2, Way::V3, Way::V6)] way: Way) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 100)]);
    let mut theirs = web_by(way, 200);
    theirs.addresses.push(match way {
        Way::V6 => address("2001:db8::101/64"),
        _ => address("192.0.2.101/24"),
    });
    let b = lab.host(vec![theirs]);
    lab.start(a);
    lab.run_until(a, StateName::Active, secs(5));
    lab.run(ms(500));
    lab.forge(b, a, 200);
    assert_eq!(lab.state(a), StateName::Backup);
    assert_eq!(shown(&lab, a), ["addresses"]);
    lab.run_until(a, StateName::Active, secs(5));
    assert_eq!(lab.status(a).drift, [], "and forgets it as Active");
}

/// Two Actives that do not hear each other, both heard by us.
#[test]
fn two_actives_that_differ_make_no_flood_of_lines() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let mut theirs = web(200);
    theirs.addresses.push(address("192.0.2.101/24"));
    let b = lab.host(vec![theirs]);
    let c = lab.host(vec![web(201)]);
    lab.start(a);
    lab.mark();
    for _ in 0..300 {
        lab.forge(b, a, 200);
        lab.run(ms(500));
        lab.forge(c, a, 201);
        lab.run(ms(500));
    }
    let lines = drift_lines(&lab, a).len();
    assert!((2..=10).contains(&lines), "{lines} lines in five minutes");
    assert_eq!(lab.status(a).drift, [], "status is always exact");
}

/// A list that is rolled out: each host compares with what it has now.
#[test]
fn a_reload_on_both_sides_ends_a_drift_of_the_lists() {
    let longer = |value| {
        let mut instance = web(value);
        instance.addresses.push(address("192.0.2.101/24"));
        instance
    };
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run_until(a, StateName::Active, secs(10));
    lab.mark();
    lab.reload(a, vec![longer(200)]);
    lab.run(secs(2));
    assert_eq!(shown(&lab, b), ["addresses"]);
    lab.reload(b, vec![longer(100)]);
    lab.run(secs(2));
    assert_eq!(shown(&lab, b), [""; 0]);
    assert_eq!(
        drift_lines(&lab, b),
        [("addresses", true), ("addresses", false)]
    );
}
