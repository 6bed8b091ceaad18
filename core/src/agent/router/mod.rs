//! One virtual router: the state machine of RFC 9568 section 6.4 with the
//! amendments of PROTOCOL section 2. Each deadline lives in the state that
//! owns it, so that a stale timer cannot exist.

mod addresses;
mod adverts;
mod allowance;
mod authentication;
mod awaiting;
mod custody;
mod divergence;
mod draining;
mod group;
mod haste;
mod health;
mod inquiry;
mod leaving;
mod link;
mod look;
mod moving;
mod news;
mod nodes;
mod owner;
mod picture;
mod proof;
mod reload;
mod rivals;
mod routes;
mod sending;
mod showing;
mod state;
mod story;
mod timers;

use allowance::Allowance;
use awaiting::{Awaited, owner};
pub(super) use group::Bond;
use haste::Haste;
pub(super) use health::Told;
use inquiry::{Inquiry, Left};
use look::Look;
use moving::Moving;
use owner::SecondOwner;
use proof::Proof;
use rivals::Rival;
use showing::Showing;
use state::{Active, Backup, Claiming, Initialize, Parting, Resigning, State, Upon};
use story::Story;
pub use timers::Timer;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::action::Action;
use super::announcer::Announcer;
use super::authentication::Marks;
use super::cluster::Peer;
use super::cluster::message::InstanceNews;
use super::election::{active_down_interval, losing_priority, skew_time};
use super::event::{Added, Claim, NotRenewed, NotSent, Removed};
use super::holdings::{AddOutcome, Holdings};
use super::hooks::Hooks;
use super::obstacles::{MateInFault, Obstacles};
use super::report::{Fact, StallOutcome};
use super::routing::Routing;
use super::settings::{InstanceSettings, OnAllFail};
use super::status::{
    ActiveRouter, Conflict, Counter, Counters, Drift, PriorityTerm, Reason, Rejected, StateName,
};
use super::time::Instant;
use super::values::{
    AddressIndex, Family, InstanceId, InstanceName, InterfaceName, MacAddress, NodeName, Priority,
    Version, Vrid,
};
use super::virtual_link::{LinkAccount, VirtualLink};
use super::world::{Turn, World};

/// A resigning router answers for its addresses no longer than this.
const RESIGNATION_LONGEST: Duration = Duration::from_secs(2);
/// Lines about drift or stalls: a few at once, then at this pace. What is
/// left out is in `status`.
const LINE_PACE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) struct VirtualRouter {
    id: InstanceId,
    settings: InstanceSettings,
    /// The configured priority with the terms of failing checks.
    priority: Priority,
    terms: Vec<PriorityTerm>,
    hooks: Hooks,
    /// What the hooks were told last.
    told: Option<Told>,
    /// They are told once more: `before_active` ran and nothing came of it.
    tell_again: bool,
    awaited: Awaited,
    /// Its place in its group.
    bond: Bond,
    mates_in_fault: Vec<MateInFault>,
    /// It would claim, for this reason, were there no mates and no hooks.
    wish: Option<Reason>,
    /// The mate, and since when, that keeps the group from claiming while
    /// nobody is heard here.
    waits_for: Option<(Instant, InstanceName)>,
    /// What our advertisements list.
    advertised: Vec<IpAddr>,
    state: State,
    /// Since when, and why, the state has the name that it has.
    since: Instant,
    reason: Reason,
    obstacles: Obstacles,
    /// The source of our advertisements, if there is one now.
    source: Option<IpAddr>,
    holdings: Holdings,
    routing: Routing,
    link: LinkAccount,
    announcer: Announcer,
    active_router: Option<ActiveRouter>,
    drift: Vec<Drift>,
    /// One for each address at most.
    conflicts: Vec<Conflict>,
    counters: Counters,
    /// Of the senders that proved who they are.
    marks: Marks,
    rejections: Vec<Rejected>,
    /// The last advertisement that we sent.
    last_sent: Instant,
    last_send_report: Option<(Instant, u64)>,
    /// Since when, and why, no advertisement of ours can leave.
    cannot_send: Option<(Instant, String)>,
    drift_lines: Allowance,
    stall_lines: Allowance,
    renewal_lines: Allowance,
    story: Story,
    /// What a successor has announced since we resigned.
    taken_over: BTreeSet<IpAddr>,
    /// No further part in the election.
    stopping: bool,
    /// Of what a dead agent would leave, as it was last told.
    custody_mark: u64,
    haste: Haste,
    proof: Proof,
    inquiry: Inquiry,
    /// An advertisement arrived since start or link return.
    heard_active: bool,
    /// Whose priority 0 was heard last, and when.
    resigned: Option<(IpAddr, Instant)>,
    left: Option<Box<Left>>,
    second_owner: Option<SecondOwner>,
    /// The interface of the virtual hardware address has just come up.
    owes_advert: bool,
    /// What differs from other nodes' settings, as they tell it.
    divergence: Vec<Drift>,
    moving: Moving,
    /// The configuration no longer has it; it may be forgotten in the turn in
    /// which nothing of it is left.
    retired: bool,
    /// Of the last advertisement of one that was relieved.
    farewell: Option<u8>,
    /// As it was last told to other nodes.
    news_mark: Option<u64>,
    /// Grows with each reload.
    settings_mark: u32,
}

