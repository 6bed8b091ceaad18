//! The worker itself: takes what waits, carries it out in chunks, answers
//! every order in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use tokio::sync::mpsc;

use super::batch::{CHUNK_MAX, Line, Progress};
use super::indexes::{Indexes, look_up, no_interface};
use super::linger::Lingering;
use super::links::Links;
use super::orders::{Keep, Order, Task};
use super::promotion::Promotions;
use super::reachable::Reachability;
use super::request::{addition, judge_addition, judge_removal, removal, unleased};
use super::routing;
use super::socket::Refusal;
use crate::agent::action::AddressOrder;
use crate::agent::event::{Added, Event};
use crate::agent::routing::{Change, RoutingOrder};
use crate::agent::values::{Family, InterfaceName};
use crate::agent::virtual_link::{LinkOrder, LinkState};

/// For the kernel to let in the IPv6 addresses of one chunk. They are
/// answered as added after that all the same: they are there.
const DEAF_LONGEST: Duration = Duration::from_millis(500);

/// Interfaces of which the promote_secondaries warning was given; beyond
/// this many, warnings are given again.
const WARNED_MAX: usize = 4_096;

pub(super) struct Worker {
    waiting: mpsc::Receiver<Task>,
    answers: mpsc::Sender<Event<'static>>,
    keep: Keep,
    line: Line,
    reachability: Reachability,
    links: Links,
    warned: BTreeSet<InterfaceName>,
    lingering: Lingering,
}

impl Worker {
    /// Errors: no netlink socket could be had.
    pub(super) fn open(
        waiting: mpsc::Receiver<Task>,
        answers: mpsc::Sender<Event<'static>>,
        keep: Keep,
        lingering: Lingering,
    ) -> io::Result<Worker> {
        let line = Line::open()?;
        Ok(Worker::over(line, waiting, answers, keep, lingering))
    }

    fn over(
        line: Line,
        waiting: mpsc::Receiver<Task>,
        answers: mpsc::Sender<Event<'static>>,
        keep: Keep,
        lingering: Lingering,
    ) -> Worker {
        Worker {
            waiting,
            answers,
            keep,
            line,
            reachability: Reachability::default(),
            links: Links::default(),
            warned: BTreeSet::new(),
            lingering,
        }
    }

    pub(super) fn run(mut self) {
        let mut tasks = Vec::with_capacity(CHUNK_MAX);
        while self.waiting.blocking_recv_many(&mut tasks, CHUNK_MAX) > 0 {
            // What waits to be added is in every later account, so the last
            // one covers all of them.
            let account = tasks.iter().rev().find_map(|task| match task {
                Task::Record(bytes) => Some(bytes),
                Task::Order(_) | Task::Routing(_) | Task::Link(_) => None,
            });
            if let Some(bytes) = account {
                (self.keep)(bytes);
            }
            self.carry_out_all(&mut tasks);
        }
    }

    /// In chunks of one kind, in the order in which they were given.
    fn carry_out_all(&mut self, tasks: &mut Vec<Task>) {
        let alone = self.waiting.is_closed() || self.answers.is_closed();
        let mut chunk = Vec::new();
        let mut routing = Vec::new();
        for task in tasks.drain(..) {
            match task {
                Task::Record(_) => {}
                Task::Order(Order::Add(_)) if alone => {}
                Task::Routing(order) if alone && order.change == Change::Add => {}
                Task::Link(order) if alone && matches!(order.state, LinkState::Up(_)) => {}
                Task::Link(order) => {
                    self.change_addresses(&mut chunk);
                    self.change_routing(&mut routing);
                    self.change_link(&order);
                }
                Task::Order(order) => {
                    self.change_routing(&mut routing);
                    chunk.push(order);
                }
                Task::Routing(order) => {
                    self.change_addresses(&mut chunk);
                    routing.push(order);
                }
            }
        }
        self.change_addresses(&mut chunk);
        self.change_routing(&mut routing);
    }

    fn change_addresses(&mut self, chunk: &mut Vec<Order>) {
        if !chunk.is_empty() {
            self.carry_out(chunk);
            chunk.clear();
        }
    }

    fn change_routing(&mut self, chunk: &mut Vec<RoutingOrder>) {
        if chunk.is_empty() {
            return;
        }
        let (answers, failure) = routing::carry_out(&mut self.line, chunk);
        if let Some(error) = failure {
            tracing::warn!("routes and rules: {error}; a new netlink socket will be opened");
        }
        for answer in answers {
            let _ = self.answers.blocking_send(answer);
        }
        chunk.clear();
    }

    fn change_link(&mut self, order: &LinkOrder) {
        let mut socket = self.line.take().ok();
        let answer = self.links.carry_out(&mut socket, order);
        if let Some(socket) = socket {
            self.line.give_back(socket);
        }
        let _ = self.answers.blocking_send(answer);
    }

