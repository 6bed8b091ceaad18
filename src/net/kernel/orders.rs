//! Orders for the worker's thread, so that the protocol thread never waits for
//! the kernel.

use std::io;

use tokio::sync::mpsc;

use super::linger::Lingering;
use super::promotion::Promotions;
use super::worker::Worker;
use crate::agent::action::AddressOrder;
use crate::agent::event::Event;
use crate::agent::routing::RoutingOrder;
use crate::agent::virtual_link::LinkOrder;

/// Orders that may wait for the worker; further ones are given back.
const WAITING_MAX: usize = 16_384;

pub(super) enum Order {
    Add(AddressOrder),
    Remove(AddressOrder),
}

impl Order {
    pub(super) fn parts(&self) -> &AddressOrder {
        match self {
            Order::Add(order) | Order::Remove(order) => order,
        }
    }

    pub(super) fn added(&self) -> Option<&AddressOrder> {
        match self {
            Order::Add(order) => Some(order),
            Order::Remove(_) => None,
        }
    }

    pub(super) fn lingering(&self) -> Option<&AddressOrder> {
        match self {
            Order::Remove(order) if order.lingers => Some(order),
            Order::Remove(_) | Order::Add(_) => None,
        }
    }

    fn into_parts(self) -> AddressOrder {
        match self {
            Order::Add(order) | Order::Remove(order) => order,
        }
    }

    /// As it can be carried out, and why not with its lease.
    pub(super) fn lease(&self, promotions: &mut Promotions) -> (Order, Option<String>) {
        match self {
            Order::Add(order) => {
                let (order, reason) = promotions.lease(order);
                (Order::Add(order), reason)
            }
            Order::Remove(order) => (Order::Remove(order.clone()), None),
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
    lingering: Lingering,
}

/// Keeps an account of what was ordered where a later run finds it.
pub type Keep = Box<dyn FnMut(&[u8]) + Send>;

pub(super) enum Task {
    Order(Order),
    Routing(RoutingOrder),
    Link(LinkOrder),
    /// The account that is true once the orders before it are carried out.
    Record(Vec<u8>),
}

impl Netlink {
    /// Starts the worker in the caller's network namespace. Answers are
    /// [`Event::AddressAdded`] and [`Event::AddressRemoved`]; before the
    /// former [`Event::AddressUnleased`] where it carries no lease although one
    /// was ordered. While their channel is full the worker waits.
    ///
    /// Errors: no netlink socket or no thread could be had; nothing was started.
    pub fn start(answers: mpsc::Sender<Event<'static>>) -> io::Result<Netlink> {
        Self::start_keeping(answers, Box::new(|_| {}))
    }

    /// The same; `keep` is called on the worker's thread with what
    /// [`Netlink::record`] gave, before any order that was given after it.
    pub fn start_keeping(answers: mpsc::Sender<Event<'static>>, keep: Keep) -> io::Result<Netlink> {
        let lingering = Lingering::default();
        let (orders, waiting) = mpsc::channel(WAITING_MAX);
        let worker = Worker::open(waiting, answers, keep, lingering.clone())?;
        super::spawn_in_time("vip-netlink", move || worker.run())?;
        Ok(Netlink { orders, lingering })
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

    /// As [`Netlink::add_address`], for a route or rule.
    pub fn change_routing(&self, order: RoutingOrder) -> Result<(), RoutingOrder> {
        let refused = self.orders.try_send(Task::Routing(order)).err();
        match refused.map(mpsc::error::TrySendError::into_inner) {
            Some(Task::Routing(order)) => Err(order),
            Some(Task::Order(_) | Task::Link(_) | Task::Record(_)) | None => Ok(()),
        }
    }

    /// As [`Netlink::add_address`], for an interface with a virtual hardware
    /// address. Answered by [`Event::LinkChanged`].
    pub fn change_link(&self, order: LinkOrder) -> Result<(), LinkOrder> {
        let refused = self.orders.try_send(Task::Link(order)).err();
        match refused.map(mpsc::error::TrySendError::into_inner) {
            Some(Task::Link(order)) => Err(order),
            Some(Task::Order(_) | Task::Routing(_) | Task::Record(_)) | None => Ok(()),
        }
    }

    /// Waits until no address that went to another host is served here any
    /// more: a quarter of a second after the last one, a second at most.
    pub fn outlast(&self) {
        self.lingering.wait();
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
            Some(Task::Routing(_) | Task::Link(_) | Task::Record(_)) | None => Ok(()),
        }
    }
}
