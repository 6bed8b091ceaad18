//! The agent's side: a thread of its own, so that neither the socket nor the
//! start of a runner costs the protocol thread more than a channel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use super::asked_reload::AskedReload;
use super::frame;
use super::greeting::connect;
use super::held::Held;
use super::message::{self, Answer, Hello, Request, unstarted};
use super::server::hello_of;
use super::socket_path;
use super::summon::Summoner;
use crate::agent::jobs::{Job, JobId, JobResult, Verdict};

/// Orders that wait for the thread; more are given back.
pub const ORDERS_MAX: usize = 1024;
/// Jobs that the runner was told of; more wait among the orders. Fewer than
/// the answers that a runner keeps.
const IN_FLIGHT_MAX: usize = 2048;
/// Between attempts to connect, growing by half each time: a runner that is
/// restarted is to be found before a check's time-out is over.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Between two lines in the log about a runner that stays away.
const LINE_EVERY: Duration = Duration::from_secs(60);
/// At the start orders wait this long for the runner, instead of being
/// answered that it is away.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const PULSE: Duration = Duration::from_secs(2);
/// A runner that says nothing for this long is away.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// For it to take what it was sent.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// At the end: for it to take the last orders.
const PARTING_WITHIN: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Order {
    Job(Job),
    Reload(oneshot::Sender<Result<(), String>>),
}

/// Speaks to the runner. Dropping it hands over what was submitted, says
/// goodbye and ends the thread, within a second; what is in flight then has no
/// result.
#[derive(Debug)]
pub struct RunnerClient {
    /// Dropped to stop.
    orders: Option<mpsc::Sender<Order>>,
    closing: watch::Sender<bool>,
    /// Digest of the scripts and hooks as this agent knows them.
    expected: watch::Sender<Option<String>>,
    thread: Option<JoinHandle<()>>,
}

impl RunnerClient {
    /// Starts the thread; connecting is its affair. Every job that was
    /// accepted is answered once in `results`, as long as both live. With
    /// `start_it` it also starts a runner where nobody answers.
    pub fn start(
        runtime_dir: PathBuf,
        config_path: PathBuf,
        results: mpsc::Sender<(JobId, JobResult)>,
        start_it: bool,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (orders, orders_due) = mpsc::channel(ORDERS_MAX);
        let (closing, closing_seen) = watch::channel(false);
        let (expected, expected_seen) = watch::channel(None);
        let side = Side {
            socket: socket_path(&runtime_dir),
            hello: hello_of(&config_path),
            orders: orders_due,
            outlet: Outlet {
                results,
                closing: closing_seen,
            },
            summoner: start_it.then(|| Summoner::new(config_path, runtime_dir)),
            patience: None,
            held: Held::default(),
            expected: expected_seen,
        };
        let thread = std::thread::Builder::new()
            .name("runner-client".to_owned())
            // The agent's memory is locked: a default stack would be 2 MiB of it.
            .stack_size(512 * 1024)
            .spawn(move || runtime.block_on(side.run()))?;
        Ok(Self {
            orders: Some(orders),
            closing,
            expected,
            thread: Some(thread),
        })
    }

    /// Never blocks. Gives the job back when [`ORDERS_MAX`] wait already, or
    /// when the thread is gone; it is then not answered.
    pub fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        match self.orders.as_ref().map(mpsc::Sender::try_reserve) {
            Some(Ok(place)) => {
                place.send(Order::Job(job));
                Ok(())
            }
            Some(Err(_)) | None => Err(Box::new(job)),
        }
    }

    /// What the runner is to find whenever it reads its configuration from now
    /// on: `Catalog::digest`. It is told in the log when it found something
    /// else, since it would start other programs than this agent means.
    pub fn expect(&self, digest: String) {
        self.expected.send_replace(Some(digest));
    }

    /// Has the runner read its configuration again; jobs submitted later see
    /// the new one. Never blocks. The outcome may be ignored: it is logged by
    /// the runner, and a runner that is away reads the file when it returns.
    pub fn reload(&self) -> oneshot::Receiver<Result<(), String>> {
        let (reply, outcome) = oneshot::channel();
        let order = Order::Reload(reply);
        match self.orders.as_ref().map(mpsc::Sender::try_reserve) {
            Some(Ok(place)) => place.send(order),
            Some(Err(_)) | None => order.fail("too many orders wait for the runner"),
        }
        outcome
    }
}

impl Order {
    fn fail(self, why: &str) {
        if let Order::Reload(reply) = self {
            // Whoever asked may have lost interest.
            let _ = reply.send(Err(why.to_owned()));
        }
    }
}

impl Drop for RunnerClient {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        drop(self.orders.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the runner's client had panicked; please report it");
        }
    }
}

