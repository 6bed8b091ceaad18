//! A small network for one trial: hosts as network namespaces on a bridge in
//! a namespace of its own, an observer on every port, programs inside hosts.

use std::cell::Cell;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub mod agent;
pub mod client;
pub mod cluster;
pub mod config;
pub mod fault;
pub mod frame;
pub mod guardian;
pub mod inject;
pub mod isolation;
pub mod namespace;
pub mod observer;
pub mod on_time;
pub mod outage;
pub mod prober;
pub mod process;
pub mod resolver;
pub mod service;
pub mod spacing;
pub mod stall;
pub mod stamped;
pub mod tap;
pub mod tools;
pub mod watch;

use config::Router;
use frame::Mac;
use namespace::Namespace;
use observer::Observer;
use process::Process;
use watch::Watch;

/// What a busy machine may take longer than it should.
pub const ROOM: Duration = Duration::from_millis(400);
/// How much earlier than it should something may seem to happen: the clocks
/// of kernel and programs are read a moment apart.
pub const EARLY: Duration = Duration::from_millis(2);
/// For what has to happen some time.
pub const LONG: Duration = Duration::from_secs(15);

/// The virtual addresses that most trials use.
pub fn vip() -> IpAddr {
    IpAddr::from([192, 0, 2, 100])
}

pub fn vip6() -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100])
}

pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub struct Lab {
    pub observer: Observer,
    pub directory: TempDir,
    /// In memory, as /run is everywhere.
    volatile: TempDir,
    /// The network: bridges br0 and br1.
    segment: Namespace,
    hosts: Cell<u8>,
}

/// A host: 192.0.2.N and 2001:db8::N on eth0, 198.51.100.N on eth1.
pub struct Host {
    pub name: String,
    pub number: u8,
    pub watch: Watch,
    pub namespace: Namespace,
}

impl Lab {
    pub fn new() -> Self {
        let segment = Namespace::new("net");
        segment.sysctl(&[
            ("ipv6/conf/all/disable_ipv6", "1"),
            ("ipv6/conf/default/disable_ipv6", "1"),
        ]);
        for bridge in ["br0", "br1"] {
            segment.ip(&format!(
                "link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
            ));
            segment.ip(&format!("link set {bridge} up"));
        }
        Self {
            observer: Observer::start(&segment),
            directory: tempfile::tempdir().expect("a directory for the lab"),
            volatile: tempfile::tempdir_in("/run").expect("a directory in memory"),
            segment,
            hosts: Cell::new(0),
        }
    }

    /// Where the agent of a host has what is of a `kind`: its runtime directory
    /// and its state are in memory, the latter because what is timed here is
    /// not to wait for a disk that others keep busy; all else is beside the
    /// lab's files.
    pub fn place(&self, host: &str, kind: &str) -> PathBuf {
        let directory = match kind {
            "runtime" | "state" => &self.volatile,
            _ => &self.directory,
        };
        directory.path().join(format!("{host}-{kind}"))
    }

    /// A host with eth0 and its addresses.
    pub fn host(&self, name: &str) -> Host {
        let host = self.bare_host(name);
        self.plug(&host, "eth0");
        host
    }

    /// Several of them.
    pub fn hosts<const N: usize>(&self, names: [&str; N]) -> [Host; N] {
        names.map(|name| self.host(name))
    }

    /// A host without an interface.
    pub fn bare_host(&self, name: &str) -> Host {
        let number = self.hosts.get() + 1;
        self.hosts.set(number);
        let namespace = Namespace::new(name);
        namespace.ip("link set lo up");
        // Addresses are usable at once, and stay while an interface is down.
        namespace.sysctl(&[
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/dad_transmits", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
            ("ipv6/conf/default/keep_addr_on_down", "1"),
        ]);
        Host {
            name: name.to_owned(),
            number,
            watch: Watch::start(&namespace),
            namespace,
        }
    }

    /// Gives `host` the interface with its addresses: eth0 on the first
    /// bridge, eth1 on the second.
    pub fn plug(&self, host: &Host, interface: &str) {
        self.plug_without_addresses(host, interface);
        for address in host.own_addresses(interface) {
            host.add_own_address(&address, interface);
        }
    }

