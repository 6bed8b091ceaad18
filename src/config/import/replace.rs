//! Definitions, `$NAME=VALUE`, and what is replaced by them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::text::Text;
use crate::config::fault::{Finding, Place, quoted};

pub(super) const DEFINITIONS_MAX: usize = 10_000;
/// Replacements within one line: a definition that names itself ends there.
const REPLACEMENTS_MAX: usize = 1_000;
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Definition {
    lines: Rc<[Text]>,
    places: Vec<Place>,
    used: bool,
}

impl Definition {
    pub fn value(value: Text) -> Self {
        Self::lines(vec![value])
    }

    pub fn lines(lines: Vec<Text>) -> Self {
        Self {
            places: Vec::new(),
            lines: lines.into(),
            used: false,
        }
    }
}

/// What a line came to, and where something was replaced in it.
pub(super) struct Replaced {
    pub lines: Vec<Text>,
    pub references: Vec<Place>,
}

#[derive(Default)]
pub(super) struct Definitions {
    by_name: BTreeMap<String, Definition>,
    /// Those that another one of their name replaced.
    forgotten: Vec<Place>,
}

impl Definitions {
    /// Whether there was room for it. `whole` is the line that defines it.
    pub fn set(&mut self, name: String, whole: Vec<Place>, definition: Definition) -> bool {
        if self.by_name.len() >= DEFINITIONS_MAX {
            return false;
        }
        let lines = definition.lines.iter();
        let body = lines.flat_map(|line| line.places(0..line.chars.len()));
        let places = whole.into_iter().chain(body).collect();
        let definition = Definition {
            places,
            ..definition
        };
        if let Some(old) = self.by_name.insert(name, definition)
            && !old.used
        {
            self.forgotten.extend(old.places);
        }
        true
    }

    /// The variable of a sequence.
    pub fn set_value(&mut self, name: &str, value: Text) {
        let mut definition = Definition::value(value);
        definition.used = true;
        self.by_name.insert(name.to_owned(), definition);
    }

    pub fn unused(&self) -> impl Iterator<Item = Place> {
        let unused = self.by_name.values().filter(|definition| !definition.used);
        let unused = unused.flat_map(|definition| definition.places.iter());
        self.forgotten.iter().chain(unused).copied()
    }

    /// The line with everything replaced that can be, which may be several
    /// lines; nothing when it is as before. `$NAME` must be followed by a blank
    /// or the end, `${NAME}` by nothing.
    ///
    /// # Errors
    ///
    /// An unknown name in braces outside of quotes; a line that grows without
    /// end.
    pub fn replace(
        &mut self,
        text: &Text,
        predefined: &BTreeMap<&'static str, String>,
    ) -> Result<Option<Replaced>, Finding> {
        let mut line = text.clone();
        let mut after = Vec::new();
        let mut references = Vec::new();
        let mut from = 0;
        let mut count = 0;
        while let Some(found) = reference(&line, from)? {
            let (start, end) = (found.start, found.end);
            let place = line.place(start..end);
            let Some(place) = place else { break };
            let value: Rc<[Text]> = match predefined.get(found.name.as_str()) {
                Some(value) => {
                    let mut text = Text::default();
                    text.push_instead(value, place);
                    // It is text: nothing in it is replaced.
                    from = start + value.len();
                    [text].into()
                }
                None => match self.by_name.get_mut(&found.name) {
                    Some(definition) => {
                        definition.used = true;
                        Rc::clone(&definition.lines)
                    }
                    None if found.braced && !found.quoted => return Err(unknown(&found, place)),
                    None => {
                        from = end;
                        continue;
                    }
                },
            };
            count += 1;
            references.extend(line.places(start..end));
            line = put(&value, &line, start..end, place, &mut after);
            if count > REPLACEMENTS_MAX || line.chars.len() > LINE_BYTES_MAX {
                return Err(endless(&found, place));
            }
        }
        if count == 0 {
            return Ok(None);
        }
        let mut lines = vec![line];
        lines.append(&mut after);
        Ok(Some(Replaced { lines, references }))
    }
}

