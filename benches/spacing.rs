//! How evenly advertisements leave at an interval of 100 ms: at rest, beside
//! a busy processor, and beside that with 100 scripts a second; of vipward
//! and of keepalived, round after round in the same run.
//!
//! `cargo bench --bench spacing`; `VIPWARD_BENCH_ROUNDS` (3) rounds of
//! `VIPWARD_BENCH_SECONDS` (20) for each row. Runs in namespaces of its own,
//! as the end-to-end tests do, and needs what they need.

#[path = "../tests/e2e/lab/mod.rs"]
#[allow(dead_code, reason = "the laboratory serves the end-to-end tests too")]
mod lab;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use lab::config::Router;
use lab::process::Process;
use lab::spacing::{SCRIPTS, Scripts, Spacing, busy, spans};
use lab::tools::{self, Program};
use lab::{Host, LONG, Lab, isolation, ms, stall, vip};

#[derive(Clone, Copy)]
enum Who {
    Vipward,
    /// Without the right to real-time scheduling.
    VipwardOrdinary,
    Keepalived,
    /// With `vrrp_rt_priority`, which it does not set by itself.
    KeepalivedRealTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    None,
    Busy,
    BusyAndScripts,
}

struct Row {
    who: Who,
    load: Load,
    spans: Vec<Duration>,
    scripts: usize,
    takeovers: usize,
}

const WHO: [(Who, &str); 4] = [
    (Who::Vipward, "vipward"),
    (Who::VipwardOrdinary, "vipward, ordinary scheduling"),
    (Who::Keepalived, "keepalived"),
    (Who::KeepalivedRealTime, "keepalived, vrrp_rt_priority"),
];

const LOADS: [(Load, &str); 3] = [
    (Load::None, "at rest"),
    (Load::Busy, "2 busy processes"),
    (Load::BusyAndScripts, "the same, 100 scripts/s"),
];

fn main() -> ExitCode {
    isolation::enter();
    if let Some(reason) = isolation::missing() {
        eprintln!("nothing measured: {reason}");
        return ExitCode::FAILURE;
    }
    stall::start_meter();
    let keepalived = tools::keepalived();
    if let Err(reason) = &keepalived {
        eprintln!("without keepalived: {reason}");
    }
    let number = |name, default| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let rounds = number("VIPWARD_BENCH_ROUNDS", 3);
    let span = Duration::from_secs(number("VIPWARD_BENCH_SECONDS", 20));
    let mut rows: Vec<Row> = Vec::new();
    for (load, _) in LOADS {
        for (who, _) in WHO {
            let ours = matches!(who, Who::Vipward | Who::VipwardOrdinary);
            if ours || keepalived.is_ok() {
                rows.push(Row {
                    who,
                    load,
                    spans: Vec::new(),
                    scripts: 0,
                    takeovers: 0,
                });
            }
        }
    }
    for _ in 0..rounds {
        for row in &mut rows {
            round(row, span);
        }
    }
    println!("load | who | n | median | p99 | p99.9 | max | min (ms) | scripts/s | takeovers");
    for row in &rows {
        let who = WHO.iter().find(|(who, _)| *who as u8 == row.who as u8);
        let load = LOADS.iter().find(|(load, _)| *load == row.load);
        println!(
            "{:<24}| {:<29}| {} | {:>5.1} | {}",
            load.map_or("", |(_, text)| text),
            who.map_or("", |(_, text)| text),
            Spacing::new(row.spans.clone()),
            row.scripts as f64 / (span.as_secs_f64() * rounds as f64),
            row.takeovers
        );
    }
    ExitCode::SUCCESS
}

fn round(row: &mut Row, span: Duration) {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let scripts = Scripts::new(&lab, "all");
    let began = Instant::now();
    let _speaker = start(&lab, &a, row, &scripts);
    a.watch.wait(began, vip(), true, LONG);
    let peer = lab.agent(&b, &[Router::new(100).interval_ms(100)]);
    peer.wait_state("web", "backup", LONG);
    let _busy = match row.load {
        Load::None => Vec::new(),
        Load::Busy | Load::BusyAndScripts => busy(&lab, 2, 0),
    };
    std::thread::sleep(ms(1_000));
    let (from, before) = (Instant::now(), scripts.runs());
    std::thread::sleep(span);
    row.spans.extend(spans(&lab, "a", from));
    row.scripts += scripts.runs() - before;
    row.takeovers += b
        .watch
        .times(from, vip())
        .iter()
        .filter(|(_, on)| *on)
        .count();
}

fn start(lab: &Lab, host: &Host, row: &Row, scripts: &Scripts) -> Process {
    let router = Router::new(200).interval_ms(100);
    let with_scripts = row.load == Load::BusyAndScripts;
    match row.who {
        Who::Vipward | Who::VipwardOrdinary => {
            let text = match with_scripts {
                true => scripts.vipward(&host.name, router),
                false => lab::config::yaml(&host.name, &[router]),
            };
            let ordinary = matches!(row.who, Who::VipwardOrdinary);
            let agent = lab.agent_by(host, &text, |command| {
                if ordinary {
                    *command = without_real_time(host, command);
                }
            });
            agent.process
        }
        Who::Keepalived | Who::KeepalivedRealTime => {
            let mut text = router.keepalived(host.v4());
            if matches!(row.who, Who::KeepalivedRealTime) {
                // Its own limit of 10 ms of processor time kills it at the start.
                let real_time = "global_defs {\n  vrrp_rt_priority 10\n  \
                    vrrp_rlimit_rttime 10000000\n";
                text = text.replacen("global_defs {\n", real_time, 1);
            }
            if with_scripts {
                text = tracking(scripts, &text);
            }
            lab.keepalived_with(host, &text)
        }
    }
}

/// keepalived's configuration `text`, tracking all of `scripts`.
fn tracking(scripts: &Scripts, text: &str) -> String {
    let security = "global_defs {\n  enable_script_security\n  script_user root\n";
    let text = text.replacen("global_defs {\n", security, 1);
    let path = scripts.script.display();
    let one = |n| format!("vrrp_script s{n} {{\n  script {path}\n  interval 1\n  timeout 20\n}}\n");
    let all: String = (0..SCRIPTS).map(one).collect();
    let tracked: String = (0..SCRIPTS).map(|n| format!("    s{n}\n")).collect();
    let text = text.replacen("vrrp_instance", &format!("{all}vrrp_instance"), 1);
    let end = text.rfind('}').unwrap_or(text.len());
    let before = text.get(..end).unwrap_or_default();
    format!("{before}  track_script {{\n{tracked}  }}\n}}\n")
}

/// The same command, started by `setpriv`.
fn without_real_time(host: &Host, command: &Command) -> Command {
    let setpriv = Program {
        path: "setpriv".into(),
        library_path: None,
    };
    let program = lab::agent::program().path;
    let all: Vec<_> = command.get_args().collect();
    let from = all
        .iter()
        .position(|argument| *argument == program.as_os_str());
    let mut other = host.namespace.command(&setpriv);
    other.arg("--bounding-set=-sys_nice");
    other.args(all.get(from.unwrap_or_default()..).unwrap_or_default());
    other
}
