//! Small typed readers: a node in, a value or the fault out. Each fault says
//! what to write instead, and names the trap of YAML where there is one.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration::{self, BadDuration};
use super::fault::{Finding, Findings, Place, quoted};
use super::keys::{Keys, nearest};
use super::yaml::{Node, Scalar, Value};

pub(super) type Read<T> = Result<T, Finding>;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
}

/// A value that may not be in the file, or be wrong there.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    Absent,
    /// Its fault is noted; judgements that need it are left out.
    Bad,
    Given(At<T>),
}

impl<T: Clone> Field<T> {
    /// `default` when absent, nothing when wrong.
    pub fn or(&self, default: T) -> Option<T> {
        match self {
            Field::Absent => Some(default),
            Field::Bad => None,
            Field::Given(at) => Some(at.value.clone()),
        }
    }

    pub fn is_bad(&self) -> bool {
        matches!(self, Field::Bad)
    }

    pub fn given(&self) -> Option<&At<T>> {
        match self {
            Field::Absent | Field::Bad => None,
            Field::Given(at) => Some(at),
        }
    }

    /// Where it stands, or `otherwise`.
    pub fn place(&self, otherwise: Place) -> Place {
        self.given().map_or(otherwise, |at| at.place)
    }
}

/// The keys of one section, known and unique.
pub(super) struct Section<'a> {
    keys: &'static Keys,
    entries: Vec<(&'a str, &'a Node)>,
    /// Unknown ones.
    refused: Vec<&'a str>,
}

impl<'a> Section<'a> {
    /// Unknown and repeated keys are noted and left out.
    pub fn open(node: &'a Node, keys: &'static Keys, out: &mut Findings) -> Option<Self> {
        let entries = entries(node, keys.within, out)?;
        let mut section = Self {
            keys,
            entries: Vec::new(),
            refused: Vec::new(),
        };
        for (key, place, value) in unique(entries, out) {
            match keys.judge(key, place) {
                None => section.entries.push((key, value)),
                Some(fault) => {
                    out.fault(fault);
                    section.refused.push(key);
                }
            }
        }
        Some(section)
    }

    /// Whether `key` is missing, and not just misspelt.
    pub fn lacks(&self, key: &str) -> bool {
        let meant = |refused: &&str| self.keys.means(refused, key);
        self.node(key).is_none() && !self.refused.iter().any(meant)
    }

    /// Some key was refused, so what seems missing may be misspelt.
    pub fn refused_any(&self) -> bool {
        !self.refused.is_empty()
    }

    pub fn node(&self, key: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|(name, _)| *name == key);
        entry.map(|(_, node)| *node)
    }

    /// The value of `key` by `reader`.
    pub fn field<T>(
        &self,
        key: &str,
        out: &mut Findings,
        reader: impl FnOnce(&'a Node) -> Read<T>,
    ) -> Field<T> {
        let Some(node) = self.node(key) else {
            return Field::Absent;
        };
        if matches!(node.value, Value::Null) {
            out.fault(Finding::at(
                node.place,
                format!("`{key}` has no value"),
                "write a value, or remove the line",
            ));
            return Field::Bad;
        }
        match out.keep(reader(node)) {
            Some(value) => Field::Given(At {
                value,
                place: node.place,
            }),
            None => Field::Bad,
        }
    }
}

/// Keys that must be words, with their places and values, repetitions
/// included; others are noted and left out. Nothing at all is an empty section.
pub(super) fn entries<'a>(
    node: &'a Node,
    within: &str,
    out: &mut Findings,
) -> Option<Vec<(&'a str, Place, &'a Node)>> {
    match &node.value {
        Value::Null => Some(Vec::new()),
        Value::Map(map) => {
            let mut entries = Vec::with_capacity(map.len());
            for (key, value) in map {
                if let Some(name) = out.keep(word(key, "a key")) {
                    entries.push((name, key.place, value));
                }
            }
            Some(entries)
        }
        other => {
            let title = format!(
                "{within} is a section of keys, and this is {}",
                other.kind()
            );
            out.fault(Finding::at(node.place, title, "write `key: value` lines"));
            None
        }
    }
}

