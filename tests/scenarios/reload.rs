//! A new configuration: the difference is applied, the rest does not notice.

use vipward::agent::jobs::{CheckName, JobResult, Verdict};
use vipward::agent::settings::{
    CheckSettings, CheckSource, CheckUse, InstanceSettings, OnFail, Settings,
};
use vipward::agent::status::StateName;
use vipward::agent::values::{InstanceId, InstanceName, Vrid};

use crate::kit::host::Input;
use crate::kit::*;

const ACTIVE: StateName = StateName::Active;

fn two_of(value: u8) -> InstanceSettings {
    let mut two = web(value);
    two.addresses.push(address("192.0.2.101/24"));
    two
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
    lab.reload(a, vec![more]);
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

/// A dead agent's, from before its successor's configuration had it.
#[test]
fn an_added_address_that_stands_there_already_goes_from_a_backup() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(150)]);
    let mut more = web(100);
    more.addresses.push(address("192.0.2.101/24"));
    lab.at_mut(a).settings.instances = vec![more.clone()];
    lab.start(a);
    lab.run(secs(5));
    lab.kill(a);
    assert!(lab.holds(a, "192.0.2.101").is_some(), "left behind");
    lab.at_mut(a).settings.instances = vec![web(100)];
    lab.start(b);
    lab.start(a);
    lab.run(secs(5));
    assert_eq!(lab.holds(a, WEB), None);
    lab.reload(a, vec![more]);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, "192.0.2.101"), None);
}

#[test]
fn an_address_that_left_the_list_while_it_was_added_is_not_announced() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run(secs(5));
    lab.at_mut(a).kernel.refuse_remove = Some("Device or resource busy".to_owned());
    lab.reload(a, vec![two_of(100)]);
    lab.run(ms(1));
    lab.reload(a, vec![web(100)]);
    lab.run(secs(3));
    assert_eq!(lab.announced(a, "192.0.2.101").len(), 0);
}

/// An address that was being removed when it left the list is forgotten, so
/// that it can be another instance's.
#[test]
fn an_address_that_moves_while_its_removal_is_under_way_stays_where_it_went() {
    let mut lab = Lab::new();
    let a = lab.host(vec![two_of(100)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run(secs(5));
    lab.at_mut(a).kernel.remove_takes = ms(50);
    lab.forge(b, a, 200);
    let mut other = web(100);
    other.name = InstanceName::new("other");
    other.vrid = Vrid::new(52).expect("a VRID");
    other.addresses = vec![address("192.0.2.101/24")];
    lab.reload(a, vec![other, web(100)]);
    for _ in 0..10 {
        lab.run(secs(1));
        lab.forge(b, a, 200);
    }
    lab.mark();
    lab.run(secs(1));
    assert!(lab.holds(a, "192.0.2.101").is_some());
    assert_eq!(lab.removed(a), []);
}

#[test]
fn the_same_again_changes_nothing() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    lab.reload(a, vec![web(150)]);
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
    lab.reload(a, vec![web(90)]);
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
        cluster: None,
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

/// What is not known yet is no reason to give up what works.
#[test]
fn a_check_added_to_an_active_waits_for_its_result_in_office() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    let name = CheckName::new("service");
    lab.at_mut(a).settings.checks = vec![check(&name, secs(1))];
    let mut checked = web(150);
    checked.checks = vec![CheckUse { name, weight: None }];
    lab.reload(a, vec![checked]);
    lab.run(ms(500));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.removed(a).len(), 0);
    let (_, job) = lab.started(a).last().expect("it was ordered").clone();
    let result = JobResult {
        verdict: Verdict::Failed("exit code 1".to_owned()),
        duration: ms(1),
        output: String::new(),
    };
    lab.feed(
        a,
        Input::Done {
            job: job.id,
            result,
        },
    );
    assert_eq!(lab.state(a), StateName::Fault, "the first result decides");
}

fn check(name: &CheckName, interval: std::time::Duration) -> CheckSettings {
    CheckSettings {
        name: name.clone(),
        source: CheckSource::Elsewhere {
            question: "is it up?".to_owned(),
        },
        interval,
        timeout: secs(1),
        rise: 2,
        fall: 3,
        initial: None,
        on_fail: OnFail::Fault,
    }
}

/// Not after the old interval, which may be an hour, nor at once again.
#[test]
fn a_shorter_interval_of_a_check_counts_from_the_reload() {
    let mut lab = Lab::new();
    let name = CheckName::new("service");
    let mut settings = web(150);
    settings.checks = vec![CheckUse {
        name: name.clone(),
        weight: None,
    }];
    let a = lab.host(vec![settings.clone()]);
    lab.at_mut(a).settings.checks = vec![check(&name, secs(3600))];
    lab.mark();
    lab.start(a);
    lab.run(ms(10));
    let (_, job) = lab.started(a).last().expect("it was ordered").clone();
    let result = JobResult {
        verdict: Verdict::Passed,
        duration: ms(1),
        output: String::new(),
    };
    let input = Input::Done {
        job: job.id,
        result,
    };
    lab.feed(a, input);
    lab.run(secs(20));
    lab.mark();
    lab.at_mut(a).settings.checks = vec![check(&name, ms(200))];
    lab.reload(a, vec![settings]);
    lab.run(secs(1));
    let started: Vec<_> = lab.started(a).iter().map(|(at, _)| *at).collect();
    assert_eq!(started, [ms(200)], "then it waits for the answer");
}

