//! `checks` of the top level: what each asks, how often, and how many results
//! decide.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::jobs::CheckName;
use crate::agent::settings::{CheckSettings, CheckSource};
use crate::agent::status::CheckState;
use crate::agent::values::InterfaceName;

use super::address;
use super::command::{self, Written};
use super::fault::{Finding, Findings, Place, quoted};
use super::health;
use super::instance::{self, is_name};
use super::keys;
use super::read::{self, At, Read, Section};
use super::work::Script;
use super::work::parse::{self, BadValue};
use super::work::probe::{HttpProbe, HttpUrl, Probe, ProbeKind, Trust};
use super::yaml::{Node, Value};

/// As many as their runners take orders for.
const CHECKS_MAX: usize = 1000;
const STATUS_ITEMS_MAX: usize = 50;
const TARGET_BYTES_MAX: usize = 2000;

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Or the interval, where that is shorter.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const RISE_DEFAULT: u8 = 2;
const FALL_DEFAULT: u8 = 3;

const KINDS: [&str; 4] = ["script", "tcp", "http", "interface"];
const HTTP_OPTIONS: [&str; 4] = ["status", "host", "ca", "insecure"];

/// The checks that are written, by name.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub drafts: BTreeMap<String, Draft>,
    /// Every name could be read.
    pub whole: bool,
}

impl Checks {
    /// Those that some instance names, by name.
    pub fn used<'a>(&'a self, drafts: &'a [instance::Draft]) -> impl Iterator<Item = &'a Sound> {
        let names = names(drafts);
        let used = self
            .drafts
            .iter()
            .filter(move |(name, _)| names.contains(name.as_str()));
        used.filter_map(|(_, draft)| draft.sound.as_ref())
    }

    pub fn unused<'a>(&'a self, drafts: &[instance::Draft]) -> Vec<(&'a str, Place)> {
        let names = names(drafts);
        let unused = self
            .drafts
            .iter()
            .filter(|(name, _)| !names.contains(name.as_str()));
        unused
            .map(|(name, draft)| (name.as_str(), draft.place))
            .collect()
    }
}

fn names(drafts: &[instance::Draft]) -> BTreeSet<&str> {
    let uses = drafts.iter().flat_map(health::of);
    uses.map(|item| item.name.value.as_str()).collect()
}

/// One check, where its name stands; nothing when a fault was noted.
#[derive(Debug)]
pub(super) struct Draft {
    pub place: Place,
    pub sound: Option<Sound>,
}

#[derive(Debug)]
pub(super) struct Sound {
    pub settings: CheckSettings,
    pub task: Task,
    /// The time-out, where it is written.
    pub timeout: Option<Place>,
}

/// What is run for it, if anything.
#[derive(Clone, Debug)]
pub(super) enum Task {
    Interface,
    Script(Written),
    /// With the place of its target.
    Probe(Probe, Place),
}

/// Reads every check; absent is none.
pub(super) fn checks(node: Option<&Node>, out: &mut Findings) -> Checks {
    let Some(node) = node else {
        return Checks {
            whole: true,
            ..Checks::default()
        };
    };
    let Some(entries) = read::entries(node, "`checks`", out) else {
        return Checks::default();
    };
    if entries.len() > CHECKS_MAX {
        let title = format!("{} checks", entries.len());
        out.fault(
            Finding::at(node.place, title, format!("{CHECKS_MAX} are the most"))
                .help("one check may serve any number of instances"),
        );
        return Checks::default();
    }
    let mut checks = Checks {
        whole: true,
        ..Checks::default()
    };
    for (name, place, node) in read::unique(entries, out) {
        let named = out.keep(check_name(name, place));
        let sound = sound(name, place, node, out).filter(|_| named.is_some());
        checks
            .drafts
            .insert(name.to_owned(), Draft { place, sound });
    }
    checks
}

fn check_name(name: &str, place: Place) -> Read<()> {
    if is_name(name) {
        return Ok(());
    }
    let title = format!("{} cannot be the name of a check", quoted(name));
    Err(Finding::at(place, title, "choose another name").help(
        "a name has letters, digits, `-`, `_` and `.`, begins with a letter or digit, and is at most \
         64 characters long",
    ))
}

