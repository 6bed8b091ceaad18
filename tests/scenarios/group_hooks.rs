//! Hooks that are awaited, in a group: all wait for the hook of one.

use vipward::agent::jobs::{HookKind, Task, Verdict};
use vipward::agent::settings::InstanceSettings;
use vipward::agent::values::{InstanceId, InstanceName};

use crate::awaited_hooks::*;
use crate::groups::with_check;
use crate::kit::groups::group;
use crate::kit::*;

fn in_group(value: u8, inside: &[HookKind]) -> Vec<InstanceSettings> {
    let mut one = hooked(value, inside);
    one.name = InstanceName::new("inside");
    one.interface = interface("eth1");
    one.addresses = vec![address("198.51.100.100/24")];
    one.addresses[0].interface = interface("eth1");
    vec![one, web(value)]
}

fn grouped(lab: &mut Lab, value: u8, inside: &[HookKind]) -> HostId {
    let host = lab.host(in_group(value, inside));
    lab.at_mut(host).settings.groups = vec![group("gateway", &["inside", "web"])];
    host
}

#[test]
fn in_a_group_all_addresses_wait_for_the_hook_of_one() {
    let mut lab = Lab::new();
    let a = grouped(&mut lab, 150, PROMOTE);
    lab.start(a);
    lab.run(secs(6));
    assert_eq!(lab.status_of(a, InstanceId(1)).state, ACTIVE);
    assert_eq!(lab.holds(a, WEB), None);
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    assert!(lab.holds(a, WEB).is_some() && lab.holds(a, "198.51.100.100").is_some());
}

#[test]
fn in_a_group_its_failure_is_a_fault_of_all() {
    let mut lab = Lab::new();
    let a = grouped(&mut lab, 150, PROMOTE);
    lab.start(a);
    lab.run(secs(6));
    lab.mark();
    answer(&mut lab, a, failed());
    for instance in [InstanceId(0), InstanceId(1)] {
        assert_eq!(lab.status_of(a, instance).state, FAULT);
        assert_eq!(lab.sent_by(a, instance), [(ms(0), 0)]);
    }
}

#[test]
fn a_group_preempts_when_the_hook_of_one_has_succeeded() {
    let mut lab = Lab::new();
    let a = grouped(&mut lab, 100, &[]);
    let b = grouped(&mut lab, 150, PROMOTE);
    lab.start(a);
    lab.run(secs(10));
    lab.start(b);
    lab.run(secs(8));
    assert_eq!(lab.status_of(b, InstanceId(1)).state, BACKUP);
    lab.mark();
    answer(&mut lab, b, failed());
    lab.run(ms(500));
    assert_eq!(lab.status_of(a, InstanceId(1)).state, ACTIVE);
    lab.run(secs(1));
    lab.mark();
    answer(&mut lab, b, Verdict::Passed);
    for instance in [InstanceId(0), InstanceId(1)] {
        assert_eq!(lab.sent_by(b, instance), [(ms(0), 150)]);
    }
    lab.run(ms(20));
    assert!(lab.holds(b, WEB).is_some());
}

#[test]
fn a_group_resigns_when_the_hook_of_one_has_ended() {
    let mut lab = Lab::new();
    let a = grouped(&mut lab, 150, DEMOTE);
    let b = grouped(&mut lab, 100, &[]);
    lab.start_all();
    lab.run(secs(10));
    lab.mark();
    lab.stop(a);
    lab.run(secs(5));
    assert!(lab.sent_by(a, InstanceId(1)).iter().all(|(_, p)| *p == 150));
    lab.mark();
    answer(&mut lab, a, Verdict::Passed);
    for instance in [InstanceId(0), InstanceId(1)] {
        assert_eq!(lab.sent_by(a, instance), [(ms(0), 0)]);
    }
    lab.run(secs(1));
    assert!(lab.holds(b, WEB).is_some() && lab.holds(b, "198.51.100.100").is_some());
}

/// Only one of an owner's members has heard the incumbent: the other began
/// anew when its check was answered.
#[test]
fn a_group_of_an_owner_that_starts_leaves_the_incumbent_until_the_hook() {
    let mut lab = Lab::new();
    let a = grouped(&mut lab, 100, &[]);
    lab.start(a);
    lab.run(secs(10));
    let b = grouped(&mut lab, 255, PROMOTE);
    with_check(&mut lab, b, None);
    lab.at_mut(b).settings.checks[0].initial = None;
    lab.start(b);
    lab.run(ms(1500));
    lab.mark();
    answer(&mut lab, b, Verdict::Passed);
    for instance in [InstanceId(0), InstanceId(1)] {
        assert_eq!(lab.status_of(b, instance).state, BACKUP);
        assert_eq!(lab.status_of(a, instance).state, ACTIVE);
        assert_eq!(lab.sent_by(b, instance), []);
    }
    let last = lab.at(b).started.last().map(|job| job.task.clone());
    assert!(matches!(last, Some(Task::Hook(_))), "{last:?}");
    answer(&mut lab, b, Verdict::Passed);
    lab.run(ms(20));
    for instance in [InstanceId(0), InstanceId(1)] {
        assert_eq!(lab.status_of(b, instance).state, ACTIVE);
    }
}
