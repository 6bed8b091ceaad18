//! `~SEQ(...)` and `~LST(...)`: the rest of the line once for each value.

use super::text::Text;
use crate::config::fault::Finding;

/// Variables of one list.
const VARIABLES_MAX: usize = 16;

/// What is left to be said.
#[derive(Debug)]
pub(super) struct Repeat {
    names: Vec<String>,
    values: Values,
    rest: Text,
    /// The head, for what stands for a variable.
    head: Text,
}

#[derive(Debug)]
enum Values {
    Numbers {
        next: i64,
        last: i64,
        step: i64,
        hexadecimal: bool,
        done: bool,
    },
    /// Of each round, one for each name.
    Words {
        rounds: Vec<Vec<String>>,
        next: usize,
    },
}

impl Repeat {
    /// The variables of the next round, and the line to say.
    pub fn next(&mut self) -> Option<(Vec<(&str, Text)>, Text)> {
        let values = match &mut self.values {
            Values::Numbers {
                next,
                last,
                step,
                hexadecimal,
                done,
            } => {
                let over = match *step > 0 {
                    true => *next > *last,
                    false => *next < *last,
                };
                if over || *done {
                    return None;
                }
                let value = match hexadecimal {
                    true => format!("{:x}", *next),
                    false => next.to_string(),
                };
                match next.checked_add(*step) {
                    Some(sum) => *next = sum,
                    None => *done = true,
                }
                vec![value]
            }
            Values::Words { rounds, next } => {
                let round = rounds.get(*next)?.clone();
                *next += 1;
                round
            }
        };
        let place = self.head.place(0..self.head.chars.len())?;
        let text = |value: String| {
            let mut text = Text::default();
            text.push_instead(&value, place);
            text
        };
        let names = self.names.iter().map(String::as_str);
        let values = names.zip(values.into_iter().map(text)).collect();
        Some((values, self.rest.clone()))
    }
}

/// The repetition that a line begins with, and how long its head is.
///
/// # Errors
///
/// It is none, with what is wrong.
pub(super) fn read(text: &Text) -> Result<(Repeat, usize), Finding> {
    let whole = text.place(0..text.chars.len());
    let fault = |label: &str| {
        let title = "a `~` that begins no sequence or list";
        let finding = match whole {
            Some(place) => Finding::at(place, title, label),
            None => Finding::of_file(title),
        };
        finding.help("such as `~SEQ(N, 1, 4) ...` or `~LST(NAME, a, b) ...`")
    };
    let (kind, rest) = text.chars.split_once('(').ok_or_else(|| fault("no `(`"))?;
    let (inner, _) = rest.split_once(')').ok_or_else(|| fault("no `)`"))?;
    let length = kind.len() + inner.len() + 2;
    let (names, values) = match kind.trim_end() {
        "~SEQ" => numbers(inner, false),
        "~SEQx" => numbers(inner, true),
        "~LST" => words(inner),
        _ => None,
    }
    .ok_or_else(|| fault("not understood"))?;
    let repeat = Repeat {
        names,
        values,
        rest: text.slice(length..text.chars.len()).trimmed(),
        head: text.slice(0..length),
    };
    Ok((repeat, length))
}

/// `VAR, [START,] [STEP,] END`.
fn numbers(inner: &str, hexadecimal: bool) -> Option<(Vec<String>, Values)> {
    let mut parts = inner.split(',').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let numbers: Vec<i64> = parts.map(number).collect::<Option<_>>()?;
    let (start, step, last) = match numbers.as_slice() {
        [last] => (if *last < 0 { -1 } else { 1 }, None, *last),
        [start, last] => (*start, None, *last),
        [start, step, last] => (*start, Some(*step), *last),
        _ => return None,
    };
    let step = step.unwrap_or(if last < start { -1 } else { 1 });
    if step == 0 {
        return None;
    }
    let next = start;
    let values = Values::Numbers {
        next,
        last,
        step,
        hexadecimal,
        done: false,
    };
    Some((vec![name.to_owned()], values))
}

/// Decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(sign * value)
}

/// `VAR, V1, V2` or `{A, B}, {1, 2}, {3, 4}`.
fn words(inner: &str) -> Option<(Vec<String>, Values)> {
    let mut groups = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (group, after) = match rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}')?,
            None => match rest.find(',') {
                Some(end) => rest.split_at(end),
                None => (rest, ""),
            },
        };
        let several = rest.starts_with('{');
        let words: Vec<String> = match several {
            true => group
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect(),
            false => vec![group.trim().to_owned()],
        };
        groups.push(words);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => "",
            None => return None,
        };
    }
    let mut groups = groups.into_iter();
    let names = groups.next()?;
    let rounds: Vec<Vec<String>> = groups.collect();
    let even = rounds.iter().all(|round| round.len() == names.len());
    let named = names.iter().all(|name| !name.is_empty()) && names.len() <= VARIABLES_MAX;
    (even && named && !rounds.is_empty()).then_some((names, Values::Words { rounds, next: 0 }))
}
