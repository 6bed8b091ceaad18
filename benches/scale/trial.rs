//! One program with one load: what it costs to stand by, and what becomes of
//! everything when one host starts, freezes, thaws, reloads and stops.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cost;
use crate::figures::{Figures, Punctuality};
use crate::lab::ms;
use crate::load::Load;
use crate::speaker::{ADDED, Speaker, Who};
use crate::stage::Stage;
use crate::tape::{Host, Router, Tape};

const INTERVAL: Duration = Duration::from_secs(1);
const HIGH: u8 = 200;
const LOW: u8 = 100;
/// Nothing is waited for longer.
const LONGEST: Duration = Duration::from_secs(30);
/// How long advertisements are watched after something happened.
const AFTER: Duration = Duration::from_millis(3_500);

pub fn run(load: Load, who: Who, window: Duration) -> Figures {
    let stage = Stage::new(load);
    let directory = tempfile::tempdir().expect("a directory");
    let mut figures = Figures::default();

    let tape = Tape::start(&stage);
    let a = Speaker::start(&stage.a, directory.path(), who, load, HIGH);
    let all = spoken(&tape, Host::A, a.started, load.instances);
    figures.start = all.map(|at| beyond(at, a.started, HIGH));
    sleep(AFTER);
    figures.start_late = punctuality(&tape, Host::A, a.started, Instant::now());
    drop(tape);
    let b = Speaker::start(&stage.b, directory.path(), who, load, LOW);
    // The second burst of announcements is out, and the other host listens.
    sleep(ms(7_000));

    stand_by(&mut figures, [&a, &b], window);
    let tape = Tape::start(&stage);
    // One advertisement of each is known before anything happens.
    sleep(ms(1_500));
    ask(&mut figures, &tape, &a);
    reload(&mut figures, &tape, &a);
    freeze(&mut figures, &tape, &a, load);
    stop(&mut figures, &tape, (a, &b), load);
    figures
}

fn stand_by(figures: &mut Figures, [a, b]: [&Speaker; 2], window: Duration) {
    let families = [a.family(), b.family()];
    let before = families.each_ref().map(|pids| cost::processor(pids));
    let began = Instant::now();
    sleep(window);
    let after = families.each_ref().map(|pids| cost::processor(pids));
    let minute = |n: usize| {
        let share = 60.0 / began.elapsed().as_secs_f64();
        (after[n] - before[n]).mul_f64(share)
    };
    (figures.active, figures.backup) = (minute(0), minute(1));
    figures.memory_active = cost::memory(&families[0]);
    figures.memory_backup = cost::memory(&families[1]);
}

fn ask(figures: &mut Figures, tape: &Tape, a: &Speaker) {
    let from = Instant::now();
    while from.elapsed() < AFTER {
        let Some(mut command) = a.status() else {
            return;
        };
        let began = Instant::now();
        let output = command.output().expect("the client starts");
        match output.status.success() {
            true => figures.status.push(began.elapsed()),
            false => figures.status_failed += 1,
        }
        sleep(ms(300));
    }
    figures.status_late = punctuality(tape, Host::A, from - INTERVAL, Instant::now());
}

fn reload(figures: &mut Figures, tape: &Tape, a: &Speaker) {
    let told = a.reload(true);
    let added: Ipv4Addr = ADDED.parse().expect("an address");
    let there = until(|| {
        let all = tape.moved();
        let found = all
            .iter()
            .find(|m| m.at >= told && m.address == added && m.present);
        found.map(|moved| moved.at)
    });
    figures.reload = there.map(|at| at.saturating_duration_since(told));
    sleep(AFTER);
    figures.reload_late = punctuality(tape, Host::A, told - INTERVAL, Instant::now());
    // A peer with another list may not believe what comes later.
    a.reload(false);
    until(|| (!tape.held(Host::A).contains(&added)).then(Instant::now));
    sleep(AFTER);
}

fn freeze(figures: &mut Figures, tape: &Tape, a: &Speaker, load: Load) {
    a.signal_all(Signal::SIGSTOP);
    let frozen = Instant::now();
    let all = spoken(tape, Host::B, frozen, load.instances);
    let mut last: BTreeMap<Router, Instant> = BTreeMap::new();
    for seen in tape.seen().iter().filter(|seen| seen.host == Host::A) {
        last.insert(seen.router, seen.at);
    }
    let first = tape.first(Host::B, frozen);
    let excess = first
        .iter()
        .filter_map(|(router, at)| Some(beyond(*at, *last.get(router)?, LOW)));
    figures.takeover = all.and(excess.max());
    sleep(AFTER);
    figures.takeover_late = punctuality(tape, Host::B, frozen, Instant::now());

    let thawed = Instant::now();
    a.signal_all(Signal::SIGCONT);
    let wanted = load.all_addresses();
    let back = || tape.held(Host::B).is_empty() && tape.held(Host::A).len() >= wanted;
    let is_back = until(|| back().then(Instant::now)).is_some();
    sleep(AFTER);
    figures.thaw = Some(once_owned_once(tape, thawed).saturating_duration_since(thawed));
    let left = tape
        .moved()
        .into_iter()
        .filter(|m| m.host == Host::B && !m.present);
    let left = left.filter(|m| m.at >= thawed).map(|m| m.at - thawed).max();
    figures.back = left.filter(|_| is_back);
}

