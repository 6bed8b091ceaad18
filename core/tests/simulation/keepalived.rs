//! A peer of keepalived's rules, as observed of its versions 2.2 to 2.4: it
//! does not answer a losing advertisement, and it drops every advertisement
//! whose address list is not its own.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vipward::agent::event::Timing;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::time::Instant;
use vipward::agent::values::{InterfaceName, Version};

use crate::cast::source;
use crate::kit::Packet;
use crate::kit::foreign::{Deed, Foreign};

#[derive(Debug)]
pub struct Keepalived {
    routers: Vec<Router>,
}

#[derive(Debug)]
struct Router {
    settings: InstanceSettings,
    own: IpAddr,
    state: State,
    master_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fault,
    Backup { down_at: Instant },
    Master { advert_at: Instant },
}

impl Keepalived {
    pub fn start(instances: &[InstanceSettings], number: u8, now: Instant) -> Self {
        let routers = instances.iter().map(|settings| {
            let mut router = Router {
                own: source(settings, number),
                master_interval: settings.advert_interval.as_duration(),
                state: State::Fault,
                settings: settings.clone(),
            };
            router.listen(now);
            router
        });
        Self {
            routers: routers.collect(),
        }
    }
}

impl Foreign for Keepalived {
    /// SIGTERM: priority 0, and the addresses go.
    fn stop(&mut self) -> Vec<Deed> {
        self.routers.iter_mut().flat_map(Router::give_up).collect()
    }

    fn hear(&mut self, now: Instant, packet: &Packet) -> Vec<Deed> {
        let router = self.routers.iter_mut().find(|router| {
            router.settings.vrid.get() == packet.vrid
                && router.settings.interface == packet.interface
        });
        router.map_or_else(Vec::new, |router| router.hear(now, packet))
    }

    fn wake(&mut self, now: Instant) -> Vec<Deed> {
        self.routers
            .iter_mut()
            .flat_map(|router| router.wake(now))
            .collect()
    }

    fn link(&mut self, now: Instant, interface: InterfaceName, up: bool) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for router in &mut self.routers {
            if router.settings.interface != interface {
                continue;
            }
            if !up {
                deeds.extend(router.give_up());
            } else if router.state == State::Fault {
                router.listen(now);
            }
        }
        deeds
    }

    fn deadline(&self) -> Option<Instant> {
        let all = self.routers.iter().filter_map(|router| match router.state {
            State::Fault => None,
            State::Backup { down_at } => Some(down_at),
            State::Master { advert_at } => Some(advert_at),
        });
        all.min()
    }

    fn is_active(&self, vrid: u8) -> bool {
        let mut all = self.routers.iter();
        all.any(|router| {
            router.settings.vrid.get() == vrid && matches!(router.state, State::Master { .. })
        })
    }
}

impl Router {
    fn skew(&self) -> Duration {
        let base = match self.settings.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.master_interval,
        };
        base * (256 - u32::from(self.settings.priority.get())) / 256
    }

    fn patience(&self) -> Duration {
        self.master_interval * 3 + self.skew()
    }

    fn listen(&mut self, now: Instant) {
        self.master_interval = self.settings.advert_interval.as_duration();
        let down_at = now + self.patience();
        self.state = State::Backup { down_at };
    }

    fn advert(&self, priority: u8) -> Vec<Deed> {
        let packet = Packet::advert(&self.settings, self.own, priority);
        if self.settings.unicast_peers.is_empty() {
            return vec![Deed::Send(packet)];
        }
        let peers = self.settings.unicast_peers.iter();
        peers
            .map(|peer| {
                let mut packet = packet.clone();
                packet.destination = *peer;
                Deed::Send(packet)
            })
            .collect()
    }

    fn networks(&self) -> impl Iterator<Item = (InterfaceName, IpNet)> {
        let all = self.settings.addresses.iter();
        all.map(|address| (address.interface, IpNet::from(address.network.addr())))
    }

    fn claim(&mut self, now: Instant) -> Vec<Deed> {
        let mut deeds = self.advert(self.settings.priority.get());
        for (interface, network) in self.networks() {
            deeds.push(Deed::Add(interface, network));
            deeds.push(Deed::Announce(interface, network));
        }
        self.state = State::Master {
            advert_at: now + self.settings.advert_interval.as_duration(),
        };
        deeds
    }

    fn release(&self) -> Vec<Deed> {
        let all = self.networks();
        all.map(|(interface, network)| Deed::Remove(interface, network))
            .collect()
    }

    fn give_up(&mut self) -> Vec<Deed> {
        let was_master = matches!(self.state, State::Master { .. });
        self.state = State::Fault;
        if !was_master {
            return Vec::new();
        }
        let mut deeds = self.advert(0);
        deeds.extend(self.release());
        deeds
    }

    fn wake(&mut self, now: Instant) -> Vec<Deed> {
        match self.state {
            State::Backup { down_at } if down_at <= now => self.claim(now),
            State::Master { advert_at } if advert_at <= now => {
                self.state = State::Master {
                    advert_at: now + self.settings.advert_interval.as_duration(),
                };
                self.advert(self.settings.priority.get())
            }
            State::Fault | State::Backup { .. } | State::Master { .. } => Vec::new(),
        }
    }

    /// Strict about the list: as many, and the same, in any order.
    fn accepts(&self, packet: &Packet) -> bool {
        let own = Packet::advert(&self.settings, self.own, 1);
        let list = |packet: &Packet| {
            let size = packet.addresses.len() / usize::from(packet.count.max(1));
            let mut all: Vec<Vec<u8>> = packet
                .addresses
                .chunks(size.max(1))
                .map(<[u8]>::to_vec)
                .collect();
            all.sort();
            all
        };
        packet.version == own.version && list(packet) == list(&own)
    }

    fn hear(&mut self, now: Instant, packet: &Packet) -> Vec<Deed> {
        if !self.accepts(packet) {
            return Vec::new();
        }
        let interval = match packet.timing {
            Timing::V3 {
                interval_centiseconds,
            } => Duration::from_millis(10) * u32::from(interval_centiseconds),
            Timing::V2 {
                interval_seconds, ..
            } => Duration::from_secs(u64::from(interval_seconds)),
            Timing::Unknown => return Vec::new(),
        };
        let ours = self.settings.priority.get();
        match self.state {
            State::Fault => Vec::new(),
            State::Backup { .. } => {
                if packet.priority == 0 {
                    let down_at = now + self.skew();
                    self.state = State::Backup { down_at };
                } else if packet.priority >= ours {
                    self.master_interval = interval;
                    let down_at = now + self.patience();
                    self.state = State::Backup { down_at };
                }
                Vec::new()
            }
            State::Master { .. } if packet.priority == 0 => {
                self.state = State::Master {
                    advert_at: now + self.settings.advert_interval.as_duration(),
                };
                self.advert(ours)
            }
            State::Master { .. } => {
                if (packet.priority, packet.source) <= (ours, self.own) {
                    // No answer; the periodic advertisement is one.
                    return Vec::new();
                }
                self.master_interval = interval;
                let down_at = now + self.patience();
                self.state = State::Backup { down_at };
                self.release()
            }
        }
    }
}
