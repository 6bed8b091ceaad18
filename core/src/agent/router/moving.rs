//! A planned move between two nodes, and a drain, as one instance takes part
//! in them (PROTOCOL section 2). Who asks whom for what, and when it breaks
//! off, is decided for all members of a group in `agent/moves`.

use super::*;
use crate::agent::jobs::HookKind;
use crate::agent::moves::{DrainEnd, Wishes, Yielded};

/// Of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Moving {
    pub part: Part,
    /// Whom it was handed over to: that one is not preempted.
    yielded: Option<Yielded>,
    yielded_moved: bool,
    pub drained: Option<Drained>,
    /// Resigning, to be drained when that is over.
    pub leaving: Option<DrainEnd>,
    /// ... unless nobody comes.
    pub returns: bool,
    /// The node that should hand over to us, instead of losing it.
    wants: Option<NodeName>,
    /// It was asked, and does not.
    asked_in_vain: Option<Instant>,
    /// A check warns that this host will fail.
    warning: bool,
    /// When a hand-over was last wished for that, and that it is wished now.
    warned_at: Option<Instant>,
    warned: bool,
    /// Nobody who is known could be Active.
    pub stranded: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Drained {
    pub since: Instant,
    pub end: DrainEnd,
}

/// Its part in a move that is under way.
#[derive(Clone, Debug, Default)]
pub(super) enum Part {
    #[default]
    None,
    /// Active until the successor has everything.
    Yielding {
        since: Instant,
        node: NodeName,
        source: Option<IpAddr>,
        /// The successor advertises, so we do not.
        silent: bool,
        /// Nothing is held here any more: two hosts with one hardware address
        /// would confuse the switches.
        let_go: bool,
    },
    /// The node lets go for us.
    Taking {
        since: Instant,
        node: NodeName,
        source: Option<IpAddr>,
    },
    /// The node was asked to.
    Requesting { since: Instant, node: NodeName },
}

/// A node that was asked in vain is preempted in the ordinary way for so long.
const IN_VAIN: Duration = Duration::from_secs(10);
/// So long after a wish to hand over that came to nothing there is another.
const WARNED_AGAIN: Duration = Duration::from_secs(10);

impl VirtualRouter {
    /// Active, with nothing in doubt: it can be handed over.
    pub fn is_whole(&self, now: Instant) -> bool {
        matches!(&self.state, State::Active(active) if !active.barred)
            && !self.doubts(now)
            && self.cannot_send.is_none()
            && matches!(self.moving.part, Part::None)
            && !self.awaits_departure()
    }

    /// Why it would not take over from `node`, in words.
    pub fn declines(&self, turn: &Turn<'_>, node: &NodeName) -> Option<String> {
        let name = &self.settings.name;
        let told = turn.world.nodes.get(node);
        let told = told.and_then(|peer| peer.instance_now(turn.now, name));
        if self.stopping {
            return Some(format!("{name}: the agent is stopping"));
        }
        if !matches!(self.state, State::Backup(_)) {
            let why = self.obstacles.blocking_texts().join("; ");
            let why = if why.is_empty() {
                why
            } else {
                format!(": {why}")
            };
            return Some(format!("{name} is {} there{why}", self.state_name()));
        }
        if self.pause(turn.now).is_some() {
            return Some(format!(
                "{name}: its hook before_active has just failed there"
            ));
        }
        match told {
            Some(news) if !self.corresponds(news) => Some(format!(
                "{name} is another virtual router there: VRID {} ({})",
                self.settings.vrid,
                self.settings.family.name()
            )),
            Some(_) => None,
            None => Some(format!(
                "{name}: what {node} tells has not arrived there yet"
            )),
        }
    }

    fn source_of(&self, turn: &Turn<'_>, node: &NodeName) -> Option<IpAddr> {
        let peer = turn.world.nodes.get(node)?;
        peer.instance(&self.settings.name)?.source
    }

