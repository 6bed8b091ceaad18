//! Either program with a load, on one host.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cost;
use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::{agent, tools, write};
use crate::load::{Load, Part};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// With `address_lease: off`.
    Vipward,
    /// With `address_lease: auto`.
    VipwardLeases,
    Keepalived,
}

impl Who {
    pub const ALL: [Self; 3] = [Self::Vipward, Self::VipwardLeases, Self::Keepalived];

    pub fn name(self) -> &'static str {
        match self {
            Self::Vipward => "vipward, no lease",
            Self::VipwardLeases => "vipward, lease auto",
            Self::Keepalived => "keepalived",
        }
    }
}

pub struct Speaker {
    pub who: Who,
    pub started: Instant,
    pub process: Process,
    runtime: PathBuf,
    configuration: PathBuf,
    load: Load,
    priority: u8,
}

/// What a reload adds to the first instance.
pub const ADDED: &str = "10.0.200.1";

impl Speaker {
    pub fn start(host: &Namespace, directory: &Path, who: Who, load: Load, priority: u8) -> Self {
        let directory = directory.join(priority.to_string());
        // In memory, as /run is on every host.
        let runtime = PathBuf::from(format!("/run/vipward-{priority}"));
        let _ = std::fs::remove_dir_all(&runtime);
        for needed in [&directory.join("state"), &runtime] {
            std::fs::create_dir_all(needed).expect("a directory");
        }
        let configuration = directory.join("configuration");
        write(&configuration, &text(who, load, priority, None));
        let mut command = match who {
            Who::Keepalived => {
                let program = tools::keepalived().expect("asked for at the beginning");
                let mut command = host.command(&program);
                command.args(["-n", "-P", "-l", "-f"]).arg(&configuration);
                command.arg("-p").arg(directory.join("pid"));
                command.arg("-r").arg(directory.join("vrrp-pid"));
                command
            }
            Who::Vipward | Who::VipwardLeases => {
                let mut command = host.command(&agent::program());
                command.arg("run").arg("--config").arg(&configuration);
                command.arg("--runtime-dir").arg(&runtime);
                command.arg("--state-dir").arg(directory.join("state"));
                command
            }
        };
        command.env("LC_ALL", "C");
        let started = Instant::now();
        Self {
            who,
            started,
            process: Process::start(&format!("speaker-{priority}"), command, &directory),
            runtime,
            configuration,
            load,
            priority,
        }
    }

    pub fn family(&self) -> Vec<u32> {
        cost::family(self.process.pid())
    }

    /// To all its processes.
    pub fn signal_all(&self, signal: Signal) {
        for pid in self.family() {
            let pid = i32::try_from(pid).expect("a process id");
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Gives the first instance one address more, or takes it away. Returns
    /// when it was told.
    pub fn reload(&self, added: bool) -> Instant {
        let text = text(self.who, self.load, self.priority, added.then_some(ADDED));
        write(&self.configuration, &text);
        let now = Instant::now();
        self.process.signal_alone(Signal::SIGHUP);
        now
    }

    /// `status --json` as a user asks it; `None` where there is no such thing.
    pub fn status(&self) -> Option<Command> {
        if self.who == Who::Keepalived {
            return None;
        }
        let mut command = Command::new(agent::program().path);
        command.args(["status", "--json", "--runtime-dir"]);
        command.arg(&self.runtime);
        Some(command)
    }
}

fn text(who: Who, load: Load, priority: u8, added: Option<&str>) -> String {
    let mut text = match who {
        Who::Keepalived => "global_defs {\n  vrrp_version 3\n}\n".to_owned(),
        Who::Vipward | Who::VipwardLeases => format!("node: n{priority}\ninstances:\n"),
    };
    for part in load.parts() {
        let mut addresses: Vec<String> = part.addresses.iter().map(|a| format!("{a}/32")).collect();
        if part.number == 0 {
            addresses.extend(added.map(|added| format!("{added}/32")));
        }
        match who {
            Who::Keepalived => keepalived(&mut text, &part, &addresses, priority),
            Who::Vipward => vipward(&mut text, &part, &addresses, priority, "off"),
            Who::VipwardLeases => vipward(&mut text, &part, &addresses, priority, "auto"),
        }
    }
    text
}

fn vipward(text: &mut String, part: &Part, addresses: &[String], priority: u8, lease: &str) {
    let (number, interface, vrid) = (part.number, part.interface, part.vrid);
    let _ = writeln!(
        text,
        "  i{number}:\n    interface: e{interface}\n    vrid: {vrid}\n    priority: {priority}\n    \
         address_lease: {lease}\n    addresses:"
    );
    for (count, address) in addresses.iter().enumerate() {
        let _ = match count < part.advertised || addresses.len() <= 2 {
            true => writeln!(text, "      - {address}"),
            false => writeln!(text, "      - {{ address: {address}, advertise: false }}"),
        };
    }
}

fn keepalived(text: &mut String, part: &Part, addresses: &[String], priority: u8) {
    let (number, interface, vrid) = (part.number, part.interface, part.vrid);
    let _ = writeln!(
        text,
        "vrrp_instance i{number} {{\n  state BACKUP\n  interface e{interface}\n  \
         virtual_router_id {vrid}\n  priority {priority}\n  version 3\n  advert_int 1\n  \
         virtual_ipaddress {{"
    );
    let split = match addresses.len() {
        0..=2 => addresses.len(),
        _ => part.advertised,
    };
    let (listed, others) = addresses.split_at(split);
    for address in listed {
        let _ = writeln!(text, "    {address}");
    }
    if !others.is_empty() {
        text.push_str("  }\n  virtual_ipaddress_excluded {\n");
        for address in others {
            let _ = writeln!(text, "    {address}");
        }
    }
    text.push_str("  }\n}\n");
}
