//! `vipward validate`: judges a configuration. Reads files alone, and touches
//! neither the network nor a running agent.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{Table, presets};

use crate::agent::election;
use crate::agent::jobs::HookKind;
use crate::agent::settings::InstanceSettings;
use crate::config::work::Script;
use crate::config::{self, Loaded, Style, Warning};
use crate::runner::check_file;

/// Judge a configuration and say how fast each instance fails over
#[derive(Clone, Debug, clap::Args)]
pub struct ValidateArgs {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub file: PathBuf,

    /// Write the effective configuration, defaults filled in, to standard output
    #[arg(long)]
    pub print: bool,

    /// Judge and print as this node would, by its name
    ///
    /// Whether its scripts and keys are there can only be seen on that node,
    /// and is not looked at.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
}

/// Exit code 0: sound, warnings or not. 1: every fault is on standard error.
pub fn run(args: &ValidateArgs) -> ExitCode {
    let stderr = std::io::stderr();
    let style = match stderr.is_terminal() {
        true => Style::Coloured,
        false => Style::Plain,
    };
    let (code, out, err) = verdict(args, style);
    let written = write(&mut stderr.lock(), &err).and(write(&mut std::io::stdout().lock(), &out));
    match written {
        Ok(()) => code,
        // The output ended in a full disk, say; whatever reads it has half.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Exit code, standard output, standard error.
fn verdict(args: &ValidateArgs, style: Style) -> (ExitCode, String, String) {
    let judged = config::load_as(&args.file, args.node.as_deref());
    let judged = match args.node {
        Some(_) => judged,
        None => judged
            .and_then(|loaded| config::inspect_scripts(&loaded, &inspect).map(|()| loaded))
            .and_then(|loaded| config::read_keys(&loaded).map(|_| loaded)),
    };
    let judged = judged.and_then(|loaded| {
        let out = match args.print {
            true => loaded.effective()?,
            false => report(&loaded, args.node.is_some()),
        };
        Ok((loaded, out))
    });
    match judged {
        Err(faults) => {
            let faults = faults.render(style) + "\n";
            (ExitCode::FAILURE, String::new(), faults)
        }
        Ok((loaded, out)) => {
            let own = match args.node {
                Some(_) => Vec::new(),
                None => for_the_service(&loaded),
            };
            let warnings = warnings(loaded.warnings.iter().chain(&own), style);
            (ExitCode::SUCCESS, out, warnings)
        }
    }
}

/// As the runner will judge it, which starts with root's rights unless we have
/// none.
pub(super) fn inspect(script: &Script) -> Result<(), String> {
    let root = nix::unistd::geteuid().is_root();
    let user = script.user.as_deref().unwrap_or("nobody");
    let user = nix::unistd::User::from_name(user).ok().flatten();
    let program = script
        .command
        .first()
        .map(Path::new)
        .unwrap_or(Path::new(""));
    check_file::inspect_for(program, root, user.map(|user| user.uid.as_raw()))
        .map_err(|refusal| refusal.to_string())
}

/// A reader that closed the pipe has seen what it wanted.
fn write(to: &mut impl Write, text: &str) -> std::io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Each followed by an empty line.
fn warnings<'a>(warnings: impl Iterator<Item = &'a Warning>, style: Style) -> String {
    let rendered = warnings.map(|warning| warning.render(style) + "\n\n");
    rendered.collect()
}

/// Root reads every key, and the service that a package has installed only its
/// own: what is fine here would be refused there.
fn for_the_service(loaded: &Loaded) -> Vec<Warning> {
    let user = service_user();
    let told = user.map(|user| config::keys_of_others(loaded, user.uid.as_raw(), &user.name));
    told.unwrap_or_default()
}

/// As whom the service runs, where a package has installed it and we are root.
pub(super) fn service_user() -> Option<nix::unistd::User> {
    let user = nix::unistd::User::from_name(config::SERVICE_USER);
    user.ok()
        .flatten()
        .filter(|_| nix::unistd::geteuid().is_root())
}

/// The verdict and the takeover times. `told`: it was asked for another node.
fn report(loaded: &Loaded, told: bool) -> String {
    let instances = &loaded.settings.instances;
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "instance",
        "interface",
        "vrid",
        "version",
        "priority",
        "takeover after silence",
        "after a resignation",
    ]);
    let linked = loaded.settings.cluster.is_some();
    for instance in instances {
        table.add_row(row(instance, linked));
    }
    let files = match loaded.included.len() {
        0 => String::new(),
        included => format!(" with {}", count(included, "included file")),
    };
    let node = match told {
        false => format!("This node ({})", loaded.settings.node),
        true => format!("The node {}", loaded.settings.node),
    };
    format!(
        "{}{files}: OK, {}, {}\n\n{node} as Backup, if no other candidate is better:\n{}\n",
        loaded.path.display(),
        count(instances.len(), "instance"),
        count(loaded.warnings.len(), "warning"),
        table.trim_fmt()
    ) + &demotions(instances)
}

