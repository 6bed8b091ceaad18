//! `authentication` and `auth_hmac`.

use super::desk::{Desk, Rows, number};
use super::node::{Node, flow_map, flow_scalar};
use super::tree::Row;
use crate::agent::values::Version;
use crate::config::fault::Place;

/// The name of the credential behind it is all that vipward needs.
const CREDENTIAL: &str = "${_ENV CREDENTIALS_DIRECTORY}/";

/// The bytes of a password that keepalived reads.
const PASSWORD_BYTES: usize = 8;

const ALONE: &str = "until it is done, this host and one that authenticates do not believe each other, and \
                     both would be Active";

/// `auth`, where the instance has some.
pub(super) fn node(desk: &mut Desk, name: &str, rows: &Rows, version: Version) -> Option<Node> {
    let hmac = desk.last(rows, "auth_hmac");
    let simple = desk.last(rows, "authentication");
    match (hmac, simple) {
        (Some(hmac), simple) => {
            if let Some(simple) = simple {
                desk.note(simple, "keepalived drops it beside `auth_hmac`");
            }
            signed(desk, name, hmac)
        }
        (None, Some(simple)) => password(desk, simple, version),
        (None, None) => None,
    }
}

fn password(desk: &mut Desk, row: &Row, version: Version) -> Option<Node> {
    let (mut kind, mut password) = (None, None);
    for inner in row.block.iter().flatten() {
        match (inner.keyword(), inner.arguments()) {
            ("auth_type", [value, rest @ ..]) => {
                desk.extra(rest);
                kind = Some((value.text.as_str(), inner));
            }
            ("auth_pass", [value, rest @ ..]) => {
                desk.extra(rest);
                password = Some((value.text.as_str(), inner));
            }
            _ => desk.left(inner, super::tables::UNKNOWN),
        }
    }
    let head = row.places();
    let both = |desk: &mut Desk, why: &'static str, left: bool| {
        let inner = [kind, password].into_iter().flatten();
        let places = inner.flat_map(|(_, row)| row.places()).chain(head.clone());
        let places: Vec<Place> = places.collect();
        match left {
            true => desk.left_at(&places, why),
            false => desk.note_at(&places, why),
        }
    };
    match (kind, password) {
        _ if version == Version::V3 => {
            both(
                desk,
                "version 3 has no such authentication: keepalived ignores it too",
                false,
            );
            None
        }
        (Some(("AH", _)), _) => {
            both(
                desk,
                "vipward has no IPsec AH: change all hosts to `auth_hmac` or to none first; until it is \
                 done, this host and one with AH do not hear each other, and both would be Active",
                true,
            );
            None
        }
        (Some(("PASS", kind)), Some((text, password))) if !text.is_empty() => {
            let text = eight_bytes(desk, password, text);
            let value = flow_map(&[("password", flow_scalar(text))]);
            let node = Node::key("auth", value).from(head).from(kind.places());
            Some(node.from(password.places()).optional())
        }
        _ => {
            both(
                desk,
                "without a type and a password keepalived does not authenticate",
                false,
            );
            None
        }
    }
}

/// As much of a password as keepalived reads, in whole characters.
fn eight_bytes<'t>(desk: &mut Desk, row: &Row, text: &'t str) -> &'t str {
    if text.len() > PASSWORD_BYTES {
        desk.remark(
            row,
            "keepalived reads eight bytes of it, and so they are written here",
        );
    }
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= PASSWORD_BYTES).last();
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

#[derive(Default)]
struct Signed {
    keys: Vec<(String, String)>,
    /// Some key is written into the file itself.
    inline: bool,
    active: Option<String>,
    mode: Option<String>,
    replay: Option<String>,
    window: Option<String>,
    places: Vec<Place>,
}

fn signed(desk: &mut Desk, name: &str, row: &Row) -> Option<Node> {
    let mut signed = Signed {
        places: row.places(),
        ..Signed::default()
    };
    for inner in row.block.iter().flatten() {
        signed_line(desk, name, &mut signed, inner);
    }
    if signed.inline || signed.keys.is_empty() {
        desk.left_at(
            &signed.places,
            format!(
                "a key stands in a file of its own here: `--keys /etc/vipward/keys` has the import write \
                 it. Or write it (hex:... or the text) into a file that only root may read, and add `auth: {{ keys: {{ 1: FILE }}, \
                 active_key: 1, mode: {}, anti_replay: {} }}` to the instance; {ALONE}",
                signed.mode.as_deref().unwrap_or("enforce"),
                signed.replay.as_deref().unwrap_or("time"),
            ),
        );
        return None;
    }
    let keys: Vec<(&str, String)> = signed
        .keys
        .iter()
        .map(|(number, path)| (number.as_str(), flow_scalar(path)))
        .collect();
    let mut entries = vec![("keys", flow_map(&keys))];
    entries.extend(signed.active.map(|active| ("active_key", active)));
    entries.push(("mode", signed.mode.unwrap_or("enforce".to_owned())));
    entries.push(("anti_replay", signed.replay.unwrap_or("time".to_owned())));
    entries.extend(signed.window.map(|window| ("window", window)));
    let node = Node::key("auth", flow_map(&entries));
    Some(node.from(signed.places).optional())
}

fn signed_line(desk: &mut Desk, name: &str, signed: &mut Signed, row: &Row) {
    let texts: Vec<&str> = row.words.iter().map(|word| word.text.as_str()).collect();
    match texts.as_slice() {
        ["key", id, value] if number(id).is_some() => match value.strip_prefix("file:") {
            Some(path) => {
                let path = path.strip_prefix(CREDENTIAL).unwrap_or(path);
                signed.keys.push(((*id).to_owned(), path.to_owned()));
            }
            None => match desk.host.keep_key(&format!("{name}-{id}"), value) {
                Ok(Some(path)) => {
                    let path = path.display().to_string();
                    signed.keys.push(((*id).to_owned(), path));
                }
                Ok(None) => signed.inline = true,
                Err(why) => {
                    desk.remark(row, why);
                    signed.inline = true;
                }
            },
        },
        ["active_key", id] if number(id).is_some() => signed.active = Some((*id).to_owned()),
        ["mode", mode @ ("enforce" | "permissive")] => signed.mode = Some((*mode).to_owned()),
        ["anti_replay", kind @ ("time" | "monotonic")] => signed.replay = Some((*kind).to_owned()),
        ["time_window", seconds] if number(seconds).is_some() => {
            signed.window = Some(format!("{seconds}s"));
        }
        _ => return desk.left(row, super::tables::UNKNOWN),
    }
    signed.places.extend(row.places());
}
