//! Every key that a configuration may hold, in one place.

use super::fault::{Finding, Place, quoted};

/// The keys of one kind of section.
pub(super) struct Keys {
    /// Where they stand, for messages: "an instance".
    pub within: &'static str,
    pub known: &'static [&'static str],
    /// Of a later version: refused by name. A feature that arrives moves its
    /// key into `known`.
    pub later: &'static [&'static str],
}

pub(super) static TOP: Keys = Keys {
    within: "the top level",
    known: &[
        "node",
        "instances",
        "groups",
        "checks",
        "cluster",
        "control",
        "metrics",
        "log",
        "include",
    ],
    later: &[],
};

pub(super) static INSTANCE: Keys = Keys {
    within: "an instance",
    known: &[
        "interface",
        "vrid",
        "priority",
        "version",
        "family",
        "addresses",
        "routes",
        "rules",
        "advert_interval",
        "down_after",
        "unicast_peers",
        "source",
        "preempt",
        "settle",
        "checks",
        "on_all_fail",
        "on_conflict",
        "witnesses",
        "hooks",
        "announce",
        "address_lease",
        "checksum",
        "ttl",
        "auth",
        "virtual_mac",
        "nodes",
    ],
    later: &[],
};

pub(super) static ADDRESS: Keys = Keys {
    within: "an address",
    known: &[
        "address",
        "interface",
        "label",
        "advertise",
        "required",
        "source_address",
    ],
    later: &[],
};

pub(super) static ROUTE: Keys = Keys {
    within: "a route",
    known: &[
        "to",
        "via",
        "interface",
        "source",
        "table",
        "metric",
        "onlink",
        "required",
    ],
    later: &[],
};

pub(super) static RULE: Keys = Keys {
    within: "a rule",
    known: &[
        "from", "to", "iif", "oif", "fwmark", "table", "priority", "required",
    ],
    later: &[],
};

pub(super) static ANNOUNCE: Keys = Keys {
    within: "`announce`",
    known: &["repeat", "delay", "refresh"],
    later: &[],
};

pub(super) static AUTH: Keys = Keys {
    within: "`auth`",
    known: &[
        "keys",
        "active_key",
        "mode",
        "anti_replay",
        "window",
        "password",
    ],
    later: &[],
};

pub(super) static CHECK: Keys = Keys {
    within: "a check",
    known: &[
        "script",
        "tcp",
        "http",
        "interface",
        "interval",
        "timeout",
        "rise",
        "fall",
        "user",
        "initial",
        "status",
        "host",
        "ca",
        "insecure",
        "process",
        "pid_file",
        "min",
        "max",
        "systemd",
        "arp",
        "ping",
        "dns",
        "server",
        "expect",
        "disk",
        "free",
        "inodes",
        "pressure",
        "stalled",
        "average",
        "above",
        "link_errors",
        "file",
        "any",
        "all",
        "at_least",
        "on_fail",
    ],
    later: &[],
};

/// One entry of an instance's `checks`.
pub(super) static USE: Keys = Keys {
    within: "an instance's check",
    known: &["name", "weight"],
    later: &[],
};

pub(super) static HOOKS: Keys = Keys {
    within: "an instance's `hooks`",
    known: &[
        "before_active",
        "before_release",
        "active",
        "backup",
        "fault",
        "change",
    ],
    later: &[],
};

pub(super) static GROUP: Keys = Keys {
    within: "a group",
    known: &["members", "hooks"],
    later: &[],
};

/// None that is awaited: what waits is an instance.
pub(super) static GROUP_HOOKS: Keys = Keys {
    within: "a group's `hooks`",
    known: &["active", "backup", "fault", "change"],
    later: &[],
};

pub(super) static HOOK: Keys = Keys {
    within: "a hook",
    known: &["run", "timeout", "user"],
    later: &[],
};

