//! The states, each with the deadlines that it owns.

use super::*;

#[derive(Clone, Debug)]
pub(super) enum State {
    Initialize(Initialize),
    Backup(Backup),
    /// The first advertisement was handed to the kernel. Whether it has left
    /// is told before anything else happens; only then are we Active.
    Claiming(Claiming),
    Active(Active),
    /// Priority 0 was sent; the addresses answer until somebody relieves us.
    Resigning(Resigning),
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Initialize {
    /// Able to take part, and listening first.
    pub settled_at: Option<Instant>,
    /// That is over, and the mates are waited for.
    pub ready: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Backup {
    /// Active_Adver_Interval.
    pub active_interval: Duration,
    /// Active_Down_Timer.
    pub down_at: Instant,
    /// Why we claim when `down_at` comes.
    pub claim_reason: Reason,
    /// There are other nodes, which may say then that they are Active.
    pub linked: bool,
    /// The Active_Down_Timer was late once and was given one interval more.
    pub forgiven: bool,
    /// The preempt delay, while it runs.
    pub preempt_at: Option<Instant>,
    /// When one was last heard that we respect: it outranks us, or `preempt`
    /// is off.
    pub better_heard_at: Option<Instant>,
    /// When the Active resigned, until another is heard.
    pub resigned_at: Option<Instant>,
    pub parting: Option<Parting>,
}

/// The advertisement that is owed once the addresses are gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parting {
    pub priority: u8,
    /// Only if one of them was there until now: whoever took over while we
    /// slept has announced since our kernel let them go.
    pub if_answered: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Claiming {
    /// What we were, and are called meanwhile.
    pub from: StateName,
    pub reason: Reason,
    pub active_interval: Duration,
    /// Not told by then: taken for not sent.
    pub until: Instant,
}

/// What everything is announced again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upon {
    /// A router that thought itself Active, or went.
    Another,
    /// This host did not run.
    Stall,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    /// Adver_Timer.
    pub advert_at: Instant,
    /// When an advertisement last left.
    pub last_left: Instant,
    /// How long our peers wait after it, by the interval that it told them.
    pub patience: Duration,
    /// We stood still for longer than our peers' patience: whoever took over
    /// is given until then to be heard, and nothing leaves us before.
    pub doubts_until: Option<Instant>,
    /// Answers to losing advertisements that may still be sent.
    pub answers: Allowance,
    /// The last burst that another router caused.
    pub last_reaffirmed: Option<Instant>,
    /// The last that a stall caused.
    pub last_awakened: Option<Instant>,
    /// Another one that is owed, once the pause is over.
    pub reaffirm_at: Option<(Instant, Upon)>,
    pub rival: Rival,
    /// The addresses wait for `before_active`, ours or a mate's.
    pub barred: bool,
}

impl Active {
    /// Nothing has left us for longer than our peers' patience.
    pub fn overslept(&self, now: Instant) -> bool {
        now.since(self.last_left) > self.patience
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Resigning {
    pub until: Instant,
    /// If nobody comes, it is Active again; until then it repeats priority 0.
    pub repeat_at: Option<Instant>,
}
