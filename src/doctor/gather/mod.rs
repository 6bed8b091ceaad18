//! Finds the facts: asks the kernel, reads files, listens, asks the peers and the
//! agent. Changes nothing and sends nothing that a VRRP router would act upon.
//! Every step has a bound in time.

mod agent;
mod echo;
mod firewall;
mod host;
mod listen;
pub mod managers;
mod path_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::{Clock, Configuration, Facts, Firewall, Hearing, Manager, Subject};
use crate::agent::settings::ClusterSettings;
use crate::agent::values::InterfaceName;
use crate::config::{self, Loaded, Style};
use crate::control::document::Document;
use crate::control::{names, words};
use crate::net::kernel::Inspector;
use crate::net::time_sync;
use managers::Files;

/// Listening ends after this, whatever was asked for.
pub const LISTEN_MAX: Duration = Duration::from_secs(60);
/// Unless told otherwise: this, or twice the longest interval, but not longer
/// than the next.
const LISTEN: Duration = Duration::from_secs(3);
const LISTEN_BY_INTERVAL_MAX: Duration = Duration::from_secs(15);
/// Peers that are asked for an echo; the rest is left out.
const PEERS_MAX: usize = 64;

/// What is to be examined.
#[derive(Clone, Debug)]
pub struct Wish {
    pub socket: PathBuf,
    /// `None`: the agent's, or else the installed one.
    pub config: Option<PathBuf>,
    /// This one alone.
    pub instance: Option<String>,
    pub listen: Option<Duration>,
    /// Sends nothing at all.
    pub silent: bool,
    pub style: Style,
}

/// Why nothing was examined: one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// `tell` hears what takes its time.
///
/// # Errors
///
/// There is no such instance, or the socket is somebody else's.
pub fn facts(wish: &Wish, tell: &dyn Fn(&str)) -> Result<Facts, Refused> {
    let first = agent::ask(&wish.socket).map_err(Refused)?;
    let before = first.as_ref().ok();
    let (configuration, loaded) = configuration(wish, before);
    let mut subjects = subjects(loaded.as_ref(), before);
    if let Some(name) = &wish.instance {
        subjects = only(subjects, name, &configuration)?;
    }
    let link = loaded
        .as_ref()
        .and_then(|loaded| loaded.settings.cluster.clone());
    let node = loaded.as_ref().map(|loaded| loaded.settings.node.clone());
    let node = node.or_else(|| before.map(|document| document.node.clone()));

    let interfaces: BTreeSet<InterfaceName> =
        subjects.iter().flat_map(Subject::interfaces).collect();
    let mut inspector = Inspector::open().map_err(|error| error.to_string());
    // As it was before we listen ourselves.
    let interfaces = host::interfaces(&mut inspector, &interfaces);
    let managers = managers_of(&interfaces);

    let span = span(wish, &subjects);
    if !span.is_zero() {
        tell(&format!("listening for {} ...", words::span(span)));
    }
    let asked = match wish.silent {
        true => BTreeSet::new(),
        false => peers(&subjects, link.as_ref(), before, &interfaces),
    };
    let (hearing, echoes, firewall) = thread::scope(|scope| {
        let echoes = scope.spawn(|| echo::ask(&asked, span.max(Duration::from_secs(1))));
        let firewall = scope.spawn(firewall::read);
        let hearing = listen::listen(&subjects, &interfaces, span, !wish.silent);
        let echoes = echoes.join().unwrap_or_default();
        (
            hearing,
            echoes,
            firewall.join().unwrap_or_else(|_| Firewall::default()),
        )
    });
    let agent = agent::again(&wish.socket, first);

    let targets: BTreeSet<IpAddr> = asked.into_iter().chain(heard(&hearing)).collect();
    Ok(Facts {
        now: Timestamp::now(),
        node: node.unwrap_or_else(host::name),
        configuration,
        agent,
        link,
        rights: host::rights(),
        ways: host::ways(&mut inspector, &targets),
        ways_back: host::ways_back(&mut inspector, &subjects),
        beside: host::beside(&subjects),
        interfaces,
        kernel: host::kernel(),
        firewall,
        hearing,
        echoes,
        clock: Clock {
            synchronised: time_sync::is_synchronised().ok(),
        },
        managers,
        subjects,
    })
}

/// Everybody else who was heard.
fn heard(hearing: &Result<Hearing, String>) -> impl Iterator<Item = IpAddr> {
    let speakers = hearing.iter().flat_map(|hearing| &hearing.speakers);
    let speakers = speakers.filter(|speaker| !speaker.outgoing);
    let passed = hearing.iter().flat_map(|hearing| &hearing.passed);
    speakers
        .map(|speaker| speaker.source)
        .chain(passed.map(|passed| passed.source))
}

