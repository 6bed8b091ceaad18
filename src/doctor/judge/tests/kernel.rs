//! Settings of the kernel: who answers ARP, and by which interface.

use super::super::super::facts::*;
use super::super::super::finding::Severity;
use super::super::judge;
use super::{codes, error, eth0, interface, on_eth0, warning, with};

#[test]
fn two_interfaces_on_one_subnet() {
    let beside = |ignore: u8, filter: bool, announce: u8| {
        with(|facts| {
            facts.beside.push(Beside {
                name: "eth1".parse().unwrap(),
                settings: InterfaceSettings {
                    arp_ignore: ignore,
                    arp_filter: filter,
                    arp_announce: announce,
                    ..InterfaceSettings::default()
                },
                address: "192.0.2.10".parse().unwrap(),
                carried_by: eth0(),
            });
        })
    };
    let commands = |facts: &Facts| {
        let findings = judge(facts).findings;
        let mut all = findings.iter().filter(|one| one.code == "arp-flux");
        let mends = all.next().map(|one| one.mend.clone()).unwrap_or_default();
        format!("{mends:?}")
    };
    let open = beside(0, false, 0);
    assert_eq!(codes(&open), warning("arp-flux"));
    let said = commands(&open);
    assert!(said.contains("net.ipv4.conf.eth1.arp_ignore = 1"), "{said}");
    assert!(
        said.contains("net.ipv4.conf.eth1.arp_announce = 2"),
        "{said}"
    );
    let asks = commands(&beside(1, false, 1));
    assert!(
        !asks.contains("arp_ignore") && asks.contains("arp_announce"),
        "{asks}"
    );
    let answers = commands(&beside(0, false, 2));
    assert!(
        answers.contains("arp_ignore") && !answers.contains("arp_announce"),
        "{answers}"
    );
    for closed in [beside(1, false, 2), beside(0, true, 2)] {
        assert_eq!(codes(&closed), []);
    }
}

#[test]
fn an_address_on_lo_is_found_by_whoever_asks() {
    let on_lo = |ignore: u8| {
        with(|facts| {
            facts.subjects[0].addresses[0].1 = "lo".parse().unwrap();
            let mut lo = interface("127.0.0.1/8");
            lo.multicast = true;
            facts.interfaces.insert("lo".parse().unwrap(), Ok(Some(lo)));
            let mut found = interface("192.0.2.1/24");
            found.settings.arp_ignore = ignore;
            facts.interfaces.insert(eth0(), Ok(Some(found)));
        })
    };
    assert_eq!(codes(&on_lo(0)), []);
    assert_eq!(codes(&on_lo(1)), warning("arp-ignore"));
}

#[test]
fn kernel_settings() {
    let set = |change: fn(&mut InterfaceSettings)| codes(&on_eth0(|f| change(&mut f.settings)));
    assert_eq!(set(|s| s.arp_ignore = 8), error("arp-ignore"));
    assert_eq!(set(|s| s.arp_ignore = 1), []);
    assert_eq!(
        set(|s| s.drop_gratuitous_arp = true),
        warning("drop-gratuitous-arp")
    );
    // The way back to the neighbours is the same interface.
    assert_eq!(set(|s| s.arp_filter = true), []);
    assert_eq!(set(|s| s.arp_announce = 2), []);
    let mut elsewhere = on_eth0(|found| found.settings.arp_filter = true);
    let subnet = "192.0.2.0/24".parse().unwrap();
    elsewhere.ways_back.insert(subnet, "eth1".parse().unwrap());
    assert_eq!(codes(&elsewhere), error("arp-filter"));
    // Strict filtering is right where the way back is the same.
    assert_eq!(set(|s| s.rp_filter = 1), []);
    let mut crooked = on_eth0(|found| found.settings.rp_filter = 1);
    crooked
        .ways
        .insert("192.0.2.2".parse().unwrap(), "eth1".parse().unwrap());
    assert_eq!(codes(&crooked), error("rp-filter"));
    let narrow = with(|facts| {
        facts.subjects[0].addresses[0].0 = "192.0.2.10/32".parse().unwrap();
        let mut found = interface("192.0.2.1/24");
        found.settings.arp_ignore = 2;
        facts.interfaces.insert(eth0(), Ok(Some(found)));
    });
    assert_eq!(codes(&narrow), error("arp-ignore"));
    let note = with(|facts| facts.kernel.nonlocal_bind_ipv4 = Some(false));
    assert_eq!(codes(&note), [(Severity::Note, "nonlocal-bind")]);
    let two = with(|facts| {
        let add = |text: &str| (text.parse().unwrap(), eth0());
        facts.subjects[0].addresses = vec![add("198.51.100.1/24"), add("198.51.100.2/24")];
        facts.subjects[0].advertised.clear();
    });
    assert_eq!(codes(&two), warning("promote-secondaries"));
    let off = with(|facts| {
        facts.subjects[0]
            .addresses
            .push(("2001:db8::1/64".parse().unwrap(), eth0()));
        let mut found = interface("192.0.2.1/24");
        found.settings.disable_ipv6 = true;
        facts.interfaces.insert(eth0(), Ok(Some(found)));
    });
    assert_eq!(codes(&off), error("ipv6-disabled"));
}
