//! Which groups are authenticated, and how: all from the seed.

use std::time::Duration;

use vipward::agent::settings::{AntiReplay, Authentication, HmacSettings, InstanceSettings, Mode};

use crate::cast::{Cast, Group};
use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::kit::signing::hmac;

/// Of all casts; of those with a fault that needs it, all.
const PERCENT: u64 = 25;
const WINDOW_MIN: Duration = Duration::from_secs(5);

/// Of one group.
#[derive(Clone, Debug)]
pub struct Auth {
    anti_replay: AntiReplay,
    /// For each host.
    modes: Vec<Mode>,
}

impl Auth {
    pub fn settings(&self, host: usize, interval: Duration) -> Authentication {
        Authentication::Hmac(HmacSettings {
            fingerprints: Default::default(),
            keys: [1].into(),
            active_key: 1,
            mode: self.modes.get(host).copied().expect("for each host"),
            anti_replay: self.anti_replay,
            window: (interval * 3).max(WINDOW_MIN),
        })
    }

    pub fn describe(&self) -> String {
        format!("{:?} {:?}", self.anti_replay, self.modes)
    }
}

/// keepalived's rules, as the simulation has them, sign nothing.
pub fn with_authentication(
    seed: u64,
    faults: &Faults,
    hosts: usize,
    mut groups: Vec<Group>,
) -> Vec<Group> {
    let mut dice = Dice::new(seed, "auth");
    let wanted = faults.has(Fault::Clock) || faults.has(Fault::Replay);
    let some = dice.chance(PERCENT) || wanted;
    let of_all = dice.pick(&[
        Some(AntiReplay::Monotonic),
        Some(AntiReplay::Monotonic),
        Some(AntiReplay::Time),
        None,
    ]);
    for group in &mut groups {
        let own = dice.pick(&[AntiReplay::Monotonic, AntiReplay::Time]);
        let mixed = dice.chance(30);
        let modes = (0..hosts).map(|_| match dice.chance(50) {
            true if mixed => Mode::Permissive,
            _ => Mode::Enforce,
        });
        let auth = Auth {
            anti_replay: of_all.unwrap_or(own),
            modes: modes.collect(),
        };
        let authenticated = some && dice.chance(85) && !faults.has(Fault::Keepalived);
        group.auth = authenticated.then_some(auth);
    }
    groups
}

impl Cast {
    fn hmacs(&self) -> impl Iterator<Item = &HmacSettings> {
        let instances = self.settings.iter().flat_map(|host| &host.instances);
        instances.filter_map(hmac)
    }

    pub fn is_authenticated(&self) -> bool {
        self.hmacs().next().is_some()
    }

    /// The longest window of those who look at their clocks.
    pub fn window(&self) -> Option<Duration> {
        let by_time = self
            .hmacs()
            .filter(|hmac| hmac.anti_replay == AntiReplay::Time);
        by_time.map(|hmac| hmac.window).max()
    }
}

/// What is not signed is heard by nobody.
pub fn is_enforced<'a>(mut all: impl Iterator<Item = &'a InstanceSettings>) -> bool {
    all.all(|settings| hmac(settings).is_some_and(|hmac| hmac.mode == Mode::Enforce))
}
