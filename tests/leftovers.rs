//! Addresses of ours that stand on the host although nobody ordered them, and
//! answers that nobody waits for. Each of these was found by fuzzing.

use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::Agent;
use vipward::agent::action::Action;
use vipward::agent::event::{
    Added, AddressBytes, Event, Heard, InterfaceAddress, InterfaceState, Message, Timing,
};
use vipward::agent::ladder::GROUP_IPV4;
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
    answer(0, outcome)
}

fn answer(index: u16, outcome: Result<Added, String>) -> Event<'static> {
    Event::AddressAdded {
        instance: InstanceId(0),
        address: AddressIndex(index),
        outcome,
    }
}

/// An advertisement that wins.
fn higher_priority(addresses: &[u8]) -> Event<'_> {
    let timing = Timing::V3 {
        interval_centiseconds: 100,
    };
    Event::Advert(Heard {
        interface: interface(),
        family: Family::Ipv4,
        source: [192, 0, 2, 2].into(),
        destination: GROUP_IPV4.into(),
        hop_limit: 255,
        message: Ok(Message {
            version: 3,
            kind: 1,
            vrid: 51,
            priority: 200,
            count: 1,
            length_exact: true,
            checksum: Some(ChecksumForm::PseudoHeader),
            timing,
            addresses: AddressBytes::new(Family::Ipv4, addresses),
            trailer: None,
        }),
    })
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

/// A reload took an address away; the host lost the election before it was
/// gone. It may belong to another instance now, and is left alone.
#[test]
fn what_departed_in_another_state_is_not_taken_for_ours_again() {
    let mut agent = backup(&[FIRST, SECOND], &[]);
    let (now, _) = becomes_active(&mut agent);
    for index in 0..2 {
        agent.handle(now, answer(index, Ok(Added::Fresh)));
    }
    agent.handle(now, report(&[FIRST, SECOND]));
    let reload = Event::Reload(Box::new(settings(&[FIRST])));
    assert_eq!(removed(&agent.handle(now, reload)), [ip(SECOND)]);
    let actions = agent.handle(now, higher_priority(&[192, 0, 2, 10]));
    assert_eq!(removed(&actions), [ip(FIRST)]);
    for index in 0..2 {
        let gone = Event::AddressRemoved {
            instance: InstanceId(0),
            address: AddressIndex(index),
            outcome: Ok(()),
        };
        agent.handle(now, gone);
    }
    agent.handle(now, report(&[]));
    assert!(removed(&agent.handle(now, report(&[SECOND]))).is_empty());
}

/// A reload took it away before the kernel had it, and now it will not go.
#[test]
fn what_is_no_longer_configured_is_not_announced() {
    let mut agent = backup(&[FIRST, SECOND], &[]);
    let (now, _) = becomes_active(&mut agent);
    agent.handle(now, answer(0, Ok(Added::Fresh)));
    agent.handle(now, Event::Reload(Box::new(settings(&[FIRST]))));
    let actions = agent.handle(now, answer(1, Ok(Added::Fresh)));
    assert_eq!(removed(&actions), [ip(SECOND)]);
    let stuck = Event::AddressRemoved {
        instance: InstanceId(0),
        address: AddressIndex(1),
        outcome: Err("busy".to_owned()),
    };
    agent.handle(now, stuck);
    let actions = agent.handle(now + Duration::from_millis(20), Event::Wake);
    let announced = actions.iter().filter_map(|action| match action {
        Action::Announce { address, .. } => Some(*address),
        _ => None,
    });
    assert_eq!(announced.collect::<Vec<_>>(), [ip(FIRST)]);
}

/// Under another VRID it is another instance. The old one resigns and answers
/// until it is relieved; the new one, a Backup, leaves the address to it.
#[test]
fn what_a_resigning_instance_still_holds_is_no_leftover() {
    let mut agent = backup(&[FIRST], &[]);
    let (now, _) = becomes_active(&mut agent);
    agent.handle(now, added(Ok(Added::Fresh)));
    agent.handle(now, report(&[FIRST]));
    let mut moved = settings(&[FIRST]);
    moved.instances[0].vrid = Vrid::new(52).unwrap();
    let reload = Event::Reload(Box::new(moved));
    assert!(removed(&agent.handle(now, reload)).is_empty());
    assert!(removed(&agent.handle(now, report(&[FIRST]))).is_empty());
    // Nobody relieves it within its interval.
    let later = now + Duration::from_secs(1);
    assert_eq!(removed(&agent.handle(later, Event::Wake)), [ip(FIRST)]);
    let gone = Event::AddressRemoved {
        instance: InstanceId(0),
        address: AddressIndex(0),
        outcome: Ok(()),
    };
    // What stands there now is nobody's, and goes once.
    let mut actions = agent.handle(later, gone);
    actions.extend(agent.handle(later, report(&[FIRST])));
    assert_eq!(removed(&actions), [ip(FIRST)]);
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
