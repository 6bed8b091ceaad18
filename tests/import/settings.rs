//! Defaults and values of an instance: what keepalived does without a word, and
//! with one.

use std::time::Duration;

use rstest::rstest;
use vipward::agent::settings::{AntiReplay, Authentication, InstanceSettings, Mode, Preempt};
use vipward::agent::values::{ChecksumForm, Family, Version};

use crate::kit::{Outcome, imported, instance};

fn one(outcome: &Outcome) -> &InstanceSettings {
    match &outcome.loaded().settings.instances[..] {
        [one] => one,
        _ => panic!("one instance: {}", outcome.yaml()),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn what_keepalived_does_without_a_word() {
    let text = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n \
                virtual_ipaddress {\n 192.0.2.10\n }\n}\n";
    let outcome = imported(text);
    let one = one(&outcome);
    assert_eq!(one.version, Version::V2);
    assert_eq!(one.priority.get(), 100);
    assert_eq!(one.advert_interval.as_duration(), seconds(1));
    assert_eq!(one.down_after, 3);
    assert_eq!(one.preempt, Preempt::Immediately);
    assert_eq!(one.settle, Duration::ZERO);
    assert_eq!(one.addresses[0].network.to_string(), "192.0.2.10/32");
    assert_eq!(one.addresses[0].interface.to_string(), "eth0");
    assert!(one.unicast_peers.is_empty() && one.source.is_none());
    assert_eq!((one.announce.repeat, one.announce.delay), (5, seconds(5)));
    assert!(
        outcome.is_whole() && outcome.imported.entries.is_empty(),
        "{outcome:?}"
    );
}

#[rstest]
#[case("", "version 3", Version::V3, seconds(1))]
#[case("vrrp_version 3", "", Version::V3, seconds(1))]
#[case("vrrp_version 3", "version 2", Version::V2, seconds(1))]
#[case("", "advert_int 1.5", Version::V2, seconds(2))]
#[case("", "advert_int 1.4", Version::V2, seconds(1))]
#[case("", "advert_int 0.2", Version::V2, seconds(1))]
#[case("", "advert_int 300", Version::V2, seconds(1))]
#[case(
    "vrrp_version 3",
    "advert_int 0.2",
    Version::V3,
    Duration::from_millis(200)
)]
#[case(
    "vrrp_version 3",
    "advert_int .25",
    Version::V3,
    Duration::from_millis(250)
)]
#[case(
    "vrrp_version 3",
    "advert_int 0.123456",
    Version::V3,
    Duration::from_millis(120)
)]
#[case("vrrp_version 3", "advert_int 41", Version::V3, seconds(1))]
#[case("vrrp_version 3", "advert_int x", Version::V3, seconds(1))]
fn versions_and_intervals(
    #[case] global: &str,
    #[case] line: &str,
    #[case] version: Version,
    #[case] interval: Duration,
) {
    let outcome = imported(&format!("global_defs {{\n{global}\n}}\n{}", instance(line)));
    let one = one(&outcome);
    assert_eq!(
        (one.version, one.advert_interval.as_duration()),
        (version, interval)
    );
    assert!(outcome.is_whole());
}

#[test]
fn ipv6_is_version_3_whatever_is_written() {
    let text = instance("version 2").replace("192.0.2.10/24", "fe80::10/64");
    let outcome = imported(&text);
    assert_eq!(
        (one(&outcome).version, one(&outcome).family),
        (Version::V3, Family::Ipv6)
    );
}

#[rstest]
#[case("priority 0", 100)]
#[case("priority 256", 100)]
#[case("priority x", 100)]
#[case("priority 255", 255)]
#[case("priority 90 extra", 90)]
#[case("priority 90\n priority 80", 80)]
fn priorities(#[case] lines: &str, #[case] expected: u8) {
    assert_eq!(one(&imported(&instance(lines))).priority.get(), expected);
}

#[rstest]
#[case("nopreempt", Preempt::Never)]
#[case("state BACKUP\n nopreempt", Preempt::Never)]
#[case("state MASTER\n nopreempt", Preempt::Immediately)]
#[case("nopreempt\n preempt_delay 10", Preempt::Never)]
#[case("preempt_delay 3.5", Preempt::After(Duration::from_millis(3_500)))]
#[case("preempt_delay 0", Preempt::Immediately)]
#[case("state MASTER\n preempt_delay 10", Preempt::Immediately)]
#[case("priority 255\n nopreempt", Preempt::Immediately)]
#[case("preempt", Preempt::Immediately)]
fn preemption(#[case] lines: &str, #[case] expected: Preempt) {
    assert_eq!(one(&imported(&instance(lines))).preempt, expected);
}

#[test]
fn preemption_that_state_master_clears_is_told() {
    let outcome = imported(&instance("state MASTER\nnopreempt"));
    outcome.noted(5, "`priority` decides");
    outcome.noted(6, "without effect in keepalived");
}

#[test]
fn timings() {
    let text = format!(
        "global_defs {{\n vrrp_startup_delay 2.5\n vrrp_garp_master_delay 7\n vrrp_garp_master_repeat 3\n \
         vrrp_garp_master_refresh 120\n vrrp_down_timer_adverts 4\n}}\n{}",
        instance("garp_master_delay 0\n garp_master_repeat 0")
    );
    let outcome = imported(&text);
    let one = one(&outcome);
    assert_eq!(one.settle, Duration::from_millis(2_500));
    assert_eq!(one.down_after, 4);
    let announce = &one.announce;
    assert_eq!(
        (announce.repeat, announce.delay, announce.refresh),
        (1, Duration::ZERO, seconds(120))
    );
    assert!(outcome.is_whole());
    outcome.noted(2, "each return of the link");
}

