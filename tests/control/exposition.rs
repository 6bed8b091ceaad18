//! A strict reader of Prometheus' text format: what it lets pass, Prometheus
//! reads as it was meant.

use std::collections::{BTreeMap, BTreeSet};

/// The value of each series, by its name and labels as they were written.
pub type Series = BTreeMap<String, f64>;

/// Every family has help and type, once, before its samples, which stand
/// together; every series is there once; names and values are sound; a
/// histogram's buckets ascend to its count.
pub fn read(text: &str) -> Series {
    let mut series = Series::new();
    let mut families = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    let mut help: Option<String> = None;
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line is open"
    );
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').expect(line);
            assert!(words.ends_with('.') && !words.contains("  "), "{line}");
            assert!(families.insert(name.to_owned()), "twice: {line}");
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(help.take().as_deref(), Some(name), "no help: {line}");
            let kinds = ["counter", "gauge", "histogram", "summary"];
            assert!(kinds.contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            assert!(!line.starts_with('#') && help.is_none(), "{line}");
            let (name, kind) = family.as_ref().expect(line);
            let (key, value) = sample(line, name, kind);
            assert!(series.insert(key, value).is_none(), "twice: {line}");
        }
    }
    histograms(&series);
    series
}

fn sample(line: &str, family: &str, kind: &str) -> (String, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, rest) = line.split_at(end);
    assert!(name.starts_with("vipward_"), "{line}");
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(sound), "{line}");
    let suffix = name.strip_prefix(family).expect(line);
    let suffixes: &[&str] = match kind {
        "histogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["_sum", "_count"],
        _ => &[""],
    };
    assert!(suffixes.contains(&suffix), "{line}");
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest, line),
        None => (0, rest),
    };
    let value = value.strip_prefix(' ').expect(line);
    let number: f64 = value.parse().expect(line);
    assert!(number.is_finite() && number >= 0.0, "{line}");
    let key = line.strip_suffix(value).expect(line).trim_end();
    assert_eq!(key.contains('{'), labels > 0, "{line}");
    (key.to_owned(), number)
}

/// How many there are, and what follows the bracket.
fn labels<'a>(mut rest: &'a str, line: &str) -> (usize, &'a str) {
    let mut seen = BTreeSet::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect(line);
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{line}"
        );
        // Prometheus puts these on what it reads.
        assert!(!["instance", "job"].contains(&name), "{line}");
        assert!(seen.insert(name), "{line}");
        let mut escaped = false;
        let end = after.find(|c: char| {
            let ends = c == '"' && !escaped;
            assert!(!escaped || "\\\"n".contains(c), "{line}");
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = after.get(end.expect(line) + 1..).expect(line);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (seen.len(), rest.strip_prefix('}').expect(line)),
        }
    }
}

fn histograms(series: &Series) {
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (key, value) in series {
        let Some((before, bound)) = key.split_once("le=\"") else {
            continue;
        };
        let bound = bound.strip_suffix("\"}").expect(key);
        let bound = match bound {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().expect(key),
        };
        let of = before
            .trim_end_matches(['{', ','])
            .replace("_bucket", "_count");
        let of = if of.contains('{') { of + "}" } else { of };
        buckets.entry(of).or_default().push((bound, *value));
    }
    for (count, mut buckets) in buckets {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.is_sorted_by(|a, b| a.1 <= b.1),
            "{count}: {buckets:?}"
        );
        let last = buckets.last().copied();
        let all = series.get(&count).copied().expect(&count);
        assert_eq!(last, Some((f64::INFINITY, all)), "{count}");
    }
}
