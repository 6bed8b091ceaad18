//! A check of a page: its URL, and the options that are about pages.

use std::ops::RangeInclusive;

use super::text::{absolute, by};
use crate::config::command;
use crate::config::fault::{Finding, Findings, Place};
use crate::config::read::{self, At, Read, Section};
use crate::config::work::parse;
use crate::config::work::probe::{HttpProbe, HttpUrl, Trust};
use crate::config::yaml::{Node, Value};

const STATUS_ITEMS_MAX: usize = 50;

pub(super) fn probe(section: &Section, out: &mut Findings) -> Option<(HttpProbe, Place)> {
    let url = section.field("http", out, |node| by(node, "a URL", parse::http));
    let status = section.field("status", out, status);
    let host = section.field("host", out, |node| by(node, "a host's name", parse::host));
    let ca = section.field("ca", out, absolute);
    let insecure = section.field("insecure", out, read::boolean);
    let tls = url.given().is_none_or(|url| url.value.tls());
    let mut sound = true;
    for (key, place) in [
        ("ca", ca.given().map(|at| at.place)),
        ("insecure", insecure.given().map(|at| at.place)),
    ] {
        if let Some(place) = place.filter(|_| !tls) {
            let title = format!("`{key}` with a URL that is not https");
            out.fault(
                Finding::at(place, title, "remove it, or write `https://`")
                    .help("without TLS there is no certificate to trust"),
            );
            sound = false;
        }
    }
    let anyone = insecure.given().filter(|at| at.value);
    if let (Some(ca), Some(anyone)) = (ca.given(), anyone) {
        out.fault(
            Finding::at(
                anyone.place,
                "`insecure` accepts what `ca` would refuse",
                "remove one",
            )
            .see(ca.place, "only these authorities"),
        );
        sound = false;
    }
    let trust = match (command::optional(&ca)?, insecure.or(false)?) {
        (_, true) => Trust::Anyone,
        (Some(file), false) => Trust::File(file),
        (None, false) => Trust::System,
    };
    let url: &At<HttpUrl> = url.given().filter(|_| sound)?;
    let default = HttpProbe::new(url.value.clone());
    let probe = HttpProbe {
        status: status.or(default.status.clone())?,
        host: command::optional(&host)?,
        trust,
        ..default
    };
    Some((probe, url.place))
}

/// A number or range, or a list of them.
fn status(node: &Node) -> Read<Vec<RangeInclusive<u16>>> {
    let one = |node: &Node| by(node, "an HTTP status", parse::status_range);
    let Value::List(items) = &node.value else {
        return Ok(vec![one(node)?]);
    };
    if items.is_empty() || items.len() > STATUS_ITEMS_MAX {
        let title = format!("`status` lists {} ranges", items.len());
        let label = format!("write 1 to {STATUS_ITEMS_MAX}, such as `200-299`");
        return Err(Finding::at(node.place, title, label));
    }
    items.iter().map(one).collect()
}
