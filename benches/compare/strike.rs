//! What is done to a pair, step by step.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::lab::fault::{Frozen, Restless};
use crate::lab::guardian::signal;
use crate::lab::{ms, vip};
use crate::pair::{Pair, Speaker};
use crate::plan::{Case, Who};

/// What the first step left for the second.
#[derive(Default)]
pub struct Left {
    frozen: Option<Frozen>,
}

/// Carries out the step; returns when it was begun.
pub fn strike(pair: &Pair, step: usize, left: &mut Left) -> Instant {
    let speaker = pair.speaker();
    // Found before the clock begins.
    let all = match pair.case {
        Case::AllKilled | Case::Frozen | Case::Paused if step == 0 => speaker.all(),
        _ => Vec::new(),
    };
    let (speaking, other) = match (pair.case, step) {
        (Case::Killed | Case::KilledUnicast | Case::OtherKilled, 0) => {
            (speaker.speaking(), speaker.other())
        }
        _ => (0, 0),
    };
    let now = Instant::now();
    match (pair.case, step) {
        (Case::Nothing, _) => {}
        (Case::Stopped, _) => signal(speaker.main(), Signal::SIGTERM),
        (Case::Drained, _) => give_up(pair, &["drain"]),
        (Case::HandedOver, _) => give_up(pair, &["handover", "web"]),
        (Case::Killed | Case::KilledUnicast, _) => signal(speaking, Signal::SIGKILL),
        (Case::OtherKilled, _) => signal(other, Signal::SIGKILL),
        (Case::AllKilled, _) => {
            // So that none can do anything about another.
            let _frozen = Frozen::these(&all);
            for pid in &all {
                signal(*pid, Signal::SIGKILL);
            }
        }
        (Case::Frozen | Case::Paused, 0) => left.frozen = Some(Frozen::these(&all)),
        (Case::Frozen | Case::Paused, _) => drop(left.frozen.take()),
        (Case::Link, 0) => pair.lab.cut_carrier(&pair.a),
        (Case::Segment, 0) => pair.lab.silence(&pair.a),
        (Case::Link | Case::Segment, _) => pair.lab.heal(&pair.a),
        (Case::CheckFault | Case::CheckWeight, _) => pair.service.ill(),
        (Case::AddressDeleted, _) => {
            pair.a.take_away(vip());
        }
        (Case::Interface, 0) => pair.lab.unplug(&pair.a, "eth0"),
        (Case::Interface, _) => pair.lab.plug(&pair.a, "eth0"),
        (Case::ReloadActiveFirst, 0) | (Case::ReloadBackupFirst, 1) => {
            pair.reload_with_another(&pair.a);
        }
        (Case::ReloadActiveFirst | Case::ReloadBackupFirst, _) => {
            pair.reload_with_another(&pair.b);
        }
        (Case::Blocked, 0) => pair.a.block_advertisements(),
        (Case::Blocked, _) => pair.a.let_advertisements_out(),
        (Case::DeletedAgainAndAgain, _) => {
            for second in 0..12 {
                sleep((now + ms(1000) * second).saturating_duration_since(Instant::now()));
                pair.a.take_away(vip());
            }
        }
        (Case::Bustle, _) => {
            let mut restless = Restless::on(&pair.a);
            restless.bustle(2000, Duration::from_secs(10));
            restless.end();
        }
    }
    now
}

/// keepalived has no word for it: its priority is edited, and it reloads.
fn give_up(pair: &Pair, words: &[&str]) {
    match (pair.who, pair.speaker()) {
        (Who::Keepalived, _) => pair.reload_below_the_other(&pair.a),
        (_, Speaker::Vipward(agent)) => {
            let answer = agent.ask(words);
            assert!(answer.status.success(), "{words:?}: {answer:?}");
        }
        (_, Speaker::Keepalived(_)) => unreachable!("who it is says what runs"),
    }
}
