//! What `iptables-save` and `ip6tables-save` print.

use super::{Base, Chain, Hook, Rule, Ruleset, Test, Verdict, What, network, protocol};
use crate::agent::values::Family;
use crate::control::words;

/// Of one rule's text in a message.
const TEXT_SHOWN: usize = 120;

/// Tables of address translation are left out: they drop nothing.
pub fn from_iptables_save(text: &str, family: Family) -> Ruleset {
    let tool = match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    };
    let mut chains: Vec<Chain> = Vec::new();
    let mut table = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = Some(format!("{tool} {name}")).filter(|_| name != "nat");
            continue;
        }
        let Some(table) = &table else { continue };
        if let Some(declared) = line.strip_prefix(':') {
            chains.extend(chain(declared, table, family));
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (name, rest) = rule.split_once(' ').unwrap_or((rule, ""));
            let names: Vec<String> = chains
                .iter()
                .filter(|chain| chain.table == *table)
                .map(|chain| chain.name.clone())
                .collect();
            let chain = chains
                .iter_mut()
                .find(|chain| chain.table == *table && chain.name == name);
            if let Some(chain) = chain {
                chain.rules.push(read(rest, &names));
            }
        }
    }
    Ruleset { chains }
}

/// `INPUT DROP [0:0]`, `ours - [0:0]`.
fn chain(declared: &str, table: &str, family: Family) -> Option<Chain> {
    let mut words = declared.split_whitespace();
    let (name, policy) = (words.next()?, words.next()?);
    let hook = match name {
        "PREROUTING" | "INPUT" => Some(Hook::Incoming),
        "OUTPUT" | "POSTROUTING" => Some(Hook::Outgoing),
        "FORWARD" => Some(Hook::Other),
        _ => None,
    };
    Some(Chain {
        table: table.to_owned(),
        name: name.to_owned(),
        base: hook.filter(|_| policy != "-").map(|hook| Base {
            hook,
            drops: policy == "DROP",
            family: Some(family),
        }),
        rules: Vec::new(),
    })
}

fn read(text: &str, chains: &[String]) -> Rule {
    let words = split(text);
    let mut words = words.iter().map(String::as_str).peekable();
    let mut rule = Rule {
        tests: Vec::new(),
        verdict: Verdict::Continue,
        text: words::cut(text, TEXT_SHOWN),
    };
    let mut negated = false;
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let mut values = Vec::new();
        while let Some(value) = words.next_if(|next| *next != "!" && !next.starts_with('-')) {
            values.push(value);
        }
        let value = values.first().copied().unwrap_or_default();
        let what = match word {
            // What they add has options of its own.
            "-m" | "--match" | "--comment" => None,
            "-j" | "--jump" => {
                rule.verdict = verdict(value, chains, Verdict::Jump);
                // The options of a target restrict nothing.
                break;
            }
            "-g" | "--goto" => {
                rule.verdict = verdict(value, chains, Verdict::Goto);
                break;
            }
            _ => Some(test(word, value).unwrap_or(What::Unknown)),
        };
        rule.tests.extend(what.map(|what| Test { what, negated }));
        negated = false;
    }
    rule
}

fn verdict(target: &str, chains: &[String], called: fn(String) -> Verdict) -> Verdict {
    match target {
        "ACCEPT" => Verdict::Accept,
        "DROP" | "REJECT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        name if chains.iter().any(|chain| chain == name) => called(name.to_owned()),
        "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "CT" | "NOTRACK" | "CLASSIFY" | "DSCP"
        | "TOS" | "TTL" | "HL" | "TCPMSS" | "CHECKSUM" | "TRACE" | "" => Verdict::Continue,
        _ => Verdict::Unknown,
    }
}

