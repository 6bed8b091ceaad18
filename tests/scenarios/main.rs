//! Stories in virtual time: agents, a clock and a wire, all simulated.