pub(super) static CLUSTER: Keys = Keys {
    within: "`cluster`",
    known: &["key_file", "listen", "nodes"],
    later: &[],
};

pub(super) static CONTROL: Keys = Keys {
    within: "`control`",
    known: &["read_group", "admin_group"],
    later: &[],
};

pub(super) static METRICS: Keys = Keys {
    within: "`metrics`",
    known: &["listen"],
    later: &[],
};

pub(super) static LOG: Keys = Keys {
    within: "`log`",
    known: &["level", "format"],
    later: &[],
};

pub(super) static SECTIONS: [&Keys; 17] = [
    &TOP,
    &INSTANCE,
    &ADDRESS,
    &ROUTE,
    &RULE,
    &ANNOUNCE,
    &AUTH,
    &CHECK,
    &USE,
    &HOOKS,
    &HOOK,
    &GROUP,
    &GROUP_HOOKS,
    &CLUSTER,
    &CONTROL,
    &METRICS,
    &LOG,
];

/// What keepalived calls things, and what to write here.
const KEEPALIVED: [(&str, &str); 40] = [
    ("auth_pass", "write `auth: { password: ... }`"),
    ("auth_hmac", "write `auth: { keys: { 1: /path/to/key } }`"),
    ("vrrp_instance", "name it under `instances`"),
    (
        "vrrp_sync_group",
        "name it under `groups`, as `gateway: { members: [inside, outside] }`",
    ),
    ("router_id", "write `node` at the top level"),
    ("virtual_router_id", "write `vrid`"),
    ("virtual_ipaddress", "write `addresses`"),
    (
        "virtual_ipaddress_excluded",
        "write `addresses`, each with `advertise: false`",
    ),
    ("virtual_routes", "write `routes`"),
    ("virtual_rules", "write `rules`"),
    // And what `ip route` calls them.
    ("dev", "write `interface`"),
    ("gateway", "write `via`"),
    ("src", "write `source` in a route, `from` in a rule"),
    ("advert_int", "write `advert_interval`"),
    ("down_timer_adverts", "write `down_after`"),
    ("unicast_peer", "write `unicast_peers`"),
    ("unicast_src_ip", "write `source`"),
    ("mcast_src_ip", "write `source`"),
    ("nopreempt", "write `preempt: false`"),
    ("preempt_delay", "write the delay as `preempt: 30s`"),
    ("startup_delay", "write `settle`"),
    ("vrrp_startup_delay", "write `settle` in each instance"),
    ("garp_master_delay", "write `announce: { delay: 5s }`"),
    ("garp_master_repeat", "write `announce: { repeat: 5 }`"),
    ("garp_master_refresh", "write `announce: { refresh: 60s }`"),
    (
        "state",
        "remove it: the election decides who starts as Active",
    ),
    ("vrrp_script", "name it under `checks`"),
    (
        "track_process",
        "write a check `{ process: haproxy }` and list it in `checks`",
    ),
    (
        "vrrp_track_process",
        "write a check `{ process: haproxy }` under `checks`",
    ),
    (
        "track_file",
        "write a check `{ file: /run/vipward/priority }` and list it in `checks`",
    ),
    ("track_script", "write `checks`"),
    (
        "track_interface",
        "write a check `{ interface: eth1 }` and list it in `checks`",
    ),
    ("init_fail", "write `initial: down`"),
    (
        "notify_master",
        "write `hooks: { active: [/path/to/script] }`",
    ),
    (
        "notify_backup",
        "write `hooks: { backup: [/path/to/script] }`",
    ),
    (
        "notify_fault",
        "write `hooks: { fault: [/path/to/script] }`",
    ),
    ("notify", "write `hooks: { change: [/path/to/script] }`"),
    (
        "notify_stop",
        "write `hooks: { change: [/path/to/script] }`, which is told STOP",
    ),
    ("use_vmac", "write `virtual_mac: true`"),
    ("native_ipv6", "write `family: ipv6`"),
];

