//! The worker that carries out address orders, so that the protocol thread
//! never waits for the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use tokio::sync::mpsc;

use super::promote::promote_secondaries;
use super::reachable::Reachability;
use super::request::{addition, judge_addition, judge_removal, removal};
use super::socket::{Refusal, RouteSocket, messages, serialize, verdict};
use crate::agent::action::AddressOrder;
use crate::agent::event::{Added, Event};
use crate::agent::values::{Family, InterfaceName};

/// Orders that may wait for the worker; further ones are given back.
const WAITING_MAX: usize = 16_384;

/// Orders handed to the kernel at once.
const CHUNK_MAX: usize = 100;

/// For the answers to one chunk. The kernel answers while it takes the
/// requests, so none should be missing by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// For the kernel to let in the IPv6 addresses of one chunk. They are
/// answered as added after that all the same: they are there.
const DEAF_LONGEST: Duration = Duration::from_millis(100);

/// Interfaces of which the promote_secondaries warning was given; beyond
/// this many, warnings are given again.
const WARNED_MAX: usize = 4_096;

enum Order {
    Add(AddressOrder),
    Remove(AddressOrder),
}

impl Order {
    fn parts(&self) -> &AddressOrder {
        match self {
            Order::Add(order) | Order::Remove(order) => order,
        }
    }

    fn into_parts(self) -> AddressOrder {
        match self {
            Order::Add(order) | Order::Remove(order) => order,
        }
    }
}

/// Orders to the kernel. Every order that was accepted is answered by one
/// event, in the order in which they were given; an address that was added
/// answers by then.
///
/// When the handle is dropped, or nobody takes the answers any more, removals
/// that wait are still carried out, additions are not, and the thread ends.
pub struct Netlink {
    orders: mpsc::Sender<Task>,
}

/// Keeps an account of what was ordered where a later run finds it.
pub type Keep = Box<dyn FnMut(&[u8]) + Send>;

enum Task {
    Order(Order),
    /// The account that is true once the orders before it are carried out.
    Record(Vec<u8>),
}

impl Netlink {
    /// Starts the worker in the caller's network namespace. Answers are
    /// [`Event::AddressAdded`] and [`Event::AddressRemoved`]; while their
    /// channel is full the worker waits.
    ///
    /// Errors: no netlink socket or no thread could be had; nothing was started.
    pub fn start(answers: mpsc::Sender<Event<'static>>) -> io::Result<Netlink> {
        Self::start_keeping(answers, Box::new(|_| {}))
    }

    /// The same; `keep` is called on the worker's thread with what
    /// [`Netlink::record`] gave, before any order that was given after it.
    pub fn start_keeping(answers: mpsc::Sender<Event<'static>>, keep: Keep) -> io::Result<Netlink> {
        let socket = RouteSocket::open()?;
        let (orders, waiting) = mpsc::channel(WAITING_MAX);
        let worker = Worker {
            waiting,
            answers,
            keep,
            socket: Some(socket),
            patience: PATIENCE,
            reachability: Reachability::default(),
            warned: BTreeSet::new(),
        };
        super::spawn("vip-netlink", move || worker.run())?;
        Ok(Netlink { orders })
    }

    /// Never blocks. Gives the order back when 16,384 wait already, or the
    /// worker is gone; nothing was changed then.
    pub fn add_address(&self, order: AddressOrder) -> Result<(), AddressOrder> {
        self.give(Order::Add(order))
    }

    /// As [`Netlink::add_address`].
    pub fn remove_address(&self, order: AddressOrder) -> Result<(), AddressOrder> {
        self.give(Order::Remove(order))
    }

    /// Never blocks. Of several that wait only the last is kept. Dropped
    /// when 16,384 orders wait: those after it are refused then too.
    pub fn record(&self, account: Vec<u8>) {
        let _ = self.orders.try_send(Task::Record(account));
    }

    fn give(&self, order: Order) -> Result<(), AddressOrder> {
        let refused = self.orders.try_send(Task::Order(order)).err();
        match refused.map(mpsc::error::TrySendError::into_inner) {
            Some(Task::Order(order)) => Err(order.into_parts()),
            Some(Task::Record(_)) | None => Ok(()),
        }
    }
}

