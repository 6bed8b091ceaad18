//! Proof before a claim (DESIGN section 5.4): an Active is not heard, and the
//! peer link says that it is there. Is it the segment, or only its
//! advertisements?

use super::*;
use crate::agent::cluster::message::Word;
use crate::agent::report::Finding;

/// The segment is given this long to answer.
const LOOK: Duration = Duration::from_millis(100);
const ROUNDS: u8 = 3;
const ROUND: Duration = Duration::from_millis(33);
/// And the other node so much more to tell what it found: it asks as long.
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
    asking: Option<Asking>,
    showing: Option<Showing>,
    /// For `status`, until the Active is heard or is another.
    found: Option<Found>,
    claimed_over: Option<(NodeName, Instant)>,
    /// Since when another node says of us what is shown here.
    mirrored_since: Option<Instant>,
    /// A witness answered the last look.
    witnessed: Option<bool>,
}

/// We ask for an Active that is silent.
#[derive(Clone, Debug)]
struct Asking {
    node: NodeName,
    begun: Instant,
    look: Look,
    peer_answered: bool,
    /// What the other node says of its own look.
    shown: Option<bool>,
}

/// We are Active, and are asked to show that our segment works.
#[derive(Clone, Debug)]
struct Showing {
    node: NodeName,
    round: u32,
    look: Look,
    told: bool,
}

/// Questions to witnesses, and perhaps to the other node, on the segment.
#[derive(Clone, Copy, Debug)]
struct Look {
    rounds: u8,
    next_at: Instant,
    until: Instant,
    witness_answered: bool,
}

#[derive(Clone, Debug)]
struct Found {
    since: Instant,
    finding: Finding,
    node: NodeName,
}

impl Look {
    fn new(now: Instant) -> Self {
        Self {
            rounds: 0,
            next_at: now,
            until: now + LOOK,
            witness_answered: false,
        }
    }

    /// Whether to ask now; sets when to ask or look next.
    fn ask(&mut self, now: Instant) -> bool {
        if self.until <= now {
            // Woken late: there is no time left for an answer.
            self.rounds = ROUNDS;
        }
        let due = self.rounds < ROUNDS && self.next_at <= now;
        if due {
            self.rounds += 1;
            self.next_at = now + ROUND;
        }
        due
    }

    fn next(&self) -> Instant {
        if self.rounds < ROUNDS {
            self.next_at.min(self.until)
        } else {
            self.until
        }
    }
}

impl Proof {
    pub fn next(&self) -> Option<Instant> {
        let asking = self.asking.as_ref().map(|asking| {
            let look = asking.look.next();
            if asking.look.rounds >= ROUNDS && asking.waits_for_answer() {
                asking.begun + LOOK + ANSWER
            } else {
                look
            }
        });
        let showing = self.showing.as_ref().filter(|showing| !showing.told);
        let showing = showing.map(|showing| showing.look.next());
        asking.into_iter().chain(showing).min()
    }

    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
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
    /// Our own look is over, or answered, and the other's is not known.
    fn waits_for_answer(&self) -> bool {
        self.shown.is_none() && !self.peer_answered
    }
}

impl VirtualRouter {
    pub(super) fn begin_proof(&mut self, turn: &mut Turn<'_>, node: NodeName) {
        if self.proof.is_asking() {
            return;
        }
        self.proof.round = self.proof.round.wrapping_add(1);
        self.proof.asking = Some(Asking {
            node,
            begun: turn.now,
            look: Look::new(turn.now),
            peer_answered: false,
            shown: None,
        });
        self.proof_wakes(turn);
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
            self.claim_after_all(turn);
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
        match self.silent_active(turn, &backup) {
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

    fn ask_witnesses(&self, turn: &mut Turn<'_>) {
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

    /// Asked by a node that does not hear us: looks, and tells.
    fn show(&mut self, turn: &mut Turn<'_>) {
        let Some(mut showing) = self.proof.showing.clone().filter(|showing| !showing.told) else {
            return;
        };
        if showing.look.ask(turn.now) {
            self.ask_witnesses(turn);
        }
        if showing.look.witness_answered || showing.look.until <= turn.now {
            showing.told = true;
            self.proof.witnessed = Some(showing.look.witness_answered);
            let answer = Word::Answer {
                instance: self.settings.name.clone(),
                round: showing.round,
                shown: showing.look.witness_answered,
            };
            turn.say(&showing.node, answer);
        }
        self.proof.showing = Some(showing);
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

    fn on_ask(&mut self, turn: &mut Turn<'_>, node: &NodeName, round: u32) {
        if !matches!(self.state, State::Active(_)) {
            return;
        }
        match &mut self.proof.showing {
            Some(showing) if showing.node == *node && showing.round == round => {
                // The answer may have been lost.
                showing.told &= showing.look.until > turn.now && !showing.look.witness_answered;
            }
            showing => {
                *showing = Some(Showing {
                    node: node.clone(),
                    round,
                    look: Look::new(turn.now),
                    told: false,
                });
            }
        }
        self.show(turn);
    }

    /// It can show a working segment. So if we could not, we are in the way.
    fn on_claim_by_node(&mut self, turn: &mut Turn<'_>, node: &NodeName, round: u32) {
        let showing = self.proof.showing.as_ref();
        let beaten = showing.is_some_and(|showing| {
            let same = showing.node == *node && showing.round == round;
            same && showing.told && !showing.look.witness_answered
        });
        if beaten && matches!(self.state, State::Active(_)) {
            turn.report(
                Some(&self.settings.name),
                Fact::SegmentLost { node: node.clone() },
            );
            self.active_router = None;
            let interval = self.own_interval();
            self.become_backup(turn, Reason::SegmentLost, interval, None);
            if let State::Backup(backup) = &mut self.state {
                // Its mates go with it, and do not bring it back.
                backup.better_heard_at = Some(turn.now);
            }
            self.refresh(turn);
        }
    }

    /// Draws the conclusion, as soon as there is one.
    fn conclude(&mut self, turn: &mut Turn<'_>) {
        let Some(asking) = self.proof.asking.clone() else {
            return;
        };
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
                None if turn.now.since(asking.begun) < LOOK + ANSWER => return,
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
            self.proof.found = Some(Found {
                since: turn.now,
                finding,
                node: node.clone(),
            });
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