#[test]
fn vrrp_min_garp_is_one_announcement() {
    let outcome = imported(&format!(
        "global_defs {{\n vrrp_min_garp\n}}\n{}",
        instance("")
    ));
    let announce = &one(&outcome).announce;
    assert_eq!((announce.repeat, announce.delay), (1, Duration::ZERO));
}

#[test]
fn unicast() {
    let lines = "version 3\nunicast_src_ip 192.0.2.1\nunicast_peer {\n 192.0.2.2 min_ttl 250 max_ttl 255\n \
                 192.0.2.3\n}\ncheck_unicast_src";
    let outcome = imported(&instance(lines));
    let one = one(&outcome);
    assert_eq!(one.source.unwrap().to_string(), "192.0.2.1");
    let peers: Vec<String> = one.unicast_peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["192.0.2.2", "192.0.2.3"]);
    assert_eq!(one.ttl, 250);
    assert!(outcome.is_whole());
}

#[test]
fn a_unicast_pair_is_told_of_the_ttl() {
    let outcome = imported(&instance("unicast_peer { 192.0.2.2 }"));
    assert_eq!(one(&outcome).ttl, 255);
    outcome.noted(5, "of any TTL");
    let outcome = imported(&instance("unicast_ttl 64\nunicast_peer { 192.0.2.2 }"));
    assert_eq!(one(&outcome).ttl, 64);
}

#[rstest]
#[case(
    "authentication { auth_type PASS\n auth_pass 123456789 }",
    Some("12345678")
)]
#[case("authentication { auth_type PASS\n auth_pass 1111 }", Some("1111"))]
#[case(
    "authentication { auth_type PASS\n auth_pass \"s3:c et\" }",
    Some("s3:c et")
)]
#[case("authentication { auth_pass 1111 }", None)]
#[case("authentication { auth_type PASS }", None)]
#[case("version 3\nauthentication { auth_type PASS\n auth_pass 1111 }", None)]
fn passwords(#[case] lines: &str, #[case] expected: Option<&str>) {
    let outcome = imported(&instance(lines));
    let expected = match expected {
        None => Authentication::None,
        Some(text) => {
            let mut bytes = [0; 8];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            Authentication::Password(vipward::agent::settings::Password(bytes))
        }
    };
    assert_eq!(one(&outcome).authentication, expected);
    assert!(outcome.is_whole());
    assert!(
        !format!("{:?}", outcome.imported.entries).contains("1111"),
        "a password is shown"
    );
}

#[test]
fn ah_is_left_with_what_it_means() {
    let outcome = imported(&instance(
        "authentication { auth_type AH\n auth_pass 1111 }",
    ));
    outcome.left(5, "both would be Active");
}

#[test]
fn signed_advertisements() {
    let lines = "auth_hmac {\n key 1 file:/etc/keepalived/keys/a\n key 2 file:${_ENV CREDENTIALS_DIRECTORY}/b\n \
                 active_key 2\n anti_replay monotonic\n time_window 9\n mode permissive\n}";
    let outcome = imported(&instance(lines));
    let Authentication::Hmac(hmac) = &one(&outcome).authentication else {
        panic!("{}", outcome.yaml());
    };
    assert_eq!(hmac.keys.iter().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!((hmac.active_key, hmac.mode), (2, Mode::Permissive));
    assert_eq!(
        (hmac.anti_replay, hmac.window),
        (AntiReplay::Monotonic, seconds(9))
    );
    assert!(
        outcome
            .yaml()
            .contains("{ 1: /etc/keepalived/keys/a, 2: b }"),
        "{}",
        outcome.yaml()
    );
    assert!(outcome.is_whole());
}

#[test]
fn what_keepalived_signs_by_default() {
    let outcome = imported(&instance("auth_hmac {\n key 1 file:/a\n active_key 1\n}"));
    let Authentication::Hmac(hmac) = &one(&outcome).authentication else {
        panic!("{}", outcome.yaml());
    };
    assert_eq!(
        (hmac.mode, hmac.anti_replay),
        (Mode::Enforce, AntiReplay::Time)
    );
}

#[test]
fn a_key_in_the_file_is_left_and_not_shown() {
    let outcome = imported(&instance(
        "auth_hmac {\n key 1 hex:00112233\n active_key 1\n}",
    ));
    outcome.left(6, "in a file of its own");
    let entries = format!("{:?}", outcome.imported.entries);
    assert!(!entries.contains("0011"), "{entries}");
    let outcome = imported(&instance(
        "auth_hmac {\n key 1 open-sesame\n active_key 1\n}",
    ));
    assert!(!format!("{outcome:?}").contains("sesame"));
}

#[test]
fn the_checksum_of_rfc_9568() {
    let outcome = imported(&instance("version 3\nv3_checksum_as_v2"));
    assert_eq!(one(&outcome).checksum, ChecksumForm::MessageOnly);
    let outcome = imported(&instance("version 3"));
    assert_eq!(one(&outcome).checksum, ChecksumForm::PseudoHeader);
}

#[test]
fn another_multicast_group_is_left_with_what_it_means() {
    let outcome = imported(&instance("mcast_dst_ip 224.0.0.42"));
    outcome.left(5, "both would be Active");
    let text = format!(
        "global_defs {{\n vrrp_mcast_group4 224.0.0.18\n}}\n{}",
        instance("")
    );
    assert!(imported(&text).is_whole());
}

#[test]
fn the_router_id_is_the_node() {
    let text = format!("global_defs {{\n router_id gw-a\n}}\n{}", instance(""));
    assert_eq!(imported(&text).loaded().settings.node, "gw-a");
    let text = text.replace("gw-a", "\"gw a\"");
    let outcome = imported(&text);
    assert_eq!(outcome.loaded().settings.node, "lb1");
    outcome.left(2, "no name of a host");
}
