//! What the values of keys look like, in the words of JSON Schema. A value may
//! be a reference to the environment wherever it is a scalar.

use serde_json::{Value, json};

pub(super) use crate::config::instance::{ADDRESSES_MAX, NAME_BYTES_MAX, PEERS_MAX};

/// `250ms`, `1m 30s`.
const DURATION: &str = r"^ *([0-9]+(\.[0-9]+)? *(h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|ms|msecs?|us|usecs?|ns) *)+$";
/// `192.0.2.10`, `2001:db8::10`; which addresses fit is for the program.
const ADDRESS: &str = r"^[0-9a-fA-F:.]+$";
const NETWORK: &str = r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$";
const INTERFACE: &str = r"^[^/\s]{1,15}$";
const PATH: &str = "^/";
const NODE: &str = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$";

/// Pieces that several keys share.
pub(super) fn shared() -> Vec<(&'static str, Value)> {
    vec![
        (
            "reference",
            json!({
                "description": "A value from the environment, such as ${NAME} or ${NAME:-default}.",
                "type": "string",
                "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
            }),
        ),
        ("duration", or_reference(text(DURATION))),
        ("host_address", or_reference(text(ADDRESS))),
        ("network", or_reference(text(NETWORK))),
        ("interface_name", or_reference(text(INTERFACE))),
        ("path", or_reference(text(PATH))),
        (
            "command",
            json!({
                "description": "The absolute path of a program and its arguments. No shell reads them.",
                "type": "array",
                "prefixItems": [shape("path")],
                "items": { "type": ["string", "integer"] },
                "minItems": 1,
                "maxItems": 128,
            }),
        ),
    ]
}

fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn or_reference(value: Value) -> Value {
    json!({ "anyOf": [value, shape("reference")] })
}

/// One of [`shared`], or a section.
pub(super) fn shape(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

pub(super) fn integer(low: i64, high: i64) -> Value {
    or_reference(json!({ "type": "integer", "minimum": low, "maximum": high }))
}

/// `10%`, `2.5%`.
pub(super) fn percent() -> Value {
    or_reference(text(r"^[0-9]{1,3}(\.[0-9]{1,2})? *%$"))
}

/// A percentage, or `5GiB`.
pub(super) fn room() -> Value {
    or_reference(text(r"^([0-9]{1,3}(\.[0-9]{1,2})? *%|[0-9]+ *[KMGT]iB)$"))
}

pub(super) fn boolean() -> Value {
    or_reference(json!({ "type": "boolean" }))
}

pub(super) fn choice(words: &[&str]) -> Value {
    or_reference(json!({ "enum": words }))
}

pub(super) fn word() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

pub(super) fn words_up_to(bytes: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bytes })
}

pub(super) fn duration() -> Value {
    shape("duration")
}

pub(super) fn any<const N: usize>(choices: [Value; N]) -> Value {
    json!({ "anyOf": choices.to_vec() })
}

pub(super) fn list(item: Value, least: usize, most: usize) -> Value {
    json!({ "type": "array", "items": item, "minItems": least, "maxItems": most })
}

/// A section of names.
pub(super) fn named(value: Value) -> Value {
    let most = NAME_BYTES_MAX - 1;
    by_pattern(&format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{most}}}$"), value)
}

pub(super) fn by_node(value: Value) -> Value {
    by_pattern(NODE, value)
}

pub(super) fn by_pattern(pattern: &str, value: Value) -> Value {
    json!({
        "type": "object",
        "patternProperties": { pattern: value },
        "additionalProperties": false,
    })
}
