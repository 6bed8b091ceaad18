//! Checks as the effective configuration has them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;

use crate::agent::jobs::CheckName;
use crate::agent::settings::{CheckSettings, CheckSource, Combination};
use crate::agent::status::CheckState;
use crate::config::duration;
use crate::config::work::Work;
use crate::config::work::probe::{HttpProbe, ProbeKind, Trust};

/// One kind; the options that are of it.
#[derive(Serialize, Default)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
pub(in crate::config) struct EffectiveCheck {
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Vec<EffectiveStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    insecure: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    systemd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ping: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_errors: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<EffectiveLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<BTreeMap<usize, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rise: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fall: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_fail: Option<String>,
}

/// A count, or a percentage.
#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
#[serde(untagged)]
enum EffectiveLimit {
    Count(u32),
    Share(String),
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
#[serde(untagged)]
enum EffectiveStatus {
    Code(u16),
    Range(String),
}

impl EffectiveCheck {
    pub fn new(check: &CheckSettings, work: &Work) -> Self {
        let initial = check.initial.and_then(|state| match state {
            CheckState::Up => Some("up".to_owned()),
            CheckState::Down => Some("down".to_owned()),
            CheckState::Unknown => None,
        });
        let on_fail = Some(check.on_fail.name().to_owned());
        let named = Self {
            initial,
            on_fail,
            ..Self::default()
        };
        match &check.source {
            CheckSource::Interface(interface) => Self {
                interface: Some(interface.to_string()),
                ..named
            },
            // Its number neither passes nor fails.
            CheckSource::File(path) => Self {
                file: Some(path.to_string_lossy().into_owned()),
                ..Self::default()
            },
            CheckSource::Combination(combination) => named.combining(combination),
            CheckSource::Elsewhere { .. } => Self {
                interval: Some(duration::print(check.interval)),
                timeout: Some(duration::print(check.timeout)),
                rise: Some(check.rise),
                fall: Some(check.fall),
                ..named
            }
            .asking(&check.name, work),
        }
    }

    fn combining(mut self, combination: &Combination) -> Self {
        let members = combination.members.iter();
        let members: Vec<String> = members.map(ToString::to_string).collect();
        match combination.needed {
            needed if needed == members.len() => self.all = Some(members),
            1 => self.any = Some(members),
            needed => self.at_least = Some([(needed, members)].into()),
        }
        self
    }

    /// By a script or a probe.
    fn asking(mut self, name: &CheckName, work: &Work) -> Self {
        if let Some(script) = work.scripts.get(name) {
            self.script = Some(script.command.clone());
            self.user = script.user.clone();
        }
        if let Some(probe) = work.probes.get(name) {
            self.probing(&probe.kind);
        }
        self
    }

    fn probing(&mut self, kind: &ProbeKind) {
        match kind {
            ProbeKind::Tcp { target } => self.tcp = Some(target.to_string()),
            ProbeKind::Http(http) => self.page(http),
            ProbeKind::Process(probe) => {
                self.process = probe.name.clone();
                self.pid_file = probe.pid_file.as_deref().map(shown);
                self.min = probe.pid_file.is_none().then_some(probe.min);
                self.max = probe.max;
            }
            ProbeKind::Unit { name } => self.systemd = Some(name.clone()),
            ProbeKind::Arp { target, interface } => {
                self.arp = Some(target.to_string());
                self.interface = Some(interface.to_string());
            }
            ProbeKind::Ping { target, interface } => {
                // In brackets as in a URL, and without here.
                let target = target.to_string();
                self.ping = Some(target.trim_matches(['[', ']']).to_owned());
                self.interface = interface.map(|interface| interface.to_string());
            }
            ProbeKind::Dns(probe) => {
                self.dns = Some(probe.name.clone());
                self.server = Some(probe.server.to_string());
                self.expect = probe.expect.map(|address| address.to_string());
            }
            ProbeKind::Disk(probe) => {
                self.disk = Some(shown(&probe.path));
                self.free = probe.free.map(|room| room.to_string());
                self.inodes = probe.inodes.map(|percent| percent.to_string());
            }
            ProbeKind::Pressure(probe) => {
                self.pressure = Some(probe.resource.name().to_owned());
                self.stalled = Some(probe.stalled.name().to_owned());
                self.average = Some(probe.average.name().to_owned());
                self.above = Some(EffectiveLimit::Share(probe.above.to_string()));
            }
            ProbeKind::LinkErrors { interface, above } => {
                self.link_errors = Some(interface.to_string());
                self.above = Some(EffectiveLimit::Count(*above));
            }
        }
    }

    fn page(&mut self, http: &HttpProbe) {
        self.http = Some(http.url.to_string());
        self.status = Some(http.status.iter().map(effective_status).collect());
        // An IPv6 address stands in brackets in a URL, and without here.
        let host = http.host.as_ref();
        self.host = host.map(|host| host.trim_matches(['[', ']']).to_owned());
        match &http.trust {
            Trust::System => {}
            Trust::File(file) => self.ca = Some(file.to_string_lossy().into_owned()),
            Trust::Anyone => self.insecure = Some(true),
        }
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn effective_status(range: &RangeInclusive<u16>) -> EffectiveStatus {
    match range.start() == range.end() {
        true => EffectiveStatus::Code(*range.start()),
        false => EffectiveStatus::Range(format!("{}-{}", range.start(), range.end())),
    }
}
