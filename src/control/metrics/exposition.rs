//! Prometheus' text format, version 0.0.4: families with their help and type,
//! each with its samples together.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::agent::tally::Durations;

pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The text, as it grows.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

impl Exposition {
    /// `name` ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, Kind::Counter, help)
    }

    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, Kind::Gauge, help)
    }

    /// `name` ends in `_seconds`, here and of summaries.
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, Kind::Histogram, help)
    }

    /// Without quantiles: a sum and a count.
    pub fn summary(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, Kind::Summary, help)
    }

    fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        Family {
            text: &mut self.text,
            name,
            head: Some((kind, help)),
        }
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

/// Samples of one name. One that gets none is not there at all.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
    /// Not written yet.
    head: Option<(Kind, &'static str)>,
}

impl Family<'_> {
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// 1 for `true`.
    pub fn flag(&mut self, labels: Labels<'_>, value: bool) {
        self.sample(labels, u8::from(value));
    }

    pub fn seconds(&mut self, labels: Labels<'_>, value: Duration) {
        self.sample(labels, value.as_secs_f64());
    }

    /// Of a histogram.
    pub fn buckets(&mut self, labels: Labels<'_>, durations: &Durations) {
        for (bound, count) in durations.cumulative() {
            self.line("_bucket", labels, Some(bound), count);
        }
        self.line("_bucket", labels, Some(Duration::MAX), durations.count());
        self.sum_and_count(labels, durations);
    }

    pub fn sum_and_count(&mut self, labels: Labels<'_>, durations: &Durations) {
        self.line("_sum", labels, None, durations.sum().as_secs_f64());
        self.line("_count", labels, None, durations.count());
    }

    /// `bound`: of a bucket; the longest there is stands for no bound.
    fn line(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<Duration>,
        value: impl Display,
    ) {
        let name = self.name;
        if let Some((kind, help)) = self.head.take() {
            let kind = kind.word();
            write(
                self.text,
                format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
            );
        }
        self.text.push_str(name);
        self.text.push_str(suffix);
        let mut opening = '{';
        for (label, value) in labels {
            write(self.text, format_args!("{opening}{label}=\""));
            escaped(value, self.text);
            self.text.push('"');
            opening = ',';
        }
        if let Some(bound) = bound {
            match bound {
                Duration::MAX => write(self.text, format_args!("{opening}le=\"+Inf\"")),
                bound => {
                    let bound = bound.as_secs_f64();
                    write(self.text, format_args!("{opening}le=\"{bound}\""));
                }
            }
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        write(self.text, format_args!(" {value}\n"));
    }
}

fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = text.write_fmt(arguments);
}

/// As the format wants it within quotes.
fn escaped(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        let mut out = Exposition::default();
        out.gauge("a", "Help.")
            .sample(&[("b", "x\\\"} 1\nc 2"), ("d", "")], 1);
        assert_eq!(
            out.into_text(),
            "# HELP a Help.\n# TYPE a gauge\na{b=\"x\\\\\\\"} 1\\nc 2\",d=\"\"} 1\n"
        );
    }

    #[test]
    fn a_family_without_samples_is_not_there() {
        let mut out = Exposition::default();
        let _ = out.counter("a_total", "Help.");
        assert_eq!(out.into_text(), "");
    }

    #[test]
    fn a_histogram_ends_with_all() {
        let mut seen = Durations::default();
        seen.note(Duration::from_millis(2));
        seen.note(Duration::from_secs(99));
        let mut out = Exposition::default();
        out.histogram("a_seconds", "Help.").buckets(&[], &seen);
        let text = out.into_text();
        for line in [
            "a_seconds_bucket{le=\"0.001\"} 0\n",
            "a_seconds_bucket{le=\"0.0025\"} 1\n",
            "a_seconds_bucket{le=\"30\"} 1\n",
            "a_seconds_bucket{le=\"+Inf\"} 2\n",
            "a_seconds_sum 99.002\n",
            "a_seconds_count 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
