//! Planned moves, as the two nodes of one speak of them: who lets go for whom,
//! and since when. From that follows what each may do that the election alone
//! would forbid, and nothing beyond it.

use vipward::agent::Agent;
use vipward::agent::action::Action;
use vipward::agent::cluster::LinkEvent;
use vipward::agent::cluster::message::Word;
use vipward::agent::moves::Step;
use vipward::agent::status::Reason;
use vipward::agent::values::{InstanceName, NodeName};

use super::*;
use crate::kit::link;
use crate::operators::is_kept;

/// For the answer to each message.
pub const REPLY: Duration = Duration::from_millis(300);
/// Beyond its time-out a hook may be answered for.
pub const MARGIN: Duration = Duration::from_secs(1);
/// For the kernel of the successor.
pub const ADDITIONS: Duration = Duration::from_secs(10);

/// What an instance does in a move with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    pub node: NodeName,
    serial: u64,
    pub role: Role,
    /// Without another word of that node it is over by then.
    pub until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It asked the Active to let go.
    Asking,
    /// Active, and lets go. `silent`: the successor advertises; `taken`: it
    /// said that it has everything.
    Yielding { silent: bool, taken: bool },
    /// The Active lets go for it. `taken`: it said that it has everything.
    Taking { taken: bool },
}

/// What a turn was to the move of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage {
    pub before: Option<Moving>,
    pub now: Option<Moving>,
    /// It let go: the successor has everything.
    pub released: Option<NodeName>,
    /// By an offer of its own, and not because it was asked to.
    pub ordered: bool,
    /// It offers to.
    pub offered: bool,
    /// The successor was heard to advertise.
    pub claimed: bool,
}

/// One word, whoever said it.
pub(super) struct Said<'a> {
    node: &'a NodeName,
    instance: &'a InstanceName,
    serial: u64,
    step: &'a Step,
}

fn moves<'a>(node: &'a NodeName, words: &'a [Word]) -> impl Iterator<Item = Said<'a>> {
    words.iter().filter_map(move |word| match word {
        Word::Move {
            instance,
            serial,
            step,
        } => Some(Said {
            node,
            instance,
            serial: *serial,
            step,
        }),
        Word::Ask { .. }
        | Word::Answer { .. }
        | Word::Claim { .. }
        | Word::Command { .. }
        | Word::Outcome { .. } => None,
    })
}

pub(super) fn heard(input: &Input) -> Vec<Said<'_>> {
    match input {
        Input::Link(LinkEvent::Heard { node, message, .. }) => {
            moves(node, &message.words).collect()
        }
        _ => Vec::new(),
    }
}

pub(super) fn said(actions: &[Action]) -> Vec<Said<'_>> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Tell { node, message } => Some(moves(node, &message.words)),
        _ => None,
    });
    told.flatten().collect()
}

/// Those of the words that are about an instance, or one that it moves with.
fn concerns<'a, 'b>(
    words: &'a [Said<'b>],
    part: &'a Part<'_>,
    mates: &'a [InstanceName],
) -> impl Iterator<Item = &'a Said<'b>> {
    let name = &part.settings.name;
    words
        .iter()
        .filter(move |word| word.instance == name || mates.contains(word.instance))
}

/// Follows the move of one instance through a turn.
pub(super) fn follow(
    watch: &mut Watch,
    part: &Part<'_>,
    mates: &[InstanceName],
    (heard, said): (&[Said<'_>], &[Said<'_>]),
) -> Stage {
    let mut stage = Stage {
        before: watch.moving.clone(),
        ..Stage::default()
    };
    let mut yields = Vec::new();
    for word in concerns(heard, part, mates) {
        if matches!(word.step, Step::Yield { .. }) {
            yields.push((word.node, word.serial));
        }
        hear(watch, part, word, &mut stage);
    }
    for word in concerns(said, part, mates) {
        say(watch, part, word, &yields, &mut stage);
    }
    let looks = matches!(part.input, Input::Wake);
    watch.moving.take_if(|moving| match moving.role {
        Role::Asking => moving.until <= part.now || part.is != StateName::Backup,
        Role::Taking { taken } => taken && moving.until <= part.now && looks,
        Role::Yielding { .. } => false,
    });
    stage.now = watch.moving.clone();
    stage
}

