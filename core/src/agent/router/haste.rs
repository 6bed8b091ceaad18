//! How long a Backup waits beyond silence. Skew_Time orders backups that know
//! nothing of each other; who knows itself to be the best live candidate need
//! not wait for others (DESIGN section 5.3).

use super::*;
use crate::agent::election::outranks;

/// What is waited beyond `down_after` intervals of silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Haste {
    /// Skew_Time.
    #[default]
    Skew,
    /// No more than a tenth of an interval: nobody better is there, but the
    /// Active may be.
    Tenth,
    /// The Active has been as silent on the peer link.
    None,
}

impl VirtualRouter {
    /// What is waited beyond silence, by what is known now.
    pub(super) fn waiting(&self, active_interval: Duration) -> Duration {
        match self.haste {
            Haste::Skew => self.skew(active_interval),
            Haste::Tenth => self.skew(active_interval).min(active_interval / 10),
            Haste::None => Duration::ZERO,
        }
    }

    /// Judges afresh, for the Active that was heard last, and moves the
    /// Active_Down_Timer by what that changes.
    pub(super) fn make_haste(&mut self, turn: &Turn<'_>) {
        let before = self.own_down_interval();
        self.haste = self.haste_now(turn);
        self.move_down_timer(turn.now, before);
    }

    pub(super) fn haste_now(&self, turn: &Turn<'_>) -> Haste {
        let Some(active) = self.active_router.as_ref() else {
            return Haste::Skew;
        };
        if !self.is_best_without(turn, active.address) {
            return Haste::Skew;
        }
        let node = self.node_at(turn, active.address);
        let peer = node.and_then(|node| turn.world.nodes.get(node));
        let silent = |peer: &Peer| {
            let last = peer.last_heard();
            !peer.is_reachable() && last.is_none_or(|last| last <= active.last_advert)
        };
        match peer {
            Some(peer) if silent(peer) => Haste::None,
            Some(_) | None => Haste::Tenth,
        }
    }

    /// The node whose advertisements have this source.
    pub(super) fn node_at<'w>(&self, turn: &Turn<'w>, source: IpAddr) -> Option<&'w NodeName> {
        let name = &self.settings.name;
        let mut nodes = turn.world.nodes.iter();
        let found = nodes.find(|(_, peer)| {
            let news = peer.instance(name).filter(|news| self.corresponds(news));
            news.is_some_and(|news| news.source == Some(source))
        });
        found.map(|(node, _)| node)
    }

    /// The same virtual router: what is told about another one under the same
    /// name means nothing here.
    pub(super) fn corresponds(&self, news: &InstanceNews) -> bool {
        (news.vrid, news.family) == (self.settings.vrid, self.settings.family)
    }

    /// Nobody else would claim before us if the one at `leaver` went: it is
    /// the only unicast peer, or no node that is heard has the better
    /// candidate.
    pub(super) fn is_best_without(&self, turn: &Turn<'_>, leaver: IpAddr) -> bool {
        if let [only] = self.settings.unicast_peers.as_slice() {
            return *only == leaver;
        }
        let leaving = self.node_at(turn, leaver);
        leaving.is_some_and(|leaving| self.is_best_but(turn, leaving))
    }

    /// The same of a node.
    pub(super) fn is_best_but(&self, turn: &Turn<'_>, leaving: &NodeName) -> bool {
        let Some(source) = self.source else {
            return false;
        };
        let ours = (self.priority.get(), source);
        let mut others = turn.world.nodes.iter().filter(|(node, _)| *node != leaving);
        others.all(|(_, peer)| {
            if !peer.is_reachable() {
                return true;
            }
            // Heard, and has not told of it yet: it may be the better one.
            let Some(news) = peer.instance_now(turn.now, &self.settings.name) else {
                return peer.has_told_all() && peer.instance(&self.settings.name).is_none();
            };
            let theirs = news.source.map(|source| (news.priority, source));
            !(self.corresponds(news)
                && news.is_candidate()
                && theirs.is_some_and(|theirs| outranks(theirs, ours)))
        })
    }

    /// Who hears us waits at least this long for our next advertisement
    /// before it takes us for lost.
    pub(super) fn peers_patience(&self, turn: &Turn<'_>) -> Duration {
        let interval = self.own_interval();
        let hasty = !turn.world.nodes.is_empty() || self.settings.unicast_peers.len() == 1;
        if hasty {
            active_down_interval(interval, self.settings.down_after, Duration::ZERO)
        } else {
            self.down_interval(interval)
        }
    }
}
