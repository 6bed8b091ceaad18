//! The election's arithmetic over every value it can meet, and that the core
//! keeps to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use vipward::agent::election::{active_down_interval, losing_priority, outranks, skew_time};
use vipward::agent::event::{Event, InterfaceAddress, InterfaceState};
use vipward::agent::seal::Sequence;
use vipward::agent::settings::{
    AddressSettings, AnnounceSettings, InstanceSettings, Preempt, Settings,
};
use vipward::agent::time::Instant;
use vipward::agent::values::{
    AdvertInterval, ChecksumForm, Family, InstanceName, InterfaceName, MacAddress, Priority,
    Version, Vrid,
};
use vipward::agent::{Agent, Timer};

fn priority(value: u8) -> Priority {
    Priority::new(value).expect("not zero")
}

/// Every interval that a version can carry.
fn intervals(version: Version) -> Vec<AdvertInterval> {
    let all: Vec<_> = match version {
        Version::V2 => (1..=255).map(AdvertInterval::from_seconds).collect(),
        Version::V3 => (1..=4095).map(AdvertInterval::from_centiseconds).collect(),
    };
    all.into_iter()
        .map(|interval| interval.expect("within range"))
        .collect()
}

/// RFC 9568 section 6.1, RFC 3768 section 6.1, in nanoseconds; half of one may
/// be cut off.
fn skew_nanos(version: Version, priority: u8, interval: AdvertInterval) -> u64 {
    let base = match version {
        Version::V2 => 1_000_000_000,
        Version::V3 => u64::from(interval.as_centiseconds()) * 10_000_000,
    };
    base * (256 - u64::from(priority)) / 256
}

#[test]
fn active_down_interval_is_the_rfcs_and_orders_by_priority() {
    for version in [Version::V2, Version::V3] {
        for interval in intervals(version) {
            let span = interval.as_duration();
            for down_after in [1, 3, 255] {
                let silence = span * u32::from(down_after);
                let mut above = silence;
                for value in (1..=255).rev() {
                    let adi = active_down_interval(
                        span,
                        down_after,
                        skew_time(version, priority(value), span),
                    );
                    let skew = Duration::from_nanos(skew_nanos(version, value, interval));
                    assert_eq!(adi, silence + skew, "{version:?} {value} {interval:?}");
                    assert!(adi > above, "{version:?} {value} {interval:?} is not later");
                    above = adi;
                }
                // Nobody waits for a whole interval more.
                let most = match version {
                    Version::V2 => Duration::from_secs(1),
                    Version::V3 => span,
                };
                assert!(above < silence + most);
            }
        }
    }
}

/// Silence is longer for every priority at a longer interval, so a Backup
/// that learns an interval from the Active cannot be early.
#[test]
fn a_longer_interval_is_a_longer_patience() {
    for value in 1..=255 {
        let adi = |interval: &AdvertInterval| {
            let span = interval.as_duration();
            active_down_interval(span, 3, skew_time(Version::V3, priority(value), span))
        };
        let all = intervals(Version::V3);
        assert!(
            all.windows(2).all(|pair| adi(&pair[0]) < adi(&pair[1])),
            "{value}"
        );
    }
}

#[test]
fn an_interval_is_carried_exactly_or_refused() {
    for version in [Version::V2, Version::V3] {
        for interval in intervals(version) {
            let span = interval.as_duration();
            assert_eq!(AdvertInterval::from_duration(version, span), Some(interval));
            for other in [
                Duration::from_nanos(1),
                Duration::from_millis(1),
                Duration::from_millis(9),
            ] {
                let (more, less) = (span + other, span - other);
                assert_eq!(AdvertInterval::from_duration(version, more), None);
                assert_eq!(AdvertInterval::from_duration(version, less), None);
            }
        }
        let too_long = match version {
            Version::V2 => Duration::from_secs(256),
            Version::V3 => Duration::from_millis(40_960),
        };
        for span in [Duration::ZERO, too_long, Duration::MAX] {
            assert_eq!(AdvertInterval::from_duration(version, span), None);
        }
    }
}