fn hear(watch: &mut Watch, part: &Part<'_>, word: &Said<'_>, stage: &mut Stage) {
    let Some(moving) = &mut watch.moving else {
        return;
    };
    if (&moving.node, moving.serial) != (word.node, word.serial) {
        return;
    }
    match (moving.role, word.step) {
        (Role::Asking, Step::Accept { hooks }) => {
            moving.until = part.now + *hooks + MARGIN + REPLY * 2;
        }
        (Role::Taking { taken: false }, Step::Yield { .. }) => moving.until = part.now + REPLY,
        (Role::Asking | Role::Taking { .. }, Step::Refuse { .. } | Step::BreakOff { .. })
        | (Role::Taking { .. }, Step::Released) => watch.moving = None,
        (Role::Yielding { taken, .. }, Step::Working { claimed }) => {
            moving.until = part.now + REPLY;
            if *claimed {
                let silent = true;
                moving.role = Role::Yielding { silent, taken };
                stage.claimed = true;
            }
        }
        (Role::Yielding { silent, .. }, Step::Taken) => {
            let taken = true;
            moving.role = Role::Yielding { silent, taken };
        }
        (Role::Asking | Role::Yielding { .. } | Role::Taking { .. }, _) => {}
    }
}

fn say(
    watch: &mut Watch,
    part: &Part<'_>,
    word: &Said<'_>,
    yields: &[(&NodeName, u64)],
    stage: &mut Stage,
) {
    let known = watch.moving.as_ref();
    let known = known.is_some_and(|one| (&one.node, one.serial) == (word.node, word.serial));
    let begin = |role| {
        Some(Moving {
            node: word.node.clone(),
            serial: word.serial,
            role,
            until: part.now + REPLY,
        })
    };
    match word.step {
        Step::Request { .. } if !known => watch.moving = begin(Role::Asking),
        Step::Yield { .. } if !known => {
            if part.was != StateName::Active {
                part.fail("lets go of what it does not have");
            }
            let (silent, taken) = (false, false);
            watch.moving = begin(Role::Yielding { silent, taken });
        }
        Step::Working { .. } if !known => {
            if !yields.contains(&(word.node, word.serial)) {
                part.fail("takes over, and nobody lets go for it");
            }
            has_broken(part, word.node);
            watch.moving = begin(Role::Taking { taken: false });
        }
        Step::Taken if known => {
            if let Some(moving) = &mut watch.moving
                && moving.role == (Role::Taking { taken: false })
            {
                moving.role = Role::Taking { taken: true };
                moving.until = part.now + REPLY;
                has_everything(watch, part);
            }
        }
        Step::Released => {
            let taken = |role| matches!(role, Role::Yielding { taken: true, .. });
            let moving = watch.moving.as_ref();
            if !known || !moving.is_some_and(|moving| taken(moving.role)) {
                part.fail("let go, and nobody has taken over");
            }
            stage.ordered = watch.offered == Some(word.serial);
            watch.moving = None;
            stage.released = Some(word.node.clone());
        }
        Step::BreakOff { .. } | Step::Refuse { .. } if known => watch.moving = None,
        Step::Offer { .. } => {
            stage.offered = true;
            // One that is warned offers it without an order.
            watch.offered = (!part.is_warned).then_some(word.serial);
        }
        Step::Request { .. }
        | Step::Yield { .. }
        | Step::Working { .. }
        | Step::Taken
        | Step::Accept { .. }
        | Step::BreakOff { .. }
        | Step::Refuse { .. } => {}
    }
}

/// Break before make: two hosts that speak by one hardware address would
/// confuse the switches, and without its addresses none does. An incumbent that
/// has broken off, and whose word comes late, is judged by the election.
fn has_broken(part: &Part<'_>, incumbent: &NodeName) {
    let mut all = (0..part.lab.hosts.len()).map(HostId);
    let incumbent = all.find(|id| link::node(*id) == *incumbent);
    let Some(host) = incumbent.map(|id| part.lab.at(id)) else {
        return;
    };
    let mut addresses = part.settings.addresses.iter();
    let held = addresses.any(|address| host.kernel.holds(address.network.addr()).is_some());
    let yields = || {
        let instances = host.agent.as_ref().map(|agent| agent.status().instances);
        let mut same = instances.into_iter().flatten();
        let one = same.find(|one| one.name == part.settings.name);
        one.is_some_and(|one| one.obstacles.iter().any(|o| o.code == "moving"))
    };
    if part.settings.virtual_mac && held && yields() {
        part.fail("takes over while the other still has the addresses of the virtual MAC");
    }
}

