//! Rung 14: which advertisements are believed, in which order that is judged,
//! and what is remembered of it.

use std::time::Duration;

use vipward::agent::event::{Timing, V2Authentication};
use vipward::agent::seal::Sequence;
use vipward::agent::settings::{AntiReplay, Authentication, HmacSettings, Mode, Password};
use vipward::agent::status::{Counter, Rejection, StateName};

use crate::kit::wire::Sealed;
use crate::kit::*;

const HOUR: u64 = 3600;

fn hmac(mode: Mode, anti_replay: AntiReplay) -> Authentication {
    Authentication::Hmac(HmacSettings {
        fingerprints: Default::default(),
        keys: [1, 2].into(),
        active_key: 1,
        mode,
        anti_replay,
        window: secs(5),
    })
}

fn at(seconds: u64) -> Sequence {
    Sequence::at_clock(Duration::from_secs(1_000_000 + seconds))
}

/// Signed at one time by the sender's clock and read at another by ours.
fn sealed(signed: u64, read: u64) -> Option<Sealed> {
    Some(Sealed {
        kind: 1,
        key: 1,
        sequence: at(signed),
        genuine: true,
        our_clock: at(read),
    })
}

/// A Backup of priority 100 that is told what a peer of priority 200 sends.
struct Pair {
    lab: Lab,
    ours: HostId,
    theirs: HostId,
}

impl Pair {
    fn new(way: Way, authentication: Authentication) -> Self {
        let mut lab = Lab::new();
        let mut settings = web_by(way, 100);
        settings.authentication = authentication;
        let ours = lab.host(vec![settings]);
        let theirs = lab.host(vec![web_by(way, 200)]);
        lab.start(ours);
        Self { lab, ours, theirs }
    }

    /// Why it was not believed; nothing when it was.
    fn hear(&mut self, seal: Option<Sealed>) -> Option<Rejection> {
        self.hear_bent(seal, |_| {})
    }

    fn hear_bent(
        &mut self,
        seal: Option<Sealed>,
        bend: impl FnOnce(&mut Packet),
    ) -> Option<Rejection> {
        let mut packet = self.lab.forged(self.theirs, self.ours, 200);
        packet.sealed = seal;
        bend(&mut packet);
        let before = self.lab.status(self.ours);
        self.lab.inject(self.ours, &packet);
        let after = self.lab.status(self.ours);
        let counter = Counter::AuthenticationError;
        let refused = after.counters.get(counter) - before.counters.get(counter);
        let heard = after.counters.adverts_received - before.counters.adverts_received;
        assert_eq!(refused + heard, 1, "one or the other");
        let count = |kind| {
            let of_kind = |status: &vipward::agent::status::InstanceStatus| -> u64 {
                let same = status.rejections.iter().filter(|one| one.kind == kind);
                same.map(|one| one.count).sum()
            };
            of_kind(&after) - of_kind(&before)
        };
        let kinds = after.rejections.iter().map(|one| one.kind);
        let mut risen = kinds.filter(|kind| count(*kind) > 0);
        let kind = risen.next();
        assert_eq!(u64::from(kind.is_some()), refused, "its kind is shown");
        kind
    }
}

fn with(mode: Mode, anti_replay: AntiReplay) -> Pair {
    Pair::new(Way::V3, hmac(mode, anti_replay))
}

#[test]
fn what_is_not_signed_is_heard_until_it_is_enforced() {
    for (mode, expected) in [
        (Mode::ReceiveOnly, None),
        (Mode::Permissive, None),
        (Mode::Enforce, Some(Rejection::Missing)),
    ] {
        assert_eq!(with(mode, AntiReplay::Monotonic).hear(None), expected);
    }
}

