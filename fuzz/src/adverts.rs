//! Advertisements: taken apart, put together again, heard by an agent.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use vipward::agent::Agent;
use vipward::agent::action::Action;
use vipward::agent::event::{
    Event, Heard, InterfaceAddress, InterfaceState, Message, Timing, V2Authentication,
};
use vipward::agent::ladder::group;
use vipward::agent::settings::{
    AddressSettings, AnnounceSettings, InstanceSettings, Preempt, Settings,
};
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{
    AdvertInterval, ChecksumForm, Family, InstanceName, InterfaceName, MacAddress, Priority,
    Version, Vrid,
};
use vipward::wire::advertisement::{Outgoing, decode_ipv4, decode_ipv6, encode};

const IPV6_HEADER: usize = 40;
const TRAILER: usize = 28;

fn interface() -> InterfaceName {
    "eth0".parse().expect("a plain name")
}

/// From the IPv4 header on, as a raw socket delivers it.
pub fn advert_ipv4(data: &[u8]) {
    let heard = decode_ipv4(interface(), data);
    if heard.message.is_ok() {
        let header = usize::from(data[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([data[2], data[3]]));
        check_message(&heard, &data[header..total]);
    }
    hear(&heard);
}

/// From the IPv6 header on; a socket gives the payload and what of the header
/// is asked for.
pub fn advert_ipv6(data: &[u8]) {
    let Some((header, payload)) = data.split_at_checked(IPV6_HEADER) else {
        return;
    };
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen bytes");
        Ipv6Addr::from(octets)
    };
    let (source, destination) = (address(8), address(24));
    let heard = decode_ipv6(interface(), source, destination, header[7], payload);
    check_message(&heard, payload);
    hear(&heard);
}

fn check_message(heard: &Heard<'_>, payload: &[u8]) {
    let Ok(message) = &heard.message else {
        assert!(payload.len() < 8, "a header was there");
        return;
    };
    check_header(message, payload);
    let listed: Vec<IpAddr> = message.addresses.iter().collect();
    let exact = exact_length(message, heard.family);
    let fits = |length| payload.len() == length || payload.len() == length + TRAILER;
    assert_eq!(message.length_exact, exact.is_some_and(fits));
    if !message.length_exact {
        assert!(listed.is_empty() && message.checksum.is_none() && message.seal.is_none());
        return;
    }
    assert_eq!(listed.len(), usize::from(message.count));
    assert!(listed.iter().all(|a| Family::of(*a) == heard.family));
    let trailer = message.seal.map_or(0, |seal| seal.trailer.len());
    let (bytes, behind) = payload.split_at(payload.len() - trailer);
    assert_eq!(message.seal.map_or(&[][..], |seal| seal.trailer), behind);
    if let Some(outgoing) = outgoing(heard, message, &listed) {
        check_encoding(&outgoing, bytes, message, trailer > 0);
    }
}

/// What stands at fixed places.
fn check_header(message: &Message<'_>, payload: &[u8]) {
    assert_eq!(
        [message.version, message.kind],
        [payload[0] >> 4, payload[0] & 0xf]
    );
    let numbers = [message.vrid, message.priority, message.count];
    assert_eq!(numbers, payload[1..4]);
    match message.timing {
        Timing::V2 {
            interval_seconds,
            authentication,
        } => {
            assert_eq!([authentication.kind, interval_seconds], payload[4..6]);
            assert_eq!(message.version, 2);
        }
        Timing::V3 {
            interval_centiseconds,
        } => {
            let field = u16::from_be_bytes([payload[4], payload[5]]);
            assert_eq!(interval_centiseconds, field % 4096);
            assert_eq!(message.version, 3);
        }
        Timing::Unknown => assert!(!(2..=3).contains(&message.version)),
    }
}

/// Without a trailer; nothing for what has no form.
fn exact_length(message: &Message<'_>, family: Family) -> Option<usize> {
    let count = usize::from(message.count);
    match (message.version, family) {
        (2, Family::Ipv4) => Some(8 + 4 * count + 8),
        (3, Family::Ipv4) => Some(8 + 4 * count),
        (3, Family::Ipv6) => Some(8 + 16 * count),
        _ => None,
    }
}