fn test(option: &str, value: &str) -> Option<What> {
    let each = || value.split(',');
    Some(match option {
        "-p" | "--protocol" if value == "all" => {
            return Some(What::Connection {
                new: true,
                established: true,
            });
        }
        "-p" | "--protocol" => What::Protocol(vec![protocol(value)?]),
        "-i" | "--in-interface" => What::InInterface(vec![value.to_owned()]),
        "-o" | "--out-interface" => What::OutInterface(vec![value.to_owned()]),
        "-s" | "--source" => What::Source(each().map(network).collect::<Option<_>>()?),
        "-d" | "--destination" => What::Destination(each().map(network).collect::<Option<_>>()?),
        "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
            What::DestinationPort(each().map(ports).collect::<Option<_>>()?)
        }
        "--ctstate" | "--state" => What::Connection {
            new: each().any(|state| matches!(state, "NEW" | "UNTRACKED")),
            established: each().any(|state| state == "ESTABLISHED"),
        },
        _ => return None,
    })
}

/// `80` or `80:90`.
fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// At blanks, but for what stands in double quotes.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => word.extend(letters.next()),
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::Fate;
    use super::*;
    use rstest::rstest;

    fn fate(policy: &str, rules: &str) -> Fate {
        let text = format!(
            "# Generated\n*nat\n:PREROUTING DROP [0:0]\nCOMMIT\n*filter\n:INPUT {policy} [0:0]\n\
             :FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:ours - [0:0]\n{rules}\nCOMMIT\n"
        );
        from_iptables_save(&text, Family::Ipv4).fate(&crate::doctor::rules::tests::vrrp())
    }

    #[rstest]
    #[case("-A INPUT -p vrrp -j DROP", true)]
    #[case("-A INPUT -p 112 -j REJECT --reject-with icmp-port-unreachable", true)]
    #[case("-A INPUT ! -p vrrp -j DROP", false)]
    #[case("-A INPUT -d 224.0.0.0/4 -i eth0 -j DROP", true)]
    #[case("-A INPUT -i eth1 -j DROP", false)]
    #[case("-A INPUT ! -i lo -j DROP", true)]
    #[case("-A INPUT -p tcp -m tcp --dport 22 -j DROP", false)]
    #[case("-A INPUT -p vrrp -m comment --comment \"a -j b\" -j DROP", true)]
    #[case("-A INPUT -m conntrack --ctstate INVALID -j DROP", false)]
    #[case("-A INPUT -j ours\n-A ours -p vrrp -j DROP", true)]
    #[case("-A INPUT -s 10.0.0.0/8 -j DROP", false)]
    fn what_accepts_by_policy_drops_by_rule(#[case] rules: &str, #[case] drops: bool) {
        match (fate("ACCEPT", rules), drops) {
            (Fate::Dropped(_), true) | (Fate::Passes, false) => {}
            (fate, _) => panic!("{fate:?}"),
        }
    }

    #[rstest]
    #[case("", true)]
    #[case("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", true)]
    #[case("-A INPUT -m state --state NEW -j ACCEPT", false)]
    #[case("-A INPUT -d 224.0.0.18/32 -p vrrp -j ACCEPT", false)]
    #[case("-A INPUT -p all -j ACCEPT", false)]
    fn what_drops_by_policy_accepts_by_rule(#[case] rules: &str, #[case] drops: bool) {
        match (fate("DROP", rules), drops) {
            (Fate::Dropped(place), true) => {
                assert_eq!(
                    place.to_string(),
                    "`policy drop` in chain INPUT of iptables filter"
                );
            }
            (Fate::Passes, false) => {}
            (fate, _) => panic!("{fate:?}"),
        }
    }

    #[test]
    fn what_is_not_known_may_match() {
        for rule in [
            "-A INPUT -m recent --name x --rcheck -j DROP",
            "-A INPUT -m set --match-set bad src -j DROP",
            "-A INPUT -p vrrp -j NFQUEUE --queue-num 0",
        ] {
            let fate = fate("ACCEPT", rule);
            assert!(matches!(fate, Fate::MayBeDropped(_)), "{rule}: {fate:?}");
        }
    }
}