/// What planned moves cost where hooks are awaited.
fn demotions(instances: &[InstanceSettings]) -> String {
    let demoted = instances.iter().filter_map(|instance| {
        let time = |hook| instance.hooks.get(&hook).copied();
        let release = time(HookKind::BeforeRelease)?;
        let active = time(HookKind::BeforeActive).unwrap_or_default();
        let most = seconds(release + active);
        Some(format!(
            "{}: a planned move (handover, drain, stop) demotes the service first, so clients wait \
             for its hooks, up to {most} if the other node's are the same; a stop asks the service \
             manager for that time beyond its TimeoutStopSec\n",
            instance.name
        ))
    });
    let lines: Vec<String> = demoted.collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!("\n{}", lines.concat()),
    }
}

/// `linked`: there is a peer link. With it, as with exactly one unicast peer,
/// the best candidate knows that it is, and need not wait for others.
fn row(instance: &InstanceSettings, linked: bool) -> [String; 7] {
    let interval = instance.advert_interval.as_duration();
    let (version, priority) = (instance.version, instance.priority);
    let skew = election::skew_time(version, priority, interval);
    let patience = interval * u32::from(instance.down_after);
    let knows = linked || instance.unicast_peers.len() == 1;
    let (silence, resignation) = match (priority.is_owner(), knows) {
        (true, _) => ("never Backup: the owner".to_owned(), String::new()),
        (false, true) => (
            seconds(patience + skew.min(interval / 10)),
            "at once".to_owned(),
        ),
        (false, false) => (seconds(patience + skew), seconds(skew)),
    };
    [
        instance.name.to_string(),
        instance.interface.to_string(),
        instance.vrid.to_string(),
        format!("{} {}", version.number(), instance.family.name()),
        priority.to_string(),
        silence,
        resignation,
    ]
}