impl VirtualRouter {
    pub fn new(id: InstanceId, settings: InstanceSettings, now: Instant) -> Self {
        Self {
            id,
            priority: settings.priority,
            terms: Vec::new(),
            hooks: Hooks::new(owner(&settings), &settings.hooks),
            told: None,
            tell_again: false,
            awaited: Awaited::default(),
            bond: Bond::default(),
            mates_in_fault: Vec::new(),
            wish: None,
            waits_for: None,
            advertised: settings.advertised().collect(),
            state: State::Initialize(Initialize::default()),
            since: now,
            reason: Reason::Startup,
            obstacles: Obstacles::default(),
            source: None,
            holdings: Holdings::new(id, &settings),
            routing: Routing::new(id, &settings),
            link: LinkAccount::new(id, VirtualLink::of(&settings)),
            announcer: Announcer::new(settings.announce),
            active_router: None,
            drift: Vec::new(),
            conflicts: Vec::new(),
            counters: Counters::default(),
            marks: Marks::default(),
            rejections: Vec::new(),
            last_sent: now,
            last_send_report: None,
            cannot_send: None,
            drift_lines: Allowance::new(now),
            stall_lines: Allowance::new(now),
            renewal_lines: Allowance::new(now),
            story: Story::new(now),
            taken_over: BTreeSet::new(),
            stopping: false,
            custody_mark: 0,
            haste: Haste::default(),
            proof: Proof::default(),
            inquiry: Inquiry::default(),
            heard_active: false,
            resigned: None,
            left: None,
            second_owner: None,
            owes_advert: false,
            divergence: Vec::new(),
            moving: Moving::default(),
            retired: false,
            farewell: None,
            news_mark: None,
            settings_mark: 0,
            settings,
        }
    }

    pub fn settings(&self) -> &InstanceSettings {
        &self.settings
    }

    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    pub fn count(&mut self, counter: Counter) {
        self.counters.count(counter);
    }

    pub fn state_name(&self) -> StateName {
        match self.state {
            State::Initialize(_) if self.is_drained() => StateName::Drained,
            State::Initialize(_) if self.obstacles.block() => StateName::Fault,
            State::Initialize(_) | State::Resigning(_) => StateName::Initialize,
            State::Backup(_) => StateName::Backup,
            State::Claiming(claiming) => claiming.from,
            State::Active(_) => StateName::Active,
        }
    }

    /// Addresses belong on the host.
    fn holds(&self) -> bool {
        match &self.state {
            State::Active(active) => !active.barred && !self.has_let_go(),
            State::Resigning(_) => true,
            State::Initialize(_) | State::Backup(_) | State::Claiming(_) => false,
        }
    }

    /// Others rely on its word.
    fn speaks(&self) -> bool {
        matches!(self.state, State::Active(_) | State::Resigning(_))
    }

    /// What is on the host, or may be.
    pub fn addresses_left(&self) -> impl Iterator<Item = (InterfaceName, IpAddr)> {
        self.holdings.left()
    }

    fn own_interval(&self) -> Duration {
        self.settings.advert_interval.as_duration()
    }

    fn skew(&self, active_interval: Duration) -> Duration {
        skew_time(self.settings.version, self.priority, active_interval)
    }

    fn down_interval(&self, active_interval: Duration) -> Duration {
        let wait = self.waiting(active_interval);
        active_down_interval(active_interval, self.settings.down_after, wait)
    }

    /// Enters `state`; reports it when its name is another.
    fn enter(&mut self, turn: &mut Turn<'_>, from: StateName, state: State, mut reason: Reason) {
        self.state = state;
        if matches!(self.state, State::Initialize(_)) {
            if self.left_for_good(turn.now) {
                reason = Reason::Drained;
            }
            // What was heard before proves nothing about what comes.
            self.heard_active = false;
            self.active_router = None;
            self.inquiry = Inquiry::default();
            self.proof.forget();
            self.obstacles.withdraw(&proof::SHOWN);
        }
        self.end_waiting();
        self.waits_for = None;
        let to = self.state_name();
        if from == to {
            return;
        }
        self.begin_chapter(from);
        self.since = turn.now;
        self.reason = reason;
        self.counters.count_transition(reason);
        let obstacles = match to {
            StateName::Fault => self.obstacles.blocking_texts(),
            StateName::Initialize | StateName::Backup | StateName::Active | StateName::Drained => {
                Vec::new()
            }
        };
        let fact = Fact::Transition {
            from,
            to,
            reason,
            obstacles,
        };
        turn.report(Some(&self.settings.name), fact);
    }

