//! The thread that renews leases: the kernel removes a leased address by its
//! own clock unless it is told, in time, that somebody is well. Nothing else
//! is done here, so that a renewal never stands behind a thousand additions;
//! and in real time, since advertisements that leave in time, from a host whose
//! ordinary threads are not run for a second, are worth nothing without it.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant as Clock};

use ipnet::IpNet;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use tokio::sync::mpsc;

use super::batch::{CHUNK_MAX, Line, Progress, Request};
use super::indexes::{Indexes, look_up, no_interface};
use super::promotion::Promotions;
use super::request::{judge_renewal, renewal as lease_request, unleased};
use super::socket::RouteError;
use crate::agent::action::AddressOrder;
use crate::agent::event::{Event, NotRenewed};
use crate::agent::time::Instant;
use crate::net::timer;

/// Orders that may wait; further ones are given back. So many IPv4 addresses
/// take the kernel about as long as the age that is allowed.
const WAITING_MAX: usize = 16_384;

/// An older order says nothing of how its agent is by now.
const AGE_MAX: Duration = Duration::from_millis(200);

/// For the answer to one question; the kernel gives it while it is asked.
const PATIENCE: Duration = Duration::from_secs(1);

struct Stamped {
    order: AddressOrder,
    at: Instant,
}

/// Renews leases. Every order that was accepted is answered by exactly one
/// [`Event::AddressRenewed`].
///
/// The kernel has no way of renewing that cannot also create: an address that
/// went a moment before comes back, with the lease of the order. A renewal
/// and a removal of the same address must therefore not be under way at once;
/// the core never orders one before the other was answered. What somebody
/// else removed may so come back unannounced, for one lease at most unless it
/// is renewed again.
pub struct Renewals {
    orders: mpsc::Sender<Stamped>,
}

impl Renewals {
    /// Starts the thread in the caller's network namespace. Before its answer
    /// stands an [`Event::AddressUnleased`] where the address is there for good
    /// now although a lease was ordered. While the channel of the answers is
    /// full the thread waits, and what waits behind it grows too old. When the
    /// handle is dropped, or nobody takes the answers any more, the thread
    /// ends; what waits is not carried out.
    ///
    /// Errors: no netlink socket or no thread could be had; nothing was started.
    pub fn start(answers: mpsc::Sender<Event<'static>>) -> io::Result<Renewals> {
        let line = Line::open()?;
        let (orders, waiting) = mpsc::channel(WAITING_MAX);
        let worker = Worker {
            waiting,
            answers,
            line,
        };
        super::spawn_in_time("vip-renewals", move || worker.run())?;
        Ok(Renewals { orders })
    }

    /// Never blocks. `order.lease` counts from when the kernel carries it out;
    /// `None` makes the address permanent. Gives the order back when 16,384
    /// wait already, or the thread is gone; nothing was changed then.
    pub fn renew(&self, order: AddressOrder) -> Result<(), AddressOrder> {
        let stamped = Stamped {
            order,
            at: timer::now(),
        };
        self.orders
            .try_send(stamped)
            .map_err(|refused| refused.into_inner().order)
    }
}

struct Worker {
    waiting: mpsc::Receiver<Stamped>,
    answers: mpsc::Sender<Event<'static>>,
    line: Line,
}

/// An order of the present chunk.
struct Renewal {
    order: AddressOrder,
    /// Why it is carried out without its lease.
    unleased: Option<String>,
    /// The interface's index, or why there will be no request.
    index: Result<u32, NotRenewed>,
}

/// What an IPv6 address is like before it is renewed.
enum Before {
    Absent,
    Leased,
    Permanent,
}

impl Worker {
    fn run(mut self) {
        let mut chunk = Vec::with_capacity(CHUNK_MAX);
        while self.waiting.blocking_recv_many(&mut chunk, CHUNK_MAX) > 0 {
            let over = self.waiting.is_closed() || self.answers.is_closed();
            self.carry_out(chunk.drain(..), over);
        }
    }

