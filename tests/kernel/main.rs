//! Netlink orders and interface states against the real kernel, each test in
//! a network namespace of its own. `ip` (iproute2) sets the stage and says
//! what the kernel holds, so that our own reading is not its own witness.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tokio::sync::mpsc;
use vipward::agent::action::AddressOrder;
use vipward::agent::event::{Added, Event, InterfaceState, Removed};
use vipward::agent::values::{AddressIndex, InstanceId, InterfaceName};
use vipward::net::kernel::{Monitor, Netlink, Renewals};
use vipward::net::namespace;

mod client;
mod gateways;
mod leases;
mod linger;
mod links;
mod monitor;
mod orders;
mod reachable;
mod renewals;
mod routing;
mod routing_monitor;
mod routing_rules;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let obstacle = obstacle();
    let tests = orders::tests().into_iter();
    let tests = tests.chain(leases::tests()).chain(renewals::tests());
    let tests = tests.chain(reachable::tests()).chain(monitor::tests());
    let tests = tests.chain(gateways::tests()).chain(links::tests());
    let tests = tests.chain(routing::tests()).chain(linger::tests());
    let tests = tests.chain(routing_monitor::tests());
    let tests = tests.chain(routing_rules::tests());
    let trials = tests
        .map(|(name, body)| {
            let obstacle = obstacle.clone();
            Trial::ignorable_test(name, move || match obstacle {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => in_namespace(body).map(|()| Completion::Completed),
            })
        })
        .chain([Trial::ignorable_test(
            "threads_of_a_real_time_parent",
            threads_of_a_real_time_parent,
        )])
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

pub type Test = (&'static str, fn());

/// Needs util-linux and a limit that allows real-time scheduling.
fn threads_of_a_real_time_parent() -> Result<Completion, Failed> {
    // Real-time priority and policy; `None`: the thread has ended (another
    // test's may at any time).
    let scheduling = |thread: &str| -> Option<(String, String)> {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(37);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    let pair = |priority: &str, policy: &str| (priority.to_owned(), policy.to_owned());
    let body = move || {
        let own = nix::unistd::gettid().to_string();
        let raised = Command::new("chrt").args(["-f", "-p", "10", &own]).status();
        if !raised.is_ok_and(|status| status.success()) {
            return Completion::ignored_with("chrt cannot set real-time scheduling here");
        }
        assert_eq!(scheduling(&own), Some(pair("10", "1")));
        let (tell, _events) = mpsc::channel(16);
        let _netlink = Netlink::start(tell.clone()).unwrap();
        let _renewals = Renewals::start(tell.clone()).unwrap();
        let _monitor = Monitor::start(names(&["lo"]), tell).unwrap();
        thread::sleep(Duration::from_millis(100));
        let mut seen = BTreeSet::new();
        for task in fs::read_dir("/proc/self/task").unwrap() {
            let task = task.unwrap().file_name().into_string().unwrap();
            let name = fs::read_to_string(format!("/proc/self/task/{task}/comm"));
            let name = name.unwrap_or_default().trim().to_owned();
            let Some(found) = scheduling(&task).filter(|_| name.starts_with("vip-")) else {
                continue;
            };
            // An address that comes late, or whose lease is not renewed in
            // time, is an address that nobody has.
            let wanted = match name.as_str() {
                "vip-netlink" | "vip-renewals" => pair("9", "1"),
                _ => pair("0", "0"),
            };
            assert_eq!(found, wanted, "{name}");
            seen.insert(name);
        }
        assert!(seen.len() >= 3, "{seen:?}");
        Completion::Completed
    };
    let outcome = thread::spawn(body).join();
    outcome.map_err(|_| Failed::from("a thread has not the scheduling that it should have"))
}

/// Why these tests cannot run here. Called before any thread is started.
fn obstacle() -> Option<String> {
    if let Err(obstacle) = namespace::permit() {
        return Some(obstacle);
    }
    let permitted = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
    match permitted {
        Ok(Ok(())) => {}
        Ok(Err(errno)) => return Some(format!("no network namespace may be made: {errno}")),
        Err(_) => return Some("the check for rights panicked".to_owned()),
    }
    let ip = Command::new("ip").arg("-V").output();
    ip.err()
        .map(|error| format!("ip (iproute2) cannot be run: {error}"))
}

/// Runs a test on a thread with an empty network namespace, which the kernel
/// clears away with the thread.
fn in_namespace(body: fn()) -> Result<(), Failed> {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        body();
    });
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Failed::from(text.unwrap_or_default())
    })
}

/// Runs `ip` in the calling thread's namespace.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Many `ip` commands in one process.
pub fn ip_batch(commands: &[String]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), commands.join("\n")).unwrap();
    ip(&format!("-batch {}", file.path().display()));
}

/// A veth pair `eth0` and `far`, both up, without IPv6 addresses of its own.
pub fn veth() {
    ip("link add eth0 type veth peer name far");
    ip("link set far addrgenmode none up");
    ip("link set eth0 addrgenmode none up");
}

