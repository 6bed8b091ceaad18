//! What happened, in order, for people and for assertions.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::action::AddressOrder;
use vipward::agent::cluster::message::Word;
use vipward::agent::jobs::Job;
use vipward::agent::report::Report;
use vipward::agent::routing::RoutingOrder;
use vipward::agent::time::Instant;
use vipward::agent::values::{InstanceId, InterfaceName, NodeName};
use vipward::agent::virtual_link::LinkOrder;

use super::HostId;

#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Instant,
    /// Absent: the hand of the story.
    pub host: Option<HostId>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Sent {
        instance: InstanceId,
        source: IpAddr,
        priority: u8,
        /// The interface with the virtual hardware address, if by that.
        link: Option<InterfaceName>,
    },
    Announced {
        instance: InstanceId,
        interface: InterfaceName,
        address: IpAddr,
    },
    Add(AddressOrder),
    Renew(AddressOrder),
    Remove(AddressOrder),
    /// About a route or rule.
    Routing(RoutingOrder),
    /// About an interface with a virtual hardware address.
    Link(LinkOrder),
    /// For the hardware address of a peer.
    Asked(IpAddr),
    /// Who else answers for an address of ours.
    Probed(IpAddr),
    /// Who has an address that is not claimed yet.
    Inquired(IpAddr),
    /// By the peer link.
    Told(NodeName, Vec<Word>),
    /// A check or hook, not answered by itself.
    Started(Job),
    Reported(Report),
    /// What the agent was told.
    Got(String),
    /// What the story did.
    Story(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Sent {
                instance,
                source,
                priority,
                link,
            } => {
                let by = link.map(|link| format!(" by {link}")).unwrap_or_default();
                let id = instance.0;
                write!(f, "  -> ADVERT #{id} priority {priority} from {source}{by}")
            }
            What::Announced {
                instance,
                interface,
                address,
            } => write!(f, "  -> announce #{} {address} on {interface}", instance.0),
            What::Add(order) => write!(
                f,
                "  -> add #{} {} to {}{}{}",
                order.instance.0,
                order.network,
                order.interface,
                if order.no_prefix_route {
                    " noprefixroute"
                } else {
                    ""
                },
                if order.promote_secondaries {
                    " promote_secondaries"
                } else {
                    ""
                },
            ),
            What::Renew(order) => write!(
                f,
                "  -> renew #{} {} on {}",
                order.instance.0, order.network, order.interface
            ),
            What::Remove(order) => write!(
                f,
                "  -> remove #{} {} from {}",
                order.instance.0, order.network, order.interface
            ),
            What::Routing(order) => write!(
                f,
                "  -> #{} {}",
                order.instance.0,
                super::routing::words(order)
            ),
            What::Link(order) => write!(
                f,
                "  -> #{} {}: {:?}",
                order.instance.0, order.link.name, order.state
            ),
            What::Started(job) => write!(f, "  -> start {:?}", job.task),
            What::Probed(address) => write!(f, "  -> who else has {address}?"),
            What::Inquired(address) => write!(f, "  -> does anybody have {address}?"),
            What::Told(node, words) if words.is_empty() => write!(f, "  -> tells {node}"),
            What::Told(node, words) => write!(f, "  -> tells {node} {words:?}"),
            What::Asked(target) => write!(f, "  -> who has {target}?"),
            What::Reported(report) => {
                let name = report.instance.as_ref().map_or("-", |name| name.as_str());
                write!(f, "  says {name}: {}", report.fact)
            }
            What::Got(text) => write!(f, "{text}"),
            What::Story(text) => write!(f, "=== {text}"),
        }
    }
}

#[derive(Debug)]
pub struct Trace {
    pub entries: Vec<Entry>,
    /// Off where nobody asks and nobody reads: words take time.
    pub records: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            records: true,
        }
    }
}

/// So much of a long trace is printed.
const LINES_PRINTED: usize = 400;

impl Trace {
    pub fn note(&mut self, at: Instant, host: Option<HostId>, what: What) {
        self.entries.push(Entry { at, host, what });
    }

    /// All of it, for a file.
    pub fn print_all(&self, start: Instant, names: &[String]) -> String {
        self.lines(0, start, names)
    }

    /// For a person: seconds since `start`, the host, what happened.
    pub fn print(&self, start: Instant, names: &[String]) -> String {
        let skipped = self.entries.len().saturating_sub(LINES_PRINTED);
        let mut text = String::from("--- trace");
        if skipped > 0 {
            text.push_str(&format!(" (the first {skipped} entries left out)"));
        }
        text.push('\n');
        text.push_str(&self.lines(skipped, start, names));
        text
    }

    fn lines(&self, skipped: usize, start: Instant, names: &[String]) -> String {
        let mut text = String::new();
        for entry in self.entries.iter().skip(skipped) {
            let host = entry.host.and_then(|host| names.get(host.0));
            let host = host.map_or("", String::as_str);
            let at = seconds(entry.at.since(start));
            text.push_str(&format!("{at} {host:>6}  {}\n", entry.what));
        }
        text
    }
}

fn seconds(span: Duration) -> String {
    format!("{:>6}.{:06}", span.as_secs(), span.subsec_micros())
}
