//! A new configuration for a router that goes on.

use super::*;
use crate::agent::settings::Preempt;

impl VirtualRouter {
    /// Applies new settings that agree with the present ones in interface,
    /// family and VRID. The state, the timers and what did not change stay.
    /// Orders the removal of addresses that are no longer listed; what is
    /// missing is ordered by the refresh that follows.
    pub fn reconfigure(&mut self, turn: &mut Turn<'_>, settings: InstanceSettings) {
        if self.settings == settings && !self.stopping {
            return;
        }
        self.stopping = false;
        self.settings_mark = self.settings_mark.wrapping_add(1);
        let patience = self.own_down_interval();
        self.settings = settings;
        self.advertised = self.settings.advertised().collect();
        self.hooks
            .reconfigure(owner(&self.settings), &self.settings.hooks);
        self.announcer.reconfigure(self.settings.announce);
        for index in self.holdings.reconfigure(&self.settings) {
            self.announcer.end(index);
        }
        self.routing.reconfigure(&self.settings);
        self.link.reconfigure(VirtualLink::of(&self.settings));
        self.routing.release_departing(turn);
        self.holdings.release_departing(turn);
        self.weigh(turn);
        self.move_down_timer(turn.now, patience);
        let interval = self.own_interval();
        match &mut self.state {
            State::Backup(backup) => {
                if !matches!(self.settings.preempt, Preempt::After(_)) {
                    backup.preempt_at = None;
                }
            }
            State::Active(active) => {
                active.advert_at = active.advert_at.min(turn.now + interval);
            }
            State::Initialize(_) | State::Claiming(_) | State::Resigning(_) => {}
        }
        turn.report(Some(&self.settings.name), Fact::Reconfigured);
    }

    /// The configuration no longer has this instance.
    pub fn retire(&mut self, turn: &mut Turn<'_>) {
        self.retired = true;
        self.farewell = None;
        self.stop(turn, true);
    }

    /// After every router was reconfigured: draw the conclusions. An address
    /// that is new to us may stand on its interface already, with our mark.
    pub fn on_reconfigured(&mut self, turn: &mut Turn<'_>) {
        self.holdings.discover(turn.world);
        self.look_for_divergence(turn);
        self.end_pause(turn.now);
        self.refresh(turn);
    }
}
