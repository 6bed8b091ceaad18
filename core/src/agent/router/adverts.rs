//! What an advertisement does in each state (rows 6 to 8 and 11 to 13 of
//! PROTOCOL section 2).

use super::*;
use crate::agent::election::outranks;
use crate::agent::ladder::Advert;
use crate::agent::settings::Preempt;

/// At most one burst that losing advertisements cause in this time.
const REAFFIRM_PAUSE: Duration = Duration::from_secs(1);
/// Immediate answers to losing advertisements: a few, then at this pace, or
/// at the advertisement interval where that is shorter.
const ANSWER_PACE: Duration = Duration::from_millis(100);

/// From a successor's first advertisement until its announcement must be out.
const RELIEF: Duration = Duration::from_millis(50);
/// Beyond so many addresses a successor gets more time for each.
const FEW: usize = 10;
const RELIEF_EACH: Duration = Duration::from_millis(1);

/// A successor advertises for all instances before it has their addresses, and
/// it and its kernel take their time over many: all of this host's may be on
/// their way. Whoever has announced an instance's relieves it at once, whatever
/// this says.
fn relief(world: &World) -> Duration {
    let many = world.address_count().saturating_sub(FEW);
    RELIEF + RELIEF_EACH * u32::try_from(many).unwrap_or(u32::MAX)
}

impl VirtualRouter {
    pub fn on_advert(&mut self, turn: &mut Turn<'_>, advert: &Advert<'_>) {
        if let Some(mark) = advert.mark {
            self.marks.set(mark);
        }
        self.counters.adverts_received += 1;
        self.counters.priority_zero_received += u64::from(advert.priority == 0);
        if let Some(node) = self.node_at(turn, advert.source)
            && self.proof.heard(node)
        {
            self.refresh(turn);
        }
        if matches!(self.state, State::Active(_))
            && self.moves_with_source(turn.now, advert.source, advert.priority)
        {
            return;
        }
        self.look_for_owner(turn, advert);
        match self.state {
            State::Initialize(_) | State::Claiming(_) => self.remember(turn, advert),
            State::Resigning(resigning) => {
                if advert.priority > 0 {
                    self.remember(turn, advert);
                    let until = resigning.until.min(turn.now + relief(turn.world));
                    let repeat_at = None;
                    self.state = State::Resigning(Resigning { until, repeat_at });
                }
            }
            State::Backup(backup) => self.backup_hears(turn, backup, advert),
            State::Active(active) => self.active_hears(turn, active, advert),
        }
    }

    fn remember(&mut self, turn: &Turn<'_>, advert: &Advert<'_>) {
        self.end_silence();
        self.active_router = (advert.priority > 0).then(|| ActiveRouter {
            address: advert.source,
            priority: advert.priority,
            last_advert: turn.now,
            ourselves: false,
            checksum: Some(advert.checksum),
            node: self.node_at(turn, advert.source).cloned(),
        });
        match &self.active_router {
            Some(_) => self.heard_active = true,
            None => self.resigned = Some((advert.source, turn.now)),
        }
    }

