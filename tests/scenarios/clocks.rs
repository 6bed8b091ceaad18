//! Authenticated pairs whose wall clocks are set, whose agents die, and whom
//! somebody on the segment tells what he recorded.

use std::rc::Rc;
use std::time::Duration;

use vipward::agent::settings::{AntiReplay, Authentication, HmacSettings, Mode};
use vipward::agent::status::{Counter, Rejection, StateName};

use crate::kit::*;

const HOUR: i64 = 3600;
/// A wire's delay, and what the loser's kernel needs.
const SOON: Duration = Duration::from_millis(10);

struct Pair {
    lab: Lab,
    /// Active, of priority 200.
    a: HostId,
    /// Backup, of priority 100.
    b: HostId,
}

impl Pair {
    fn new(anti_replay: AntiReplay) -> Self {
        let mut lab = Lab::new();
        let host = |value| {
            let mut settings = web(value);
            settings.authentication = Authentication::Hmac(HmacSettings {
                fingerprints: Default::default(),
                keys: [1].into(),
                active_key: 1,
                mode: Mode::Enforce,
                anti_replay,
                window: secs(5),
            });
            vec![settings]
        };
        let (a, b) = (lab.host(host(200)), lab.host(host(100)));
        for id in [a, b] {
            lab.give_clock(id);
        }
        lab.attacker = Some(Default::default());
        lab.start_all();
        lab.run_until(a, StateName::Active, secs(4));
        lab.run(secs(5) + ms(300));
        assert_eq!(lab.state(b), StateName::Backup);
        lab.mark();
        Self { lab, a, b }
    }

    fn refused(&self, id: HostId) -> u64 {
        self.lab.counted(id, Counter::AuthenticationError)
    }

    fn kinds(&self, id: HostId) -> Vec<Rejection> {
        let all = self.lab.status(id).rejections;
        all.into_iter().map(|one| one.kind).collect()
    }

    fn captures(&self) -> Vec<Rc<Packet>> {
        let attacker = self.lab.attacker.as_ref().expect("it listens");
        attacker.captures().to_vec()
    }

    /// Everything that was recorded, again.
    fn replay(&mut self, captures: &[Rc<Packet>]) {
        for packet in captures {
            self.lab.attack(packet);
        }
        self.lab.run(SOON);
    }
}

#[test]
fn a_clock_step_of_an_hour_moves_nobody_in_monotonic_mode() {
    for off in [HOUR, -HOUR] {
        for whose in 0..2 {
            let mut pair = Pair::new(AntiReplay::Monotonic);
            for off in [off, 0] {
                pair.lab.set_clock([pair.a, pair.b][whose], off);
                pair.lab.run(secs(20));
            }
            for id in [pair.a, pair.b] {
                assert_eq!(pair.lab.transitions(id), []);
                assert_eq!(pair.refused(id), 0, "{off} s");
            }
            // Nor is anybody deaf: a resignation is believed.
            pair.lab.set_clock([pair.a, pair.b][whose], off);
            pair.lab.stop(pair.a);
            let took = pair.lab.run_until(pair.b, StateName::Active, secs(4));
            assert_eq!(took, skew(100) + ms(1));
        }
    }
}

#[test]
fn in_time_mode_a_clock_step_separates_them_until_it_is_mended() {
    for (whose, off, said) in [
        (0, HOUR, Rejection::Clock),
        (0, -HOUR, Rejection::Replayed),
        (1, HOUR, Rejection::Stale),
        (1, -HOUR, Rejection::Clock),
    ] {
        let mut pair = Pair::new(AntiReplay::Time);
        let wrong = [pair.a, pair.b][whose];
        pair.lab.set_clock(wrong, off);
        pair.lab.run_until(pair.b, StateName::Active, adi(100));
        pair.lab.run(secs(10));
        assert_eq!(pair.kinds(pair.b), [said], "{whose} {off}");
        assert_eq!(pair.lab.state(pair.a), StateName::Active);
        pair.lab.set_clock(wrong, 0);
        let healed = pair.lab.run_until(pair.b, StateName::Backup, secs(2));
        assert!(healed <= secs(1) + SOON, "{whose} {off}: {healed:?}");
        pair.lab.run(secs(10));
        assert_eq!(pair.lab.transitions(pair.a), []);
        assert_eq!(pair.lab.state(pair.b), StateName::Backup);
    }
}

