//! The shell: start-up, the one loop, effects. It knows the clock, the
//! sockets and the files; it decides nothing.

mod desk;
mod effects;
pub mod guardian;
pub mod history;
pub mod leftovers;
pub mod link;
pub(crate) mod log;
mod moves;
mod outbox;
mod path_tests;
pub mod presence;
pub mod probes;
mod protocol_loop;
mod service;
mod signals;
pub mod signing;
mod sockets;
mod whole_file;
mod work;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::agent::Agent;
use crate::agent::settings::Authentication;
use crate::config::{self, HostSettings, Keys, Loaded};
use crate::control::document::Identity;
use crate::control::events::fact::AgentFact;
use crate::control::listener::Access;
use crate::control::lock::RuntimeLock;
use crate::control::reload::{Judge, Prepared};
use crate::control::server::{ControlServer, Request, Setup};
use crate::net::announce_socket::AnnounceSocket;
use crate::net::kernel::{Monitor, Netlink, Renewals};
use crate::net::peer;
use crate::net::rights;
use crate::net::timer::{self, Timer};
use effects::Effects;
use guardian::Post;
use history::History;
use leftovers::memory::Memory;
use leftovers::record::Record;
use leftovers::{Ledger, sweep};
use moves::Mover;
use presence::Presence;
use protocol_loop::{Ending, ProtocolLoop};
use service::Service;
use signals::Signals;
use signing::keeper::Keeper;
use signing::{Signing, note_fingerprints};
use sockets::Sockets;
use work::Work;

/// Reports of the kernel that may wait for the loop. At the bound the
/// kernel's threads wait; the loop never does.
const KERNEL_REPORTS: usize = 16_384;
/// Results of checks and hooks that may wait for the loop. At the bound
/// whoever runs them waits.
const RESULTS: usize = 4096;
/// Requests that may wait for the loop; more are refused by the server.
const REQUESTS: usize = 16;

/// What the loop will run in. Signals wait in it from the very beginning: one
/// that comes before the loop does not end this process.
pub struct Base {
    runtime: tokio::runtime::Runtime,
    signals: Signals,
}

impl Base {
    /// # Errors
    ///
    /// No runtime could be had, or no signal handler.
    pub fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let inside = runtime.enter();
        let signals = Signals::new().context("cannot listen for signals")?;
        drop(inside);
        Ok(Self { runtime, signals })
    }
}

pub struct Options {
    pub base: Base,
    pub loaded: Loaded,
    pub keys: Keys,
    /// Holds the lock and the control socket.
    pub runtime_dir: PathBuf,
    /// Where the runner of scripts listens.
    pub runner_dir: PathBuf,
    /// For what must survive a restart.
    pub state_dir: PathBuf,
}

/// What an agent runs by: the file, and the keys that it names.
pub struct Configuration {
    pub loaded: Loaded,
    pub keys: Keys,
}

/// Runs the agent until it is told to stop.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        base: Base { runtime, signals },
        loaded,
        keys,
        runtime_dir,
        runner_dir,
        state_dir,
    } = options;
    rights::check().context("cannot start")?;
    std::fs::create_dir_all(&runtime_dir).with_context(|| {
        format!(
            "cannot create the runtime directory {}",
            runtime_dir.display()
        )
    })?;
    let lock = RuntimeLock::take(&runtime_dir)?;
    // Before anything that could fail, block or be left behind.
    let guard = mount_guard(&lock);
    let _log = log::start(loaded.host.log);
    let memory = stand_by(guard);
    let record = Arc::new(Mutex::new(Record::new(&runtime_dir)));
    let presence = Presence::claim();
    clear_leftovers(&record, &presence);
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    let ledger = Ledger::new(memory);
    let new = Configuration { loaded, keys };
    let keeper = Keeper::start(&state_dir).context("cannot start the state's keeper")?;
    let history = History::start(&state_dir, &new.loaded.settings.node)
        .context("cannot start what takes events down")?;
    let events = history.events();
    let serving = serve(
        (new, signals),
        (&runtime_dir, runner_dir),
        keeper,
        (ledger, Arc::clone(&record)),
        &history,
    );
    let ending = runtime.block_on(serving);
    let recorder = &events.recorder;
    match &ending {
        Ok(Ending::Finished) => {
            locked(&record).close();
            recorder.note(AgentFact::Stopped { left: Vec::new() });
        }
        // What follows is printed by whoever called us.
        Ok(Ending::Unfinished(left)) => recorder.keep(AgentFact::Stopped { left: left.clone() }),
        Err(error) => recorder.keep(AgentFact::Failed {
            error: format!("{error:#}"),
        }),
    }
    history.close();
    match ending? {
        Ending::Finished => Ok(ExitCode::SUCCESS),
        Ending::Unfinished(left) => bail!("{}", AgentFact::Stopped { left }),
    }
}

