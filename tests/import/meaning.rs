//! What is tracked, scripts, groups: what their words come to, and what is left.

use std::time::Duration;

use rstest::rstest;
use vipward::agent::jobs::{CheckName, HookKind, HookOwner};
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::CheckState;
use vipward::config::work::probe::ProbeKind;

use crate::kit::{Memory, Outcome, imported, instance};

fn one(outcome: &Outcome) -> &InstanceSettings {
    match &outcome.loaded().settings.instances[..] {
        [one] => one,
        _ => panic!("one instance: {}", outcome.yaml()),
    }
}

/// The priority, and each check with its weight.
fn weighed(outcome: &Outcome) -> (u8, Vec<(String, Option<i16>)>) {
    let one = one(outcome);
    let checks = one.checks.iter();
    let checks = checks.map(|listed| (listed.name.as_str().to_owned(), listed.weight));
    (one.priority.get(), checks.collect())
}

const SCRIPTS: &str = "vrrp_script fault { script /bin/true }\nvrrp_script less { script /bin/true\n weight -20 }\n\
                       vrrp_script more { script /bin/true\n weight 20 }\n\
                       vrrp_script odd { script /bin/true\n weight 20 reverse }\n";

#[rstest]
#[case("fault", 100, &[("fault", None)])]
#[case("less", 100, &[("less", Some(-20))])]
#[case("more", 120, &[("more", Some(-20))])]
#[case("more\nless", 120, &[("more", Some(-20)), ("less", Some(-20))])]
#[case("fault weight 5", 105, &[("fault", Some(-5))])]
#[case("more weight 0", 100, &[("more", None)])]
#[case("more weight -7", 100, &[("more", Some(-7))])]
#[case("more weight 253", 254, &[("more", Some(-253))])]
#[case("fault weight 300", 100, &[("fault", None)])]
#[case("more\nmore weight 5", 120, &[("more", Some(-20))])]
#[case("unknown\nfault", 100, &[("fault", None)])]
fn weights(#[case] tracked: &str, #[case] priority: u8, #[case] checks: &[(&str, Option<i16>)]) {
    let outcome = imported(&format!(
        "{SCRIPTS}{}",
        instance(&format!("track_script {{\n{tracked}\n}}"))
    ));
    let checks = checks
        .iter()
        .map(|(name, weight)| ((*name).to_owned(), *weight))
        .collect();
    assert_eq!(weighed(&outcome), (priority, checks));
    assert!(outcome.is_whole());
}

#[rstest]
#[case("odd")]
#[case("fault weight 0 reverse")]
#[case("less weight -5 reverse")]
fn reversed_weights_are_left(#[case] tracked: &str) {
    let outcome = imported(&format!(
        "{SCRIPTS}{}",
        instance(&format!("track_script {{\n{tracked}\n}}"))
    ));
    outcome.left(13, "no reversed weight");
    assert_eq!(weighed(&outcome), (100, Vec::new()));
}

/// keepalived ignores it, and so the priority is not raised for it.
#[test]
fn a_script_that_is_not_there_raises_nothing() {
    let mut memory = Memory::new(&format!(
        "vrrp_script a {{ script /gone\n weight 20 }}\nvrrp_script b {{ script /there\n weight 10 }}\n{}",
        instance("track_script {\n a\n b\n}")
    ));
    memory.missing.insert("/gone".to_owned());
    let outcome = memory.import().unwrap();
    assert_eq!(weighed(&outcome), (110, vec![("b".to_owned(), Some(-10))]));
    outcome.left(1, "/gone does not exist");
    outcome.left(10, "there is no check");
}

#[test]
fn interfaces() {
    let outcome = imported(&instance(
        "track_interface {\n eth0\n eth1\n eth2 weight -5\n eth3 weight 7\n}",
    ));
    let expected = [
        ("link-eth1", None),
        ("link-eth2", Some(-5)),
        ("link-eth3", Some(-7)),
    ];
    let expected = expected
        .map(|(name, weight)| (name.to_owned(), weight))
        .to_vec();
    assert_eq!(weighed(&outcome), (107, expected));
    outcome.noted(6, "its own interface");
}

#[test]
fn processes_and_files() {
    let text = format!(
        "vrrp_track_process p {{\n process haproxy\n weight 15\n quorum 2\n}}\ntrack_file f {{\n file /run/f\n}}\n{}",
        instance("track_process {\n p\n}\ntrack_file {\n f\n}")
    );
    let outcome = imported(&text);
    assert!(outcome.is_whole(), "{outcome:?}");
    let body = outcome.body();
    assert!(body.contains("p: { process: haproxy, min: 2 }"), "{body}");
    assert!(body.contains("f: { file: /run/f }"), "{body}");
    assert!(
        body.contains("priority: 115") && body.contains("{ name: p, weight: -15 }"),
        "{body}"
    );
}

