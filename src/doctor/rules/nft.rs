//! What `nft -j list ruleset` prints (libnftables-json(5)).

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Base, Chain, Hook, Rule, Ruleset, Test, Verdict, What, network, protocol};
use crate::agent::values::Family;

/// Of one rule's text in a message.
const TEXT_SHOWN: usize = 120;

type Sets<'a> = BTreeMap<(String, &'a str), &'a [Value]>;

/// # Errors
///
/// A sentence: it is no such output.
pub fn from_nft_json(text: &str) -> Result<Ruleset, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("nft printed no JSON: {error}"))?;
    let Some(items) = value.get("nftables").and_then(Value::as_array) else {
        return Err("nft printed no ruleset".to_owned());
    };
    let mut sets = Sets::new();
    for set in items.iter().filter_map(|item| item.get("set")) {
        let elements = set.get("elem").and_then(Value::as_array);
        if let (Some((table, _)), Some(name), Some(elements)) =
            (table(set), str_of(set, "name"), elements)
        {
            sets.insert((table, name), elements);
        }
    }
    let mut chains: Vec<Chain> = Vec::new();
    for item in items {
        if let Some(chain) = item.get("chain") {
            chains.extend(read_chain(chain));
        } else if let Some(rule) = item.get("rule") {
            let (Some((table, _)), Some(name)) = (table(rule), str_of(rule, "chain")) else {
                continue;
            };
            let chain = chains
                .iter_mut()
                .find(|c| c.table == table && c.name == name);
            if let Some(chain) = chain {
                chain.rules.extend(rules(rule, &table, &sets));
            }
        }
    }
    Ok(Ruleset { chains })
}

fn str_of<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

/// `inet filter`, and the family that it is for; nothing where it is of no
/// concern.
fn table(value: &Value) -> Option<(String, Option<Family>)> {
    let kind = str_of(value, "family")?;
    let name = str_of(value, "table")?;
    let family = match kind {
        "ip" => Some(Family::Ipv4),
        "ip6" => Some(Family::Ipv6),
        "inet" | "netdev" => None,
        _ => return None,
    };
    Some((format!("{kind} {name}"), family))
}

fn read_chain(value: &Value) -> Option<Chain> {
    let (table, family) = table(value)?;
    let hook = match str_of(value, "hook") {
        None => None,
        Some("ingress" | "prerouting" | "input") => Some(Hook::Incoming),
        Some("output" | "postrouting" | "egress") => Some(Hook::Outgoing),
        Some(_) => Some(Hook::Other),
    };
    // Only the first packet of a connection passes a chain of this type.
    let translates = str_of(value, "type") == Some("nat");
    Some(Chain {
        name: str_of(value, "name")?.to_owned(),
        table,
        base: hook.filter(|_| !translates).map(|hook| Base {
            hook,
            drops: str_of(value, "policy") == Some("drop"),
            family,
        }),
        rules: Vec::new(),
    })
}

/// One for each verdict: a map of verdicts has several.
fn rules(value: &Value, table: &str, sets: &Sets) -> Vec<Rule> {
    let Some(expressions) = value.get("expr").and_then(Value::as_array) else {
        return Vec::new();
    };
    let text = text_of(expressions);
    let mut tests = Vec::new();
    let mut verdict = Verdict::Continue;
    let mut rules = Vec::new();
    let sets = |name: &str| sets.get(&(table.to_owned(), name)).copied();
    for expression in expressions {
        let Some((kind, body)) = expression
            .as_object()
            .and_then(|object| object.iter().next())
        else {
            continue;
        };
        match kind.as_str() {
            "match" => tests.extend(matched(body, &sets)),
            "vmap" => rules.extend(mapped(body, &tests, &text, &sets)),
            "counter" | "log" | "mangle" | "notrack" | "comment" | "masquerade" | "snat"
            | "dnat" | "redirect" | "set" | "map" | "ct helper" | "ct timeout" | "flow" => {}
            _ => match verdict_of(kind, body) {
                Some(found) => verdict = found,
                // A limit, a match of iptables, something newer.
                None => tests.push(Test::is(What::Unknown)),
            },
        }
    }
    rules.push(Rule {
        tests,
        verdict,
        text,
    });
    rules
}