    /// `node` lets go: claims, once every hook before that has succeeded.
    pub fn take_from(&mut self, turn: &mut Turn<'_>, node: &NodeName) {
        let source = self.source_of(turn, node);
        self.moving.part = Part::Taking {
            since: turn.now,
            node: node.clone(),
            source,
        };
        self.proof.cancel();
        self.wish = Some(Reason::HandedOver);
    }

    /// Everything that clients need is here, and they were told.
    pub fn has_taken(&self, now: Instant) -> bool {
        let held = |holding: &crate::agent::holdings::Holding| {
            !holding.settings().required || holding.is_held()
        };
        matches!(&self.state, State::Active(active) if !active.barred)
            && self.holdings.are_decided()
            && self.holdings.iter().all(held)
            && self.announcer.next().is_none_or(|at| at > now)
    }

    /// Goes on until the successor advertises, and then answers until it has
    /// everything.
    pub fn yield_to(&mut self, turn: &mut Turn<'_>, node: &NodeName) {
        let source = self.source_of(turn, node);
        self.moving.part = Part::Yielding {
            since: turn.now,
            node: node.clone(),
            source,
            silent: false,
            let_go: self.settings.virtual_mac,
        };
        self.proof.cancel();
        self.refresh(turn);
    }

    pub(super) fn has_let_go(&self) -> bool {
        matches!(self.moving.part, Part::Yielding { let_go: true, .. })
    }

    /// What has to be gone before the successor begins is gone.
    pub fn makes_room(&self) -> bool {
        !self.has_let_go() || self.holdings.are_gone()
    }

