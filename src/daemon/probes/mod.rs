//! The built-in probes, on a thread of their own with ordinary scheduling: a
//! server that hangs, floods or lies costs the protocol thread nothing.

mod blocking;
mod connect;
mod disks;
mod echo;
pub mod files;
mod http;
mod links;
mod names;
mod neighbours;
mod outcome;
mod pressure;
mod processes;
mod resolve;
mod small_file;
mod tls;
mod units;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::agent::jobs::{JobId, JobResult, Verdict};
use crate::config::work::probe::{Probe, ProbeKind};
use disks::{DISKS_AT_ONCE, Disks};
pub use http::REDIRECTS_MAX;
use links::Links;
use outcome::{Doing, Trouble};
use processes::{LOOKS_AT_ONCE, Processes};
use resolve::{NAMES_AT_ONCE, Resolver};
use tls::{FILES_AT_ONCE, Tls};
use units::Bus;

/// Probes that wait to be started; at the bound [`Probes::submit`] refuses.
pub const QUEUE_MAX: usize = 1_024;
/// Probes under way; at the bound the others wait.
pub const UNDER_WAY_MAX: usize = 256;
/// Of each thread. They are touched, and so locked in memory, only as needed.
const STACK_BYTES: usize = 1024 * 1024;

/// Threads that wait for the resolver, for files, and for the host.
const BLOCKED_AT_ONCE: usize = NAMES_AT_ONCE + FILES_AT_ONCE + LOOKS_AT_ONCE + DISKS_AT_ONCE;

struct Order {
    id: JobId,
    probe: Arc<Probe>,
    submitted: Instant,
}

/// What the probes of this thread have in common.
struct Tools {
    resolver: Resolver,
    tls: Tls,
    processes: Processes,
    bus: Bus,
    disks: Disks,
    links: Links,
}

/// The running thread. Dropping it ends the thread; what is under way then is
/// given up without a result.
#[derive(Debug)]
pub struct Probes {
    orders: mpsc::Sender<Order>,
    /// Dropped to stop.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Probes {
    /// `results` has exactly one result for each order that was taken, in the
    /// order in which they end. While it is full the probes wait, and nothing
    /// else does; when its receiver is gone the thread ends.
    ///
    /// # Errors
    ///
    /// The thread or its runtime could not be made; nothing is left behind.
    pub fn start(results: mpsc::Sender<(JobId, JobResult)>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("probes-wait")
            .thread_stack_size(STACK_BYTES)
            .max_blocking_threads(BLOCKED_AT_ONCE)
            .build()?;
        let (orders, queue) = mpsc::channel(QUEUE_MAX);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("probes".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || serve(runtime, queue, results, stopped))?;
        Ok(Self {
            orders,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Never blocks.
    ///
    /// # Errors
    ///
    /// [`QUEUE_MAX`] orders wait already, or the thread has ended. Nothing was
    /// started and no result will come; the order is given back.
    pub fn submit(&self, id: JobId, probe: Arc<Probe>) -> Result<(), (JobId, Arc<Probe>)> {
        let order = Order {
            id,
            probe,
            submitted: Instant::now(),
        };
        self.orders.try_send(order).map_err(|refused| {
            let order = refused.into_inner();
            (order.id, order.probe)
        })
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the probes had panicked; please report it");
        }
    }
}

fn serve(
    runtime: Runtime,
    queue: mpsc::Receiver<Order>,
    results: mpsc::Sender<(JobId, JobResult)>,
    stopped: oneshot::Receiver<Infallible>,
) {
    runtime.block_on(async {
        tokio::select! {
            // Only ever ends by being dropped.
            _ = stopped => {}
            () = results.closed() => {}
            () = dispatch(queue, results.clone()) => {}
        }
    });
    // A resolver that is stuck is not waited for.
    runtime.shutdown_background();
}

async fn dispatch(mut queue: mpsc::Receiver<Order>, results: mpsc::Sender<(JobId, JobResult)>) {
    let tools = Arc::new(Tools {
        resolver: Resolver::new(),
        tls: Tls::new(),
        processes: Processes::new(),
        bus: Bus::new(),
        disks: Disks::new(),
        links: Links::default(),
    });
    let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut under_way = JoinSet::new();
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let Some(order) = queue.recv().await else {
            break;
        };
        // Those that ended; there are never more than there were permits.
        while under_way.try_join_next().is_some() {}
        let (tools, results) = (Arc::clone(&tools), results.clone());
        under_way.spawn(async move {
            let _permit = permit;
            let id = order.id;
            let result = perform(tools, order).await;
            // Nobody is left to hear it: the thread ends.
            let _ = results.send((id, result)).await;
        });
    }
}

async fn perform(tools: Arc<Tools>, order: Order) -> JobResult {
    if order.submitted.elapsed() > order.probe.timeout {
        return not_run(format!(
            "{UNDER_WAY_MAX} probes were under way for as long as this one may take"
        ));
    }
    // A task of its own, so that a panic within is still one result.
    let probe = order.probe;
    let mut task = JoinSet::new();
    task.spawn(async move { attempt(&tools, &probe).await });
    match task.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(_)) | None => not_run("the probe had panicked; please report it".to_owned()),
    }
}

fn not_run(why: String) -> JobResult {
    JobResult {
        verdict: Verdict::NotRun(why),
        duration: std::time::Duration::ZERO,
        output: String::new(),
    }
}

async fn attempt(tools: &Tools, probe: &Probe) -> JobResult {
    let started = Instant::now();
    let deadline = started.checked_add(probe.timeout).unwrap_or(started);
    let times = (deadline, probe.timeout);
    let doing = Doing::default();
    let ended = timeout_at(deadline, async {
        match &probe.kind {
            ProbeKind::Tcp { target } => {
                let connected = connect::connect(&tools.resolver, target, deadline, &doing).await;
                connected.map(|_| String::new())
            }
            ProbeKind::Http(probe) => http::probe(tools, probe, deadline, &doing).await,
            ProbeKind::Process(probe) => tools.processes.probe(probe, &doing).await,
            ProbeKind::Unit { name } => tools.bus.probe(name, &doing).await,
            ProbeKind::Arp { target, interface } => {
                neighbours::probe(*target, *interface, times, &doing).await
            }
            ProbeKind::Ping { target, interface } => {
                echo::probe(&tools.resolver, (target, *interface), times, &doing).await
            }
            ProbeKind::Dns(probe) => names::probe(probe, times, &doing).await,
            ProbeKind::Disk(probe) => tools.disks.probe(probe, &doing).await,
            ProbeKind::Pressure(probe) => pressure::probe(probe),
            ProbeKind::LinkErrors { interface, above } => tools.links.probe(*interface, *above),
        }
    });
    let (verdict, output) = match ended.await {
        Ok(Ok(output)) => (Verdict::Passed, output),
        Ok(Err(Trouble::Failed(why))) => (Verdict::Failed(why), String::new()),
        Ok(Err(Trouble::Answered(why, line))) => (Verdict::Failed(why), line),
        Ok(Err(Trouble::NotRun(why))) => (Verdict::NotRun(why), String::new()),
        Err(_) => (Verdict::TimedOut, doing.take()),
    };
    JobResult {
        verdict,
        duration: started.elapsed(),
        output,
    }
}