#[test]
fn in_every_mode_a_trailer_must_be_right() {
    for mode in [Mode::ReceiveOnly, Mode::Permissive, Mode::Enforce] {
        let mut pair = with(mode, AntiReplay::Monotonic);
        let bent = |bend: fn(&mut Sealed)| {
            let mut seal = sealed(10, 10);
            bend(seal.as_mut().expect("a seal"));
            seal
        };
        let wrong = bent(|seal| seal.genuine = false);
        assert_eq!(pair.hear(wrong), Some(Rejection::WrongKey));
        let unknown = bent(|seal| seal.key = 3);
        assert_eq!(pair.hear(unknown), Some(Rejection::UnknownKey));
        let kind = bent(|seal| seal.kind = 2);
        assert_eq!(pair.hear(kind), Some(Rejection::UnknownTrailer));
        // None of them has set a mark.
        assert_eq!(pair.hear(sealed(10, 10)), None);
    }
}

#[test]
fn nothing_is_heard_twice_and_nothing_older() {
    for anti_replay in [AntiReplay::Monotonic, AntiReplay::Time] {
        let mut pair = with(Mode::Enforce, anti_replay);
        assert_eq!(pair.hear(sealed(10, 10)), None);
        assert_eq!(pair.hear(sealed(10, 10)), Some(Rejection::Replayed));
        assert_eq!(pair.hear(sealed(9, 10)), Some(Rejection::Replayed));
        assert_eq!(pair.hear(sealed(11, 11)), None);
    }
}

/// Staleness comes before the HMAC, and what is forged moves nothing.
#[test]
fn a_forged_number_moves_no_mark() {
    let mut pair = with(Mode::Enforce, AntiReplay::Monotonic);
    assert_eq!(pair.hear(sealed(10, 10)), None);
    let mut forged = sealed(10 + HOUR, 10);
    forged.as_mut().expect("a seal").genuine = false;
    assert_eq!(pair.hear(forged), Some(Rejection::WrongKey));
    let mut old = sealed(9, 10);
    old.as_mut().expect("a seal").genuine = false;
    assert_eq!(pair.hear(old), Some(Rejection::Replayed));
    assert_eq!(pair.hear(sealed(11, 11)), None);
}

#[test]
fn a_clock_step_changes_nothing_in_monotonic_mode() {
    let mut pair = with(Mode::Enforce, AntiReplay::Monotonic);
    assert_eq!(pair.hear(sealed(2 * HOUR, 2 * HOUR)), None);
    // Ours, back and forth; theirs, ahead. Back they would go on counting.
    assert_eq!(pair.hear(sealed(2 * HOUR + 1, HOUR)), None);
    assert_eq!(pair.hear(sealed(2 * HOUR + 2, 3 * HOUR)), None);
    assert_eq!(pair.hear(sealed(3 * HOUR, 2 * HOUR)), None);
}

#[test]
fn a_clock_step_in_time_mode_lasts_until_it_is_mended() {
    let mut pair = with(Mode::Enforce, AntiReplay::Time);
    assert_eq!(pair.hear(sealed(2 * HOUR, 2 * HOUR)), None);
    let now = 2 * HOUR + 1;
    assert_eq!(pair.hear(sealed(now, HOUR)), Some(Rejection::Clock));
    assert_eq!(pair.hear(sealed(now, 3 * HOUR)), Some(Rejection::Stale));
    assert_eq!(pair.hear(sealed(3 * HOUR, now)), Some(Rejection::Clock));
    assert_eq!(pair.hear(sealed(HOUR, now)), Some(Rejection::Replayed));
    assert_eq!(pair.hear(sealed(now, now)), None);
    assert_eq!(pair.hear(sealed(now + 5, now)), None);
    assert_eq!(pair.hear(sealed(now + 6, now)), Some(Rejection::Clock));
}

