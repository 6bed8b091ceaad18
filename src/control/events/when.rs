//! `--since`: a span that lies behind, or a time as these commands print them.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// What may be given, for people.
const FORMS: &str = "how long ago, such as 90s, 15m, 2h or 3d; today or yesterday; or a time in \
UTC such as 16:30, 2026-11-29, \"2026-11-29 16:30\" or 2026-11-29T16:30:00Z";

/// # Errors
///
/// One sentence that says what may be given.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let shown: String = text.chars().take(60).collect();
    let found = parse(text, now);
    found.ok_or_else(|| format!("`{shown}` is no time: give {FORMS}"))
}

fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    let now = now.to_zoned(TimeZone::UTC);
    let midnight = now.start_of_day().ok()?;
    let day = |back: i64| midnight.checked_sub(back.days()).ok();
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return day(0).map(|day| day.timestamp()),
        "yesterday" => return day(1).map(|day| day.timestamp()),
        _ => {}
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    // A number alone says nothing.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let wall = text.strip_suffix(" UTC").unwrap_or(text);
    let moment = wall.parse::<DateTime>().ok();
    let moment = moment.or_else(|| Some(wall.parse::<Date>().ok()?.at(0, 0, 0, 0)));
    let moment = moment.or_else(|| Some(now.date().to_datetime(wall.parse::<Time>().ok()?)));
    if let Some(moment) = moment {
        return Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    // In the future nothing was.
    let span: Span = text.strip_suffix(" ago").unwrap_or(text).parse().ok()?;
    if span.is_negative() {
        return None;
    }
    now.checked_sub(span).ok().map(|then| then.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(text: &str) -> Result<String, String> {
        let now = "2026-11-29T16:13:08.25Z".parse().unwrap();
        since(text, now).map(|found| found.to_string())
    }

    #[rstest]
    #[case("90s", "2026-11-29T16:11:38.25Z")]
    #[case("15m", "2026-11-29T15:58:08.25Z")]
    #[case("2h", "2026-11-29T14:13:08.25Z")]
    #[case("1h30m", "2026-11-29T14:43:08.25Z")]
    #[case("3d", "2026-11-26T16:13:08.25Z")]
    #[case("2 hours ago", "2026-11-29T14:13:08.25Z")]
    #[case("now", "2026-11-29T16:13:08.25Z")]
    #[case("today", "2026-11-29T00:00:00Z")]
    #[case("yesterday", "2026-11-28T00:00:00Z")]
    #[case("16:00", "2026-11-29T16:00:00Z")]
    #[case("2026-11-29", "2026-11-29T00:00:00Z")]
    #[case("2026-11-29 16:00", "2026-11-29T16:00:00Z")]
    #[case("2026-11-29 16:00:08.121", "2026-11-29T16:00:08.121Z")]
    #[case("2026-11-29 16:00:08 UTC", "2026-11-29T16:00:08Z")]
    #[case("2026-11-29T16:00:00Z", "2026-11-29T16:00:00Z")]
    #[case("2026-11-29T18:00:00+02:00", "2026-11-29T16:00:00Z")]
    fn a_time_or_a_span(#[case] text: &str, #[case] found: &str) {
        assert_eq!(at(text).as_deref(), Ok(found));
    }

    #[rstest]
    #[case("yesterday-ish")]
    #[case("")]
    #[case("15")]
    #[case("-15m")]
    #[case("15 parsecs")]
    #[case("2026-13-01")]
    #[case("25:00")]
    #[case("999999999y")]
    fn anything_else_is_told_what_would_be_right(#[case] text: &str) {
        let error = at(text).unwrap_err();
        assert!(error.starts_with(&format!(
            "`{text}` is no time: give how long ago, such as 90s"
        )));
        assert!(error.contains("2026-11-29T16:30:00Z"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
