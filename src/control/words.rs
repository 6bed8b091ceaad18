//! Codes and spans in words, for people.

use std::time::Duration;

use crate::agent::status::Counter;

/// What a reason means in a state; `None` for one of a newer agent.
pub fn reason(reason: &str, state: &str) -> Option<&'static str> {
    Some(match (reason, state) {
        ("no-response", _) => "the Active before fell silent",
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
    #[case(&[], "")]
    #[case(&["a"], "a")]
    #[case(&["a", "b"], "a, b")]
    #[case(&["a", "b", "c", "d"], "a, b and 2 more")]
    fn lists(#[case] items: &[&str], #[case] words: &str) {
        assert_eq!(list(items, 2), words);
    }
}