/// Whoever says so has every address that clients need, and told them.
fn has_everything(watch: &Watch, part: &Part<'_>) {
    let host = part.lab.at(part.host);
    if part.is != StateName::Active {
        part.fail("says to have taken over and is not Active");
    }
    for (place, address) in part.settings.addresses.iter().enumerate() {
        let of = (part.settings, address);
        let index = host.ledger.index_of(part.id, place, of);
        let held = host.ledger.is_acknowledged(part.id, index);
        let wanted = address.network.addr();
        let announces = |action: &Action| matches!(action, Action::Announce { address, .. } if *address == wanted);
        let told = watch.announced.contains_key(&wanted) || part.actions.iter().any(announces);
        if address.required && !(held && told) {
            let text = format!("says to have taken over without {}", address.network);
            part.fail(&text);
        }
    }
}

impl Part<'_> {
    /// It resigned for a drain, and nobody came.
    pub(super) fn returns(&self) -> bool {
        self.actions.iter().any(|action| {
            matches!(action, Action::Report(report)
                if report.instance.as_ref() == Some(&self.settings.name)
                    && matches!(report.fact, Fact::Transition { reason: Reason::Returned, .. }))
        })
    }
}

impl Stage {
    /// The other node's advertisements, as an Active of a move hears them:
    /// they are neither answered nor given way to.
    pub fn ignores(&self, part: &Part<'_>, packet: &Packet) -> bool {
        self.before.as_ref().is_some_and(|moving| {
            let both = match moving.role {
                Role::Yielding { .. } | Role::Taking { .. } => true,
                Role::Asking => false,
            };
            both && source_of(part, &moving.node) == Some(packet.source)
        })
    }

    pub fn is_over(&self, now: Instant) -> bool {
        self.now.as_ref().is_none_or(|moving| moving.until <= now)
    }

    pub fn was(&self, role: fn(&Role) -> bool) -> bool {
        self.before.as_ref().is_some_and(|one| role(&one.role))
    }

    pub fn is(&self, role: fn(&Role) -> bool) -> bool {
        self.now.as_ref().is_some_and(|one| role(&one.role))
    }

    pub fn takes(&self) -> bool {
        let takes = |role: &Role| matches!(role, Role::Taking { .. });
        self.was(takes) || self.is(takes)
    }

    pub fn asks(&self) -> bool {
        self.is(|role| *role == Role::Asking)
    }

    /// Taking, or waiting to.
    pub fn is_promised(&self) -> bool {
        self.takes() || self.was(|role| *role == Role::Asking) || self.asks()
    }

    pub fn began_to_ask(&self) -> bool {
        let serial = |moving: &Option<Moving>| moving.as_ref().map(|one| one.serial);
        self.asks() && serial(&self.before) != serial(&self.now)
    }

    /// It had asked, and that is over: the Active does not let go.
    pub fn asked_in_vain(&self) -> bool {
        self.was(|role| *role == Role::Asking) && self.now.is_none()
    }

    pub fn yields(&self) -> bool {
        self.is(|role| matches!(role, Role::Yielding { .. }))
    }

    /// It was letting go, and stays what it is.
    pub fn broken_off(&self, part: &Part<'_>) -> bool {
        let yielded = self.was(|role| matches!(role, Role::Yielding { .. }));
        yielded && !self.yields() && part.is == StateName::Active
    }
}

/// What a node advertises this instance from.
pub(super) fn source_of(part: &Part<'_>, node: &NodeName) -> Option<IpAddr> {
    let mut hosts = part.lab.hosts.iter().enumerate();
    let (_, host) = hosts.find(|(place, _)| link::node(HostId(*place)) == *node)?;
    // It may no longer be configured there.
    Some(source(part.settings, host.number))
}

/// What a Backup's timers are once it asks the Active to let go. Returns
/// whether it does.
pub(super) fn asks(watch: &mut Watch, part: &Part<'_>) -> bool {
    if !part.stage.began_to_ask() {
        return false;
    }
    let owner = part.priority == 255;
    let earliest = watch.earliest(part.settings, part.priority);
    let preempts = watch.preempt_at.is_some_and(|at| at <= part.now);
    let ended = earliest <= part.now + ROUNDING || preempts || watch.forgiven.is_some();
    if part.was == StateName::Backup && !watch.is_loose && !ended && !owner {
        part.fail("asks for what it could not claim yet");
    }
    // From here on the timer tells when the Active falls silent.
    watch.listens(part.now, part.interval());
    watch.preempt_at = None;
    true
}

