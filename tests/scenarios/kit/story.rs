//! What a story does to the hosts: starts and stops them, pulls cables,
//! deletes addresses, looks away.

use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use vipward::agent::Agent;
use vipward::agent::settings::{InstanceSettings, Settings};
use vipward::agent::values::InterfaceName;

use super::host::Input;
use super::settings::{interface, own_source};
use super::{Change, Coming, HostId, Lab, Packet, What};

impl Lab {
    /// Gives an agent these instances instead of its own.
    pub fn reload(&mut self, host: HostId, instances: Vec<InstanceSettings>) {
        let settings = Settings {
            cluster: None,
            instances,
            ..self.at(host).settings.clone()
        };
        self.at_mut(host).settings = settings.clone();
        self.feed(host, Input::Reload(Box::new(settings)));
    }

    pub fn tell(&mut self, text: String) {
        let now = self.now;
        if self.trace.records {
            self.trace.note(now, None, What::Story(text));
        }
    }

    fn tell_of(&mut self, id: HostId, text: &str) {
        if self.trace.records {
            let name = self.at(id).name.clone();
            self.tell(format!("{name} {text}"));
        }
    }

    /// The agent starts and hears of every interface and socket.
    pub fn start(&mut self, id: HostId) {
        self.boot(id);
        let agent = self.at(id).agent.as_ref().expect("it runs");
        let interfaces: Vec<InterfaceName> = agent.interfaces().collect();
        for interface in interfaces {
            let state = self.at(id).kernel.state(interface);
            self.feed(id, Input::Interface { interface, state });
        }
        self.open_sockets(id);
        let agent = self.at(id).agent.as_ref().expect("it runs");
        if agent.wants_routing() {
            let state = self.at(id).kernel.tables.ours.clone();
            self.feed(id, Input::Routing(state));
        }
    }

    /// The agent starts and hears of nothing yet.
    pub fn boot(&mut self, id: HostId) {
        self.tell_of(id, "starts");
        let now = self.local(id);
        let host = self.at_mut(id);
        host.generation += 1;
        host.powered = true;
        host.paused = false;
        host.sockets.clear();
        host.channels.clear();
        host.started.clear();
        host.ledger = Default::default();
        host.ledger.groups.clone_from(&host.settings.groups);
        host.outboxes.clear();
        host.agent = Some(Agent::new(host.settings.clone(), now));
        self.begin_signing(id);
        self.restore_moves(id);
    }

    pub fn start_all(&mut self) {
        for id in (0..self.hosts.len()).map(HostId) {
            self.start(id);
        }
    }

    /// Opens what can be opened.
    pub fn open_sockets(&mut self, id: HostId) {
        let instances = self.at(id).settings.instances.clone();
        let mut wanted: Vec<_> = instances
            .iter()
            .map(|instance| (instance.interface, instance.family))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        for (interface, family) in wanted {
            if self.at(id).kernel.state(interface).is_some() {
                let outcome = Ok(());
                self.feed(
                    id,
                    Input::Socket {
                        interface,
                        family,
                        outcome,
                    },
                );
            }
        }
    }

    /// SIGTERM.
    pub fn stop(&mut self, id: HostId) {
        self.tell_of(id, "is stopped");
        self.feed(id, Input::Stop);
    }

    /// The second SIGTERM.
    pub fn stop_now(&mut self, id: HostId) {
        self.tell_of(id, "is stopped at once");
        self.feed(id, Input::StopNow);
    }

    pub fn stop_in(&mut self, id: HostId, after: Duration) {
        self.later(after, id, Coming::Story(Change::Stop));
    }

    pub fn stop_now_in(&mut self, id: HostId, after: Duration) {
        self.later(after, id, Coming::Story(Change::StopNow));
    }

    /// The host dies: its agent is gone, its kernel answers nothing.
    pub fn power_off(&mut self, id: HostId) {
        self.tell_of(id, "loses power");
        self.keep_signing(id);
        let number = self.at(id).number;
        let host = self.at_mut(id);
        host.powered = false;
        host.agent = None;
        host.generation += 1;
        host.kernel = super::kernel::Kernel::new(number);
    }

    /// The agent dies, its addresses stay behind.
    pub fn kill(&mut self, id: HostId) {
        self.tell_of(id, "is killed");
        self.keep_signing(id);
        let host = self.at_mut(id);
        host.agent = None;
        host.generation += 1;
    }

    /// The agent has finished and ends by itself.
    pub fn end_agent(&mut self, id: HostId) {
        self.tell_of(id, "has ended");
        self.close_signing(id);
        let host = self.at_mut(id);
        host.agent = None;
        host.generation += 1;
    }

    /// The agent does not run; what reaches its host waits.
    pub fn pause(&mut self, id: HostId) {
        self.tell_of(id, "is paused");
        self.at_mut(id).paused = true;
    }

