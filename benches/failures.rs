//! What failures cost, of vipward and of keepalived in the same run: how long
//! until the address is gone from the host that failed and until the client
//! takes the peer for it, how long two hosts held it, how long none answered.
//!
//! `cargo bench --bench failures`; `VIPWARD_BENCH_ROUNDS` (10) for each row,
//! `VIPWARD_BENCH_LANES` (4) laboratories side by side, `VIPWARD_BENCH_CASES`:
//! only those whose words contain this. Runs in namespaces of its own, as the
//! end-to-end tests do, and needs what they need.
//!
//! Priorities 200 and 100, an interval of 1 s, three of patience. The peer link
//! has two paths; keepalived has none, and runs as ever beside it.

#[path = "../tests/e2e/lab/mod.rs"]
#[allow(dead_code, reason = "the laboratory serves the end-to-end tests too")]
mod lab;

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use lab::agent::Agent;
use lab::cluster::Cluster;
use lab::config::Router;
use lab::fault::{Frozen, Restless};
use lab::guardian::{children, signal};
use lab::outage::Outage;
use lab::prober::Prober;
use lab::process::Process;
use lab::{Host, LONG, Lab, isolation, ms, stall, tools, vip};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Vipward,
    Keepalived,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Stopped,
    /// The same, of nodes that know each other; as all that end so.
    StoppedLinked,
    Killed,
    KilledLinked,
    KilledWithTen,
    /// The guardian, and keepalived's first process.
    OtherKilled,
    BothKilled,
    Paused,
    Frozen,
    Blocked,
    TakenAway,
    Interface,
    Bustle,
}

/// And how long is looked at what becomes of it.
const CASES: [(Case, &str, u64); 13] = [
    (Case::Stopped, "planned stop (SIGTERM)", 5),
    (Case::StoppedLinked, "planned stop, with the peer link", 5),
    (Case::Killed, "agent killed", 6),
    (Case::KilledLinked, "agent killed, with the peer link", 6),
    (Case::KilledWithTen, "agent killed, 10 addresses", 6),
    (Case::OtherKilled, "guardian killed", 6),
    (Case::BothKilled, "both killed", 10),
    (Case::Paused, "both paused for 2 s", 6),
    (Case::Frozen, "both frozen for 10 s", 16),
    (Case::Blocked, "advertisements blocked for 10 s", 16),
    (Case::TakenAway, "address deleted every second, 12 s", 20),
    (Case::Interface, "interface deleted, created after 5 s", 13),
    (Case::Bustle, "2,000 netlink events/s for 10 s", 12),
];

/// One run of one row.
struct Run {
    gone: Option<Duration>,
    /// The client took the peer's hardware address for it.
    learnt: Option<Duration>,
    /// The client was answered again, once the host that failed had it no more.
    answered: Option<Duration>,
    outage: Outage,
    /// Two hosts still held it in the end.
    both_in_the_end: bool,
    /// What the host that failed sent afterwards against the peer that was
    /// Active: advertisements of the higher priority, announcements.
    stale: usize,
}

struct Row {
    case: Case,
    text: &'static str,
    who: Who,
    look: Duration,
    runs: Mutex<Vec<Run>>,
}

fn main() -> ExitCode {
    isolation::enter();
    if let Some(reason) = isolation::missing() {
        eprintln!("nothing measured: {reason}");
        return ExitCode::FAILURE;
    }
    stall::start_meter();
    let mut whos = vec![Who::Vipward];
    match tools::keepalived() {
        Ok(_) => whos.push(Who::Keepalived),
        Err(reason) => eprintln!("without keepalived: {reason}"),
    }
    let text = |name| std::env::var(name).unwrap_or_default();
    let rounds = text("VIPWARD_BENCH_ROUNDS").parse().unwrap_or(10);
    let lanes = text("VIPWARD_BENCH_LANES").parse().unwrap_or(4);
    let wanted = text("VIPWARD_BENCH_CASES");
    let rows: Vec<Row> = CASES
        .iter()
        .filter(|(case, text, _)| {
            let possible = *case != Case::Blocked || tools::nft().is_ok();
            possible && text.contains(&wanted)
        })
        .flat_map(|(case, text, seconds)| {
            whos.iter().map(|who| Row {
                case: *case,
                text,
                who: *who,
                look: Duration::from_secs(*seconds),
                runs: Mutex::default(),
            })
        })
        .collect();
    // Of one row after the other, so that a noisy one disturbs itself alone.
    let jobs = rows
        .chunks(whos.len())
        .flat_map(|pair| (0..rounds).flat_map(move |_: usize| pair));
    let jobs = Mutex::new(jobs);
    scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(row) = next(&jobs) {
                    let run = run(row);
                    row.runs.lock().expect("no run panics in here").push(run);
                }
            });
        }
    });
    println!(
        "| this fails | who | n | gone from its host | the peer is taken for it | answered again | two held it | none answered | stale |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in &rows {
        print(row);
    }
    ExitCode::SUCCESS
}