/// Where results go.
#[derive(Debug)]
struct Outlet {
    results: mpsc::Sender<(JobId, JobResult)>,
    closing: watch::Receiver<bool>,
}

impl Outlet {
    /// Waits for room, unless all ends: whoever drops the client may be
    /// whoever would have made room.
    async fn deliver(&mut self, id: JobId, result: JobResult) {
        tokio::select! {
            biased;
            _ = self.results.send((id, result)) => {}
            _ = self.closing.wait_for(|closing| *closing) => {}
        }
    }

    async fn not_run(&mut self, id: JobId, why: &str) {
        let verdict = Verdict::NotRun(why.to_owned());
        self.deliver(id, unstarted(verdict)).await;
    }
}

struct Side {
    socket: PathBuf,
    hello: Hello,
    orders: mpsc::Receiver<Order>,
    outlet: Outlet,
    summoner: Option<Summoner>,
    /// Until then orders wait instead of being answered.
    patience: Option<Instant>,
    held: Held,
    expected: watch::Receiver<Option<String>>,
}

/// Why a conversation ended.
enum End {
    /// The client was dropped.
    Closed,
    Broken(String),
}

impl Side {
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        let mut why = "the runner is not there yet".to_owned();
        self.patience = Some(Instant::now() + FIRST_PATIENCE);
        let mut next_line = Instant::now();
        loop {
            let attempt = connect(self.socket.clone(), self.hello.clone());
            let connected = tokio::select! {
                biased;
                connected = attempt => connected,
                () = self.turn_away(&why) => return,
            };
            let reason = match connected {
                Ok(stream) => {
                    self.patience = None;
                    let since = Instant::now();
                    match self.converse(stream).await {
                        End::Closed => return,
                        End::Broken(reason) => {
                            tracing::warn!("the runner is away: {reason}; no script can run");
                            if since.elapsed() > PAUSE_MAX {
                                pause = PAUSE_MIN;
                            }
                            reason
                        }
                    }
                }
                Err(reason) => reason,
            };
            let summoned = self.summoner.as_mut().map_or(Ok(()), Summoner::summon);
            let reason = summoned.err().unwrap_or(reason);
            if pause == PAUSE_MAX && next_line <= Instant::now() {
                next_line = Instant::now() + LINE_EVERY;
                tracing::warn!("the runner is away: {reason}; no script can run");
            }
            why = format!("the runner is away: {reason}");
            tokio::select! {
                biased;
                () = sleep(pause) => {}
                () = self.turn_away(&why) => return,
            }
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    /// Answers every order that the runner is away, hooks after a while;
    /// returns when the client was dropped. Safe to be given up: an order once
    /// taken is answered or put away in the same turn.
    async fn turn_away(&mut self, why: &str) {
        let mut closing = self.outlet.closing.clone();
        if let Some(patience) = self.patience {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return,
                () = sleep_until(patience) => self.patience = None,
            }
        }
        loop {
            // Room first: giving up while waiting for it loses no order.
            let room = tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return,
                room = self.outlet.results.reserve() => room.ok(),
            };
            let order = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Job(job)) => match self.held.keep(job) {
                        None => continue,
                        Some(job) => Some(Order::Job(job)),
                    },
                    other => other,
                },
                late = self.held.late() => Some(Order::Job(late)),
            };
            match order {
                None => return,
                Some(Order::Job(job)) => {
                    let result = unstarted(Verdict::NotRun(why.to_owned()));
                    if let Some(room) = room {
                        room.send((job.id, result));
                    }
                }
                Some(reload @ Order::Reload(_)) => reload.fail(why),
            }
        }
    }

    async fn converse(&mut self, stream: UnixStream) -> End {
        if let Some(summoner) = &mut self.summoner {
            summoner.answered();
        }
        tracing::info!("connected to the runner");
        let (from, to) = stream.into_split();
        let (answers, answers_due) = mpsc::channel(64);
        let mut reader = JoinSet::new();
        reader.spawn(listen(from, answers));
        let mut conversation = Conversation {
            to,
            hello: self.hello.clone(),
            answers: answers_due,
            in_flight: BTreeSet::new(),
            reloads: BTreeMap::new(),
            next_reload: 0,
            expected: self.expected.clone(),
            heard: Instant::now(),
        };
        let end = conversation
            .hold(&mut self.orders, &mut self.held, &mut self.outlet)
            .await;
        let reason = match end {
            End::Closed => {
                conversation.part().await;
                return End::Closed;
            }
            End::Broken(reason) => reason,
        };
        let why = format!("the runner went away: {reason}");
        for id in std::mem::take(&mut conversation.in_flight) {
            self.outlet.not_run(JobId(id), &why).await;
        }
        for (_, asked) in std::mem::take(&mut conversation.reloads) {
            Order::Reload(asked.reply).fail(&why);
        }
        End::Broken(reason)
    }
}