/// What is known of an order of the present chunk.
enum Progress {
    /// Was not worth a request, or could not become one.
    Settled(Result<(), String>),
    /// Sent, no answer yet.
    Sent,
    Answered(Result<(), Refusal>),
}

struct Worker {
    waiting: mpsc::Receiver<Task>,
    answers: mpsc::Sender<Event<'static>>,
    keep: Keep,
    /// `None` after a failure, until it can be opened again.
    socket: Option<RouteSocket>,
    patience: Duration,
    reachability: Reachability,
    warned: BTreeSet<InterfaceName>,
}

impl Worker {
    fn run(mut self) {
        let mut tasks = Vec::with_capacity(CHUNK_MAX);
        let mut chunk = Vec::with_capacity(CHUNK_MAX);
        while self.waiting.blocking_recv_many(&mut tasks, CHUNK_MAX) > 0 {
            // An address whose order waits is in every later account, so the
            // last one covers the whole chunk.
            let mut account = None;
            for task in tasks.drain(..) {
                match task {
                    Task::Order(order) => chunk.push(order),
                    Task::Record(bytes) => account = Some(bytes),
                }
            }
            if let Some(bytes) = account {
                (self.keep)(&bytes);
            }
            if chunk.is_empty() {
                continue;
            }
            if self.waiting.is_closed() || self.answers.is_closed() {
                chunk.retain(|order| matches!(order, Order::Remove(_)));
            }
            self.carry_out(&chunk);
            chunk.clear();
        }
    }

    /// Carries out a chunk and answers every order of it.
    fn carry_out(&mut self, chunk: &[Order]) {
        let (progress, failure) = self.submit(chunk);
        if let Some(error) = &failure {
            tracing::warn!("address orders: {error}; a new netlink socket will be opened");
        }
        let deadline = Instant::now() + DEAF_LONGEST;
        let mut deaf = Vec::new();
        for (order, progress) in chunk.iter().zip(progress) {
            let answer = answer(order, progress, failure.as_deref());
            if is_fresh(&answer) && !self.lets_in(order.parts(), deadline) {
                deaf.push(order.parts());
            }
            // Fails only when nobody listens any more, which `run` notices.
            let _ = self.answers.blocking_send(answer);
        }
        if let Some(first) = deaf.first() {
            tracing::warn!(
                "the kernel lets no packets in for {} of the addresses just added, {} on {} \
                 first, {DEAF_LONGEST:?} after it took them; announced all the same",
                deaf.len(),
                first.network,
                first.interface
            );
        }
    }

    /// Waits until the address answers. An IPv4 address does at once.
    fn lets_in(&mut self, order: &AddressOrder, deadline: Instant) -> bool {
        let IpNet::V6(network) = order.network else {
            return true;
        };
        // Without its interface the address is gone already; the monitor tells.
        if_nametoindex(order.interface.as_str()).map_or(true, |index| {
            self.reachability.wait(network.addr(), index, deadline)
        })
    }

    /// Sends a chunk in one go and collects the answers. The text is there
    /// when the socket failed; it is given up then, so that no late answer is
    /// taken for one to the next chunk.
    fn submit(&mut self, chunk: &[Order]) -> (Vec<Progress>, Option<String>) {
        let mut socket = match self.socket.take().map_or_else(RouteSocket::open, Ok) {
            Ok(socket) => socket,
            Err(error) => {
                let text = format!("no netlink socket could be opened: {error}");
                let none = chunk.iter().map(|_| Progress::Sent).collect();
                return (none, Some(text));
            }
        };
        let first = socket.next_sequence();
        let mut requests = Vec::new();
        let mut indexes = BTreeMap::new();
        let mut progress = Vec::with_capacity(chunk.len());
        let mut missing = 0_usize;
        for (order, sequence) in chunk.iter().zip(sequences(&mut socket, first)) {
            match self.prepare(order, &mut indexes) {
                Ok(index) => {
                    let (message, flags) = match order {
                        Order::Add(order) => addition(order, index),
                        Order::Remove(order) => removal(order, index),
                    };
                    serialize(message, flags, sequence, &mut requests);
                    progress.push(Progress::Sent);
                    missing += 1;
                }
                Err(outcome) => progress.push(Progress::Settled(outcome)),
            }
        }
        if missing == 0 {
            self.socket = Some(socket);
            return (progress, None);
        }
        match transact(
            &mut socket,
            &requests,
            first,
            missing,
            self.patience,
            &mut progress,
        ) {
            Ok(()) => {
                self.socket = Some(socket);
                (progress, None)
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let text = format!("the kernel gave no answer within {:?}", self.patience);
                (progress, Some(text))
            }
            Err(error) => (
                progress,
                Some(format!("the netlink socket failed: {error}")),
            ),
        }
    }

