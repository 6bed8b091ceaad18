//! Stories in virtual time: agents, a clock and a wire, all simulated.

mod kit;

mod addresses;
mod double_claim;
mod election;
mod interfaces;
mod ladder;
mod preempt;
mod resignation;
mod timers;
