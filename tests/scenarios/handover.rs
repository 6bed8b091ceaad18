//! Moving an instance on purpose: nothing is lost on the way, and whatever
//! breaks on the way, one of both has it.

use std::time::Duration;

use rstest::rstest;
use vipward::agent::cluster::message::Word;
use vipward::agent::jobs::{HookKind, Verdict};
use vipward::agent::settings::{InstanceSettings, Preempt};
use vipward::agent::status::{Reason, StateName};
use vipward::agent::time::Instant;

use crate::awaited_hooks::{ACTIVE, BACKUP, DEMOTE, PROMOTE, answer, failed, hooked};
use crate::kit::link::{LinkWeather, node};
use crate::kit::moves::{drain, handover, undrain};
use crate::kit::*;

/// A is Active, B and perhaps C are Backup, and they know each other.
fn settled(settings: Vec<InstanceSettings>) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    for one in settings {
        lab.host(vec![one]);
    }
    lab.connect(1);
    lab.start_all();
    let (a, b) = (HostId(0), HostId(1));
    lab.run_until(a, ACTIVE, secs(20));
    // Hooks that stand before the addresses.
    if !lab.at(a).started.is_empty() {
        answer(&mut lab, a, Verdict::Passed);
    }
    lab.run(secs(10));
    assert_eq!(lab.state(b), BACKUP);
    assert!(lab.holds(a, WEB).is_some());
    lab.mark();
    (lab, a, b)
}

fn pair() -> (Lab, HostId, HostId) {
    settled(vec![web(200), web(100)])
}

/// Goes on, and at every moment somebody answers for the address.
fn without_a_gap(lab: &mut Lab, span: Duration) {
    let end = lab.now() + span;
    while lab.next().is_some_and(|at| at <= end) {
        lab.step();
        let somebody = (0..lab.hosts.len()).any(|host| lab.holds(HostId(host), WEB).is_some());
        assert!(somebody, "nobody has the address after {:?}", lab.elapsed());
    }
    lab.jump(end);
}

fn done(lab: &Lab, host: HostId, ticket: u64) -> String {
    match lab.answer(host, ticket) {
        Some((_, Ok(text))) => text,
        other => panic!("not done: {other:?}"),
    }
}

fn refused(lab: &Lab, host: HostId, ticket: u64) -> String {
    match lab.answer(host, ticket) {
        Some((_, Err(text))) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_successor_claims_before_the_incumbent_releases() {
    let (mut lab, a, b) = pair();
    let ticket = lab.order_at(a, handover("web", None));
    without_a_gap(&mut lab, ms(100));
    assert_eq!(done(&lab, a, ticket), "web was handed over to B");
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    assert_eq!(lab.holds(a, WEB), None);
    let taken = lab.added(b)[0].0;
    let released = lab.removed(a)[0].0;
    assert!(taken < released, "{taken:?} and {released:?}");
    assert!(released < ms(20), "{released:?}");
    assert_eq!(lab.status(b).reason, Reason::HandedOver);
    // B announces again when A's kernel has let it go.
    let last = lab
        .announced(b, WEB)
        .into_iter()
        .filter(|at| *at > released);
    assert!(last.count() >= 1, "{:?}", lab.announced(b, WEB));
    // Nothing of A's is on the wire any more.
    let late = lab.sent(a).into_iter().filter(|(at, _)| *at > taken);
    assert_eq!(late.count(), 0, "{:?}", lab.sent(a));
}

#[test]
fn the_one_that_handed_over_does_not_preempt() {
    let (mut lab, a, b) = pair();
    lab.order_at(a, handover("web", None));
    without_a_gap(&mut lab, secs(60));
    assert_eq!(lab.state(b), ACTIVE);
    assert_eq!(lab.status(a).yielded_to, Some(node(b)));
    assert_eq!(lab.obstacles(a), ["yielded"]);
    // Nor after its agent was started anew.
    lab.kill(a);
    lab.start(a);
    lab.run(secs(60));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    // The successor is lost: everything is as before.
    lab.power_off(b);
    lab.run(secs(5));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.status(a).yielded_to, None);
    lab.start(b);
    lab.run(secs(10));
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.at(a).moves.kept.yielded.is_empty());
}