fn settings(version: Version, value: u8, interval: AdvertInterval) -> Settings {
    let interface: InterfaceName = "eth0".parse().expect("a plain name");
    let instance = InstanceSettings {
        on_all_fail: Default::default(),
        on_conflict: Default::default(),
        virtual_mac: false,
        witnesses: Vec::new(),
        name: InstanceName::new("web"),
        interface,
        vrid: Vrid::new(51).expect("not zero"),
        priority: priority(value),
        version,
        family: Family::Ipv4,
        addresses: vec![AddressSettings {
            network: "192.0.2.10/24".parse().expect("an address"),
            interface,
            label: None,
            advertise: true,
            required: true,
            source_address: false,
        }],
        routes: Vec::new(),
        rules: Vec::new(),
        advert_interval: interval,
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
        lease: None,
        authentication: Default::default(),
    };
    Settings {
        cluster: None,
        node: "lb1".to_owned(),
        instances: vec![instance],
        checks: Vec::new(),
        groups: Vec::new(),
    }
}

/// When a host of this priority claims after silence, by the core itself.
fn claims_at(version: Version, value: u8, interval: AdvertInterval, start: Instant) -> Instant {
    let mut agent = Agent::new(settings(version, value, interval), start);
    let interface = "eth0".parse().expect("a plain name");
    let state = InterfaceState {
        gateways: Vec::new(),
        index: 2,
        up: true,
        hardware_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        forwards_ipv6: false,
        manager: None,
        addresses: vec![InterfaceAddress {
            network: "192.0.2.1/24".parse().expect("an address"),
            secondary: false,
            tentative: false,
            ours: false,
        }],
    };
    let state = Some(state);
    agent.handle(start, Event::Interface { interface, state });
    let (family, outcome) = (Family::Ipv4, Ok(()));
    agent.handle(
        start,
        Event::Socket {
            interface,
            family,
            outcome,
        },
    );
    loop {
        match agent.deadline() {
            Some((at, Timer::ActiveDown)) => return at,
            // On the way it asks who has the address.
            Some((at, Timer::Inquiry)) => drop(agent.handle(at, Event::Wake)),
            other => panic!("a Backup waits for {other:?}"),
        }
    }
}

/// Of hosts that went silent together, the core of the one with the highest
/// priority acts first, at the shortest interval as at the longest.
#[test]
fn the_core_waits_as_the_arithmetic_says() {
    let start = Instant::from_nanos(1_000_000_007);
    for version in [Version::V2, Version::V3] {
        let all = intervals(version);
        let count = all.len();
        let chosen = all.into_iter().enumerate();
        // The shortest ones, where a rounding would show, and some others.
        let chosen =
            chosen.filter(|(place, _)| *place < 3 || place % 500 == 0 || place + 1 == count);
        for (_, interval) in chosen {
            let mut before = start;
            for value in (1..=254).rev() {
                let at = claims_at(version, value, interval, start);
                let span = interval.as_duration();
                let adi = active_down_interval(span, 3, skew_time(version, priority(value), span));
                assert_eq!(at.since(start), adi);
                assert!(at > before, "{value} is not later at {interval:?}");
                before = at;
            }
        }
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::from),
        any::<Ipv6Addr>().prop_map(IpAddr::from),
        // Close neighbours, where a comparison as text or signed would err.
        (0..4u8).prop_map(|last| IpAddr::from([127, 255, 255, last.wrapping_sub(2)])),
    ]
}

