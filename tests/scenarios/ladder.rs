//! The receive ladder (PROTOCOL section 3): each rung with its counter, the
//! order of the rungs, and how seldom they are spoken of.

use rstest::rstest;
use vipward::agent::event::{Malformed, Timing, V2Authentication};
use vipward::agent::report::Fact;
use vipward::agent::status::{Counter, StateName};
use vipward::agent::values::ChecksumForm;

use crate::kit::*;

/// One fault for each rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    IpHeader,
    Protocol,
    OwnSource,
    Destination,
    Ttl,
    Short,
    UnknownVersion,
    Kind,
    Vrid,
    OtherVersion,
    NoAddress,
    Length,
    Checksum,
    Authentication,
    ZeroInterval,
    OtherInterval,
}

/// In the order of the rungs.
const ALL: [(Fault, Counter); 16] = [
    (Fault::IpHeader, Counter::IpHeaderError),
    (Fault::Protocol, Counter::ProtocolError),
    (Fault::OwnSource, Counter::Loop),
    (Fault::Destination, Counter::UnexpectedSource),
    (Fault::Ttl, Counter::IpTtlError),
    (Fault::Short, Counter::PacketLengthError),
    (Fault::UnknownVersion, Counter::VersionError),
    (Fault::Kind, Counter::InvalidType),
    (Fault::Vrid, Counter::VridError),
    (Fault::OtherVersion, Counter::VersionError),
    (Fault::NoAddress, Counter::PacketLengthError),
    (Fault::Length, Counter::PacketLengthError),
    (Fault::Checksum, Counter::ChecksumError),
    (Fault::Authentication, Counter::AuthenticationError),
    (Fault::ZeroInterval, Counter::IntervalError),
    (Fault::OtherInterval, Counter::IntervalError),
];

fn spoil(packet: &mut Packet, fault: Fault) {
    match fault {
        Fault::IpHeader => packet.malformed = Some(Malformed::IpHeader),
        Fault::Protocol => packet.malformed = Some(Malformed::Protocol),
        Fault::OwnSource => packet.source = ip("192.0.2.1"),
        Fault::Destination => packet.destination = ip("192.0.2.77"),
        Fault::Ttl => packet.hop_limit = 254,
        Fault::Short => packet.malformed = Some(Malformed::Length),
        Fault::UnknownVersion => packet.version = 4,
        Fault::Kind => packet.kind = 2,
        Fault::Vrid => packet.vrid = 99,
        Fault::OtherVersion => packet.version = 5 - packet.version,
        Fault::NoAddress => packet.count = 0,
        Fault::Length => packet.length_exact = false,
        Fault::Checksum => packet.checksum = None,
        Fault::Authentication => {
            if let Timing::V2 { authentication, .. } = &mut packet.timing {
                *authentication = V2Authentication {
                    kind: 1,
                    data: *b"password",
                };
            }
        }
        Fault::ZeroInterval => packet.timing = v3_timing(0),
        Fault::OtherInterval => {
            if let Timing::V2 {
                interval_seconds, ..
            } = &mut packet.timing
            {
                *interval_seconds = 2;
            }
        }
    }
}

fn occurs_in(fault: Fault, way: Way) -> bool {
    match fault {
        Fault::Authentication | Fault::OtherInterval => way == Way::V2,
        Fault::ZeroInterval => way != Way::V2,
        _ => true,
    }
}

/// No instance can be named when the VRID is unknown or unread.
fn is_nobodys(faults: &[Fault]) -> bool {
    let unread = [Fault::IpHeader, Fault::Protocol, Fault::Short, Fault::Vrid];
    faults.iter().any(|fault| unread.contains(fault))
}

/// The counters of the instance, and those of nobody, that are not zero.
fn errors(lab: &Lab, host: HostId) -> (Risen, Risen) {
    let risen = |(_, count): &(Counter, u64)| *count > 0;
    let agent = lab.hosts[host.0].agent.as_ref().expect("it runs");
    let status = agent.status();
    let instance = &status.instances[0];
    (
        instance.counters.errors().filter(risen).collect(),
        status.counters.errors().filter(risen).collect(),
    )
}

type Risen = Vec<(Counter, u64)>;

fn pair(way: Way) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 100)]);
    let b = lab.host(vec![web_by(way, 200)]);
    lab.start(a);
    (lab, a, b)
}