    /// The interface's index, or the outcome that needs no request. An
    /// interface is looked up once in a chunk.
    fn prepare(
        &mut self,
        order: &Order,
        indexes: &mut BTreeMap<InterfaceName, Result<u32, Errno>>,
    ) -> Result<u32, Result<(), String>> {
        let parts = order.parts();
        let interface = parts.interface;
        let index = *indexes
            .entry(interface)
            .or_insert_with(|| if_nametoindex(interface.as_str()));
        match (index, order) {
            (Ok(index), _) => {
                let ipv4 = Family::of(parts.network.addr()) == Family::Ipv4;
                if ipv4 && parts.promote_secondaries {
                    self.promote_secondaries(interface);
                }
                Ok(index)
            }
            (Err(Errno::ENODEV | Errno::ENXIO), Order::Remove(_)) => Err(Ok(())),
            (Err(Errno::ENODEV | Errno::ENXIO), Order::Add(_)) => {
                Err(Err(format!("there is no interface {interface}")))
            }
            (Err(errno), _) => Err(Err(format!(
                "the interface {interface} could not be looked up: {}; nothing was changed",
                errno.desc()
            ))),
        }
    }

    /// One warning for each interface.
    fn promote_secondaries(&mut self, interface: InterfaceName) {
        let Err((path, error)) = promote_secondaries(interface) else {
            return;
        };
        if self.warned.len() >= WARNED_MAX {
            self.warned.clear();
        }
        if self.warned.insert(interface) {
            tracing::warn!(
                "{path} could not be set to 1: {error}; when a virtual address leaves \
                 {interface}, other addresses of its subnet may go with it"
            );
        }
    }
}

/// One number for each order of a chunk, in a row.
fn sequences(socket: &mut RouteSocket, first: u32) -> impl Iterator<Item = u32> + '_ {
    std::iter::once(first).chain(std::iter::repeat_with(|| socket.next_sequence()))
}

/// Sends the requests and files the answers by sequence number, until none
/// is missing or `patience` is over.
fn transact(
    socket: &mut RouteSocket,
    requests: &[u8],
    first: u32,
    mut missing: usize,
    patience: Duration,
    progress: &mut [Progress],
) -> io::Result<()> {
    socket.send(requests)?;
    let deadline = Instant::now() + patience;
    while missing > 0 {
        for message in messages(socket.receive(deadline)?) {
            if i32::from(message.kind) != libc::NLMSG_ERROR {
                continue;
            }
            let position = usize::try_from(message.sequence.wrapping_sub(first)).ok();
            let slot = position.and_then(|position| progress.get_mut(position));
            if let Some(slot @ Progress::Sent) = slot {
                *slot = Progress::Answered(verdict(&message)?);
                missing -= 1;
            }
        }
    }
    Ok(())
}

fn is_fresh(answer: &Event<'_>) -> bool {
    matches!(
        answer,
        Event::AddressAdded {
            outcome: Ok(Added::Fresh),
            ..
        }
    )
}

