//! Who asks the host for its addresses.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use serde_json::Value;
use vipward::net::namespace::Namespace;

use super::ip;

/// A client in a namespace of its own at the other end of the cable.
pub struct Client(pub Namespace);

impl Client {
    pub fn new() -> Self {
        let client = Self(Namespace::create().unwrap());
        let descriptor = client.0.as_fd().as_raw_fd();
        let path = format!("/proc/{}/fd/{descriptor}", std::process::id());
        ip(&format!("link set far netns {path}"));
        for command in [
            "link set far up",
            "addr add 192.0.2.3/24 dev far",
            "addr add 2001:db8::3/64 dev far nodad",
        ] {
            client.ip(command);
        }
        client
    }

    pub fn ip(&self, arguments: &str) -> String {
        self.0.run(|| ip(arguments)).unwrap()
    }

    /// Forgets everything, asks anew, and is answered.
    pub fn learns(&self, address: IpAddr) -> String {
        self.ip("neigh flush dev far");
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.0.run(|| is_reached(any, address)).unwrap();
        self.knows(address)
    }

    pub fn knows(&self, address: IpAddr) -> String {
        let text = self.ip(&format!("-json neigh show {address}"));
        let entries: Value = serde_json::from_str(&text).unwrap();
        entries[0]["lladdr"].as_str().unwrap_or_default().to_owned()
    }

    /// Who answers for the address, forgotten before; nothing where nobody
    /// does within 200 ms.
    pub fn asks(&self, address: Ipv4Addr) -> String {
        self.ip("neigh flush dev far");
        let ask = || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let patience = Some(Duration::from_millis(200));
            socket.set_read_timeout(patience).unwrap();
            socket.connect((address, 9)).unwrap();
            socket.send(b"?").unwrap();
            let _ = socket.recv(&mut [0; 8]);
        };
        self.0.run(ask).unwrap();
        self.knows(address.into())
    }
}

/// A port where nobody listens: the other kernel says so.
pub fn is_reached(from: IpAddr, to: IpAddr) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    let patience = Some(Duration::from_secs(3));
    socket.set_read_timeout(patience).unwrap();
    socket.connect((to, 9)).unwrap();
    socket.send(b"?").unwrap();
    let refused = socket.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::ConnectionRefused,
        "{from} asked {to}"
    );
}