/// A packet with these faults raises just one counter and changes nothing.
fn counts(way: Way, faults: &[Fault], counter: Counter) {
    let (mut lab, a, b) = pair(way);
    let mut packet = lab.forged(b, a, 200);
    for fault in faults {
        spoil(&mut packet, *fault);
    }
    lab.run(secs(3));
    lab.mark();
    lab.inject(a, &packet);
    let expected = vec![(counter, 1)];
    let none = Vec::new();
    let nobodys = is_nobodys(faults);
    let expected = if nobodys {
        (none, expected)
    } else {
        (expected, none)
    };
    assert_eq!(errors(&lab, a), expected, "{faults:?}");
    assert_eq!(lab.status(a).counters.adverts_received, 0);
    assert_eq!(lab.status(a).active_router, None);
    let facts = lab.facts(a);
    let [(_, Fact::Discarded { counter: told, .. })] = facts.as_slice() else {
        panic!("one line about it: {facts:?}");
    };
    assert_eq!(*told, counter);
    let took = lab.run_until(a, StateName::Active, secs(5));
    assert_eq!(took, skew(100), "the timer was not touched");
}

#[rstest]
fn every_rung_has_its_counter(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    for (fault, counter) in ALL {
        let version_4 = matches!(way, Way::V6 | Way::V6Unicast) && fault == Fault::OwnSource;
        if occurs_in(fault, way) && !version_4 {
            counts(way, &[fault], counter);
        }
    }
}

/// Whatever two faults coincide, the lower rung decides.
#[rstest]
fn the_lower_rung_decides(#[values(Way::V2, Way::V3, Way::V3Unicast)] way: Way) {
    for (position, (lower, counter)) in ALL.into_iter().enumerate() {
        for (upper, _) in ALL.into_iter().skip(position + 1) {
            if !occurs_in(lower, way) || !occurs_in(upper, way) {
                continue;
            }
            // Where an instance expects its packets cannot be said of a
            // VRID that none has.
            let unknowable =
                lower == Fault::Destination && matches!(upper, Fault::Short | Fault::Vrid);
            // Two readings of one field.
            let same_field = matches!(
                (lower, upper),
                (Fault::UnknownVersion, Fault::OtherVersion)
                    | (Fault::IpHeader, Fault::Protocol | Fault::Short)
                    | (Fault::Protocol, Fault::Short)
            );
            if !unknowable && !same_field {
                counts(way, &[upper, lower], counter);
            }
        }
    }
}

#[test]
fn in_version_3_over_ipv6_our_own_source_is_a_loop() {
    let (mut lab, a, b) = pair(Way::V6);
    let mut packet = lab.forged(b, a, 200);
    packet.source = own_link_local(1);
    lab.inject(a, &packet);
    assert_eq!(lab.counted(a, Counter::Loop), 1);
    assert_eq!(lab.status(a).active_router, None);
}

#[test]
fn a_duplicate_of_our_address_is_counted_and_never_answered() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run_until(a, StateName::Active, secs(5));
    lab.run(ms(500));
    lab.mark();
    let packet = lab.forged(a, a, 100);
    for _ in 0..50 {
        lab.inject(a, &packet);
    }
    assert_eq!(lab.deeds(a), []);
    assert_eq!(lab.counted(a, Counter::Loop), 50);
    assert_eq!(lab.facts(a).len(), 1);
}

