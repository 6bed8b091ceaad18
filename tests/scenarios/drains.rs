//! Out by an operator's order, also across restarts, and never so that
//! nobody is left.

use std::time::Duration;

use rstest::rstest;
use vipward::agent::jobs::Verdict;
use vipward::agent::moves::{DrainEnd, Order};
use vipward::agent::report::Fact;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::{Reason, StateName};
use vipward::agent::values::InstanceName;

use crate::awaited_hooks::{DEMOTE, answer, hooked};
use crate::groups;
use crate::kit::moves::{drain, drain_by_force, undrain};
use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const DRAINED: StateName = StateName::Drained;

fn settled(linked: bool, settings: Vec<InstanceSettings>) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    for one in settings {
        lab.host(vec![one]);
    }
    if linked {
        lab.connect(1);
    }
    lab.start_all();
    lab.run(secs(20));
    let (a, b) = (HostId(0), HostId(1));
    assert_eq!(lab.state(a), ACTIVE);
    lab.mark();
    (lab, a, b)
}

fn pair(linked: bool) -> (Lab, HostId, HostId) {
    settled(linked, vec![web(200), web(100)])
}

fn without_a_gap(lab: &mut Lab, span: Duration) {
    let end = lab.now() + span;
    while lab.next().is_some_and(|at| at <= end) {
        lab.step();
        let somebody = (0..lab.hosts.len()).any(|host| lab.holds(HostId(host), WEB).is_some());
        assert!(somebody, "nobody has the address after {:?}", lab.elapsed());
    }
    lab.jump(end);
}

fn answered(lab: &Lab, host: HostId, ticket: u64) -> Result<String, String> {
    let answer = lab.answer(host, ticket);
    answer.expect("it is answered").1
}

#[rstest]
#[case::with_the_link(true, ms(20))]
#[case::without(false, skew(100) + ms(60))]
fn somebody_takes_over_first(#[case] linked: bool, #[case] within: Duration) {
    let (mut lab, a, b) = pair(linked);
    let ticket = lab.order_at(a, drain("web"));
    without_a_gap(&mut lab, within);
    assert_eq!((lab.state(a), lab.state(b)), (DRAINED, ACTIVE));
    let text = answered(&lab, a, ticket).expect("done");
    assert!(text.starts_with("web is drained"), "{text}");
    without_a_gap(&mut lab, secs(60));
    assert_eq!((lab.state(a), lab.state(b)), (DRAINED, ACTIVE));
    assert_eq!(lab.status(a).reason, Reason::Drained);
    assert_eq!(lab.obstacles(a), ["drained"]);
    assert_eq!(lab.holds(a, WEB), None);
}

#[rstest]
fn it_lasts_across_restarts_and_ends_by_order(#[values(true, false)] linked: bool) {
    let (mut lab, a, b) = pair(linked);
    lab.order_at(a, drain("web"));
    lab.run(secs(2));
    lab.kill(a);
    lab.start(a);
    lab.run(secs(30));
    assert_eq!((lab.state(a), lab.state(b)), (DRAINED, ACTIVE));
    lab.power_off(b);
    lab.run(secs(30));
    assert_eq!(lab.state(a), DRAINED, "never Active");
    lab.order_at(a, undrain("web"));
    lab.run(secs(5));
    assert_eq!(lab.state(a), ACTIVE);
    lab.kill(a);
    lab.start(a);
    lab.run(secs(5));
    assert_eq!(lab.state(a), ACTIVE, "that was written down, too");
}

/// By the time of day.
#[rstest]
fn it_ends_by_itself(#[values(false, true)] restarted: bool) {
    let (mut lab, a, _) = pair(true);
    let order = Order::Drain {
        instance: None,
        span: Some(Duration::from_hours(2)),
        force: false,
    };
    lab.order_at(a, order);
    lab.run(secs(10));
    assert!(matches!(lab.status(a).drained, Some(DrainEnd::At(_))));
    if restarted {
        lab.kill(a);
        lab.start(a);
    }
    lab.run(Duration::from_hours(2) - secs(12));
    lab.tell_time(a);
    lab.run(secs(1));
    assert_eq!(lab.state(a), DRAINED);
    lab.run(secs(2));
    lab.tell_time(a);
    lab.run(secs(10));
    assert_eq!(lab.state(a), ACTIVE, "it preempts, as it did before");
    assert!(lab.at(a).moves.kept.drained.is_empty());
}

