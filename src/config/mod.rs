//! The YAML file: reading, judging, printing.
//!
//! Text becomes a tree of nodes with places (`yaml`); small typed readers turn
//! nodes into drafts and note every fault (`read`, `address`, `instance`,
//! `host`); drafts are judged by themselves (`judge`) and against each other
//! (`across`); what is legal and unwise is said (`advice`). A configuration
//! with a fault is no configuration: nothing of it is used.

use std::path::{Path, PathBuf};

use crate::agent::jobs::HookOwner;
use crate::agent::settings::{CheckSettings, InstanceSettings, Settings};

mod across;
mod address;
mod advice;
#[cfg(test)]
mod arbitrary;
mod auth;
mod check;
mod cluster;
mod command;
mod diagnostic;
mod duration;
mod emit;
mod environment;
mod fault;
mod file;
mod gather;
mod group;
mod health;
mod host;
pub mod import;
mod instance;
mod judge;
mod key_file;
mod keys;
mod lease;
mod listen;
mod overlay;
mod print;
#[cfg(test)]
mod properties;
mod read;
mod routing;
pub mod schema;
mod scripts;
mod virtual_mac;
mod witness;
pub mod work;
mod yaml;

pub use diagnostic::{Diagnostic, Faults, Style, Warning};
pub use duration::parse_duration;
pub use host::{ControlSettings, HostSettings, LogFormat, LogLevel, LogSettings, MetricsSettings};
pub use key_file::{
    KEY_BYTES_MAX, KEY_BYTES_MIN, Keys, SERVICE_USER, Secret, keys_of_others, read_keys,
};
pub use scripts::inspect_scripts;
pub use work::{Script, Work};

use auth::KeyPaths;
use check::Task;
use cluster::ClusterDraft;
use command::Written;
use environment::{Filler, Variables};
use fault::{Finding, Findings, Sources};
use file::Contents;
use gather::Gatherer;
use key_file::Owner;
use read::{At, Field, Section};
use yaml::Value;

/// Where `run` and `validate` look unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/vipward/config.yaml";

/// A configuration without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub settings: Settings,
    pub host: HostSettings,
    /// What the checks and hooks of `settings` run.
    pub work: Work,
    /// In the order of the file.
    pub warnings: Vec<Warning>,
    /// Of the effective configuration: FNV-1a over 64 bits, 16 hexadecimal
    /// digits. Equal digests mean equal settings for every practical purpose.
    pub digest: String,
    /// As given to [`load`] or [`parse`].
    pub path: PathBuf,
    /// The other files that it includes, in the order in which they were read.
    pub included: Vec<PathBuf>,
    /// For [`Loaded::effective`].
    key_paths: KeyPaths,
    /// For [`inspect_scripts`].
    scripts: Vec<scripts::Placed>,
    /// For [`read_keys`].
    key_files: Vec<key_file::Placed>,
}

impl Loaded {
    /// The effective configuration as YAML, defaults filled in; read again it
    /// gives the same settings.
    pub fn effective(&self) -> Result<String, Faults> {
        print::yaml(&self.settings, &self.host, &self.work, &self.key_paths)
            .map_err(|error| unexplained(&self.path, format!("cannot be printed: {error}")))
    }
}

fn unexplained(path: &Path, what: String) -> Faults {
    let help = "this is a bug in vipward: please report it with the file";
    Faults::of_file(path, what, help)
}

/// What a configuration takes from where it is read.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Stands in where `node` is not written.
    pub host_name: &'a str,
    /// Judge as this node instead, whatever `node` and the host's name are.
    pub node: Option<&'a str>,
    /// The environment that `${NAME}` refers to; `None` when it is not set.
    pub variables: Variables<'a>,
}

/// Reads and judges a file and those that it includes. Never waits and never
/// touches the network; anything but regular files, and more than 4 MiB of
/// them, is refused.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_as(path, None)
}

/// The same, as `node` would judge it.
pub fn load_as(path: &Path, node: Option<&str>) -> Result<Loaded, Faults> {
    let host_name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let around = Surroundings {
        host_name: &host_name,
        node,
        variables: &|name| std::env::var_os(name),
    };
    load_with(path, &around)
}