#[test]
fn how_a_script_is_run() {
    let text = format!(
        "vrrp_script a {{\n script \"killall -0 nginx\"\n}}\nvrrp_script b {{\n script \"/bin/b 'x y'\" \n interval 5\n \
         timeout 3\n rise 4\n fall 6\n user www-data www\n init_fail\n}}\n{}",
        instance("track_script {\n a\n b\n}")
    );
    let outcome = imported(&text);
    let loaded = outcome.loaded();
    let [a, b] = &loaded.settings.checks[..] else {
        panic!("{}", outcome.yaml())
    };
    let second = Duration::from_secs(1);
    assert_eq!(
        (a.interval, a.timeout, a.rise, a.fall, a.initial),
        (second, second, 1, 1, None)
    );
    assert_eq!(
        (b.interval, b.timeout, b.rise, b.fall),
        (5 * second, 3 * second, 4, 6)
    );
    assert_eq!(b.initial, Some(CheckState::Down));
    let script = |name: &str| {
        let found = loaded
            .work
            .scripts
            .iter()
            .find(|(check, _)| check.as_str() == name);
        let script = found.expect("a script").1;
        (
            script.command.join("|"),
            script.user.clone().unwrap_or_default(),
        )
    };
    assert_eq!(
        script("a"),
        ("/usr/bin/killall|-0|nginx".to_owned(), "root".to_owned())
    );
    assert_eq!(
        script("b"),
        ("/bin/b|x y".to_owned(), "www-data".to_owned())
    );
    outcome.noted(10, "own groups");
}

/// A failing script is noticed by the interval where no time-out is written.
#[test]
fn the_timeout_of_a_script_is_its_interval() {
    let text = format!(
        "vrrp_script a {{\n script /bin/a\n interval 30\n}}\n{}",
        instance("track_script {\n a\n}")
    );
    assert_eq!(
        imported(&text).loaded().settings.checks[0].timeout,
        Duration::from_secs(30)
    );
}

#[rstest]
#[case("", &[], "root")]
#[case("", &["keepalived_script"], "keepalived_script")]
#[case("script_user nobody nogroup", &["keepalived_script"], "nobody")]
fn whom_a_script_runs_as(#[case] global: &str, #[case] users: &[&str], #[case] expected: &str) {
    let text = format!(
        "global_defs {{\n{global}\n}}\nvrrp_script a {{\n script /bin/a\n}}\n{}",
        instance("track_script {\n a\n}\nnotify_master /bin/b\nnotify_fault /bin/c daemon")
    );
    let mut memory = Memory::new(&text);
    memory.users = users.iter().map(|user| (*user).to_owned()).collect();
    let outcome = memory.import().unwrap();
    let work = &outcome.loaded().work;
    let check = work.scripts.values().next().unwrap();
    assert_eq!(check.user.as_deref(), Some(expected));
    let user = |kind: HookKind| {
        let owner = HookOwner::Instance(one(&outcome).name.clone());
        work.hooks.get(&(owner, kind)).unwrap().user.clone()
    };
    assert_eq!(user(HookKind::Active).as_deref(), Some(expected));
    assert_eq!(user(HookKind::Fault).as_deref(), Some("daemon"));
}

#[test]
fn a_line_for_a_shell_is_given_to_one() {
    let text = format!(
        "vrrp_script a {{\n script \"</dev/tcp/127.0.0.1/80\"\n}}\nvrrp_script b {{\n script \"pidof -q x\"\n}}\n{}",
        instance("track_script {\n a\n b\n}")
    );
    let outcome = imported(&text);
    let commands: Vec<_> = outcome
        .loaded()
        .work
        .scripts
        .values()
        .map(|script| script.command.join("|"))
        .collect();
    assert_eq!(
        commands,
        [
            "/bin/sh|-c|</dev/tcp/127.0.0.1/80",
            "/bin/sh|-c|exec pidof -q x"
        ]
    );
    outcome.noted(2, "need not be bash");
    outcome.noted(5, "without its path");
}

