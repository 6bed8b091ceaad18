//! Keys of the host: its name, the log, the control socket, the metrics.

use std::net::{Ipv4Addr, SocketAddr};

use super::fault::{Finding, Findings, Place, quoted};
use super::keys;
use super::listen;
use super::read::{self, Field, Read, Section};
use super::yaml::Node;

/// What the shell needs beyond the agent's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    pub log: LogSettings,
    pub control: ControlSettings,
    /// `None`: nothing listens.
    pub metrics: Option<MetricsSettings>,
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

/// Where metrics and the page are served over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    pub listen: SocketAddr,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), METRICS_PORT),
        }
    }
}

const METRICS_PORT: u16 = 9852;

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
            metrics: None,
        }
    }
}

/// `log`, `control` and `metrics`.
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
    let metrics = match top.node("metrics") {
        None => Some(default.metrics),
        Some(node) => metrics(node, out).map(Some),
    };
    Some(HostSettings {
        log: log?,
        control: control?,
        metrics: metrics?,
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

fn metrics(node: &Node, out: &mut Findings) -> Option<MetricsSettings> {
    let section = Section::open(node, &keys::METRICS, out)?;
    let usual = MetricsSettings::default();
    let help = "whoever asks must know the port, so it cannot be left to the kernel";
    let listen = section.field("listen", out, |node| {
        let listen = listen::address(node, usual.listen, help)?;
        if listen.ip().is_multicast() {
            let title = format!("{} is a group of hosts, and no host's address", listen.ip());
            let label = format!("write \"{}\"", usual.listen);
            return Err(Finding::at(node.place, title, label));
        }
        Ok(listen)
    });
    if let Field::Given(at) = &listen
        && !at.value.ip().is_loopback()
    {
        out.warn(shown_to_others(at.value, at.place, usual.listen));
    }
    Some(MetricsSettings {
        listen: listen.or(usual.listen)?,
    })
}

fn shown_to_others(listen: SocketAddr, place: Place, usual: SocketAddr) -> Finding {
    let title = format!("{listen} is within the reach of other hosts");
    Finding::at(place, title, "nobody is asked who they are").help(format!(
        "what is served there can be read and not changed; it names hosts, addresses and what checks \
         print. Let a firewall admit only who may read it, or write \"{usual}\""
    ))
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