fn verdict_of(kind: &str, body: &Value) -> Option<Verdict> {
    let target = || str_of(body, "target").unwrap_or_default().to_owned();
    Some(match kind {
        "accept" => Verdict::Accept,
        "drop" | "reject" => Verdict::Drop,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "jump" => Verdict::Jump(target()),
        "goto" => Verdict::Goto(target()),
        "queue" | "tproxy" | "synproxy" | "fwd" | "dup" => Verdict::Unknown,
        _ => return None,
    })
}

fn mapped<'v>(
    body: &'v Value,
    before: &[Test],
    text: &str,
    sets: &impl Fn(&str) -> Option<&'v [Value]>,
) -> Vec<Rule> {
    let data = body.get("data").and_then(|data| data.get("set"));
    let pairs = data.and_then(Value::as_array);
    let (Some(key), Some(pairs)) = (body.get("key"), pairs) else {
        return vec![Rule {
            tests: before.to_vec(),
            verdict: Verdict::Unknown,
            text: text.to_owned(),
        }];
    };
    let pairs = pairs.iter().filter_map(|pair| {
        let (element, verdict) = (pair.get(0)?, pair.get(1)?);
        let (kind, body) = verdict.as_object()?.iter().next()?;
        let mut tests = before.to_vec();
        tests.extend(compared(key, element, false, sets));
        Some(Rule {
            tests,
            verdict: verdict_of(kind, body).unwrap_or(Verdict::Unknown),
            text: text.to_owned(),
        })
    });
    pairs.collect()
}

fn matched<'v>(body: &'v Value, sets: &impl Fn(&str) -> Option<&'v [Value]>) -> Vec<Test> {
    let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else {
        return vec![Test::is(What::Unknown)];
    };
    match str_of(body, "op") {
        Some("==" | "in") | None => compared(left, right, false, sets),
        Some("!=") => compared(left, right, true, sets),
        Some(_) => vec![Test::is(What::Unknown)],
    }
}

fn compared<'v>(
    left: &Value,
    right: &'v Value,
    negated: bool,
    sets: &impl Fn(&str) -> Option<&'v [Value]>,
) -> Vec<Test> {
    let values = values(right, sets);
    let values = values.as_deref();
    let mut tests = Vec::new();
    let what = if let Some(meta) = left.get("meta") {
        of_meta(str_of(meta, "key").unwrap_or_default(), values)
    } else if let Some(payload) = left.get("payload") {
        let header = str_of(payload, "protocol").unwrap_or_default();
        let field = str_of(payload, "field").unwrap_or_default();
        match header {
            "ip" => tests.push(Test::is(What::Family(Family::Ipv4))),
            "ip6" => tests.push(Test::is(What::Family(Family::Ipv6))),
            "th" | "ether" => {}
            // A header of a protocol is there only in its packets.
            name => {
                tests.extend(protocol(name).map(|number| Test::is(What::Protocol(vec![number]))))
            }
        }
        of_payload(field, values)
    } else if left.get("ct").and_then(|ct| str_of(ct, "key")) == Some("state") {
        connection(values)
    } else {
        None
    };
    let what = what.unwrap_or(What::Unknown);
    tests.push(Test { what, negated });
    tests
}

/// The texts and numbers of a value, a list, a set or a named set.
fn values<'v>(
    value: &'v Value,
    sets: &impl Fn(&str) -> Option<&'v [Value]>,
) -> Option<Vec<&'v Value>> {
    if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
        return sets(name).map(|all| all.iter().collect());
    }
    let list = value.as_array().or_else(|| value.get("set")?.as_array());
    Some(match list {
        Some(list) => list.iter().collect(),
        None => vec![value],
    })
}