fn sound(name: &str, place: Place, node: &Node, out: &mut Findings) -> Option<Sound> {
    let section = Section::open(node, &keys::CHECK, out)?;
    let kind = kind(&section, name, place, out)?;
    let fitting = fitting(&section, kind, out);
    let initial = section.field("initial", out, |node| {
        let choices = [("up", CheckState::Up), ("down", CheckState::Down)];
        read::one_of(node, "`initial`", &choices)
    });
    let initial = command::optional(&initial);
    let name = CheckName::new(name);
    if kind == "interface" {
        let interface = section.field(kind, out, address::interface);
        let interface = interface.given().filter(|_| fitting)?.value;
        return Some(Sound {
            settings: follows(name, interface, initial?),
            task: Task::Interface,
            timeout: None,
        });
    }
    let interval = command::span(&section, "interval", INTERVAL, out);
    let timeout = command::span(&section, "timeout", TIMEOUT, out);
    let count = |key: &str, out: &mut Findings| {
        section.field(key, out, |node| {
            read::integer(node, &format!("`{key}`"), 1..=255)
        })
    };
    let (rise, fall) = (count("rise", out), count("fall", out));
    let written = timeout.given().map(|at| at.place);
    let every = interval.or(INTERVAL_DEFAULT);
    let timeout = timeout.or(TIMEOUT_DEFAULT.min(every.unwrap_or(TIMEOUT_DEFAULT)));
    let task = task(&section, kind, timeout.unwrap_or(TIMEOUT_DEFAULT), out);
    let task = task.filter(|_| fitting)?;
    Some(Sound {
        settings: CheckSettings {
            name,
            source: CheckSource::Elsewhere {
                question: question(&task),
            },
            interval: every?,
            timeout: timeout?,
            rise: rise.or(RISE_DEFAULT)?,
            fall: fall.or(FALL_DEFAULT)?,
            initial: initial?,
        },
        task,
        timeout: written,
    })
}

/// Nothing is run, so the times stand for nothing.
pub(super) fn follows(
    name: CheckName,
    interface: InterfaceName,
    initial: Option<CheckState>,
) -> CheckSettings {
    CheckSettings {
        name,
        source: CheckSource::Interface(interface),
        interval: INTERVAL_DEFAULT,
        timeout: TIMEOUT_DEFAULT,
        rise: 1,
        fall: 1,
        initial,
    }
}

/// Exactly one.
fn kind(section: &Section, name: &str, place: Place, out: &mut Findings) -> Option<&'static str> {
    let given: Vec<(&'static str, &Node)> = KINDS
        .into_iter()
        .filter_map(|kind| Some((kind, section.node(kind)?)))
        .collect();
    let name = quoted(name);
    match given.as_slice() {
        [(kind, _)] => Some(kind),
        [] => {
            // A misspelt or later kind is a fault already.
            if !section.refused_any() {
                let title = format!("check {name} does not say what to ask");
                out.fault(
                    Finding::at(place, title, "write `script`, `tcp`, `http` or `interface`")
                        .help("such as `{ tcp: \"127.0.0.1:5432\" }` or `{ script: [/usr/local/lib/check-web] }`"),
                );
            }
            None
        }
        [(first, at), (second, again), ..] => {
            let title = format!("check {name} is of two kinds");
            out.fault(
                Finding::at(again.place, title, format!("`{second}` asks one thing"))
                    .see(at.place, format!("and `{first}` another"))
                    .help("make two checks of it, and list both in the instance"),
            );
            None
        }
    }
}

/// Whether every option is one of `kind`.
fn fitting(section: &Section, kind: &str, out: &mut Findings) -> bool {
    let mut fitting = true;
    let mut refuse = |key: &str, why: &str, help: &str| {
        if let Some(node) = section.node(key) {
            let title = format!("`{key}` {why}");
            out.fault(Finding::at(node.place, title, "remove it").help(help));
            fitting = false;
        }
    };
    if kind == "interface" {
        for key in ["interval", "timeout", "rise", "fall", "user"] {
            refuse(
                key,
                "is not for a check of an interface",
                "nothing is run for it: the kernel says at once when the interface goes or returns",
            );
        }
    } else if kind != "script" {
        refuse(
            "user",
            "is for scripts",
            "vipward itself makes the connection",
        );
    }
    if kind != "http" {
        for key in HTTP_OPTIONS {
            refuse(
                key,
                "is for checks of the kind `http`",
                "only a web server is asked for a page",
            );
        }
    }
    fitting
}

