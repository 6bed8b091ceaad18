//! `vipward import`: what keepalived's language means, what each of its words
//! comes to, and that nothing is lost in silence.

mod account;
mod command;
mod faults;
mod held;
mod kit;
mod language;
mod meaning;
mod properties;
mod settings;
