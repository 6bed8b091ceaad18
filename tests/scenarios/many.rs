//! Many instances in one agent: each goes its own way.

use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;
use vipward::agent::values::{InstanceId, InstanceName, Vrid};

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

fn numbered(number: u8, value: u8) -> InstanceSettings {
    let mut settings = web(value);
    settings.name = InstanceName::new(&format!("web{number:03}"));
    settings.vrid = Vrid::new(number).expect("a VRID");
    settings.addresses = vec![address(&format!("192.0.2.{number}/24"))];
    settings
}

fn states(lab: &Lab, host: HostId, count: u32) -> Vec<StateName> {
    let all = (0..count).map(InstanceId);
    all.map(|id| lab.status_of(host, id).state).collect()
}

#[test]
fn each_claims_at_its_own_time_in_the_order_of_deadlines() {
    let mut lab = Lab::new();
    let values = [50, 250, 100, 200];
    let instances = (101..).zip(values).map(|(n, value)| numbered(n, value));
    let a = lab.host(instances.collect());
    lab.start(a);
    lab.run(ms(3_999));
    for (id, value) in (0..).map(InstanceId).zip(values) {
        let sent = lab.sent_by(a, id);
        assert_eq!(sent.first(), Some(&(adi(value), value)));
    }
    lab.run(secs(10));
    for (id, value) in (0..).map(InstanceId).zip(values) {
        let times: Vec<_> = lab.sent_by(a, id).iter().map(|(at, _)| *at).collect();
        let expected: Vec<_> = (0..11)
            .map(|n| adi(value) + secs(n))
            .filter(|at| *at <= ms(13_999))
            .collect();
        assert_eq!(times, expected);
    }
}

#[test]
fn what_one_hears_does_not_touch_the_others() {
    let mut lab = Lab::new();
    let a = lab.host((101..=104).map(|n| numbered(n, 100)).collect());
    let b = lab.host(vec![numbered(102, 200)]);
    lab.start(a);
    lab.run(secs(10));
    assert_eq!(states(&lab, a, 4), [ACTIVE; 4]);
    lab.mark();
    lab.forge(b, a, 200);
    assert_eq!(states(&lab, a, 4), [ACTIVE, BACKUP, ACTIVE, ACTIVE]);
    lab.run(ms(900));
    for id in [0, 2, 3].map(InstanceId) {
        assert_eq!(lab.sent_by(a, id).len(), 1);
    }
    assert_eq!(lab.removed(a).len(), 1);
    assert_eq!(lab.removed(a)[0].1.instance, InstanceId(1));
}

#[test]
fn the_same_vrid_on_another_interface_or_family_is_another_router() {
    let mut lab = Lab::new();
    let mut one = web(100);
    one.name = InstanceName::new("one");
    let mut six = web_by(Way::V6, 100);
    six.name = InstanceName::new("six");
    let mut two = web(100);
    two.name = InstanceName::new("two");
    two.interface = interface("eth1");
    two.addresses = vec![address("198.51.100.100/24")];
    two.addresses[0].interface = interface("eth1");
    let a = lab.host(vec![one.clone(), six, two]);
    let b = lab.host(vec![one]);
    lab.start(a);
    lab.run(secs(10));
    lab.forge(b, a, 200);
    assert_eq!(states(&lab, a, 3), [BACKUP, ACTIVE, ACTIVE]);
    lab.link(a, "eth1", false);
    lab.run(ms(1));
    assert_eq!(states(&lab, a, 3), [BACKUP, ACTIVE, StateName::Fault]);
}

#[test]
fn two_hosts_share_the_load_and_each_takes_the_others_part() {
    let mut lab = Lab::new();
    let count = 20;
    let of = |mine: u8| move |n: u8| numbered(n, if n % 2 == mine { 150 } else { 100 });
    let a = lab.host((101..101 + count).map(of(0)).collect());
    let b = lab.host((101..101 + count).map(of(1)).collect());
    lab.start_all();
    lab.run(secs(20));
    let half: Vec<_> = (0..10).flat_map(|_| [BACKUP, ACTIVE]).collect();
    assert_eq!(states(&lab, a, 20), half);
    lab.power_off(b);
    lab.run(adi(100));
    assert_eq!(states(&lab, a, 20), [ACTIVE; 20]);
    lab.start(b);
    lab.run(secs(10));
    assert_eq!(states(&lab, a, 20), half);
}

#[test]
fn a_stop_resigns_all_and_ends_when_the_last_is_gone() {
    let mut lab = Lab::new();
    let mut slow = numbered(103, 100);
    slow.advert_interval = centiseconds(1_000);
    let a = lab.host(vec![numbered(101, 100), numbered(102, 100), slow]);
    lab.start(a);
    lab.run(secs(60));
    lab.mark();
    lab.stop(a);
    for id in (0..3).map(InstanceId) {
        assert_eq!(lab.sent_by(a, id), [(secs(0), 0)]);
    }
    lab.run(secs(2) - us(1));
    assert!(!lab.is_finished(a));
    lab.run(ms(3));
    assert!(lab.is_finished(a));
    for n in 101..=103 {
        assert_eq!(lab.holds(a, &format!("192.0.2.{n}")), None);
    }
}

/// 255 routers on one interface, all due at the same moment.
#[test]
fn a_full_house_starts_and_moves() {
    let mut lab = Lab::new();
    let all = |value| {
        (1..=255).map(move |n| {
            let mut settings = numbered(n, value);
            settings.addresses = vec![address(&format!("10.9.0.{n}/32"))];
            settings.announce.repeat = 1;
            settings.announce.delay = secs(0);
            settings
        })
    };
    let a = lab.host(all(150).collect());
    let b = lab.host(all(100).collect());
    lab.start(a);
    lab.start(b);
    lab.run(ms(4_500));
    assert!(states(&lab, a, 255).iter().all(|state| *state == ACTIVE));
    assert_eq!(lab.announcements(b).len(), 0);
    lab.mark();
    lab.stop(a);
    lab.run(ms(700));
    assert!(states(&lab, b, 255).iter().all(|state| *state == ACTIVE));
    assert!(lab.is_finished(a));
    for n in 1..=255 {
        let address = format!("10.9.0.{n}");
        assert_eq!(lab.holds(b, &address), Some(interface("eth0")));
        assert_eq!(lab.holds(a, &address), None);
    }
}
