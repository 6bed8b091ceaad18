//! The metrics, made of one picture. Names begin with `vipward_`, units are
//! seconds, counters end in `_total`.
//!
//! An instance is named by the label `vrrp_instance`: Prometheus itself puts
//! `instance` on everything that it reads, for the address it read it from.

mod agent;
mod exposition;
mod health;
mod instances;
mod peers;

use super::pictures::View;
use exposition::Exposition;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn exposition(view: &View) -> String {
    let status = &view.picture.status;
    let context = view.context();
    let mut out = Exposition::default();
    agent::write(&mut out, &view.about);
    instances::write(&mut out, status, context);
    health::write(&mut out, status, context);
    peers::write(&mut out, status, context.now);
    out.into_text()
}

#[cfg(test)]
mod tests;