#[rstest]
fn what_cannot_be_written_down_changes_nothing(#[values(true, false)] linked: bool) {
    let (mut lab, a, _) = pair(linked);
    lab.at_mut(a).moves.broken = true;
    let ticket = lab.order_at(a, drain("web"));
    without_a_gap(&mut lab, secs(5));
    let why = answered(&lab, a, ticket).expect_err("refused");
    assert!(why.contains("no space left on device"), "{why}");
    assert!(why.contains("nothing was changed"), "{why}");
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.sent(a).iter().all(|(_, priority)| *priority == 200));
}

/// Nothing is given up before it would survive the agent.
#[test]
fn it_is_written_before_anything_is_given_up() {
    let (mut lab, a, _) = pair(false);
    lab.order_at(a, drain("web"));
    assert_eq!(lab.at(a).moves.kept.drained.len(), 1, "the disk has it");
    assert!(lab.sent(a).is_empty(), "and nothing was said yet");
    lab.run(ms(5));
    assert_eq!(lab.sent(a).first().map(|(_, priority)| *priority), Some(0));
}

#[test]
fn without_an_able_node_it_is_refused() {
    let (mut lab, a, b) = pair(true);
    lab.order_at(b, drain("web"));
    lab.run(secs(1));
    assert_eq!(lab.state(b), DRAINED);
    let ticket = lab.order_at(a, drain("web"));
    without_a_gap(&mut lab, secs(5));
    let why = answered(&lab, a, ticket).expect_err("refused");
    assert!(why.contains("nobody could take web over"), "{why}");
    assert!(why.contains("B: web is drained"), "{why}");
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.at(a).moves.kept.drained.is_empty());
}

#[rstest]
fn by_force_it_is_out_all_the_same(#[values(true, false)] linked: bool) {
    let (mut lab, a, b) = pair(linked);
    lab.power_off(b);
    lab.run(secs(3));
    let ticket = lab.order_at(a, drain_by_force("web"));
    lab.run(secs(5));
    answered(&lab, a, ticket).expect("done");
    assert_eq!(lab.state(a), DRAINED);
    assert_eq!(lab.holds(a, WEB), None);
}

/// Without a link nobody knows before: it asks by priority 0 and answers on.
#[test]
fn when_nobody_comes_it_stays_active() {
    let (mut lab, a, b) = pair(false);
    lab.power_off(b);
    lab.run(secs(1));
    lab.mark();
    let ticket = lab.order_at(a, drain("web"));
    without_a_gap(&mut lab, secs(10));
    let why = answered(&lab, a, ticket).expect_err("refused");
    assert!(why.contains("nobody took it over"), "{why}");
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.at(a).moves.kept.drained.is_empty(), "cancelled");
    let zeros = lab
        .sent(a)
        .into_iter()
        .filter(|(_, priority)| *priority == 0);
    assert!((3..=5).contains(&zeros.count()), "{:?}", lab.sent(a));
    assert!(lab.obstacles(a).is_empty());
}

/// A Backup has nothing to give up.
#[rstest]
fn a_backup_is_out_at_once(#[values(true, false)] linked: bool) {
    let (mut lab, a, b) = pair(linked);
    let ticket = lab.order_at(b, drain("web"));
    lab.run(ms(10));
    assert_eq!(answered(&lab, b, ticket), Ok("web is drained".to_owned()));
    assert_eq!(lab.state(b), DRAINED);
    lab.power_off(a);
    lab.run(secs(10));
    assert_eq!(lab.state(b), DRAINED);
}

#[test]
fn when_every_node_is_out_that_is_said_once() {
    let (mut lab, a, b) = pair(true);
    lab.order_at(b, drain("web"));
    lab.run(secs(1));
    lab.order_at(a, drain_by_force("web"));
    lab.run(secs(10));
    for host in [a, b] {
        assert!(lab.status(host).stranded);
        let said = lab.count_facts(host, |fact| *fact == Fact::NobodyAble);
        assert_eq!(said, 1);
    }
    lab.order_at(b, undrain("web"));
    lab.run(secs(5));
    assert!(!lab.status(a).stranded && !lab.status(b).stranded);
    assert_eq!(lab.state(b), ACTIVE);
}

#[test]
fn all_instances_at_once() {
    let mut lab = Lab::new();
    let mut second = web(200);
    second.name = InstanceName::new("mail");
    second.vrid = vipward::agent::values::Vrid::new(77).expect("a VRID");
    second.addresses = vec![address("192.0.2.101/24")];
    let mut low = second.clone();
    low.priority = vipward::agent::values::Priority::new(100).expect("a priority");
    let a = lab.host(vec![web(200), second]);
    let b = lab.host(vec![web(100), low]);
    lab.connect(1);
    lab.start_all();
    lab.run(secs(20));
    let ticket = lab.order_at(
        a,
        Order::Drain {
            instance: None,
            span: None,
            force: false,
        },
    );
    without_a_gap(&mut lab, secs(1));
    let text = answered(&lab, a, ticket).expect("done");
    assert_eq!(text.lines().count(), 2, "{text}");
    for instance in [0, 1].map(vipward::agent::values::InstanceId) {
        assert_eq!(lab.status_of(a, instance).state, DRAINED);
        assert_eq!(lab.status_of(b, instance).state, ACTIVE);
    }
}

