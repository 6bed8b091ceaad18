//! `address_lease`: how long the kernel keeps the addresses of an agent that
//! does not renew them.

use std::time::Duration;

use crate::agent::settings::InstanceSettings;
use crate::agent::values::{AdvertInterval, Lease};

use super::duration;
use super::fault::{Finding, Findings, quoted};
use super::instance::Draft;
use super::judge::DOWN_AFTER_DEFAULT;
use super::read::{self, Read};
use super::yaml::Node;

/// Longer than any that `auto` comes to.
const LONGEST: Duration = Duration::from_hours(24);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseChoice {
    Off,
    Auto,
    For(Lease),
}

/// `off`, `auto`, `5` or `5s`.
pub(super) fn choice(node: &Node) -> Read<LeaseChoice> {
    const WHAT: &str = "`address_lease` is `auto`, `off` or whole seconds from 2s to 24h";
    let scalar = read::scalar(node, "`auto`, `off` or whole seconds")?;
    let text = scalar.text.trim();
    let fault = |label: &str| {
        let title = format!("{WHAT}, and this is {}", quoted(text));
        Finding::at(node.place, title, label)
    };
    let span = match text {
        "off" => return Ok(LeaseChoice::Off),
        "auto" => return Ok(LeaseChoice::Auto),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            if text.starts_with('0') && text.len() > 1 {
                return Err(fault("write it without a leading zero, or as `5s`"));
            }
            // Too long for the parser is too long for us.
            let seconds = text.parse().unwrap_or(u64::MAX);
            Duration::from_secs(seconds)
        }
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')) => {
            read::duration(node, WHAT, Duration::ZERO..=LONGEST)?
        }
        "false" | "no" | "never" => return Err(fault("write `off`")),
        _ => return Err(fault("write `auto`, or seconds such as `5s`")),
    };
    if span > LONGEST {
        return Err(fault("too long: write at most `24h`"));
    }
    if span.subsec_nanos() != 0 {
        let above = Duration::from_secs(span.as_secs().max(1) + 1);
        let label = format!("write whole seconds, such as `{}`", duration::print(above));
        return Err(fault(&label).help("the kernel's clock for addresses is no finer"));
    }
    let lease = u32::try_from(span.as_secs()).ok();
    match lease.and_then(Lease::from_seconds) {
        Some(lease) => Ok(LeaseChoice::For(lease)),
        None => Err(fault("too short: write at least `2s`, or `off`")),
    }
}

/// What the choice comes to; `None` when it cannot be judged or is a fault.
pub(super) fn judge(
    draft: &Draft,
    interval: AdvertInterval,
    out: &mut Findings,
) -> Option<Option<Lease>> {
    let down_after = draft.down_after.or(DOWN_AFTER_DEFAULT)?;
    match draft.address_lease.or(LeaseChoice::Auto)? {
        LeaseChoice::Off => Some(None),
        LeaseChoice::Auto => Some(Some(auto(interval, down_after)?)),
        LeaseChoice::For(lease) => {
            let shortest = shortest(interval)?;
            if lease >= shortest {
                return Some(Some(lease));
            }
            let interval = duration::print(interval.as_duration());
            let written = duration::print(lease.as_duration());
            let place = draft.address_lease.place(draft.name.place);
            let title =
                format!("`address_lease: {written}` with an `advert_interval` of {interval}");
            let label = format!(
                "write at least `{}`",
                duration::print(shortest.as_duration())
            );
            out.fault(Finding::at(place, title, label).help(
                "the lease begins anew with each advertisement: the kernel would take the \
                 addresses away between two of them; it needs a second more than the interval",
            ));
            None
        }
    }
}

/// The whole seconds that one renewal must last: until after the next.
fn shortest(interval: AdvertInterval) -> Option<Lease> {
    let seconds = interval.as_duration().as_millis().div_ceil(1_000) + 1;
    Lease::from_seconds(u32::try_from(seconds).ok()?)
}

/// A second less than what its peers wait for, so that the addresses are gone
/// before another host claims them, where whole seconds allow that.
fn auto(interval: AdvertInterval, down_after: u8) -> Option<Lease> {
    let patience = patience(interval, down_after).as_secs();
    let seconds = u32::try_from(patience.saturating_sub(1)).ok()?;
    let wished = Lease::from_seconds(seconds).unwrap_or(Lease::SHORTEST);
    Some(wished.max(shortest(interval)?))
}

fn patience(interval: AdvertInterval, down_after: u8) -> Duration {
    interval.as_duration().saturating_mul(u32::from(down_after))
}

pub(super) fn print(lease: Option<Lease>) -> String {
    match lease {
        Some(lease) => duration::print(lease.as_duration()),
        None => "off".to_owned(),
    }
}

/// One warning for all instances whose lease outlasts their peers' patience.
/// An owner's addresses are its host's own, which no lease ever takes away.
pub(super) fn advice(judged: &[(&Draft, InstanceSettings)], out: &mut Findings) {
    const SHOWN_MAX: usize = 3;
    let mut longer = judged.iter().filter_map(|(draft, settings)| {
        let lease = settings.lease?.as_duration();
        let patience = patience(settings.advert_interval, settings.down_after);
        let outlasts = lease > patience && !settings.priority.is_owner();
        outlasts.then_some((draft, lease, patience))
    });
    let Some((first, lease, patience)) = longer.next() else {
        return;
    };
    let others: Vec<_> = longer.collect();
    let place = |draft: &Draft| {
        let fallback = draft.advert_interval.place(draft.name.place);
        draft.address_lease.place(fallback)
    };
    let title = match others.len() {
        0 => format!(
            "`address_lease` of instance `{}` is longer than its peers wait",
            first.name.value
        ),
        others => format!(
            "`address_lease` of {} instances is longer than their peers wait",
            others + 1
        ),
    };
    let (lease, patience) = (duration::print(lease), duration::print(patience));
    let label = format!("lease {lease}, and a peer takes over after {patience}");
    let mut finding = Finding::at(place(first), title, label).help(format!(
        "if this host's agent and its guardian are killed or frozen together, two hosts may hold \
         the addresses until the lease runs out, {lease} at most; when the agent alone dies, the \
         guardian removes them in milliseconds. Leases are whole seconds, at least 2 and one more than the interval; only \
         `down_after` x `advert_interval` of that length avoids it"
    ));
    for (other, _, _) in others.iter().take(SHOWN_MAX - 1) {
        finding = finding.see(place(other), "here too");
    }
    out.warn(finding);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_a_second_less_than_the_peers_wait_where_that_is_possible() {
        for (centiseconds, down_after, seconds) in [
            (100, 3, 2),
            (100, 1, 2),
            (100, 2, 2),
            (100, 10, 9),
            (1, 3, 2),
            (99, 255, 251),
            (150, 3, 3),
            (150, 2, 3),
            (200, 3, 5),
            (201, 1, 4),
            (4095, 1, 42),
            (4095, 255, 10_441),
        ] {
            let interval = AdvertInterval::from_centiseconds(centiseconds).unwrap();
            let lease = auto(interval, down_after).unwrap();
            assert_eq!(lease.seconds(), seconds, "{centiseconds} {down_after}");
        }
    }
}
