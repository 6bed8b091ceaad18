//! Who runs now, who waits, who is stuck: bounds, and the order of hooks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::message::{Answer, unstarted};
use super::process::{self, Exits};
use super::start::Launch;
use crate::agent::jobs::{CheckName, HookOwner, JobResult, Verdict};

/// Programs at once, whatever they are.
pub const RUNNING_MAX: usize = 64;
/// Checks at once: however many hang, this leaves room for hooks.
pub const CHECKS_RUNNING_MAX: usize = 48;
/// Orders that wait for a place; more are answered `NotRun`.
pub const WAITING_MAX: usize = 1024;
/// A killed program that is there after this is stuck in the kernel.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// What is ordered, with what is to be started for it.
#[derive(Debug)]
pub struct Order {
    pub id: u64,
    pub name: Name,
    pub launch: Launch,
}

#[derive(Clone, Debug)]
pub enum Name {
    Check(CheckName),
    /// The hooks of one instance or group run one after the other, in the order in
    /// which they came, even when an agent was replaced between them.
    Hook(HookOwner),
}

/// Running as far as a second order of the same check is concerned.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Waits for a place, or runs.
    Underway,
    /// Killed at this time, and not gone.
    Killed(Instant),
}

/// When programs must end: nothing at first, then an instant that can only
/// come nearer. Until then all goes on as before: the agent may only be waiting
/// for the next runner.
pub type StopAt = Option<Instant>;

#[derive(Clone)]
pub struct Crew {
    shared: Arc<Shared>,
}

struct Shared {
    places: Arc<Semaphore>,
    places_of_checks: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    checks: Mutex<BTreeMap<CheckName, Phase>>,
    /// Those with a hook under way; as many as there are orders.
    owners: Mutex<BTreeMap<HookOwner, Arc<AsyncMutex<()>>>>,
    exits: Exits,
    stop: watch::Receiver<StopAt>,
    /// Hooks that were ordered and have no result.
    hooks: watch::Sender<usize>,
    /// Programs that are not gone.
    present: watch::Sender<usize>,
}

/// Counts one in for as long as it lives.
struct Counted(Arc<Shared>, fn(&Shared) -> &watch::Sender<usize>);

impl Counted {
    fn new(shared: &Arc<Shared>, which: fn(&Shared) -> &watch::Sender<usize>) -> Self {
        which(shared).send_modify(|count| *count += 1);
        Self(Arc::clone(shared), which)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Takes the check out of the register at the end.
struct Registered(Arc<Shared>, CheckName);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.checks().remove(&self.1);
    }
}

impl Shared {
    fn checks(&self) -> std::sync::MutexGuard<'_, BTreeMap<CheckName, Phase>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crew {
    /// Inside of a tokio runtime. `stop` ends everything, see [`StopAt`].
    pub fn new(stop: watch::Receiver<StopAt>) -> std::io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                places: Arc::new(Semaphore::new(RUNNING_MAX)),
                places_of_checks: Arc::new(Semaphore::new(CHECKS_RUNNING_MAX)),
                waiting: Arc::new(Semaphore::new(WAITING_MAX)),
                checks: Mutex::default(),
                owners: Mutex::default(),
                exits: Exits::listen()?,
                stop,
                hooks: watch::Sender::new(0),
                present: watch::Sender::new(0),
            }),
        })
    }

    /// Takes on an order; it is answered once, at once or later. Never waits.
    /// `answers` that nobody reads any more give up checks that still wait;
    /// what runs goes on, and so do hooks that wait.
    pub fn take_on(&self, order: Order, answers: mpsc::Sender<Answer>) {
        let shared = Arc::clone(&self.shared);
        let reply = Reply {
            id: order.id,
            answers,
        };
        if shared.stop.borrow().is_some_and(|at| at <= Instant::now()) {
            reply.not_run("the runner is stopping");
            return;
        }
        let Ok(waiting) = Arc::clone(&shared.waiting).try_acquire_owned() else {
            reply.not_run(&format!("{WAITING_MAX} others wait already"));
            return;
        };
        match order.name {
            Name::Check(name) => {
                if let Some(registered) = register(&shared, name, &reply) {
                    tokio::spawn(check(shared, registered, order.launch, waiting, reply));
                }
            }
            Name::Hook(owner) => {
                let queue = queue_of(&shared, &owner);
                // Before the task has its first turn.
                let counted = Counted::new(&shared, |shared| &shared.hooks);
                tokio::spawn(hook(counted, queue, order.launch, waiting, reply));
            }
        }
    }

    /// Every hook that was ordered has its result.
    pub async fn no_hooks(&self) {
        none(&self.shared.hooks).await;
    }

    /// No program is left, not even one that is stuck.
    pub async fn empty(&self) {
        none(&self.shared.present).await;
    }
}

