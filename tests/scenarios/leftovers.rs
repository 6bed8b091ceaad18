//! Addresses of ours that stand on the host although nobody ordered them, and
//! answers that nobody waits for. Each of these was found by fuzzing.

use vipward::agent::event::Removed;
use vipward::agent::settings::Settings;
use vipward::agent::status::StateName;
use vipward::agent::values::{AddressIndex, InstanceId, Vrid};

use crate::kit::host::Input;
use crate::kit::*;

/// It may stand there all the same; the pause before the next addition is no
/// reason to keep it.
#[test]
fn what_could_not_be_added_and_yet_is_there_goes_at_once() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.at_mut(a).kernel.refuse_add = Some("no memory".to_owned());
    lab.mark();
    lab.start(a);
    lab.run_until(a, StateName::Fault, secs(5));
    let (_, order) = lab.added(a)[0].clone();
    let kernel = &mut lab.at_mut(a).kernel;
    kernel.refuse_add = None;
    kernel.add(&order).expect("it is there all the same");
    lab.mark();
    lab.report(a, interface("eth0"));
    lab.run(ms(10));
    assert_eq!(lab.removed(a).len(), 1);
    assert_eq!(lab.holds(a, WEB), None);
}

/// Under another VRID it is another instance. The old one resigns and answers
/// until it is relieved; the new one, a Backup, leaves the address to it.
#[test]
fn what_a_resigning_instance_still_holds_is_no_leftover() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.mark();
    let mut moved = web(150);
    moved.vrid = Vrid::new(52).expect("a VRID");
    // The kit's settings keep the old instance: it still has something to do.
    let settings = Settings {
        cluster: None,
        instances: vec![moved],
        ..lab.at(a).settings.clone()
    };
    lab.feed(a, Input::Reload(Box::new(settings)));
    lab.report(a, interface("eth0"));
    lab.run(ms(999));
    assert_eq!(lab.removed(a), [], "nobody has relieved it");
    assert!(lab.holds(a, WEB).is_some());
    lab.run(secs(9));
    let orders = lab.deeds(a).into_iter().map(|(_, deed)| deed);
    let orders = orders.filter(|deed| deed.starts_with("add") || deed.starts_with("remove"));
    let words: Vec<String> = orders.collect();
    // It went once and came once, when the new instance was elected.
    assert_eq!(words.len(), 2, "{words:?}");
    assert!(lab.holds(a, WEB).is_some());
}

#[test]
fn an_answer_to_another_order_leaves_this_one_under_way() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.mark();
    while lab.added(a).is_empty() {
        assert!(lab.step());
    }
    let stray = Input::Removed {
        instance: InstanceId(0),
        address: AddressIndex(0),
        outcome: Ok(Removed::Deleted),
    };
    lab.feed(a, stray);
    lab.run(ms(10));
    assert_eq!(lab.added(a).len(), 1);
    assert!(!lab.announced(a, WEB).is_empty());
}