/// Without a mark a capture of any age would be newer than nothing.
#[test]
fn without_a_mark_the_clock_must_agree() {
    let mut pair = with(Mode::Enforce, AntiReplay::Monotonic);
    assert_eq!(pair.hear(sealed(10, HOUR)), Some(Rejection::NoMark));
    assert_eq!(pair.hear(sealed(HOUR, 10)), Some(Rejection::NoMark));
    assert_eq!(pair.hear(sealed(HOUR - 5, HOUR)), None);
    // Each key and each sender has a mark of its own.
    let mut other = sealed(HOUR, 2 * HOUR);
    other.as_mut().expect("a seal").key = 2;
    assert_eq!(pair.hear(other), Some(Rejection::NoMark));
    let elsewhere = pair.hear_bent(sealed(HOUR, 2 * HOUR), |packet| {
        packet.source = ip("192.0.2.77");
    });
    assert_eq!(elsewhere, Some(Rejection::NoMark));
}

/// A restarted receiver believes no capture, and locks nobody out.
#[test]
fn marks_outlive_the_agent() {
    let mut pair = with(Mode::Enforce, AntiReplay::Monotonic);
    assert_eq!(pair.hear(sealed(HOUR, HOUR)), None);
    let agent = pair.lab.at(pair.ours).agent.as_ref().expect("it runs");
    let kept: Vec<_> = agent
        .marks()
        .map(|(name, mark)| (name.clone(), mark))
        .collect();
    assert_eq!(kept.len(), 1);
    let mut next = with(Mode::Enforce, AntiReplay::Monotonic);
    let agent = next.lab.at_mut(next.ours).agent.as_mut().expect("it runs");
    for (name, mark) in &kept {
        agent.restore_mark(name, *mark);
    }
    assert_eq!(next.hear(sealed(HOUR, HOUR)), Some(Rejection::Replayed));
    assert_eq!(next.hear(sealed(HOUR + 700, HOUR)), None);
}

#[test]
fn forged_resignations_and_claims_change_nothing() {
    let mut pair = with(Mode::Enforce, AntiReplay::Monotonic);
    let took = pair.lab.run_until(pair.ours, StateName::Active, secs(5));
    assert_eq!(took, adi(100));
    for priority in [0, 255] {
        let refused = pair.hear_bent(None, |packet| packet.priority = priority);
        assert_eq!(refused, Some(Rejection::Missing));
    }
    pair.lab.run(secs(5));
    assert_eq!(pair.lab.status(pair.ours).state, StateName::Active);
}

/// Anyone can invent senders.
#[test]
fn what_is_shown_of_strangers_is_bounded() {
    let mut pair = with(Mode::Enforce, AntiReplay::Monotonic);
    for number in 20..100 {
        let mut packet = pair.lab.forged(pair.theirs, pair.ours, 200);
        packet.source = ip(&format!("192.0.2.{number}"));
        pair.lab.inject(pair.ours, &packet);
        pair.lab.run(ms(10));
    }
    let status = pair.lab.status(pair.ours);
    assert_eq!(status.rejections.len(), 16);
    assert_eq!(status.counters.get(Counter::AuthenticationError), 80);
}

#[test]
fn a_simple_password_is_compared() {
    let password = |text: &[u8; 8]| Authentication::Password(Password(*text));
    let said = |kind, data: &[u8; 8]| V2Authentication { kind, data: *data };
    for (ours, theirs, expected) in [
        (password(b"s3cret\0\0"), said(1, b"s3cret\0\0"), None),
        (
            password(b"s3cret\0\0"),
            said(1, b"secret\0\0"),
            Some(Rejection::Password),
        ),
        (
            password(b"s3cret\0\0"),
            said(0, b"s3cret\0\0"),
            Some(Rejection::Missing),
        ),
        (
            password(b"s3cret\0\0"),
            said(2, b"s3cret\0\0"),
            Some(Rejection::Type),
        ),
        (
            Authentication::None,
            said(1, b"s3cret\0\0"),
            Some(Rejection::Type),
        ),
        (Authentication::None, said(0, b"anything"), None),
    ] {
        let mut pair = Pair::new(Way::V2, ours);
        let heard = pair.hear_bent(None, |packet| {
            if let Timing::V2 { authentication, .. } = &mut packet.timing {
                *authentication = theirs;
            }
        });
        assert_eq!(heard, expected, "{theirs:?}");
    }
}