#[rstest]
#[case::instance(51, Counter::ChecksumError)]
#[case::nobody(99, Counter::VridError)]
fn a_flood_makes_one_line_a_minute(#[case] vrid: u8, #[case] counter: Counter) {
    let (mut lab, a, b) = pair(Way::V3);
    lab.run(secs(10));
    lab.mark();
    let mut packet = lab.forged(b, a, 200);
    packet.vrid = vrid;
    packet.checksum = None;
    for _ in 0..1_801 {
        lab.inject(a, &packet);
        lab.run(ms(100));
    }
    let lines: Vec<_> = lab
        .facts(a)
        .into_iter()
        .map(|(at, fact)| match fact {
            Fact::Discarded { repeated, .. } => (at, repeated),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (secs(0), 0),
        (secs(60), 599),
        (secs(120), 599),
        (secs(180), 599),
    ];
    assert_eq!(lines, expected);
    let total = lab.counted(a, counter) + lab.counted_by_nobody(a, counter);
    assert_eq!(total, 1_801);
}

#[test]
fn one_kind_of_fault_does_not_silence_another() {
    let (mut lab, a, b) = pair(Way::V3);
    lab.mark();
    for fault in [Fault::Checksum, Fault::Ttl, Fault::Vrid, Fault::Checksum] {
        let mut packet = lab.forged(b, a, 200);
        spoil(&mut packet, fault);
        lab.inject(a, &packet);
    }
    assert_eq!(lab.facts(a).len(), 3);
}

#[test]
fn in_unicast_only_peers_are_heard_and_only_at_our_address() {
    let (mut lab, a, b) = pair(Way::V3Unicast);
    let sound = lab.forged(b, a, 200);
    let mut stranger = sound.clone();
    stranger.source = ip("192.0.2.77");
    lab.inject(a, &stranger);
    assert_eq!(lab.counted(a, Counter::UnexpectedSource), 1);
    let mut to_the_group = sound.clone();
    to_the_group.destination = ip("224.0.0.18");
    lab.inject(a, &to_the_group);
    assert_eq!(lab.counted(a, Counter::UnexpectedSource), 2);
    lab.inject(a, &sound);
    assert_eq!(lab.status(a).counters.adverts_received, 1);
}

#[test]
fn in_multicast_a_unicast_packet_is_unexpected() {
    let (mut lab, a, b) = pair(Way::V3);
    let mut packet = lab.forged(b, a, 200);
    packet.destination = ip("192.0.2.1");
    lab.inject(a, &packet);
    assert_eq!(lab.counted(a, Counter::UnexpectedSource), 1);
}

#[test]
fn routed_unicast_may_lower_the_ttl() {
    let mut lab = Lab::new();
    let mut settings = web_by(Way::V3Unicast, 100);
    settings.ttl = 250;
    let a = lab.host(vec![settings.clone()]);
    let b = lab.host(vec![settings]);
    lab.start(a);
    let mut packet = lab.forged(b, a, 200);
    packet.hop_limit = 250;
    lab.inject(a, &packet);
    assert_eq!(lab.status(a).counters.adverts_received, 1);
    packet.hop_limit = 249;
    lab.inject(a, &packet);
    assert_eq!(lab.counted(a, Counter::IpTtlError), 1);
}

#[rstest]
fn every_checksum_form_is_heard_and_shown(
    #[values(
        ChecksumForm::MessageOnly,
        ChecksumForm::PseudoHeader,
        ChecksumForm::PseudoHeaderOfGroup
    )]
    form: ChecksumForm,
) {
    let (mut lab, a, b) = pair(Way::V3);
    let mut packet = lab.forged(b, a, 200);
    packet.checksum = Some(form);
    lab.inject(a, &packet);
    let known = lab.status(a).active_router.expect("heard");
    assert_eq!(known.checksum, Some(form));
    assert_eq!((known.address, known.priority), (ip("192.0.2.2"), 200));
}

#[test]
fn a_version_2_interval_of_another_length_is_dropped_with_both_figures() {
    let (mut lab, a, b) = pair(Way::V2);
    let mut packet = lab.forged(b, a, 200);
    spoil(&mut packet, Fault::OtherInterval);
    lab.mark();
    lab.inject(a, &packet);
    let facts = lab.facts(a);
    let [(_, fact)] = facts.as_slice() else {
        panic!("{facts:?}");
    };
    let text = fact.to_string();
    assert!(text.contains("its interval is 2 s, ours is 1 s"), "{text}");
    lab.run(adi(100));
    assert_eq!(lab.state(a), StateName::Active, "as if it had been silent");
}

#[test]
fn a_version_2_password_is_named() {
    let (mut lab, a, b) = pair(Way::V2);
    let mut packet = lab.forged(b, a, 200);
    spoil(&mut packet, Fault::Authentication);
    lab.mark();
    lab.inject(a, &packet);
    let text = lab.facts(a)[0].1.to_string();
    assert!(text.contains("authentication type 1"), "{text}");
}

#[test]
fn in_initialize_what_is_heard_is_counted_and_remembered() {
    let mut lab = Lab::new();
    let mut settings = web(100);
    settings.settle = secs(10);
    let a = lab.host(vec![settings]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.forge(b, a, 200);
    assert_eq!(lab.state(a), StateName::Initialize);
    assert_eq!(lab.status(a).counters.adverts_received, 1);
    let known = lab.status(a).active_router.map(|known| known.address);
    assert_eq!(known, Some(ip("192.0.2.2")));
}