    fn carry_out(&mut self, chunk: impl Iterator<Item = Stamped>, over: bool) {
        let mut indexes = Indexes::new();
        let mut promotions = Promotions::default();
        let mut renewals: Vec<Renewal> = chunk
            .map(|stamped| prepare(&stamped, over, &mut indexes, &mut promotions))
            .collect();
        self.ease_prefix_routes(&mut renewals);
        let (progress, failure) = self.line.submit(renewals.iter().map(request));
        if let Some(error) = &failure {
            tracing::warn!("renewals: {error}; a new netlink socket will be opened");
        }
        for (renewal, progress) in renewals.into_iter().zip(progress) {
            let order = &renewal.order;
            let outcome = match renewal.index {
                Err(reason) => Err(reason),
                Ok(_) => outcome(order, progress, failure.as_deref()).map_err(NotRenewed::Failed),
            };
            // Sending fails only when nobody listens any more, which `run`
            // notices.
            if let Some(reason) = renewal.unleased.filter(|_| outcome.is_ok()) {
                let _ = self.answers.blocking_send(unleased(order, reason));
            }
            let _ = self.answers.blocking_send(Event::AddressRenewed {
                instance: order.instance,
                address: order.address,
                outcome,
            });
        }
    }

    /// When a permanent IPv6 address is leased, the kernel lets its prefix
    /// route expire at a wrong time, in the past, and does so even where a
    /// permanent address of the host needs the same route. So such an address
    /// first gives up its claim to the route, which leaves the host's alone;
    /// the renewal itself then claims it anew.
    fn ease_prefix_routes(&mut self, renewals: &mut [Renewal]) {
        let mut claims = Vec::new();
        for renewal in renewals {
            let order = &renewal.order;
            let (Ok(index), IpNet::V6(_)) = (&renewal.index, order.network) else {
                continue;
            };
            let index = *index;
            match self.before(order.network.addr(), index) {
                Ok(Before::Absent) => {
                    renewal.index = Err(NotRenewed::Failed(format!(
                        "{} is not on {} any more; nothing was changed",
                        order.network.addr(),
                        order.interface
                    )));
                }
                Ok(Before::Leased) => {}
                Ok(Before::Permanent) if order.no_prefix_route || order.lease.is_none() => {}
                Ok(Before::Permanent) => claims.push(Ok(lease_request(
                    &AddressOrder {
                        no_prefix_route: true,
                        ..order.clone()
                    },
                    index,
                ))),
                Err(error) => {
                    renewal.index = Err(NotRenewed::Failed(format!(
                        "{error}; nothing was changed for {} on {}",
                        order.network.addr(),
                        order.interface
                    )));
                }
            }
        }
        if !claims.is_empty() {
            // Whatever is wrong is wrong for the renewal too, which tells.
            let _ = self.line.submit(claims);
        }
    }

    /// Asked without the lock that changes of the network take.
    fn before(&mut self, address: IpAddr, index: u32) -> Result<Before, RouteError> {
        let mut message = AddressMessage::default();
        message.header = AddressHeader {
            family: AddressFamily::Inet6,
            index,
            ..AddressHeader::default()
        };
        message.attributes = vec![AddressAttribute::Address(address)];
        let question = RouteNetlinkMessage::GetAddress(message);
        let mut permanent = false;
        let mut socket = self.line.take()?;
        let deadline = Clock::now() + PATIENCE;
        let asked = socket.ask(question, 0, deadline, &mut |kind, payload| {
            permanent |= kind == libc::RTM_NEWADDR && is_permanent(payload);
        });
        match asked {
            Ok(_) => {
                self.line.give_back(socket);
                Ok(match permanent {
                    true => Before::Permanent,
                    false => Before::Leased,
                })
            }
            Err(RouteError::Refused(refusal)) => {
                self.line.give_back(socket);
                match refusal.errno {
                    Errno::EADDRNOTAVAIL => Ok(Before::Absent),
                    _ => Err(RouteError::Refused(refusal)),
                }
            }
            // The socket is given up with the late answer.
            Err(error) => Err(error),
        }
    }
}

/// Judged when its turn has come, right before it is carried out.
fn prepare(
    stamped: &Stamped,
    over: bool,
    indexes: &mut Indexes,
    promotions: &mut Promotions,
) -> Renewal {
    let (order, unleased) = promotions.lease(&stamped.order);
    let interface = order.interface;
    let index = if timer::now().since(stamped.at) > AGE_MAX {
        Err(NotRenewed::TooOld)
    } else if over {
        let words = "the agent ends; nothing was changed".to_owned();
        Err(NotRenewed::Failed(words))
    } else {
        look_up(interface, indexes)
            .map_err(|errno| NotRenewed::Failed(no_interface(interface, errno)))
    };
    Renewal {
        order,
        unleased,
        index,
    }
}