    /// Looks at the host afresh and draws the conclusions: takes part when
    /// nothing stands in the way, gives everything up when something does.
    fn refresh(&mut self, turn: &mut Turn<'_>) {
        let from = self.state_name();
        self.refresh_from(turn, from);
    }

    /// `from`: what it was called before.
    fn refresh_from(&mut self, turn: &mut Turn<'_>, from: StateName) {
        self.reprioritize(turn);
        self.source = turn.world.source(&self.settings);
        let held = (&self.holdings, &self.routing, &self.link);
        self.obstacles = self
            .obstacles
            .survey(turn.now, turn.world, &self.settings, held);
        self.obstacles.share(&self.mates_in_fault);
        self.show_awaited(turn.now);
        self.show_mates();
        self.show_silence(turn.now);
        self.show_findings(turn);
        self.show_left();
        self.show_moves();
        self.show_second_owner(turn.now);
        // What is not known yet keeps an instance from beginning, and takes
        // nothing from one that works.
        let blocked = self.obstacles.block() && !self.stays_degraded(turn);
        let may_begin = self.obstacles.allow() && !self.stopping;
        match &self.state {
            State::Initialize(Initialize {
                settled_at: None, ..
            }) if may_begin => {
                let settled_at = Some(turn.now + self.settings.settle);
                let state = State::Initialize(Initialize {
                    settled_at,
                    ready: false,
                });
                self.enter(turn, from, state, Reason::Startup);
                self.start_if_settled(turn);
            }
            State::Initialize(_) if may_begin => {}
            State::Active(_) if blocked => self.fall(turn, from),
            State::Active(_) => {}
            State::Resigning(_) if !blocked => {}
            State::Backup(_) | State::Claiming(_) if !blocked && !self.stopping => {}
            State::Backup(Backup {
                parting: Some(_), ..
            }) if !blocked => {}
            State::Initialize(_) | State::Backup(_) | State::Claiming(_) | State::Resigning(_) => {
                self.active_router = None;
                let reason = match (self.stopping, self.is_drained()) {
                    (true, _) => Reason::Shutdown,
                    (false, true) => Reason::Drained,
                    (false, false) => Reason::Obstacle,
                };
                let state = State::Initialize(Initialize::default());
                self.enter(turn, from, state, reason);
            }
        }
        self.look_for_able(turn);
        self.look_for_warnings(turn);
        self.mend(turn);
    }

    /// Rows 1 and 2 of the state table, once the settle time is over.
    fn start_if_settled(&mut self, turn: &mut Turn<'_>) {
        let State::Initialize(Initialize {
            settled_at: Some(at),
            ready: false,
        }) = self.state
        else {
            return;
        };
        if at > turn.now {
            return;
        }
        self.state = State::Initialize(Initialize {
            settled_at: Some(at),
            ready: true,
        });
        if !self.bond.grouped {
            self.begin(turn, self.has_heard());
        }
    }

    /// Rows 2 and 12.
    fn become_backup(
        &mut self,
        turn: &mut Turn<'_>,
        reason: Reason,
        active_interval: Duration,
        parting: Option<Parting>,
    ) {
        let from = self.state_name();
        self.haste = self.haste_now(turn);
        self.proof.cancel();
        let backup = Backup {
            active_interval,
            down_at: turn.now + self.down_interval(active_interval),
            claim_reason: Reason::NoResponse,
            linked: !turn.world.nodes.is_empty(),
            forgiven: false,
            preempt_at: None,
            better_heard_at: None,
            resigned_at: None,
            parting,
        };
        self.holdings.count_deletions_anew();
        self.enter(turn, from, State::Backup(backup), reason);
        self.mend(turn);
    }

    /// An interface of ours was reported. `renewed`: it appeared, came up or
    /// is another one under the same name.
    pub fn on_interface(&mut self, turn: &mut Turn<'_>, interface: InterfaceName, renewed: bool) {
        // One of ours comes up by our doing: that makes nothing of it old.
        let link = self.link.left().map(|link| link.name);
        let renewed = renewed && link != Some(interface);
        for index in self.holdings.observe(turn, interface, renewed) {
            self.announcer.end(index);
        }
        if renewed {
            self.routing.renew(interface);
            self.link.renew(interface);
        }
        if renewed && interface == self.settings.interface && !self.speaks() {
            // Whatever was heard by another interface, or not heard, proves
            // nothing about this one: begin anew, as after a link's return.
            let from = self.state_name();
            let state = State::Initialize(Initialize::default());
            self.enter(turn, from, state, Reason::Obstacle);
        }
        self.refresh(turn);
        if renewed && interface != self.settings.interface && self.holds() {
            self.announce_on(turn.now, Some(interface));
        }
    }

    pub fn on_socket(&mut self, turn: &mut Turn<'_>) {
        self.refresh(turn);
    }
}
