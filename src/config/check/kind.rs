//! Of which kind a check is, and which options that kind has.

use crate::config::fault::{Finding, Findings, Place, quoted};
use crate::config::read::Section;
use crate::config::yaml::Node;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Script,
    Tcp,
    Http,
    Interface,
    Process,
    Systemd,
    Arp,
    Ping,
    Dns,
    Disk,
    Pressure,
    LinkErrors,
    File,
    Any,
    All,
    AtLeast,
}

/// How a check comes to its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Asked again and again.
    Run,
    /// Nothing is run: why not, and of what.
    Followed {
        of: &'static str,
        because: &'static str,
    },
}

/// For those that are run.
const TIMES: [&str; 4] = ["interval", "timeout", "rise", "fall"];

const PAGES: &str = "only a web server is asked for a page";
const LIMITS: &str = "nothing else is measured against a limit of that name";

/// Options, whose they are, and why nobody else's. `interface` is a kind where
/// it stands alone.
const OPTIONS: [(&str, &[Kind], &str); 14] = [
    ("status", &[Kind::Http], PAGES),
    ("host", &[Kind::Http], PAGES),
    ("ca", &[Kind::Http], PAGES),
    ("insecure", &[Kind::Http], PAGES),
    ("pid_file", &[Kind::Process], "nothing else is a process"),
    ("min", &[Kind::Process], "nothing else is counted"),
    ("max", &[Kind::Process], "nothing else is counted"),
    (
        "server",
        &[Kind::Dns],
        "the others ask the host's own resolver",
    ),
    (
        "expect",
        &[Kind::Dns],
        "nothing else is resolved to be compared",
    ),
    ("free", &[Kind::Disk], LIMITS),
    ("inodes", &[Kind::Disk], LIMITS),
    ("stalled", &[Kind::Pressure], LIMITS),
    ("average", &[Kind::Pressure], LIMITS),
    ("above", &[Kind::Pressure, Kind::LinkErrors], LIMITS),
];

impl Kind {
    const ALL: [Kind; 16] = [
        Kind::Script,
        Kind::Tcp,
        Kind::Http,
        Kind::Interface,
        Kind::Process,
        Kind::Systemd,
        Kind::Arp,
        Kind::Ping,
        Kind::Dns,
        Kind::Disk,
        Kind::Pressure,
        Kind::LinkErrors,
        Kind::File,
        Kind::Any,
        Kind::All,
        Kind::AtLeast,
    ];

    /// As in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Script => "script",
            Kind::Tcp => "tcp",
            Kind::Http => "http",
            Kind::Interface => "interface",
            Kind::Process => "process",
            Kind::Systemd => "systemd",
            Kind::Arp => "arp",
            Kind::Ping => "ping",
            Kind::Dns => "dns",
            Kind::Disk => "disk",
            Kind::Pressure => "pressure",
            Kind::LinkErrors => "link_errors",
            Kind::File => "file",
            Kind::Any => "any",
            Kind::All => "all",
            Kind::AtLeast => "at_least",
        }
    }

    /// Where it says that it is of this kind. A pid file alone does, too.
    fn node<'n>(self, section: &Section<'n>) -> Option<&'n Node> {
        let node = section.node(self.key());
        if self == Kind::Process {
            return node.or_else(|| section.node("pid_file"));
        }
        node
    }

    fn way(self) -> Way {
        match self {
            Kind::Script
            | Kind::Tcp
            | Kind::Http
            | Kind::Process
            | Kind::Systemd
            | Kind::Arp
            | Kind::Ping
            | Kind::Dns
            | Kind::Disk
            | Kind::Pressure
            | Kind::LinkErrors => Way::Run,
            Kind::Interface => Way::Followed {
                of: "an interface",
                because: "the kernel says at once when the interface goes or returns",
            },
            Kind::File => Way::Followed {
                of: "a file",
                because: "the kernel says at once when the file changes",
            },
            Kind::Any | Kind::All | Kind::AtLeast => Way::Followed {
                of: "other checks",
                because: "it is what its members amount to, at once",
            },
        }
    }

    /// Exactly one. What a check of no kind lacks is noted.
    pub fn of(section: &Section, name: &str, place: Place, out: &mut Findings) -> Option<Self> {
        let by_interface = [Kind::Arp, Kind::Ping];
        let by_interface = by_interface.iter().any(|kind| kind.node(section).is_some());
        let given: Vec<(Kind, &Node)> = Self::ALL
            .into_iter()
            .filter(|kind| *kind != Kind::Interface || !by_interface)
            .filter_map(|kind| Some((kind, kind.node(section)?)))
            .collect();
        let name = quoted(name);
        match given.as_slice() {
            [(kind, _)] => Some(*kind),
            [] => {
                // A misspelt or later kind is a fault already.
                if !section.refused_any() {
                    let title = format!("check {name} does not say what to ask");
                    let kinds = Self::ALL.map(|kind| format!("`{}`", kind.key()));
                    out.fault(Finding::at(place, title, "write what").help(format!(
                        "such as `{{ tcp: \"127.0.0.1:5432\" }}`; there are {}",
                        kinds.join(", ")
                    )));
                }
                None
            }
            [(first, at), (second, again), ..] => {
                let title = format!("check {name} is of two kinds");
                let (first, second) = (first.key(), second.key());
                out.fault(
                    Finding::at(again.place, title, format!("`{second}` asks one thing"))
                        .see(at.place, format!("and `{first}` another"))
                        .help("make two checks of it, and list both in the instance"),
                );
                None
            }
        }
    }

    /// Whether every option is one of this kind.
    pub fn fits(self, section: &Section, out: &mut Findings) -> bool {
        let mut fits = true;
        let mut refuse = |key: &str, why: &str, help: &str| {
            if let Some(node) = section.node(key) {
                let title = format!("`{key}` {why}");
                out.fault(Finding::at(node.place, title, "remove it").help(help));
                fits = false;
            }
        };
        match self.way() {
            Way::Run if self == Kind::Script => {}
            Way::Run if matches!(self, Kind::Tcp | Kind::Http) => refuse(
                "user",
                "is for scripts",
                "vipward itself makes the connection",
            ),
            Way::Run => refuse("user", "is for scripts", "vipward itself asks"),
            Way::Followed { of, because } => {
                for key in TIMES.into_iter().chain(["user"]) {
                    let why = format!("is not for a check of {of}");
                    refuse(key, &why, &format!("nothing is run for it: {because}"));
                }
            }
        }
        if self == Kind::File {
            let help =
                "its number is added to the priority, whatever it is; without one nothing is";
            for key in ["initial", "on_fail"] {
                refuse(key, "is for what passes or fails", help);
            }
        }
        for (key, kinds, because) in OPTIONS {
            if !kinds.contains(&self) {
                let names: Vec<String> = kinds.iter().map(|k| format!("`{}`", k.key())).collect();
                let why = format!("is for checks of the kind {}", names.join(" or "));
                refuse(key, &why, because);
            }
        }
        fits
    }
}