fn all<T>(values: Option<&[&Value]>, each: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    values?.iter().map(|value| each(value)).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn of_meta(key: &str, values: Option<&[&Value]>) -> Option<What> {
    let names = || all(values, text);
    Some(match key {
        "l4proto" => What::Protocol(all(values, |value| protocol(&text(value)?))?),
        "iifname" | "iif" => What::InInterface(names()?),
        "oifname" | "oif" => What::OutInterface(names()?),
        "nfproto" | "protocol" => match names()?.as_slice() {
            [one] if matches!(one.as_str(), "ipv4" | "ip") => What::Family(Family::Ipv4),
            [one] if matches!(one.as_str(), "ipv6" | "ip6") => What::Family(Family::Ipv6),
            _ => return None,
        },
        _ => return None,
    })
}

fn of_payload(field: &str, values: Option<&[&Value]>) -> Option<What> {
    let networks = || {
        all(values, |value| match value.get("prefix") {
            Some(prefix) => {
                let length = prefix.get("len").and_then(Value::as_u64)?;
                network(&format!("{}/{length}", str_of(prefix, "addr")?))
            }
            None => network(value.as_str()?),
        })
    };
    Some(match field {
        "protocol" | "nexthdr" => What::Protocol(all(values, |value| protocol(&text(value)?))?),
        "saddr" => What::Source(networks()?),
        "daddr" => What::Destination(networks()?),
        "dport" => What::DestinationPort(all(values, ports)?),
        _ => return None,
    })
}

fn ports(value: &Value) -> Option<(u16, u16)> {
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    match value.get("range") {
        Some(range) => Some((port(range.get(0)?)?, port(range.get(1)?)?)),
        None => port(value).map(|port| (port, port)),
    }
}

fn connection(values: Option<&[&Value]>) -> Option<What> {
    let states = all(values, text)?;
    let has = |state: &str| states.iter().any(|one| one == state);
    Some(What::Connection {
        new: has("new") || has("untracked"),
        established: has("established"),
    })
}

/// Near to what `nft list ruleset` would show.
fn text_of(expressions: &[Value]) -> String {
    let words: Vec<String> = expressions.iter().filter_map(word_of).collect();
    crate::control::words::cut(&words.join(" "), TEXT_SHOWN)
}

fn word_of(expression: &Value) -> Option<String> {
    let (kind, body) = expression.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "match" => {
            let right = plain(body.get("right")?);
            let op = match str_of(body, "op") {
                Some("==" | "in") | None => String::new(),
                Some(op) => format!("{op} "),
            };
            format!("{} {op}{right}", left_of(body.get("left")?))
        }
        "vmap" => format!("{} vmap {{ ... }}", left_of(body.get("key")?)),
        "jump" | "goto" => format!("{kind} {}", str_of(body, "target")?),
        "counter" | "comment" => return None,
        other => other.to_owned(),
    })
}

fn left_of(left: &Value) -> String {
    let key = |of: &Value, key: &str| str_of(of, key).unwrap_or("?").to_owned();
    if let Some(meta) = left.get("meta") {
        match key(meta, "key").as_str() {
            name @ ("iifname" | "oifname" | "iif" | "oif") => name.to_owned(),
            name => format!("meta {name}"),
        }
    } else if let Some(payload) = left.get("payload") {
        format!("{} {}", key(payload, "protocol"), key(payload, "field"))
    } else if let Some(ct) = left.get("ct") {
        format!("ct {}", key(ct, "key"))
    } else {
        "...".to_owned()
    }
}

fn plain(value: &Value) -> String {
    match text(value) {
        Some(text) => text,
        None => match values(value, &|_| None) {
            Some(all) if !all.is_empty() && value.get("prefix").is_none() => {
                let all: Vec<String> = all.into_iter().filter_map(text).collect();
                format!("{{ {} }}", all.join(", "))
            }
            _ => value.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
