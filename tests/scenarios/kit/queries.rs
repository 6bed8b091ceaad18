//! What a story asks: who is what, what was sent and when. Times count from
//! the last [`Lab::mark`].

use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::action::AddressOrder;
use vipward::agent::jobs::Job;
use vipward::agent::report::Fact;
use vipward::agent::status::{Counter, InstanceStatus, Reason, StateName};
use vipward::agent::values::{InstanceId, InterfaceName};

use super::settings::ip;
use super::trace::Entry;
use super::{HostId, Lab, What};

/// The only instance of most hosts.
pub const FIRST: InstanceId = InstanceId(0);

impl Lab {
    /// Time and the record begin here.
    pub fn mark(&mut self) {
        self.mark = (self.now, self.trace.entries.len());
    }

    /// Like [`Lab::mark`], and the record of this very moment still counts.
    pub fn mark_before(&mut self) {
        let now = self.now;
        let earlier = self.trace.entries.iter().filter(|entry| entry.at < now);
        self.mark = (now, earlier.count());
    }

    /// Time since the mark.
    pub fn elapsed(&self) -> Duration {
        self.now.since(self.mark.0)
    }

    pub(super) fn record(&self, host: HostId) -> impl Iterator<Item = (Duration, &What)> {
        let (zero, from) = self.mark;
        let entries = self.trace.entries.iter().skip(from);
        entries
            .filter(move |entry: &&Entry| entry.host == Some(host))
            .map(move |entry| (entry.at.since(zero), &entry.what))
    }

