//! Checks as the effective configuration has them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

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
        match work.probes.get(name).map(|probe| &probe.kind) {
            None => {}
            Some(ProbeKind::Tcp { target }) => self.tcp = Some(target.to_string()),
            Some(ProbeKind::Http(http)) => self.page(http),
        }
        self
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

fn effective_status(range: &RangeInclusive<u16>) -> EffectiveStatus {
    match range.start() == range.end() {
        true => EffectiveStatus::Code(*range.start()),
        false => EffectiveStatus::Range(format!("{}-{}", range.start(), range.end())),
    }
}
