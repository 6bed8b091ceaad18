//! Moves that nobody ordered, and moves that cannot make before they break:
//! early warnings, and the virtual MAC.

use vipward::agent::jobs::CheckName;
use vipward::agent::settings::{CheckSettings, CheckSource, CheckUse, InstanceSettings, OnFail};
use vipward::agent::status::{Reason, StateName};

use crate::kit::moves::handover;
use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

/// While eth1 is down the host still works, and should not for long.
fn warned_pair() -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let uplink = CheckName::new("uplink");
    for priority in [200, 100] {
        let mut settings = web(priority);
        settings.checks = vec![CheckUse {
            name: uplink.clone(),
            weight: None,
        }];
        let host = lab.host(vec![settings]);
        lab.at_mut(host).settings.checks = vec![CheckSettings {
            name: uplink.clone(),
            source: CheckSource::Interface(interface("eth1")),
            interval: secs(1),
            timeout: secs(1),
            rise: 1,
            fall: 1,
            initial: None,
            on_fail: OnFail::Handover,
        }];
    }
    lab.connect(1);
    lab.start_all();
    lab.run(secs(20));
    let (a, b) = (HostId(0), HostId(1));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    lab.mark();
    (lab, a, b)
}

fn without_a_gap(lab: &mut Lab, span: std::time::Duration) {
    let end = lab.now() + span;
    while lab.next().is_some_and(|at| at <= end) {
        lab.step();
        let somebody = (0..lab.hosts.len()).any(|host| lab.holds(HostId(host), WEB).is_some());
        assert!(somebody, "nobody has the address after {:?}", lab.elapsed());
    }
    lab.jump(end);
}

#[test]
fn an_early_warning_moves_it_before_it_fails() {
    let (mut lab, a, b) = warned_pair();
    lab.link(a, "eth1", false);
    without_a_gap(&mut lab, ms(100));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    assert_eq!(lab.status(b).reason, Reason::HandedOver);
    // It does not preempt while it is warned, and does afterwards.
    without_a_gap(&mut lab, secs(60));
    assert_eq!(lab.state(b), ACTIVE);
    lab.link(a, "eth1", true);
    without_a_gap(&mut lab, secs(10));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
}

#[test]
fn where_nobody_is_better_off_it_stays() {
    let (mut lab, a, b) = warned_pair();
    lab.link(b, "eth1", false);
    lab.run(secs(1));
    lab.link(a, "eth1", false);
    without_a_gap(&mut lab, secs(60));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(lab.transitions(b).len(), 0, "no going to and fro");
    // As soon as one is, it goes there.
    lab.link(b, "eth1", true);
    without_a_gap(&mut lab, secs(11));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
}

/// It still takes over from one that is dead.
#[test]
fn a_warned_one_is_better_than_nobody() {
    let (mut lab, a, b) = warned_pair();
    lab.link(b, "eth1", false);
    lab.run(secs(1));
    lab.power_off(a);
    lab.run(secs(5));
    assert_eq!(lab.state(b), ACTIVE);
}

fn by_mac(priority: u8) -> InstanceSettings {
    InstanceSettings {
        virtual_mac: true,
        ..web(priority)
    }
}

/// Two hosts never have the same hardware address at once.
#[test]
fn with_a_virtual_mac_the_incumbent_lets_go_first() {
    let mut lab = Lab::new();
    let a = lab.host(vec![by_mac(200)]);
    let b = lab.host(vec![by_mac(100)]);
    lab.connect(1);
    lab.start_all();
    lab.run(secs(20));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    lab.mark();
    let ticket = lab.order_at(a, handover("web", None));
    lab.run(ms(100));
    assert!(matches!(lab.answer(a, ticket), Some((_, Ok(_)))));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    let released = lab.removed(a)[0].0;
    let taken = lab.added(b)[0].0;
    assert!(released < taken, "{released:?} and {taken:?}");
    let announced = lab.announced(b, WEB)[0];
    // Nothing was said by that address in between, and its interface is down.
    let links = [a, b].map(|host| lab.virtual_link(host, "vr4-51-eth0"));
    let up = links.map(|link| link.expect("made").up);
    assert_eq!(up, [false, true]);
    // Four steps of the simulated world, which takes 1 to 2 ms for each.
    assert!(announced - released <= ms(10), "{:?}", announced - released);
}

/// And takes everything back when the other one does not come.
#[test]
fn with_a_virtual_mac_it_comes_back_when_nobody_takes_over() {
    let mut lab = Lab::new();
    let a = lab.host(vec![by_mac(200)]);
    let b = lab.host(vec![by_mac(100)]);
    lab.connect(1);
    lab.start_all();
    lab.run(secs(20));
    lab.mark();
    let ticket = lab.order_at(a, handover("web", None));
    lab.run(ms(3));
    lab.power_off(b);
    lab.run(secs(1));
    assert!(matches!(lab.answer(a, ticket), Some((_, Err(_)))));
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.holds(a, WEB).is_some(), "held again");
}