/// A group moves whole; naming a member names all.
#[rstest]
fn a_group_moves_whole(#[values(true, false)] linked: bool) {
    let (mut lab, a, b) = groups::pair();
    if linked {
        lab.connect(1);
        for host in [a, b] {
            let settings = lab.at(host).settings.clone();
            lab.feed(host, crate::kit::host::Input::Reload(Box::new(settings)));
        }
        lab.run(secs(2));
    }
    lab.mark();
    let ticket = lab.order_at(a, drain("inside"));
    let end = lab.now() + secs(3);
    while lab.next().is_some_and(|at| at <= end) {
        lab.step();
        for address in ["198.51.100.100", "192.0.2.100"] {
            let held = [a, b].map(|host| lab.holds(host, address).is_some());
            assert!(held.contains(&true), "nobody has {address}");
        }
    }
    answered(&lab, a, ticket).expect("done");
    assert_eq!(groups::states(&lab, a), [DRAINED, DRAINED]);
    assert_eq!(groups::states(&lab, b), [ACTIVE, ACTIVE]);
    assert_eq!(lab.group_state(a), DRAINED);
}

/// One member that cannot be taken keeps all.
#[test]
fn a_group_is_kept_by_one_member() {
    let (mut lab, a, b) = groups::pair();
    lab.connect(1);
    for host in [a, b] {
        let settings = lab.at(host).settings.clone();
        lab.feed(host, crate::kit::host::Input::Reload(Box::new(settings)));
    }
    lab.run(secs(2));
    lab.link(b, "eth1", false);
    lab.run(ms(500));
    let ticket = lab.order_at(a, drain("outside"));
    lab.run(secs(5));
    let why = answered(&lab, a, ticket).expect_err("refused");
    assert!(why.contains("is fault"), "{why}");
    assert_eq!(groups::states(&lab, a), [ACTIVE, ACTIVE]);
    assert_eq!(
        groups::states(&lab, b),
        [StateName::Fault, StateName::Fault]
    );
}

#[test]
fn a_drained_one_may_be_in_fault_meanwhile() {
    let (mut lab, a, b) = pair(true);
    lab.order_at(a, drain("web"));
    lab.run(secs(2));
    lab.link(a, "eth0", false);
    lab.run(secs(2));
    assert_eq!(lab.state(a), DRAINED);
    let ticket = lab.order_at(a, undrain("web"));
    lab.run(secs(2));
    answered(&lab, a, ticket).expect("done");
    assert_eq!((lab.state(a), lab.state(b)), (StateName::Fault, ACTIVE));
    lab.link(a, "eth0", true);
    lab.run(secs(10));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
}

/// Otherwise the next agent would know nothing of a drain that goes on.
#[rstest]
fn an_undrain_in_the_middle_is_refused(#[values(true, false)] linked: bool) {
    let (mut lab, a, b) = pair(linked);
    let first = lab.order_at(a, drain("web"));
    lab.run(ms(3));
    let second = lab.order_at(a, undrain("web"));
    lab.run(secs(2));
    let why = answered(&lab, a, second).expect_err("refused");
    assert!(why.contains("web is just being drained"), "{why}");
    answered(&lab, a, first).expect("drained");
    lab.kill(a);
    lab.start(a);
    lab.run(secs(30));
    assert_eq!((lab.state(a), lab.state(b)), (DRAINED, ACTIVE));
}

/// What a later order had written down includes the one that fails.
#[test]
fn of_two_orders_the_one_that_failed_is_not_kept() {
    let mut lab = Lab::new();
    let other = || InstanceSettings {
        name: InstanceName::new("other"),
        vrid: vipward::agent::values::Vrid::new(77).expect("a VRID"),
        addresses: vec![address("192.0.2.101/24")],
        ..web(100)
    };
    let a = lab.host(vec![web(100), other()]);
    lab.host(vec![web(200), other()]);
    lab.start_all();
    lab.run(secs(20));
    lab.at_mut(a).moves.broken = true;
    let first = lab.order_at(a, drain("web"));
    lab.run(ms(1));
    lab.at_mut(a).moves.broken = false;
    let second = lab.order_at(a, drain("other"));
    lab.run(secs(20));
    answered(&lab, a, first).expect_err("not written");
    answered(&lab, a, second).expect("drained");
    let kept = &lab.at(a).moves.kept.drained;
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["other"]);
}