/// Its agent died, and the next one is told nothing by the peer link: whose
/// advertisement it hears it knows by where the successor advertised from.
#[rstest]
#[case::the_successor_s(false)]
#[case::another_s(true)]
fn the_successor_is_known_without_the_link(#[case] is_lost: bool) {
    let mut lab = Lab::new();
    for value in [200, 100, 150] {
        let mut instance = web(value);
        if value == 150 {
            instance.preempt = Preempt::Never;
        }
        lab.host(vec![instance]);
    }
    let [a, b, c] = [0, 1, 2].map(HostId);
    lab.connect(1);
    lab.start_all();
    lab.run(secs(20));
    lab.order_at(a, handover("web", Some("B")));
    lab.run(secs(5));
    assert_eq!(lab.state(b), ACTIVE);
    lab.kill(a);
    lab.cut_link();
    if is_lost {
        lab.power_off(b);
    }
    lab.run(secs(10));
    lab.start(a);
    lab.run(secs(20));
    let states = [a, b, c].map(|host| lab.at(host).powered.then(|| lab.state(host)));
    match is_lost {
        true => assert_eq!(states, [Some(ACTIVE), None, Some(BACKUP)]),
        false => assert_eq!(states, [Some(BACKUP), Some(ACTIVE), Some(BACKUP)]),
    }
}

#[test]
fn an_undrain_lets_it_preempt_again() {
    let (mut lab, a, b) = pair();
    lab.order_at(a, handover("web", None));
    lab.run(secs(10));
    let ticket = lab.order_at(a, undrain("web"));
    without_a_gap(&mut lab, secs(10));
    assert_eq!(done(&lab, a, ticket), "web takes part again");
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
}

#[test]
fn and_back_again() {
    let (mut lab, a, b) = pair();
    lab.order_at(a, handover("web", Some("B")));
    lab.run(secs(1));
    let ticket = lab.order_at(b, handover("web", Some("A")));
    without_a_gap(&mut lab, secs(10));
    assert_eq!(done(&lab, b, ticket), "web was handed over to A");
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(lab.status(a).yielded_to, None);
}

/// One that would preempt a node of its own asks it to let go instead.
#[rstest]
#[case::at_once(Preempt::Immediately)]
#[case::after_a_while(Preempt::After(secs(5)))]
fn who_returns_is_handed_over_to(#[case] preempt: Preempt) {
    let mut first = web(200);
    first.preempt = preempt;
    let (mut lab, a, b) = settled(vec![first, web(100)]);
    lab.stop(a);
    without_a_gap(&mut lab, secs(2));
    lab.end_agent(a);
    assert_eq!(lab.state(b), ACTIVE);
    lab.start(a);
    lab.mark();
    without_a_gap(&mut lab, secs(20));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    let (taken, released) = (lab.added(a)[0].0, lab.removed(b)[0].0);
    assert!(taken < released, "{taken:?} and {released:?}");
}

#[test]
fn a_stop_hands_over() {
    let (mut lab, a, b) = pair();
    lab.stop(a);
    without_a_gap(&mut lab, secs(1));
    assert_eq!(lab.state(b), ACTIVE);
    assert!(lab.at(a).agent.as_ref().expect("not ended").is_finished());
    let (taken, released) = (lab.added(b)[0].0, lab.removed(a)[0].0);
    assert!(taken < released, "{taken:?} and {released:?}");
    assert!(lab.sent(a).iter().all(|(_, priority)| *priority != 0));
}

/// And where the successor says no, the stop is as without a link.
#[test]
fn a_stop_that_nobody_wants_resigns() {
    let (mut lab, a, b) = pair();
    lab.order_at(b, drain("web"));
    lab.run(secs(1));
    lab.stop(a);
    lab.run(secs(3));
    assert!(lab.at(a).agent.as_ref().expect("not ended").is_finished());
    assert!(lab.sent(a).iter().any(|(_, priority)| *priority == 0));
    assert_eq!(lab.state(b), StateName::Drained);
}

/// Exactly one letter, counted from the order, is lost, or comes twice, or is
/// late by more than the exchange waits.
struct Mishap {
    at: usize,
    kind: u8,
    seen: usize,
}

impl LinkWeather for Mishap {
    fn fate(&mut self, _: HostId, _: HostId, _: u8, _: Instant) -> [Option<Duration>; 2] {
        self.seen += 1;
        let usual = Some(ms(1));
        if self.seen != self.at {
            return [usual, None];
        }
        match self.kind {
            0 => [None, None],
            1 => [usual, Some(ms(7))],
            _ => [Some(ms(400)), None],
        }
    }
}

