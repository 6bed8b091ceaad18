//! What other nodes tell of this instance, and what follows for the election.
//! Advertisements decide; the peer link saves needless waits and needless
//! claims.

use super::*;
use crate::agent::election::outranks;

impl VirtualRouter {
    /// A node told something else of this instance than before.
    pub fn on_told(&mut self, turn: &mut Turn<'_>, node: &NodeName, before: Option<&InstanceNews>) {
        self.look_for_divergence(turn);
        let peer = turn.world.nodes.get(node);
        let news = peer.and_then(|peer| peer.instance_now(turn.now, &self.settings.name));
        let news = news.filter(|news| self.corresponds(news));
        let was_active = before.is_some_and(|news| self.corresponds(news) && news.is_active());
        let is_active = news.is_some_and(InstanceNews::is_active);
        // One that became Backup has lost to another.
        let resigned = was_active && news.is_some_and(InstanceNews::takes_no_part);
        let let_go = before.is_some_and(|before| before.holds) && news.is_some_and(|n| !n.holds);
        match &self.state {
            State::Backup(backup) if resigned => {
                let backup = *backup;
                let left = before.and_then(|news| news.source);
                self.active_has_left(turn, backup, node, left);
            }
            State::Active(active) if let_go => {
                // Its kernel answered for the address until now.
                let active = *active;
                self.reaffirm(turn, active);
                self.announce_due(turn);
            }
            State::Active(_) if is_active => self.settle_between(turn),
            State::Initialize(_)
            | State::Backup(_)
            | State::Claiming(_)
            | State::Active(_)
            | State::Resigning(_) => {}
        }
        self.on_nodes(turn);
    }

    /// Some node is heard again, or no longer.
    pub fn on_nodes(&mut self, turn: &mut Turn<'_>) {
        self.make_haste(turn);
        if matches!(self.state, State::Active(_)) {
            self.settle_between(turn);
        }
        self.refresh(turn);
    }

    /// The Active tells that it is none any more: as good as priority 0.
    fn active_has_left(
        &mut self,
        turn: &mut Turn<'_>,
        mut backup: Backup,
        node: &NodeName,
        left: Option<IpAddr>,
    ) {
        let heard = self.active_router.as_ref().map(|active| active.address);
        if left.is_none() || heard != left || self.active_on_link(turn).is_some() {
            return;
        }
        self.successor_is_lost(Some(node), left, true);
        let wait = if self.is_best_but(turn, node) {
            Duration::ZERO
        } else {
            self.skew(backup.active_interval)
        };
        let at = turn.now + wait;
        backup.better_heard_at = None;
        backup.resigned_at = Some(turn.now);
        if at < backup.down_at {
            backup.down_at = at;
            backup.claim_reason = Reason::Priority;
            backup.preempt_at = None;
        }
        self.state = State::Backup(backup);
        // Nobody is waited for any more, so the timer stays where it is.
        self.active_router = None;
        self.haste = Haste::Skew;
    }

    /// The best of those nodes that tell now that they are Active.
    pub(super) fn active_on_link<'w>(
        &self,
        turn: &Turn<'w>,
    ) -> Option<(&'w NodeName, &'w InstanceNews)> {
        let told = turn.world.nodes.tell(turn.now, &self.settings.name);
        told.filter(|(node, news)| {
            news.is_active() && self.corresponds(news) && !self.has_resigned_since(turn, node, news)
        })
        .max_by_key(|(_, news)| (news.priority, news.source))
    }

    /// Its priority 0 is newer than what it told.
    fn has_resigned_since(&self, turn: &Turn<'_>, node: &NodeName, news: &InstanceNews) -> bool {
        let peer = turn.world.nodes.get(node);
        let told_at = peer.and_then(|peer| peer.told_at(&self.settings.name));
        self.resigned.is_some_and(|(source, at)| {
            news.source == Some(source) && told_at.is_some_and(|told_at| told_at <= at)
        })
    }

    /// The node that tells that it is Active, and of which nothing is heard
    /// on the segment, for one that would claim in `ahead`.
    pub(super) fn silent_active(
        &self,
        turn: &Turn<'_>,
        backup: &Backup,
        ahead: Duration,
    ) -> Option<NodeName> {
        let (node, news) = self.active_on_link(turn)?;
        let down_after = self.settings.down_after;
        let patience = active_down_interval(backup.active_interval, down_after, Duration::ZERO);
        let heard = self.active_router.as_ref().is_some_and(|active| {
            Some(active.address) == news.source
                && turn.now.since(active.last_advert) + ahead < patience
        });
        (!heard).then(|| node.clone())
    }

    /// Two Actives that see each other: the election's rules decide which one
    /// gives way, at once if the segment works between them, and after a look
    /// at it if it does not.
    pub(super) fn settle_between(&mut self, turn: &mut Turn<'_>) {
        let Some(source) = self.source else {
            return;
        };
        let Some((node, news)) = self.active_on_link(turn) else {
            return;
        };
        let Some(theirs) = news.source.map(|source| (news.priority, source)) else {
            return;
        };
        if self.moves_with() == Some(node) {
            return;
        }
        let over = self.proof.claimed_over(turn.now, node);
        if outranks(theirs, (self.priority.get(), source)) && !over {
            self.begin_proof(turn, node.clone());
        }
    }

    /// Loses to an Active that only the peer link tells of.
    pub(super) fn give_way_to(&mut self, turn: &mut Turn<'_>, node: &NodeName) {
        let name = &self.settings.name;
        let peer = turn.world.nodes.get(node);
        let news = peer.and_then(|peer| peer.instance_now(turn.now, name));
        let (Some(news), Some(source)) = (news, self.source) else {
            return;
        };
        let Some(theirs) = news.source.map(|source| (news.priority, source)) else {
            return;
        };
        // Either may be another than when the look began.
        if !(news.is_active() && outranks(theirs, (self.priority.get(), source))) {
            return;
        }
        let parting =
            losing_priority(theirs, (self.priority.get(), source)).map(|priority| Parting {
                priority,
                if_answered: false,
            });
        let interval = match self.settings.version {
            Version::V2 => self.own_interval(),
            Version::V3 => news.advert_interval,
        };
        // Its mates, if it has any, follow as they do after an advertisement.
        self.active_router = Some(ActiveRouter {
            address: theirs.1,
            priority: theirs.0,
            last_advert: turn.now,
            ourselves: false,
            checksum: None,
            node: Some(node.clone()),
        });
        self.linger();
        self.become_backup(turn, Reason::Preempted, interval, parting);
        if let State::Backup(backup) = &mut self.state {
            backup.better_heard_at = Some(turn.now);
        }
        self.refresh(turn);
    }
}
