//! Of the agent itself and its configuration.

use jiff::Timestamp;

use super::exposition::Exposition;
use crate::control::pictures::About;

pub(super) fn write(out: &mut Exposition, about: &About) {
    let identity = &about.identity;
    out.gauge(
        "vipward_build_info",
        "Always 1; the version of the program.",
    )
    .sample(&[("version", &identity.version)], 1);
    out.gauge("vipward_node_info", "Always 1; the name of this node.")
        .sample(&[("node", &identity.node)], 1);
    out.gauge(
        "vipward_start_time_seconds",
        "When the agent was started, as seconds since 1970.",
    )
    .sample(&[], seconds(identity.started_at));
    let path = identity.config_path.display().to_string();
    out.gauge(
        "vipward_config_info",
        "Always 1; the configuration in force. Equal digests are equal settings.",
    )
    .sample(&[("path", &path), ("digest", &identity.config_digest)], 1);
    out.gauge(
        "vipward_config_last_reload_successful",
        "Whether the last reload was applied; 1 as well where there was none.",
    )
    .flag(&[], !about.reloadings.last_failed);
    out.gauge(
        "vipward_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read, as seconds since 1970.",
    )
    .sample(&[], seconds(identity.config_loaded_at));
    let mut reloads = out.counter(
        "vipward_config_reloads_total",
        "Reloads, by how they ended.",
    );
    reloads.sample(&[("outcome", "applied")], about.reloadings.applied);
    reloads.sample(&[("outcome", "failed")], about.reloadings.failed);
}

/// Since 1970, to the millisecond.
pub(super) fn seconds(at: Timestamp) -> String {
    let millis = at.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}
