//! Neighbours and hosts: two namespaces with a link between them. Without the
//! right to make them these are skipped, aloud.

use std::net::IpAddr;

use caps::{CapSet, Capability};
use vipward::agent::values::InterfaceName;
use vipward::config::work::probe::Host;

use super::namespace::Namespace;
use super::*;

struct Link {
    near: Namespace,
    far: Namespace,
}

/// 192.0.2.1 and 2001:db8::1 on `v0`, and .2 and ::2 on the other side.
fn link() -> Option<Link> {
    let able = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN);
    if !able.unwrap_or(false) {
        eprintln!("SKIPPED: this process may not make network namespaces; run it as root");
        return None;
    }
    let (near, far) = (Namespace::new("near"), Namespace::new("far"));
    near.ip(&format!(
        "link add v0 type veth peer name v1 netns {}",
        far.name
    ));
    for (side, interface, number) in [(&near, "v0", 1), (&far, "v1", 2)] {
        side.ip("link set lo up");
        side.ip(&format!("address add 192.0.2.{number}/24 dev {interface}"));
        side.ip(&format!(
            "address add 2001:db8::{number}/64 dev {interface} nodad"
        ));
        side.ip(&format!(
            "address add fe80::{number}/64 dev {interface} nodad"
        ));
        side.ip(&format!("link set {interface} up"));
    }
    Some(Link { near, far })
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn v0() -> InterfaceName {
    "v0".parse().expect("a name")
}

fn arp(link: &Link, target: &str, timeout: Duration) -> JobResult {
    let kind = ProbeKind::Arp {
        target: address(target),
        interface: v0(),
    };
    link.near.run(|| run(Probe { kind, timeout }))
}

fn ping(
    link: &Link,
    target: Host,
    interface: Option<InterfaceName>,
    timeout: Duration,
) -> JobResult {
    let kind = ProbeKind::Ping { target, interface };
    link.near.run(|| run(Probe { kind, timeout }))
}

#[test]
fn neighbours_answer_on_their_link() {
    let Some(link) = link() else { return };
    // In no subnet of ours: asked without a sender.
    link.far.ip("address add 198.51.100.7/32 dev v1");
    for target in ["192.0.2.2", "198.51.100.7", "2001:db8::2", "fe80::2"] {
        let result = arp(&link, target, ENOUGH);
        assert_eq!(result.verdict, Verdict::Passed, "{target}: {result:?}");
        let start = format!("{target} is at ");
        assert!(result.output.starts_with(&start), "{}", result.output);
    }
    for target in ["192.0.2.99", "2001:db8::99"] {
        let result = arp(&link, target, SHORT);
        assert_timed_out(
            &result,
            &format!("while waiting for an answer of {target} on v0"),
        );
    }
    let result = arp(&link, "192.0.2.1", ENOUGH);
    assert!(
        failure(&result).contains("an address of this host"),
        "{result:?}"
    );
}

/// The kernel remembers a neighbour for a while; whether it is there is asked.
#[test]
fn a_neighbour_that_went_is_not_remembered() {
    let Some(link) = link() else { return };
    let host = Host::Address(address("192.0.2.2"));
    assert_eq!(ping(&link, host, None, ENOUGH).verdict, Verdict::Passed);
    link.far.ip("address del 192.0.2.2/24 dev v1");
    let known = link.near.ip("neighbour show 192.0.2.2");
    assert!(known.contains("lladdr"), "{known}");
    assert_timed_out(&arp(&link, "192.0.2.2", SHORT), "192.0.2.2");
}

#[test]
fn an_interface_that_cannot_ask_is_said() {
    let Some(link) = link() else { return };
    link.near.ip("link set v0 down");
    let result = arp(&link, "192.0.2.2", ENOUGH);
    assert_eq!(failure(&result), "the interface v0 is down");
    link.near.ip("link del v0");
    let result = arp(&link, "192.0.2.2", ENOUGH);
    assert_eq!(failure(&result), "the interface v0 does not exist");
    let nowhere = Host::Address(address("192.0.2.2"));
    let result = ping(&link, nowhere.clone(), None, ENOUGH);
    assert_eq!(failure(&result), "there is no route to 192.0.2.2");
    let result = ping(&link, nowhere, Some(v0()), ENOUGH);
    assert!(
        failure(&result).contains("bind to the interface"),
        "{result:?}"
    );
}

#[test]
fn hosts_answer_ping_with_either_kind_of_socket() {
    let Some(link) = link() else { return };
    for groups in ["1 0", "0 2147483647"] {
        link.near.sysctl(&[("ipv4/ping_group_range", groups)]);
        for (target, interface) in [
            ("192.0.2.2", None),
            ("192.0.2.2", Some(v0())),
            ("192.0.2.1", None),
            ("2001:db8::2", None),
            ("fe80::2", Some(v0())),
        ] {
            let host = Host::Address(address(target));
            let result = ping(&link, host, interface, ENOUGH);
            assert_eq!(
                result.verdict,
                Verdict::Passed,
                "{groups} {target}: {result:?}"
            );
            assert_eq!(result.output, format!("{target} answers"));
        }
    }
    let named = Host::Name("localhost".to_owned());
    assert_eq!(ping(&link, named, None, ENOUGH).verdict, Verdict::Passed);
    link.far.sysctl(&[("ipv4/icmp_echo_ignore_all", "1")]);
    let host = Host::Address(address("192.0.2.2"));
    let result = ping(&link, host, None, SHORT);
    assert_timed_out(&result, "while waiting for an echo of 192.0.2.2");
}

#[test]
fn without_rights_nothing_is_concluded() {
    let Some(link) = link() else { return };
    link.near.sysctl(&[("ipv4/ping_group_range", "1 0")]);
    let kinds = [
        ProbeKind::Ping {
            target: Host::Address(address("192.0.2.2")),
            interface: None,
        },
        ProbeKind::Arp {
            target: address("192.0.2.2"),
            interface: v0(),
        },
        ProbeKind::Arp {
            target: address("2001:db8::2"),
            interface: v0(),
        },
    ];
    for kind in kinds {
        let timeout = ENOUGH;
        let result = link.near.run(|| {
            // Of this thread, and of the one that it starts.
            caps::clear(None, CapSet::Effective).expect("fewer rights");
            run(Probe { kind, timeout })
        });
        match result.verdict {
            Verdict::NotRun(why) => assert!(why.contains("CAP_NET_RAW is missing"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_of_an_interface_are_counted_in_its_namespace() {
    let Some(link) = link() else { return };
    let kind = |interface: &str| ProbeKind::LinkErrors {
        interface: interface.parse().expect("a name"),
        above: 0,
    };
    let timeout = ENOUGH;
    let ask = |interface| {
        link.near.run(|| {
            run(Probe {
                kind: kind(interface),
                timeout,
            })
        })
    };
    assert_eq!(ask("v0").output, "0 errors a second");
    assert_eq!(failure(&ask("v1")), "the interface v1 does not exist");
}
