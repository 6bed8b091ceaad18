//! A program as it is written: its path, its arguments, its user, its
//! time-out. Whether the file is there is not judged here.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::{Finding, Findings, quoted};
use super::read::{self, At, Field, Read, Section};
use super::work::Script;
use super::yaml::{Node, Value};

const WORDS_MAX: usize = 128;
/// Of the path and all arguments; the kernel takes more, and nobody writes it.
const BYTES_MAX: usize = 16 * 1024;
/// What a shell would not pass on.
const SHELL_WORDS: [&str; 9] = ["|", "||", "&&", "&", ";", ">", ">>", "<", "2>&1"];

/// A script, and where its words stand.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub script: Script,
    pub words: Vec<At<String>>,
}

/// Path and arguments; never empty.
pub(super) fn words(node: &Node, key: &str) -> Read<Vec<At<String>>> {
    let items = match &node.value {
        Value::List(items) => items,
        Value::Scalar(scalar) => {
            let words: Vec<&str> = scalar.text.split_whitespace().collect();
            let label = format!("write {}", quoted(&format!("[{}]", words.join(", "))));
            let title = format!("`{key}` is a list, and this is a single value");
            return Err(Finding::at(node.place, title, label)
                .help("no shell takes it apart: each argument is an item of the list"));
        }
        other @ (Value::Null | Value::Map(_)) => {
            let title = format!("`{key}` is a list, and this is {}", other.kind());
            return Err(Finding::at(
                node.place,
                title,
                "write the path and each argument after `- `",
            ));
        }
    };
    let words: Vec<At<String>> = items.iter().map(word).collect::<Read<_>>()?;
    let Some(path) = words.first() else {
        let label = "write at least the path of a program";
        return Err(Finding::at(node.place, format!("`{key}` is empty"), label));
    };
    if !path.value.starts_with('/') {
        let title = format!("{} is not an absolute path", quoted(&path.value));
        return Err(
            Finding::at(path.place, title, "write where the file is, from / on")
                .help("there is no search path and no working directory to find it by"),
        );
    }
    let bytes: usize = words.iter().map(|word| word.value.len()).sum();
    if words.len() > WORDS_MAX || bytes > BYTES_MAX {
        let title = format!("`{key}` has {} words and {bytes} bytes", words.len());
        let label = format!("{WORDS_MAX} and {BYTES_MAX} are the most");
        return Err(
            Finding::at(node.place, title, label).help("put the rest into the script itself")
        );
    }
    Ok(words)
}

/// Text, or a number that every YAML reader takes for the same.
fn word(node: &Node) -> Read<At<String>> {
    let scalar = read::scalar(node, "a path or an argument")?;
    let number = scalar.text.parse::<i64>();
    let plain_number = number.is_ok_and(|number| number.to_string() == scalar.text);
    let text = match plain_number {
        true => scalar.text.as_str(),
        false => read::word(node, "a path or an argument")?,
    };
    if text.contains('\0') {
        let title = format!("{} holds a zero byte", quoted(text));
        return Err(Finding::at(node.place, title, "remove it").help("no program can be given one"));
    }
    Ok(At {
        value: text.to_owned(),
        place: node.place,
    })
}

/// An account that a program may run as.
pub(super) fn user(node: &Node) -> Read<String> {
    let name = read::word(node, "the name of a user")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let number = name.bytes().all(|byte| byte.is_ascii_digit());
    let sound = !name.is_empty() && name.len() <= 32 && !name.starts_with('-') && !number;
    if sound && name.chars().all(allowed) {
        return Ok(name.to_owned());
    }
    let title = format!("{} cannot be the name of a user", quoted(name));
    Err(Finding::at(
        node.place,
        title,
        "write a user that `getent passwd` shows",
    ))
}

/// `user` of a section, with nothing for the default; the outer nothing is a
/// fault.
pub(super) fn optional<T: Clone>(field: &Field<T>) -> Option<Option<T>> {
    match field {
        Field::Absent => Some(None),
        Field::Bad => None,
        Field::Given(at) => Some(Some(at.value.clone())),
    }
}

/// The duration under `key`.
pub(super) fn span(
    section: &Section,
    key: &str,
    range: RangeInclusive<Duration>,
    out: &mut Findings,
) -> Field<Duration> {
    section.field(key, out, |node| {
        read::duration(node, &read::within(key, &range), range)
    })
}

/// What only a shell understands.
pub(super) fn advice(words: &[At<String>], out: &mut Findings) {
    let shell = |word: &&At<String>| SHELL_WORDS.contains(&word.value.as_str());
    if let Some(word) = words.iter().skip(1).find(shell) {
        let title = format!("{} is passed on as an argument", quoted(&word.value));
        out.warn(Finding::at(word.place, title, "no shell reads this").help(
            "put the line into a script file and name that, or write `[/bin/sh, -c, \"...\"]`",
        ));
    }
}