    /// Carries out a chunk and answers every order of it.
    fn carry_out(&mut self, chunk: &[Order]) {
        let lingering: Vec<&AddressOrder> = chunk.iter().filter_map(Order::lingering).collect();
        if !lingering.is_empty() {
            self.lingering.begin(&lingering);
        }
        let added: Vec<&AddressOrder> = chunk.iter().filter_map(Order::added).collect();
        self.lingering.end(&added);
        let (outcomes, failure) = self.submit(chunk);
        if let Some(error) = &failure {
            tracing::warn!("address orders: {error}; a new netlink socket will be opened");
        }
        let deadline = Instant::now() + DEAF_LONGEST;
        let mut deaf = Vec::new();
        for (order, (progress, reason)) in chunk.iter().zip(outcomes) {
            let answer = answer(order, progress, failure.as_deref());
            let is_fresh = is_fresh(&answer);
            if is_fresh && !self.lets_in(order.parts(), deadline) {
                deaf.push(order.parts());
            }
            // Sending fails only when nobody listens any more, which `run`
            // notices.
            if let Some(reason) = reason.filter(|_| is_fresh) {
                let _ = self.answers.blocking_send(unleased(order.parts(), reason));
            }
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

    /// Over the socket in one go. For each order what became of it, and why
    /// an addition went out without the lease that was ordered.
    fn submit(&mut self, chunk: &[Order]) -> (Vec<(Progress, Option<String>)>, Option<String>) {
        let mut indexes = BTreeMap::new();
        let mut promotions = Promotions::default();
        let mut unleased = Vec::with_capacity(chunk.len());
        let mut requests = Vec::with_capacity(chunk.len());
        for order in chunk {
            let (order, reason) = order.lease(&mut promotions);
            let prepared = self.prepare(&order, &mut indexes, &mut promotions);
            requests.push(prepared.map(|index| match &order {
                Order::Add(order) => addition(order, index),
                Order::Remove(order) => removal(order, index),
            }));
            unleased.push(reason);
        }
        let (progress, failure) = self.line.submit(requests);
        (progress.into_iter().zip(unleased).collect(), failure)
    }

    /// The interface's index, or the outcome that needs no request. An
    /// interface is looked up once in a chunk.
    fn prepare(
        &mut self,
        order: &Order,
        indexes: &mut Indexes,
        promotions: &mut Promotions,
    ) -> Result<u32, Result<(), String>> {
        let parts = order.parts();
        let interface = parts.interface;
        match (look_up(interface, indexes), order) {
            (Ok(index), _) => {
                let ipv4 = Family::of(parts.network.addr()) == Family::Ipv4;
                if ipv4 && parts.promote_secondaries {
                    self.promote_secondaries(interface, promotions);
                }
                Ok(index)
            }
            (Err(Errno::ENODEV | Errno::ENXIO), Order::Remove(_)) => Err(Ok(())),
            (Err(errno), _) => Err(Err(no_interface(interface, errno))),
        }
    }

    /// Without it the kernel removes the secondaries together with their
    /// primary.
    fn promote_secondaries(&mut self, interface: InterfaceName, promotions: &mut Promotions) {
        let Err(reason) = promotions.ensure(interface) else {
            return;
        };
        if self.warned.len() >= WARNED_MAX {
            self.warned.clear();
        }
        if self.warned.insert(interface) {
            tracing::warn!(
                "{reason}; when a virtual address leaves {interface}, other addresses of its \
                 subnet may go with it"
            );
        }
    }
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
        // What the kernel would have said: there is no such interface.
        Progress::Settled(Ok(())) => Ok(Err(Refusal {
            errno: Errno::ENODEV,
            words: None,
        })),
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

    use super::super::socket::RouteSocket;
    use super::*;
    use crate::agent::event::Removed;
    use crate::agent::values::{AddressIndex, InstanceId};

    fn worker(socket: RouteSocket) -> (Worker, mpsc::Receiver<Event<'static>>) {
        let (_, waiting) = mpsc::channel(1);
        let (answers, events) = mpsc::channel(16);
        let line = Line::over(socket).with_patience(Duration::from_millis(50));
        let keep: Keep = Box::new(|_| {});
        let worker = Worker::over(line, waiting, answers, keep, Lingering::default());
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
            lease: None,
            lingers: false,
        })]
    }

    fn outcome(events: &mut mpsc::Receiver<Event<'static>>) -> Result<Removed, String> {
        match events.try_recv().unwrap() {
            Event::AddressRemoved { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Answered by the kernel itself, so that the socket must work.
    fn is_answered_by_the_kernel(outcome: &Result<Removed, String>) -> bool {
        match outcome {
            Ok(_) => true,
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
