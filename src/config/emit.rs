//! Values as YAML that every reader takes for the same: whatever is not plain
//! beyond doubt stands in double quotes, with its special characters escaped.

use std::fmt::Write;

use serde_yaml::{Mapping, Value};

use super::environment;
use super::read;

/// One document in block style. Empty lists and sections are `[]` and `{}`.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Mapping(map) if !map.is_empty() => section(map, 0, &mut out),
        other => {
            inline(other, &mut out);
            out.push('\n');
        }
    }
    out
}

/// `text` as one scalar, in quotes where they are needed.
pub(super) fn scalar(text: &str) -> String {
    let mut out = String::new();
    match is_plain(text) {
        true => out.push_str(text),
        false => quoted(&environment::escaped(text), &mut out),
    }
    out
}

/// Each line indented by `depth`, the first one too.
fn section(map: &Mapping, depth: usize, out: &mut String) {
    for (key, value) in map {
        indent(depth, out);
        entry(key, value, depth, out);
    }
}

fn entry(key: &Value, value: &Value, depth: usize, out: &mut String) {
    inline(key, out);
    out.push(':');
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            out.push('\n');
            section(map, depth + 2, out);
        }
        Value::Sequence(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                list_item(item, depth, out);
            }
        }
        other => {
            out.push(' ');
            inline(other, out);
            out.push('\n');
        }
    }
}

/// A list within a list does not occur, and would be written inline.
fn list_item(item: &Value, depth: usize, out: &mut String) {
    indent(depth, out);
    out.push_str("- ");
    match item {
        Value::Mapping(map) if !map.is_empty() => {
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    indent(depth + 2, out);
                }
                entry(key, value, depth + 2, out);
            }
        }
        other => {
            inline(other, out);
            out.push('\n');
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', depth));
}

fn inline(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) if is_plain(text) => out.push_str(text),
        Value::String(text) => quoted(&environment::escaped(text), out),
        Value::Sequence(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                inline(item, out);
            }
            out.push(']');
        }
        Value::Mapping(map) => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                inline(key, out);
                out.push_str(": ");
                inline(value, out);
            }
            out.push('}');
        }
        Value::Tagged(tagged) => inline(&tagged.value, out),
    }
}

/// Text to every reader, wherever it stands.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    begins && text.chars().all(plain) && !text.ends_with(':') && !read::needs_quotes(text)
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            _ if character.is_alphanumeric() => out.push(character),
            _ => {
                let code = u32::from(character);
                // Writing to a string cannot fail.
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
}
