//! Instances that do not decide alone: they move together with others, or
//! have a hook before their addresses. When one of them may claim, and what it
//! may not do before which hook has succeeded.

use std::collections::BTreeSet;

use vipward::agent::Agent;
use vipward::agent::jobs::{HookKind, JobId, Task, Verdict};
use vipward::agent::report::Consequence;
use vipward::agent::values::InstanceName;

use super::*;

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// Beyond its time-out a hook may be answered for.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// The awaited hooks of one instance.
#[derive(Debug, Default)]
struct Hooked {
    running: Option<Running>,
    /// `before_active` has succeeded for the claim that is under way.
    passed: bool,
    /// It began while another was Active, for a claim that may follow.
    prepares: bool,
    /// After the last failure, until it succeeds.
    pause: Option<Duration>,
    /// Until then nothing is tried; and whether it is in fault for as long.
    paused_until: Option<(Instant, bool)>,
    /// Active, and its addresses wait.
    barred: bool,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    job: JobId,
    hook: HookKind,
    until: Instant,
    /// What it was begun for is over.
    void: bool,
}

#[derive(Debug, Default)]
pub struct Together {
    hooks: BTreeMap<(HostId, InstanceId), Hooked>,
    /// When each host was told to stop.
    stops: BTreeMap<HostId, Instant>,
}

/// What a turn was to one of those that decide together.
pub(super) struct Member {
    id: InstanceId,
    name: InstanceName,
    was: StateName,
    is: StateName,
    anew: bool,
    owner: bool,
    /// Its own timer had ended.
    may_claim: bool,
    /// It heard an Active not long ago that it has to respect; any at all.
    respects: Option<Instant>,
    hears: bool,
    /// When the Active that it heard resigned.
    resigned: Option<Instant>,
    /// It heard somebody in this turn, was told of one, or could not send.
    has_cause: bool,
    has_hook: bool,
    /// It resigned for a drain and kept everything, and nobody came.
    returns: bool,
}

/// Each instance with those that it moves together with, itself included;
/// absent where it decides alone.
pub(super) fn bonds(lab: &Lab, host: HostId) -> BTreeMap<InstanceId, Vec<InstanceId>> {
    let here = lab.at(host);
    let mut bonds = BTreeMap::new();
    let hooked = |settings: &InstanceSettings| settings.hooks.contains_key(&HookKind::BeforeActive);
    let all = here.agent.iter().flat_map(|agent| agent.instances());
    if here.ledger.groups.is_empty() && !all.clone().any(|(_, own)| hooked(own)) {
        return bonds;
    }
    // Of two of one name the older is about to go.
    let named: BTreeMap<&InstanceName, (InstanceId, &InstanceSettings)> = all
        .map(|(id, settings)| (&settings.name, (id, settings)))
        .collect();
    for group in &here.ledger.groups {
        let members = group.members.iter().filter_map(|name| named.get(name));
        let members: Vec<InstanceId> = members.map(|(id, _)| *id).collect();
        bonds.extend(members.iter().map(|id| (*id, members.clone())));
    }
    for (id, _) in named.values().filter(|(_, settings)| hooked(settings)) {
        bonds.entry(*id).or_insert_with(|| vec![*id]);
    }
    bonds
}

/// The names of those that it moves together with, itself included.
pub(super) fn mates(
    bonds: &BTreeMap<InstanceId, Vec<InstanceId>>,
    agent: &Agent,
    id: InstanceId,
) -> Vec<InstanceName> {
    let Some(ids) = bonds.get(&id) else {
        return Vec::new();
    };
    let all = agent.instances().filter(|(id, _)| ids.contains(id));
    all.map(|(_, settings)| settings.name.clone()).collect()
}

