//! Proof before a claim (DESIGN section 5.4): an Active is not heard, and the
//! peer link says that it is there. Is it the segment, or only its
//! advertisements? The question is put while the last interval of patience
//! runs, so that the answer costs no time; it counts when that is over.

use super::*;
use crate::agent::cluster::message::Word;
use crate::agent::report::Finding;

/// The other node has so much more time to tell what it found: it looks as long.
const ANSWER: Duration = Duration::from_millis(150);
/// After a claim over another's head that one is given this long to go.
const GRACE: Duration = Duration::from_secs(1);
/// The obstacles that say what was found.
pub(super) const SHOWN: [&str; 2] = ["split-heartbeat-path", "segment-undecided"];
/// Witnesses asked at most.
const WITNESSES_MAX: usize = 8;

/// What is being found out, and what was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    round: u32,
    asking: Option<Box<Asking>>,
    /// The end of patience that was looked ahead of.
    looked_ahead_of: Option<Instant>,
    pub(super) showing: Option<Box<Showing>>,
    /// For `status`, until the Active is heard or is another.
    found: Option<Box<Found>>,
    claimed_over: Option<(NodeName, Instant)>,
    /// Since when another node says of us what is shown here.
    mirrored_since: Option<Instant>,
    /// A witness answered the last look.
    pub(super) witnessed: Option<bool>,
}

/// We ask for an Active that is silent.
#[derive(Clone, Debug)]
struct Asking {
    node: NodeName,
    /// Patience is over: what is found decides.
    due: bool,
    look: Look,
    peer_answered: bool,
    /// What the other node says of its own look.
    shown: Option<bool>,
}

#[derive(Clone, Debug)]
struct Found {
    since: Instant,
    finding: Finding,
    node: NodeName,
}

impl Proof {
    pub fn next(&self) -> Option<Instant> {
        let asking = self.asking.as_ref().and_then(|asking| asking.next());
        let showing = self.showing.as_ref().filter(|showing| !showing.told);
        let showing = showing.map(|showing| showing.look.next());
        asking.into_iter().chain(showing).min()
    }

    /// Whether a witness answered when one was last asked.
    pub fn witnessed(&self) -> Option<bool> {
        self.witnessed
    }

    /// Nothing is asked any more.
    pub fn cancel(&mut self) {
        self.asking = None;
    }

    /// An advertisement of this node was heard after all.
    /// Returns whether that is news.
    pub fn heard(&mut self, node: &NodeName) -> bool {
        self.asking.take_if(|asking| asking.node == *node);
        self.found.take_if(|found| found.node == *node).is_some()
    }

    /// Everything begins anew.
    pub fn forget(&mut self) {
        self.asking = None;
        self.showing = None;
        self.found = None;
    }

    /// It was told to go just now.
    pub fn claimed_over(&self, now: Instant, node: &NodeName) -> bool {
        let known = self.claimed_over.as_ref();
        known.is_some_and(|(over, at)| over == node && now.since(*at) < GRACE)
    }
}

impl Asking {
    fn next(&self) -> Option<Instant> {
        if self.look.has_questions() {
            return Some(self.look.next());
        }
        let end = match self.waits_for_answer() {
            true => self.answer_by(),
            false => self.look.until,
        };
        self.due.then_some(end)
    }

    fn answer_by(&self) -> Instant {
        self.look.until + ANSWER
    }

    /// Our own look is over, or answered, and the other's is not known.
    fn waits_for_answer(&self) -> bool {
        self.shown.is_none() && !self.peer_answered
    }
}

impl VirtualRouter {
    /// Patience with `node` is over.
    pub(super) fn begin_proof(&mut self, turn: &mut Turn<'_>, node: NodeName) {
        match &mut self.proof.asking {
            Some(asking) if asking.due => return,
            Some(asking) if asking.node == node && asking.look.is_recent(turn.now) => {
                asking.due = true;
            }
            Some(_) | None => self.ask_about(turn.now, node, true),
        }
        self.proof_wakes(turn);
    }

    fn ask_about(&mut self, now: Instant, node: NodeName, due: bool) {
        let interval = match &self.state {
            State::Backup(backup) => backup.active_interval,
            _ => self.own_interval(),
        };
        self.proof.round = self.proof.round.wrapping_add(1);
        self.proof.asking = Some(Box::new(Asking {
            node,
            due,
            look: Look::new(now, look::span(interval)),
            peer_answered: false,
            shown: None,
        }));
    }

    /// When to look at the segment before patience with an Active is over.
    pub(super) fn look_ahead_at(&self, backup: &Backup) -> Option<Instant> {
        let known = self.proof.looked_ahead_of == Some(backup.down_at);
        let silence = backup.linked && backup.claim_reason == Reason::NoResponse && !known;
        let at = backup.down_at.minus(look::span(backup.active_interval));
        silence.then_some(at)
    }

