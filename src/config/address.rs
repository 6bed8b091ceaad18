//! Addresses as they are written: virtual ones with their options, and those
//! of hosts.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::agent::values::{BadInterfaceName, Family, InterfaceName};

use super::fault::{Finding, Findings, Place, quoted};
use super::keys;
use super::read::{self, Field, Read, Section};
use super::yaml::{Node, Value};

/// One entry of `addresses`, as far as it could be read.
#[derive(Clone, Debug)]
pub(super) struct AddressDraft {
    pub network: IpNet,
    /// Of the address itself.
    pub place: Place,
    pub interface: Field<InterfaceName>,
    pub label: Field<String>,
    pub advertise: Field<bool>,
    pub required: Field<bool>,
    pub source_address: Field<bool>,
}

impl AddressDraft {
    pub fn address(&self) -> IpAddr {
        self.network.addr()
    }

    pub fn family(&self) -> Family {
        Family::of(self.address())
    }
}

/// A string, or a section with `address` and options.
pub(super) fn virtual_address(node: &Node, out: &mut Findings) -> Option<AddressDraft> {
    if !matches!(node.value, Value::Map(_)) {
        let network = out.keep(virtual_network(node))?;
        return Some(AddressDraft {
            network,
            place: node.place,
            interface: Field::Absent,
            label: Field::Absent,
            advertise: Field::Absent,
            required: Field::Absent,
            source_address: Field::Absent,
        });
    }
    if let Some(address) = ends_in_colon(node) {
        let title = format!("`{address}` is a key to YAML, because a colon ends it");
        let label = format!("write \"{address}\" in quotes");
        out.fault(Finding::at(node.place, title, label));
        return None;
    }
    let section = Section::open(node, &keys::ADDRESS, out)?;
    let network = section.field("address", out, virtual_network);
    if section.lacks("address") {
        out.fault(
            Finding::at(node.place, "`address` is missing", "in this entry")
                .help("write `{ address: 192.0.2.10/24, ... }`"),
        );
    }
    let interface = section.field("interface", out, interface);
    let label = section.field("label", out, |node| {
        read::word(node, "a label").map(str::to_owned)
    });
    let advertise = section.field("advertise", out, read::boolean);
    let required = section.field("required", out, read::boolean);
    let source_address = section.field("source_address", out, read::boolean);
    let network = network.given()?;
    Some(AddressDraft {
        network: network.value,
        place: network.place,
        interface,
        label,
        advertise,
        required,
        source_address,
    })
}

/// `- 2001:db8::` is the key `2001:db8:` without a value.
fn ends_in_colon(node: &Node) -> Option<Ipv6Addr> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let [(key, value)] = entries.as_slice() else {
        return None;
    };
    match (&key.value, &value.value) {
        (Value::Scalar(key), Value::Null) => format!("{}:", key.text).parse().ok(),
        _ => None,
    }
}

pub(super) fn interface(node: &Node) -> Read<InterfaceName> {
    let name = read::word(node, "the name of an interface")?;
    let parsed = match name.chars().any(char::is_control) {
        true => Err(BadInterfaceName),
        false => name.parse(),
    };
    parsed.map_err(|error| {
        let title = format!("{} cannot be the name of an interface", quoted(name));
        Finding::at(node.place, title, "write a name that `ip link` shows").help(format!("{error}"))
    })
}

/// An address that a host may hold for others, with its prefix length. Without
/// one it is a host route (/32, /128).
fn virtual_network(node: &Node) -> Read<IpNet> {
    let text = text(node)?;
    let network = match text.split_once('/').filter(|_| !text.contains(' ')) {
        None => IpNet::from(address(node, text)?),
        Some((address_text, prefix_text)) => {
            let address = address(node, address_text)?;
            prefix(prefix_text)
                .and_then(|prefix| IpNet::new(address, prefix).ok())
                .ok_or_else(|| bad_prefix(node, address, prefix_text))?
        }
    };
    match unfit(network) {
        None => Ok(network),
        Some(reason) => {
            let title = format!("{} cannot be a virtual address: {reason}", quoted(text));
            let example = match network {
                IpNet::V4(_) => "192.0.2.10/24",
                IpNet::V6(_) => "2001:db8::10/64",
            };
            Err(Finding::at(
                node.place,
                title,
                format!("write one such as `{example}`"),
            ))
        }
    }
}