/// Before the protocol is judged.
pub(super) fn member(
    watch: &Watch,
    part: &Part<'_>,
    input: &Input,
    packet: Option<&Packet>,
    told: bool,
) -> Member {
    // Put together with others, it may have to follow them at once.
    let reloaded = matches!(input, Input::Reload(_));
    // An Active is silent for an interval, and a little more in a crowd.
    let alive = |at: &Instant| part.now.since(*at) < watch.interval * 3 / 2;
    let resigns = packet.is_some_and(|packet| packet.priority == 0);
    let resigned = watch.resigned_at.filter(|_| part.was == StateName::Backup);
    let heard = (part.was == StateName::Backup && !resigns).then_some(watch);
    let agreed = part.stage.takes() || part.stage.asked_in_vain();
    Member {
        id: part.id,
        name: part.settings.name.clone(),
        was: part.was,
        is: part.is,
        anew: part.anew,
        owner: part.priority == 255,
        may_claim: part.was == StateName::Backup
            && (watch.earliest(part.settings, part.priority) <= part.now + ROUNDING
                || watch.preempt_at.is_some_and(|at| at <= part.now)
                || watch.follows_mate
                || agreed
                || watch.forgiven.is_some()),
        respects: heard
            .filter(|_| !part.stage.takes())
            .and_then(|watch| watch.respected)
            .filter(alive),
        hears: heard
            .and_then(|watch| watch.incumbent)
            .is_some_and(|at| alive(&at)),
        resigned: resigned.max(resigns.then_some(part.now)),
        has_cause: packet.is_some()
            || told
            || part.unsent
            || part.is_mute()
            || reloaded
            || part.stage.released.is_some(),
        has_hook: part.settings.hooks.contains_key(&HookKind::BeforeActive),
        returns: part.returns(),
    }
}

impl Together {
    pub fn forget(&mut self, host: HostId) {
        self.hooks.retain(|(of, _), _| *of != host);
        self.stops.remove(&host);
    }

    /// It decides alone.
    pub(super) fn leave(&mut self, host: HostId, id: InstanceId) {
        self.hooks.remove(&(host, id));
    }

    /// What was begun, how it ended, and what came of a failure. Returns until
    /// when something may be tried again because of it.
    pub(super) fn hooks(&mut self, part: &Part<'_>, input: &Input) -> Option<Instant> {
        if matches!(input, Input::Stop) {
            self.stops.entry(part.host).or_insert(part.now);
        }
        let stopped = self.stops.get(&part.host).copied();
        let hooked = self.hooks.entry((part.host, part.id)).or_default();
        if let Input::Done { job, result } = input
            && let Some(running) = hooked.running.take_if(|running| running.job == *job)
            && running.hook == HookKind::BeforeActive
            && !running.void
            && result.verdict == Verdict::Passed
        {
            hooked.passed = true;
            hooked.pause = None;
        }
        let given_up = matches!(input, Input::Wake)
            && hooked
                .running
                .take_if(|running| running.until <= part.now)
                .is_some();
        if matches!(input, Input::Reload(_)) {
            hooked.paused_until = None;
        }
        let retried = hooked.failed(part);
        hooked.is_paused(part);
        let left = part.was != part.is || part.anew;
        if left && part.is != StateName::Active {
            hooked.passed = false;
            hooked.prepares = false;
            hooked.barred = false;
            if let Some(running) = &mut hooked.running {
                running.void |= running.hook == HookKind::BeforeActive;
            }
        }
        hooked.started(part);
        let longest = part.settings.hooks.get(&HookKind::BeforeRelease);
        let longest = longest.copied().unwrap_or_default() + ANSWER_MARGIN;
        let over = stopped.is_some_and(|at| at + longest <= part.now);
        if !given_up && !over {
            hooked.releases(part, input);
        }
        retried
    }

    /// The members of a group, or one alone, have had their turn.
    pub(super) fn judge(&mut self, lab: &Lab, host: HostId, all: &[Member], actions: &[Action]) {
        let fail = |member: &Member, why: &str| {
            let host = &lab.at(host).name;
            lab.fail(&format!("{host} {}: {why}", member.name))
        };
        let of = |hooks: &BTreeMap<_, Hooked>, member: &Member, what: fn(&Hooked) -> bool| {
            hooks.get(&(host, member.id)).is_some_and(what)
        };
        let awaits = |hooks: &BTreeMap<_, Hooked>| {
            all.iter()
                .any(|member| member.has_hook && !of(hooks, member, |hooked| hooked.passed))
        };
        let claims =
            |member: &&Member| member.was == StateName::Backup && member.is == StateName::Active;
        if let Some(claiming) = all.iter().find(claims) {
            let resigned = all.iter().filter_map(|member| member.resigned).max();
            let respected = |member: &&Member| {
                member
                    .respects
                    .is_some_and(|at| resigned.is_none_or(|gone| gone < at))
            };
            if let Some(mate) = all.iter().find(respected) {
                let text = format!("claims although {} hears an Active", mate.name);
                fail(claiming, &text);
            }
            if awaits(&self.hooks) && all.iter().any(|member| member.hears) {
                fail(claiming, "preempts a live Active before the hook");
            }
            let reason = |member: &Member| {
                member.may_claim
                    || member.owner
                    || member.was == StateName::Active
                    || of(&self.hooks, member, |hooked| hooked.prepares)
            };
            if !all.iter().any(reason) {
                fail(claiming, "claimed, and the timer of none had ended");
            }
        }
        let left = |member: &&Member| {
            member.was == StateName::Active && member.is == StateName::Backup && !member.anew
        };
        if let Some(member) = all.iter().find(left)
            && !all.iter().any(|member| member.has_cause)
        {
            fail(member, "gave way, and none of its mates had to");
        }
        for member in all.iter().filter(|member| member.is == StateName::Active) {
            let bars = awaits(&self.hooks);
            let hooked = self.hooks.entry((host, member.id)).or_default();
            let claims = member.was != StateName::Active && !member.returns;
            hooked.barred = bars && (hooked.barred || claims);
            let adds = |action: &Action| matches!(action, Action::AddAddress(order) if order.instance == member.id);
            if hooked.barred && actions.iter().any(adds) {
                fail(member, "adds an address before every hook has succeeded");
            }
        }
    }
}

