//! Whom an instance believes, said again: of each sender only what is newer
//! than everything that it, or its predecessor on this host, believed before.
//! What is not believed moves nothing.

use std::collections::VecDeque;

use vipward::agent::seal::Sequence;
use vipward::agent::settings::{AntiReplay, Mode};
use vipward::agent::values::InstanceName;

use super::*;
use crate::kit::signing::{Disk, hmac};

/// Clocks of two hosts differ by no more, or by more than any window.
const CLOCKS_AGREE: Duration = Duration::from_secs(4);

#[derive(Debug)]
struct Newest {
    name: InstanceName,
    /// Of an instance that the configuration no longer has.
    leaves: bool,
    /// What was believed since the marks were last written down, and one
    /// before that.
    believed: VecDeque<(Instant, Sequence)>,
}

type Sender = (HostId, InstanceId, IpAddr, u8);

#[derive(Debug, Default)]
pub struct Trust {
    newest: BTreeMap<Sender, Newest>,
    /// Of which agent of each host.
    generations: BTreeMap<HostId, u32>,
    /// When somebody last believed what an attacker sent: it was genuine, and
    /// that host had not heard it yet.
    pub swayed: Option<Instant>,
}

impl Newest {
    fn sequence(&self) -> Option<Sequence> {
        self.believed.back().map(|(_, sequence)| *sequence)
    }
}

impl Trust {
    /// Before a turn of a host is judged.
    pub fn begin(&mut self, lab: &Lab, id: HostId, input: &Input) {
        let host = lab.at(id);
        let (Some(agent), Some(signing)) = (&host.agent, &host.signing) else {
            return;
        };
        if self.generations.insert(id, host.generation) != Some(host.generation) {
            self.restart(lab, id, &signing.disk);
            for (name, mark) in &signing.disk.marks {
                let mut all = agent.instances();
                if let Some((instance, _)) = all.find(|(_, known)| known.name == *name) {
                    let key = (id, instance, mark.source, mark.key);
                    let newest = Newest {
                        name: name.clone(),
                        leaves: false,
                        believed: [(lab.now(), mark.sequence)].into(),
                    };
                    self.newest.insert(key, newest);
                }
            }
        }
        if let Input::Reload(settings) = input {
            for ((of, ..), newest) in &mut self.newest {
                let mut names = settings.instances.iter().map(|known| &known.name);
                newest.leaves |= *of == id && names.all(|name| *name != newest.name);
            }
        }
    }

    /// What the last agent believed must be in the file, as it was then.
    fn restart(&mut self, lab: &Lab, id: HostId, disk: &Disk) {
        let all = std::mem::take(&mut self.newest);
        let (old, rest) = all.into_iter().partition(|((of, ..), _)| *of == id);
        self.newest = rest;
        let old: BTreeMap<Sender, Newest> = old;
        for ((_, _, source, key), newest) in old {
            if newest.leaves {
                continue;
            }
            let mut written = newest.believed.iter().rev();
            let written = written.find(|(at, _)| disk.marks_at.is_some_and(|by| *at < by));
            let Some((_, sequence)) = written else {
                continue;
            };
            let kept = disk.marks.iter().any(|(name, mark)| {
                *name == newest.name
                    && (mark.source, mark.key) == (source, key)
                    && !sequence.is_newer_than(mark.sequence)
            });
            if !kept {
                let (host, name) = (&lab.at(id).name, &newest.name);
                lab.fail(&format!("{host} {name}: the mark of {source} was not kept"));
            }
        }
    }

    /// Whether what reached this instance is believed; remembers it.
    pub(super) fn believes(&mut self, part: &Part<'_>, packet: &Packet) -> bool {
        let Some(hmac) = hmac(part.settings) else {
            return true;
        };
        let Some(seal) = packet.sealed else {
            return hmac.mode != Mode::Enforce;
        };
        let (lab, id) = (part.lab, part.host);
        let wall = lab.wall(id).expect("a clock, where there is a key");
        let key = (id, part.id, packet.source, seal.key);
        let known = self.newest.get(&key).and_then(Newest::sequence);
        let near = seal.sequence.distance(wall) <= hmac.window;
        let fresh = match (hmac.anti_replay, known) {
            (AntiReplay::Monotonic, Some(known)) => seal.sequence.is_newer_than(known),
            (AntiReplay::Monotonic, None) => near,
            (AntiReplay::Time, known) => {
                near && known.is_none_or(|known| seal.sequence.is_newer_than(known))
            }
        };
        if !seal.genuine || !fresh {
            return false;
        }
        if packet.attack {
            self.swayed = Some(lab.now());
        }
        let mut configured = lab.at(id).settings.instances.iter();
        let configured = configured.any(|known| known.name == part.settings.name);
        let newest = self.newest.entry(key).or_insert_with(|| Newest {
            name: part.settings.name.clone(),
            leaves: !configured,
            believed: VecDeque::new(),
        });
        let disk = lab.at(id).signing.as_ref().map(|signing| &signing.disk);
        let written = disk.and_then(|disk| disk.marks_at);
        let old = |at: &(Instant, Sequence)| written.is_some_and(|by| at.0 < by);
        while newest.believed.get(1).is_some_and(old) {
            newest.believed.pop_front();
        }
        newest.believed.push_back((lab.now(), seal.sequence));
        true
    }

    /// Whether it is certain that `to` believes what `from` sends.
    pub fn is_certain(
        &self,
        lab: &Lab,
        (from, sender): (HostId, &InstanceSettings),
        (to, receiver, settings): (HostId, InstanceId, &InstanceSettings),
    ) -> bool {
        let Some(hmac) = hmac(settings) else {
            return true;
        };
        let signing = |id| lab.at(id).signing.as_ref().expect("a clock");
        let (theirs, ours) = (signing(from), signing(to));
        let at = source(sender, lab.at(from).number);
        let known = self.newest.get(&(to, receiver, at, hmac.active_key));
        let known = known.and_then(Newest::sequence);
        match (hmac.anti_replay, known) {
            (AntiReplay::Monotonic, Some(_)) => true,
            (AntiReplay::Monotonic, None) => {
                let next = theirs.next_number(lab.now());
                next.distance(ours.clock(lab.now())) <= CLOCKS_AGREE
            }
            (AntiReplay::Time, known) => {
                let clock = theirs.clock(lab.now());
                let agree = theirs.off.abs_diff(ours.off) <= CLOCKS_AGREE.as_secs();
                agree && !known.is_some_and(|known| known.is_newer_than(clock))
            }
        }
    }
}

/// Somebody was not believed: nothing follows from it.
pub(super) fn nothing_follows(part: &Part<'_>) {
    let name = &part.settings.name;
    let reported = |action: &Action| matches!(action, Action::Report(_));
    if part.is != part.was || !part.actions.iter().all(reported) {
        part.fail("what is not to be believed had consequences");
    }
    if part.timer_moved {
        part.fail(&format!("what {name} must not believe moved a timer"));
    }
}
