//! `auth`: how an instance's advertisements show who sent them. The keys
//! themselves are in files, which are not read here (`key_file`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::settings::{AntiReplay, Authentication, HmacSettings, Mode, Password};
use crate::agent::values::{AdvertInterval, InstanceName, Version};

use super::fault::{Finding, Findings, Place, quoted};
use super::instance::Draft;
use super::keys;
use super::read::{self, At, Field, Read, Section};
use super::yaml::{Node, Value};

/// Rotation takes two; more are a convenience.
const KEYS_MAX: usize = 16;
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_hours(1);
/// Unless three intervals are longer.
const WINDOW_DEFAULT: Duration = Duration::from_secs(5);
const PASSWORD_BYTES: usize = 8;
const PATH_BYTES_MAX: usize = 4096;

/// The key files, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyPaths {
    /// Of each instance and number.
    pub instances: BTreeMap<(InstanceName, u8), PathBuf>,
    pub cluster: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) struct AuthDraft {
    pub keys: Field<BTreeMap<u8, At<PathBuf>>>,
    pub active_key: Field<u8>,
    pub mode: Field<Mode>,
    pub anti_replay: Field<AntiReplay>,
    pub window: Field<Duration>,
    pub password: Field<Password>,
}

pub(super) fn draft(section: &Section, out: &mut Findings) -> Field<AuthDraft> {
    let node = section.field("auth", out, Ok);
    let Field::Given(At { value: node, place }) = node else {
        return super::instance::absent_or_bad(&node);
    };
    let Some(section) = Section::open(node, &keys::AUTH, out) else {
        return Field::Bad;
    };
    let value = AuthDraft {
        keys: key_files(&section, out),
        active_key: section.field("active_key", out, |node| {
            read::integer(node, "`active_key`", 0..=255)
        }),
        mode: section.field("mode", out, mode),
        anti_replay: section.field("anti_replay", out, anti_replay),
        window: section.field("window", out, |node| {
            let range = WINDOW_MIN..=WINDOW_MAX;
            read::duration(node, &read::within("window", &range), range)
        }),
        password: section.field("password", out, password),
    };
    if section.refused_any() {
        // What seems missing may be misspelt.
        return Field::Bad;
    }
    Field::Given(At { value, place })
}

fn mode(node: &Node) -> Read<Mode> {
    let choices = [Mode::Enforce, Mode::Permissive, Mode::ReceiveOnly];
    read::one_of(node, "`mode`", &choices.map(|mode| (mode.name(), mode)))
}

fn anti_replay(node: &Node) -> Read<AntiReplay> {
    let choices = [AntiReplay::Monotonic, AntiReplay::Time];
    let choices = choices.map(|choice| (choice.name(), choice));
    read::one_of(node, "`anti_replay`", &choices)
}

fn password(node: &Node) -> Read<Password> {
    let text = read::word(node, "a password")?;
    let mut bytes = [0; PASSWORD_BYTES];
    let fits = text.len() <= PASSWORD_BYTES && !text.is_empty() && !text.contains('\0');
    match bytes.get_mut(..text.len()).filter(|_| fits) {
        Some(room) => {
            room.copy_from_slice(text.as_bytes());
            Ok(Password(bytes))
        }
        None => {
            let title = format!(
                "a simple password has 1 to 8 bytes, and this has {}",
                text.len()
            );
            Err(Finding::at(node.place, title, "write a shorter one")
                .help("keepalived cuts a longer `auth_pass` after eight: write those"))
        }
    }
}

/// `keys: { 1: /etc/vipward/keys/web }`.
fn key_files(section: &Section, out: &mut Findings) -> Field<BTreeMap<u8, At<PathBuf>>> {
    let node = section.field("keys", out, Ok);
    let Field::Given(At { value: node, place }) = node else {
        return super::instance::absent_or_bad(&node);
    };
    let Value::Map(map) = &node.value else {
        let title = format!(
            "`keys` is a section of numbers, and this is {}",
            node.value.kind()
        );
        out.fault(Finding::at(
            place,
            title,
            "write `{ 1: /etc/vipward/keys/web }`",
        ));
        return Field::Bad;
    };
    let mut files: BTreeMap<u8, At<PathBuf>> = BTreeMap::new();
    let mut whole = true;
    for (key, value) in map {
        let number = out.keep(read::integer(key, "the number of a key", 0..=255));
        let path = out.keep(key_path(value));
        let (Some(number), Some(value)) = (number, path) else {
            whole = false;
            continue;
        };
        let at = At {
            value,
            place: key.place,
        };
        if let Some(first) = files.insert(number, at) {
            let title = format!("key {number} is written twice");
            out.fault(Finding::at(key.place, title, "again here").see(first.place, "first here"));
            whole = false;
        }
    }
    if files.len() > KEYS_MAX {
        let title = format!("{} keys in one instance", files.len());
        out.fault(Finding::at(
            place,
            title,
            format!("{KEYS_MAX} are the most"),
        ));
        return Field::Bad;
    }
    if map.is_empty() {
        out.fault(Finding::at(
            place,
            "`keys` is empty",
            "write `{ 1: /etc/vipward/keys/web }`",
        ));
        return Field::Bad;
    }
    match whole {
        true => Field::Given(At {
            value: files,
            place,
        }),
        false => Field::Bad,
    }
}

