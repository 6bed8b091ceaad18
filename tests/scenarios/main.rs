//! Stories in virtual time: agents, a clock and a wire, all simulated.

mod kit;

mod double_claim;
mod election;
mod ladder;
mod preempt;
mod resignation;
mod timers;