/// One of both holds the address, and in the end one alone.
fn one_owner(lab: &mut Lab, a: HostId, b: HostId) {
    let owners = [a, b].map(|host| lab.state(host) == ACTIVE);
    assert_eq!(owners.into_iter().filter(|active| *active).count(), 1);
    for host in [a, b] {
        let active = lab.state(host) == ACTIVE;
        assert_eq!(lab.holds(host, WEB).is_some(), active, "leftover");
    }
}

#[rstest]
fn a_letter_is_lost_or_late_or_comes_twice(
    #[values(0, 1, 2)] kind: u8,
    #[values(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)] at: usize,
) {
    let (mut lab, a, b) = pair();
    lab.link.weather = Some(Box::new(Mishap { at, kind, seen: 0 }));
    let ticket = lab.order_at(a, handover("web", None));
    without_a_gap(&mut lab, secs(5));
    done(&lab, a, ticket);
    one_owner(&mut lab, a, b);
    assert_eq!(lab.state(b), ACTIVE);
}

/// The link is cut, one way or both, after so many milliseconds.
#[rstest]
fn the_link_is_cut_on_the_way(
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)] after: u64,
    #[values((true, false), (false, true), (true, true))] ways: (bool, bool),
) {
    let (mut lab, a, b) = pair();
    let ticket = lab.order_at(a, handover("web", None));
    without_a_gap(&mut lab, ms(after));
    if ways.0 {
        lab.cut_path_from(a, b, 0);
    }
    if ways.1 {
        lab.cut_path_from(b, a, 0);
    }
    without_a_gap(&mut lab, secs(5));
    assert!(lab.answer(a, ticket).is_some(), "it is answered");
    one_owner(&mut lab, a, b);
}

#[rstest]
fn an_agent_dies_on_the_way(
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)] after: u64,
    #[values(0, 1)] which: usize,
) {
    let (mut lab, a, b) = pair();
    lab.order_at(a, handover("web", None));
    lab.run(ms(after));
    let (dead, alive) = if which == 0 { (a, b) } else { (b, a) };
    lab.power_off(dead);
    lab.run(secs(6));
    assert_eq!(lab.state(alive), ACTIVE);
    assert!(lab.holds(alive, WEB).is_some());
}

#[test]
fn hooks_run_in_order_and_the_incumbent_advertises_meanwhile() {
    let hooks = [PROMOTE[0], DEMOTE[0]];
    let (mut lab, a, b) = settled(vec![hooked(200, &hooks), hooked(100, &hooks)]);
    let ticket = lab.order_at(a, handover("web", None));
    lab.run(secs(4));
    let kinds = |lab: &Lab, host| -> Vec<HookKind> {
        let jobs = lab.started(host).into_iter();
        jobs.map(|(_, job)| crate::awaited_hooks::kind(&job))
            .collect()
    };
    assert_eq!(kinds(&lab, a), [HookKind::BeforeRelease]);
    assert!(kinds(&lab, b).is_empty(), "not before the other is demoted");
    answer(&mut lab, a, Verdict::Passed);
    without_a_gap(&mut lab, secs(4));
    assert_eq!(kinds(&lab, b), [HookKind::BeforeActive]);
    assert_eq!(lab.state(b), BACKUP);
    let advertised = lab.sent(a).into_iter().filter(|(at, _)| *at > secs(4));
    assert!(advertised.count() >= 3, "{:?}", lab.sent(a));
    answer(&mut lab, b, Verdict::Passed);
    without_a_gap(&mut lab, ms(50));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    assert_eq!(done(&lab, a, ticket), "web was handed over to B");
}

#[test]
fn the_incumbent_stays_when_it_cannot_be_demoted() {
    let (mut lab, a, b) = settled(vec![hooked(200, DEMOTE), web(100)]);
    let ticket = lab.order_at(a, handover("web", None));
    lab.run(ms(10));
    answer(&mut lab, a, failed());
    without_a_gap(&mut lab, secs(5));
    let why = refused(&lab, a, ticket);
    assert!(why.contains("before_release failed here"), "{why}");
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert!(lab.holds(b, WEB).is_none());
}

