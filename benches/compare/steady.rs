//! How evenly advertisements leave, and who takes over although nothing has
//! failed, while four processes want the whole machine: of both programs at
//! once, beside a bare sender that does nothing but send.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lab::cluster::Cluster;
use crate::lab::config::{Router, yaml};
use crate::lab::inject::{Forged, GROUP_MAC};
use crate::lab::outage::Outage;
use crate::lab::prober::Prober;
use crate::lab::process::Process;
use crate::lab::spacing::{Spacing, busy, spans};
use crate::lab::{Host, LONG, Lab, ms, tools, vip, wait_until};

/// Who wants the processor.
const HUNGRY: usize = 4;
/// Between the load's beginning and ours.
const WARM: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A thread with the same real-time scheduling as vipward's.
    Bare,
    Vipward,
    Linked,
    Keepalived,
    /// With `vrrp_rt_priority`, which it does not set by itself.
    KeepalivedRealTime,
}

const SENDERS: [(Sender, &str); 5] = [
    (Sender::Bare, "a bare SCHED_FIFO sender"),
    (Sender::Vipward, "vipward"),
    (Sender::Linked, "vipward, peer link"),
    (Sender::Keepalived, "keepalived"),
    (Sender::KeepalivedRealTime, "keepalived, `vrrp_rt_priority`"),
];

/// Host a sends and b listens; `client` asks a.
struct Stand {
    sender: Sender,
    text: &'static str,
    lab: Lab,
    a: Host,
    b: Host,
    client: Host,
    /// Held for as long as they are to run.
    _speakers: Vec<Process>,
    _bare: Option<Bare>,
}

pub fn measure(minutes: f64) {
    for interval in [ms(10), ms(100)] {
        let span = Duration::from_secs_f64(minutes * 60.0);
        match tools::stress_ng() {
            Ok(_) => println!("\n{interval:?}, `stress-ng --cpu {HUNGRY}`, for {span:?}\n"),
            Err(reason) => println!("\n{interval:?}, {HUNGRY} loops ({reason}), for {span:?}\n"),
        }
        round(interval, span);
    }
}

fn round(interval: Duration, span: Duration) {
    let there = |sender: &Sender| match sender {
        Sender::Keepalived | Sender::KeepalivedRealTime => tools::keepalived().is_ok(),
        Sender::Bare | Sender::Vipward | Sender::Linked => true,
    };
    let stands: Vec<Stand> = SENDERS
        .into_iter()
        .filter(|(sender, _)| there(sender))
        .map(|(sender, text)| Stand::new(sender, text, interval))
        .collect();
    let hungry = Lab::new();
    let _load = load(&hungry, span + WARM + LONG);
    thread::sleep(WARM);
    let from = Instant::now();
    let probers: Vec<Option<Prober>> = stands.iter().map(Stand::probe).collect();
    thread::sleep(span);
    let until = Instant::now();
    let reports = probers.into_iter().map(|prober| Some(prober?.stop()));
    let reports: Vec<_> = reports.collect();
    println!(
        "| who | n | median | p99 | p99.9 | max | min | longer than the patience | takeovers | two owners, longest | lost of the client's probes | longest without an answer |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let patience = Router::new(100).interval_ms(interval.as_millis().try_into().unwrap_or(0));
    for (stand, report) in stands.iter().zip(reports) {
        let all = spans(&stand.lab, "a", from);
        let late = all
            .iter()
            .filter(|one| **one > patience.down_interval())
            .count();
        let times = stand.b.watch.times(from, vip());
        let takeovers = times
            .iter()
            .filter(|(at, held)| *held && *at < until)
            .count();
        let outage = Outage::between([from, until], [&stand.a, &stand.b], vip());
        let ms = |span: Duration| format!("{:.1}", span.as_secs_f64() * 1e3);
        let client = match report {
            None => " | ".to_owned(),
            Some(report) => format!(
                "{} of {} | {}",
                report.lost,
                report.sent,
                ms(report.answers.longest_gap(from, until))
            ),
        };
        let (takeovers, two) = match stand.sender {
            Sender::Bare => (String::new(), String::new()),
            _ => (takeovers.to_string(), ms(outage.both_longest)),
        };
        println!(
            "| {} | {} | {late} | {takeovers} | {two} | {client} |",
            stand.text,
            Spacing::new(all)
        );
    }
}

impl Stand {
    fn new(sender: Sender, text: &'static str, interval: Duration) -> Self {
        let lab = Lab::new();
        let ([a, b], _gateway) = lab.nodes(["a", "b"]);
        let client = lab.host("client");
        let cluster = (sender == Sender::Linked).then(|| Cluster::of(&lab, &[&a, &b]));
        let start = |host: &Host, priority| {
            let count = interval.as_millis().try_into().expect("short");
            let router = Router::new(priority).interval_ms(count);
            match sender {
                Sender::Bare => None,
                Sender::Vipward | Sender::Linked => {
                    let section = cluster.as_ref().map(Cluster::section).unwrap_or_default();
                    let text = yaml(&host.name, &[router]) + &section;
                    Some(lab.agent_with(host, &text).process)
                }
                Sender::Keepalived => Some(lab.keepalived(host, &router)),
                Sender::KeepalivedRealTime => {
                    // Its own limit of 10 ms of processor time kills it at the start.
                    let real_time = "global_defs {\n  vrrp_rt_priority 10\n  \
                        vrrp_rlimit_rttime 10000000\n";
                    let text = router.keepalived(host.v4());
                    let text = text.replacen("global_defs {\n", real_time, 1);
                    Some(lab.keepalived_with(host, &text))
                }
            }
        };
        let speakers: Vec<_> = [start(&a, 200), start(&b, 100)]
            .into_iter()
            .flatten()
            .collect();
        let bare = (sender == Sender::Bare).then(|| Bare::start(&a, interval));
        if !speakers.is_empty() {
            wait_until("a alone has the address", LONG, || {
                a.has(vip()) && !b.has(vip())
            });
        }
        Self {
            sender,
            text,
            lab,
            a,
            b,
            client,
            _speakers: speakers,
            _bare: bare,
        }
    }

    fn probe(&self) -> Option<Prober> {
        let asked = self.sender != Sender::Bare;
        asked.then(|| Prober::start(&self.client, vip()))
    }
}

/// Sends the same advertisement at each interval, and does nothing else.
struct Bare {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    fn start(host: &Host, interval: Duration) -> Self {
        let frame = Forged::v4(host.v4(), 200).frame(host, GROUP_MAC);
        let send = host.sender();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            vipward::net::rights::raise_priority().expect("the right to real-time scheduling");
            let mut next = Instant::now();
            while !told.load(Ordering::Relaxed) {
                send(&frame);
                next = (next + interval).max(Instant::now());
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Gone with what is returned, and by itself after `at_most`.
fn load(lab: &Lab, at_most: Duration) -> Vec<Process> {
    let Ok(program) = tools::stress_ng() else {
        return busy(lab, HUNGRY, 0);
    };
    let mut command: Command = program.command();
    command.args(["--cpu", &HUNGRY.to_string()]);
    command.args(["--timeout", &at_most.as_secs().to_string()]);
    vec![Process::start("stress-ng", command, lab.directory.path())]
}
