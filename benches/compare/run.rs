//! One run of one row, and what was seen of each of its steps.

use std::fmt::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::lab::outage::Outage;
use crate::lab::prober::{ProbeReport, Prober};
use crate::lab::{LONG, ms, vip, write};
use crate::pair::Pair;
use crate::plan::{Figure, Scenario, Who, goal};
use crate::strike::{Left, strike};

/// The prober asks every millisecond: what was under way when a step began is
/// the step's.
const UNDER_WAY: Duration = Duration::from_millis(2);
/// The client is known to all by then.
const AT_REST: Duration = Duration::from_millis(500);

/// What came of a step, from its beginning to the next one's.
#[derive(Clone, Debug)]
pub struct Seen {
    pub lost: usize,
    /// The longest time between two probes that were answered in time, with
    /// some between them that were not.
    pub gap: Duration,
    /// The longest time between two answers, the machine's standstills and
    /// those of the prober included.
    pub silence: Duration,
    /// The longest time in which the prober itself, a real-time thread, could
    /// not run; of the whole run.
    pub stood_still: Duration,
    /// The longest time during which both kernels held the address, and how
    /// long none did, all together.
    pub two: Duration,
    pub none: Duration,
    /// When the client began to take the other host for it.
    pub taken: Option<Duration>,
    /// Of a and b.
    pub adverts: [usize; 2],
    pub announcements: [usize; 2],
}

impl Seen {
    pub fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Lost => f64::from(u32::try_from(self.lost).unwrap_or(u32::MAX)),
            Figure::Gap => self.gap.as_secs_f64() * 1e3,
            Figure::Two => self.two.as_secs_f64() * 1e3,
        }
    }
}

/// The first step comes at this part of an interval.
pub fn run(scenario: &Scenario, who: Who, interval: Duration, part: f64) -> Vec<Seen> {
    let mut pair = Pair::new(who, scenario.case, interval);
    pair.settle();
    let prober = Prober::start(&pair.client, vip());
    prober.wait_answered(LONG);
    sleep(AT_REST);
    pair.wait_until_part(part);
    let mut left = Left::default();
    let mut begun = Vec::new();
    for (number, step) in scenario.steps.iter().enumerate() {
        let now = strike(&pair, number, &mut left);
        begun.push(now);
        sleep((now + step.look(interval)).saturating_duration_since(Instant::now()));
    }
    let ended = Instant::now();
    let report = prober.stop();
    begun.push(ended + UNDER_WAY);
    let spans: Vec<[Instant; 2]> = begun.windows(2).map(|two| [two[0], two[1]]).collect();
    let seen: Vec<Seen> = spans
        .iter()
        .enumerate()
        .map(|(number, span)| look(&pair, number, *span, &report))
        .collect();
    let missed = seen.iter().enumerate().any(|(number, seen)| {
        let figure = scenario
            .steps
            .get(number)
            .map(|step| seen.figure(step.figure));
        let most = goal(scenario.case, number, who, interval);
        figure.zip(most).is_some_and(|(figure, most)| figure > most)
    });
    if missed && let Some(directory) = std::env::var_os("VIPWARD_BENCH_TRACES") {
        trace(&pair, &spans, &seen, PathBuf::from(directory));
    }
    seen
}

fn look(pair: &Pair, step: usize, [from, to]: [Instant; 2], report: &ProbeReport) -> Seen {
    let outage = Outage::between([from, to], pair.hosts(), vip());
    let (since, until) = (from - UNDER_WAY, to - UNDER_WAY);
    let mac = match step {
        0 => pair.b.mac("eth0"),
        _ => pair.a.mac("eth0"),
    };
    let taken = pair.client.watch.learnt(from, vip(), mac);
    let counts = |count: &dyn Fn(&str) -> usize| ["a", "b"].map(count);
    Seen {
        lost: report.answers.lost(since, until),
        gap: report.answers.longest_gap(since, until),
        silence: report.answers.longest_silence(since, until),
        stood_still: report.own_stall,
        two: outage.both_longest,
        none: outage.none_held,
        taken: taken.filter(|at| *at < to).map(|at| at - from),
        adverts: counts(&|host| {
            let all = pair.lab.observer.adverts(from, host);
            all.iter().filter(|(at, _)| *at < to).count()
        }),
        announcements: counts(&|host| {
            let all = pair.lab.observer.announcements(from, host, vip());
            all.iter().filter(|frame| frame.at < to).count()
        }),
    }
}

/// For whoever wants to know why a goal was missed: a file with what was said
/// and sent around each step.
fn trace(pair: &Pair, spans: &[[Instant; 2]], seen: &[Seen], directory: PathBuf) {
    let mut text = String::new();
    for (number, ([from, to], seen)) in spans.iter().zip(seen).enumerate() {
        let _ = writeln!(text, "==== step {number}\n{seen:?}");
        for host in pair.hosts() {
            let times = host.watch.times(*from - ms(5), vip());
            let times = times.iter().filter(|(at, _)| at < to);
            let after = |at: &Instant| {
                let ms = |span: Duration| span.as_secs_f64() * 1e3;
                ms(at.saturating_duration_since(*from)) - ms(from.saturating_duration_since(*at))
            };
            let times: Vec<_> = times.map(|(at, held)| (after(at), *held)).collect();
            let _ = writeln!(text, "{} held it (ms after): {times:?}", host.name);
        }
        let _ = writeln!(text, "{}", pair.lab.observer.around(*from, *to - *from));
    }
    for file in pair
        .lab
        .directory
        .path()
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
    {
        if file.path().extension().is_some_and(|kind| kind == "log") {
            let said = std::fs::read(file.path()).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            let _ = writeln!(text, "==== {}\n{said}", file.path().display());
        }
    }
    let (case, who, interval) = (pair.case, pair.who, pair.interval.as_millis());
    let own = std::process::id();
    for number in 0..1000 {
        let path = directory.join(format!("{case:?}-{interval}-{who:?}-{own}-{number}.txt"));
        if !path.exists() {
            return write(&path, &text);
        }
    }
}