    pub fn plug_without_addresses(&self, host: &Host, interface: &str) {
        let port = port(host, interface);
        let bridge = if interface == "eth0" { "br0" } else { "br1" };
        self.segment.ip(&format!(
            "link add {port} type veth peer name {interface} address {} netns {}",
            host.mac(interface),
            host.namespace.name
        ));
        let links = self.segment.ip_json(&format!("link show dev {port}"));
        let index = links[0]["ifindex"].as_u64().expect("an index");
        let index = usize::try_from(index).expect("a small index");
        self.observer.know_port(index, &host.name, interface);
        self.segment
            .ip(&format!("link set {port} master {bridge} up"));
        host.namespace.ip(&format!("link set {interface} up"));
        host.wait_carrier(interface, true);
    }

    /// Takes the interface away for good; `plug` makes a new one.
    pub fn unplug(&self, host: &Host, interface: &str) {
        self.segment
            .ip(&format!("link del {}", port(host, interface)));
    }

    /// The cable of eth0 is pulled: the host sees it.
    pub fn cut_carrier(&self, host: &Host) {
        self.segment
            .ip(&format!("link set {} down", port(host, "eth0")));
    }

    /// The network forwards nothing from and to the host's eth0 any more; the
    /// host keeps its carrier. The observer still sees what it sends.
    pub fn silence(&self, host: &Host) {
        self.segment
            .ip(&format!("link set {} nomaster", port(host, "eth0")));
    }

    /// Ends `cut_carrier` and `silence`.
    pub fn heal(&self, host: &Host) {
        self.segment
            .ip(&format!("link set {} master br0 up", port(host, "eth0")));
    }

    /// keepalived with `router` on `host`.
    pub fn keepalived(&self, host: &Host, router: &Router) -> Process {
        let source = if router.v6 { host.v6() } else { host.v4() };
        self.keepalived_with(host, &router.keepalived(source))
    }

    /// keepalived with this configuration on `host`.
    pub fn keepalived_with(&self, host: &Host, configuration: &str) -> Process {
        let directory = self.directory.path();
        let file = |kind: &str| directory.join(format!("keepalived-{}.{kind}", host.name));
        write(&file("conf"), configuration);
        let program = tools::keepalived().expect("asked for when the trial began");
        let mut command = host.namespace.command(&program);
        command
            .args(["-n", "-P", "-l", "-D", "-f"])
            .arg(file("conf"));
        command.arg("--config-id").arg(&host.name);
        command
            .arg("-p")
            .arg(file("pid"))
            .arg("-r")
            .arg(file("vrrp-pid"));
        Process::start(&format!("keepalived-{}", host.name), command, directory)
    }

    /// FRR's zebra and vrrpd with `router`, over IPv4, on `host`. Its address
    /// is on a macvlan interface with the virtual router's hardware address,
    /// which is down at the protocol level unless it is Active.
    pub fn frr(&self, host: &Host, router: &Router) -> Frr {
        let program = tools::frr().expect("asked for when the trial began");
        let virtual_mac = format!("00:00:5e:00:01:{:02x}", router.vrid);
        host.ip(&format!(
            "link add vrrp4 link eth0 address {virtual_mac} type macvlan mode bridge"
        ));
        for address in router.parsed() {
            host.ip(&format!("addr add {address}/32 dev vrrp4"));
        }
        // Otherwise eth0 would answer for the other interface's address.
        host.namespace.sysctl(&[("ipv4/conf/all/arp_ignore", "1")]);
        host.ip("link set vrrp4 up");
        let directory = self.directory.path().join(format!("frr-{}", host.name));
        std::fs::create_dir(&directory).expect("a directory");
        write(&directory.join("zebra.conf"), "log stdout\n");
        write(&directory.join("vrrpd.conf"), &router.frr());
        let start = |name: &str, program| {
            let mut command = host.namespace.command(program);
            command.args(["-u", "root", "-g", "root", "-P", "0", "--log", "stdout"]);
            command.arg("-z").arg(directory.join("zserv.api"));
            command.arg("--vty_socket").arg(&directory);
            command.arg("-i").arg(directory.join(format!("{name}.pid")));
            command
                .arg("-f")
                .arg(directory.join(format!("{name}.conf")));
            Process::start(
                &format!("{name}-{}", host.name),
                command,
                self.directory.path(),
            )
        };
        let zebra = start("zebra", &program.zebra);
        wait_until("zebra's socket", LONG, || {
            directory.join("zserv.api").exists()
        });
        Frr {
            vrrpd: start("vrrpd", &program.vrrpd),
            zebra,
        }
    }
}

/// FRR's two programs.
pub struct Frr {
    pub vrrpd: Process,
    pub zebra: Process,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprint!("---- the last frames ----\n{}", self.observer.last(25));
        }
    }
}