type Guard = (Memory, Post, Child);

/// The guardian, and the memory by which it is told what there is to guard.
fn mount_guard(lock: &RuntimeLock) -> std::io::Result<Guard> {
    let memory = Memory::create()?;
    let post = Post::new(lock, &memory)?;
    let first = post.man()?;
    Ok((memory, post, first))
}

/// Sees to it that there always is a guardian. Without one everything else is
/// as usual.
fn stand_by(guard: std::io::Result<Guard>) -> Option<Memory> {
    let kept = guard.and_then(|(memory, post, first)| {
        post.keep_manned(first)?;
        Ok(memory)
    });
    kept.inspect_err(|error| {
        tracing::warn!(
            "no guardian: {error}; should this agent be killed, its addresses stay until it is \
             started again"
        );
    })
    .ok()
}

/// What the last agent left goes before this one begins.
fn clear_leftovers(record: &Mutex<Record>, presence: &Result<Presence, String>) {
    let swept = sweep::sweep(&mut locked(record), presence);
    for problem in &swept.problems {
        tracing::warn!("cleaning up after an agent that died: {problem}");
    }
    for done in &swept.done {
        tracing::info!("cleaning up after an agent that died: {done}");
    }
}

fn locked(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    (new, signals): (Configuration, Signals),
    (runtime_dir, runner_dir): (&Path, PathBuf),
    keeper: Keeper,
    (mut ledger, record): (Ledger, Arc<Mutex<Record>>),
    history: &History,
) -> anyhow::Result<Ending> {
    let Configuration { mut loaded, keys } = new;
    let identity = identity(&loaded);
    let cluster = loaded.settings.cluster.clone();
    note_fingerprints(&mut loaded.settings, &keys);
    let mut agent = Agent::new(loaded.settings, timer::now());
    ledger.learn(&keys);
    let signing = begin_signing(&mut agent, &keeper);
    restore_moves(&mut agent, keeper.directory());
    let interfaces: BTreeSet<_> = agent.interfaces().collect();
    let mut sockets = Sockets::new().context("cannot make the poller")?;
    sockets.serve(agent.instances().map(|(_, settings)| settings));
    let (reports, kernel) = mpsc::channel(KERNEL_REPORTS);
    let keep = move |account: &[u8]| locked(&record).write(account);
    let netlink = Netlink::start_keeping(reports.clone(), Box::new(keep))
        .context("cannot start the address worker")?;
    let renewals =
        Renewals::start(reports.clone()).context("cannot start the thread that renews leases")?;
    let announcements = AnnounceSocket::open().context("cannot open the announcement socket")?;
    let mover = Mover::start(keeper.directory(), reports.clone())
        .context("cannot start the thread that writes drains down")?;
    let (results, done) = mpsc::channel(RESULTS);
    let config_path = identity.config_path.clone();
    let mut work = Work::new(results, reports.clone(), runner_dir, config_path);
    work.serve(&loaded.work)
        .context("cannot start what runs checks and hooks")?;
    let mut effects = Effects::new(
        netlink,
        renewals,
        announcements,
        work,
        ledger,
        (signing, keeper),
        (mover, history.events().recorder),
    );
    effects.serve(agent.instances(), &keys);
    let link = effects.link();
    link.serve(cluster.as_ref(), keys.cluster.as_ref(), sockets.poller());
    let (asks, requests) = mpsc::channel(REQUESTS);
    let control = start_control(runtime_dir, (identity, &loaded.host), asks, history)?;
    let monitor = Monitor::start(interfaces, reports).context("cannot watch the interfaces")?;
    monitor.follow_routing(agent.wants_routing());
    let service = Service::start().context("cannot speak to the service manager")?;
    let timer = Timer::new().context("cannot make the timer")?;
    // Every other thread exists by now and keeps its ordinary scheduling.
    prefer_this_thread();
    history.started(agent.instances().count());
    let protocol_loop = ProtocolLoop {
        agent,
        sockets,
        effects,
        timer,
        kernel,
        done,
        requests,
        signals,
        monitor,
        reload: control.trigger(),
        service,
    };
    protocol_loop.run().await
}