    /// RFC 9568 section 6.4.2.
    fn backup_hears(&mut self, turn: &mut Turn<'_>, mut backup: Backup, advert: &Advert<'_>) {
        self.remember(turn, advert);
        self.make_haste(turn);
        if let State::Backup(moved) = self.state {
            backup.down_at = moved.down_at;
        }
        let by = self.node_at(turn, advert.source);
        self.successor_is_lost(by, Some(advert.source), advert.priority == 0);
        if advert.priority == 0 {
            let best = self.is_best_without(turn, advert.source);
            let wait = if best {
                Duration::ZERO
            } else {
                self.skew(backup.active_interval)
            };
            backup.down_at = turn.now + wait;
            backup.claim_reason = Reason::Priority;
            backup.preempt_at = None;
            backup.better_heard_at = None;
            if backup.resigned_at.is_none() {
                self.tell_resignation(turn, advert.source);
            }
            backup.resigned_at = Some(turn.now);
            backup.forgiven = false;
            self.state = State::Backup(backup);
            return;
        }
        backup.resigned_at = None;
        self.waits_for = None;
        let ours = self.priority;
        let losing = advert.priority < ours.get();
        let preempt = if self.is_modest() {
            Preempt::Never
        } else if ours.is_owner() {
            Preempt::Immediately
        } else {
            self.settings.preempt
        };
        match preempt {
            Preempt::Immediately if losing && self.is_patient(turn.now) => {
                backup.better_heard_at = None;
            }
            Preempt::Immediately if losing => {
                // Discarded: the timer keeps running.
                backup.claim_reason = Reason::Preempted;
                backup.better_heard_at = None;
                self.state = State::Backup(backup);
                return;
            }
            Preempt::After(delay) if losing => {
                backup.better_heard_at = None;
                if !self.is_preparing() {
                    backup.preempt_at.get_or_insert(turn.now + delay);
                }
            }
            Preempt::Immediately | Preempt::After(_) | Preempt::Never => {
                backup.preempt_at = None;
                backup.better_heard_at = Some(turn.now);
            }
        }
        // An Active is heard: nobody else's silence is looked into.
        self.proof.cancel();
        self.look_for_drift(turn, advert);
        backup.active_interval = self.learned_interval(advert);
        backup.down_at = turn.now + self.down_interval(backup.active_interval);
        backup.claim_reason = Reason::NoResponse;
        backup.linked = !turn.world.nodes.is_empty();
        backup.forgiven = false;
        self.state = State::Backup(backup);
    }

    /// RFC 9568 section 6.4.3.
    fn active_hears(&mut self, turn: &mut Turn<'_>, mut active: Active, advert: &Advert<'_>) {
        let Some(source) = self.source else {
            return;
        };
        let ours = (self.priority.get(), source);
        let theirs = (advert.priority, advert.source);
        // Silent for longer than anyone's patience, we are no longer Active
        // in their eyes; whoever speaks now is (PROTOCOL section 6).
        let slept = active.overslept(turn.now);
        if advert.priority == 0 {
            self.resigned = Some((advert.source, turn.now));
            if slept {
                // Others may follow in the queue; the wake-up comes after them.
                return;
            }
            self.advertise(turn, ours.0);
            active.advert_at = turn.now + self.own_interval();
            self.state = State::Active(active);
            return;
        }
        if slept || outranks(theirs, ours) {
            let reason = if slept {
                Reason::Stalled
            } else {
                Reason::Preempted
            };
            if slept {
                let late = turn.now.since(active.advert_at);
                let outcome = StallOutcome::AnotherIsActive(advert.source);
                self.stalled(turn, Fact::Stalled { late, outcome });
            }
            let parting = losing_priority(theirs, ours).map(|priority| Parting {
                priority,
                if_answered: slept,
            });
            self.remember(turn, advert);
            let interval = self.learned_interval(advert);
            if !slept {
                // Clients send here until they have heard its announcement.
                self.linger();
            }
            self.become_backup(turn, reason, interval, parting);
            if let State::Backup(backup) = &mut self.state {
                backup.better_heard_at = Some(turn.now);
            }
            if theirs.0 == ours.0 {
                self.stand_behind();
            }
            self.look_for_drift(turn, advert);
            return;
        }
        let answers = self.settings.version == Version::V3;
        let pace = self.own_interval().min(ANSWER_PACE);
        if answers && active.answers.take(turn.now, pace) {
            self.advertise(turn, ours.0);
        }
        self.reaffirm(turn, active);
        self.announce_due(turn);
    }

    /// Announces everything again because of another router.
    pub(super) fn reaffirm(&mut self, turn: &Turn<'_>, active: Active) {
        self.reaffirm_upon(turn, active, Upon::Another);
    }

