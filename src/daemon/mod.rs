//! The shell: start-up, the one loop, effects.
