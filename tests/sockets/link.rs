//! Two hosts: network namespaces that end with the test, joined by two veth
//! pairs, a0 with b0 and a1 with b1.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use vipward::agent::event::Claim;
use vipward::agent::event::Heard;
use vipward::agent::values::{Family, InterfaceName, MacAddress};
use vipward::net::advert_socket::AdvertSocket;
use vipward::net::announcement_watch::AnnouncementWatch;

/// Far above what anything here takes.
pub const PATIENCE_MS: u16 = 5_000;

pub struct Host {
    namespace: File,
}

/// The hosts `a` and `b`; their addresses end in the given numbers.
pub struct Link {
    pub a: Host,
    pub b: Host,
}

impl Link {
    /// Leaves the calling thread in `a`, so it must be the test's own.
    pub fn new() -> Self {
        let b = Host::new();
        let a = Host::new();
        let peer = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            b.namespace.as_raw_fd()
        );
        for number in ["0", "1"] {
            ip(&format!(
                "link add a{number} type veth peer name b{number} netns {peer}"
            ));
        }
        a.configure("a", 1);
        b.configure("b", 2);
        a.wait_until_up(["a0", "a1"]);
        b.wait_until_up(["b0", "b1"]);
        a.run(|| ip("addr add 192.0.2.9/24 dev a0"));
        a.run(|| ip("addr add 2001:db8::9/64 dev a0 nodad"));
        Self { a, b }
    }
}

impl Host {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        // Link-local addresses must be usable at once.
        std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").expect("no DAD");
        ip("link set lo up");
        let namespace = File::open("/proc/thread-self/ns/net").expect("the namespace's file");
        Self { namespace }
    }

    fn configure(&self, letter: &str, number: u8) {
        self.run(|| {
            for (pair, prefix) in [(0, "192.0.2"), (1, "198.51.100")] {
                let name = format!("{letter}{pair}");
                ip(&format!(
                    "link set {name} address 02:00:00:00:{pair:02}:{number:02}"
                ));
                ip(&format!("link set {name} up"));
                ip(&format!("addr add {prefix}.{number}/24 dev {name}"));
                ip(&format!(
                    "addr add 2001:db8:{pair}::{number}/64 dev {name} nodad"
                ));
            }
        });
    }

    /// For a moment after the carrier came the kernel drops what it accepts
    /// for sending.
    fn wait_until_up(&self, names: [&str; 2]) {
        let deadline = Instant::now() + Duration::from_millis(PATIENCE_MS.into());
        for name in names {
            let show = format!("link show dev {name}");
            while !self.run(|| ip(&show)).contains("state UP") {
                assert!(Instant::now() < deadline, "{name} does not come up");
            }
        }
    }

    /// Runs `work` with the calling thread in this host.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = File::open("/proc/thread-self/ns/net").expect("the namespace's file");
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("to enter the host");
        let outcome = work();
        setns(&before, CloneFlags::CLONE_NEWNET).expect("to return");
        outcome
    }

    pub fn advert_socket(&self, name: &str, family: Family, multicast: bool) -> AdvertSocket {
        self.run(|| {
            AdvertSocket::open(interface(name), index(name), family, multicast)
                .unwrap_or_else(|error| panic!("{error}"))
        })
    }

    pub fn watch(&self, name: &str, family: Family) -> AnnouncementWatch {
        self.run(|| {
            AnnouncementWatch::open(interface(name), index(name), family)
                .unwrap_or_else(|error| panic!("{error}"))
        })
    }

    /// Sees every frame that arrives at this host.
    pub fn capture(&self) -> Socket {
        let all = i32::from(0x0003_u16.to_be());
        let raw = Type::RAW.nonblocking();
        self.run(|| Socket::new(Domain::PACKET, raw, Some(Protocol::from(all))))
            .expect("a packet socket")
    }

    pub fn index(&self, name: &str) -> u32 {
        self.run(|| index(name))
    }

    /// The hardware address that this host has for its neighbour.
    pub fn neighbour(&self, address: IpAddr) -> String {
        let shown = self.run(|| ip(&format!("neigh show {address} dev b0")));
        let mut words = shown
            .split_whitespace()
            .skip_while(|word| *word != "lladdr");
        words.nth(1).unwrap_or_default().to_owned()
    }
}

pub fn mac(pair: u8, number: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, pair, number])
}

pub fn interface(name: &str) -> InterfaceName {
    name.parse().expect("a plain name")
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("the interface is there")
}

/// Read-locked by each child: it holds every descriptor of ours until it is
/// its program, and a moment longer than whoever started it can see.
static CHILDREN: RwLock<()> = RwLock::new(());

/// Closes a socket for good: its port can be bound again at once.
pub fn close<T>(socket: T) {
    let _no_child = CHILDREN.write();
    drop(socket);
}

pub fn ip(arguments: &str) -> String {
    let child = CHILDREN.read();
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("ip runs");
    drop(child);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn wait(socket: &impl AsFd) {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut fds, PATIENCE_MS).expect("poll");
    assert_eq!(ready, 1, "nothing arrived within {PATIENCE_MS} ms");
}

/// Repeats `send` until `socket` hears something, after a link came back.
pub fn send_until_heard(socket: &impl AsFd, mut send: impl FnMut()) {
    const PAUSE_MS: u16 = 10;
    for _ in 0..PATIENCE_MS / PAUSE_MS {
        send();
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PAUSE_MS).expect("poll") > 0 {
            return;
        }
    }
    panic!("nothing arrived within {PATIENCE_MS} ms");
}

/// The next packet, which must come.
pub fn hear<'b>(socket: &AdvertSocket, buffer: &'b mut [u8]) -> Heard<'b> {
    wait(socket);
    socket
        .recv(buffer)
        .expect("recv")
        .expect("a packet, as poll said")
}

pub fn watched(watch: &AnnouncementWatch) -> (IpAddr, MacAddress) {
    let claim = claim(watch);
    assert!(!claim.solicited, "{claim:?}");
    (claim.address, claim.hardware_address)
}

/// The next claim, which must come.
pub fn claim(watch: &AnnouncementWatch) -> Claim {
    wait(watch);
    let mut buffer = [0; 1500];
    let claim = watch.recv(&mut buffer).expect("recv");
    claim.expect("a claim, as poll said")
}

/// The next captured frame that `wanted` accepts.
pub fn captured(capture: &Socket, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut frame = [0; 1500];
    // Bounded by the frames that these quiet hosts can send meanwhile.
    for _ in 0..1000 {
        match (&*capture).read(&mut frame) {
            Ok(length) if wanted(&frame[..length]) => return frame[..length].to_vec(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(capture),
            Err(error) => panic!("capture: {error}"),
        }
    }
    panic!("a thousand frames and none of them the one");
}