/// The same, to be sent; nothing when it could not be.
fn outgoing<'a>(
    heard: &Heard<'_>,
    message: &Message<'_>,
    addresses: &'a [IpAddr],
) -> Option<Outgoing<'a>> {
    let (version, interval, v2_authentication) = match message.timing {
        Timing::V2 {
            interval_seconds,
            authentication,
        } => (
            Version::V2,
            AdvertInterval::from_seconds(interval_seconds),
            authentication,
        ),
        Timing::V3 {
            interval_centiseconds,
        } => (
            Version::V3,
            AdvertInterval::from_centiseconds(interval_centiseconds),
            V2Authentication::default(),
        ),
        Timing::Unknown => return None,
    };
    let sendable = message.kind == 1 && !addresses.is_empty();
    Some(Outgoing {
        version,
        vrid: Vrid::new(message.vrid)?,
        priority: message.priority,
        interval: interval?,
        checksum: message.checksum.filter(|_| sendable)?,
        v2_authentication,
        addresses,
        source: heard.source,
        destination: heard.destination,
        signature: None,
    })
}

/// A sound message, written by us, is the same but for what says nothing: the
/// reserved bits, and the checksum's other zero.
fn check_encoding(outgoing: &Outgoing<'_>, bytes: &[u8], message: &Message<'_>, trailer: bool) {
    let mut ours = Vec::new();
    encode(outgoing, &mut ours).expect("it was received");
    let mut theirs = bytes.to_vec();
    if outgoing.version == Version::V3 && theirs[4] & 0xf0 != 0 {
        theirs[4] &= 0x0f;
        theirs[6..8].copy_from_slice(&ours[6..8]);
    }
    // Over IPv6 it may cover the trailer.
    let covered = trailer && Family::of(outgoing.source) == Family::Ipv6;
    if covered || theirs[6..8] == [0xff, 0xff] {
        theirs[6..8].copy_from_slice(&ours[6..8]);
    }
    assert_eq!(ours, theirs, "{message:?}");
}

/// An agent with that virtual router hears it as Backup and as Active.
fn hear(heard: &Heard<'_>) {
    let Some((mut agent, start)) = listener(heard) else {
        return;
    };
    let mut packets = 0;
    let mut tell = |agent: &mut Agent, now| {
        packets += 1;
        let actions = agent.handle(now, Event::Advert(heard.clone()));
        assert_eq!(counted(agent), packets, "heard, or counted as one error");
        actions
    };
    let now = start + Duration::from_millis(1);
    for action in tell(&mut agent, now) {
        assert!(
            matches!(action, Action::Report(_)),
            "a Backup did {action:?}"
        );
    }
    let down_at = claims(&mut agent);
    let resigned = heard
        .message
        .as_ref()
        .is_ok_and(|message| message.priority == 0);
    assert!(
        down_at > now || resigned,
        "one advertisement ends no patience"
    );
    let (instance, _) = agent.instances().next().expect("one instance");
    let outcome = Ok(());
    agent.handle(down_at, Event::Advertised { instance, outcome });
    assert_eq!(state(&agent), StateName::Active);
    let now = down_at + Duration::from_millis(1);
    for _ in 0..6 {
        for action in tell(&mut agent, now) {
            let answers = matches!(action, Action::Advertise { priority: 100, .. });
            let report = matches!(action, Action::Report(_));
            assert!(answers || report, "an Active did {action:?}");
        }
    }
    // Its first one and four answers; one that resigns is always answered.
    let resigns = heard
        .message
        .as_ref()
        .is_ok_and(|message| message.priority == 0);
    let most = if resigns { 7 } else { 5 };
    let sent = agent
        .status()
        .instances
        .first()
        .map(|i| i.counters.adverts_sent);
    assert!(
        sent.is_some_and(|sent| sent <= most),
        "{sent:?} advertisements"
    );
}

