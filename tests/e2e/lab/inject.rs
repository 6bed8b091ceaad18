//! Advertisements made by hand, sound or not, sent from any host as whole
//! Ethernet frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Type};

use super::Host;
use super::frame::{ones_complement_sum, pseudo_header};

/// A sound version 3 advertisement until a field is changed.
#[derive(Clone, Debug)]
pub struct Forged {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub version: u8,
    pub kind: u8,
    pub vrid: u8,
    pub priority: u8,
    pub count: u8,
    pub interval_cs: u16,
    /// Version 2 only.
    pub authentication: u8,
    pub addresses: Vec<IpAddr>,
    /// Added to the right checksum.
    pub checksum_error: u16,
    /// Cut from the end, or appended zeros.
    pub length_change: i8,
}

impl Forged {
    /// VRID 51, 192.0.2.100, every 300 ms, to the group.
    pub fn v4(source: IpAddr, priority: u8) -> Self {
        Self {
            source,
            destination: Ipv4Addr::new(224, 0, 0, 18).into(),
            ttl: 255,
            version: 3,
            kind: 1,
            vrid: 51,
            priority,
            count: 1,
            interval_cs: 30,
            authentication: 0,
            addresses: vec![Ipv4Addr::new(192, 0, 2, 100).into()],
            checksum_error: 0,
            length_change: 0,
        }
    }

    fn message(&self) -> Vec<u8> {
        let timing = if self.version == 2 {
            let seconds = u8::try_from(self.interval_cs / 100).expect("seconds");
            [self.authentication, seconds]
        } else {
            self.interval_cs.to_be_bytes()
        };
        let mut bytes = vec![
            self.version << 4 | self.kind,
            self.vrid,
            self.priority,
            self.count,
            timing[0],
            timing[1],
            0,
            0,
        ];
        for address in &self.addresses {
            match address {
                IpAddr::V4(v4) => bytes.extend(v4.octets()),
                IpAddr::V6(v6) => bytes.extend(v6.octets()),
            }
        }
        if self.version == 2 {
            bytes.extend([0; 8]);
        }
        let length = bytes.len().saturating_add_signed(self.length_change.into());
        bytes.resize(length, 0);
        let mut covered = bytes.clone();
        if self.version != 2 {
            covered.extend(pseudo_header(self.source, self.destination, bytes.len()));
        }
        let sum = (!ones_complement_sum(&covered)).wrapping_add(self.checksum_error);
        if let Some(field) = bytes.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// The whole frame as it leaves `sender`'s eth0.
    pub fn frame(&self, sender: &Host, to: [u8; 6]) -> Vec<u8> {
        let message = self.message();
        let mut frame = to.to_vec();
        frame.extend(sender.mac("eth0").0);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00]);
                frame.extend(ipv4_header(source, destination, self.ttl, message.len()));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd]);
                frame.extend(ipv6_header(source, destination, self.ttl, message.len()));
            }
            _ => panic!("source and destination of two families"),
        }
        frame.extend(message);
        frame
    }
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, length: usize) -> Vec<u8> {
    let total = u16::try_from(20 + length)
        .expect("a short packet")
        .to_be_bytes();
    let mut header = vec![0x45, 0xc0, total[0], total[1], 0, 0, 0, 0, ttl, 112, 0, 0];
    header.extend(source.octets());
    header.extend(destination.octets());
    let sum = !ones_complement_sum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6_header(source: Ipv6Addr, destination: Ipv6Addr, hops: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).expect("a short packet").to_be_bytes();
    let mut header = vec![0x6c, 0, 0, 0, length[0], length[1], 112, hops];
    header.extend(source.octets());
    header.extend(destination.octets());
    header
}

/// A frame to the VRRP group with this message, whatever it says; IPv4.
pub fn carrying(sender: &Host, source: IpAddr, message: &[u8]) -> Vec<u8> {
    let IpAddr::V4(source) = source else {
        panic!("{source} is none of IPv4");
    };
    let group = Ipv4Addr::new(224, 0, 0, 18);
    let mut frame = [GROUP_MAC, sender.mac("eth0").0].concat();
    frame.extend([0x08, 0x00]);
    frame.extend(ipv4_header(source, group, 255, message.len()));
    frame.extend(message);
    frame
}

/// An ARP request by which `sender` claims `address` for itself.
pub fn gratuitous_arp(sender: &Host, address: Ipv4Addr) -> Vec<u8> {
    let mac = sender.mac("eth0").0;
    let request = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    let mut frame = [[0xff; 6].as_slice(), &mac, &request, &mac].concat();
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// Where the VRRP group lives on Ethernet.
pub const GROUP_MAC: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];

impl Host {
    /// Sends these to the VRRP group.
    pub fn inject(&self, forged: &[Forged]) {
        self.inject_to(GROUP_MAC, forged);
    }

    /// Sends these to one hardware address, from eth0.
    pub fn inject_to(&self, to: [u8; 6], forged: &[Forged]) {
        let frames: Vec<_> = forged.iter().map(|one| one.frame(self, to)).collect();
        self.send(&frames);
    }

    /// Sends these as they are, from eth0.
    pub fn send(&self, frames: &[Vec<u8>]) {
        let send = self.sender();
        frames.iter().for_each(|frame| send(frame));
    }

    /// What sends a frame as it is, from eth0.
    pub fn sender(&self) -> impl Fn(&[u8]) + Send + use<> {
        let (socket, eth0) = self.namespace.run(|| {
            let socket =
                socket2::Socket::new(Domain::PACKET, Type::RAW, None).expect("a packet socket");
            (socket, eth0())
        });
        move |frame| {
            sendto(socket.as_raw_fd(), frame, &eth0, MsgFlags::empty()).expect("it is sent");
        }
    }
}

fn eth0() -> LinkAddr {
    getifaddrs()
        .expect("the interfaces")
        .filter(|entry| entry.interface_name == "eth0")
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .expect("eth0")
}