    /// Advertisements of one instance: when, and with which priority.
    pub fn sent_by(&self, host: HostId, wanted: InstanceId) -> Vec<(Duration, u8)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Sent {
                instance, priority, ..
            } if *instance == wanted => Some((at, *priority)),
            _ => None,
        });
        all.collect()
    }

    pub fn sent(&self, host: HostId) -> Vec<(Duration, u8)> {
        self.sent_by(host, FIRST)
    }

    pub fn announced(&self, host: HostId, wanted: &str) -> Vec<Duration> {
        let wanted = ip(wanted);
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Announced { address, .. } if *address == wanted => Some(at),
            _ => None,
        });
        all.collect()
    }

    /// When, since the mark, a host asked who else has an address.
    pub fn probed(&self, host: HostId, wanted: &str) -> Vec<Duration> {
        let wanted = ip(wanted);
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Probed(address) if *address == wanted => Some(at),
            _ => None,
        });
        all.collect()
    }

    /// When, since the mark, a host asked whether anybody has an address.
    pub fn inquired(&self, host: HostId, wanted: &str) -> Vec<Duration> {
        let wanted = ip(wanted);
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Inquired(address) if *address == wanted => Some(at),
            _ => None,
        });
        all.collect()
    }

    /// When, since the mark, a host asked whether somebody is still there.
    pub fn solicited(&self, host: HostId, wanted: &str) -> Vec<Duration> {
        let wanted = ip(wanted);
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Asked(address) if *address == wanted => Some(at),
            _ => None,
        });
        all.collect()
    }

    /// Every announcement in order.
    pub fn announcements(&self, host: HostId) -> Vec<(Duration, IpAddr)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Announced { address, .. } => Some((at, *address)),
            _ => None,
        });
        all.collect()
    }

    pub fn added(&self, host: HostId) -> Vec<(Duration, AddressOrder)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Add(order) => Some((at, order.clone())),
            _ => None,
        });
        all.collect()
    }

    pub fn removed(&self, host: HostId) -> Vec<(Duration, AddressOrder)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Remove(order) => Some((at, order.clone())),
            _ => None,
        });
        all.collect()
    }

    pub fn renewed(&self, host: HostId) -> Vec<(Duration, AddressOrder)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Renew(order) => Some((at, order.clone())),
            _ => None,
        });
        all.collect()
    }

    /// What the host did, one word for each, without reports.
    pub fn deeds(&self, host: HostId) -> Vec<(Duration, String)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Sent {
                priority,
                link: Some(link),
                ..
            } => Some((at, format!("advert {priority} by {link}"))),
            What::Sent { priority, .. } => Some((at, format!("advert {priority}"))),
            What::Add(order) => Some((at, format!("add {}", order.network))),
            What::Remove(order) => Some((at, format!("remove {}", order.network))),
            What::Announced { address, .. } => Some((at, format!("announce {address}"))),
            What::Routing(order) => Some((at, super::routing::words(order))),
            What::Link(order) => Some((at, super::virtual_mac::words(order))),
            // Beside every advertisement; `probed` tells.
            What::Probed(_) | What::Renew(_) | What::Inquired(_) | What::Told(..) => None,
            What::Asked(target) => Some((at, format!("ask {target}"))),
            What::Started(_) | What::Reported(_) | What::Got(_) | What::Story(_) => None,
        });
        all.collect()
    }

    /// The checks and hooks that were ordered.
    pub fn started(&self, host: HostId) -> Vec<(Duration, Job)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Started(job) => Some((at, job.clone())),
            _ => None,
        });
        all.collect()
    }

    pub fn facts(&self, host: HostId) -> Vec<(Duration, Fact)> {
        let all = self.record(host).filter_map(|(at, what)| match what {
            What::Reported(report) => Some((at, report.fact.clone())),
            _ => None,
        });
        all.collect()
    }

    pub fn count_facts(&self, host: HostId, wanted: impl Fn(&Fact) -> bool) -> usize {
        let all = self.facts(host);
        all.iter().filter(|(_, fact)| wanted(fact)).count()
    }

    /// When it went to which state, and why.
    pub fn transitions(&self, host: HostId) -> Vec<(Duration, StateName, Reason)> {
        let all = self.facts(host).into_iter();
        all.filter_map(|(at, fact)| match fact {
            Fact::Transition { to, reason, .. } => Some((at, to, reason)),
            _ => None,
        })
        .collect()
    }

    pub fn status_of(&self, host: HostId, instance: InstanceId) -> InstanceStatus {
        let agent = self.at(host).agent.as_ref().expect("the agent runs");
        let position = agent.instances().position(|(id, _)| id == instance);
        let position = position.expect("the instance");
        let mut all = agent.status().instances.into_iter();
        all.nth(position).expect("its status")
    }

    pub fn status(&self, host: HostId) -> InstanceStatus {
        self.status_of(host, FIRST)
    }

    pub fn state(&self, host: HostId) -> StateName {
        self.status(host).state
    }

    /// What an instance counted.
    pub fn counted(&self, host: HostId, counter: Counter) -> u64 {
        self.status(host).counters.get(counter)
    }

    /// What was counted for no instance.
    pub fn counted_by_nobody(&self, host: HostId, counter: Counter) -> u64 {
        let agent = self.at(host).agent.as_ref().expect("the agent runs");
        agent.status().counters.get(counter)
    }

    pub fn is_finished(&self, host: HostId) -> bool {
        let agent = self.at(host).agent.as_ref().expect("the agent runs");
        agent.is_finished()
    }

    /// Where the kernel has the address.
    pub fn holds(&self, host: HostId, address: &str) -> Option<InterfaceName> {
        self.at(host).kernel.holds(ip(address))
    }

    pub fn obstacles(&self, host: HostId) -> Vec<&'static str> {
        let all = self.status(host).obstacles.into_iter();
        all.map(|obstacle| obstacle.code).collect()
    }

    /// Until `host` is in `state`; how long that took from now.
    pub fn run_until(&mut self, host: HostId, state: StateName, at_most: Duration) -> Duration {
        let (from, end) = (self.now, self.now + at_most);
        while self.state(host) != state {
            if self.next().is_none_or(|at| at > end) {
                self.fail(&format!(
                    "{} is {}, not {state}, after {at_most:?}",
                    self.at(host).name,
                    self.state(host)
                ));
            }
            self.step();
        }
        self.now.since(from)
    }
}