    /// The successor advertises.
    pub fn keep_silent(&mut self, now: Instant) {
        if let (Part::Yielding { silent, .. }, State::Active(active)) =
            (&mut self.moving.part, &mut self.state)
        {
            *silent = true;
            // Whoever listens hears the successor.
            active.last_left = now;
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        matches!(self.moving.part, Part::Yielding { silent: true, .. })
    }

    pub(super) fn is_yielding(&self) -> bool {
        matches!(self.moving.part, Part::Yielding { .. })
    }

    pub fn is_taking(&self) -> bool {
        matches!(self.moving.part, Part::Taking { .. })
    }

    /// What is heard of this Active stands in no way: it lets go for us.
    pub(super) fn takes_from(&self, active: Option<IpAddr>) -> bool {
        match &self.moving.part {
            Part::Taking { source, .. } => source.is_none() || *source == active,
            Part::None | Part::Yielding { .. } | Part::Requesting { .. } => false,
        }
    }

    /// Taking, or waiting to.
    pub(super) fn is_promised(&self) -> bool {
        matches!(
            self.moving.part,
            Part::Taking { .. } | Part::Requesting { .. }
        )
    }

    /// The other node of a move in which both are Active.
    pub(super) fn moves_with(&self) -> Option<&NodeName> {
        match &self.moving.part {
            Part::Yielding { node, .. } | Part::Taking { node, .. } => Some(node),
            Part::None | Part::Requesting { .. } => None,
        }
    }

    /// The advertisement, heard while Active, is of the other node of a move:
    /// neither answered nor given way to.
    pub(super) fn moves_with_source(&mut self, now: Instant, source: IpAddr, priority: u8) -> bool {
        match &self.moving.part {
            Part::Yielding { source: other, .. } if *other == Some(source) => {
                if priority > 0 {
                    self.keep_silent(now);
                }
                true
            }
            Part::Taking { source: other, .. } => *other == Some(source),
            Part::Yielding { .. } | Part::None | Part::Requesting { .. } => false,
        }
    }

    /// Row 12 by agreement: the successor has everything. `marked`: it is not
    /// preempted afterwards.
    pub fn hand_over(&mut self, turn: &mut Turn<'_>, marked: bool) {
        let Part::Yielding { node, source, .. } = std::mem::take(&mut self.moving.part) else {
            return;
        };
        if !matches!(self.state, State::Active(_)) {
            return;
        }
        let peer = turn.world.nodes.get(&node);
        let news = peer.and_then(|peer| peer.instance(&self.settings.name));
        let interval = match (self.settings.version, news) {
            (Version::V3, Some(news)) => news.advert_interval,
            (Version::V2, _) | (Version::V3, None) => self.own_interval(),
        };
        self.active_router = source.map(|address| ActiveRouter {
            address,
            priority: news.map_or(0, |news| news.priority),
            last_advert: turn.now,
            ourselves: false,
            checksum: None,
            node: Some(node.clone()),
        });
        self.set_yielded(marked.then_some(Yielded { node, source }));
        self.linger();
        self.become_backup(turn, Reason::HandedOver, interval, None);
        if let State::Backup(backup) = &mut self.state {
            backup.better_heard_at = Some(turn.now);
        }
        self.refresh(turn);
    }

    /// The addresses that are about to go are answered for elsewhere, and
    /// what was demoted does not serve them here.
    pub(super) fn linger(&mut self) {
        let serves = self.hook_time(HookKind::BeforeRelease).is_none();
        self.holdings.linger(serves);
    }

    /// The move is over, or broken off: the election's rules hold again.
    pub fn end_part(&mut self, turn: &mut Turn<'_>) {
        let part = std::mem::take(&mut self.moving.part);
        match (&mut self.state, part) {
            (State::Active(active), Part::Yielding { silent, .. }) => {
                if silent {
                    // Whoever claimed meanwhile hears at once that we stay.
                    active.advert_at = turn.now;
                }
                let active = *active;
                self.reaffirm(turn, active);
            }
            (_, Part::None) => return,
            (_, Part::Yielding { .. } | Part::Taking { .. } | Part::Requesting { .. }) => {}
        }
        if self.is_backup() {
            self.wish = None;
            self.abandon();
        }
        self.refresh(turn);
    }

    pub fn yielded(&self) -> Option<&Yielded> {
        self.moving.yielded.as_ref()
    }

    /// Since an earlier hand-over, or no more.
    pub fn set_yielded(&mut self, yielded: Option<Yielded>) {
        if self.moving.yielded != yielded {
            self.moving.yielded = yielded;
            self.moving.yielded_moved = true;
        }
    }

    /// Whether [`VirtualRouter::yielded`] changed since this was last asked.
    pub fn yielded_moved(&mut self) -> bool {
        std::mem::take(&mut self.moving.yielded_moved)
    }

    /// Another than the successor is Active, or the successor has resigned:
    /// so says an advertisement from `source`, or the peer link. Whose source
    /// that is no node may have told yet, or ever.
    pub(super) fn successor_is_lost(
        &mut self,
        by: Option<&NodeName>,
        source: Option<IpAddr>,
        resigned: bool,
    ) {
        let Some(successor) = &self.moving.yielded else {
            return;
        };
        let it = match by {
            Some(node) => *node == successor.node,
            None if successor.source.is_none() => return,
            None => successor.source == source,
        };
        if it == resigned {
            self.set_yielded(None);
        } else if it && source.is_some() && successor.source != source {
            // It moved.
            let node = successor.node.clone();
            self.set_yielded(Some(Yielded { node, source }));
        }
    }

    /// The node from which it would rather be handed over what it is about to
    /// take: a live Active that is heard by both ways.
    pub fn asks_whom(&self, turn: &Turn<'_>, wish: Option<Reason>) -> Option<NodeName> {
        let preempts = matches!(wish, Some(Reason::Preempted | Reason::Startup));
        let in_vain = self.moving.asked_in_vain;
        if !preempts || in_vain.is_some_and(|at| turn.now.since(at) < IN_VAIN) {
            return None;
        }
        let heard = self.active_router.as_ref()?;
        let (node, news) = self.active_on_link(turn)?;
        let same = news.source == Some(heard.address) && self.is_backup();
        (same && self.hears_incumbent(turn.now)).then(|| node.clone())
    }

    /// Waits for the node's answer instead of claiming.
    pub fn ask_for(&mut self, turn: &mut Turn<'_>, node: &NodeName, leads: bool) {
        self.moving.part = Part::Requesting {
            since: turn.now,
            node: node.clone(),
        };
        if leads {
            self.moving.wants = Some(node.clone());
        }
        self.wish = None;
        let patience = self.own_down_interval();
        if let State::Backup(backup) = &mut self.state {
            // From here on the timer tells when the incumbent falls silent.
            backup.down_at = turn.now + patience;
            backup.claim_reason = Reason::NoResponse;
            backup.preempt_at = None;
        }
    }

    /// Who tells to be Active.
    pub fn told_active(&self, turn: &Turn<'_>) -> Option<NodeName> {
        let (node, _) = self.active_on_link(turn)?;
        Some(node.clone())
    }

    pub fn take_wishes(&mut self) -> Wishes {
        Wishes {
            wants: self.moving.wants.take(),
            warned: std::mem::take(&mut self.moving.warned),
            yielded_moved: self.yielded_moved(),
        }
    }

    /// A check with `on_fail: handover` fails: an Active goes by the planned
    /// way, if somebody is there to take over, and is tried again now and then.
    pub(super) fn look_for_warnings(&mut self, turn: &Turn<'_>) {
        self.moving.warning = turn.world.handover_wanted(&self.settings).next().is_some();
        let due = |at: Instant| turn.now.since(at) >= WARNED_AGAIN;
        if self.moving.warning
            && matches!(self.state, State::Active(_))
            && self.moving.warned_at.is_none_or(due)
        {
            self.moving.warned_at = Some(turn.now);
            self.moving.warned = true;
        }
        if !(self.moving.warning && self.is_active()) {
            self.moving.warned_at = None;
        }
    }

    pub(super) fn warned_again_at(&self) -> Option<Instant> {
        let last = self.moving.warned_at.filter(|_| self.is_active())?;
        Some(last + WARNED_AGAIN)
    }

    /// It preempts nobody: handed over, or about to fail.
    pub(super) fn is_modest(&self) -> bool {
        self.moving.yielded.is_some() || self.moving.warning
    }

    /// The node does not hand over: preempts in the ordinary way.
    pub fn asked_in_vain(&mut self, turn: &mut Turn<'_>) {
        self.moving.part = Part::None;
        self.moving.asked_in_vain = Some(turn.now);
        if self.is_backup() {
            self.wish = Some(Reason::Preempted);
        }
    }

    /// For `status`.
    pub(super) fn show_moves(&mut self) {
        if let Some(drained) = self.moving.drained {
            let text = "an operator took it out; `vipward undrain` brings it back".to_owned();
            self.obstacles.withdraw_from_election(
                drained.since,
                "drained",
                "operator".to_owned(),
                text,
            );
        }
        let shown = match &self.moving.part {
            Part::None => None,
            Part::Yielding { since, node, .. } => {
                Some((*since, node, "is being handed over to it"))
            }
            Part::Taking { since, node, .. } => Some((*since, node, "is being taken over from it")),
            Part::Requesting { since, node } => {
                Some((*since, node, "it was asked to hand it over to us"))
            }
        };
        if let Some((since, node, text)) = shown {
            let source = format!("node {node}");
            self.obstacles
                .show(since, "moving", source, text.to_owned());
        }
        if let Some(Yielded { node, .. }) = &self.moving.yielded {
            let text = "was handed over to it, and takes over when it is lost, or after \
                        `vipward undrain` or a hand-over"
                .to_owned();
            self.obstacles
                .show(self.since, "yielded", format!("node {node}"), text);
        }
    }
}