#[test]
fn an_address_on_an_interface_not_reported_yet_is_waited_for_in_office() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    let mut more = web(150);
    more.addresses.push(address("198.51.100.9/24"));
    more.addresses[1].interface = interface("eth7");
    lab.reload(a, vec![more]);
    lab.run(ms(500));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.removed(a).len(), 0);
}

/// By its new skew, counted from the last advertisement heard.
#[test]
fn a_backup_waits_by_its_new_priority_once() {
    for (before, after) in [(100, 50), (50, 100)] {
        let mut lab = Lab::new();
        let a = lab.host(vec![web(200)]);
        let b = lab.host(vec![web(before)]);
        lab.start_all();
        lab.run(secs(10));
        lab.power_off(a);
        lab.mark();
        let (_, status) = (lab.run(ms(1)), lab.status(b));
        let heard = status.active_router.expect("a was heard").last_advert;
        lab.reload(b, vec![web(after)]);
        lab.run_until(b, ACTIVE, secs(10));
        assert_eq!(
            lab.now().since(heard),
            adi(after),
            "from {before} to {after}"
        );
    }
}

/// A shorter patience that has passed already is no lateness of this host.
#[test]
fn a_patience_that_is_over_by_the_reload_ends_now() {
    let mut lab = Lab::new();
    let mut patient = web(100);
    patient.down_after = 20;
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![patient]);
    lab.start(a);
    lab.run(secs(5));
    lab.start(b);
    lab.run(secs(5));
    lab.power_off(a);
    lab.run(secs(12));
    lab.mark();
    lab.reload(b, vec![web(100)]);
    assert_eq!(lab.run_until(b, ACTIVE, secs(1)), ms(0));
}

#[test]
fn a_reload_does_not_revive_an_agent_that_stops() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.stop(a);
    lab.mark();
    lab.run(ms(100));
    lab.reload(a, vec![web(120)]);
    // Long enough to claim again.
    lab.run(secs(10));
    assert_eq!(lab.removed(a).len(), 1);
    assert!(lab.sent(a).is_empty());
}

#[test]
fn a_removed_address_goes_at_once_and_the_other_stays() {
    let mut lab = Lab::new();
    let mut two = web(150);
    two.addresses.push(address("192.0.2.101/24"));
    let a = lab.host(vec![two]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    lab.reload(a, vec![web(150)]);
    let removed: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    assert_eq!(removed, ["remove 192.0.2.101/32"]);
    lab.run(secs(2));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.status(a).addresses.len(), 1);
    assert!(lab.status(a).addresses[0].held);
}

/// Refused at first: it is tried again, although it is no longer listed.
#[test]
fn a_removed_address_that_will_not_go_is_tried_again() {
    let mut lab = Lab::new();
    let mut two = web(150);
    two.addresses.push(address("192.0.2.101/24"));
    let a = lab.host(vec![two]);
    lab.start(a);
    lab.run(secs(10));
    lab.at_mut(a).kernel.refuse_remove = Some("Device or resource busy".to_owned());
    lab.reload(a, vec![web(150)]);
    lab.run(ms(500));
    lab.at_mut(a).kernel.refuse_remove = None;
    lab.mark();
    lab.run(secs(2));
    assert_eq!(lab.removed(a).len(), 1);
    assert!(
        lab.at(a)
            .kernel
            .holds("192.0.2.101".parse().expect("it"))
            .is_none()
    );
}

/// Given up by the one before it is claimed by the other.
#[test]
fn an_address_moves_from_one_instance_to_another() {
    let other = |addresses: &[&str]| {
        let mut other = web(120);
        other.name = InstanceName::new("other");
        other.vrid = Vrid::new(52).expect("a VRID");
        other.addresses = addresses.iter().map(|a| address(a)).collect();
        other
    };
    let mut two = web(150);
    two.addresses.push(address("192.0.2.101/24"));
    let mut lab = Lab::new();
    let a = lab.host(vec![other(&["192.0.2.120/24"]), two]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    let moved = other(&["192.0.2.120/24", "192.0.2.101/24"]);
    lab.reload(a, vec![moved, web(150)]);
    lab.run(secs(3));
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    let at = |word: &str| deeds.iter().position(|deed| deed == word);
    let (gone, back) = (at("remove 192.0.2.101/32"), at("add 192.0.2.101/32"));
    assert!(gone.is_some() && gone < back, "{deeds:?}");
    let moved = "192.0.2.101".parse().expect("an address");
    assert!(lab.at(a).kernel.holds(moved).is_some());
    assert_eq!(lab.transitions(a), []);
}
