//! Durations as people write them: `250ms`, `1s`, `1.5s`, `2m`, `2h`. Exact in
//! both directions; nothing is rounded.

use std::time::Duration;

use jiff::fmt::friendly::SpanParser;

/// The longest one that can be written: no key allows more than a day.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadDuration {
    Negative,
    /// A bare number.
    NoUnit,
    TooLong,
    Unreadable,
}

/// For the command line; the error is a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|bad| match bad {
        BadDuration::Negative => "it is negative".to_owned(),
        BadDuration::NoUnit => format!("write it with a unit, such as {text}s or {text}m"),
        BadDuration::TooLong => "it is longer than a year".to_owned(),
        BadDuration::Unreadable => "write it like 90s, 30m or 2h".to_owned(),
    })
}

/// The span that `text` says, exactly.
pub(super) fn parse(text: &str) -> Result<Duration, BadDuration> {
    let unsigned = text.trim_start_matches(['-', '+']);
    let number = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    if text.starts_with('-') && unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(BadDuration::Negative);
    }
    if number(unsigned) {
        return Err(BadDuration::NoUnit);
    }
    // The library also knows `1 hour ago`, `01:20:00` and `1y`.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ' ' | 'µ');
    if !text.starts_with(|c: char| c.is_ascii_digit())
        || !text.chars().all(plain)
        || text.contains("ago")
    {
        return Err(BadDuration::Unreadable);
    }
    let span = SpanParser::new()
        .parse_unsigned_duration(text)
        .map_err(|_| BadDuration::Unreadable)?;
    if span > LONGEST {
        return Err(BadDuration::TooLong);
    }
    Ok(span)
}

/// `span` in one unit, such as `40.95s`; [`parse`] reads it back equal.
pub(super) fn print(span: Duration) -> String {
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    match (seconds, nanos) {
        (0, 0) => "0s".to_owned(),
        (_, 0) if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        (_, 0) if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        (_, 0) => format!("{seconds}s"),
        (0, _) if nanos.is_multiple_of(1_000_000) => format!("{}ms", nanos / 1_000_000),
        (0, _) if nanos.is_multiple_of(1_000) => format!("{}us", nanos / 1_000),
        (0, _) => format!("{nanos}ns"),
        (_, _) => {
            let fraction = format!("{nanos:09}");
            format!("{seconds}.{}s", fraction.trim_end_matches('0'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_exactly() {
        for (text, nanos) in [
            ("0s", 0),
            ("1us", 1_000),
            ("250ms", 250_000_000),
            ("1s", 1_000_000_000),
            ("1.5s", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("1m 30s", 90_000_000_000),
            ("2m", 120_000_000_000),
            ("2h", 7_200_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        for (text, reason) in [
            ("1", BadDuration::NoUnit),
            ("0.5", BadDuration::NoUnit),
            ("-1s", BadDuration::Negative),
            ("-1", BadDuration::Negative),
            ("1s ago", BadDuration::Unreadable),
            ("1:20", BadDuration::Unreadable),
            ("01:20:00", BadDuration::Unreadable),
            ("PT1S", BadDuration::Unreadable),
            ("1y", BadDuration::Unreadable),
            ("1x", BadDuration::Unreadable),
            ("s", BadDuration::Unreadable),
            ("", BadDuration::Unreadable),
            ("1s,2", BadDuration::Unreadable),
            ("99999999h", BadDuration::TooLong),
            ("99999999999999999999999999h", BadDuration::Unreadable),
        ] {
            assert_eq!(parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn printed_in_one_unit_and_read_back_equal() {
        for (millis, text) in [
            (0, "0s"),
            (10, "10ms"),
            (1_500, "1.5s"),
            (40_950, "40.95s"),
            (61_007, "61.007s"),
            (60_000, "1m"),
            (90_000, "90s"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(print(Duration::from_millis(millis)), text);
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
        }
    }
}