fn request(renewal: &Renewal) -> Request {
    match renewal.index {
        Ok(index) => Ok(lease_request(&renewal.order, index)),
        // What to answer is known already.
        Err(_) => Err(Ok(())),
    }
}

fn outcome(order: &AddressOrder, progress: Progress, failure: Option<&str>) -> Result<(), String> {
    match progress {
        Progress::Answered(verdict) => judge_renewal(order, verdict),
        Progress::Settled(outcome) => outcome,
        Progress::Sent => Err(format!(
            "{}; the lease of {} on {} may run out",
            failure.unwrap_or("the kernel's answer was lost"),
            order.network.addr(),
            order.interface
        )),
    }
}

fn is_permanent(payload: &[u8]) -> bool {
    let Ok(header) = AddressHeader::parse(payload) else {
        return false;
    };
    // The attribute repeats these eight bits and has more.
    AddressFlags::from_bits_retain(u32::from(header.flags.bits())).contains(AddressFlags::Permanent)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::socket::RouteSocket;
    use super::*;
    use crate::agent::values::{AddressIndex, InstanceId, Lease};

    fn stamped(network: &str) -> Stamped {
        Stamped {
            order: AddressOrder {
                instance: InstanceId(1),
                address: AddressIndex(2),
                interface: "lo".parse().unwrap(),
                network: network.parse().unwrap(),
                no_prefix_route: true,
                promote_secondaries: false,
                label: None,
                source_address: false,
                lease: Lease::from_seconds(2),
                lingers: false,
            },
            at: timer::now(),
        }
    }

    fn outcomes(events: &mut mpsc::Receiver<Event<'static>>) -> Vec<Result<(), NotRenewed>> {
        let mut outcomes = Vec::new();
        while let Ok(event) = events.try_recv() {
            match event {
                Event::AddressRenewed { outcome, .. } => outcomes.push(outcome),
                other => panic!("{other:?}"),
            }
        }
        outcomes
    }

    /// A kernel that is silent, and one whose socket is none: each order is
    /// answered, and the next chunk has a new socket.
    #[test]
    fn a_failed_socket_is_replaced_and_its_orders_are_answered() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (ours, _silent) = UnixDatagram::pair().unwrap();
        for (broken, words) in [
            (
                RouteSocket::replaced_by(file.into()),
                "the netlink socket failed: ",
            ),
            (
                RouteSocket::replaced_by(ours.into()),
                "the kernel gave no answer within 50ms",
            ),
        ] {
            let (_, waiting) = mpsc::channel(1);
            let (answers, mut events) = mpsc::channel(16);
            let line = Line::over(broken).with_patience(Duration::from_millis(50));
            let mut worker = Worker {
                waiting,
                answers,
                line,
            };
            let pair = || [stamped("192.0.2.77/32"), stamped("192.0.2.78/32")];
            worker.carry_out(pair().into_iter(), false);
            let first = outcomes(&mut events);
            let [Err(NotRenewed::Failed(one)), Err(NotRenewed::Failed(_))] = &first[..] else {
                panic!("{first:?}");
            };
            assert!(one.starts_with(words), "{one}");
            assert!(
                one.ends_with("; the lease of 192.0.2.77 on lo may run out"),
                "{one}"
            );
            // An agent that ends renews nothing, and says so.
            worker.carry_out(pair().into_iter(), true);
            let ending = NotRenewed::Failed("the agent ends; nothing was changed".to_owned());
            assert_eq!(outcomes(&mut events), [Err(ending.clone()), Err(ending)]);
            // An IPv6 address that is not there: a question that the kernel
            // answers, over the new socket.
            worker.carry_out([stamped("2001:db8::77/128")].into_iter(), false);
            let third = outcomes(&mut events);
            let [Err(NotRenewed::Failed(text))] = &third[..] else {
                panic!("{third:?}");
            };
            assert!(
                text.ends_with("nothing was changed") || text.contains("refused"),
                "{text}"
            );
        }
    }
}