/// Both together, as when a time server was wrong: nobody notices.
#[test]
fn clocks_that_go_wrong_together_separate_nobody() {
    for anti_replay in [AntiReplay::Monotonic, AntiReplay::Time] {
        let mut pair = Pair::new(anti_replay);
        for id in [pair.a, pair.b] {
            pair.lab.set_clock(id, HOUR);
        }
        pair.lab.run(secs(20));
        for id in [pair.a, pair.b] {
            assert_eq!(pair.lab.transitions(id), []);
            assert_eq!(pair.refused(id), 0);
        }
    }
}

/// It begins at the ceiling that it found, wherever its clock is.
#[test]
fn a_sender_that_comes_back_with_another_clock_is_believed() {
    for off in [HOUR, -HOUR, 0] {
        let mut pair = Pair::new(AntiReplay::Monotonic);
        for _ in 0..3 {
            pair.lab.power_off(pair.a);
            pair.lab.set_clock(pair.a, off);
            pair.lab.run(secs(5));
            assert_eq!(pair.lab.state(pair.b), StateName::Active);
            pair.lab.start(pair.a);
            pair.lab.run_until(pair.a, StateName::Active, adi(200));
            pair.lab.run(SOON);
            assert_eq!(pair.lab.state(pair.b), StateName::Backup);
        }
        assert_eq!(pair.refused(pair.b), 0, "{off}");
        let old = pair.captures();
        pair.replay(&old);
        pair.lab.run(secs(20));
        assert_eq!(pair.kinds(pair.b), [Rejection::Replayed]);
        assert_eq!(pair.lab.state(pair.b), StateName::Backup);
    }
}

/// Nothing that was recorded prolongs a Backup's patience, before and after it
/// was killed.
#[test]
fn captures_keep_no_backup_waiting() {
    for (anti_replay, restarts) in [
        (AntiReplay::Monotonic, false),
        (AntiReplay::Time, false),
        (AntiReplay::Monotonic, true),
        (AntiReplay::Time, true),
    ] {
        let mut pair = Pair::new(anti_replay);
        pair.lab.power_off(pair.a);
        let heard = pair.captures();
        let last = ms(300);
        // A second: as old as marks on the disk may be.
        pair.lab.run(ms(1_100));
        let mut patience = adi(100) - last - ms(1_100) + ms(1);
        if restarts {
            pair.lab.kill(pair.b);
            pair.lab.start(pair.b);
            patience = adi(100);
        }
        pair.lab.mark();
        while pair.lab.state(pair.b) == StateName::Backup && pair.lab.elapsed() < secs(10) {
            pair.replay(&heard);
        }
        let [(took, StateName::Active, _)] = pair.lab.transitions(pair.b)[..] else {
            panic!("{anti_replay:?}: {:?}", pair.lab.transitions(pair.b));
        };
        assert_eq!(took, patience, "{anti_replay:?} {restarts}");
        assert_eq!(pair.kinds(pair.b), [Rejection::Replayed]);
    }
}

/// A host that has heard nobody yet believes who agrees with its clock; so
/// captures of an hour ago are worth nothing to it either.
#[test]
fn a_host_without_marks_believes_nothing_old() {
    for anti_replay in [AntiReplay::Monotonic, AntiReplay::Time] {
        let mut pair = Pair::new(anti_replay);
        pair.lab.power_off(pair.a);
        pair.lab.kill(pair.b);
        pair.lab.give_clock(pair.b);
        pair.lab.run(secs(6));
        let old = pair.captures();
        pair.lab.start(pair.b);
        pair.lab.mark();
        pair.replay(&old);
        let took = pair.lab.run_until(pair.b, StateName::Active, secs(4));
        assert_eq!(took + SOON, adi(100));
        let kind = match anti_replay {
            AntiReplay::Monotonic => Rejection::NoMark,
            AntiReplay::Time => Rejection::Stale,
        };
        assert!(
            pair.kinds(pair.b).contains(&kind),
            "{:?}",
            pair.kinds(pair.b)
        );
    }
}
