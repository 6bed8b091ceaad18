//! What a program and all that it started cost: processor time to the
//! nanosecond, memory as the kernel adds it up.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// `root` and its descendants that live.
pub fn family(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parents: BTreeMap<u32, u32> = numbers
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(one) = found.get(at).copied() {
        let children = parents.iter().filter(|(_, parent)| **parent == one);
        found.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, tail) = stat.rsplit_once(')')?;
    tail.split_whitespace().nth(1)?.parse().ok()
}

/// Of all their threads so far. A thread that ends takes its share along.
pub fn processor(pids: &[u32]) -> Duration {
    let threads = pids.iter().flat_map(|pid| {
        let entries = fs::read_dir(format!("/proc/{pid}/task"));
        entries.into_iter().flatten().flatten()
    });
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// In KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Shared pages in parts.
    pub proportional: u64,
    /// What nobody else has.
    pub unique: u64,
}

pub fn memory(pids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let of = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        sum.proportional += of("Pss:");
        sum.unique += of("Private_Clean:") + of("Private_Dirty:");
    }
    sum
}
