//! Who signs our advertisements and verifies those of others: the keys, and
//! the numbers that only grow.

pub mod keeper;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::agent::event::Heard;
use crate::agent::numbers::Numbers;
use crate::agent::seal::{Sequence, Verifier, Witness};
use crate::agent::settings::{Authentication, HmacSettings, InstanceSettings, Settings};
use crate::agent::values::InstanceId;
use crate::config::Keys;
use crate::wire::authentication::{self, Key, Signature};
use keeper::Ceiling;

/// This host's clock, the one that people set.
pub fn clock() -> Sequence {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // Before 1970 it is as wrong as at its beginning.
    Sequence::at_clock(since.unwrap_or(Duration::ZERO))
}

/// Notes the fingerprint of each key beside its number.
pub fn note_fingerprints(settings: &mut Settings, keys: &Keys) {
    for instance in &mut settings.instances {
        let Authentication::Hmac(hmac) = &mut instance.authentication else {
            continue;
        };
        let known = hmac.keys.iter().filter_map(|number| {
            let secret = keys.instances.get(&(instance.name.clone(), *number))?;
            let key = Key::new(secret.bytes()).ok()?;
            Some((*number, key.fingerprint()))
        });
        hmac.fingerprints = known.collect();
    }
}

pub struct Signing {
    keys: BTreeMap<(InstanceId, u8), Key>,
    numbers: Numbers,
    ceiling: Ceiling,
    signed: bool,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing").finish_non_exhaustive()
    }
}

impl Signing {
    /// Goes on from what an earlier agent was granted.
    pub fn new(ceiling: Ceiling) -> Self {
        Self {
            keys: BTreeMap::new(),
            numbers: Numbers::begin(ceiling.start(), clock()),
            ceiling,
            signed: false,
        }
    }

    /// The keys of these instances from now on. An instance that is about to
    /// go keeps those it had.
    pub fn serve<'s>(
        &mut self,
        instances: impl Iterator<Item = (InstanceId, &'s InstanceSettings)>,
        keys: &Keys,
    ) {
        let mut next = BTreeMap::new();
        for (id, settings) in instances {
            let Authentication::Hmac(hmac) = &settings.authentication else {
                continue;
            };
            for number in &hmac.keys {
                let named = keys.instances.get(&(settings.name.clone(), *number));
                let read = named.and_then(|secret| Key::new(secret.bytes()).ok());
                let key = read.or_else(|| self.keys.get(&(id, *number)).cloned());
                next.extend(key.map(|key| ((id, *number), key)));
            }
        }
        self.keys = next;
    }

    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// For one advertisement to all its destinations. `None`: the key is
    /// missing.
    pub fn sign<'k>(
        &'k mut self,
        instance: InstanceId,
        settings: &HmacSettings,
    ) -> Option<Signature<'k>> {
        self.signed = true;
        let now = clock();
        let ceiling = &mut self.ceiling;
        let sequence = self
            .numbers
            .next(settings, now, |last| ceiling.next(last, now));
        let key_id = settings.active_key;
        Some(Signature {
            key: self.keys.get(&(instance, key_id))?,
            key_id,
            sequence,
        })
    }

    /// Since the start of this agent.
    pub fn has_signed(&self) -> bool {
        self.signed
    }

    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    pub fn witness(&self) -> Witness<'_> {
        Witness {
            clock: clock(),
            verifier: self,
        }
    }
}

impl Verifier for Signing {
    fn is_genuine(&self, instance: InstanceId, heard: &Heard<'_>) -> bool {
        let seal = heard.message.as_ref().ok().and_then(|message| message.seal);
        let key = seal.and_then(|seal| self.keys.get(&(instance, seal.key)));
        key.is_some_and(|key| authentication::is_genuine(key, heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Sequence {
        Sequence::at_clock(Duration::from_secs(seconds))
    }

    #[test]
    fn by_time_a_clock_that_was_put_back_is_followed() {
        let window = Duration::from_secs(5);
        let mut numbers = Numbers {
            monotonic: at(0),
            time: at(0),
        };
        assert_eq!(numbers.next_by_time(at(10_000), window), at(10_000));
        // Within the window the numbers go on growing.
        assert_eq!(numbers.next_by_time(at(9_997), window), at(10_000).next());
        assert_eq!(numbers.next_by_time(at(6_400), window), at(6_400));
    }
}