    /// Announces everything again, at most once in [`REAFFIRM_PAUSE`]: within
    /// it, another burst is owed at its end. But whose clients another router
    /// has just taken does not wait because this host stumbled a moment before.
    pub(super) fn reaffirm_upon(&mut self, turn: &Turn<'_>, mut active: Active, upon: Upon) {
        if self.is_yielding() {
            return;
        }
        let last = match upon {
            Upon::Another => active.last_reaffirmed,
            Upon::Stall => active.last_reaffirmed.max(active.last_awakened),
        };
        let due = last.map(|last| last + REAFFIRM_PAUSE);
        let due = due.filter(|at| *at > turn.now);
        let owed = active.reaffirm_at.filter(|_| upon == Upon::Stall);
        active.reaffirm_at = due.and_then(|at| owed.or(Some((at, upon))));
        if due.is_none() {
            match upon {
                Upon::Another => active.last_reaffirmed = Some(turn.now),
                Upon::Stall => active.last_awakened = Some(turn.now),
            }
            self.announce_on(turn.now, None);
        }
        self.state = State::Active(active);
    }

    /// Version 3 learns the Active's interval; version 2 knows only its own.
    fn learned_interval(&self, advert: &Advert<'_>) -> Duration {
        match self.settings.version {
            Version::V2 => self.own_interval(),
            Version::V3 => advert.interval.as_duration(),
        }
    }

    /// Differences between our settings and the Active's: reported when they
    /// appear or go, and never held against it.
    fn look_for_drift(&mut self, turn: &mut Turn<'_>, advert: &Advert<'_>) {
        // A node tells more than its advertisements do.
        if self.node_at(turn, advert.source).is_some() {
            self.drift.clear();
            return;
        }
        let theirs = || advert.message.addresses.iter();
        let same = theirs().eq(self.advertised.iter().copied()) || {
            let mut theirs: Vec<IpAddr> = theirs().collect();
            let mut ours = self.advertised.clone();
            theirs.sort_unstable();
            ours.sort_unstable();
            theirs == ours
        };
        let addresses = (!same).then(|| (list(self.advertised.iter().copied()), list(theirs())));
        self.set_drift(turn, "addresses", advert.source, addresses);
        let (ours, theirs) = (self.settings.advert_interval, advert.interval);
        let interval = (ours != theirs).then(|| {
            let millis = |span: Duration| format!("{} ms", span.as_millis());
            (millis(ours.as_duration()), millis(theirs.as_duration()))
        });
        self.set_drift(turn, "advert-interval", advert.source, interval);
    }

    fn set_drift(
        &mut self,
        turn: &mut Turn<'_>,
        code: &'static str,
        source: IpAddr,
        values: Option<(String, String)>,
    ) {
        let known = self.drift.iter().position(|drift| drift.code == code);
        let fact = match (values, known) {
            (None, None) => return,
            (None, Some(position)) => {
                let gone = self.drift.remove(position);
                Fact::Drift {
                    what: code,
                    ours: gone.ours,
                    theirs: None,
                    node: None,
                }
            }
            (Some((ours, theirs)), known) => {
                let drift = Drift {
                    code,
                    ours: ours.clone(),
                    theirs: theirs.clone(),
                    source: Some(source),
                    node: None,
                };
                match known.and_then(|position| self.drift.get_mut(position)) {
                    Some(old) if *old == drift => return,
                    Some(old) => *old = drift,
                    None => self.drift.push(drift),
                }
                Fact::Drift {
                    what: code,
                    ours,
                    theirs: Some(theirs),
                    node: None,
                }
            }
        };
        // Two Actives that we hear by turns would make a line of each.
        if self.drift_lines.take(turn.now, LINE_PACE) {
            turn.report(Some(&self.settings.name), fact);
        }
    }
}

fn list(addresses: impl Iterator<Item = IpAddr>) -> String {
    let words: Vec<String> = addresses.map(|address| address.to_string()).collect();
    words.join(", ")
}