/// `line` with `value` at `range`. Of several lines the first is given back, and
/// the others, with what stood behind, come before those in `after`.
fn put(
    value: &[Text],
    line: &Text,
    range: Range<usize>,
    place: Place,
    after: &mut Vec<Text>,
) -> Text {
    let tail = line.slice(range.end..line.chars.len());
    let mut head = line.slice(0..range.start);
    match value {
        [] => {}
        [only] => head.append(&stamped(only, place)),
        // Lines of a block keep the places that they have.
        [first, ..] => head.append(first),
    }
    let mut rest: Vec<Text> = value.iter().skip(1).cloned().collect();
    match rest.last_mut() {
        Some(last) => {
            last.append(&tail);
            rest.append(after);
            *after = rest;
        }
        None => head.append(&tail),
    }
    head
}

/// The value of a definition stands for its name: that is where it is used.
fn stamped(value: &Text, place: Place) -> Text {
    let mut text = Text::default();
    text.push_instead(&value.chars, place);
    text
}

fn unknown(found: &Reference, place: Place) -> Finding {
    let title = format!("{} is not defined", quoted(&format!("${{{}}}", found.name)));
    if found.name == "_RANDOM" {
        return Finding::at(place, "a random number", "write the number").help(
            "vipward's configuration says the same each time that it is read; choose one value",
        );
    }
    Finding::at(place, title, "nothing to put here").help(format!(
        "write `${}=VALUE` above it; a definition is known from its line on, and not in the lines \
         before",
        found.name
    ))
}

fn endless(found: &Reference, place: Place) -> Finding {
    let title = format!("replacing {} does not end", quoted(&found.name));
    Finding::at(place, title, "grows with each replacement")
        .help("a definition must not lead back to itself")
}

/// `$NAME` or `${NAME}` in a line.
struct Reference {
    name: String,
    start: usize,
    end: usize,
    braced: bool,
    /// Within double quotes.
    quoted: bool,
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The first at or after `from`; a foreign `$` is no reference.
fn reference(line: &Text, from: usize) -> Result<Option<Reference>, Finding> {
    let mut quoted = false;
    let mut chars = line.chars.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '"' => quoted = !quoted,
            '$' if at >= from => {
                let rest = line.chars.get(at + 1..).unwrap_or("");
                if let Some(found) = named(rest, at, quoted) {
                    return Ok(Some(found));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

fn named(rest: &str, start: usize, quoted: bool) -> Option<Reference> {
    // Never more than the name is looked at: a line may be all `$`.
    const PARAMETERS_MAX: usize = 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let inner = rest.strip_prefix('{');
    let braced = inner.is_some();
    let inner = inner.unwrap_or(rest);
    let length = inner.find(|c| !plain(c)).unwrap_or(inner.len());
    let (name, after) = inner.split_at(length);
    let found = |name: &str, end| {
        Some(Reference {
            name: name.to_owned(),
            start,
            end,
            braced,
            quoted,
        })
    };
    if braced && name == "_RANDOM" && after.starts_with(' ') {
        let parameters = after
            .bytes()
            .take(PARAMETERS_MAX)
            .position(|byte| byte == b'}')?;
        return found(name, start + 2 + length + parameters + 1);
    }
    let ends = match braced {
        true => after.starts_with('}'),
        false => after.is_empty() || after.starts_with([' ', '\t']),
    };
    let end = start + 1 + length + if braced { 2 } else { 0 };
    (ends && is_name(name)).then(|| found(name, end)).flatten()
}

/// A line that defines: the name and the value.
pub(super) fn definition(text: &Text) -> Option<(String, Text)> {
    let rest = text.chars.strip_prefix('$')?;
    let (name, _) = rest.split_once('=')?;
    is_name(name).then(|| {
        let value = text.slice(name.len() + 2..text.chars.len());
        (name.to_owned(), value.trimmed())
    })
}
