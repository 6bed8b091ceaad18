//! Two address owners (erratum 8298 of RFC 9568): their advertisements are
//! heard like any others, so that one gives way, and the mistake is told.

use super::*;
use crate::agent::ladder::Advert;

/// It is shown for so long after the other was last heard as an owner: one of
/// the two is silent once it has given way.
const SHOWN: Duration = Duration::from_secs(60);

/// Another router that takes itself for the owner of our addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecondOwner {
    source: IpAddr,
    since: Instant,
    pub until: Instant,
}

impl VirtualRouter {
    /// Whatever becomes of the advertisement.
    pub(super) fn look_for_owner(&mut self, turn: &mut Turn<'_>, advert: &Advert<'_>) {
        let known = self.second_owner;
        let owners = self.settings.priority.is_owner() && advert.priority == Priority::OWNER.get();
        if !owners {
            if known.is_some_and(|known| known.source == advert.source) {
                self.second_owner = None;
                self.refresh(turn);
            }
            return;
        }
        self.second_owner = Some(SecondOwner {
            source: advert.source,
            since: known.map_or(turn.now, |known| known.since),
            until: turn.now + SHOWN,
        });
        if known.is_some() {
            return;
        }
        let source = advert.source;
        turn.report(Some(&self.settings.name), Fact::TwoOwners { source });
        self.refresh(turn);
    }

    pub(super) fn show_second_owner(&mut self, now: Instant) {
        let owner = self.settings.priority.is_owner();
        self.second_owner = self.second_owner.filter(|other| owner && other.until > now);
        if let Some(other) = self.second_owner {
            let source = format!("router {}", other.source);
            let text = "advertises priority 255 as this host does, and an address has one owner: \
                        lower the priority of one of the two"
                .to_owned();
            self.obstacles.show(other.since, "two-owners", source, text);
        }
    }
}