fn configuration(wish: &Wish, before: Option<&Document>) -> (Configuration, Option<Loaded>) {
    let told = before.map(|document| PathBuf::from(&document.config.path));
    let path = wish.config.clone().or(told);
    let path = path.unwrap_or_else(|| PathBuf::from(config::DEFAULT_PATH));
    // Whoever may not read it has the agent's word for what it says.
    if before.is_some() && is_kept_from_us(&path) {
        let configuration = Configuration {
            path,
            ..Configuration::default()
        };
        return (configuration, None);
    }
    let loaded = config::load(&path);
    // Keys are read as the agent does; who may not is told so by that.
    let judged = match loaded {
        Ok(loaded) => match config::read_keys(&loaded) {
            Err(faults) if may_read_keys() => Err((faults, Some(loaded))),
            Ok(_) | Err(_) => Ok(loaded),
        },
        Err(faults) => Err((faults, None)),
    };
    match judged {
        Ok(loaded) => {
            let configuration = Configuration {
                path,
                faults: None,
                digest: Some(loaded.digest.clone()),
            };
            (configuration, Some(loaded))
        }
        Err((faults, loaded)) => {
            let configuration = Configuration {
                path,
                faults: Some(faults.render(wish.style)),
                digest: loaded.as_ref().map(|loaded| loaded.digest.clone()),
            };
            (configuration, loaded)
        }
    }
}

fn is_kept_from_us(path: &Path) -> bool {
    let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
    match path.metadata() {
        Err(error) => denied(error),
        // Opening a pipe would wait for a writer.
        Ok(found) => found.is_file() && File::open(path).is_err_and(denied),
    }
}

/// Keys are root's to read; a fault that is only this command's lack of rights
/// is none of the configuration.
fn may_read_keys() -> bool {
    nix::unistd::geteuid().is_root()
}

fn subjects(loaded: Option<&Loaded>, before: Option<&Document>) -> Vec<Subject> {
    match (loaded, before) {
        (Some(loaded), _) => {
            let all = loaded.settings.instances.iter();
            all.map(Subject::configured).collect()
        }
        (None, Some(document)) => {
            let all = document.instances.iter();
            all.filter_map(Subject::told).collect()
        }
        (None, None) => Vec::new(),
    }
}

fn only(
    mut subjects: Vec<Subject>,
    name: &str,
    configuration: &Configuration,
) -> Result<Vec<Subject>, Refused> {
    let known: Vec<String> = subjects
        .iter()
        .map(|subject| subject.name.clone())
        .collect();
    subjects.retain(|subject| subject.name == name);
    if !subjects.is_empty() {
        return Ok(subjects);
    }
    let path = configuration.path.display();
    if known.is_empty() && configuration.faults.is_some() {
        return Err(Refused(format!(
            "there is no instance `{name}` in {path}, which has faults: \
             `vipward validate {path}` shows them"
        )));
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let missing = names::missing("instance", name, &format!("in {path}"), &known);
    Err(Refused(missing))
}

fn span(wish: &Wish, subjects: &[Subject]) -> Duration {
    let Some(longest) = subjects.iter().map(|subject| subject.interval).max() else {
        // Nobody to listen for.
        return Duration::ZERO;
    };
    let by_interval = longest * 5 / 2;
    let default = by_interval.min(LISTEN_BY_INTERVAL_MAX).max(LISTEN);
    wish.listen.unwrap_or(default).min(LISTEN_MAX)
}

/// Whom to ask for an echo: peers, other nodes, and the Active that is heard.
fn peers(
    subjects: &[Subject],
    link: Option<&ClusterSettings>,
    before: Option<&Document>,
    interfaces: &host::Interfaces,
) -> BTreeSet<IpAddr> {
    let unicast = subjects.iter().flat_map(|subject| &subject.peers).copied();
    let nodes = link.into_iter().flat_map(|link| {
        let others = link.nodes.iter().filter(|(name, _)| **name != link.own);
        others.flat_map(|(_, addresses)| addresses).copied()
    });
    let instances = before.into_iter().flat_map(|document| &document.instances);
    let actives = instances.filter_map(|instance| {
        let router = instance.active_router.as_ref()?;
        router.address.parse().ok()
    });
    let own = |address: &IpAddr| {
        let found = interfaces
            .values()
            .filter_map(|found| found.as_ref().ok()?.as_ref());
        let mut all = found.flat_map(|interface| &interface.state.addresses);
        all.any(|own| own.network.addr() == *address)
    };
    // A link-local address says nothing without its link.
    let linked = |address: &IpAddr| match address {
        IpAddr::V6(address) => address.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    };
    let all = unicast.chain(nodes).chain(actives);
    let all = all.filter(|address| !own(address) && !linked(address));
    let all: BTreeSet<IpAddr> = all.collect();
    all.into_iter().take(PEERS_MAX).collect()
}

fn managers_of(interfaces: &host::Interfaces) -> BTreeMap<InterfaceName, Manager> {
    let files = Files::below(Path::new("/"));
    let found = interfaces.iter().filter_map(|(name, found)| {
        let interface = found.as_ref().ok()?.as_ref()?;
        Some((*name, files.manager(*name, interface.state.index)?))
    });
    found.collect()
}
