//! Keys of the host: its name, the log, the control socket.

use super::fault::{Finding, Findings, quoted};
use super::keys;
use super::read::{self, Field, Read, Section};
use super::yaml::Node;

/// What the shell needs beyond the agent's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    pub log: LogSettings,
    pub control: ControlSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub(super) const ALL: [(&str, LogLevel); 5] = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];

    /// As in the file, which is also what `tracing` calls it.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl LogFormat {
    pub(super) const ALL: [(&str, LogFormat); 2] =
        [("text", LogFormat::Text), ("json", LogFormat::Json)];

    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Who may use the control socket. Names of groups; whether the host has them
/// is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSettings {
    /// May ask. When absent: the group `vipward` where the host has it,
    /// otherwise nobody but `admin_group`.
    pub read_group: Option<String>,
    /// May ask and change.
    pub admin_group: String,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            log: LogSettings {
                level: LogLevel::Info,
                format: LogFormat::Text,
            },
            control: ControlSettings {
                read_group: None,
                admin_group: "root".to_owned(),
            },
        }
    }
}

/// `log` and `control`.
pub(super) fn settings(top: &Section, out: &mut Findings) -> Option<HostSettings> {
    let default = HostSettings::default();
    let log = match top.node("log") {
        None => Some(default.log),
        Some(node) => log(node, default.log, out),
    };
    let control = match top.node("control") {
        None => Some(default.control),
        Some(node) => control(node, default.control, out),
    };
    Some(HostSettings {
        log: log?,
        control: control?,
    })
}

fn log(node: &Node, default: LogSettings, out: &mut Findings) -> Option<LogSettings> {
    let section = Section::open(node, &keys::LOG, out)?;
    let level = section.field("level", out, |node| {
        read::one_of(node, "`level`", &LogLevel::ALL)
    });
    let format = section.field("format", out, |node| {
        read::one_of(node, "`format`", &LogFormat::ALL)
    });
    Some(LogSettings {
        level: level.or(default.level)?,
        format: format.or(default.format)?,
    })
}

fn control(node: &Node, default: ControlSettings, out: &mut Findings) -> Option<ControlSettings> {
    let section = Section::open(node, &keys::CONTROL, out)?;
    let read_group = section.field("read_group", out, group);
    let admin_group = section.field("admin_group", out, group);
    Some(ControlSettings {
        read_group: match read_group {
            Field::Absent => default.read_group,
            Field::Bad => None,
            Field::Given(at) => Some(at.value),
        },
        admin_group: admin_group.or(default.admin_group)?,
    })
}

fn group(node: &Node) -> Read<String> {
    let name = read::word(node, "the name of a group")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let sound = !name.is_empty() && name.len() <= 32 && !name.starts_with('-');
    if sound && name.chars().all(allowed) {
        return Ok(name.to_owned());
    }
    let title = format!("{} cannot be the name of a group", quoted(name));
    Err(Finding::at(
        node.place,
        title,
        "write a group that `getent group` shows",
    ))
}

/// `node`, or else the name that the host has.
pub(super) fn node_name(
    top: &Section,
    whole: &Node,
    host_name: &str,
    out: &mut Findings,
) -> Option<String> {
    let given = top.field("node", out, |node| {
        let name = read::word(node, "the name of this host")?;
        if is_node_name(name) {
            return Ok(name.to_owned());
        }
        let title = format!("{} cannot be the name of a host", quoted(name));
        Err(Finding::at(node.place, title, "choose another name").help(NODE_NAME))
    });
    match given {
        Field::Given(at) => Some(at.value),
        Field::Bad => None,
        Field::Absent if is_node_name(host_name) => Some(host_name.to_owned()),
        Field::Absent => {
            let title = format!(
                "`node` is missing, and the host's own name, {}, cannot stand in",
                quoted(host_name)
            );
            out.fault(Finding::at(whole.place, title, "write `node: lb1`").help(NODE_NAME));
            None
        }
    }
}

pub(super) const NODE_NAME: &str = "a name has letters, digits, `-`, `_` and `.`, begins with a letter or digit, \
                         and is at most 253 characters long";

pub(super) fn is_node_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins && name.len() <= 253 && name.chars().all(allowed)
}