    /// The agent runs again: sockets, then channels, then timers.
    pub fn resume(&mut self, id: HostId) {
        self.tell_of(id, "runs again");
        let host = self.at_mut(id);
        host.paused = false;
        host.catching_up = true;
        let waiting: Vec<Input> = host
            .sockets
            .drain(..)
            .chain(host.channels.drain(..))
            .collect();
        for input in waiting {
            self.feed(id, input);
        }
        self.letters(id);
        self.at_mut(id).catching_up = false;
        self.feed(id, Input::Wake);
    }

    pub fn pause_for(&mut self, id: HostId, span: Duration) {
        self.pause(id);
        self.run(span);
        self.resume(id);
    }

    pub fn link(&mut self, id: HostId, name: &str, up: bool) {
        let text = format!("{name} goes {}", if up { "up" } else { "down" });
        self.tell_of(id, &text);
        for name in self.at_mut(id).kernel.set_up(interface(name), up) {
            self.report(id, name);
        }
    }

    /// The interface and all its addresses go.
    pub fn remove_interface(&mut self, id: HostId, name: &str) {
        self.tell_of(id, &format!("loses {name}"));
        self.at_mut(id).kernel.interfaces.remove(&interface(name));
        self.report(id, interface(name));
    }

    /// Another interface of the same name, with the host's own addresses; its
    /// sockets are opened when the agent has heard of it.
    pub fn create_interface(&mut self, id: HostId, name: &str) {
        self.tell_of(id, &format!("gets {name}"));
        let kernel = &mut self.at_mut(id).kernel;
        kernel.create(name);
        kernel.configure(name);
        self.report_and_open(id, name);
    }

    /// Both changes at once, so that the agent sees a new index only.
    pub fn replace_interface(&mut self, id: HostId, name: &str) {
        self.tell_of(id, &format!("has {name} replaced"));
        let kernel = &mut self.at_mut(id).kernel;
        kernel.interfaces.remove(&interface(name));
        kernel.create(name);
        kernel.configure(name);
        self.report_and_open(id, name);
    }

    pub fn report_and_open(&mut self, id: HostId, name: &str) {
        self.report(id, interface(name));
        let host = self.at(id);
        let (generation, after) = (host.generation, host.kernel.report_after);
        let families: Vec<_> = host
            .settings
            .instances
            .iter()
            .filter(|instance| instance.interface == interface(name))
            .map(|instance| instance.family)
            .collect();
        for family in families {
            let input = Input::Socket {
                interface: interface(name),
                family,
                outcome: Ok(()),
            };
            self.later(after, id, Coming::News(generation, input));
        }
    }

    /// `ip address del`, by somebody else.
    pub fn delete_address(&mut self, id: HostId, name: &str, network: &str) {
        self.tell_of(id, &format!("has {network} deleted from {name}"));
        let network: IpNet = network.parse().expect("an address with its length");
        self.at_mut(id).kernel.delete(interface(name), network);
        self.report(id, interface(name));
    }

    /// The host's own configuration, late.
    pub fn add_own_address(&mut self, id: HostId, name: &str, network: &str, tentative: bool) {
        self.tell_of(id, &format!("gets {network} on {name}"));
        let network: IpNet = network.parse().expect("an address with its length");
        let kernel = &mut self.at_mut(id).kernel;
        kernel.add_own(name, network, tentative);
        self.report(id, interface(name));
    }

    /// Only these two directions: partitions are made of them.
    pub fn part(&mut self, one: HostId, other: HostId) {
        self.tell("the hosts cannot hear each other".to_owned());
        self.wire.cut(one, other);
        self.wire.cut(other, one);
    }

    pub fn heal(&mut self, one: HostId, other: HostId) {
        self.tell("the hosts hear each other again".to_owned());
        self.wire.heal(one, other);
        self.wire.heal(other, one);
    }

    /// A packet reaches a host now, from nowhere.
    pub fn inject(&mut self, id: HostId, packet: &Packet) {
        self.feed(id, Input::Packet(Rc::new(packet.clone())));
    }

    /// What host `from` would send to `to` with `priority`; change it at will.
    pub fn forged(&self, from: HostId, to: HostId, priority: u8) -> Packet {
        let settings = self.at(from).settings.instances.first().cloned();
        let settings = settings.expect("an instance");
        let source = own_source(&settings, self.at(from).number);
        let mut packet = Packet::advert(&settings, source, priority);
        if !settings.unicast_peers.is_empty() {
            packet.destination = own_source(&settings, self.at(to).number);
        }
        packet
    }

    /// The same, heard now.
    pub fn forge(&mut self, from: HostId, to: HostId, priority: u8) {
        let packet = self.forged(from, to, priority);
        self.inject(to, &packet);
    }
}