fn seconds(span: Duration) -> String {
    format!("{:.3} s", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takeover_times_follow_the_arithmetic_of_the_protocol() {
        let text = "instances:\n  \
            a: { interface: eth0, vrid: 1, priority: 100, addresses: [192.0.2.10/24] }\n  \
            b: { interface: eth0, vrid: 2, priority: 254, addresses: [192.0.2.11/24], advert_interval: 100ms, down_after: 2 }\n  \
            c: { interface: eth0, vrid: 3, priority: 1, addresses: [192.0.2.12/24], advert_interval: 2s, version: 2 }\n  \
            d: { interface: eth0, vrid: 4, priority: 255, addresses: [192.0.2.13/24] }\n";
        let loaded = config::parse("t.yaml".as_ref(), text, "lb1").unwrap();
        let times = |index: usize| {
            let [.., silence, resignation] = row(&loaded.settings.instances[index], false);
            (silence, resignation)
        };
        assert_eq!(times(0), ("3.609 s".into(), "0.609 s".into()));
        assert_eq!(times(1), ("0.201 s".into(), "0.001 s".into()));
        assert_eq!(times(2), ("6.996 s".into(), "0.996 s".into()));
        assert_eq!(times(3), ("never Backup: the owner".into(), "".into()));
        assert!(report(&loaded, false).starts_with("t.yaml: OK, 4 instances, "));
    }

    #[test]
    fn what_a_planned_move_costs_is_said() {
        let text = "instances:\n  a: { interface: eth0, vrid: 1, addresses: [192.0.2.10/24], hooks: { \
            before_active: { run: [/bin/true], timeout: 10s }, \
            before_release: { run: [/bin/true], timeout: 5s } } }\n  \
            b: { interface: eth0, vrid: 2, addresses: [192.0.2.11/24] }\n";
        let loaded = config::parse("t.yaml".as_ref(), text, "lb1").unwrap();
        let out = report(&loaded, false);
        assert!(
            out.contains("a: a planned move") && out.contains("15.000 s"),
            "{out}"
        );
        assert!(!out.contains("b: a planned move"), "{out}");
    }

    #[test]
    fn a_candidate_that_knows_itself_the_best_waits_for_no_other() {
        let cluster = "cluster: { key_file: k, nodes: { lb1: [10.0.0.1], lb2: [10.0.0.2] } }\n";
        let peers = |peers: &str, rest: &str| {
            let text = format!(
                "instances: {{ a: {{ interface: eth0, vrid: 1, addresses: [192.0.2.10/24], \
                 unicast_peers: [{peers}] }}, b: {{ interface: eth0, vrid: 2, priority: 254, \
                 addresses: [192.0.2.11/24], unicast_peers: [{peers}] }} }}\n{rest}"
            );
            let loaded = config::parse("t.yaml".as_ref(), &text, "lb1").unwrap();
            let out = report(&loaded, false);
            let times = out
                .lines()
                .filter(|line| line.starts_with(" a") || line.starts_with(" b"));
            let words = times.map(|line| {
                line.split_whitespace()
                    .skip(6)
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            words.collect::<Vec<_>>()
        };
        let knowing = ["3.100 s at once", "3.008 s at once"];
        assert_eq!(peers("", cluster), knowing);
        assert_eq!(peers("192.0.2.2", ""), knowing);
        assert_eq!(peers("192.0.2.2, 192.0.2.3", cluster), knowing);
        let unknowing = ["3.609 s 0.609 s", "3.008 s 0.008 s"];
        assert_eq!(peers("", ""), unknowing);
        assert_eq!(peers("192.0.2.2, 192.0.2.3", ""), unknowing);
    }

    #[test]
    fn the_file_defaults_to_the_installed_one() {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            args: ValidateArgs,
        }
        let parse = |words: &[&str]| <Command as clap::Parser>::parse_from(words).args;
        let args = parse(&["validate"]);
        assert_eq!(args.file, PathBuf::from("/etc/vipward/config.yaml"));
        assert!(!args.print && parse(&["validate", "x.yaml", "--print"]).print);
    }

    #[test]
    fn another_node_is_judged_by_its_name_and_without_its_files() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("config.yaml");
        let text = "include: c.yaml\ninstances:\n  web:\n    interface: eth0\n    vrid: 51\n    \
             priority: 150\n    addresses: [192.0.2.10/24]\n    hooks: { active: [/none/here] }\n    \
             nodes: { lb7: { priority: 254 } }\n";
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("c.yaml"), "# nothing\n").unwrap();
        let run = |node: Option<&str>, print: bool| {
            let (file, node) = (file.clone(), node.map(str::to_owned));
            let (code, out, err) = verdict(&ValidateArgs { file, print, node }, Style::Plain);
            (code == ExitCode::SUCCESS, out, err)
        };
        let (success, out, _) = run(Some("lb7"), false);
        assert!(success && out.contains("with 1 included file: OK"), "{out}");
        assert!(out.contains("The node lb7 as Backup"), "{out}");
        assert!(out.contains("3.008 s"), "{out}");
        let (success, out, _) = run(Some("lb7"), true);
        assert!(success && out.contains("node: lb7"), "{out}");
        assert!(out.contains("priority: 254"), "{out}");
        // Nobody knows whether there is such a node.
        let (success, out, err) = run(Some("lb8"), true);
        assert!(success && out.contains("priority: 150"), "{out}");
        assert!(err.contains("did you mean `lb7`?"), "{err}");
        // Here the script is looked for.
        let (success, _, err) = run(None, false);
        assert!(!success && err.contains("/none does not exist"), "{err}");
    }

    #[test]
    fn a_sound_file_exits_0_and_a_faulty_one_1_with_its_faults() {
        let folder = tempfile::TempDir::new().unwrap();
        let run = |text: &str, print: bool| {
            let file = folder.path().join("config.yaml");
            std::fs::write(&file, text).unwrap();
            let node = None;
            let args = ValidateArgs { file, print, node };
            let (code, out, err) = verdict(&args, Style::Plain);
            (
                code == ExitCode::SUCCESS,
                code == ExitCode::from(1),
                out,
                err,
            )
        };
        let sound =
            "instances: { web: { interface: eth0, vrid: 51, addresses: [192.0.2.10/24] } }\n";
        let (success, _, out, err) = run(sound, false);
        assert!(
            success && out.contains("OK, 1 instance, 1 warning"),
            "{out}"
        );
        assert!(
            out.contains("3.609 s") && err.contains("`priority` of instance"),
            "{err}"
        );
        let (success, _, out, _) = run(sound, true);
        assert!(success && out.contains("priority: 100"), "{out}");
        // What is printed is a sound file, without the warning.
        let (success, _, again, err) = run(&out, true);
        assert!(success && again == out && err.is_empty(), "{err}");
        let (success, failure, out, err) = run("instances: { web: { vrid: 0 } }\nnod: x\n", false);
        assert!(!success && failure && out.is_empty());
        assert!(
            err.contains("4 faults") && err.contains("config.yaml:1:27"),
            "{err}"
        );
    }
}
