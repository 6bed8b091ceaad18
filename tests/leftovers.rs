//! Addresses of ours that stand on the host although nobody ordered them, and
//! answers that nobody waits for. Each of these was found by fuzzing.

use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::Agent;
use vipward::agent::action::Action;
use vipward::agent::event::{Added, Event, InterfaceAddress, InterfaceState};
use vipward::agent::settings::{
    AddressSettings, AnnounceSettings, InstanceSettings, Preempt, Settings,
};
use vipward::agent::time::Instant;
use vipward::agent::values::{
    AddressIndex, AdvertInterval, ChecksumForm, Family, InstanceId, InstanceName, InterfaceName,
    MacAddress, Priority, Version, Vrid,
};

const START: Instant = Instant::from_nanos(1_000_000_000);
const FIRST: &str = "192.0.2.10/24";
const SECOND: &str = "192.0.2.11/24";

fn interface() -> InterfaceName {
    "eth0".parse().unwrap()
}

fn settings(addresses: &[&str]) -> Settings {
    let address = |network: &&str| AddressSettings {
        network: network.parse().unwrap(),
        interface: interface(),
        label: None,
        advertise: true,
        required: true,
        source_address: false,
    };
    let instance = InstanceSettings {
        name: InstanceName::new("web"),
        interface: interface(),
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::new(150).unwrap(),
        version: Version::V3,
        family: Family::Ipv4,
        addresses: addresses.iter().map(address).collect(),
        advert_interval: AdvertInterval::from_centiseconds(100).unwrap(),
        down_after: 3,
        unicast_peers: Vec::new(),
        source: None,
        preempt: Preempt::Immediately,
        settle: Duration::ZERO,
        checks: Vec::new(),
        hooks: Default::default(),
        announce: AnnounceSettings::default(),
        checksum: ChecksumForm::PseudoHeader,
        ttl: 255,
    };
    Settings {
        node: "lb1".to_owned(),
        instances: vec![instance],
        checks: Vec::new(),
    }
}

/// With the host's own address and `marked`, which an agent of ours added.
fn report(marked: &[&str]) -> Event<'static> {
    let address = |network: &str, ours| InterfaceAddress {
        network: network.parse().unwrap(),
        secondary: false,
        tentative: false,
        ours,
    };
    let mut addresses = vec![address("192.0.2.1/24", false)];
    addresses.extend(marked.iter().map(|network| address(network, true)));
    let state = InterfaceState {
        index: 2,
        up: true,
        hardware_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        forwards_ipv6: false,
        addresses,
    };
    Event::Interface {
        interface: interface(),
        state: Some(state),
    }
}

/// Backup, on a host with the addresses of `marked`.
fn backup(listed: &[&str], marked: &[&str]) -> Agent {
    let mut agent = Agent::new(settings(listed), START);
    agent.handle(START, report(marked));
    let socket = Event::Socket {
        interface: interface(),
        family: Family::Ipv4,
        outcome: Ok(()),
    };
    agent.handle(START, socket);
    agent
}

/// Nobody else was heard; when that was, and what it did.
fn becomes_active(agent: &mut Agent) -> (Instant, Vec<Action>) {
    let (now, _) = agent.deadline().unwrap();
    let actions = agent.handle(now, Event::Wake);
    (now, actions)
}

fn added(outcome: Result<Added, String>) -> Event<'static> {
    Event::AddressAdded {
        instance: InstanceId(0),
        address: AddressIndex(0),
        outcome,
    }
}

fn ip(network: &str) -> IpAddr {
    network.parse::<ipnet::IpNet>().unwrap().addr()
}

fn removed(actions: &[Action]) -> Vec<IpAddr> {
    let order = |action: &Action| match action {
        Action::RemoveAddress(order) => Some(order.network.addr()),
        _ => None,
    };
    actions.iter().filter_map(order).collect()
}

/// What a dead agent left is removed when a reload names it, not only when
/// something on its interface changes.
#[test]
fn a_reload_that_lists_what_was_left_behind_removes_it() {
    let mut agent = backup(&[FIRST], &[SECOND]);
    let later = START + Duration::from_secs(1);
    let reload = Event::Reload(Box::new(settings(&[FIRST, SECOND])));
    assert_eq!(removed(&agent.handle(later, reload)), [ip(SECOND)]);
}

/// It may stand there all the same; the pause before the next addition is no
/// reason to keep it.
#[test]
fn what_could_not_be_added_and_yet_is_there_goes_at_once() {
    let mut agent = backup(&[FIRST], &[]);
    let (now, _) = becomes_active(&mut agent);
    agent.handle(now, added(Err("no memory".to_owned())));
    assert_eq!(removed(&agent.handle(now, report(&[FIRST]))), [ip(FIRST)]);
}

#[test]
fn an_answer_to_another_order_leaves_this_one_under_way() {
    let mut agent = backup(&[FIRST], &[]);
    let (now, actions) = becomes_active(&mut agent);
    let adds = |actions: &[Action]| {
        let add = |action: &&Action| matches!(action, Action::AddAddress(_));
        actions.iter().filter(add).count()
    };
    assert_eq!(adds(&actions), 1);
    let stray = Event::AddressRemoved {
        instance: InstanceId(0),
        address: AddressIndex(0),
        outcome: Ok(()),
    };
    assert_eq!(adds(&agent.handle(now, stray)), 0);
    let actions = agent.handle(now, added(Ok(Added::Fresh)));
    let announces = |action: &Action| matches!(action, Action::Announce { .. });
    assert!(actions.iter().any(announces), "{actions:?}");
}
