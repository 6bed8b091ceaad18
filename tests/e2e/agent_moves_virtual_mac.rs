//! A hand-over with a virtual hardware address breaks before it makes: what a
//! client misses meanwhile. The goal, 5 ms, is judged on a quiet machine, with
//! `VIPWARD_MOVES=20`; here it is shown, and bounded with room.

use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::agent_link::Pair;
use crate::agent_moves::{PAUSE, ordered, runs};
use crate::lab::config::Router;
use crate::lab::prober::Prober;
use crate::lab::{LONG, ms, vip, vip6};
use crate::{Needs, trial};

/// Less than what a resignation would cost at this interval, 609 ms.
const GAP_MAX_MS: u64 = 400;

pub fn trials() -> Vec<Trial> {
    [(false, "ipv4"), (true, "ipv6")]
        .map(|(v6, family)| {
            let name = format!("agent_moves_virtual_mac_{family}");
            trial(name, Needs::Nothing, move || handed_over(v6))
        })
        .into()
}

fn handed_over(v6: bool) {
    let router = |priority| {
        let router = Router::new(priority).interval_ms(1000);
        let router = if v6 { router.ipv6() } else { router };
        router.with("virtual_mac: true")
    };
    let pair = Pair::of([router(200), router(100)], |cluster| cluster);
    let client = pair.lab.host("client");
    let address = if v6 { vip6() } else { vip() };
    let (mut gaps, mut unheld) = (Vec::new(), Vec::new());
    for run in 0..runs() {
        let (from, to, agent) = match run % 2 {
            0 => (&pair.a, &pair.b, &pair.first),
            _ => (&pair.b, &pair.a, &pair.other),
        };
        let prober = Prober::start(&client, address);
        prober.wait_answered(LONG);
        sleep(PAUSE);
        let ordered_at = Instant::now();
        let text = ordered(agent, &["handover", "web", "--to", &to.name]);
        assert!(
            text.contains(&format!("handed over to {}", to.name)),
            "{text}"
        );
        let gone = from.watch.wait(ordered_at, address, false, LONG);
        let there = to.watch.wait(ordered_at, address, true, LONG);
        unheld.push(there.saturating_duration_since(gone));
        prober.wait_answered(LONG);
        sleep(ms(200));
        let report = prober.stop();
        let room = ms(GAP_MAX_MS) + report.own_stall;
        assert!(report.longest_gap <= room, "from {}: {report:?}", from.name);
        gaps.push(report.longest_gap);
    }
    for (what, spans) in [
        ("the client's longest gap", gaps),
        ("nobody held it", unheld),
    ] {
        println!("    {what}, in {}", told(spans));
    }
}

fn told(mut spans: Vec<Duration>) -> String {
    spans.sort_unstable();
    let [least, median, most] = [0, spans.len() / 2, spans.len() - 1].map(|n| spans[n]);
    let count = spans.len();
    format!("{count} moves: median {median:.1?}, {least:.1?} to {most:.1?}")
}
