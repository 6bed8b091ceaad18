//! Announcements owed: two bursts after a claim, then a slow refresh
//! (PROTOCOL section 5). Each address runs its own campaign; since those of
//! one claim start together, every address is announced once before any is
//! announced twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::settings::AnnounceSettings;
use super::time::Instant;
use super::values::AddressIndex;

/// Within a burst, from its first announcement. Beyond the list: one a second.
const BURST_MS: [u64; 5] = [0, 20, 100, 300, 1_000];

#[derive(Clone, Debug)]
pub(super) struct Announcer {
    settings: AnnounceSettings,
    campaigns: BTreeMap<AddressIndex, Campaign>,
    /// The campaigns by their next announcement.
    due: BTreeSet<(Instant, AddressIndex)>,
}

#[derive(Clone, Copy, Debug)]
struct Campaign {
    started: Instant,
    /// Announcements made.
    made: u64,
    next: Instant,
}

impl Announcer {
    pub fn new(settings: AnnounceSettings) -> Self {
        Self {
            settings,
            campaigns: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// From the next announcement of each campaign on.
    pub fn reconfigure(&mut self, settings: AnnounceSettings) {
        self.settings = settings;
    }

    /// Starts the campaign of `address` anew; its first announcement is due now.
    pub fn begin(&mut self, now: Instant, address: AddressIndex) {
        self.end(address);
        self.campaigns.insert(
            address,
            Campaign {
                started: now,
                made: 0,
                next: now,
            },
        );
        self.due.insert((now, address));
    }

    pub fn end(&mut self, address: AddressIndex) {
        if let Some(campaign) = self.campaigns.remove(&address) {
            self.due.remove(&(campaign.next, address));
        }
    }

    pub fn end_all(&mut self) {
        self.campaigns.clear();
        self.due.clear();
    }

    /// How many have a campaign, if each of them was announced in it.
    pub fn all_announced(&self) -> Option<usize> {
        let all = self.campaigns.values().all(|campaign| campaign.made > 0);
        (all && !self.campaigns.is_empty()).then_some(self.campaigns.len())
    }

    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next address whose announcement is due; the caller sends it.
    pub fn take_due(&mut self, now: Instant) -> Option<AddressIndex> {
        let (at, address) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, address));
        let campaign = self.campaigns.get_mut(&address)?;
        campaign.made += 1;
        match next_after(&self.settings, campaign, now) {
            Some(next) => {
                campaign.next = next;
                self.due.insert((next, address));
            }
            None => {
                self.campaigns.remove(&address);
            }
        }
        Some(address)
    }
}

/// When the announcement after the `made`th is due. One that was missed is
/// not made up for: the next lies in the future.
fn next_after(settings: &AnnounceSettings, campaign: &Campaign, now: Instant) -> Option<Instant> {
    let repeat = u64::from(settings.repeat.max(1));
    let second = !settings.delay.is_zero();
    let bursts = if second { 2 * repeat } else { repeat };
    let planned = if campaign.made < repeat {
        campaign.started + burst_offset(campaign.made)
    } else if campaign.made < bursts {
        let begin = settings.delay.max(burst_offset(repeat - 1));
        campaign.started + begin + burst_offset(campaign.made - repeat)
    } else if settings.refresh.is_zero() {
        return None;
    } else {
        now + settings.refresh
    };
    let soonest = now + Duration::from_millis(1);
    Some(planned.max(soonest))
}

fn burst_offset(position: u64) -> Duration {
    let listed = usize::try_from(position)
        .ok()
        .and_then(|position| BURST_MS.get(position));
    let last = BURST_MS.len() as u64 - 1;
    let millis = listed
        .copied()
        .unwrap_or(1_000 + (position.saturating_sub(last)) * 1_000);
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(7_000_000_000);

    fn times(settings: AnnounceSettings, count: usize) -> Vec<u128> {
        let mut announcer = Announcer::new(settings);
        announcer.begin(START, AddressIndex(0));
        let mut times = Vec::new();
        while let Some(at) = announcer.next() {
            if times.len() == count {
                break;
            }
            assert_eq!(announcer.take_due(at), Some(AddressIndex(0)));
            times.push(at.since(START).as_millis());
        }
        times
    }

    #[test]
    fn two_bursts_and_a_refresh() {
        assert_eq!(
            times(AnnounceSettings::default(), 12),
            [
                0, 20, 100, 300, 1_000, 5_000, 5_020, 5_100, 5_300, 6_000, 66_000, 126_000
            ]
        );
    }

    #[test]
    fn without_delay_and_refresh_it_ends() {
        let settings = AnnounceSettings {
            repeat: 7,
            delay: Duration::ZERO,
            refresh: Duration::ZERO,
        };
        assert_eq!(times(settings, 99), [0, 20, 100, 300, 1_000, 2_000, 3_000]);
    }

    #[test]
    fn each_address_once_before_any_twice() {
        let mut announcer = Announcer::new(AnnounceSettings::default());
        for index in 0..4 {
            announcer.begin(START, AddressIndex(index));
        }
        let mut order = Vec::new();
        let later = START + Duration::from_millis(1_000);
        while let Some(AddressIndex(index)) = announcer.take_due(later) {
            order.push(index);
            if order.len() == 4 {
                break;
            }
        }
        assert_eq!(order, [0, 1, 2, 3]);
    }

    #[test]
    fn nothing_is_due_early_or_after_the_end() {
        let mut announcer = Announcer::new(AnnounceSettings::default());
        announcer.begin(START, AddressIndex(3));
        assert_eq!(announcer.take_due(START), Some(AddressIndex(3)));
        assert_eq!(announcer.take_due(START + Duration::from_millis(19)), None);
        announcer.end(AddressIndex(3));
        assert_eq!(announcer.next(), None);
        assert_eq!(announcer.take_due(START + Duration::from_secs(9)), None);
    }
}