/// What `before_release` did is undone: the hooks promote once more.
#[test]
fn the_incumbent_stays_when_the_successor_cannot_be_promoted() {
    let hooks = [PROMOTE[0], DEMOTE[0]];
    let (mut lab, a, b) = settled(vec![hooked(200, &hooks), hooked(100, &hooks)]);
    let ticket = lab.order_at(a, handover("web", None));
    lab.run(ms(10));
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    answer(&mut lab, b, failed());
    without_a_gap(&mut lab, ms(50));
    let why = refused(&lab, a, ticket);
    assert!(why.contains("B"), "{why}");
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    let last = lab.at(a).started.last().expect("a hook");
    assert_eq!(crate::awaited_hooks::kind(last), HookKind::BeforeActive);
    answer(&mut lab, a, Verdict::Passed);
    without_a_gap(&mut lab, secs(5));
    assert_eq!(lab.obstacles(a), [""; 0]);
}

#[rstest]
#[case::nobody_of_that_name(handover("web", Some("Z")), "Z is no node of this cluster")]
#[case::itself(handover("web", Some("A")), "it is Active on A already")]
#[case::no_such_instance(handover("wbe", None), "there is no instance `wbe`; there are: web")]
fn nonsense_is_refused_and_changes_nothing(
    #[case] order: vipward::agent::moves::Order,
    #[case] expected: &str,
) {
    let (mut lab, a, b) = pair();
    let ticket = lab.order_at(a, order);
    lab.run(secs(5));
    let why = refused(&lab, a, ticket);
    assert!(why.contains(expected), "{why}");
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
}

#[test]
fn without_a_link_it_is_refused() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    let ticket = lab.order_at(a, handover("web", None));
    let why = refused(&lab, a, ticket);
    assert!(why.contains("`cluster`"), "{why}");
}

/// Ordered at the one that is not Active, the Active does it.
#[rstest]
#[case::by_itself(None)]
#[case::named(Some("A"))]
fn another_node_does_it(#[case] named: Option<&str>) {
    let (mut lab, a, b) = pair();
    let ticket = lab.order_for(b, named, handover("web", Some("B")));
    without_a_gap(&mut lab, secs(1));
    assert_eq!(done(&lab, b, ticket), "A: web was handed over to B");
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
}

#[test]
fn a_node_that_does_not_answer_is_said_so() {
    let (mut lab, a, b) = pair();
    let ticket = lab.order_for(b, Some("A"), drain("web"));
    lab.cut_link();
    lab.run(secs(2));
    let why = refused(&lab, b, ticket);
    assert!(why.contains("A did not answer"), "{why}");
    assert_eq!(lab.state(a), ACTIVE);
}

#[test]
fn a_third_one_of_higher_priority_is_warned_of() {
    let mut second = web(150);
    second.preempt = Preempt::Never;
    let (mut lab, a, _) = settled(vec![web(200), second, web(100)]);
    let ticket = lab.order_at(a, handover("web", Some("C")));
    without_a_gap(&mut lab, secs(3));
    let text = done(&lab, a, ticket);
    assert!(text.contains("B has a higher priority than C"), "{text}");
    assert_eq!(lab.state(HostId(2)), ACTIVE);
}

/// Others hear one chain of advertisements.
#[test]
fn a_third_one_notices_nothing() {
    let (mut lab, a, b) = settled(vec![web(200), web(150), web(100)]);
    lab.order_at(a, handover("web", None));
    without_a_gap(&mut lab, secs(20));
    assert_eq!(lab.state(b), ACTIVE);
    assert_eq!(lab.transitions(HostId(2)).len(), 0);
}

#[test]
fn a_reload_on_the_way_breaks_it_off() {
    let hooks = [PROMOTE[0], DEMOTE[0]];
    let (mut lab, a, b) = settled(vec![hooked(200, &hooks), hooked(100, &hooks)]);
    let ticket = lab.order_at(a, handover("web", None));
    lab.run(ms(10));
    let settings = lab.at(a).settings.clone();
    lab.feed(a, crate::kit::host::Input::Reload(Box::new(settings)));
    without_a_gap(&mut lab, secs(5));
    let why = refused(&lab, a, ticket);
    assert!(why.contains("configuration"), "{why}");
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
}

/// The exchange is bounded by what is said, not by the clock of either side.
#[test]
fn words_of_an_exchange_are_few() {
    let (mut lab, a, _) = pair();
    lab.order_at(a, handover("web", None));
    lab.run(ms(100));
    let words = lab.words(a);
    let moves = words
        .iter()
        .filter(|word| matches!(word, Word::Move { .. }));
    assert!(moves.count() <= 4, "{words:?}");
}