struct Conversation {
    to: OwnedWriteHalf,
    hello: Hello,
    answers: mpsc::Receiver<Result<Answer, String>>,
    /// Told to the runner, and not answered.
    in_flight: BTreeSet<u64>,
    reloads: BTreeMap<u64, AskedReload>,
    next_reload: u64,
    expected: watch::Receiver<Option<String>>,
    /// When the runner last said anything.
    heard: Instant,
}

impl Conversation {
    async fn hold(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        held: &mut Held,
        outlet: &mut Outlet,
    ) -> End {
        // The file may have changed since the runner read it.
        let (first, _) = oneshot::channel();
        if let Err(reason) = self.order(Order::Reload(first), outlet).await {
            return End::Broken(reason);
        }
        while let Some(job) = held.take() {
            if let Err(reason) = self.order(Order::Job(job), outlet).await {
                return End::Broken(reason);
            }
        }
        let mut pulse = interval(PULSE);
        loop {
            let turn = tokio::select! {
                biased;
                answer = self.answers.recv() => match answer {
                    Some(Ok(answer)) => self.take(answer, outlet).await,
                    Some(Err(reason)) => Err(reason),
                    None => Err("it closed the connection".to_owned()),
                },
                _ = pulse.tick() => self.feel().await,
                order = orders.recv(), if self.in_flight.len() < IN_FLIGHT_MAX => match order {
                    Some(order) => self.order(order, outlet).await,
                    None => return End::Closed,
                },
            };
            if let Err(reason) = turn {
                return End::Broken(reason);
            }
        }
    }

    async fn order(&mut self, order: Order, outlet: &mut Outlet) -> Result<(), String> {
        match order {
            Order::Job(job) => {
                let frame = match frame::encode(&Request::of_job(&job)) {
                    Ok(frame) => frame,
                    Err(error) => {
                        outlet.not_run(job.id, &error.to_string()).await;
                        return Ok(());
                    }
                };
                self.in_flight.insert(job.id.0);
                self.write(&frame).await
            }
            Order::Reload(reply) => {
                let id = self.next_reload;
                self.next_reload = id.wrapping_add(1);
                let expected = self.expected.borrow().clone();
                self.reloads.insert(id, AskedReload { reply, expected });
                self.say(&Request::Reload { id }).await
            }
        }
    }

    async fn take(&mut self, answer: Answer, outlet: &mut Outlet) -> Result<(), String> {
        self.heard = Instant::now();
        match answer {
            Answer::Hello(_) => {}
            Answer::Reloaded { id, error, digest } => {
                if let Some(asked) = self.reloads.remove(&id) {
                    asked.answered(error, digest);
                }
            }
            Answer::Done {
                id,
                verdict,
                duration_us,
                output,
            } => {
                // What was not ordered, or is answered twice, is nobody's.
                if self.in_flight.remove(&id) {
                    let (id, result) = message::result(id, verdict, duration_us, output);
                    outlet.deliver(id, result).await;
                }
            }
        }
        Ok(())
    }

    async fn feel(&mut self) -> Result<(), String> {
        if self.heard.elapsed() > SILENCE_MAX {
            return Err("it does not answer".to_owned());
        }
        let hello = Request::Hello(self.hello.clone());
        self.say(&hello).await
    }

    async fn say(&mut self, request: &Request) -> Result<(), String> {
        let frame = frame::encode(request).map_err(|error| error.to_string())?;
        self.write(&frame).await
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), String> {
        match timeout(WRITE_WITHIN, self.to.write_all(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it takes nothing in".to_owned()),
        }
    }

    /// Until the runner closes: it has then read everything before.
    async fn part(&mut self) {
        let farewell = async {
            self.say(&Request::Goodbye).await.ok()?;
            while let Some(Ok(_)) = self.answers.recv().await {}
            Some(())
        };
        if timeout(PARTING_WITHIN, farewell).await.is_err() {
            tracing::warn!("the runner did not say goodbye; it may have missed the last hooks");
        }
    }
}

/// Reads answers, one after the other: a read must not be given up.
async fn listen(mut from: OwnedReadHalf, answers: mpsc::Sender<Result<Answer, String>>) {
    loop {
        let (answer, last) = match frame::read(&mut from).await {
            Ok(Some(answer)) => (Ok(answer), false),
            Ok(None) => return,
            Err(error) => (Err(error.to_string()), true),
        };
        if answers.send(answer).await.is_err() || last {
            return;
        }
    }
}
