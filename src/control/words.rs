//! Codes and spans in words, for people.

use std::time::Duration;

use super::document::Priority;
use crate::agent::status::Counter;

/// What a reason means in a state; `None` for one of a newer agent.
pub fn reason(reason: &str, state: &str) -> Option<&'static str> {
    Some(match (reason, state) {
        ("no-response", _) => "no Active was heard in time",
        ("priority", _) => "the Active before resigned",
        ("preempted", "active") => "this node has the higher priority and took over",
        ("preempted", _) => "a node that ranks higher took over",
        ("startup", _) => "the agent started",
        ("shutdown", _) => "the agent is stopping",
        ("stalled", _) => "the agent did not run, and another node took over meanwhile",
        ("obstacle", _) => "something stands in the way, see the obstacles",
        _ => return None,
    })
}

/// What an error counter says; `None` for one of a newer agent.
pub fn counter(name: &str) -> Option<&'static str> {
    let counter = Counter::ALL.into_iter().find(|c| c.name() == name)?;
    Some(match counter {
        Counter::IpHeaderError => "packets with a damaged IP header",
        Counter::ProtocolError => "packets that are not VRRP",
        Counter::Loop => "our own advertisements came back: a loop or a mirror port on the segment",
        Counter::UnexpectedSource => {
            "advertisements from a host that is no peer of ours, or not addressed to us; \
             see unicast_peers on both sides"
        }
        Counter::IpTtlError => {
            "advertisements whose TTL is too low: they crossed a router, or are forged"
        }
        Counter::PacketLengthError => "advertisements whose length does not fit their contents",
        Counter::VersionError => {
            "advertisements of another VRRP version than ours; both sides need the same"
        }
        Counter::InvalidType => "VRRP packets that are no advertisements",
        Counter::VridError => {
            "advertisements with a VRID that is not configured here: \
             another pair shares the segment, or a number is mistyped"
        }
        Counter::ChecksumError => {
            "advertisements with a wrong checksum: damaged on the way, or made wrongly"
        }
        Counter::AuthenticationError => {
            "advertisements whose authentication does not agree with ours"
        }
        Counter::IntervalError => {
            "advertisements whose interval is 0 or, in version 2, not ours; \
             both sides need the same"
        }
        Counter::SendError => "advertisements of ours that could not be sent",
    })
}

/// The effective priority, and how it came about: `100 (150 - 50 check uplink)`.
pub fn priority(priority: &Priority) -> String {
    let Priority {
        base,
        effective,
        terms,
    } = priority;
    if terms.is_empty() {
        return if base == effective {
            effective.to_string()
        } else {
            format!("{effective} (configured: {base})")
        };
    }
    let mut text = format!("{effective} ({base}");
    let mut sum = i64::from(*base);
    for term in terms {
        let sign = if term.delta < 0 { '-' } else { '+' };
        let size = term.delta.unsigned_abs();
        text.push_str(&format!(" {sign} {size} {}", term.source));
        sum = sum.saturating_add(term.delta);
    }
    if sum != i64::from(*effective) {
        text.push_str(match base {
            255 => "; an owner's stays 255",
            _ => "; held within 1 to 254",
        });
    }
    text.push(')');
    text
}

/// At most so many characters, on one line; what is cut off shows as `...`.
pub fn cut(text: &str, width: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= width && line.len() == text.trim_end().len() {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

/// A span in at most two units, cut off: `340 ms`, `3.6 s`, `5 min 12 s`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    if seconds == 0 {
        format!("{} ms", span.subsec_millis())
    } else if seconds < 10 {
        match span.subsec_millis() / 100 {
            0 => format!("{seconds} s"),
            tenths => format!("{seconds}.{tenths} s"),
        }
    } else if minutes == 0 {
        format!("{seconds} s")
    } else if hours == 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else if days == 0 {
        format!("{hours} h {} min", minutes % 60)
    } else {
        format!("{days} d {} h", hours % 24)
    }
}

