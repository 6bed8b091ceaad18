//! `${NAME}` in values: filled in from the environment after YAML has been
//! read, so that what is filled in is never more than the text of one value.

use std::collections::BTreeSet;
use std::ffi::OsString;

use super::fault::{Finding, Findings, Place, quoted};
use super::yaml::{NODES_MAX, Node, Value};

/// What a name stands for; `None` when it is not set.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Of all values together, once they are filled in.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Fills in the values of every file, and counts what they hold.
pub(super) struct Filler<'a> {
    variables: Variables<'a>,
    /// Where something was filled in: only this host knows what.
    pub places: BTreeSet<Place>,
    bytes: usize,
    nodes: usize,
}

impl<'a> Filler<'a> {
    pub fn new(variables: Variables<'a>) -> Self {
        Self {
            variables,
            places: BTreeSet::new(),
            bytes: 0,
            nodes: 0,
        }
    }

    /// Keys stay as they are written. Faults are noted; beyond a bound nothing
    /// more is filled in.
    pub fn fill(&mut self, node: &mut Node, out: &mut Findings) {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes == NODES_MAX + 1 {
            let title = "the files hold too much together";
            let label = "a configuration has at most 250,000 keys and values";
            out.fault(Finding::at(node.place, title, label));
        }
        match &mut node.value {
            Value::Null => {}
            Value::Scalar(scalar) => {
                let filled = match expand(&scalar.text, self.variables) {
                    Ok(None) => return,
                    Ok(Some(filled)) => filled,
                    Err(bad) => {
                        out.fault(bad.into_fault(node.place));
                        out.spoil(node.place);
                        return;
                    }
                };
                self.bytes = self.bytes.saturating_add(filled.text.len());
                if self.bytes > BYTES_MAX {
                    let title = "the environment fills in too much";
                    let label = "all values together have at most 4 MiB";
                    out.fault(Finding::at(node.place, title, label));
                    out.spoil(node.place);
                    self.bytes -= filled.text.len();
                    return;
                }
                scalar.text = filled.text;
                if filled.referred {
                    scalar.from_environment = true;
                    self.places.insert(node.place);
                }
            }
            Value::List(items) => items.iter_mut().for_each(|item| self.fill(item, out)),
            Value::Map(entries) => entries
                .iter_mut()
                .for_each(|(_, value)| self.fill(value, out)),
        }
    }
}

/// A value with its references replaced.
#[derive(Debug, PartialEq, Eq)]
struct Filled {
    text: String,
    /// Not only a `$${`, which stands for a `${`.
    referred: bool,
}

/// Why a value cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
enum Bad {
    Unset(String),
    NotText(String),
    Unclosed,
    /// What stands between the braces.
    Form(String),
}

impl Bad {
    fn into_fault(self, place: Place) -> Finding {
        const FORMS: &str = "the forms are ${NAME} and ${NAME:-default}; $${ stands for the characters \
                             ${ themselves";
        match self {
            Bad::Unset(name) => Finding::at(
                place,
                format!("`{name}` is not set in the environment"),
                format!("set it, or write a default as ${{{name}:-default}}"),
            )
            .help(format!(
                "the services read /etc/vipward/environment when they start, and a shell does by \
                 `set -a; . /etc/vipward/environment`; for the characters themselves write $${{{name}}}"
            )),
            Bad::NotText(name) => Finding::at(
                place,
                format!("`{name}` in the environment is not UTF-8 text"),
                "set it to text",
            ),
            Bad::Unclosed => {
                let title = "`${` without a `}`";
                Finding::at(place, title, "close it").help(FORMS)
            }
            Bad::Form(written) => {
                let title = format!("{} is no reference", quoted(&format!("${{{written}}}")));
                Finding::at(place, title, "write ${NAME}").help(FORMS)
            }
        }
    }
}

/// `None` when there is nothing to fill in. A `$` that no `{` follows is a
/// character like any other, and of several before a `{` one is taken away.
fn expand(text: &str, variables: Variables) -> Result<Option<Filled>, Bad> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = Filled {
        text: String::with_capacity(text.len()),
        referred: false,
    };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let after = from.get("${".len()..).unwrap_or("");
        if let Some(before) = before.strip_suffix('$') {
            out.text.push_str(before);
            out.text.push_str("${");
            rest = after;
            continue;
        }
        out.text.push_str(before);
        let (inside, after) = after.split_once('}').ok_or(Bad::Unclosed)?;
        out.text.push_str(&value(inside, variables)?);
        out.referred = true;
        rest = after;
    }
    out.text.push_str(rest);
    Ok(Some(out))
}

/// As a shell has it: the default also stands in for an empty value.
fn value(inside: &str, variables: Variables) -> Result<String, Bad> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(sound) || default.is_some_and(|text| text.contains("${")) {
        return Err(Bad::Form(inside.to_owned()));
    }
    let value = variables(name).map(OsString::into_string).transpose();
    let value = value.map_err(|_| Bad::NotText(name.to_owned()))?;
    match (value, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (Some(_) | None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Bad::Unset(name.to_owned())),
    }
}

/// As it is written so that it is read back as `text`.
pub(super) fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn variables(name: &str) -> Option<OsString> {
        match name {
            "SITE" => Some("7".into()),
            "EMPTY" => Some("".into()),
            "NESTED" => Some("${SITE}".into()),
            "BYTES" => Some(OsString::from_vec(vec![0xff])),
            _ => None,
        }
    }

    fn text(written: &str) -> Result<Option<String>, Bad> {
        let filled = expand(written, &variables)?;
        Ok(filled.map(|filled| filled.text))
    }

    #[test]
    fn references_are_replaced_and_nothing_else() {
        for (written, filled) in [
            ("10.0.${SITE}.1", "10.0.7.1"),
            ("${SITE}${SITE}", "77"),
            ("${EMPTY}", ""),
            ("${EMPTY:-a}", "a"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${SITE:-a}", "7"),
            // What is filled in is not looked at again.
            ("${NESTED}", "${SITE}"),
            ("$${SITE}", "${SITE}"),
            ("$$${SITE}", "$${SITE}"),
            ("${SITE}$", "7$"),
            ("a}${SITE}", "a}7"),
        ] {
            assert_eq!(text(written), Ok(Some(filled.to_owned())), "{written}");
        }
        for written in ["", "$", "$$", "$SITE", "{SITE}", "$(SITE)", "$ {SITE}"] {
            assert_eq!(text(written), Ok(None), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_says_why() {
        let form = |inside: &str| Err(Bad::Form(inside.to_owned()));
        for (written, bad) in [
            ("${NONE}", Err(Bad::Unset("NONE".to_owned()))),
            ("${BYTES}", Err(Bad::NotText("BYTES".to_owned()))),
            ("a${SITE", Err(Bad::Unclosed)),
            ("${}", form("")),
            ("${1}", form("1")),
            ("${SITE-a}", form("SITE-a")),
            ("${SITE:?}", form("SITE:?")),
            ("${ SITE }", form(" SITE ")),
            ("${NONE:-${SITE}}", form("NONE:-${SITE")),
        ] {
            assert_eq!(text(written), bad, "{written}");
        }
    }

    #[test]
    fn what_is_escaped_is_read_back_the_same() {
        for plain in ["", "$", "$$", "${", "$${", "a${SITE}b$$${c", "$}{"] {
            let read = text(&escaped(plain)).expect(plain);
            assert_eq!(read.unwrap_or_else(|| escaped(plain)), plain);
        }
    }
}