    /// Asks about an Active whose advertisements are missing, although its
    /// node was heard when one had been due.
    pub(super) fn look_ahead(&mut self, turn: &mut Turn<'_>, backup: &Backup) {
        if self.look_ahead_at(backup).is_none_or(|at| at > turn.now) {
            return;
        }
        self.proof.looked_ahead_of = Some(backup.down_at);
        let node = self.silent_active(turn, backup, look::span(backup.active_interval));
        let node = node.filter(|node| {
            let last = turn.world.nodes.get(node).and_then(Peer::last_heard);
            let active = self.active_router.as_ref();
            let next = active.map(|active| active.last_advert + backup.active_interval);
            // Where no Active was ever heard, the link alone speaks of one.
            last >= next
        });
        let asks = self.proof.asking.as_ref().is_some_and(|asking| asking.due);
        if let Some(node) = node.filter(|_| !asks && backup.down_at > turn.now) {
            self.ask_about(turn.now, node, false);
            self.proof_wakes(turn);
        }
    }

    pub(super) fn proof_wakes(&mut self, turn: &mut Turn<'_>) {
        self.show(turn);
        let Some(mut asking) = self.proof.asking.clone() else {
            return;
        };
        let peer = turn.world.nodes.get(&asking.node);
        let news = peer.and_then(|peer| peer.instance_now(turn.now, &self.settings.name));
        let Some(target) = news
            .filter(|news| news.is_active())
            .and_then(|news| news.source)
        else {
            // It is no longer heard, or is Active no more.
            self.proof.asking = None;
            if asking.due {
                self.claim_after_all(turn);
            }
            return;
        };
        if asking.look.ask(turn.now) {
            self.solicit(turn, target);
            self.ask_witnesses(turn);
            let (instance, round) = (self.settings.name.clone(), self.proof.round);
            turn.say(&asking.node, Word::Ask { instance, round });
        }
        self.proof.asking = Some(asking);
        self.conclude(turn);
    }

    /// Whoever was asked about is no longer in the way.
    fn claim_after_all(&mut self, turn: &mut Turn<'_>) {
        let State::Backup(backup) = self.state else {
            return;
        };
        match self.silent_active(turn, &backup, Duration::ZERO) {
            Some(node) => self.begin_proof(turn, node),
            None => self.wish = Some(Reason::NoResponse),
        }
    }

    fn solicit(&self, turn: &mut Turn<'_>, target: IpAddr) {
        if let Some(source) = self.source {
            turn.act(Action::Solicit {
                interface: self.settings.interface,
                source,
                target,
            });
        }
    }

    /// The configured ones, or the interface's gateways, of the instance's
    /// own family: that is the segment in question.
    pub(super) fn witnesses<'w>(&'w self, world: &'w World) -> impl Iterator<Item = IpAddr> + 'w {
        let known = world.interface(self.settings.interface);
        let gateways = known.and_then(|known| known.state.as_ref());
        let gateways = gateways.map(|state| state.gateways.as_slice());
        let all = match self.settings.witnesses.as_slice() {
            [] => gateways.unwrap_or_default(),
            configured => configured,
        };
        let family = self.settings.family;
        let own = all
            .iter()
            .copied()
            .filter(move |one| Family::of(*one) == family);
        own.take(WITNESSES_MAX)
    }

    pub(super) fn ask_witnesses(&self, turn: &mut Turn<'_>) {
        let witnesses: Vec<IpAddr> = self.witnesses(turn.world).collect();
        for witness in witnesses {
            self.solicit(turn, witness);
        }
    }

    /// Somebody answered a question of ours on this instance's segment.
    pub(super) fn proof_hears(
        &mut self,
        turn: &mut Turn<'_>,
        interface: InterfaceName,
        claim: Claim,
    ) {
        if interface != self.settings.interface || !claim.solicited {
            return;
        }
        let witness = self
            .witnesses(turn.world)
            .any(|witness| witness == claim.address);
        if let Some(showing) = &mut self.proof.showing {
            showing.look.witness_answered |= witness;
        }
        if let Some(asking) = &mut self.proof.asking {
            asking.look.witness_answered |= witness;
            let peer = turn.world.nodes.get(&asking.node);
            let news = peer.and_then(|peer| peer.instance(&self.settings.name));
            asking.peer_answered |= news.is_some_and(|news| {
                news.source == Some(claim.address)
                    && news.hardware_address == Some(claim.hardware_address)
            });
        }
        self.show(turn);
        self.conclude(turn);
    }

    pub fn on_word(&mut self, turn: &mut Turn<'_>, node: &NodeName, word: &Word) {
        match word {
            Word::Ask { round, .. } => self.on_ask(turn, node, *round),
            Word::Answer { round, shown, .. } => {
                if let Some(asking) = &mut self.proof.asking
                    && asking.node == *node
                    && self.proof.round == *round
                {
                    asking.shown = Some(*shown);
                    self.conclude(turn);
                }
            }
            Word::Claim { round, .. } => self.on_claim_by_node(turn, node, *round),
            Word::Move { .. } | Word::Command { .. } | Word::Outcome { .. } => {}
        }
    }