/// Notes each repetition with both places and keeps the first.
pub(super) fn unique<'a>(
    entries: Vec<(&'a str, Place, &'a Node)>,
    out: &mut Findings,
) -> Vec<(&'a str, Place, &'a Node)> {
    let mut first = std::collections::BTreeMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        let (key, place, _) = entry;
        match first.entry(key) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(place);
                kept.push(entry);
            }
            std::collections::btree_map::Entry::Occupied(earlier) => {
                let title = format!("{} is written twice", quoted(key));
                let help = match earlier.get().source == place.source {
                    true => "remove one of the two: YAML readers silently take one of them",
                    false => "all files are one configuration: remove it from one of the two",
                };
                let fault = Finding::at(place, title, "again here");
                out.fault(fault.see(*earlier.get(), "first here").help(help));
            }
        }
    }
    kept
}

/// What other YAML readers may make of a plain word.
enum Trap {
    Boolean(bool),
    Nothing,
    Number,
}

fn trap(scalar: &Scalar) -> Option<Trap> {
    if !scalar.plain || scalar.from_environment {
        return None;
    }
    let word = scalar.text.to_ascii_lowercase();
    match word.as_str() {
        "true" | "yes" | "on" => Some(Trap::Boolean(true)),
        "false" | "no" | "off" => Some(Trap::Boolean(false)),
        "~" | "null" => Some(Trap::Nothing),
        _ => is_number(&word).then_some(Trap::Number),
    }
}

/// In YAML 1.1 or 1.2, sexagesimal numbers included.
fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-']);
    let radix = ["0x", "0o", "0b"]
        .iter()
        .any(|prefix| digits.starts_with(prefix));
    let underscored = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.replace('_', "").parse::<f64>().is_ok();
    let special = matches!(digits, ".inf" | ".nan");
    let float = word.parse::<f64>().is_ok() && word.contains(|c: char| c.is_ascii_digit());
    radix || underscored || special || float || sexagesimal(digits).is_some()
}

/// Whether a plain `word` is text here and something else to other readers.
pub(super) fn needs_quotes(word: &str) -> bool {
    let text = word.to_owned();
    let scalar = Scalar {
        text,
        plain: true,
        from_environment: false,
    };
    trap(&scalar).is_some()
}

pub(super) fn scalar<'a>(node: &'a Node, wanted: &str) -> Read<&'a Scalar> {
    match &node.value {
        Value::Scalar(scalar) => Ok(scalar),
        other => {
            let title = format!("{wanted} is wanted, and this is {}", other.kind());
            Err(Finding::at(node.place, title, format!("write {wanted}")))
        }
    }
}

/// A word that every YAML reader takes for text.
pub(super) fn word<'a>(node: &'a Node, wanted: &str) -> Read<&'a str> {
    let scalar = scalar(node, wanted)?;
    let text = scalar.text.as_str();
    let taken_for = match trap(scalar) {
        None => return Ok(text),
        Some(Trap::Boolean(value)) => format!("the boolean `{value}`"),
        Some(Trap::Nothing) => "no value at all".to_owned(),
        Some(Trap::Number) => "a number".to_owned(),
    };
    let title = format!("{} is not text to every YAML reader", quoted(text));
    let label = format!("write \"{}\" in quotes", text.escape_debug());
    Err(Finding::at(node.place, title, label).help(format!(
        "{wanted} is wanted; without quotes some YAML readers take this for {taken_for}"
    )))
}