/// The path of a key file, or the name of a credential.
pub(super) fn key_path(node: &Node) -> Read<PathBuf> {
    let text = read::word(node, "the path of a key file")?;
    let fault = |title: String, label: &str| Finding::at(node.place, title, label);
    if text.starts_with("hex:") || text.len() > PATH_BYTES_MAX {
        // The text is not repeated: it may be the key.
        return Err(fault(
            "a key file is named here, and this is no path".to_owned(),
            "write the path of a file that holds the key",
        )
        .help("a configuration is read by many, a key by none: `vipward keygen` makes one"));
    }
    let inside = |part| matches!(part, std::path::Component::Normal(_));
    let path = PathBuf::from(text);
    let credential = path.components().all(inside) && path.components().count() == 1;
    if path.is_absolute() || credential {
        return Ok(path);
    }
    let title = format!("{} is neither an absolute path nor a name", quoted(text));
    Err(fault(title, "write the whole path")
        .help("a name alone is looked for among the service manager's credentials"))
}

/// The outcome when everything about it is right.
pub(super) fn judge(
    draft: &Draft,
    version: Version,
    interval: AdvertInterval,
    out: &mut Findings,
) -> Option<Authentication> {
    let given = match &draft.auth {
        Field::Absent => return Some(Authentication::None),
        Field::Bad => return None,
        Field::Given(given) => given,
    };
    let auth = &given.value;
    match (&auth.password, &auth.keys) {
        (Field::Bad, _) | (_, Field::Bad) => None,
        (Field::Given(password), Field::Given(keys)) => {
            out.fault(
                Finding::at(password.place, "both `password` and `keys`", "remove one")
                    .see(keys.place, "the keys"),
            );
            None
        }
        (Field::Given(_), Field::Absent) => simple(auth, version, out),
        (Field::Absent, Field::Given(keys)) => hmac(auth, keys, interval, out),
        (Field::Absent, Field::Absent) => {
            out.fault(Finding::at(
                given.place,
                "`auth` without `keys`",
                "write `keys: { 1: /etc/vipward/keys/web }`",
            ));
            None
        }
    }
}

fn simple(auth: &AuthDraft, version: Version, out: &mut Findings) -> Option<Authentication> {
    let password = auth.password.given()?;
    let stray = [
        ("active_key", auth.active_key.given().map(|at| at.place)),
        ("mode", auth.mode.given().map(|at| at.place)),
        ("anti_replay", auth.anti_replay.given().map(|at| at.place)),
        ("window", auth.window.given().map(|at| at.place)),
    ];
    let mut sound = true;
    for (key, place) in stray {
        if let Some(place) = place {
            let title = format!("`{key}` beside a `password`");
            out.fault(Finding::at(place, title, "remove it").help("it belongs to `keys`"));
            sound = false;
        }
    }
    if version != Version::V2 {
        out.fault(
            Finding::at(
                password.place,
                "version 3 has no simple password",
                "remove it, or write `version: 2`",
            )
            .help("`keys` authenticate both versions"),
        );
        sound = false;
    }
    sound.then_some(Authentication::Password(password.value))
}

fn hmac(
    auth: &AuthDraft,
    keys: &At<BTreeMap<u8, At<PathBuf>>>,
    interval: AdvertInterval,
    out: &mut Findings,
) -> Option<Authentication> {
    let numbers: Vec<u8> = keys.value.keys().copied().collect();
    let active_key = match (&auth.active_key, numbers.as_slice()) {
        (Field::Bad, _) => return None,
        (Field::Given(given), _) if numbers.contains(&given.value) => given.value,
        (Field::Given(given), _) => {
            out.fault(no_such_key(given, keys.place));
            return None;
        }
        (Field::Absent, [only]) => *only,
        (Field::Absent, _) => {
            out.fault(Finding::at(
                keys.place,
                "several keys, and none is named to sign with",
                "write `active_key:` beside them",
            ));
            return None;
        }
    };
    let default = (interval.as_duration() * 3).max(WINDOW_DEFAULT);
    Some(Authentication::Hmac(HmacSettings {
        fingerprints: BTreeMap::new(),
        keys: numbers.into_iter().collect(),
        active_key,
        mode: auth.mode.or(Mode::Enforce)?,
        anti_replay: auth.anti_replay.or(AntiReplay::Monotonic)?,
        window: auth.window.or(default)?,
    }))
}

fn no_such_key(given: &At<u8>, keys: Place) -> Finding {
    let title = format!("`active_key` is {}, and there is no such key", given.value);
    Finding::at(given.place, title, "write the number of one of the keys").see(keys, "the keys")
}

/// What is legal and protects little.
pub(super) fn advice(draft: &Draft, out: &mut Findings) {
    let Some(auth) = draft.auth.given() else {
        return;
    };
    if let Some(password) = auth.value.password.given() {
        out.warn(
            Finding::at(
                password.place,
                "a simple password protects nothing",
                "it is sent with every advertisement, for all to read",
            )
            .help("it keeps apart what was misconfigured, no more; write `keys` where you can"),
        );
    }
    if let Some(mode) = auth
        .value
        .mode
        .given()
        .filter(|mode| mode.value != Mode::Enforce)
    {
        let title = format!("`mode: {}` accepts what is not signed", mode.value.name());
        out.warn(
            Finding::at(mode.place, title, "a step of the roll-out").help(
                "anyone on the segment can still take the addresses; end with `mode: enforce`",
            ),
        );
    }
}
