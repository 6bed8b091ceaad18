//! How much room a file system has left. One that hangs, such as NFS without
//! its server, costs one thread and nobody else's time.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::statvfs::{Statvfs, statvfs};

use super::blocking::{Busy, Slots};
use super::outcome::{Doing, Trouble};
use crate::config::work::probe::{Bytes, DiskProbe, Percent, Room};

/// File systems asked at once.
pub(super) const DISKS_AT_ONCE: usize = 4;

pub(super) struct Disks {
    slots: Slots,
    busy: Busy,
}

/// What is left of what, in units of the file system's own.
#[derive(Clone, Copy, Debug)]
struct Left {
    free: u64,
    total: u64,
}

impl Disks {
    pub fn new() -> Self {
        Self {
            slots: Slots::new(DISKS_AT_ONCE),
            busy: Busy::default(),
        }
    }

    /// In words what is left.
    pub async fn probe(&self, probe: &DiskProbe, doing: &Doing) -> Result<String, Trouble> {
        let path = probe.path.clone();
        let shown = path.display().to_string();
        doing.now(format!("while asking for the room left on {shown}"));
        let Some(taken) = self.busy.take(&path) else {
            let why = format!("the file system of {shown} still does not answer");
            return Err(Trouble::Failed(why));
        };
        let asked = self.slots.run(move || {
            let _taken = taken;
            statvfs(path.as_path())
        });
        let answer = asked.await?.map_err(|error| refused(&probe.path, error))?;
        judge(probe, &answer)
    }
}

fn refused(path: &Path, error: Errno) -> Trouble {
    let path = path.display();
    Trouble::Failed(match error {
        Errno::ENOENT | Errno::ENOTDIR => format!("{path} does not exist"),
        Errno::EACCES => format!("this user may not look at {path}"),
        error => format!("the room left on {path} is not told: {}", error.desc()),
    })
}

fn judge(probe: &DiskProbe, answer: &Statvfs) -> Result<String, Trouble> {
    // As `df`: what is kept for root counts neither as free nor as total.
    let used = answer.blocks().saturating_sub(answer.blocks_free());
    let room = Left {
        free: answer.blocks_available(),
        total: used.saturating_add(answer.blocks_available()),
    };
    let unit = answer.fragment_size();
    let inodes = Left {
        free: answer.files_free(),
        total: answer.files(),
    };
    let mut told = Vec::new();
    let mut short = false;
    if let Some(wanted) = probe.free {
        let (enough, words) = room.judge(wanted, unit);
        short |= !enough;
        told.push(words);
    }
    // Some file systems make inodes as they need them, and count none.
    if let Some(wanted) = probe.inodes.filter(|_| inodes.total > 0) {
        let enough = inodes.share() >= wanted;
        short |= !enough;
        let bound = bound(enough, &wanted);
        told.push(format!("{} of its inodes are free{bound}", inodes.share()));
    }
    let told = format!("{}: {}", probe.path.display(), told.join(", "));
    match short {
        true => Err(Trouble::Failed(told)),
        false => Ok(told),
    }
}

fn bound(enough: bool, wanted: &impl std::fmt::Display) -> String {
    match enough {
        true => String::new(),
        false => format!(", and {wanted} must be"),
    }
}

impl Left {
    /// Cut off, so that what is shown is there.
    fn share(self) -> Percent {
        let hundredths = u128::from(self.free) * 10_000 / u128::from(self.total.max(1));
        Percent(u16::try_from(hundredths).unwrap_or(10_000).min(10_000))
    }

    fn judge(self, wanted: Room, unit: u64) -> (bool, String) {
        let bytes = self.free.saturating_mul(unit);
        let mib = bytes >> 20;
        let enough = match wanted {
            Room::Percent(percent) => self.share() >= percent,
            Room::Bytes(Bytes(least)) => bytes >= least,
        };
        let bound = bound(enough, &wanted);
        let words = format!("{} is free ({mib} MiB){bound}", self.share());
        (enough, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_cut_off() {
        for (free, total, shown) in [
            (0, 100, "0%"),
            (9_999, 100_000, "9.99%"),
            (1, 3, "33.33%"),
            (100, 100, "100%"),
            (0, 0, "0%"),
            (u64::MAX, u64::MAX, "100%"),
        ] {
            assert_eq!(Left { free, total }.share().to_string(), shown);
        }
    }

    #[test]
    fn room_is_judged_by_share_or_size() {
        let left = Left {
            free: 256,
            total: 2560,
        };
        let percent = |hundredths| Room::Percent(Percent(hundredths));
        assert!(left.judge(percent(1_000), 1 << 20).0);
        let short = left.judge(percent(1_001), 1 << 20);
        assert_eq!(
            short,
            (
                false,
                "10% is free (256 MiB), and 10.01% must be".to_owned()
            )
        );
        assert!(left.judge(Room::Bytes(Bytes(256 << 20)), 1 << 20).0);
        let short = left.judge(Room::Bytes(Bytes(1 << 30)), 1 << 20);
        assert_eq!(
            short,
            (false, "10% is free (256 MiB), and 1GiB must be".to_owned())
        );
    }
}