#[test]
fn groups_track_for_their_members() {
    let text = format!(
        "{SCRIPTS}vrrp_sync_group G {{\n group {{\n VI_1\n VI_2\n VI_9\n }}\n track_script {{\n less\n }}\n \
         notify \"/bin/n a\"\n notify_stop /bin/n\n}}\n{}{}",
        instance("track_script {\n more\n fault\n}"),
        instance("")
            .replace("VI_1", "VI_2")
            .replace("51", "52")
            .replace(".10/", ".11/")
    );
    let outcome = imported(&text);
    let loaded = outcome.loaded();
    let group = &loaded.settings.groups[0];
    let members: Vec<&str> = group.members.iter().map(|name| name.as_str()).collect();
    assert_eq!((group.name.as_str(), members), ("G", vec!["VI_1", "VI_2"]));
    for (instance, expected) in loaded
        .settings
        .instances
        .iter()
        .zip([&["fault", "less"][..], &["less"]])
    {
        let names: Vec<&str> = instance
            .checks
            .iter()
            .map(|listed| listed.name.as_str())
            .collect();
        assert_eq!((instance.priority.get(), &names[..]), (100, expected));
    }
    let hook = (HookOwner::Group(group.name.clone()), HookKind::Change);
    assert_eq!(
        loaded.work.hooks.get(&hook).unwrap().command,
        ["/bin/n", "a"]
    );
    outcome.left(12, "there is no such instance");
    outcome.left(18, "no hook of its own");
    outcome.noted(25, "a member of a sync group");
}

#[test]
fn members_keep_their_weights_where_the_group_says_so() {
    let text = format!(
        "{SCRIPTS}vrrp_sync_group G {{\n group {{\n VI_1\n }}\n sync_group_tracking_weight\n}}\n{}",
        instance("track_script {\n more\n}")
    );
    assert_eq!(
        weighed(&imported(&text)),
        (120, vec![("more".to_owned(), Some(-20))])
    );
}

#[rstest]
#[case("priority 90", "differ in priority")]
#[case("advert_int 2", "differ in priority")]
#[case("nopreempt", "differ in priority")]
fn a_group_whose_members_differ_is_left(#[case] line: &str, #[case] why: &str) {
    let text = format!(
        "vrrp_sync_group G {{\n group {{\n VI_1\n VI_2\n }}\n}}\n{}{}",
        instance(line),
        instance("")
            .replace("VI_1", "VI_2")
            .replace("51", "52")
            .replace(".10/", ".11/")
    );
    let outcome = imported(&text);
    outcome.left(1, why);
    assert!(outcome.loaded().settings.groups.is_empty());
    assert_eq!(outcome.loaded().settings.instances.len(), 2);
}

#[test]
fn names_outside_of_the_block_are_left() {
    let text = format!("vrrp_sync_group G {{\n VI_1\n}}\n{}", instance(""));
    let outcome = imported(&text);
    outcome.left(2, "outside of `group");
    outcome.left(1, "without members");
}

#[test]
fn names_become_names() {
    let text = instance("").replace("VI_1", "\"VI 1\"")
        + &instance("")
            .replace("VI_1", "VI/1")
            .replace("51", "52")
            .replace(".10/", ".11/");
    let outcome = imported(&text);
    let names: Vec<String> = outcome
        .loaded()
        .settings
        .instances
        .iter()
        .map(|one| one.name.to_string())
        .collect();
    assert_eq!(names, ["VI-1", "VI-1-2"]);
    outcome.noted(1, "is used once");
}

#[rstest]
#[case(
    "virtual_server 10.0.0.1 80 {\n delay_loop 6\n real_server 10.0.0.2 80 {\n weight 1\n }\n}",
    "load balancing"
)]
#[case("virtual_server_group g {\n 10.0.0.1 80\n}", "load balancing")]
#[case(
    "static_routes {\n 10.0.0.0/8 via 192.0.2.1\n}",
    "network configuration"
)]
#[case("bfd_instance b {\n neighbor_ip 192.0.2.2\n}", "no BFD")]
#[case("garp_group {\n garp_interval 1\n}", "spreads its announcements")]
#[case("net_namespace x", "network namespace")]
#[case("nonsense 1 {\n 2\n}", "not known here")]
fn blocks_that_are_left(#[case] text: &str, #[case] why: &str) {
    let outcome = imported(&format!("{text}\n{}", instance("")));
    let lines = text.lines().count();
    for (line, content) in (1..=lines).zip(text.lines()) {
        if content.trim() != "}" {
            outcome.left(line, why);
        }
    }
    assert_eq!(outcome.loaded().settings.instances.len(), 1);
}

