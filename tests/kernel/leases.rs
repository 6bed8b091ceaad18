//! Leases and their renewal.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use vipward::agent::action::AddressOrder;
use vipward::agent::event::{Added, Event, NotRenewed, Removed};
use vipward::agent::values::{AddressIndex, Lease};
use vipward::net::kernel::Renewals;

use super::{Orders, Test, addresses, ip, networks, next, order, set, veth};

pub fn tests() -> Vec<Test> {
    vec![
        ("leases::run_out_in_time", run_out_in_time),
        ("leases::apart_they_run_out_later", apart_they_run_out_later),
        ("leases::renewed_it_never_leaves", renewed_it_never_leaves),
        ("leases::expiry_spares_others", expiry_spares_others),
        (
            "leases::without_promotion_there_is_none",
            without_promotion_there_is_none,
        ),
        ("leases::on_off_and_on_again", on_off_and_on_again),
        (
            "leases::prefix_route_of_the_host_stays",
            prefix_route_of_the_host_stays,
        ),
    ]
}

const TWO_SECONDS: Duration = Duration::from_secs(2);

pub fn leased(network: &str) -> AddressOrder {
    AddressOrder {
        lease: Lease::from_seconds(2),
        ..order(network)
    }
}

/// One of each kind that leases meet.
fn kinds() -> Vec<AddressOrder> {
    vec![
        leased("192.0.2.10/24"),
        AddressOrder {
            no_prefix_route: true,
            ..leased("198.51.100.10/32")
        },
        AddressOrder {
            label: Some("eth0:web".into()),
            ..leased("203.0.113.10/24")
        },
        leased("2001:db8::10/64"),
        AddressOrder {
            no_prefix_route: true,
            source_address: true,
            ..leased("2001:db8:1::10/128")
        },
    ]
}

pub struct Renewing {
    pub renewals: Renewals,
    pub answers: mpsc::Receiver<Event<'static>>,
}

impl Renewing {
    pub fn start() -> Self {
        let (tell, answers) = mpsc::channel(16);
        let renewals = Renewals::start(tell).unwrap();
        Self { renewals, answers }
    }

    pub fn renew(&mut self, order: AddressOrder) -> Result<(), NotRenewed> {
        let address = order.address;
        self.renewals.renew(order).unwrap();
        outcome(next(&mut self.answers), address)
    }
}

pub fn outcome(event: Event<'_>, of: AddressIndex) -> Result<(), NotRenewed> {
    match event {
        Event::AddressRenewed {
            address, outcome, ..
        } if address == of => outcome,
        other => panic!("{other:?}"),
    }
}

pub fn entry(address: &str) -> serde_json::Value {
    let all = addresses("eth0");
    let found = all.iter().find(|entry| entry["local"] == address);
    found
        .unwrap_or_else(|| panic!("{address} is not there: {all:?}"))
        .clone()
}

fn expires(destination: &str) -> Option<i64> {
    let text = ip("-6 -json route show dev eth0");
    let routes: serde_json::Value = serde_json::from_str(&text).unwrap();
    let routes = routes.as_array().unwrap();
    let route = routes.iter().find(|route| route["dst"] == destination);
    let route = route.unwrap_or_else(|| panic!("no route to {destination}: {routes:?}"));
    route
        .get("expires")
        .map(|seconds| seconds.as_i64().unwrap())
}

/// Every change of an address, as the kernel tells it to anyone.
struct Listener(Child);

