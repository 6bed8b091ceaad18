//! Of the instances.

use super::agent::seconds;
use super::exposition::{Exposition, Family};
use crate::agent::status::{Counter, Counters, InstanceStatus, StateName, Status};
use crate::agent::tally::Durations;
use crate::control::document::Context;

/// An instance and its name.
type One<'a> = (&'a InstanceStatus, &'a str);

struct Writer<'a> {
    out: &'a mut Exposition,
    all: Vec<One<'a>>,
}

pub(super) fn write(out: &mut Exposition, status: &Status, context: Context<'_>) {
    let all = status.instances.iter();
    let all = all.map(|one| (one, one.name.as_str())).collect();
    let mut writer = Writer { out, all };
    writer.identities();
    writer.states(context);
    writer.obstacles();
    writer.addresses();
    writer.adverts(context);
    writer.discarded(&status.counters);
    writer.lateness();
    writer.announcements();
}

fn each<'a>(family: &mut Family<'_>, all: &[One<'a>], value: impl Fn(&'a InstanceStatus) -> u64) {
    for (one, name) in all {
        family.sample(&[("vrrp_instance", name)], value(one));
    }
}

impl Writer<'_> {
    fn gauge(&mut self, name: &'static str, help: &'static str, of: fn(&InstanceStatus) -> u64) {
        each(&mut self.out.gauge(name, help), &self.all, of);
    }

    fn counter(&mut self, name: &'static str, help: &'static str, of: fn(&Counters) -> u64) {
        let mut family = self.out.counter(name, help);
        each(&mut family, &self.all, |one| of(&one.counters));
    }

    fn identities(&mut self) {
        let mut info = self.out.gauge(
            "vipward_instance_info",
            "Always 1; what an instance is by its configuration.",
        );
        for (one, name) in &self.all {
            let (vrid, version) = (one.vrid.get().to_string(), one.version.number().to_string());
            let interface = one.interface.to_string();
            let labels = [
                ("vrrp_instance", *name),
                ("interface", &interface),
                ("vrid", &vrid),
                ("version", &version),
                ("family", one.family.name()),
                ("authentication", one.authentication),
            ];
            info.sample(&labels, 1);
        }
    }

    fn states(&mut self, context: Context<'_>) {
        let mut states = self.out.gauge(
            "vipward_instance_state",
            "1 for the state that the instance is in, 0 for each other one.",
        );
        for (one, name) in &self.all {
            for state in StateName::ALL {
                let labels = [("vrrp_instance", *name), ("state", state.name())];
                states.flag(&labels, one.state == state);
            }
        }
        let mut since = self.out.gauge(
            "vipward_instance_state_changed_timestamp_seconds",
            "When that state was entered, as seconds since 1970.",
        );
        for (one, name) in &self.all {
            let at = context.clock.at(one.since).0;
            since.sample(&[("vrrp_instance", name)], seconds(at));
        }
        let mut transitions = self.out.counter(
            "vipward_instance_transitions_total",
            "Changes of state, by the reason.",
        );
        for (one, name) in &self.all {
            for (reason, count) in one.counters.reasons() {
                let labels = [("vrrp_instance", *name), ("reason", reason.name())];
                transitions.sample(&labels, count);
            }
        }
        self.gauge(
            "vipward_instance_priority",
            "The priority that is advertised: the configured one with the terms of checks.",
            |one| one.effective_priority.get().into(),
        );
        self.gauge(
            "vipward_instance_configured_priority",
            "The priority in the configuration.",
            |one| one.base_priority.get().into(),
        );
    }

    fn obstacles(&mut self) {
        self.gauge(
            "vipward_instance_obstacles",
            "What stands in the way of the instance; `vipward status` names it.",
            |one| count(one.obstacles.len()),
        );
        self.gauge(
            "vipward_instance_stranded",
            "1 while no node that is known could be Active.",
            |one| one.stranded.into(),
        );
        self.gauge(
            "vipward_instance_drift",
            "Differences between the settings of this node and of another.",
            |one| count(one.drift.len()),
        );
        self.gauge(
            "vipward_instance_conflicts",
            "Addresses of ours that a stranger claimed, until the instance is Active anew.",
            |one| count(one.conflicts.len()),
        );
        self.counter(
            "vipward_instance_conflicts_total",
            "Claims of our addresses by strangers, counted once in ten seconds for an address.",
            |counters| counters.conflicts,
        );
    }

    fn addresses(&mut self) {
        self.gauge(
            "vipward_instance_addresses",
            "Addresses of the instance.",
            |one| count(one.addresses.len()),
        );
        self.gauge(
            "vipward_instance_addresses_held",
            "Addresses that the kernel has confirmed to be on this host.",
            |one| count(one.addresses.iter().filter(|address| address.held).count()),
        );
        self.gauge(
            "vipward_instance_addresses_missing",
            "Required addresses that the instance does not hold although it is Active.",
            |one| {
                let missing = one.addresses.iter();
                let missing = missing.filter(|address| address.required && !address.held);
                match one.state {
                    StateName::Active => count(missing.count()),
                    StateName::Initialize
                    | StateName::Backup
                    | StateName::Fault
                    | StateName::Drained => 0,
                }
            },
        );
    }

    fn adverts(&mut self, context: Context<'_>) {
        self.counter(
            "vipward_adverts_sent_total",
            "Advertisements handed to the kernel.",
            |counters| counters.adverts_sent,
        );
        self.counter(
            "vipward_adverts_received_total",
            "Advertisements of others that were believed.",
            |counters| counters.adverts_received,
        );
        self.counter(
            "vipward_resignations_sent_total",
            "Those sent with priority 0.",
            |counters| counters.priority_zero_sent,
        );
        self.counter(
            "vipward_resignations_received_total",
            "Those received with priority 0.",
            |counters| counters.priority_zero_received,
        );
        self.counter(
            "vipward_advert_send_errors_total",
            "Advertisements that the kernel refused, at least for one peer.",
            |counters| counters.get(Counter::SendError),
        );
        let mut interval = self.out.gauge(
            "vipward_instance_advert_interval_seconds",
            "Between two of our advertisements.",
        );
        for (one, name) in &self.all {
            interval.seconds(&[("vrrp_instance", name)], one.advert_interval);
        }
        let mut patience = self.out.gauge(
            "vipward_instance_active_down_interval_seconds",
            "Silence after which this node takes over.",
        );
        for (one, name) in &self.all {
            patience.seconds(&[("vrrp_instance", name)], one.active_down_interval);
        }
        let mut age = self.out.gauge(
            "vipward_instance_last_advert_age_seconds",
            "Since the last heartbeat: ours while Active, otherwise that of the Active. Not there \
             while no Active is known.",
        );
        for (one, name) in &self.all {
            if let Some(router) = &one.active_router {
                let since = context.now.since(router.last_advert);
                age.seconds(&[("vrrp_instance", name)], since);
            }
        }
    }

    fn discarded(&mut self, strays: &Counters) {
        let errors = |counters: &Counters| -> Vec<(Counter, u64)> {
            let received = counters.errors();
            received
                .filter(|(counter, _)| *counter != Counter::SendError)
                .collect()
        };
        let mut discarded = self.out.counter(
            "vipward_adverts_discarded_total",
            "Packets for an instance that were not believed, by the reason.",
        );
        for (one, name) in &self.all {
            for (counter, count) in errors(&one.counters) {
                let labels = [("vrrp_instance", *name), ("reason", counter.name())];
                discarded.sample(&labels, count);
            }
        }
        let mut stray = self.out.counter(
            "vipward_stray_packets_discarded_total",
            "VRRP packets that belong to no instance of this node, by the reason.",
        );
        for (counter, count) in errors(strays) {
            stray.sample(&[("reason", counter.name())], count);
        }
    }

    fn lateness(&mut self) {
        let mut together = Durations::default();
        for (one, _) in &self.all {
            together.add(&one.counters.lateness);
        }
        self.out
            .histogram(
                "vipward_advert_lateness_seconds",
                "By how much periodic advertisements of all instances came after their time.",
            )
            .buckets(&[], &together);
        let mut own = self.out.summary(
            "vipward_instance_advert_lateness_seconds",
            "The same for each instance.",
        );
        for (one, name) in &self.all {
            own.sum_and_count(&[("vrrp_instance", name)], &one.counters.lateness);
        }
        self.counter(
            "vipward_instance_stalls_total",
            "Wake-ups that came late by more than an interval: the host is overloaded, or stood still.",
            |counters| counters.stalls,
        );
    }

    fn announcements(&mut self) {
        self.counter(
            "vipward_announcements_total",
            "Gratuitous ARPs and unsolicited neighbour advertisements sent.",
            |counters| counters.announcements,
        );
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