    /// Draws the conclusion, as soon as there is one.
    fn conclude(&mut self, turn: &mut Turn<'_>) {
        let Some(asking) = self.proof.asking.clone() else {
            return;
        };
        if !asking.due {
            return;
        }
        if !self.says_to_be_active(turn, &asking.node) {
            self.proof.asking = None;
            self.claim_after_all(turn);
            return;
        }
        let looked = asking.look.until <= turn.now;
        let ours = asking.look.witness_answered;
        let finding = if asking.peer_answered {
            Finding::SplitHeartbeatPath
        } else if !looked {
            return;
        } else {
            match asking.shown {
                Some(false) if ours => Finding::Claims,
                Some(_) => Finding::Undecided,
                None if turn.now < asking.answer_by() => return,
                // The answer may be lost. Whoever works goes on, and asks again
                // with its next advertisement.
                None if ours && matches!(self.state, State::Active(_)) => {
                    self.proof.asking = None;
                    return;
                }
                None => Finding::Undecided,
            }
        };
        self.proof.asking = None;
        if looked || ours {
            self.proof.witnessed = Some(ours);
        }
        self.decide(turn, asking.node, finding);
    }

    fn decide(&mut self, turn: &mut Turn<'_>, node: NodeName, finding: Finding) {
        let known = self.proof.found.as_ref();
        let news = known.is_none_or(|found| (&found.node, found.finding) != (&node, finding));
        if news {
            let fact = Fact::Inquired {
                node: node.clone(),
                finding,
            };
            turn.report(Some(&self.settings.name), fact);
            self.proof.found = Some(Box::new(Found {
                since: turn.now,
                finding,
                node: node.clone(),
            }));
        }
        let active = matches!(self.state, State::Active(_));
        match finding {
            Finding::Claims => {
                let (instance, round) = (self.settings.name.clone(), self.proof.round);
                turn.say(&node, Word::Claim { instance, round });
                self.proof.claimed_over = Some((node, turn.now));
                self.proof.found = None;
                if !active {
                    self.wish = Some(Reason::NoResponse);
                }
            }
            Finding::SplitHeartbeatPath | Finding::Undecided if active => {
                self.give_way_to(turn, &node);
            }
            Finding::SplitHeartbeatPath | Finding::Undecided => {
                if let State::Backup(mut backup) = self.state {
                    backup.down_at = turn.now + self.down_interval(backup.active_interval);
                    self.state = State::Backup(backup);
                }
                self.refresh(turn);
            }
        }
    }

    /// This node, fresh, of itself.
    fn says_to_be_active(&self, turn: &Turn<'_>, node: &NodeName) -> bool {
        let peer = turn.world.nodes.get(node);
        let news = peer.and_then(|peer| peer.instance_now(turn.now, &self.settings.name));
        news.is_some_and(|news| news.is_active() && self.corresponds(news))
    }

    /// For `status`, on both sides.
    pub(super) fn show_findings(&mut self, turn: &Turn<'_>) {
        // What was found of one that is Active no more is over.
        let found = self.proof.found.take();
        self.proof.found = found.filter(|found| self.says_to_be_active(turn, &found.node));
        if let Some(found) = &self.proof.found {
            let text = match found.finding {
                Finding::SplitHeartbeatPath => format!(
                    "{} is Active and its host answers on this segment, but none of its \
                     advertisements arrives: look for a firewall that drops protocol 112",
                    found.node
                ),
                Finding::Undecided | Finding::Claims => format!(
                    "{} is Active and its host does not answer on this segment; whose segment \
                     works could not be shown, so it stays",
                    found.node
                ),
            };
            let source = format!("node {}", found.node);
            let code = found.finding.code();
            self.obstacles.show(found.since, code, source, text);
            return;
        }
        if !matches!(self.state, State::Active(_)) {
            return;
        }
        let codes = [Finding::SplitHeartbeatPath, Finding::Undecided].map(Finding::code);
        let told = turn.world.nodes.tell(turn.now, &self.settings.name);
        let mut told = told.filter_map(|(node, news)| {
            let mut all = news.obstacles.iter();
            let one = all.find_map(|told| codes.into_iter().find(|code| *code == told.code))?;
            Some((node, one))
        });
        let told = told.next();
        let since = told.and(self.proof.mirrored_since.or(Some(turn.now)));
        self.proof.mirrored_since = since;
        if let (Some((node, code)), Some(since)) = (told, since) {
            let text = format!("{node} does not hear the advertisements of this instance");
            self.obstacles
                .show(since, code, format!("node {node}"), text);
        }
    }
}