fn next<T>(jobs: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    jobs.lock().expect("no lane panics in here").next()
}

/// Milliseconds: median (least to most).
fn print(row: &Row) {
    let runs = row.runs.lock().expect("all lanes have ended");
    let n = runs.len();
    let figure = |of: &dyn Fn(&Run) -> Option<Duration>| {
        let mut all: Vec<f64> = runs
            .iter()
            .filter_map(of)
            .map(|s| s.as_secs_f64() * 1e3)
            .collect();
        all.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (all.first(), all.last()) else {
            return "never".to_owned();
        };
        let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
        let times = match n - all.len() {
            0 => String::new(),
            never => format!(", {never} never"),
        };
        format!("{:.1} ({least:.1} to {most:.1}{times})", (low + high) / 2.0)
    };
    let open = runs.iter().filter(|run| run.both_in_the_end).count();
    let open = match open {
        0 => String::new(),
        _ => format!(", {open} of {n} to the end of the {} s", row.look.as_secs()),
    };
    println!(
        "| {} | {:?} | {n} | {} | {} | {} | {}{open} | {} | {} |",
        row.text,
        row.who,
        figure(&|run| run.gone),
        figure(&|run| run.learnt),
        figure(&|run| run.answered),
        figure(&|run| Some(run.outage.both)),
        figure(&|run| run.outage.none_answered),
        runs.iter().map(|run| run.stale).sum::<usize>(),
    );
}

/// Either program with its processes.
enum Speaker {
    Vipward(Agent),
    Keepalived(Process),
}

impl Speaker {
    fn start(lab: &Lab, host: &Host, who: Who, router: &Router, cluster: &Option<Cluster>) -> Self {
        match who {
            Who::Vipward => Self::Vipward(match cluster {
                Some(cluster) => cluster.agent(lab, host, router.clone()),
                None => lab.agent(host, std::slice::from_ref(router)),
            }),
            Who::Keepalived => Self::Keepalived(lab.keepalived(host, router)),
        }
    }

    fn processes(&self) -> Processes {
        match self {
            Self::Vipward(agent) => Processes {
                main: agent.process.pid(),
                speaker: agent.process.pid(),
                other: agent.guardian(None),
            },
            Self::Keepalived(process) => Processes {
                main: process.pid(),
                speaker: *children(process.pid(), "")
                    .first()
                    .expect("its VRRP process"),
                other: process.pid(),
            },
        }
    }
}

#[derive(Clone, Copy)]
struct Processes {
    /// Who is told to stop.
    main: u32,
    /// Who speaks VRRP.
    speaker: u32,
    /// Who watches over it.
    other: u32,
}