/// The same, in other surroundings.
pub fn load_with(path: &Path, around: &Surroundings) -> Result<Loaded, Faults> {
    let contents =
        file::read(path).map_err(|refusal| Faults::of_file(path, refusal.what, &refusal.help))?;
    judge_file(path, &contents, around, true)
}

/// Judges a text; no I/O, and no environment. `path` is for messages,
/// `host_name` stands in where `node` is not written.
pub fn parse(path: &Path, text: &str, host_name: &str) -> Result<Loaded, Faults> {
    let contents = Contents {
        text: text.to_owned(),
        identity: (0, 0),
        open_to_all: false,
    };
    let around = Surroundings {
        host_name,
        node: None,
        variables: &|_| None,
    };
    judge_file(path, &contents, &around, false)
}

fn judge_file(
    path: &Path,
    contents: &Contents,
    around: &Surroundings,
    reads_files: bool,
) -> Result<Loaded, Faults> {
    let mut sources = Sources::default();
    let mut findings = Findings::default();
    if contents.open_to_all {
        findings.warn(gather::open_to_all(path));
    }
    let filler = Filler::new(around.variables);
    let gatherer = Gatherer::new(&mut sources, filler, reads_files);
    let gathered = gatherer.gather(path, contents, &mut findings);
    let read = gathered
        .as_ref()
        .and_then(|gathered| overlay::each_node(gathered, around, &mut findings));
    let warnings = findings.into_result(path, &sources)?;
    let included = gathered.map(|gathered| gathered.included);
    let Sound {
        settings,
        host,
        work,
        scripts,
        key_files,
    } = read.ok_or_else(|| unexplained(path, "refused without a reason".to_owned()))?;
    let mut paths = KeyPaths::default();
    for (owner, at) in &key_files {
        match owner {
            Owner::Instance(instance, key) => {
                let key = (instance.clone(), *key);
                paths.instances.insert(key, at.value.clone());
            }
            Owner::Cluster => paths.cluster = Some(at.value.clone()),
        }
    }
    let digest = print::digest(&settings, &host, &work, &paths)
        .map_err(|error| unexplained(path, format!("has no digest: {error}")))?;
    let placed =
        |(whose, written): &(String, Written)| scripts::placed(written, whose, path, &sources);
    Ok(Loaded {
        settings,
        host,
        work,
        scripts: scripts.iter().filter_map(placed).collect(),
        key_files: key_files
            .into_iter()
            .map(|(owner, at)| key_file::Placed {
                fault: Finding::at(at.place, "", "named here").into_fault(path, &sources),
                owner,
                path: at.value,
            })
            .collect(),
        warnings,
        digest,
        path: path.to_owned(),
        included: included.unwrap_or_default(),
        key_paths: paths,
    })
}

/// What a text without a fault comes to.
struct Sound {
    settings: Settings,
    host: HostSettings,
    work: Work,
    /// Every script, and whose it is.
    scripts: Vec<(String, Written)>,
    key_files: Vec<KeyFile>,
}

type KeyFile = (Owner, At<PathBuf>);

/// Those of the instances in the order of the file, then the peer link's.
fn key_files(drafts: &[instance::Draft], cluster: &Field<ClusterDraft>) -> Vec<KeyFile> {
    let of = |draft: &instance::Draft| {
        let auth = draft.auth.given().map(|auth| &auth.value);
        let keys = auth.and_then(|auth| auth.keys.given()).cloned();
        let name = draft.name.value.clone();
        let keys = keys.into_iter().flat_map(|keys| keys.value);
        keys.map(move |(key, at)| (Owner::Instance(name.clone(), key), at))
    };
    let cluster = cluster.given().and_then(|at| at.value.key_file.given());
    let cluster = cluster.map(|at| (Owner::Cluster, at.clone()));
    drafts.iter().flat_map(of).chain(cluster).collect()
}