/// The segment's end of a host's cable.
fn port(host: &Host, interface: &str) -> String {
    format!("p{}-{interface}", host.number)
}

impl Host {
    pub fn v4(&self) -> IpAddr {
        IpAddr::from([192, 0, 2, self.number])
    }

    pub fn v6(&self) -> IpAddr {
        let number = u16::from(self.number);
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number])
    }

    /// As the kernel derives it from the hardware address.
    pub fn link_local(&self) -> IpAddr {
        let number = u16::from(self.number);
        IpAddr::from([0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, number])
    }

    pub fn mac(&self, interface: &str) -> Mac {
        let wire = if interface == "eth0" { 0 } else { 1 };
        Mac([2, 0, 0, 0, wire, self.number])
    }

    fn own_addresses(&self, interface: &str) -> Vec<String> {
        match interface {
            "eth0" => vec![format!("{}/24", self.v4()), format!("{}/64", self.v6())],
            _ => vec![format!("198.51.100.{}/24", self.number)],
        }
    }

    fn add_own_address(&self, address: &str, interface: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.namespace
            .ip(&format!("addr add {address} dev {interface}{nodad}"));
    }

    pub fn ip(&self, arguments: &str) -> String {
        self.namespace.ip(arguments)
    }

    /// Whether `address` is on any interface now.
    pub fn has(&self, address: IpAddr) -> bool {
        self.address_entry(address).is_some()
    }

    /// The entry of `ip -json addr` for `address`; not what lingers on the
    /// loopback interface for a moment.
    pub fn address_entry(&self, address: IpAddr) -> Option<serde_json::Value> {
        let links = self.namespace.ip_json("addr show");
        let text = address.to_string();
        links
            .as_array()
            .into_iter()
            .flatten()
            .filter(|link| link["ifname"] != "lo")
            .flat_map(|link| link["addr_info"].as_array().into_iter().flatten())
            .find(|entry| entry["local"] == text.as_str())
            .cloned()
    }

    /// Which hardware address this host takes for `address` now.
    pub fn neighbour(&self, address: IpAddr) -> Option<String> {
        let entries = self.namespace.ip_json(&format!("neigh show {address}"));
        Some(entries[0]["lladdr"].as_str()?.to_owned())
    }

    pub fn wait_carrier(&self, interface: &str, wanted: bool) {
        let what = format!("carrier {wanted} on {interface} of {}", self.name);
        wait_until(&what, Duration::from_secs(5), || {
            let links = self
                .namespace
                .ip_json(&format!("link show dev {interface}"));
            let flags = links[0]["flags"].as_array().cloned().unwrap_or_default();
            flags.iter().any(|flag| flag == "LOWER_UP") == wanted
        });
    }
}

/// Polls `holds` until it does; panics naming `what` after `timeout`.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut holds: impl FnMut() -> bool) -> Instant {
    let end = Instant::now() + timeout;
    loop {
        if holds() {
            return Instant::now();
        }
        assert!(Instant::now() < end, "not within {timeout:?}: {what}");
        thread::sleep(ms(5));
    }
}

/// Asserts that `span` is at least `least` (strictly, but for the reading of
/// clocks) and at most `most` plus room for the machine.
#[track_caller]
pub fn assert_span(what: &str, span: Duration, least: Duration, most: Duration) {
    let now = Instant::now();
    let stalled = stall::since(now.checked_sub(span + ms(500)).unwrap_or(now));
    assert!(
        span + EARLY >= least,
        "{what} came after {span:?}, too early: not before {least:?}"
    );
    assert!(
        span <= most + ROOM + stalled,
        "{what} came after {span:?}, too late: {most:?} and {ROOM:?} of room \
         (the machine stood still for {stalled:?} meanwhile)"
    );
}

/// When "b", whose address was seen to be `gone`, sent its parting
/// advertisement: its last one, after the address, by now a while ago.
#[track_caller]
pub fn parting_advert(lab: &Lab, since: Instant, gone: Instant) -> Instant {
    thread::sleep((gone + ms(700)).saturating_duration_since(Instant::now()));
    let adverts = lab.observer.adverts(since, "b");
    let (parting, advert) = adverts.last().expect("no parting advertisement");
    assert_ne!(advert.priority, 0, "it did not resign, it lost");
    // `gone` is when this process heard of it, a moment after the kernel.
    assert!(
        *parting + ms(20) > gone,
        "it spoke before the address was gone, and not after"
    );
    assert!(
        *parting < gone + ms(100),
        "b went on after it had lost: {adverts:?}"
    );
    *parting
}

pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