fn start_control(
    runtime_dir: &Path,
    (identity, host): (Identity, &HostSettings),
    requests: mpsc::Sender<Request<Configuration>>,
    history: &History,
) -> anyhow::Result<ControlServer> {
    let server = ControlServer::start(
        runtime_dir,
        Setup {
            access: access(host),
            judge: judge(identity.config_path.clone()),
            identity,
            requests,
            peer_groups: peer::groups,
            events: history.events(),
            metrics: listen(host),
        },
    )?;
    Ok(server)
}

fn identity(loaded: &Loaded) -> Identity {
    Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: loaded.settings.node.clone(),
        pid: std::process::id(),
        started_at: Timestamp::now(),
        config_path: std::path::absolute(&loaded.path).unwrap_or_else(|_| loaded.path.clone()),
        config_loaded_at: Timestamp::now(),
        config_digest: loaded.digest.clone(),
    }
}

/// What an earlier agent kept, given to those whom it concerns. Where nothing
/// is authenticated, nothing is read or written.
fn begin_signing(agent: &mut Agent, keeper: &Keeper) -> Signing {
    let mut verifies = false;
    let mut signs = false;
    for (_, settings) in agent.instances() {
        if let Authentication::Hmac(hmac) = &settings.authentication {
            verifies = true;
            signs |= hmac.signs();
        }
    }
    if verifies {
        for kept in keeper.marks() {
            let (instance, mark) = kept.parts();
            agent.restore_mark(&instance, mark);
        }
    }
    Signing::new(keeper.ceiling(signs))
}

/// Drains and hand-overs of an earlier agent.
fn restore_moves(agent: &mut Agent, directory: &Path) {
    match moves::read(directory) {
        Ok(kept) => agent.restore_moves(timer::now(), &kept),
        Err(why) => tracing::error!(
            "{why}; what was drained takes part again: drain it anew if it must not"
        ),
    }
}

/// Reads the configuration file anew.
fn judge(path: PathBuf) -> Judge<Configuration> {
    Arc::new(move || {
        let loaded = config::load(&path).map_err(|faults| faults.to_string())?;
        let keys = config::read_keys(&loaded).map_err(|faults| faults.to_string())?;
        Ok(Prepared {
            node: loaded.settings.node.clone(),
            digest: loaded.digest.clone(),
            metrics: listen(&loaded.host),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            config: Configuration { loaded, keys },
        })
    })
}

/// Where metrics are served, if anywhere.
fn listen(host: &HostSettings) -> Option<SocketAddr> {
    host.metrics.map(|metrics| metrics.listen)
}

/// Unless told otherwise the group `vipward` may read, where there is one.
fn access(host: &HostSettings) -> Access {
    let default = || {
        let group = nix::unistd::Group::from_name("vipward");
        group.ok().flatten().map(|group| group.name)
    };
    Access {
        read_group: host.control.read_group.clone().or_else(default),
        admin_group: Some(host.control.admin_group.clone()),
    }
}

/// Real-time scheduling and locked memory where permitted; without them
/// heartbeats can be late on a busy host, and everything else is the same.
fn prefer_this_thread() {
    if let Err(error) = rights::raise_priority() {
        tracing::info!("no real-time scheduling: {error}");
    }
    if let Err(error) = rights::lock_memory() {
        tracing::info!("memory is not locked: {error}");
    }
}