/// Whoever is told to stop while nobody has come yet does not come back.
#[test]
fn a_stop_in_the_middle_ends_it() {
    let (mut lab, a, b) = pair(false);
    lab.power_off(b);
    lab.run(secs(1));
    lab.order_at(a, drain("web"));
    lab.run(ms(1_500));
    lab.stop(a);
    lab.run(secs(3));
    let agent = lab.at(a).agent.as_ref().expect("it was there");
    assert!(agent.is_finished(), "it is {}", lab.state(a));
    assert_eq!(lab.holds(a, WEB), None);
}

/// Each member has a silence of its own to wait for.
#[test]
fn a_group_for_which_nobody_comes_returns_whole() {
    let mut lab = Lab::new();
    let a = groups::gateway(&mut lab, 200, |instance| {
        instance.down_after = if instance.vrid.get() == 52 { 2 } else { 6 };
    });
    lab.start_all();
    lab.run(secs(20));
    let ticket = lab.order_at(a, drain("inside"));
    let end = lab.now() + secs(10);
    while lab.next().is_some_and(|at| at <= end) {
        lab.step();
        let states = groups::states(&lab, a);
        assert_eq!(states[0], states[1], "after {:?}", lab.elapsed());
    }
    let why = answered(&lab, a, ticket).expect_err("refused");
    assert!(why.contains("nobody took it over"), "{why}");
    assert_eq!(groups::states(&lab, a), [ACTIVE, ACTIVE]);
}

/// Without an exchange, too, the service is demoted before it is given up.
#[rstest]
fn its_hook_comes_first(#[values(true, false)] forced: bool) {
    let (mut lab, a, b) = settled(forced, vec![hooked(200, DEMOTE), web(100)]);
    if forced {
        lab.power_off(b);
        lab.run(secs(3));
    }
    lab.mark();
    let order = if forced {
        drain_by_force("web")
    } else {
        drain("web")
    };
    let ticket = lab.order_at(a, order);
    lab.run(secs(3));
    assert_eq!(lab.state(a), ACTIVE, "the hook runs");
    assert!(lab.sent(a).iter().all(|(_, priority)| *priority == 200));
    answer(&mut lab, a, Verdict::Passed);
    assert_eq!(lab.sent(a).last().map(|(_, priority)| *priority), Some(0));
    lab.run(secs(5));
    answered(&lab, a, ticket).expect("done");
    assert_eq!(lab.state(a), DRAINED);
    assert_eq!(lab.holds(a, WEB), None);
}

/// Another took over while the hook ran.
#[test]
fn overtaken_while_its_hook_runs() {
    let (mut lab, a, b) = settled(false, vec![hooked(200, DEMOTE), web(100)]);
    let ticket = lab.order_at(a, drain("web"));
    lab.run(ms(10));
    lab.reload(b, vec![web(250)]);
    lab.run(secs(6));
    assert_eq!(lab.state(b), ACTIVE);
    answered(&lab, a, ticket).expect("done");
    assert_eq!(lab.state(a), DRAINED);
    let gone = lab.removed(a).pop().expect("it was overtaken").0;
    let sent = lab.sent(a).into_iter().filter(|(at, _)| *at > gone);
    assert_eq!(sent.count(), 1, "it parts: {:?}", lab.sent(a));
}

/// One of two is drained when a reload makes them a group: what that does to
/// the other one outlives the agent, as an order does.
#[rstest]
#[case::a_backup(100)]
#[case::the_active(200)]
fn what_a_group_spreads_is_written_down(#[case] priority: u8) {
    let mut lab = Lab::new();
    let a = lab.host(vec![groups::inside(priority), groups::outside(priority)]);
    lab.host(vec![groups::inside(150), groups::outside(150)]);
    lab.start_all();
    lab.run(secs(20));
    lab.order_at(a, drain("inside"));
    lab.run(secs(5));
    let mut settings = lab.at(a).settings.clone();
    settings.groups = vec![crate::kit::groups::group("gateway", &["inside", "outside"])];
    lab.at_mut(a).settings = settings.clone();
    lab.feed(a, Input::Reload(Box::new(settings)));
    let kept = &lab.at(a).moves.kept.drained;
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["inside", "outside"], "at once");
    lab.run(ms(1));
    lab.kill(a);
    lab.start(a);
    lab.run(secs(20));
    assert_eq!(groups::states(&lab, a), [DRAINED, DRAINED]);
}