fn task(section: &Section, kind: &str, timeout: Duration, out: &mut Findings) -> Option<Task> {
    match kind {
        "script" => {
            let words = section.field(kind, out, |node| command::words(node, kind));
            let user = section.field("user", out, command::user);
            let words = words.given()?.value.clone();
            Some(Task::Script(Written {
                script: Script {
                    command: words.iter().map(|word| word.value.clone()).collect(),
                    user: command::optional(&user)?,
                    timeout,
                },
                words,
            }))
        }
        "tcp" => {
            let target = section.field(kind, out, |node| by(node, "a host and a port", parse::tcp));
            let At { value, place } = target.given()?.clone();
            let kind = ProbeKind::Tcp { target: value };
            Some(Task::Probe(Probe { kind, timeout }, place))
        }
        _ => {
            let (probe, place) = http(section, out)?;
            let kind = ProbeKind::Http(probe);
            Some(Task::Probe(Probe { kind, timeout }, place))
        }
    }
}

fn http(section: &Section, out: &mut Findings) -> Option<(HttpProbe, Place)> {
    let url = section.field("http", out, |node| by(node, "a URL", parse::http));
    let status = section.field("status", out, status);
    let host = section.field("host", out, |node| by(node, "a host's name", parse::host));
    let ca = section.field("ca", out, absolute);
    let insecure = section.field("insecure", out, read::boolean);
    let tls = url.given().is_none_or(|url| url.value.tls());
    let mut sound = true;
    for (key, place) in [
        ("ca", ca.given().map(|at| at.place)),
        ("insecure", insecure.given().map(|at| at.place)),
    ] {
        if let Some(place) = place.filter(|_| !tls) {
            let title = format!("`{key}` with a URL that is not https");
            out.fault(
                Finding::at(place, title, "remove it, or write `https://`")
                    .help("without TLS there is no certificate to trust"),
            );
            sound = false;
        }
    }
    let anyone = insecure.given().filter(|at| at.value);
    if let (Some(ca), Some(anyone)) = (ca.given(), anyone) {
        out.fault(
            Finding::at(
                anyone.place,
                "`insecure` accepts what `ca` would refuse",
                "remove one",
            )
            .see(ca.place, "only these authorities"),
        );
        sound = false;
    }
    let trust = match (command::optional(&ca)?, insecure.or(false)?) {
        (_, true) => Trust::Anyone,
        (Some(file), false) => Trust::File(file),
        (None, false) => Trust::System,
    };
    let url: &At<HttpUrl> = url.given().filter(|_| sound)?;
    let default = HttpProbe::new(url.value.clone());
    let probe = HttpProbe {
        status: status.or(default.status.clone())?,
        host: command::optional(&host)?,
        trust,
        ..default
    };
    Some((probe, url.place))
}

/// Plain printable text, read by one of the parsers.
fn by<T>(node: &Node, wanted: &str, parser: fn(&str) -> Result<T, BadValue>) -> Read<T> {
    let scalar = read::scalar(node, wanted)?;
    let text = scalar.text.trim();
    if text.len() > TARGET_BYTES_MAX || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let title = format!("{} is not {wanted}", quoted(text));
        let label = "write it in ASCII";
        return Err(Finding::at(node.place, title, label).help(format!(
            "at most {TARGET_BYTES_MAX} characters; other letters are written as `%C3%A9` in a URL \
             and as `xn--...` in a host's name"
        )));
    }
    parser(text).map_err(|bad| Finding::at(node.place, bad.what, bad.remedy))
}

/// A number or range, or a list of them.
fn status(node: &Node) -> Read<Vec<RangeInclusive<u16>>> {
    let one = |node: &Node| by(node, "an HTTP status", parse::status_range);
    let Value::List(items) = &node.value else {
        return Ok(vec![one(node)?]);
    };
    if items.is_empty() || items.len() > STATUS_ITEMS_MAX {
        let title = format!("`status` lists {} ranges", items.len());
        let label = format!("write 1 to {STATUS_ITEMS_MAX}, such as `200-299`");
        return Err(Finding::at(node.place, title, label));
    }
    items.iter().map(one).collect()
}

fn absolute(node: &Node) -> Read<PathBuf> {
    let path = read::word(node, "the path of a file")?;
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(PathBuf::from(path));
    }
    let title = format!("{} is not an absolute path", quoted(path));
    Err(Finding::at(
        node.place,
        title,
        "write where the file is, from / on",
    ))
}

/// Equal when the same is asked. Debug output quotes texts, so two questions
/// cannot run into one.
pub(super) fn question(task: &Task) -> String {
    match task {
        Task::Interface => String::new(),
        Task::Script(written) => {
            let Script {
                command,
                user,
                timeout: _,
            } = &written.script;
            format!("script {command:?} as {user:?}")
        }
        Task::Probe(probe, _) => format!("{:?}", probe.kind),
    }
}
