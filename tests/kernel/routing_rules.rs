//! Rules against the real kernel.

use vipward::agent::routing::{Effect, RoutingItem};

use super::routing::{add, remove, rule, stage};
use super::{Orders, Test, ip};

pub fn tests() -> Vec<Test> {
    vec![
        ("routing::rules_come_and_go", rules),
        ("routing::rules_of_others_stay", rules_of_others_stay),
    ]
}

fn rules() {
    stage();
    let before = (ip("rule show"), ip("-6 rule show"));
    let mut orders = Orders::start();
    let mut whole = rule("192.0.2.0/24", 100_000, 500);
    whole.to = Some("203.0.113.0/24".parse().unwrap());
    whole.iif = Some("eth0".parse().unwrap());
    whole.oif = Some("nowhere".parse().unwrap());
    whole.fwmark = Some(7);
    let mut marked = rule("192.0.2.10/32", 254, 30_000);
    marked.from = None;
    marked.fwmark = Some(u32::MAX);
    let all = [
        rule("192.0.2.10/32", 100, 30_000),
        whole,
        marked,
        rule("2001:db8::10/128", 100, 30_000),
    ]
    .map(RoutingItem::Rule);
    for item in &all {
        assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Done), "{item}");
        assert_eq!(
            add(&mut orders, item.clone()),
            Ok(Effect::Already),
            "{item}"
        );
    }
    let listed = ip("rule show");
    let line = "from 192.0.2.10 lookup 100 proto 118";
    assert!(listed.contains(line), "{listed}");
    let listed = ip("-6 rule show");
    assert!(
        listed.contains("from 2001:db8::10 lookup 100 proto 118"),
        "{listed}"
    );
    for item in all {
        assert_eq!(
            remove(&mut orders, item.clone()),
            Ok(Effect::Done),
            "{item}"
        );
        assert_eq!(
            remove(&mut orders, item.clone()),
            Ok(Effect::Already),
            "{item}"
        );
    }
    assert_eq!((ip("rule show"), ip("-6 rule show")), before);
}

fn rules_of_others_stay() {
    stage();
    ip("rule add from 192.0.2.10 lookup 100 priority 30000");
    ip("rule add from 192.0.2.10 iif eth0 lookup 100 priority 30000 proto static");
    let before = ip("rule show");
    let mut orders = Orders::start();
    let item = RoutingItem::Rule(rule("192.0.2.10/32", 100, 30_000));
    assert_eq!(remove(&mut orders, item.clone()), Ok(Effect::Already));
    // The kernel keeps ours beside one of the same words, and knows which.
    match add(&mut orders, item.clone()) {
        Ok(effect) => {
            assert_eq!(effect, Effect::Done);
            assert_eq!(remove(&mut orders, item), Ok(Effect::Done));
        }
        Err(error) => assert!(error.contains("another program's"), "{error}"),
    }
    assert_eq!(ip("rule show"), before);
}
