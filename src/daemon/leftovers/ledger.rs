//! Keeps the picture up to date while the agent lives. Each instance's part
//! is written anew only when it changed: with a thousand instances a takeover
//! changes one after the other.

use std::collections::BTreeMap;

use super::memory::Memory;
use super::{BYTES_MAX, FORMAT, Left, LeftSeal};
use crate::agent::Agent;
use crate::agent::custody::Custody;
use crate::agent::numbers::Numbers;
use crate::agent::settings::{AntiReplay, Authentication};
use crate::agent::values::{InstanceId, InstanceName};
use crate::config::{Keys, Secret};

pub struct Ledger {
    /// Each as JSON.
    parts: BTreeMap<InstanceId, Vec<u8>>,
    /// The guardian's; `None` where it could not be had.
    memory: Option<Memory>,
    /// The keys that it has, and where. None is ever overwritten, so that a
    /// death at any moment leaves whole ones.
    slots: BTreeMap<(InstanceName, u8), (Secret, u32)>,
    slots_used: u32,
    /// Said once for each time that it begins.
    cut: bool,
    memory_failed: bool,
}

impl Ledger {
    pub fn new(memory: Option<Memory>) -> Self {
        Self {
            parts: BTreeMap::new(),
            memory,
            slots: BTreeMap::new(),
            slots_used: 0,
            cut: false,
            memory_failed: false,
        }
    }

    /// Gives the guardian the keys that are new. To be called before the
    /// core hears of them. A key that it cannot be given is one more line: its
    /// farewell would not be believed.
    pub fn learn(&mut self, keys: &Keys) {
        let Some(memory) = &self.memory else {
            return;
        };
        for (name, secret) in &keys.instances {
            if self
                .slots
                .get(name)
                .is_some_and(|(known, _)| known == secret)
            {
                continue;
            }
            let slot = self.slots_used;
            match memory.set_key(slot, secret.bytes()) {
                Ok(()) => {
                    self.slots_used += 1;
                    self.slots.insert(name.clone(), (secret.clone(), slot));
                }
                Err(error) => {
                    self.slots.remove(name);
                    tracing::warn!(
                        "the guardian cannot be given key {} of {}: {error}; should this agent \
                         die, its peers do not believe the guardian",
                        name.1,
                        name.0
                    );
                }
            }
        }
    }

    /// What was signed last; a system call of a microsecond.
    pub fn note_numbers(&mut self, numbers: Numbers) {
        if let Some(memory) = &self.memory {
            // Without it the guardian's numbers begin at the clock.
            let _ = memory.set_numbers(numbers);
        }
    }

    fn left(&self, custody: Custody) -> Left {
        let seal = match &custody.authentication {
            Authentication::Hmac(hmac) if hmac.signs() => {
                let slot = self.slots.get(&(custody.name.clone(), hmac.active_key));
                slot.map(|(_, slot)| LeftSeal {
                    slot: *slot,
                    key: hmac.active_key,
                    by_time_ms: match hmac.anti_replay {
                        AntiReplay::Monotonic => None,
                        AntiReplay::Time => {
                            Some(u64::try_from(hmac.window.as_millis()).unwrap_or(u64::MAX))
                        }
                    },
                })
            }
            Authentication::None | Authentication::Password(_) | Authentication::Hmac(_) => None,
        };
        let mut left = Left::from(custody);
        if let Some(farewell) = &mut left.farewell {
            farewell.seal = seal;
        }
        left
    }

    /// Brings the guardian's memory up to date. Returns the picture, for the
    /// record, if it changed. Makes no call that could wait.
    pub fn update(&mut self, agent: &mut Agent) -> Option<Vec<u8>> {
        if !agent.custody_has_changed() {
            return None;
        }
        let mut changed = false;
        for id in agent.take_custody_changes() {
            // Nothing in it can fail to be written as JSON.
            let part = agent
                .custody(id)
                .and_then(|custody| serde_json::to_vec(&self.left(custody)).ok());
            let before = match part {
                Some(part) => {
                    changed |= self.parts.get(&id) != Some(&part);
                    self.parts.insert(id, part)
                }
                None => self.parts.remove(&id).inspect(|_| changed = true),
            };
            drop(before);
        }
        changed.then(|| self.publish())
    }

    fn publish(&mut self) -> Vec<u8> {
        let (bytes, left_out) = compose(self.parts.values().map(Vec::as_slice));
        if left_out > 0 && !self.cut {
            tracing::warn!(
                "what is on the host is more than {BYTES_MAX} bytes can tell: should this agent \
                 die, {left_out} of {} instances are left to the next start",
                self.parts.len()
            );
        }
        self.cut = left_out > 0;
        if let Some(memory) = &mut self.memory {
            let written = memory.publish(&bytes);
            if let Err(error) = &written
                && !self.memory_failed
            {
                tracing::warn!(
                    "the guardian cannot be told what is on the host: {error}; should this \
                     agent die, it acts on what it was told last"
                );
            }
            self.memory_failed = written.is_err();
        }
        bytes
    }
}

/// The whole document, and how many of the last parts did not fit.
pub(super) fn compose<'p>(parts: impl Iterator<Item = &'p [u8]>) -> (Vec<u8>, usize) {
    const END: &[u8] = b"]}\n";
    let mut bytes = format!("{{\"format\":{FORMAT},\"instances\":[").into_bytes();
    let mut any = false;
    let mut left_out = 0;
    for part in parts {
        if left_out > 0 || bytes.len() + 1 + part.len() + END.len() > BYTES_MAX {
            left_out += 1;
            continue;
        }
        if any {
            bytes.push(b',');
        }
        any = true;
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(END);
    (bytes, left_out)
}

#[cfg(test)]
mod tests {
    use super::super::Leftovers;
    use super::super::tests::custody;
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_is_whole() {
        let one = serde_json::to_vec(&Left::from(custody("web", &["192.0.2.10/24"]))).unwrap();
        let many = BYTES_MAX / (one.len() + 1) + 10;
        let (bytes, left_out) = compose(std::iter::repeat_n(one.as_slice(), many));
        assert!(bytes.len() <= BYTES_MAX);
        assert!((10..13).contains(&left_out), "{left_out}");
        let read = Leftovers::read(&bytes).unwrap();
        assert_eq!(read.instances.len(), many - left_out);
    }
}