async fn none(counter: &watch::Sender<usize>) {
    // The sender is ours and lives.
    let _ = counter.subscribe().wait_for(|count| *count == 0).await;
}

struct Reply {
    id: u64,
    answers: mpsc::Sender<Answer>,
}

impl Reply {
    fn send(&self, result: JobResult) {
        // Nobody reads any more, or an agent does not read what it asked for:
        // its connection ends for that, and then it counts the job as lost.
        let _ = self.answers.try_send(Answer::done(self.id, result));
    }

    fn not_run(&self, why: &str) {
        self.send(unstarted(Verdict::NotRun(why.to_owned())));
    }
}

/// Nothing when the same check is there already, which is answered.
fn register(shared: &Arc<Shared>, name: CheckName, reply: &Reply) -> Option<Registered> {
    match shared.checks().entry(name.clone()) {
        Entry::Vacant(vacant) => {
            vacant.insert(Phase::Underway);
        }
        Entry::Occupied(occupied) => {
            match occupied.get() {
                Phase::Killed(at) if at.elapsed() >= STUCK_AFTER => reply.send(JobResult {
                    verdict: Verdict::TimedOut,
                    duration: Duration::ZERO,
                    output: format!(
                        "not started again: the run before was killed {} s ago and is still \
                         there, stuck in the kernel",
                        at.elapsed().as_secs()
                    ),
                }),
                Phase::Killed(_) => reply.not_run("the run before is just being killed"),
                Phase::Underway => reply.not_run("the run before has not ended yet"),
            }
            return None;
        }
    }
    Some(Registered(Arc::clone(shared), name))
}

/// Those without an order behind them are forgotten on this occasion.
fn queue_of(shared: &Shared, owner: &HookOwner) -> Arc<AsyncMutex<()>> {
    let owners = shared.owners.lock();
    let mut owners = owners.unwrap_or_else(PoisonError::into_inner);
    owners.retain(|_, queue| Arc::strong_count(queue) > 1);
    Arc::clone(owners.entry(owner.clone()).or_default())
}

async fn check(
    shared: Arc<Shared>,
    registered: Registered,
    launch: Launch,
    waiting: OwnedSemaphorePermit,
    reply: Reply,
) {
    let patience = launch.script.timeout;
    let place = async {
        let of_checks = place(&shared.places_of_checks).await;
        (of_checks, place(&shared.places).await)
    };
    let places = tokio::select! {
        biased;
        () = stopped(&shared) => return reply.not_run("the runner is stopping"),
        () = reply.answers.closed() => return,
        places = timeout(patience, place) => places,
    };
    drop(waiting);
    let Ok(_places) = places else {
        let why = format!(
            "others ran for all of {patience:?}, and no more than {CHECKS_RUNNING_MAX} checks may"
        );
        return reply.not_run(&why);
    };
    let _present = Counted::new(&shared, |shared| &shared.present);
    let mut exits = shared.exits.clone();
    let cut = async {
        stopped(&shared).await;
        Verdict::NotRun("it was ended: the runner is stopping".to_owned())
    };
    let (result, remains) = process::run(launch, &mut exits, cut).await;
    let Some(remains) = remains else {
        // First, so that the next order may follow the answer at once.
        drop(registered);
        return reply.send(result);
    };
    let phase = Phase::Killed(Instant::now());
    shared.checks().insert(registered.1.clone(), phase);
    reply.send(result);
    remains.gone(&mut exits).await;
}

