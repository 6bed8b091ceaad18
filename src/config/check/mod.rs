//! `checks` of the top level: what each asks, how often, and how many results
//! decide.

mod combination;
mod http;
mod kind;
mod local;
pub(super) mod print;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::jobs::CheckName;
use crate::agent::settings::{CheckSettings, CheckSource, OnFail};
use crate::agent::status::CheckState;
use crate::agent::values::InterfaceName;

use super::address;
use super::command::{self, Written};
use super::fault::{Finding, Findings, Place, quoted};
use super::health;
use super::instance::{self, is_name};
use super::keys;
use super::read::{self, At, Field, Read, Section};
use super::work::Script;
use super::work::parse;
use super::work::probe::{Probe, ProbeKind};
use super::yaml::Node;
pub(super) use combination::MEMBERS_MAX;
use kind::Kind;
pub(super) use local::{COUNT_MAX, ERRORS_MAX};
use text::{absolute, by};

/// As many as their runners take orders for.
const CHECKS_MAX: usize = 1000;

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Or the interval, where that is shorter.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const RISE_DEFAULT: u8 = 2;
const FALL_DEFAULT: u8 = 3;

/// The checks that are written, by name.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub drafts: BTreeMap<String, Draft>,
    /// Every name could be read.
    pub whole: bool,
}

impl Checks {
    /// Those that some instance names, itself or by way of others, by name.
    pub fn used<'a>(&'a self, drafts: &'a [instance::Draft]) -> impl Iterator<Item = &'a Sound> {
        let names = self.names(drafts);
        let used = self
            .drafts
            .iter()
            .filter(move |(name, _)| names.contains(name.as_str()));
        used.filter_map(|(_, draft)| draft.sound.as_ref())
    }

    pub fn unused<'a>(&'a self, drafts: &[instance::Draft]) -> Vec<(&'a str, Place)> {
        let names = self.names(drafts);
        let unused = self
            .drafts
            .iter()
            .filter(|(name, _)| !names.contains(name.as_str()));
        unused
            .map(|(name, draft)| (name.as_str(), draft.place))
            .collect()
    }

    fn names<'a>(&'a self, drafts: &'a [instance::Draft]) -> BTreeSet<&'a str> {
        let mut names = BTreeSet::new();
        let uses = drafts.iter().flat_map(health::of);
        let mut open: Vec<&str> = uses.map(|item| item.name.value.as_str()).collect();
        while let Some(name) = open.pop() {
            if names.insert(name) {
                let members = combination::members_of(self, name).unwrap_or_default();
                open.extend(members.iter().map(|member| member.value.as_str()));
            }
        }
        names
    }
}

/// One check, where its name stands; nothing when a fault was noted.
#[derive(Debug)]
pub(super) struct Draft {
    pub place: Place,
    pub sound: Option<Sound>,
}

impl Draft {
    pub fn is_file(&self) -> bool {
        let sound = self.sound.as_ref();
        sound.is_some_and(|sound| matches!(sound.task, Task::File(_)))
    }

    pub fn on_fail(&self) -> Option<OnFail> {
        self.sound.as_ref().map(|sound| sound.settings.on_fail)
    }
}

#[derive(Debug)]
pub(super) struct Sound {
    pub settings: CheckSettings,
    pub task: Task,
    /// The time-out, and `on_fail`, where they are written.
    pub timeout: Option<Place>,
    pub on_fail: Option<Place>,
}

/// What is run for it, if anything.
#[derive(Clone, Debug)]
pub(super) enum Task {
    Interface(InterfaceName),
    Script(Written),
    /// With the place of its target.
    Probe(Probe, Place),
    File(PathBuf),
    Combination(combination::Written),
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
    combination::judge(&checks, out);
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
    let kind = Kind::of(&section, name, place, out)?;
    let fitting = kind.fits(&section, out);
    let initial = section.field("initial", out, |node| {
        let choices = [("up", CheckState::Up), ("down", CheckState::Down)];
        read::one_of(node, "`initial`", &choices)
    });
    let on_fail = section.field("on_fail", out, |node| {
        let choices = [OnFail::Fault, OnFail::Handover].map(|choice| (choice.name(), choice));
        read::one_of(node, "`on_fail`", &choices)
    });
    let name = CheckName::new(name);
    let times = Times::read(&section, out);
    let task = task(&section, (kind, place), times.limit(), out);
    let task = task.filter(|_| fitting)?;
    let mut settings = match source(&task) {
        source @ CheckSource::Elsewhere { .. } => times.settings(name, source)?,
        source @ (CheckSource::Interface(_)
        | CheckSource::File(_)
        | CheckSource::Combination(_)) => follows(name, source),
    };
    settings.initial = command::optional(&initial)?;
    settings.on_fail = on_fail.or(OnFail::Fault)?;
    Some(Sound {
        settings,
        task,
        timeout: times.timeout.given().map(|at| at.place),
        on_fail: on_fail.given().map(|at| at.place),
    })
}

