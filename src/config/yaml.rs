//! YAML text to a tree of nodes with places. The only module that knows the
//! YAML library; everything behind it sees text and positions, so every fault
//! of a file can be collected in one walk.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, Options};
use serde_saphyr::{Error, Spanned};

use super::fault::{Finding, Place, SourceId};

/// Sections within sections; ours need six.
const DEPTH_MAX: usize = 24;
/// Scalars, lists and sections of all files.
pub(super) const NODES_MAX: usize = 250_000;
/// What aliases may expand to, in parser events; beyond it the file is refused.
const REPLAYED_EVENTS_MAX: usize = 200_000;

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file, repeated keys included.
    Map(Vec<(Node, Node)>),
}

/// A scalar as it stands in the file: what it means is for the reader to say.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub text: String,
    /// Neither quoted nor a block: other readers may take it for a number, a
    /// boolean or nothing.
    pub plain: bool,
    /// Filled in from the environment: whether it is a number or text is for
    /// the key to say, quotes or not.
    pub from_environment: bool,
}

impl Scalar {
    /// May be read as a number or a boolean.
    pub fn unquoted(&self) -> bool {
        self.plain || self.from_environment
    }
}

impl Value {
    /// For messages: "a list", "a section", ...
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a section of keys",
        }
    }
}

/// Reads one document. An empty one is [`Value::Null`].
///
/// Nesting, the number of nodes and the expansion of aliases are bounded; a
/// file beyond a bound is a fault like any other.
pub(super) fn read(source: SourceId, text: &str) -> Result<Node, Finding> {
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| syntax_fault(source, text, &error))?;
    Ok(node(source, text, raw))
}

/// Recursion is bounded by [`DEPTH_MAX`]. What an alias or a merge brought in
/// has the place where it is written.
fn node(source: SourceId, text: &str, raw: Spanned<Raw>) -> Node {
    let span = raw.defined.span();
    let offset = |bytes: Option<u64>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let start = offset(span.byte_offset()).unwrap_or(0).min(text.len());
    let length = offset(span.byte_len()).unwrap_or(0);
    let end = start.saturating_add(length).min(text.len());
    let place = Place { source, start, end };
    let written = text.get(start..end).unwrap_or("");
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Resolved => Value::Scalar(Scalar {
            text: written.trim().to_owned(),
            plain: true,
            from_environment: false,
        }),
        Raw::Text(resolved) => Value::Scalar(Scalar {
            text: resolved,
            plain: !written.starts_with(['"', '\'']),
            from_environment: false,
        }),
        Raw::List(list) => Value::List(
            list.into_iter()
                .map(|item| node(source, text, item))
                .collect(),
        ),
        Raw::Map(entries) => {
            let entry = |(key, value)| (node(source, text, key), node(source, text, value));
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { place, value }
}

/// The library stops at the first fault of syntax; so does this.
fn syntax_fault(source: SourceId, text: &str, error: &Error) -> Finding {
    let error = error.without_snippet();
    let place = error.location().map(|location| {
        let chars = usize::try_from(location.span().offset()).unwrap_or(usize::MAX);
        let start = text
            .char_indices()
            .nth(chars)
            .map_or(text.len(), |(at, _)| at);
        let width = text.get(start..).and_then(|rest| rest.chars().next());
        let end = start + width.filter(|c| *c != '\n').map_or(0, char::len_utf8);
        Place { source, start, end }
    });
    let (title, help) = explain(error, text, place);
    let finding = match place {
        Some(place) => Finding::at(place, title, ""),
        None => Finding::of_file(title),
    };
    finding.help(help)
}

fn explain(error: &Error, text: &str, place: Option<Place>) -> (String, &'static str) {
    const TAB: &str = "YAML is indented with spaces; replace the tab before this line's text \
                       (for good, by the editor's setting for YAML files)";
    // A fault within what an alias repeats.
    let error = match error {
        Error::AliasError { error, .. } => error.without_snippet(),
        _ => error,
    };
    let message = error.to_string();
    let said = message
        .rfind(" at line ")
        .and_then(|end| message.get(..end));
    let title = format!("not YAML: {}", said.unwrap_or(&message));
    let too_deep = (
        "the file is nested too deeply".to_owned(),
        "a configuration has at most 24 levels",
    );
    match error {
        Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => too_deep,
        Error::Budget { .. } => (
            "the file holds too much".to_owned(),
            "a configuration has at most 250,000 keys and values",
        ),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            "the aliases of the file expand to too much".to_owned(),
            "aliases may repeat 200,000 pieces in all",
        ),
        Error::MultipleDocuments { .. } => (
            "a second YAML document starts here".to_owned(),
            "a configuration is one document: remove the line `---`",
        ),
        _ if title.contains("recursion limit") => too_deep,
        _ if place.is_some_and(|place| tab_indents(text, place)) || title.contains("tabs") => {
            ("a tab in the indentation".to_owned(), TAB)
        }
        _ if place.is_some_and(|place| line_of(text, place).contains("${")) => (
            title,
            "within braces or brackets write \"${NAME}\" in quotes: the `{` of a reference would open \
             a section",
        ),
        _ if title.contains("mapping values") || title.contains("':' indicator") => (
            title,
            "keys of one section start in the same column; a bracket or quote opened above must be \
             closed; a value that contains `: ` or ends in `:` is written in quotes",
        ),
        _ if title.contains("unknown anchor") || title.contains("recursive") => (
            title,
            "a value that begins with `*` refers to one marked with `&` above; if none was meant, \
             write the value in quotes",
        ),
        _ if title.contains("unexpected character") => (
            title,
            "a value that begins with a special character is written in quotes; control characters \
             cannot be written at all",
        ),
        _ if title.contains("tag") || title.contains("strict mode") => (
            title,
            "tags are not needed here: remove what begins with `!`",
        ),
        _ => (
            title,
            "compare the indentation, quotes and brackets here and in the lines above",
        ),
    }
}

fn line_of(text: &str, place: Place) -> &str {
    let before = text.get(..place.start).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let rest = text.get(start..).unwrap_or("");
    rest.lines().next().unwrap_or("")
}

/// Whether the line of `place`, or the one before it, is indented by a tab.
fn tab_indents(text: &str, place: Place) -> bool {
    let before = text.get(..place.start).unwrap_or(text);
    let line = before.matches('\n').count();
    let near = text.lines().skip(line.saturating_sub(1)).take(2);
    near.map(|line| line.chars().take_while(|c| c.is_whitespace()))
        .any(|mut indentation| indentation.any(|c| c == '\t'))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            // A thousand instances may well share one anchor.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED_EVENTS_MAX,
        },
        // Passed on, because both places belong into the message.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// What the library hands over. A scalar that it resolved to a number or a
/// boolean is read again from the text, as it was written.
enum Raw {
    Null,
    Resolved,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Raw::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