#[rstest]
#[case("\"\"")]
#[case("\"/bin/x \\x00\"")]
fn a_script_that_cannot_be_run_is_left_whole(#[case] program: &str) {
    let text = format!("vrrp_script s {{\n script {program}\n interval 2\n user nobody\n}}\n");
    let outcome = imported(&format!("{text}{}", instance("track_script {\n s\n}")));
    for line in [1, 3, 4] {
        outcome.left(line, "none that vipward can run");
    }
    assert_eq!(weighed(&outcome), (100, Vec::new()));
}

#[test]
fn a_virtual_mac() {
    let outcome = imported(&instance("use_vmac vrrp.51"));
    assert!(one(&outcome).virtual_mac);
    outcome.noted(5, "names the interface itself");
}

#[test]
fn processes_and_files_that_are_tracked() {
    let described = "vrrp_track_process web {\n process haproxy\n quorum 2\n quorum_max 9\n}\n\
                     vrrp_track_process odd {\n process haproxy\n full_command\n}\n\
                     vrrp_track_file number {\n file /run/number\n}\n\
                     vrrp_track_file more {\n file /run/more\n weight 2\n}\n";
    let lines = "track_process {\n web\n odd weight -5\n}\ntrack_file {\n number\n more\n}";
    let outcome = imported(&format!("{described}{}", instance(lines)));
    let listed = [
        ("web".to_owned(), Some(-1)),
        ("odd".to_owned(), Some(-5)),
        ("number".to_owned(), None),
    ];
    assert_eq!(weighed(&outcome), (101, listed.into()));
    outcome.left(8, "counts them");
    let work = &outcome.loaded().work;
    let counted = |name: &str| match &work.probes[&CheckName::new(name)].kind {
        ProbeKind::Process(probe) => (probe.name.clone(), probe.min, probe.max),
        other => panic!("{other:?}"),
    };
    assert_eq!(counted("web"), (Some("haproxy".to_owned()), 2, Some(9)));
    assert_eq!(counted("odd"), (Some("haproxy".to_owned()), 1, None));
    let files: Vec<_> = work.files.iter().collect();
    assert_eq!(files, [std::path::Path::new("/run/number")]);
}

#[rstest]
#[case("no_accept", "firewall")]
#[case("dont_track_primary", "own interface is down")]
#[case("smtp_alert", "no mail")]
#[case("strict_mode on", "no strict mode")]
#[case("notify_stop /bin/x", "no hook of its own")]
#[case("track_process {\n x\n}", "described nowhere")]
#[case("frobnicate 1", "not known here")]
fn words_that_are_not_carried_over(#[case] line: &str, #[case] why: &str) {
    let outcome = imported(&instance(line));
    let at = if line.contains('\n') { 6 } else { 5 };
    match why {
        "described nowhere" => outcome.noted(at, why),
        _ => outcome.left(at, why),
    }
}

#[rstest]
#[case("", "`vrid` of instance")]
#[case("virtual_router_id 0", "`vrid` is a whole number")]
#[case("virtual_router_id 0x33", "`vrid` is a whole number")]
fn an_instance_that_vipward_does_not_take_is_left(#[case] line: &str, #[case] why: &str) {
    let text = instance("").replace("virtual_router_id 51", line)
        + &instance("").replace("VI_1", "VI_2").replace(".10/", ".11/");
    let outcome = imported(&text);
    assert_eq!(one(&outcome).name.to_string(), "VI_2");
    outcome.left(1, why);
    outcome.left(2, why);
}

#[test]
fn two_instances_that_vipward_does_not_take_together() {
    let text = instance("") + &instance("").replace("VI_1", "VI_2");
    let outcome = imported(&text);
    assert_eq!(one(&outcome).name.to_string(), "VI_1");
    outcome.left(7, "VRID 51 is used twice");
}

#[test]
fn without_an_instance_there_is_nothing_to_write() {
    let outcome = imported("global_defs {\n router_id a\n}\nvrrp_script x {\n script /bin/x\n}\n");
    assert!(outcome.imported.yaml.is_none());
    outcome.noted(4, "nothing tracks it");
    assert!(imported("").imported.yaml.is_none());
    assert!(imported("# nothing\n").imported.entries.is_empty());
}

#[test]
fn what_is_left_stands_above_the_result() {
    let outcome = imported(&instance("no_accept\nstate MASTER"));
    let header = outcome.yaml().split_once("\n\n").unwrap().0;
    assert!(
        header.contains("# Not carried over, to be done by hand:"),
        "{header}"
    );
    assert!(header.contains("keepalived.conf:5 `no_accept`"), "{header}");
    assert!(!header.contains("state MASTER"), "{header}");
    assert!(header.lines().all(|line| line.starts_with('#')));
}