/// Judges the tree as the node `told`, or as the one that it names itself.
/// Nothing only when a fault was noted.
fn settings(
    root: &yaml::Node,
    told: Option<&str>,
    host_name: &str,
    out: &mut Findings,
) -> Option<Sound> {
    let top = Section::open(root, &keys::TOP, out)?;
    let node = match told {
        Some(node) => Some(node.to_owned()),
        None => host::node_name(&top, root, host_name, out),
    };
    let host = host::settings(&top, out);
    let checks = top.field("checks", out, Ok);
    let checks = match &checks {
        Field::Bad => check::Checks::default(),
        Field::Absent => check::checks(None, out),
        Field::Given(at) => check::checks(Some(at.value), out),
    };
    let cluster = cluster::draft(&top, out);
    let groups = group::drafts(&top, out);
    let (instances, drafts) = instances(&top, root, &checks, &cluster, out)?;
    let group_settings = group::judge(&groups, &drafts, &instances, out);
    group::advice(&groups, out);
    advice::hooks(group::hooks(&groups), out);
    let node = node?;
    let own = cluster::Own {
        name: &node,
        place: match told {
            Some(_) => None,
            None => top.node("node").map(|node| node.place),
        },
    };
    let peers = cluster::settings(&cluster, own, &drafts, out);
    cluster::advice(&cluster, &node, &drafts, out);
    let (checks, mut work, mut scripts) = worked_out(&drafts, &checks);
    group::work(&groups, &mut work, &mut scripts);
    Some(Sound {
        settings: Settings {
            cluster: peers?,
            node,
            instances,
            checks,
            groups: group_settings,
        },
        host: host?,
        work,
        scripts,
        key_files: key_files(&drafts, &cluster),
    })
}

/// The checks that instances use, sorted by name, and everything that is run.
fn worked_out(
    drafts: &[instance::Draft],
    checks: &check::Checks,
) -> (Vec<CheckSettings>, Work, Vec<(String, Written)>) {
    let mut settings = Vec::new();
    let mut work = Work::default();
    let mut scripts = Vec::new();
    for sound in checks.used(drafts) {
        let name = &sound.settings.name;
        settings.push(sound.settings.clone());
        match &sound.task {
            Task::Interface(_) | Task::Combination(_) => {}
            Task::File(path) => drop(work.files.insert(path.clone())),
            Task::Script(written) => {
                work.scripts.insert(name.clone(), written.script.clone());
                scripts.push((format!("check `{name}`"), written.clone()));
            }
            Task::Probe(probe, _) => {
                work.probes.insert(name.clone(), probe.clone());
            }
        }
    }
    for draft in drafts {
        let instance = &draft.name.value;
        for (kind, written) in &draft.hooks {
            let key = (HookOwner::Instance(instance.clone()), *kind);
            work.hooks.insert(key, written.script.clone());
            let whose = format!("the hook `{}` of `{instance}`", kind.name());
            scripts.push((whose, written.clone()));
        }
    }
    (settings, work, scripts)
}

/// Sorted by name; and the drafts that they come from.
fn instances(
    top: &Section,
    root: &yaml::Node,
    checks: &check::Checks,
    cluster: &Field<ClusterDraft>,
    out: &mut Findings,
) -> Option<(Vec<InstanceSettings>, Vec<instance::Draft>)> {
    let node = top.node("instances");
    let Some(node) = node else {
        if top.lacks("instances") {
            out.fault(no_instances(root));
        }
        return None;
    };
    let entries = read::unique(read::entries(node, "`instances`", out)?, out);
    if matches!(&node.value, Value::Null)
        || matches!(&node.value, Value::Map(map) if map.is_empty())
    {
        out.fault(no_instances(node));
        return None;
    }
    let drafts: Vec<_> = entries
        .iter()
        .filter_map(|(name, place, node)| instance::draft(name, *place, node, out))
        .collect();
    across::instances(&drafts, out);
    health::judge(&drafts, checks, out);
    witness::judge(&drafts, out);
    let mut judged = Vec::with_capacity(drafts.len());
    for draft in &drafts {
        if let Some(instance) = judge::instance(draft, out) {
            advice::instance(draft, &instance, out);
            judged.push((draft, instance));
        }
    }
    lease::advice(&judged, out);
    routing::between(&judged, out);
    let mut settings: Vec<_> = judged.into_iter().map(|(_, settings)| settings).collect();
    advice::unset_priorities(&drafts, out);
    if matches!(cluster, Field::Absent) {
        advice::without_cluster(&drafts, out);
    }
    advice::checks(&drafts, checks, out);
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    Some((settings, drafts))
}

fn no_instances(node: &yaml::Node) -> Finding {
    Finding::at(node.place, "no instance is configured", "").help(
        "write at least `instances: { web: { interface: eth0, vrid: 51, addresses: [192.0.2.10/24] } }`",
    )
}