/// Whom it was handed over to by an order, it does not preempt: until that one
/// is lost, or another is Active, or an operator says so.
pub(super) fn leaves_to(
    watch: &mut Watch,
    part: &Part<'_>,
    (agent, fresh): (&Agent, bool),
    packet: Option<&Packet>,
    lesson: Option<&told::Lesson>,
) {
    let kept = &part.lab.at(part.host).moves.kept.yielded;
    let kept = fresh && !kept.is_empty();
    if !kept && watch.left_to.is_none() && part.stage.released.is_none() {
        return;
    }
    // Asking costs more than knowing that there is none.
    let status = agent.status();
    let mut all = status.instances.into_iter();
    let now = all.find(|known| known.name == part.settings.name);
    let now = now.and_then(|known| known.yielded_to);
    let before = std::mem::replace(&mut watch.left_to, now.clone());
    if now.is_none() && part.stage.ordered && part.is == StateName::Backup {
        part.fail("was handed over by an order, and may be taken back at once");
    }
    match (before, now) {
        (None, Some(node)) if part.stage.released.as_ref() != Some(&node) && !kept => {
            part.fail(&format!(
                "leaves it to {node}, and was not handed over to it"
            ));
        }
        (Some(node), None) => {
            let theirs = source_of(part, &node);
            let stays = part.is == StateName::Backup && part.was == StateName::Backup;
            let heard = |packet: &Packet| (packet.priority == 0) != (Some(packet.source) == theirs);
            let wrong = packet.is_some_and(heard);
            let untold = matches!(part.input, Input::Link(_))
                && !lesson.is_some_and(|lesson| lesson.has_left(theirs));
            if stays && (wrong || untold || matches!(part.input, Input::Wake)) {
                part.fail(&format!("no longer leaves it to {node}, which is not lost"));
            }
        }
        (None, None) | (Some(_), Some(_)) | (None, Some(_)) => {}
    }
}

/// Nothing is given up before the next agent would know of it.
pub(super) fn is_written(part: &Part<'_>) {
    let begins = part.is == StateName::Drained && part.was != StateName::Drained;
    if begins && !is_kept(part.lab, part.host, &part.settings.name) {
        part.fail("is drained, and that was not written down");
    }
}

/// It let go for another, which is the Active now.
pub(super) fn let_go(watch: &mut Watch, part: &Part<'_>, interval: Option<Duration>) {
    let Some(node) = &part.stage.released else {
        return;
    };
    if part.is == StateName::Active {
        part.fail("says to have let go and is Active");
    }
    if part.is != StateName::Backup {
        return;
    }
    watch.listens(part.now, interval.unwrap_or(part.interval()));
    watch.active = source_of(part, node);
    watch.respected = Some(part.now);
    watch.perhaps_alone = part.has_one_peer();
}

/// While the successor advertises, the incumbent does not: whoever listens
/// hears one unbroken chain.
pub(super) fn lets_other_speak(
    watch: &mut Watch,
    part: &Part<'_>,
    packet: Option<&Packet>,
) -> bool {
    let heard =
        packet.is_some_and(|packet| packet.priority > 0 && part.stage.ignores(part, packet));
    if heard
        && let Some(moving) = &mut watch.moving
        && let Role::Yielding { silent, .. } = &mut moving.role
    {
        *silent = true;
    }
    let role = watch.moving.as_ref().map(|moving| moving.role);
    if !matches!(role, Some(Role::Yielding { silent: true, .. })) {
        return false;
    }
    if heard || part.stage.claimed {
        watch.last_advert = part.now;
        watch.listens_first = None;
        return true;
    }
    // A third one that loses is answered.
    let answers = packet.is_some();
    if !answers && !part.sent.is_empty() && part.now.since(watch.last_advert) <= watch.patience {
        part.fail("advertises, and so does its successor");
    }
    part.sent.is_empty()
}

/// Nobody waits for a word beyond its time. A word that is repeated makes it
/// wait for another.
pub(super) fn overdue(lab: &Lab, watch: &Watch, host: HostId, now: Instant) {
    let Some(moving) = &watch.moving else {
        return;
    };
    let here = lab.at(host);
    if now > moving.until + here.clock.late_max + ROUNDING + REPLY {
        let (host, node, role) = (&here.name, &moving.node, moving.role);
        lab.fail(&format!("{host}: still in a move with {node}: {role:?}"));
    }
}