/// To the millisecond, for settings: `1 s`, `3.609 s`, `10 ms`.
pub fn exact_ms(ms: u64) -> String {
    match (ms / 1000, ms % 1000) {
        (0, ms) => format!("{ms} ms"),
        (seconds, 0) => format!("{seconds} s"),
        (seconds, ms) => {
            let decimals = format!("{ms:03}");
            format!("{seconds}.{} s", decimals.trim_end_matches('0'))
        }
    }
}

/// `a, b, c and 7 more`: the first `shown` of a list.
pub fn list<T: AsRef<str>>(items: &[T], shown: usize) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().take(shown).enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(item.as_ref());
    }
    let rest = items.len().saturating_sub(shown);
    if rest > 0 {
        text.push_str(&format!(" and {rest} more"));
    }
    text
}

/// `1 packet`, `2 packets`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{number} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::document::Term;
    use rstest::rstest;

    #[test]
    fn every_counter_has_words() {
        for known in Counter::ALL {
            assert!(counter(known.name()).is_some(), "{known}");
        }
        assert_eq!(counter("of-a-newer-agent"), None);
    }

    #[rstest]
    #[case(0, "0 ms")]
    #[case(999, "999 ms")]
    #[case(1_000, "1 s")]
    #[case(3_650, "3.6 s")]
    #[case(9_999, "9.9 s")]
    #[case(12_900, "12 s")]
    #[case(60_000, "1 min 0 s")]
    #[case(312_000, "5 min 12 s")]
    #[case(11_520_000, "3 h 12 min")]
    #[case(356_400_000, "4 d 3 h")]
    fn spans(#[case] ms: u64, #[case] words: &str) {
        assert_eq!(span(Duration::from_millis(ms)), words);
    }

    #[rstest]
    #[case(10, "10 ms")]
    #[case(1_000, "1 s")]
    #[case(3_609, "3.609 s")]
    #[case(40_950, "40.95 s")]
    fn exact(#[case] ms: u64, #[case] words: &str) {
        assert_eq!(exact_ms(ms), words);
    }

    #[rstest]
    #[case(150, 150, &[], "150")]
    #[case(150, 100, &[], "100 (configured: 150)")]
    #[case(150, 100, &[("check uplink", -50)], "100 (150 - 50 check uplink)")]
    #[case(
        150,
        90,
        &[("check a", -70), ("check flag", 10)],
        "90 (150 - 70 check a + 10 check flag)"
    )]
    #[case(100, 1, &[("check a", -200)], "1 (100 - 200 check a; held within 1 to 254)")]
    #[case(255, 255, &[("check a", -50)], "255 (255 - 50 check a; an owner's stays 255)")]
    #[case(9, 1, &[("a", i64::MIN), ("b", -1)], "1 (9 - 9223372036854775808 a - 1 b; held within 1 to 254)")]
    fn priorities(
        #[case] base: u8,
        #[case] effective: u8,
        #[case] terms: &[(&str, i64)],
        #[case] words: &str,
    ) {
        let term = |(source, delta): &(&str, i64)| Term {
            source: (*source).to_owned(),
            delta: *delta,
        };
        let terms = terms.iter().map(term).collect();
        let shown = Priority {
            base,
            effective,
            terms,
        };
        assert_eq!(priority(&shown), words);
    }

    #[rstest]
    #[case("", 5, "")]
    #[case("abcde", 5, "abcde")]
    #[case("abcdef", 5, "ab...")]
    #[case("ab\ncd", 8, "ab...")]
    #[case("ab\n", 8, "ab")]
    #[case("a cdef", 5, "a...")]
    #[case("\u{e9}\u{e9}\u{e9}\u{e9}", 4, "\u{e9}\u{e9}\u{e9}\u{e9}")]
    fn cuts(#[case] text: &str, #[case] width: usize, #[case] shown: &str) {
        assert_eq!(cut(text, width), shown);
    }

    #[rstest]
    #[case(&[], "")]
    #[case(&["a"], "a")]
    #[case(&["a", "b"], "a, b")]
    #[case(&["a", "b", "c", "d"], "a, b and 2 more")]
    fn lists(#[case] items: &[&str], #[case] words: &str) {
        assert_eq!(list(items, 2), words);
    }
}