/// When a Backup that hears no more claims; on the way it asks who else has
/// the address.
fn claims(agent: &mut Agent) -> Instant {
    for _ in 0..8 {
        let (at, _) = agent.deadline().expect("a Backup waits");
        let actions = agent.handle(at, Event::Wake);
        let claim = |action: &Action| matches!(action, Action::Advertise { .. });
        if actions.iter().any(claim) {
            return at;
        }
    }
    panic!("a Backup that hears nobody never claims");
}

/// Every packet so far, by whatever it was counted.
fn counted(agent: &Agent) -> u64 {
    let status = agent.status();
    let instance = &status.instances.first().expect("one instance").counters;
    let errors = instance.errors().chain(status.counters.errors());
    instance.adverts_received + errors.map(|(_, count)| count).sum::<u64>()
}

fn state(agent: &Agent) -> StateName {
    agent
        .status()
        .instances
        .first()
        .expect("one instance")
        .state
}

/// A Backup for whom this packet is meant, if it is for anyone.
fn listener(heard: &Heard<'_>) -> Option<(Agent, Instant)> {
    let message = heard.message.as_ref().ok()?;
    let family = heard.family;
    let version = match message.version {
        2 if family == Family::Ipv4 => Version::V2,
        _ => Version::V3,
    };
    let unicast = heard.destination != group(family);
    let own = match family {
        _ if unicast => heard.destination,
        Family::Ipv4 => IpAddr::from([192, 0, 2, 1]),
        Family::Ipv6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]),
    };
    let instance = InstanceSettings {
        on_all_fail: Default::default(),
        on_conflict: Default::default(),
        virtual_mac: false,
        witnesses: Vec::new(),
        name: InstanceName::new("web"),
        interface: interface(),
        vrid: Vrid::new(message.vrid).or(Vrid::new(51))?,
        priority: Priority::new(100)?,
        version,
        family,
        addresses: vec![virtual_address(family)?],
        routes: Vec::new(),
        rules: Vec::new(),
        advert_interval: AdvertInterval::from_seconds(1)?,
        down_after: 3,
        unicast_peers: if unicast {
            vec![heard.source]
        } else {
            Vec::new()
        },
        source: Some(own),
        preempt: Preempt::Immediately,
        settle: Duration::ZERO,
        checks: Vec::new(),
        hooks: Default::default(),
        announce: AnnounceSettings::default(),
        checksum: ChecksumForm::PseudoHeader,
        lease: None,
        ttl: if unicast { 1 } else { 255 },
        authentication: Default::default(),
    };
    let settings = Settings {
        cluster: None,
        node: "lb1".to_owned(),
        instances: vec![instance],
        checks: Vec::new(),
        groups: Vec::new(),
    };
    let start = Instant::from_nanos(1_000_000_000);
    let mut agent = Agent::new(settings, start);
    for event in reports(family, own) {
        agent.handle(start, event);
    }
    (state(&agent) == StateName::Backup).then_some((agent, start))
}

fn virtual_address(family: Family) -> Option<AddressSettings> {
    let network = match family {
        Family::Ipv4 => "192.0.2.10/24",
        Family::Ipv6 => "2001:db8::10/64",
    };
    Some(AddressSettings {
        network: network.parse().ok()?,
        interface: interface(),
        label: None,
        advertise: true,
        required: true,
        source_address: false,
    })
}

fn reports(family: Family, own: IpAddr) -> [Event<'static>; 2] {
    let own = InterfaceAddress {
        network: IpNet::from(own),
        secondary: false,
        tentative: false,
        ours: false,
    };
    let state = InterfaceState {
        gateways: Vec::new(),
        index: 2,
        up: true,
        hardware_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        forwards_ipv6: false,
        manager: None,
        addresses: vec![own],
    };
    [
        Event::Interface {
            interface: interface(),
            state: Some(state),
        },
        Event::Socket {
            interface: interface(),
            family,
            outcome: Ok(()),
        },
    ]
}