async fn hook(
    counted: Counted,
    queue: Arc<AsyncMutex<()>>,
    launch: Launch,
    waiting: OwnedSemaphorePermit,
    reply: Reply,
) {
    let shared = Arc::clone(&counted.0);
    let places = async {
        let turn = queue.lock().await;
        (turn, place(&shared.places).await)
    };
    let (turn, _place) = tokio::select! {
        biased;
        () = stopped(&shared) => return reply.not_run("the runner is stopping"),
        places = places => places,
    };
    drop(waiting);
    let _present = Counted::new(&shared, |shared| &shared.present);
    let mut exits = shared.exits.clone();
    let cut = async {
        stopped(&shared).await;
        Verdict::TimedOut
    };
    let (result, remains) = process::run(launch, &mut exits, cut).await;
    reply.send(result);
    drop((turn, counted));
    if let Some(remains) = remains {
        remains.gone(&mut exits).await;
    }
}

/// None only if the semaphore were closed, which it never is.
async fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).acquire_owned().await.ok()
}

/// The runner was told to stop.
async fn stopping(shared: &Shared) -> Instant {
    let mut stop = shared.stop.clone();
    let told = stop.wait_for(Option::is_some).await.ok().and_then(|at| *at);
    match told {
        Some(at) => at,
        // Whoever could say so is gone, and with it the runtime, soon.
        None => std::future::pending().await,
    }
}

/// The time that is left after that is over.
async fn stopped(shared: &Shared) {
    let mut at = stopping(shared).await;
    let mut stop = shared.stop.clone();
    loop {
        tokio::select! {
            () = sleep_until(at) => return,
            changed = stop.changed() => match changed {
                Ok(()) => at = stop.borrow_and_update().unwrap_or(at),
                Err(_) => return sleep_until(at).await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::catalog::Script;
    use crate::runner::message::WireVerdict;

    fn order(name: &CheckName) -> Order {
        let script = Script {
            command: vec!["/bin/true".to_owned()],
            user: None,
            timeout: Duration::from_secs(5),
        };
        let launch = Launch {
            script: Arc::new(script),
            arguments: Vec::new(),
            environment: Vec::new(),
            accounts: Arc::default(),
            may_leave: false,
        };
        Order {
            id: 1,
            name: Name::Check(name.clone()),
            launch,
        }
    }

    /// What sleeps in the kernel for ever cannot be made at will: it is put
    /// into the register by hand.
    #[tokio::test]
    async fn a_stuck_check_counts_as_failed_and_is_not_started_again() {
        let stop = watch::Sender::new(None);
        let crew = Crew::new(stop.subscribe()).unwrap();
        let name = CheckName::new("disk");
        let (answers, mut due) = mpsc::channel(8);
        let mut verdict = async |killed: Option<Instant>| {
            match killed {
                Some(at) => {
                    let phase = Phase::Killed(at);
                    crew.shared.checks().insert(name.clone(), phase);
                }
                None => {
                    crew.shared.checks().remove(&name);
                }
            }
            crew.take_on(order(&name), answers.clone());
            match due.recv().await {
                Some(Answer::Done {
                    verdict, output, ..
                }) => (verdict, output),
                other => panic!("{other:?}"),
            }
        };
        let now = Instant::now();
        let (just, _) = verdict(Some(now)).await;
        assert!(matches!(just, WireVerdict::NotRun(_)), "{just:?}");
        let long_ago = now.checked_sub(Duration::from_secs(90)).unwrap();
        let (stuck, output) = verdict(Some(long_ago)).await;
        assert_eq!(stuck, WireVerdict::TimedOut);
        assert!(output.contains("killed 90 s ago"), "{output}");
        assert_eq!(verdict(None).await.0, WireVerdict::Passed);
    }

    /// As when the file system of a script hangs: the thread that starts it
    /// comes back long after the deadline.
    #[tokio::test]
    async fn what_starts_too_late_is_killed_then() {
        let mut exits = Exits::listen().unwrap();
        let starting = tokio::task::spawn_blocking(|| {
            std::thread::sleep(Duration::from_millis(100));
            let mut launch = order(&CheckName::new("late")).launch;
            let script = Script {
                command: vec!["/bin/sleep".to_owned(), "1000".to_owned()],
                ..Script::clone(&launch.script)
            };
            launch.script = Arc::new(script);
            launch.start()
        });
        let gone = process::Remains::Starting(starting).gone(&mut exits);
        timeout(Duration::from_secs(20), gone).await.unwrap();
    }
}