impl Keys {
    /// `None` when `key` is one of ours; otherwise why it is refused.
    pub fn judge(&self, key: &str, place: Place) -> Option<Finding> {
        if self.known.contains(&key) {
            return None;
        }
        let name = quoted(key);
        if self.later.contains(&key) {
            let title = format!("{name} is not yet supported by this version");
            return Some(Finding::at(place, title, "remove it").help(format!(
                "a later version has this key of {}; ignored here, it would only seem to work",
                self.within
            )));
        }
        let title = match std::ptr::eq(self, &TOP) {
            true => format!("unknown key {name} at {}", self.within),
            false => format!("unknown key {name} in {}", self.within),
        };
        Some(match self.remedy(key) {
            Some(remedy) => Finding::at(place, title, remedy),
            None => Finding::at(place, title, "remove it").help(self.list()),
        })
    }

    /// Whether the unknown key `written` is told to become `key`.
    pub fn means(&self, written: &str, key: &str) -> bool {
        let remedy = self.remedy(written);
        remedy.is_some_and(|remedy| remedy.contains(&format!("`{key}`")))
    }

    fn list(&self) -> String {
        format!("the keys of {} are: {}", self.within, self.known.join(", "))
    }

    fn remedy(&self, key: &str) -> Option<String> {
        let written = key.to_ascii_lowercase().replace('-', "_");
        let keepalived = KEEPALIVED.iter().find(|(word, _)| *word == written);
        if let Some((_, remedy)) = keepalived {
            return Some((*remedy).to_owned());
        }
        if let Some(near) = nearest(&written, self.known.iter().copied()) {
            return Some(format!("write `{near}`"));
        }
        let elsewhere = |keys: &&&Keys| keys.known.contains(&key) || keys.later.contains(&key);
        let keys = SECTIONS.iter().find(elsewhere)?;
        Some(format!("it belongs into {}", keys.within))
    }
}

/// The candidate that was most likely meant, if one is close.
pub(super) fn nearest<'a>(
    written: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // Nobody misspells a word into a page; the distance is quadratic.
    const LENGTH_MAX: usize = 40;
    if written.len() > LENGTH_MAX {
        return None;
    }
    let distance = |candidate: &str| strsim::damerau_levenshtein(written, candidate);
    let (best, near) = candidates
        .map(|candidate| (distance(candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    let allowed = (near.chars().count() / 3).max(1);
    (best <= allowed).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_names_the_nearest() {
        for (written, meant) in [
            ("interfce", Some("interface")),
            ("prority", Some("priority")),
            ("adress", Some("addresses")),
            ("addreses", Some("addresses")),
            ("vird", Some("vrid")),
            ("advert_intervall", Some("advert_interval")),
            ("colour", None),
        ] {
            assert_eq!(
                nearest(written, INSTANCE.known.iter().copied()),
                meant,
                "{written}"
            );
        }
    }

    #[test]
    fn no_key_is_both_known_and_for_later() {
        for keys in SECTIONS {
            for later in keys.later {
                assert!(!keys.known.contains(later), "{later}");
            }
        }
    }

    /// `key:` or `` `key` `` somewhere.
    fn mentions(text: &str, key: &str) -> bool {
        [format!("{key}:"), format!("`{key}`")]
            .iter()
            .any(|form| text.contains(form))
    }

    #[test]
    fn the_example_and_the_reference_have_every_known_key() {
        let example = include_str!("../../config.example.yaml");
        let reference = include_str!("../../docs/configuration.md");
        for key in SECTIONS.iter().flat_map(|keys| keys.known) {
            assert!(mentions(example, key), "config.example.yaml: {key}");
            assert!(mentions(reference, key), "docs/configuration.md: {key}");
        }
        for key in SECTIONS.iter().flat_map(|keys| keys.later) {
            assert!(mentions(reference, key), "docs/configuration.md: {key}");
        }
    }
}