impl Listener {
    fn start() -> Self {
        let child = Command::new("ip")
            .args(["monitor", "address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(200));
        Self(child)
    }

    fn heard(mut self) -> String {
        thread::sleep(Duration::from_millis(100));
        self.0.kill().unwrap();
        let output = self.0.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// How long after its renewal each address was gone, at the longest.
fn lifetimes(renewed: &[(AddressOrder, Instant, Instant)]) -> Vec<Duration> {
    let mut gone = vec![None; renewed.len()];
    let deadline = Instant::now() + TWO_SECONDS * 3;
    while gone.contains(&None) {
        let there = networks("eth0");
        let now = Instant::now();
        assert!(now < deadline, "still there: {there:?}");
        for ((order, before, after), gone) in renewed.iter().zip(&mut gone) {
            let network = order.network.to_string();
            if gone.is_none() && !there.contains(&network) {
                // The kernel counts from its last tick, and allows itself 20 ms.
                let early = now - *before < TWO_SECONDS - Duration::from_millis(30);
                assert!(!early, "{network} went after {:?}", now - *before);
                *gone = Some(now - *after);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    gone.into_iter().flatten().collect()
}

/// What is left when leases have run out. The kernel may look for them a second
/// late, see [`apart_they_run_out_later`].
#[track_caller]
fn wait_networks(expected: &[&str]) {
    let deadline = Instant::now() + TWO_SECONDS * 3;
    while networks("eth0") != expected {
        let there = networks("eth0");
        assert!(Instant::now() < deadline, "{there:?}, not {expected:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn run_out_in_time() {
    veth();
    let mut orders = Orders::start();
    let mut renewing = Renewing::start();
    for order in kinds() {
        assert_eq!(orders.add(order), Ok(Added::Fresh));
    }
    thread::sleep(Duration::from_secs(1));
    let before = Instant::now();
    for order in kinds() {
        renewing.renewals.renew(order).unwrap();
    }
    for _ in kinds() {
        assert_eq!(
            outcome(next(&mut renewing.answers), AddressIndex(0)),
            Ok(())
        );
    }
    let after = Instant::now();
    let renewed: Vec<_> = kinds()
        .into_iter()
        .map(|order| (order, before, after))
        .collect();
    for (order, lifetime) in kinds().iter().zip(lifetimes(&renewed)) {
        let late = lifetime > TWO_SECONDS + Duration::from_millis(500);
        assert!(!late, "{} went after {lifetime:?}", order.network);
    }
}

/// The kernel looks for expired addresses of a family at most once a second:
/// one that was renewed a little later than another waits for the next look.
fn apart_they_run_out_later() {
    veth();
    let mut orders = Orders::start();
    let mut renewing = Renewing::start();
    let networks = [
        "192.0.2.10/32",
        "192.0.2.11/32",
        "2001:db8::10/64",
        "2001:db8::11/64",
    ];
    for network in networks {
        assert_eq!(orders.add(leased(network)), Ok(Added::Fresh));
    }
    let mut renewed = Vec::new();
    for network in networks {
        let before = Instant::now();
        assert_eq!(renewing.renew(leased(network)), Ok(()));
        renewed.push((leased(network), before, Instant::now()));
        thread::sleep(Duration::from_millis(200));
    }
    for (network, lifetime) in networks.iter().zip(lifetimes(&renewed)) {
        let late = lifetime > TWO_SECONDS + Duration::from_millis(1_500);
        assert!(!late, "{network} went after {lifetime:?}");
    }
}

fn renewed_it_never_leaves() {
    veth();
    let mut orders = Orders::start();
    let mut renewing = Renewing::start();
    for order in kinds() {
        assert_eq!(orders.add(order), Ok(Added::Fresh));
    }
    let listener = Listener::start();
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(600));
        for order in kinds() {
            assert_eq!(renewing.renew(order), Ok(()));
        }
    }
    let heard = listener.heard();
    assert!(heard.contains("192.0.2.10/24"), "nothing was heard");
    assert!(!heard.contains("Deleted"), "{heard}");

    let plain = entry("192.0.2.10");
    assert_eq!(plain["label"], "eth0");
    assert_eq!(plain["dynamic"], true);
    assert_eq!(plain["preferred_life_time"], plain["valid_life_time"]);
    assert!(plain.get("noprefixroute").is_none());
    assert_eq!(entry("198.51.100.10")["noprefixroute"], true);
    assert_eq!(entry("203.0.113.10")["label"], "eth0:web");
    let quiet = entry("2001:db8::10");
    assert_eq!(quiet["deprecated"], true);
    assert_eq!(quiet["preferred_life_time"], 0);
    assert!(quiet.get("noprefixroute").is_none());
    let source = entry("2001:db8:1::10");
    assert!(source.get("deprecated").is_none());
    assert_eq!(source["noprefixroute"], true);
    assert_eq!(source["preferred_life_time"], source["valid_life_time"]);
    // An IPv6 prefix route has a lifetime too.
    assert!(matches!(expires("2001:db8::/64"), Some(0..=2)));
    assert!(ip("route show dev eth0").contains("192.0.2.0/24"));
}

const PROMOTE: &str = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
const PROMOTE_ALL: &str = "/proc/sys/net/ipv4/conf/all/promote_secondaries";

fn expiry_spares_others() {
    veth();
    for ours_first in [true, false] {
        // Somebody takes the setting back between an addition and its renewal.
        for by_renewal in [false, true] {
            set(PROMOTE, "0");
            set(PROMOTE_ALL, "0");
            let mut orders = Orders::start();
            if !ours_first {
                ip("address add 192.0.2.1/24 dev eth0");
            }
            assert_eq!(orders.add(leased("192.0.2.10/24")), Ok(Added::Fresh));
            if ours_first {
                ip("address add 192.0.2.1/24 dev eth0");
            }
            if by_renewal {
                set(PROMOTE, "0");
                assert_eq!(Renewing::start().renew(leased("192.0.2.10/24")), Ok(()));
            }
            wait_networks(&["192.0.2.1/24"]);
            ip("address flush dev eth0");
        }
    }
}

/// As in a container; of this thread and those that it starts.
fn make_sysctls_read_only() {
    super::set(PROMOTE, "0");
    super::set(PROMOTE_ALL, "0");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    for arguments in [
        "--make-rprivate /",
        "--bind /proc/sys /proc/sys",
        "-o remount,bind,ro /proc/sys",
    ] {
        let mount = Command::new("mount")
            .args(arguments.split_whitespace())
            .status()
            .unwrap();
        assert!(mount.success(), "mount {arguments}");
    }
}

fn without_promotion_there_is_none() {
    veth();
    make_sysctls_read_only();
    let reason = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries could not be set to 1: \
                  Read-only file system (os error 30)";
    let is_unleased = |event: Event<'static>| match event {
        Event::AddressUnleased {
            address,
            reason: told,
            ..
        } => {
            assert_eq!((address, told.as_str()), (AddressIndex(0), reason));
        }
        other => panic!("{other:?}"),
    };
    let mut orders = Orders::start();
    orders.netlink.add_address(leased("192.0.2.10/24")).unwrap();
    is_unleased(next(&mut orders.answers));
    let added = next(&mut orders.answers);
    assert!(
        matches!(
            added,
            Event::AddressAdded {
                outcome: Ok(Added::Fresh),
                ..
            }
        ),
        "{added:?}"
    );
    assert_eq!(entry("192.0.2.10")["valid_life_time"], u32::MAX);
    // What was there already is not touched, so nothing is told of it.
    assert_eq!(
        orders.add(leased("192.0.2.10/24")),
        Ok(Added::AlreadyPresent)
    );

    let mut renewing = Renewing::start();
    renewing.renewals.renew(leased("192.0.2.10/24")).unwrap();
    is_unleased(next(&mut renewing.answers));
    assert_eq!(
        outcome(next(&mut renewing.answers), AddressIndex(0)),
        Ok(())
    );
    assert_eq!(entry("192.0.2.10")["valid_life_time"], u32::MAX);

    // These have no others in their subnet.
    for host in ["192.0.2.11/32", "2001:db8::10/64"] {
        assert_eq!(orders.add(leased(host)), Ok(Added::Fresh));
        assert_eq!(renewing.renew(leased(host)), Ok(()));
    }
    assert!(entry("192.0.2.11")["valid_life_time"].as_u64().unwrap() <= 2);
    assert!(entry("2001:db8::10")["valid_life_time"].as_u64().unwrap() <= 2);
}

fn on_off_and_on_again() {
    veth();
    let mut orders = Orders::start();
    let mut renewing = Renewing::start();
    let networks = ["192.0.2.10/24", "2001:db8::10/64"];
    for network in networks {
        assert_eq!(orders.add(leased(network)), Ok(Added::Fresh));
    }
    for network in networks {
        assert_eq!(renewing.renew(order(network)), Ok(()));
    }
    assert_eq!(entry("192.0.2.10")["valid_life_time"], u32::MAX);
    assert_eq!(entry("2001:db8::10")["valid_life_time"], u32::MAX);
    assert_eq!(entry("2001:db8::10")["preferred_life_time"], 0);
    assert_eq!(expires("2001:db8::/64"), None);
    for network in networks {
        assert_eq!(renewing.renew(leased(network)), Ok(()));
    }
    assert!(matches!(expires("2001:db8::/64"), Some(0..=2)));
    wait_networks(&[]);
}

/// The kernel gives the prefix route of a permanent address that is leased a
/// lifetime in the past, whoever else needs it.
fn prefix_route_of_the_host_stays() {
    veth();
    let mut orders = Orders::start();
    let mut renewing = Renewing::start();
    for ours_first in [true, false] {
        if !ours_first {
            ip("address add 2001:db8::1/64 dev eth0 nodad");
        }
        assert_eq!(orders.add(order("2001:db8::10/64")), Ok(Added::Fresh));
        if ours_first {
            ip("address add 2001:db8::1/64 dev eth0 nodad");
        }
        for _ in 0..3 {
            assert_eq!(renewing.renew(leased("2001:db8::10/64")), Ok(()));
            assert_eq!(expires("2001:db8::/64"), None);
        }
        assert_eq!(
            orders.remove(order("2001:db8::10/64")),
            Ok(Removed::Deleted)
        );
        assert_eq!(expires("2001:db8::/64"), None);
        ip("address flush dev eth0");
    }
}
