//! A new configuration: the difference is applied, the rest does not notice.

use vipward::agent::settings::{InstanceSettings, Settings};
use vipward::agent::status::StateName;
use vipward::agent::values::{InstanceId, InstanceName, Vrid};

use crate::kit::host::Input;
use crate::kit::*;

const ACTIVE: StateName = StateName::Active;

fn reload(lab: &mut Lab, host: HostId, instances: Vec<InstanceSettings>) {
    let settings = Settings {
        instances,
        ..lab.at(host).settings.clone()
    };
    lab.at_mut(host).settings = settings.clone();
    lab.feed(host, Input::Reload(Box::new(settings)));
}

#[test]
fn an_added_address_appears_and_nothing_else_moves() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run(secs(10));
    lab.mark();
    let mut more = web(150);
    more.addresses.push(address("192.0.2.101/24"));
    reload(&mut lab, a, vec![more]);
    lab.run(secs(5));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.transitions(b), []);
    assert_eq!(lab.removed(a).len(), 0);
    assert!(!lab.announced(a, "192.0.2.101").is_empty());
    let times: Vec<_> = lab.sent(a).iter().map(|(at, _)| *at).collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    assert!(first <= secs(1), "no advertisement is missed");
    assert_eq!(last - first, secs(4));
}

#[test]
fn the_same_again_changes_nothing() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    reload(&mut lab, a, vec![web(150)]);
    assert_eq!(lab.deeds(a), []);
    assert_eq!(lab.facts(a), []);
}

#[test]
fn a_new_priority_is_in_the_next_advertisement() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    reload(&mut lab, a, vec![web(90)]);
    lab.run(secs(1));
    assert_eq!(lab.sent(a).len(), 1);
    assert_eq!(lab.sent(a)[0].1, 90);
    assert_eq!(lab.state(a), ACTIVE);
}

#[test]
fn a_removed_instance_resigns_and_answers_until_it_is_relieved() {
    let mut lab = Lab::new();
    let mut other = web(120);
    other.name = InstanceName::new("other");
    other.vrid = Vrid::new(52).expect("a VRID");
    other.addresses = vec![address("192.0.2.120/24")];
    let a = lab.host(vec![other.clone(), web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    // The kit's settings keep the old instance: it still has something to do.
    let settings = Settings {
        instances: vec![web(150)],
        ..lab.at(a).settings.clone()
    };
    lab.feed(a, Input::Reload(Box::new(settings)));
    assert_eq!(lab.sent_by(a, InstanceId(0)), [(ms(0), 0)]);
    assert_eq!(lab.removed(a).len(), 0);
    lab.run(ms(1_100));
    assert_eq!(lab.removed(a).len(), 1);
    let all = lab.at(a).agent.as_ref().expect("it runs").status();
    let names: Vec<_> = all.instances.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["web"]);
    assert_eq!(all.instances[0].state, ACTIVE);
}
