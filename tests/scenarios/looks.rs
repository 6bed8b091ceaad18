//! Looks at the segment that are overtaken by what happens meanwhile, and
//! what a peer link that works one way only, or late, must not lead to.

use rstest::rstest;
use vipward::agent::status::StateName;

use crate::kit::link::LinkWeather;
use crate::kit::*;
use vipward::agent::time::Instant;

const ACTIVE: StateName = StateName::Active;

/// A (priority 200) is Active; B (100) and perhaps C (50) are Backup. They
/// know each other, and a gateway answers to all.
fn settled(hosts: usize) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    for value in [200, 100, 50].into_iter().take(hosts) {
        lab.host(vec![web(value)]);
    }
    lab.connect(1);
    lab.gateway();
    lab.start_all();
    lab.run_until(HostId(0), ACTIVE, secs(5));
    lab.run(secs(10));
    lab.mark();
    (lab, HostId(0), HostId(1))
}

/// B found that a firewall eats A's advertisements; then A stops, and B is
/// Active itself: what it found is over.
#[test]
fn a_finding_ends_with_the_active_it_is_about() {
    let (mut lab, a, b) = settled(2);
    lab.wire.eats_adverts = true;
    lab.run(secs(10));
    assert_eq!(lab.obstacles(b), ["split-heartbeat-path"]);
    lab.stop(a);
    lab.run(secs(1));
    assert_eq!(lab.state(b), ACTIVE);
    assert_eq!(lab.obstacles(b), [""; 0]);
}

/// Two are Active and learn of each other; while the one that loses looks at
/// the segment, the other goes. It does not give way to one that is none.
#[rstest]
#[case::it_stops(false)]
#[case::its_interface_goes(true)]
fn nobody_gives_way_to_one_that_has_gone(#[case] by_link: bool) {
    let (mut lab, a, b) = settled(2);
    lab.cut_link();
    lab.wire.eats_adverts = true;
    lab.run(secs(10));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, ACTIVE));
    lab.heal_link();
    lab.mark();
    let end = lab.now() + secs(1);
    while lab.solicited(b, "192.0.2.1").is_empty() {
        assert!(lab.now() < end, "B asks about A");
        lab.step();
    }
    // What it tells of this comes before its host's answer.
    if by_link {
        lab.link(a, "eth0", false);
    } else {
        lab.stop(a);
    }
    lab.run(secs(5));
    assert_eq!(lab.transitions(b), []);
}

/// Messages pass from A to B only: what A says cannot be shown to be fresh,
/// however often it says something new.
#[test]
fn a_link_of_one_way_holds_nobody_back() {
    let (mut lab, a, b) = settled(2);
    lab.cut_path_from(b, a, 0);
    lab.part(a, b);
    lab.run(secs(10));
    assert_eq!(lab.state(b), ACTIVE);
    lab.mark();
    for turn in 0..10 {
        lab.link(a, "eth1", turn % 2 == 1);
        lab.run(secs(3));
    }
    assert_eq!(
        lab.transitions(b),
        [],
        "no giving way and claiming by turns"
    );
}

struct Slow;

impl LinkWeather for Slow {
    fn fate(
        &mut self,
        _: HostId,
        _: HostId,
        _: u8,
        _: Instant,
    ) -> [Option<std::time::Duration>; 2] {
        [Some(secs(3)), None]
    }
}

/// Every message takes 3 s: nothing that it says is true any more.
#[test]
fn what_is_held_up_does_not_hold_anybody_back() {
    let (mut lab, a, b) = settled(2);
    lab.link.weather = Some(Box::new(Slow));
    lab.run(secs(20));
    lab.mark();
    lab.power_off(a);
    let after = lab.run_until(b, ACTIVE, secs(8));
    assert!(after <= adi(100) + ms(2), "{after:?}");
}

/// B is woken late while it looks: it waits for what comes, and does not spin.
/// (The laboratory ends a story in which an agent does.)
#[test]
fn a_look_that_is_woken_late_does_not_spin() {
    let (mut lab, a, b) = settled(2);
    lab.at_mut(b).clock.late_max = ms(90);
    lab.part(a, b);
    lab.run(secs(60));
    assert_eq!(lab.transitions(b), []);
}

/// B found out about A's advertisements, and then its own link went down: what
/// it found is told no more, and A does not go on showing it.
#[test]
fn a_finding_ends_with_the_part_that_one_takes() {
    let (mut lab, a, b) = settled(2);
    lab.wire.eats_adverts = true;
    lab.run(secs(10));
    assert_eq!(lab.obstacles(a), ["split-heartbeat-path"]);
    lab.wire.eats_adverts = false;
    lab.link(b, "eth0", false);
    lab.run(secs(3));
    assert_eq!(lab.obstacles(b), ["link-down"]);
    assert_eq!(lab.obstacles(a), [""; 0]);
}