pub(super) fn boolean(node: &Node) -> Read<bool> {
    let scalar = scalar(node, "`true` or `false`")?;
    match (scalar.text.as_str(), scalar.unquoted()) {
        ("true" | "True" | "TRUE", true) => return Ok(true),
        ("false" | "False" | "FALSE", true) => return Ok(false),
        _ => {}
    }
    let written = quoted(&scalar.text);
    let title = format!("`true` or `false` is wanted, and this is {written}");
    Err(match boolean_meant(scalar) {
        Some(meant) if !scalar.unquoted() => {
            Finding::at(node.place, title, format!("write `{meant}` without quotes"))
                .help("in quotes it is text")
        }
        Some(meant) => Finding::at(node.place, title, format!("write `{meant}`")).help(format!(
            "{written} is a boolean in YAML 1.1 and text in YAML 1.2: only `true` and `false` mean \
             the same to every reader"
        )),
        None => Finding::at(node.place, title, "write `true` or `false`"),
    })
}

/// `yes`, `off`, `"true"`, ...
fn boolean_meant(scalar: &Scalar) -> Option<bool> {
    match scalar.text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "y" => Some(true),
        "no" | "off" | "false" | "n" => Some(false),
        _ => None,
    }
}

/// A whole number within `range`.
pub(super) fn integer(node: &Node, what: &str, range: RangeInclusive<u8>) -> Read<u8> {
    let wide = u32::from(*range.start())..=u32::from(*range.end());
    let number = number(node, what, wide)?;
    // The range has excluded that.
    u8::try_from(number).map_err(|_| Finding::at(node.place, "out of range", ""))
}

/// The same, of 32 bits.
pub(super) fn number(node: &Node, what: &str, range: RangeInclusive<u32>) -> Read<u32> {
    let (low, high) = (*range.start(), *range.end());
    let (wanted, write) = match high - low {
        1 => (format!("{low} or {high}"), format!("write {low} or {high}")),
        _ => (
            format!("a whole number from {low} to {high}"),
            format!("write {low} to {high}"),
        ),
    };
    let scalar = scalar(node, &wanted)?;
    let text = scalar.text.as_str();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let title = format!("{what} is {wanted}, and this is {}", quoted(text));
    let fault = |label: String| Finding::at(node.place, title.clone(), label);
    if digits && !scalar.unquoted() {
        return Err(fault(format!("write {text} without quotes")));
    }
    if digits && text.len() > 1 && text.starts_with('0') {
        let decimal = text.trim_start_matches('0');
        let decimal = if decimal.is_empty() { "0" } else { decimal };
        return Err(fault(format!("write `{decimal}`")).help(octal(text, decimal)));
    }
    if let Some(sixties) = sexagesimal(text) {
        return Err(fault("write a plain number".to_owned()).help(sixties));
    }
    let other_base = other_base(text).filter(|number| range.contains(number));
    if let Some(number) = other_base {
        return Err(fault(format!("write `{number}`"))
            .help("only decimal digits mean the same to every YAML reader"));
    }
    if !digits {
        return Err(fault(write));
    }
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| fault(write))
}

/// `0x33`, `0o17`, `0b11`, `1_0`.
fn other_base(written: &str) -> Option<u32> {
    let text = written.to_ascii_lowercase().replace('_', "");
    let radix = |prefix: &str, radix| {
        text.strip_prefix(prefix)
            .and_then(|digits| u32::from_str_radix(digits, radix).ok())
    };
    radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| text.parse().ok().filter(|_| written.contains('_')))
}

fn octal(text: &str, decimal: &str) -> String {
    match u32::from_str_radix(text, 8) {
        Ok(octal) => format!(
            "a number with a leading 0 is octal in YAML 1.1 ({octal}) and decimal in YAML 1.2 ({decimal})"
        ),
        Err(_) => "a number with a leading 0 is octal to some YAML readers".to_owned(),
    }
}

