//! Stories in virtual time: agents, a clock and a wire, all simulated.

mod kit;

mod election;
mod ladder;
mod timers;