/// Digits only, so that `/+24` and `/024` are refused.
pub(super) fn prefix(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

pub(super) fn bad_prefix(node: &Node, address: IpAddr, written: &str) -> Finding {
    let longest = longest_prefix(address);
    let title = format!("{} is not a prefix length", quoted(written));
    let mask = written
        .parse()
        .ok()
        .and_then(|mask| ipnet::ip_mask_to_prefix(mask).ok());
    let label = match mask.filter(|_| address.is_ipv4()) {
        Some(prefix) => format!("write `{address}/{prefix}`"),
        None => format!("write 1 to {longest} after the `/`"),
    };
    Finding::at(node.place, title, label)
}

fn longest_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address of a host: a peer's or our own.
pub(super) fn host(node: &Node) -> Read<IpAddr> {
    host_as(node, text(node)?)
}

fn host_as(node: &Node, text: &str) -> Read<IpAddr> {
    if let Some((bare, _)) = text.split_once('/') {
        let address = address(node, bare)?;
        let title = format!(
            "a host's address has no prefix length, and this is {}",
            quoted(text)
        );
        return Err(Finding::at(node.place, title, format!("write `{address}`")));
    }
    let address = address(node, text)?;
    match unfit(IpNet::from(address)) {
        None => Ok(address),
        Some(reason) => {
            let title = format!("{} cannot be the address of a host: {reason}", quoted(text));
            Err(Finding::at(node.place, title, "write an address of a host"))
        }
    }
}

/// An address by which a node of the cluster is reached. Loopback addresses
/// pass: where they make no sense is judged with the others.
pub(super) fn of_node(node: &Node, text: &str) -> Read<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        if address.is_loopback() {
            return Ok(address);
        }
        if let IpAddr::V6(v6) = address
            && v6.is_unicast_link_local()
        {
            let title = format!("{address} is a link-local address");
            return Err(Finding::at(
                node.place,
                title,
                "write one of a larger scope, such as `fd00::1`",
            )
            .help("it is the same on every link, so the interface would have to be known too"));
        }
    }
    host_as(node, text)
}

pub(super) fn text(node: &Node) -> Read<&str> {
    let scalar = read::scalar(node, "an IP address")?;
    Ok(scalar.text.trim())
}

pub(super) fn address(node: &Node, text: &str) -> Read<IpAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let title = format!("{} is not an IP address", quoted(text));
    let fault = |label: String| Finding::at(node.place, title.clone(), label);
    if let Some(bare) = without_zeros(text) {
        return Err(fault(format!("write `{bare}`"))
            .help("numbers with a leading 0 are octal to some programs and decimal to others"));
    }
    if let Some((bare, _)) = text.split_once('%') {
        return Err(fault(format!("write {}", quoted(bare)))
            .help("the zone is not written here: the interface of the instance or address is it"));
    }
    let words = text.split_whitespace().count();
    if words > 1 {
        return Err(fault("write options as keys".to_owned())
            .help("such as `{ address: 192.0.2.10/24, interface: eth1, label: \"eth1:web\" }`"));
    }
    Err(
        fault("write an address, such as `192.0.2.10` or `2001:db8::10`".to_owned())
            .help("names are not looked up: an election cannot wait for a name server"),
    )
}

/// `192.000.002.010` as it was probably meant.
fn without_zeros(text: &str) -> Option<std::net::Ipv4Addr> {
    let mut parts = Vec::new();
    for part in text.split('.') {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        let number = part.parse::<u8>().ok().filter(|_| digits)?;
        parts.push(number);
    }
    <[u8; 4]>::try_from(parts)
        .ok()
        .map(std::net::Ipv4Addr::from)
}

/// Why no host can hold this address.
fn unfit(network: IpNet) -> Option<String> {
    let address = network.addr();
    if network.prefix_len() == 0 {
        return Some("with prefix length 0 its subnet would be every address there is".to_owned());
    }
    let reason = match address {
        IpAddr::V4(v4) if v4.is_unspecified() || v4.octets().first() == Some(&0) => {
            "addresses that begin with 0 mean no host"
        }
        IpAddr::V4(v4) if v4.is_broadcast() => "it is the broadcast address",
        IpAddr::V6(v6) if v6.is_unspecified() => "it means no address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            "it is an IPv4 address written as IPv6: write it as IPv4"
        }
        _ if address.is_loopback() => "it is a loopback address, which never leaves the host",
        _ if address.is_multicast() => "it is a multicast address",
        _ => return edge_of_subnet(network),
    };
    Some(reason.to_owned())
}

/// The subnet's own address or its broadcast address.
fn edge_of_subnet(network: IpNet) -> Option<String> {
    let address = network.addr();
    let subnet = network.trunc();
    match network {
        IpNet::V4(v4) if v4.prefix_len() < 31 && address == subnet.addr() => {
            Some(format!("it is the address of the subnet {subnet} itself"))
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            Some(format!("it is the broadcast address of {subnet}"))
        }
        // RFC 4291 section 2.6.1: the routers' anycast address.
        IpNet::V6(v6) if v6.prefix_len() < 127 && address == subnet.addr() => Some(format!(
            "it is the anycast address of the routers of {subnet}"
        )),
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

/// Means something only on one link: may be held on several interfaces.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => Ipv6Addr::is_unicast_link_local(&v6),
    }
}