/// What YAML 1.1 makes of `1:20`.
fn sexagesimal(text: &str) -> Option<String> {
    let mut parts = text.split(':');
    let first = parts.next()?.parse::<u64>().ok()?;
    let mut seconds = first;
    let mut count = 0;
    for part in parts {
        let part = part.parse::<u64>().ok().filter(|part| *part < 60)?;
        seconds = seconds.checked_mul(60)?.checked_add(part)?;
        count += 1;
    }
    (count > 0).then(|| {
        format!("digits with colons are a number to base 60 in YAML 1.1: {text} would be {seconds}")
    })
}

/// "`settle` is a duration from 0s to 1h".
pub(super) fn within(key: &str, range: &RangeInclusive<Duration>) -> String {
    let (low, high) = (*range.start(), *range.end());
    let (low, high) = (duration::print(low), duration::print(high));
    format!("`{key}` is a duration from {low} to {high}")
}

/// A duration within `range`; `what` says so to people.
pub(super) fn duration(node: &Node, what: &str, range: RangeInclusive<Duration>) -> Read<Duration> {
    let (low, high) = (*range.start(), *range.end());
    let scalar = scalar(node, "a duration")?;
    let text = scalar.text.trim();
    let title = format!("{what}, and this is {}", quoted(text));
    let fault = |label: &str| Finding::at(node.place, title.clone(), label);
    if let Some(sixties) = sexagesimal(text) {
        return Err(fault("write it with units, such as `1m 20s`").help(sixties));
    }
    match duration::parse(text) {
        Ok(span) if range.contains(&span) => Ok(span),
        Ok(span) if span < low => {
            let low = duration::print(low);
            Err(fault(&format!("too short: write at least `{low}`")))
        }
        Ok(_) | Err(BadDuration::TooLong) => {
            let high = duration::print(high);
            Err(fault(&format!("too long: write at most `{high}`")))
        }
        Err(BadDuration::Negative) => Err(fault("a duration has no sign")),
        Err(BadDuration::NoUnit) => {
            let remedy = format!("{}s", text.trim_start_matches('+'));
            Err(fault(&format!("the unit is missing: write `{remedy}`"))
                .help("units are `ms`, `s`, `m` and `h`"))
        }
        Err(BadDuration::Unreadable) => Err(fault("write a number and a unit, such as `250ms`")
            .help("units are `ms`, `s`, `m` and `h`")),
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(node: &Node, what: &str, choices: &[(&str, T)]) -> Read<T> {
    let names: Vec<String> = choices
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let wanted = match names.split_last() {
        Some((last, [first, rest @ ..])) => {
            let rest: String = rest.iter().map(|name| format!(", {name}")).collect();
            format!("{first}{rest} or {last}")
        }
        Some(_) | None => names.concat(),
    };
    let scalar = scalar(node, &wanted)?;
    let text = scalar.text.as_str();
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let title = format!("{what} is {wanted}, and this is {}", quoted(text));
    let written = text.to_ascii_lowercase();
    let names = || choices.iter().map(|(name, _)| *name);
    let longer = || names().find(|name| written.starts_with(name));
    let label = match nearest(&written, names()).or_else(longer) {
        Some(near) => format!("write `{near}`"),
        None => format!("write {wanted}"),
    };
    Err(Finding::at(node.place, title, label))
}

/// A list; its items are read one by one.
pub(super) fn list<'a>(node: &'a Node, what: &str) -> Read<&'a [Node]> {
    match &node.value {
        Value::List(items) => Ok(items),
        Value::Scalar(scalar) => {
            let title = format!("{what} is a list, and this is a single value");
            let label = format!("write {}", quoted(&format!("[{}]", scalar.text)));
            Err(Finding::at(node.place, title, label)
                .help("or on lines of their own, each after `- `"))
        }
        other => {
            let title = format!("{what} is a list, and this is {}", other.kind());
            Err(Finding::at(node.place, title, "write each item after `- `"))
        }
    }
}

/// `value` of a boolean-like trap, for keys that also take something else.
pub(super) fn boolean_word(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Scalar(scalar) => boolean_meant(scalar),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}
