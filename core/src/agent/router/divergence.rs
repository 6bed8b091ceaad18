//! Differences between the nodes' settings of one instance, as the peer link
//! tells them. Shown on both sides with both values; they never cost an
//! instance its mastership.

use super::*;
use crate::agent::cluster::message::{ADDRESSES_MAX, KEYS_MAX};
use crate::agent::settings::Authentication;

impl VirtualRouter {
    /// Compares with what every node tells, and says what is new or gone.
    pub(super) fn look_for_divergence(&mut self, turn: &mut Turn<'_>) {
        let name = &self.settings.name;
        let mut now = Vec::new();
        for (node, peer) in turn.world.nodes.iter() {
            match peer.instance(name) {
                Some(news) if peer.is_reachable() => self.diverging(node, peer, news, &mut now),
                // What was known of it still is what it was configured to be.
                Some(_) => {
                    let known = self.divergence.iter();
                    now.extend(known.filter(|one| one.node.as_ref() == Some(node)).cloned());
                }
                None => {}
            }
        }
        let before = std::mem::replace(&mut self.divergence, now);
        let mut facts = Vec::new();
        for one in self.divergence.iter().filter(|one| !before.contains(one)) {
            facts.push(fact(one, Some(one.theirs.clone())));
        }
        let same = |one: &Drift, other: &Drift| (one.code, &one.node) == (other.code, &other.node);
        for gone in &before {
            if !self.divergence.iter().any(|one| same(one, gone)) {
                facts.push(fact(gone, None));
            }
        }
        for fact in facts {
            if self.drift_lines.take(turn.now, LINE_PACE) {
                turn.report(Some(&self.settings.name), fact);
            }
        }
    }

    fn diverging(&self, node: &NodeName, peer: &Peer, news: &InstanceNews, found: &mut Vec<Drift>) {
        let settings = &self.settings;
        let mut differ = |code, ours: String, theirs: String| {
            if ours != theirs {
                found.push(Drift {
                    code,
                    ours,
                    theirs,
                    source: None,
                    node: Some(node.clone()),
                });
            }
        };
        let router = |vrid: Vrid, family: Family| format!("{vrid} over {}", family.name());
        differ(
            "virtual-router",
            router(settings.vrid, settings.family),
            router(news.vrid, news.family),
        );
        if !self.corresponds(news) {
            return;
        }
        let version = |version: Version| version.number().to_string();
        differ("version", version(settings.version), version(news.version));
        let millis = |span: Duration| format!("{} ms", span.as_millis());
        let ours = self.own_interval();
        differ(
            "advert-interval",
            millis(ours),
            millis(news.advert_interval),
        );
        let patience = |intervals: u8| format!("{intervals} intervals");
        let (ours, theirs) = (settings.down_after, news.down_after);
        differ("down-after", patience(ours), patience(theirs));
        if news::addresses_digest(settings) != news.addresses_digest {
            let theirs_total = usize::from(news.addresses_total);
            // Of a long list as many as the other's message had room for.
            let shown = match news.addresses.len() {
                all if all == theirs_total => ADDRESSES_MAX,
                first => first,
            };
            let total = settings.addresses.len();
            let ours = settings.addresses.iter().map(|address| address.network);
            let ours = listed(ours.take(shown), total);
            let theirs = news.addresses.iter().map(|(network, _)| *network);
            let theirs = listed(theirs, theirs_total);
            if ours == theirs {
                let hint = " (the lists differ further on, or in `advertise`)";
                differ("addresses", ours + hint, theirs);
            } else {
                differ("addresses", ours, theirs);
            }
        }
        let (ours, theirs) = keys(settings, news);
        differ("keys", ours, theirs);
        // Another version of the program may know other settings.
        if peer.program() == env!("CARGO_PKG_VERSION") {
            let digest = |value: u64| format!("{value:016x}");
            let ours = digest(news::settings_digest(settings));
            differ("configuration", ours, digest(news.settings_digest));
        }
        if news.priority == self.priority.get() && news.is_candidate() {
            found.push(Drift {
                code: "equal-priority",
                ours: self.priority.to_string(),
                theirs: news.priority.to_string(),
                source: None,
                node: Some(node.clone()),
            });
        }
    }
}

fn fact(drift: &Drift, theirs: Option<String>) -> Fact {
    Fact::Drift {
        what: drift.code,
        ours: drift.ours.clone(),
        theirs,
        node: drift.node.clone(),
    }
}

fn listed(addresses: impl Iterator<Item = ipnet::IpNet>, total: usize) -> String {
    let words: Vec<String> = addresses.map(|address| address.to_string()).collect();
    let more = total.saturating_sub(words.len());
    let list = words.join(", ");
    if more == 0 {
        return list;
    }
    format!("{list} and {more} more")
}

/// By their fingerprints, which tell nothing about the keys.
fn keys(settings: &InstanceSettings, news: &InstanceNews) -> (String, String) {
    let said = |keys: &mut dyn Iterator<Item = (u8, u64)>, active: Option<u8>| {
        let words: Vec<String> = keys
            .map(|(id, print)| {
                let short = print & 0xffff_ffff;
                let signs = if active == Some(id) { " signs" } else { "" };
                format!("{id} ({short:08x}){signs}")
            })
            .collect();
        match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(", "),
        }
    };
    let most = KEYS_MAX;
    let ours = match &settings.authentication {
        Authentication::None | Authentication::Password(_) => said(&mut std::iter::empty(), None),
        Authentication::Hmac(hmac) => {
            let mut all = hmac
                .fingerprints
                .iter()
                .map(|(id, print)| (*id, *print))
                .take(most);
            said(&mut all, Some(hmac.active_key))
        }
    };
    let theirs = said(&mut news.keys.iter().copied(), news.active_key);
    (ours, theirs)
}