fn stop(figures: &mut Figures, tape: &Tape, (a, _b): (Speaker, &Speaker), load: Load) {
    let told = Instant::now();
    a.process.signal_alone(Signal::SIGTERM);
    let wanted = load.all_addresses();
    until(|| (tape.held(Host::B).len() >= wanted).then(Instant::now));
    sleep(AFTER);
    let moved = tape.moved();
    let arrived = moved
        .iter()
        .filter(|m| m.host == Host::B && m.present && m.at >= told);
    let all = tape.held(Host::B).len() >= wanted;
    figures.stop = arrived.map(|m| m.at - told).max().filter(|_| all);
    figures.stop_none = longest_without(tape, told);
    figures.stop_late = punctuality(tape, Host::B, told, Instant::now());
}

/// When the last of `count` virtual routers of `host` had spoken.
fn spoken(tape: &Tape, host: Host, since: Instant, count: usize) -> Option<Instant> {
    until(|| {
        let first = tape.first(host, since);
        (first.len() >= count).then(|| first.values().max().copied())?
    })
}

fn until(mut found: impl FnMut() -> Option<Instant>) -> Option<Instant> {
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        if let Some(at) = found() {
            return Some(at);
        }
        sleep(ms(100));
    }
    None
}

/// What is beyond Active_Down_Interval of `priority`.
fn beyond(at: Instant, from: Instant, priority: u8) -> Duration {
    let skew = INTERVAL * (256 - u32::from(priority)) / 256;
    at.saturating_duration_since(from + INTERVAL * 3 + skew)
}

/// Of advertisements one after the other that end within the span.
fn punctuality(tape: &Tape, host: Host, from: Instant, to: Instant) -> Punctuality {
    let mut last: BTreeMap<Router, Instant> = BTreeMap::new();
    let mut found = Punctuality::default();
    for seen in tape.seen().iter().filter(|seen| seen.host == host) {
        if seen.at < from || seen.at > to || seen.priority == 0 {
            continue;
        }
        if let Some(before) = last.insert(seen.router, seen.at) {
            let late = (seen.at - before).saturating_sub(INTERVAL);
            found.spans += 1;
            found.late += usize::from(late > INTERVAL / 5);
            found.worst = found.worst.max(late);
        }
    }
    found
}

/// When the last address that was on both hosts at `from` was given up by one.
fn once_owned_once(tape: &Tape, from: Instant) -> Instant {
    let mut held = tape.before.clone();
    let mut moved = tape.moved();
    moved.sort_by_key(|one| one.at);
    let (earlier, later): (Vec<_>, Vec<_>) = moved.into_iter().partition(|one| one.at < from);
    for one in earlier {
        match one.present {
            true => held.insert((one.host, one.address)),
            false => held.remove(&(one.host, one.address)),
        };
    }
    let both = held
        .iter()
        .filter(|(host, address)| *host == Host::A && held.contains(&(Host::B, *address)));
    let ended = both.map(|(_, address)| {
        let mut gone = later
            .iter()
            .filter(|one| one.address == *address && !one.present);
        // Never: as long as it was looked at.
        gone.next().map_or_else(Instant::now, |one| one.at)
    });
    ended.max().unwrap_or(from)
}

/// The longest time from `from` on in which some address that came back was
/// on neither host.
fn longest_without(tape: &Tape, from: Instant) -> Duration {
    let mut held = tape.before.clone();
    let mut gone = BTreeMap::new();
    let mut longest = Duration::ZERO;
    let mut moved = tape.moved();
    moved.sort_by_key(|one| one.at);
    for one in moved {
        let other = if one.host == Host::A {
            Host::B
        } else {
            Host::A
        };
        if one.present {
            held.insert((one.host, one.address));
            if let Some(since) = gone.remove(&one.address) {
                longest = longest.max(one.at.saturating_duration_since(from.max(since)));
            }
        } else {
            held.remove(&(one.host, one.address));
            if !held.contains(&(other, one.address)) {
                gone.insert(one.address, one.at);
            }
        }
    }
    longest
}