fn answer(order: &Order, progress: Progress, failure: Option<&str>) -> Event<'static> {
    let verdict = match progress {
        Progress::Answered(verdict) => Ok(verdict),
        Progress::Settled(Ok(())) => Ok(Ok(())),
        Progress::Settled(Err(text)) => Err(text),
        Progress::Sent => {
            let parts = order.parts();
            Err(format!(
                "{}; {} may be on {} or not",
                failure.unwrap_or("the kernel's answer was lost"),
                parts.network.addr(),
                parts.interface
            ))
        }
    };
    match order {
        Order::Add(order) => Event::AddressAdded {
            instance: order.instance,
            address: order.address,
            outcome: verdict.and_then(|verdict| judge_addition(order, verdict)),
        },
        Order::Remove(order) => Event::AddressRemoved {
            instance: order.instance,
            address: order.address,
            outcome: verdict.and_then(|verdict| judge_removal(order, verdict)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::agent::values::{AddressIndex, InstanceId};

    fn worker(socket: RouteSocket) -> (Worker, mpsc::Receiver<Event<'static>>) {
        let (_, waiting) = mpsc::channel(1);
        let (answers, events) = mpsc::channel(16);
        let worker = Worker {
            waiting,
            answers,
            keep: Box::new(|_| {}),
            socket: Some(socket),
            patience: Duration::from_millis(50),
            reachability: Reachability::default(),
            warned: BTreeSet::new(),
        };
        (worker, events)
    }

    /// The kernel finds no such address, or allows nothing: an answer either
    /// way, and nothing is changed.
    fn harmless() -> [Order; 1] {
        [Order::Remove(AddressOrder {
            instance: InstanceId(1),
            address: AddressIndex(2),
            interface: "lo".parse().unwrap(),
            network: "192.0.2.77/32".parse().unwrap(),
            no_prefix_route: false,
            promote_secondaries: false,
            label: None,
            source_address: false,
        })]
    }

    fn outcome(events: &mut mpsc::Receiver<Event<'static>>) -> Result<(), String> {
        match events.try_recv().unwrap() {
            Event::AddressRemoved { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Answered by the kernel itself, so that the socket must work.
    fn is_answered_by_the_kernel(outcome: &Result<(), String>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(text) => text.starts_with("the kernel refused"),
        }
    }

    #[test]
    fn a_failed_socket_is_replaced_and_its_orders_are_answered() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (mut worker, mut events) = worker(RouteSocket::replaced_by(file.into()));
        worker.carry_out(&harmless());
        let text = outcome(&mut events).unwrap_err();
        assert!(text.starts_with("the netlink socket failed: "), "{text}");
        assert!(text.ends_with("; 192.0.2.77 may be on lo or not"), "{text}");
        worker.carry_out(&harmless());
        let outcome = outcome(&mut events);
        assert!(is_answered_by_the_kernel(&outcome), "{outcome:?}");
    }

    #[test]
    fn a_silent_kernel_is_not_waited_for_for_ever() {
        let (ours, _silent) = UnixDatagram::pair().unwrap();
        let (mut worker, mut events) = worker(RouteSocket::replaced_by(ours.into()));
        let started = Instant::now();
        worker.carry_out(&harmless());
        let text = outcome(&mut events).unwrap_err();
        assert!(
            text.starts_with("the kernel gave no answer within 50ms"),
            "{text}"
        );
        assert!(started.elapsed() >= Duration::from_millis(50));
        worker.carry_out(&harmless());
        let outcome = outcome(&mut events);
        assert!(is_answered_by_the_kernel(&outcome), "{outcome:?}");
    }
    /// Of seven requests in one datagram the numbers go on at 0 after the
    /// last one, and each finds its answer.
    #[test]
    fn answers_are_told_apart_where_the_numbers_begin_anew() {
        for last in [u32::MAX, u32::MAX - 3, u32::MAX - 7, 0] {
            let mut socket = RouteSocket::open().unwrap();
            socket.numbered_from(last);
            let (mut worker, mut events) = worker(socket);
            let orders: Vec<Order> = std::iter::repeat_with(harmless).take(7).flatten().collect();
            worker.carry_out(&orders);
            for _ in &orders {
                let outcome = outcome(&mut events);
                assert!(is_answered_by_the_kernel(&outcome), "{last}: {outcome:?}");
            }
        }
    }
}