impl Hooked {
    /// A planned release waits for its hook: for as long as that may take from
    /// the order on (a stop may take as long as `before_release` may), be it
    /// that another run kept it from beginning at once.
    fn releases(&self, part: &Part<'_>, input: &Input) {
        let resigns =
            part.was == StateName::Active && part.is == StateName::Initialize && !part.lost;
        let waits = |running: &Running| running.hook == HookKind::BeforeRelease;
        let at_once = matches!(input, Input::StopNow);
        if resigns && !at_once && self.running.as_ref().is_some_and(waits) {
            part.fail("resigns before its hook has ended");
        }
    }

    /// Each failure in a row is followed by twice the pause.
    fn failed(&mut self, part: &Part<'_>) -> Option<Instant> {
        let mut retried = None;
        for action in part.actions {
            let Action::Report(report) = action else {
                continue;
            };
            let Fact::HookFailed { consequence, .. } = &report.fact else {
                continue;
            };
            let (retry_in, resigned) = match consequence {
                Consequence::NotClaimed { retry_in } => (*retry_in, false),
                Consequence::Resigned { retry_in } => (*retry_in, true),
                Consequence::None
                | Consequence::ReleasedAllTheSame
                | Consequence::NotHandedOver => continue,
            };
            if report.instance.as_ref() != Some(&part.settings.name) {
                continue;
            }
            let least = self.pause.map_or(PAUSE_FIRST, |last| last * 2);
            if retry_in < least.min(PAUSE_LONGEST) || retry_in > PAUSE_LONGEST {
                let text = format!("tries its hook again after {retry_in:?}, not {least:?}");
                part.fail(&text);
            }
            self.pause = Some(retry_in);
            self.paused_until = Some((part.now + retry_in, resigned));
            retried = Some(part.lab.now() + retry_in * 102 / 100);
        }
        retried
    }

    /// One that had to resign takes no part until it may try again.
    fn is_paused(&mut self, part: &Part<'_>) {
        let Some((until, resigned)) = self.paused_until else {
            return;
        };
        if until <= part.now {
            self.paused_until = None;
        } else if resigned && matches!(part.is, StateName::Backup | StateName::Active) {
            part.fail("takes part before the pause after its hook's failure is over");
        }
    }

    fn started(&mut self, part: &Part<'_>) {
        for action in part.actions {
            let Action::Start(job) = action else { continue };
            let Task::Hook(call) = &job.task else {
                continue;
            };
            let owner = vipward::agent::jobs::HookOwner::Instance(part.settings.name.clone());
            if call.owner != owner {
                continue;
            }
            let timeout = part.settings.hooks.get(&call.hook).copied();
            if call.hook == HookKind::BeforeActive {
                self.passed = false;
                self.prepares = part.is == StateName::Backup;
                let paused = self.paused_until.is_some_and(|(until, _)| part.now < until);
                if paused && part.is == StateName::Backup {
                    part.fail("tries its hook again before the pause is over");
                }
            }
            self.running = Some(Running {
                job: job.id,
                hook: call.hook,
                until: part.now + timeout.unwrap_or_default() + ANSWER_MARGIN,
                void: false,
            });
        }
    }
}

/// The groups that had a turn, each once.
pub(super) fn groups(bonds: &BTreeMap<InstanceId, Vec<InstanceId>>) -> BTreeSet<&Vec<InstanceId>> {
    bonds.values().collect()
}

impl Member {
    pub(super) fn is_of(&self, group: &[InstanceId]) -> bool {
        group.contains(&self.id)
    }
}
