//! What a trial found, and the tables of it.

use std::time::Duration;

use crate::bare::Limit;
use crate::cost::Memory;
use crate::load::Load;
use crate::speaker::Who;

/// How punctual the advertisements of a host were in some span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Punctuality {
    pub spans: usize,
    /// Longer than the interval by more than a fifth of it.
    pub late: usize,
    pub worst: Duration,
}

/// One trial. `None`: it did not come to pass while it was waited for.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Processor time per minute.
    pub active: Duration,
    pub backup: Duration,
    pub memory_active: Memory,
    pub memory_backup: Memory,
    /// From start to the first advertisement of all, and of that what is
    /// beyond Active_Down_Interval.
    pub start: Option<Duration>,
    pub start_late: Punctuality,
    /// The same from the last advertisement that a frozen host sent for an
    /// instance: the largest excess of all instances.
    pub takeover: Option<Duration>,
    pub takeover_late: Punctuality,
    /// From thaw until none of the addresses that both hosts had is on both.
    pub thaw: Option<Duration>,
    /// From thaw until the lower priority has given everything back.
    pub back: Option<Duration>,
    /// From SIGTERM until the other host has every address.
    pub stop: Option<Duration>,
    /// The longest time in which no host had some address.
    pub stop_none: Duration,
    pub stop_late: Punctuality,
    /// From SIGHUP until the new address is there.
    pub reload: Option<Duration>,
    pub reload_late: Punctuality,
    pub status: Vec<Duration>,
    /// No answer within the client's second.
    pub status_failed: usize,
    pub status_late: Punctuality,
}

pub fn print_head() {
    println!(
        "Milliseconds unless said otherwise; median (least to most) of n. Late: spans between"
    );
    println!("advertisements that exceed the interval by more than a fifth, of all spans.");
}

pub fn print_limits(load: Load, limits: &[Limit]) {
    println!("\n## {}\n", load.name());
    let of = |pick: fn(&Limit) -> Duration| spread(limits.iter().map(pick));
    println!("| bare system calls | per minute, ms |");
    println!("|---|---|");
    println!(
        "| send {} advertisements | {} |",
        limits.first().map_or(0, |l| l.count),
        of(|l| l.send)
    );
    println!("| receive them, one by one | {} |", of(|l| l.receive));
    println!("| renew every lease once a second | {} |", of(|l| l.renew));
    println!();
    println!("| | row | figure |\n|---|---|---|");
}

pub fn print(_load: Load, who: Who, runs: &[Figures]) {
    let line = |what: &str, figure: String| println!("| {} | {what} | {figure} |", who.name());
    let span = |pick: &dyn Fn(&Figures) -> Option<Duration>| {
        let known: Vec<Duration> = runs.iter().filter_map(pick).collect();
        let missing = runs.len() - known.len();
        let never = match missing {
            0 => String::new(),
            _ => format!(", {missing} of {} never", runs.len()),
        };
        format!("{}{never}", spread(known.into_iter()))
    };
    line("processor per minute, Active", span(&|f| Some(f.active)));
    line("processor per minute, Backup", span(&|f| Some(f.backup)));
    let kib = |pick: &dyn Fn(&Figures) -> u64| {
        let mut all: Vec<u64> = runs.iter().map(pick).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    line(
        "memory, KiB: PSS and USS, Active; Backup",
        format!(
            "{} and {}; {} and {}",
            kib(&|f| f.memory_active.proportional),
            kib(&|f| f.memory_active.unique),
            kib(&|f| f.memory_backup.proportional),
            kib(&|f| f.memory_backup.unique)
        ),
    );
    line("start: all Active, beyond the timer", span(&|f| f.start));
    line("mass takeover, beyond the timer", span(&|f| f.takeover));
    line("thaw: until one owner each", span(&|f| f.thaw));
    line(
        "thaw: until the higher priority has all back",
        span(&|f| f.back),
    );
    line("planned stop: until all moved", span(&|f| f.stop));
    line(
        "planned stop: longest without owner",
        span(&|f| Some(f.stop_none)),
    );
    line("reload that adds an address", span(&|f| f.reload));
    if who != Who::Keepalived {
        let all = runs.iter().flat_map(|run| run.status.iter().copied());
        let failed: usize = runs.iter().map(|run| run.status_failed).sum();
        let failed = match failed {
            0 => String::new(),
            some => format!(", {some} unanswered"),
        };
        line("status --json", spread(all) + &failed);
    }
    let late = |pick: &dyn Fn(&Figures) -> Punctuality| {
        let all: Vec<Punctuality> = runs.iter().map(pick).collect();
        let (late, spans) = all
            .iter()
            .fold((0, 0), |(l, s), p| (l + p.late, s + p.spans));
        let worst = all.iter().map(|p| p.worst).max().unwrap_or_default();
        format!("{late} of {spans}, worst +{}", ms(worst))
    };
    line("late at start", late(&|f| f.start_late));
    line("late in takeover", late(&|f| f.takeover_late));
    line("late in stop", late(&|f| f.stop_late));
    line("late at reload", late(&|f| f.reload_late));
    line("late under status", late(&|f| f.status_late));
}

fn ms(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64() * 1e3)
}

fn spread(spans: impl Iterator<Item = Duration>) -> String {
    let mut all: Vec<Duration> = spans.collect();
    all.sort_unstable();
    let (Some(least), Some(most)) = (all.first(), all.last()) else {
        return "never".to_owned();
    };
    let median = all.get(all.len() / 2).copied().unwrap_or_default();
    match all.len() {
        1 => ms(median),
        n => format!("{} ({} to {}, n={n})", ms(median), ms(*least), ms(*most)),
    }
}
