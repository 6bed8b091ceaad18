//! The interface that carries an instance's virtual hardware address: what it
//! is called, and the orders that make, raise, lower and remove it. The kernel's
//! last answer is the truth; a report that contradicts it for longer than it
//! could be stale makes it unknown, and it is ordered anew.

mod account;

pub(super) use account::{LinkAccount, LinkNews};

use std::net::Ipv4Addr;

use super::digest::fnv1a;
use super::settings::InstanceSettings;
use super::values::{Family, InstanceId, InterfaceName, MacAddress, Vrid};

/// As the kernel allows them.
const NAME_BYTES_MAX: usize = 15;

/// RFC 9568 section 7.3: the last byte is the VRID.
const IPV4_PREFIX: [u8; 5] = [0x00, 0x00, 0x5e, 0x00, 0x01];
const IPV6_PREFIX: [u8; 5] = [0x00, 0x00, 0x5e, 0x00, 0x02];

/// What one instance's virtual hardware address needs: all of it follows from
/// interface, family and VRID, by which other hosts know the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VirtualLink {
    pub name: InterfaceName,
    /// The interface of the instance.
    pub parent: InterfaceName,
    pub hardware_address: MacAddress,
}

impl VirtualLink {
    pub fn new(parent: InterfaceName, family: Family, vrid: Vrid) -> Self {
        Self {
            name: name(parent, family, vrid),
            parent,
            hardware_address: hardware_address(family, vrid),
        }
    }

    /// `None` where the instance speaks by its interface's own address.
    pub fn of(settings: &InstanceSettings) -> Option<Self> {
        let link = || Self::new(settings.interface, settings.family, settings.vrid);
        settings.virtual_mac.then(link)
    }
}

/// The virtual router's, whichever host is Active.
pub fn hardware_address(family: Family, vrid: Vrid) -> MacAddress {
    let [a, b, c, d, e] = match family {
        Family::Ipv4 => IPV4_PREFIX,
        Family::Ipv6 => IPV6_PREFIX,
    };
    MacAddress([a, b, c, d, e, vrid.get()])
}

/// Whether some virtual router has this hardware address.
pub fn is_virtual(address: MacAddress) -> bool {
    address.0.starts_with(&IPV4_PREFIX) || address.0.starts_with(&IPV6_PREFIX)
}

/// `vr4-51-eth0`; a parent's name that is too long is replaced by its digest.
fn name(parent: InterfaceName, family: Family, vrid: Vrid) -> InterfaceName {
    let digit = match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    let begin = format!("vr{digit}-{vrid}-");
    let room = NAME_BYTES_MAX.saturating_sub(begin.len());
    let whole = parent.as_str();
    let end = match whole.len() <= room {
        true => whole.to_owned(),
        false => short(whole, room),
    };
    // Neither part has anything that a name may not have.
    format!("{begin}{end}").parse().unwrap_or(parent)
}

/// Base 36, `length` digits.
fn short(text: &str, length: usize) -> String {
    let mut rest = fnv1a(text.bytes());
    let digits = (0..length).map(|_| {
        let digit = u32::try_from(rest % 36).unwrap_or(0);
        rest /= 36;
        char::from_digit(digit, 36).unwrap_or('0')
    });
    digits.collect()
}

/// What the kernel is asked to bring about, whatever there is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOrder {
    pub instance: InstanceId,
    pub link: VirtualLink,
    pub state: LinkState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    Absent,
    /// There and down: no frame to the virtual address is taken.
    Down,
    Up(Raised),
}

/// How it is when it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The parent's.
    pub mtu: u32,
    /// For these the parent neither answers ARP nor asks in their name: it
    /// would do so with its own hardware address. Sorted.
    pub guarded: Vec<Ipv4Addr>,
    /// In whose name it asks instead; unspecified where it has no address.
    pub speaks_as: Ipv4Addr,
}

/// A [`LinkOrder`] was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChanged {
    /// Why the parent may still speak for the guarded addresses, in words.
    pub unguarded: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(parent: &str, family: Family, vrid: u8) -> VirtualLink {
        VirtualLink::new(parent.parse().unwrap(), family, Vrid::new(vrid).unwrap())
    }

    #[test]
    fn the_address_is_the_virtual_router_s() {
        let ipv4 = link("eth0", Family::Ipv4, 51);
        assert_eq!(ipv4.hardware_address.to_string(), "00:00:5e:00:01:33");
        let ipv6 = link("eth0", Family::Ipv6, 255);
        assert_eq!(ipv6.hardware_address.to_string(), "00:00:5e:00:02:ff");
        assert!(is_virtual(ipv4.hardware_address) && is_virtual(ipv6.hardware_address));
        assert!(!is_virtual(MacAddress([0, 0, 0x5e, 0, 3, 51])));
    }

    #[test]
    fn the_name_tells_whose_it_is_and_is_never_too_long() {
        assert_eq!(link("eth0", Family::Ipv4, 51).name.as_str(), "vr4-51-eth0");
        assert_eq!(
            link("br-lan7", Family::Ipv6, 255).name.as_str(),
            "vr6-255-br-lan7"
        );
        let one = link("enp65s0f0np0", Family::Ipv4, 51).name;
        let other = link("enp65s0f1np1", Family::Ipv4, 51).name;
        assert_eq!(one.as_str().len(), NAME_BYTES_MAX);
        assert!(one.as_str().starts_with("vr4-51-"), "{one}");
        assert_ne!(one, other);
        // Every host and version gives it the same.
        assert_eq!(one.as_str(), "vr4-51-8rlxo249");
    }
}
