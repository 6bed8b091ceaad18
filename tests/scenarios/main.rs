//! Stories in virtual time: agents, a clock and a wire, all simulated.

// The simulation uses it too, each of them not all of it.
#[allow(dead_code)]
mod kit;

mod addresses;
mod announcements;
mod authentication;
mod awaited_hooks;
mod checks;
mod clocks;
mod double_claim;
mod drains;
mod drift;
mod election;
mod group_changes;
mod group_hooks;
mod groups;
mod handover;
mod health;
mod interfaces;
mod ladder;
mod leases;
mod leftovers;
mod looks;
mod many;
mod nodes;
mod owner;
mod planned;
mod preempt;
mod reload;
mod resignation;
mod rivals;
mod routes;
mod segment;
mod sending;
mod stalls;
mod tallies;
mod timers;
mod virtual_mac;