fn run(row: &Row) -> Run {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let client = lab.host("client");
    let linked = matches!(row.case, Case::StoppedLinked | Case::KilledLinked);
    let cluster = linked.then(|| Cluster::of(&lab, &[&a, &b]));
    let ten: Vec<_> = (100..110).map(|n| format!("192.0.2.{n}/24")).collect();
    let ten: Vec<_> = ten.iter().map(String::as_str).collect();
    let addresses = match row.case {
        Case::KilledWithTen => ten,
        _ => vec!["192.0.2.100/24"],
    };
    let router = |priority| {
        Router::new(priority)
            .interval_ms(1000)
            .addresses(&addresses)
    };
    let began = Instant::now();
    let speaker = Speaker::start(&lab, &a, row.who, &router(200), &cluster);
    let peer = Speaker::start(&lab, &b, row.who, &router(100), &cluster);
    for address in router(200).parsed() {
        a.watch.wait(began, address, true, LONG);
    }
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    if let (Speaker::Vipward(peer), true) = (&peer, linked) {
        peer.wait_node("a", "that tells of web", |node| {
            node["instances"][0]["state"] == "active"
        });
    }
    let pids = speaker.processes();
    // Failures come at any moment of an interval.
    lab.observer.wait_advert(Instant::now(), "a", 200, LONG);
    sleep(ms(u64::from(began.elapsed().subsec_micros() % 1000)));

    let failed = Instant::now();
    let resumed = fail(row.case, &lab, &a, pids, failed);
    sleep((failed + row.look).saturating_duration_since(Instant::now()));
    let report = prober.stop();
    let gone_at = |address| {
        let mut times = a.watch.times(failed, address).into_iter();
        match row.case {
            // It may run out, and be put back once, before it is given up.
            Case::Blocked => times.rfind(|(at, on)| !on && *at < failed + ms(5000)),
            _ => times.find(|(_, on)| !on),
        }
        .map(|(at, _)| at)
    };
    let addresses = router(200).parsed();
    let gone: Option<Vec<_>> = addresses.iter().map(|address| gone_at(*address)).collect();
    let gone = gone.and_then(|all| all.into_iter().max());
    let stale = resumed.map_or(0, |from| stale(&lab, &b, failed, from));
    Run {
        gone: gone.map(|at| at - failed),
        learnt: client
            .watch
            .learnt(failed, vip(), b.mac("eth0"))
            .map(|at| at - failed),
        answered: gone
            .and_then(|at| report.answers.first_after(at))
            .map(|at| at - failed),
        outage: Outage::since(failed, [&a, &b], vip(), Some(&report)),
        both_in_the_end: a.has(vip()) && b.has(vip()),
        stale,
    }
}

/// What `a` said within an interval of `from` that takes the address from
/// `b`, while b held it.
fn stale(lab: &Lab, b: &Host, failed: Instant, from: Instant) -> usize {
    let of_b = b.watch.times(failed, vip());
    let held = of_b.iter().rfind(|(at, _)| *at < from);
    if held.is_none_or(|(_, on)| !on) {
        return 0;
    }
    let until = of_b.iter().find(|(at, _)| *at >= from);
    let until = until.map_or(from + ms(900), |(at, _)| (from + ms(900)).min(*at));
    let adverts = lab.observer.adverts(from, "a");
    let adverts = adverts
        .iter()
        .filter(|(at, advert)| *at < until && advert.priority == 200);
    let claims = lab.observer.announcements(from, "a", vip());
    adverts.count() + claims.iter().filter(|frame| frame.at < until).count()
}

/// Does it to `a`. When whoever stood still, or could not send, was let go on.
fn fail(case: Case, lab: &Lab, a: &Host, pids: Processes, now: Instant) -> Option<Instant> {
    let Processes {
        main,
        speaker,
        other,
    } = pids;
    let still = |span| {
        let frozen = Frozen::these(&[other, speaker]);
        sleep(span);
        Some(frozen.go_on())
    };
    match case {
        Case::Stopped | Case::StoppedLinked => signal(main, Signal::SIGTERM),
        Case::Killed | Case::KilledLinked | Case::KilledWithTen => {
            signal(speaker, Signal::SIGKILL);
        }
        Case::OtherKilled => signal(other, Signal::SIGKILL),
        Case::BothKilled => {
            // So that neither can do anything about the other.
            let _frozen = Frozen::these(&[other, speaker]);
            signal(other, Signal::SIGKILL);
            signal(speaker, Signal::SIGKILL);
        }
        Case::Paused => return still(ms(2000)),
        Case::Frozen => return still(ms(10_000)),
        Case::Blocked => {
            a.block_advertisements();
            sleep(ms(10_000));
            a.let_advertisements_out();
            return Some(Instant::now());
        }
        Case::TakenAway => {
            for second in 0..12 {
                sleep((now + ms(1000) * second).saturating_duration_since(Instant::now()));
                a.take_away(vip());
            }
        }
        Case::Interface => {
            lab.unplug(a, "eth0");
            sleep(ms(5000));
            lab.plug(a, "eth0");
        }
        Case::Bustle => {
            let mut restless = Restless::on(a);
            restless.bustle(2000, ms(10_000));
            restless.end();
        }
    }
    None
}