/// The entries of `ip address` for one interface.
pub fn addresses(interface: &str) -> Vec<Value> {
    let text = ip(&format!("-json address show dev {interface}"));
    let links: Value = serde_json::from_str(&text).unwrap();
    links[0]["addr_info"].as_array().unwrap().clone()
}

/// As `ADDRESS/LENGTH`, in the kernel's order.
pub fn networks(interface: &str) -> Vec<String> {
    let entries = addresses(interface);
    let text = |entry: &Value| {
        let local = entry["local"].as_str().unwrap();
        format!("{local}/{}", entry["prefixlen"])
    };
    entries.iter().map(text).collect()
}

pub fn set(path: &str, value: &str) {
    fs::write(path, value).unwrap();
}

pub fn order(network: &str) -> AddressOrder {
    AddressOrder {
        instance: InstanceId(7),
        address: AddressIndex(0),
        interface: "eth0".parse().unwrap(),
        network: network.parse().unwrap(),
        no_prefix_route: false,
        promote_secondaries: false,
        label: None,
        source_address: false,
        lease: None,
        lingers: false,
    }
}

/// Shorter than the time to the monitor's first sweep, which would find what
/// was not noticed when it happened.
const PATIENCE: Duration = Duration::from_secs(5);

/// The next event, which must come within [`PATIENCE`].
pub fn next(events: &mut mpsc::Receiver<Event<'static>>) -> Event<'static> {
    within(PATIENCE, events).expect("no event came")
}

pub fn within(
    patience: Duration,
    events: &mut mpsc::Receiver<Event<'static>>,
) -> Option<Event<'static>> {
    let deadline = Instant::now() + patience;
    loop {
        match events.try_recv() {
            Ok(event) => return Some(event),
            Err(_) if Instant::now() > deadline => return None,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// A worker and its answers.
pub struct Orders {
    pub netlink: Netlink,
    pub answers: mpsc::Receiver<Event<'static>>,
}

impl Orders {
    pub fn start() -> Self {
        let (tell, answers) = mpsc::channel(16);
        let netlink = Netlink::start(tell).unwrap();
        Self { netlink, answers }
    }

    pub fn add(&mut self, order: AddressOrder) -> Result<Added, String> {
        self.netlink.add_address(order).unwrap();
        match next(&mut self.answers) {
            Event::AddressAdded {
                instance: InstanceId(7),
                outcome,
                ..
            } => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn remove(&mut self, order: AddressOrder) -> Result<Removed, String> {
        self.netlink.remove_address(order).unwrap();
        match next(&mut self.answers) {
            Event::AddressRemoved {
                instance: InstanceId(7),
                outcome,
                ..
            } => outcome,
            other => panic!("{other:?}"),
        }
    }
}

/// A monitor and its reports.
pub struct Watched {
    pub monitor: Monitor,
    pub events: mpsc::Receiver<Event<'static>>,
}

impl Watched {
    pub fn start(interfaces: &[&str]) -> Self {
        Self::with_room(interfaces, 16)
    }

    pub fn with_room(interfaces: &[&str], room: usize) -> Self {
        let (tell, events) = mpsc::channel(room);
        let monitor = Monitor::start(names(interfaces), tell).unwrap();
        Self { monitor, events }
    }

    pub fn report(&mut self) -> (String, Option<InterfaceState>) {
        match next(&mut self.events) {
            Event::Interface { interface, state } => (interface.to_string(), state),
            other => panic!("{other:?}"),
        }
    }

    /// Takes reports until one of this interface pleases; states in between
    /// are legal.
    pub fn until(
        &mut self,
        interface: &str,
        pleases: impl Fn(Option<&InterfaceState>) -> bool,
    ) -> Option<InterfaceState> {
        self.until_within(PATIENCE, interface, pleases)
    }

    pub fn until_within(
        &mut self,
        patience: Duration,
        interface: &str,
        pleases: impl Fn(Option<&InterfaceState>) -> bool,
    ) -> Option<InterfaceState> {
        let deadline = Instant::now() + patience;
        let mut last = None;
        while let Some(event) = within(
            deadline.saturating_duration_since(Instant::now()),
            &mut self.events,
        ) {
            let Event::Interface {
                interface: named,
                state,
            } = event
            else {
                panic!("{event:?}");
            };
            if named.as_str() == interface && pleases(state.as_ref()) {
                return state;
            }
            last = Some((named, state));
        }
        panic!("{interface} did not get there; last report: {last:?}");
    }

    /// Nothing is reported for a while.
    pub fn quiet(&mut self) {
        let event = within(Duration::from_millis(300), &mut self.events);
        assert!(event.is_none(), "unexpected: {event:?}");
    }
}

pub fn names(interfaces: &[&str]) -> BTreeSet<InterfaceName> {
    interfaces
        .iter()
        .map(|name| name.parse().unwrap())
        .collect()
}