proptest! {
    /// Of two different ones exactly one wins, and it is no circle.
    #[test]
    fn outranking_is_a_strict_order(
        one in (0..4u8, address()), two in (0..4u8, address()), three in (0..4u8, address()),
    ) {
        prop_assert!(!outranks(one, one));
        prop_assert_eq!(one != two, outranks(one, two) ^ outranks(two, one));
        if outranks(one, two) && outranks(two, three) {
            prop_assert!(outranks(one, three));
        }
    }

    /// The parting advertisement cannot win, and no higher one would lose.
    #[test]
    fn a_parting_priority_loses(
        theirs in (1..=255u8, address()), ours in (1..=255u8, address()),
    ) {
        let loses = |value| outranks(theirs, (value, ours.1));
        match losing_priority(theirs, ours) {
            Some(chosen) => {
                prop_assert!(chosen > 0 && chosen <= ours.0 && loses(chosen));
                prop_assert!(chosen == ours.0 || !loses(chosen + 1));
            }
            None => prop_assert!(!loses(1)),
        }
    }

    /// Time neither wraps nor panics, wherever it begins.
    #[test]
    fn instants_add_up(nanos: u64, span in 0..=u64::MAX) {
        let start = Instant::from_nanos(nanos);
        let later = start + Duration::from_nanos(span);
        prop_assert_eq!(later.as_nanos(), nanos.saturating_add(span));
        prop_assert!(later >= start);
        prop_assert_eq!(start.since(later), Duration::ZERO);
        prop_assert_eq!(later.since(start).as_nanos(), u128::from(later.as_nanos() - nanos));
        prop_assert_eq!(start.minus(Duration::from_nanos(span)).as_nanos(), nanos.saturating_sub(span));
        prop_assert_eq!(start + Duration::MAX, Instant::from_nanos(u64::MAX));
    }

    #[test]
    fn an_interface_name_is_kept_or_refused(name in "[ -~äß\u{0}\t\n]{0,18}") {
        let bytes = name.as_bytes();
        let plain = (1..=15).contains(&bytes.len())
            && name != "." && name != ".."
            && !bytes.iter().any(|b| b"/:\0 \t\n".contains(b));
        match name.parse::<InterfaceName>() {
            Ok(parsed) => prop_assert!(plain && parsed.as_str() == name),
            Err(_) => prop_assert!(!plain),
        }
    }
}

/// Without it, `skew_nanos` could agree with a formula that is wrong in both.
#[test]
fn the_skew_of_the_example_in_the_text() {
    let interval = AdvertInterval::from_centiseconds(1).expect("an interval");
    let skew = |value| skew_time(Version::V3, priority(value), interval.as_duration());
    assert_eq!(skew(254), Duration::from_nanos(78_125));
    assert_eq!(skew(253), Duration::from_nanos(117_187));
}

const HALF: u64 = 1 << 63;

proptest! {
    /// RFC 1982: on a circle, wherever on it.
    #[test]
    fn newer_is_a_matter_of_less_than_half_the_circle(at: u64, ahead: u64) {
        let (here, there) = (Sequence::from_bits(at), Sequence::from_bits(at.wrapping_add(ahead)));
        prop_assert_eq!(there.is_newer_than(here), ahead != 0 && ahead < HALF);
        prop_assert_eq!(here.is_newer_than(there), ahead > HALF);
        prop_assert!(!(here.is_newer_than(there) && there.is_newer_than(here)));
        prop_assert_eq!(here.distance(there), there.distance(here));
    }

    /// Whatever the clock does, what is sent next is newer.
    #[test]
    fn a_sender_s_numbers_only_grow(last: u64, clock: u64) {
        let (last, clock) = (Sequence::from_bits(last), Sequence::from_bits(clock));
        let next = last.after(clock);
        prop_assert!(next.is_newer_than(last));
        prop_assert!(next == clock || next == last.next());
    }

    #[test]
    fn a_clock_s_time_is_seconds_and_a_fraction(seconds: u32, nanos in 0..1_000_000_000_u32, later in 0..100_000_000_u64) {
        let at = Duration::new(u64::from(seconds), nanos);
        let clock = Sequence::at_clock(at);
        prop_assert_eq!(clock.bits() >> 32, u64::from(seconds));
        prop_assert_eq!(clock.bits() & 0xffff, 0);
        let span = Duration::from_micros(later);
        let then = Sequence::at_clock(at + span);
        let error = then.distance(clock).abs_diff(span);
        // A 65,536th of a second is 15.3 us.
        prop_assert!(error < Duration::from_micros(16), "{error:?}");
        prop_assert!(clock.plus(span).distance(clock).abs_diff(span) < Duration::from_micros(16));
    }
}

#[test]
fn numbers_go_on_beyond_the_end_of_the_seconds() {
    let before = Sequence::at_clock(Duration::from_secs(u64::from(u32::MAX)));
    let after = Sequence::at_clock(Duration::from_secs(1 << 32));
    assert_eq!(after.bits(), 0);
    assert!(after.is_newer_than(before) && !before.is_newer_than(after));
    assert_eq!(after.distance(before), Duration::from_secs(1));
    assert_eq!(Sequence::from_bits(u64::MAX).next().bits(), 0);
}