/// When something is run, and what its results amount to.
struct Times {
    interval: Field<Duration>,
    timeout: Field<Duration>,
    rise: Field<u8>,
    fall: Field<u8>,
}

impl Times {
    fn read(section: &Section, out: &mut Findings) -> Self {
        let interval = command::span(section, "interval", INTERVAL, out);
        let timeout = command::span(section, "timeout", TIMEOUT, out);
        let count = |key: &str, out: &mut Findings| {
            section.field(key, out, |node| {
                read::integer(node, &format!("`{key}`"), 1..=255)
            })
        };
        Self {
            interval,
            timeout,
            rise: count("rise", out),
            fall: count("fall", out),
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let every = self.interval.or(INTERVAL_DEFAULT);
        let default = TIMEOUT_DEFAULT.min(every.unwrap_or(TIMEOUT_DEFAULT));
        self.timeout.or(default)
    }

    /// For a task that comes to nothing where there is none.
    fn limit(&self) -> Duration {
        self.timeout().unwrap_or(TIMEOUT_DEFAULT)
    }

    fn settings(&self, name: CheckName, source: CheckSource) -> Option<CheckSettings> {
        Some(CheckSettings {
            interval: self.interval.or(INTERVAL_DEFAULT)?,
            timeout: self.timeout()?,
            rise: self.rise.or(RISE_DEFAULT)?,
            fall: self.fall.or(FALL_DEFAULT)?,
            ..follows(name, source)
        })
    }
}

/// Nothing is run, so the times stand for nothing.
pub(super) fn follows(name: CheckName, source: CheckSource) -> CheckSettings {
    CheckSettings {
        name,
        source,
        interval: INTERVAL_DEFAULT,
        timeout: TIMEOUT_DEFAULT,
        rise: 1,
        fall: 1,
        initial: None,
        on_fail: OnFail::Fault,
    }
}

/// What is of `kind`, named at `place`.
fn task(
    section: &Section,
    (kind, place): (Kind, Place),
    timeout: Duration,
    out: &mut Findings,
) -> Option<Task> {
    let key = kind.key();
    let probe = |(kind, place)| Task::Probe(Probe { kind, timeout }, place);
    Some(match kind {
        Kind::Script => {
            let words = section.field(key, out, |node| command::words(node, key));
            let user = section.field("user", out, command::user);
            let words = words.given()?.value.clone();
            Task::Script(Written {
                script: Script {
                    command: words.iter().map(|word| word.value.clone()).collect(),
                    user: command::optional(&user)?,
                    timeout,
                },
                words,
            })
        }
        Kind::Tcp => {
            let target = section.field(key, out, |node| by(node, "a host and a port", parse::tcp));
            let At { value, place } = target.given()?.clone();
            probe((ProbeKind::Tcp { target: value }, place))
        }
        Kind::Http => {
            let (http, place) = http::probe(section, out)?;
            probe((ProbeKind::Http(http), place))
        }
        Kind::Process
        | Kind::Systemd
        | Kind::Arp
        | Kind::Ping
        | Kind::Dns
        | Kind::Disk
        | Kind::Pressure
        | Kind::LinkErrors => probe(local::probe(section, kind, place, out)?),
        Kind::Interface => {
            let interface = section.field(key, out, address::interface);
            Task::Interface(interface.given()?.value)
        }
        Kind::File => {
            let path = section.field(key, out, absolute);
            Task::File(path.given()?.value.clone())
        }
        Kind::Any | Kind::All | Kind::AtLeast => {
            Task::Combination(combination::read(section, kind, out)?)
        }
    })
}

pub(super) fn source(task: &Task) -> CheckSource {
    match task {
        Task::Interface(interface) => CheckSource::Interface(*interface),
        Task::File(path) => CheckSource::File(path.clone()),
        Task::Combination(written) => written.source(),
        Task::Script(_) | Task::Probe(..) => CheckSource::Elsewhere {
            question: question(task),
        },
    }
}

/// Equal when the same is asked. Debug output quotes texts, so two questions
/// cannot run into one.
fn question(task: &Task) -> String {
    match task {
        Task::Interface(_) | Task::File(_) | Task::Combination(_) => String::new(),
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
