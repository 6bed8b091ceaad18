//! Checks and hooks: what a file comes to, beyond its messages.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use vipward::agent::jobs::{CheckName, HookKind, HookOwner};
use vipward::agent::settings::{CheckSettings, CheckSource, CheckUse, Combination, OnFail};
use vipward::agent::status::CheckState;
use vipward::agent::values::InstanceName;
use vipward::config::work::probe::{
    Average, Bytes, DiskProbe, DnsProbe, HttpProbe, Percent, PressureProbe, Probe, ProbeKind,
    ProcessProbe, Resource, Room, Stalled, Trust,
};
use vipward::config::work::{Script, parse};
use vipward::config::{self, Loaded, inspect_scripts};

fn loaded(instance: &str, checks: &str) -> Loaded {
    let text = format!(
        "instances:\n  web:\n    interface: eth0\n    vrid: 51\n    priority: 150\n    \
         addresses: [192.0.2.10/24]\n{instance}{checks}"
    );
    config::parse("c.yaml".as_ref(), &text, "lb1").unwrap_or_else(|faults| panic!("{faults}"))
}

/// All checks of `checks`, used.
fn checks(checks: &str) -> Loaded {
    let names = checks.lines().filter_map(|line| line.split(':').next());
    let names: Vec<&str> = names.map(str::trim).collect();
    let instance = format!("    checks: [{}]\n", names.join(", "));
    loaded(&instance, &format!("checks:\n{checks}"))
}

fn check<'a>(loaded: &'a Loaded, name: &str) -> &'a CheckSettings {
    let mut checks = loaded.settings.checks.iter();
    checks.find(|check| check.name.as_str() == name).unwrap()
}

fn script(words: &[&str], user: Option<&str>, timeout: Duration) -> Script {
    Script {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        user: user.map(str::to_owned),
        timeout,
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_not_written_has_its_default() {
    let loaded = checks(
        "  a: { script: [/bin/a] }\n  b: { tcp: \"[::1]:80\", interval: 250ms }\n  \
         c: { http: \"http://a/\", interval: 1h }\n  d: { interface: eth1 }\n",
    );
    let times = |name| {
        let check = check(&loaded, name);
        let times = (check.interval, check.timeout);
        (times, check.rise, check.fall, check.initial)
    };
    assert_eq!(times("a"), ((SECOND, SECOND), 2, 3, None));
    let quarter = Duration::from_millis(250);
    assert_eq!(times("b"), ((quarter, quarter), 2, 3, None));
    assert_eq!(times("c"), ((Duration::from_hours(1), SECOND), 2, 3, None));
    assert_eq!(
        check(&loaded, "d").source,
        CheckSource::Interface("eth1".parse().unwrap())
    );
    let work = &loaded.work;
    assert_eq!(
        work.scripts.iter().collect::<Vec<_>>(),
        [(&CheckName::new("a"), &script(&["/bin/a"], None, SECOND))]
    );
    let tcp = ProbeKind::Tcp {
        target: parse::tcp("[::1]:80").unwrap(),
    };
    let http = ProbeKind::Http(HttpProbe::new(parse::http("http://a/").unwrap()));
    let probe = |name: &str, kind, timeout| (CheckName::new(name), Probe { kind, timeout });
    let probes = [probe("b", tcp, quarter), probe("c", http, SECOND)];
    assert_eq!(work.probes, probes.into_iter().collect());
}

#[test]
fn what_is_written_arrives() {
    let loaded = loaded(
        "    checks: [z, { name: a, weight: -50 }]\n    hooks:\n      \
         active: { run: [/bin/n, -1], timeout: 2s, user: www }\n      change: [/bin/n]\n",
        "checks:\n  z: { http: \"https://[::1]:8443/x\", status: [200, 300-399], host: a.example, \
         ca: /ca.pem, interval: 2s, timeout: 1500ms, rise: 1, fall: 9, initial: down }\n  \
         a: { http: \"https://a/\", status: 404, insecure: true, initial: up }\n",
    );
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [web] = &loaded.settings.instances[..] else {
        panic!("one instance")
    };
    let listed = |name: &str, weight| CheckUse {
        name: CheckName::new(name),
        weight,
    };
    // In the order of the file; the checks themselves by name.
    assert_eq!(web.checks, [listed("z", None), listed("a", Some(-50))]);
    let names: Vec<&str> = loaded
        .settings
        .checks
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["a", "z"]);
    let (two, ten) = (Duration::from_secs(2), Duration::from_secs(10));
    let timeouts = [(HookKind::Active, two), (HookKind::Change, ten)];
    assert_eq!(web.hooks, timeouts.into_iter().collect());
    let instance = HookOwner::Instance(InstanceName::new("web"));
    let hooks = [
        (
            (instance.clone(), HookKind::Active),
            script(&["/bin/n", "-1"], Some("www"), two),
        ),
        ((instance, HookKind::Change), script(&["/bin/n"], None, ten)),
    ];
    assert_eq!(loaded.work.hooks, hooks.into_iter().collect());
    let z = check(&loaded, "z");
    assert_eq!((z.interval, z.timeout), (two, Duration::from_millis(1500)));
    assert_eq!((z.rise, z.fall, z.initial), (1, 9, Some(CheckState::Down)));
    assert_eq!(check(&loaded, "a").initial, Some(CheckState::Up));
    let probe = |name: &str| match &loaded.work.probes[&CheckName::new(name)].kind {
        ProbeKind::Http(probe) => probe.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let z = probe("z");
    assert_eq!(
        (z.status, z.host),
        (vec![200..=200, 300..=399], Some("a.example".into()))
    );
    assert_eq!(z.url.to_string(), "https://[::1]:8443/x");
    assert_eq!(z.trust, Trust::File("/ca.pem".into()));
    let a = probe("a");
    assert_eq!(
        (a.status, a.host, a.trust),
        (vec![404..=404], None, Trust::Anyone)
    );
}

#[test]
fn a_question_is_equal_when_what_is_asked_is() {
    let question = |check: &str| {
        let loaded = checks(&format!("  a: {{ {check} }}\n"));
        let CheckSource::Elsewhere { question } = loaded.settings.checks[0].source.clone() else {
            panic!("asked of the kernel")
        };
        question
    };
    let different = [
        "script: [/bin/a]",
        "script: [/bin/a, b]",
        "script: [/bin/a, b, c]",
        "script: [/bin/a, \"b, c\"]",
        "script: [/bin/a, 'b\", \"c']",
        "script: [/bin/a], user: b",
        "tcp: \"a:80\"",
        "tcp: \"a:81\"",
        "http: \"http://a/\"",
        "http: \"https://a/\"",
        "http: \"https://a/\", insecure: true",
        "http: \"https://a/\", ca: /a",
        "http: \"http://a/\", host: b",
        "http: \"http://a/\", status: 200",
        "process: a",
        "process: b",
        "process: a, min: 2",
        "process: a, max: 2",
        "pid_file: /a",
        "process: a, pid_file: /a",
        "systemd: a.service",
        "arp: 192.0.2.254, interface: eth0",
        "arp: 192.0.2.254, interface: eth1",
        "ping: 192.0.2.254",
        "ping: 192.0.2.254, interface: eth0",
        "dns: a, server: 127.0.0.1",
        "dns: a, server: \"127.0.0.1:54\"",
        "dns: a, server: 127.0.0.1, expect: 192.0.2.80",
        "disk: /a, free: 10%",
        "disk: /a, inodes: 10%",
        "disk: /a, free: 10GiB",
        "pressure: cpu, above: 10%",
        "pressure: cpu, above: 10%, stalled: full",
        "pressure: cpu, above: 10%, average: 60s",
        "link_errors: eth0, above: 10",
        "link_errors: eth0, above: 11",
    ];
    let asked: std::collections::BTreeSet<String> = different.map(question).into();
    assert_eq!(asked.len(), different.len());
    for (one, other) in [
        (
            "tcp: \"[::1]:80\"",
            "tcp: \"[0::1]:80\", interval: 9s, fall: 1",
        ),
        (
            "script: [/bin/a, 1]",
            "script: [/bin/a, \"1\"], timeout: 100ms",
        ),
        (
            "http: \"http://a\"",
            "http: \"HTTP://a:80/\", status: [200-299]",
        ),
        ("process: a", "process: a, min: 1, on_fail: handover"),
        ("dns: a, server: \"::1\"", "dns: a, server: \"[::1]:53\""),
        ("disk: /a, free: 1024MiB", "disk: /a, free: 1GiB"),
    ] {
        assert_eq!(question(one), question(other));
    }
}

#[test]
fn what_is_not_run_comes_from_elsewhere() {
    let loaded = loaded(
        "    checks: [flag, most, outer]\n",
        "checks:\n  flag: { file: /run/n }\n  x: { tcp: \"a:1\", on_fail: handover }\n  \
         y: { tcp: \"a:2\" }\n  z: { tcp: \"a:3\" }\n  unused: { any: [x] }\n  \
         most: { at_least: { 2: [z, y, x] }, initial: down }\n  inner: { any: [x] }\n  \
         outer: { all: [inner, y], on_fail: handover }\n",
    );
    let names = loaded.settings.checks.iter().map(|c| c.name.as_str());
    let names: Vec<&str> = names.collect();
    assert_eq!(names, ["flag", "inner", "most", "outer", "x", "y", "z"]);
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    let combined = |needed, members: &[&str]| {
        let members = members.iter().map(|name| CheckName::new(name)).collect();
        CheckSource::Combination(Combination { needed, members })
    };
    let source = |name| check(&loaded, name).source.clone();
    assert_eq!(source("flag"), CheckSource::File("/run/n".into()));
    assert_eq!(source("most"), combined(2, &["z", "y", "x"]));
    assert_eq!(source("inner"), combined(1, &["x"]));
    assert_eq!(source("outer"), combined(2, &["inner", "y"]));
    assert_eq!(check(&loaded, "most").initial, Some(CheckState::Down));
    let on_fail = |name| check(&loaded, name).on_fail;
    assert_eq!(
        (on_fail("outer"), on_fail("most")),
        (OnFail::Handover, OnFail::Fault)
    );
    assert_eq!(loaded.work.files, [PathBuf::from("/run/n")].into());
    assert_eq!(loaded.work.probes.len(), 3);
    let again = config::parse("c.yaml".as_ref(), &loaded.effective().unwrap(), "lb1").unwrap();
    assert_eq!(
        (&again.settings, &again.work),
        (&loaded.settings, &loaded.work)
    );
}

#[test]
fn checks_of_this_host_arrive() {
    let loaded = checks(
        "  a: { process: x, max: 0 }\n  b: { pid_file: /p }\n  c: { ping: \"fe80::1\", interface: eth0 }\n  \
         d: { dns: n.example, server: \"::1\", expect: 10.0.0.1 }\n  \
         e: { pressure: io, above: 2.5% }\n  f: { disk: /, free: 5GiB, inodes: 1% }\n",
    );
    let probe = |name: &str| loaded.work.probes[&CheckName::new(name)].kind.clone();
    let process = |name: Option<&str>, pid_file: Option<&str>, min, max| {
        ProbeKind::Process(ProcessProbe {
            name: name.map(str::to_owned),
            pid_file: pid_file.map(PathBuf::from),
            min,
            max,
        })
    };
    assert_eq!(probe("a"), process(Some("x"), None, 0, Some(0)));
    assert_eq!(probe("b"), process(None, Some("/p"), 1, None));
    let target = parse::ping("fe80::1").unwrap();
    let interface = Some("eth0".parse().unwrap());
    assert_eq!(probe("c"), ProbeKind::Ping { target, interface });
    let dns = DnsProbe {
        name: "n.example".into(),
        server: "[::1]:53".parse().unwrap(),
        expect: Some([10, 0, 0, 1].into()),
    };
    assert_eq!(probe("d"), ProbeKind::Dns(dns));
    let pressure = PressureProbe {
        resource: Resource::Io,
        stalled: Stalled::Some,
        average: Average::TenSeconds,
        above: Percent(250),
    };
    assert_eq!(probe("e"), ProbeKind::Pressure(pressure));
    let disk = DiskProbe {
        path: "/".into(),
        free: Some(Room::Bytes(Bytes(5 << 30))),
        inodes: Some(Percent(100)),
    };
    assert_eq!(probe("f"), ProbeKind::Disk(disk));
}

#[test]
fn a_check_that_nobody_uses_is_not_there() {
    let unused = loaded(
        "",
        "checks:\n  a: { script: [/bin/a] }\n  b: { tcp: \"a:1\" }\n",
    );
    let none = loaded("", "");
    assert_eq!(unused.warnings.len(), 2);
    assert!(unused.settings.checks.is_empty());
    assert_eq!((&unused.work, &unused.digest), (&none.work, &none.digest));
    assert_eq!(inspect_scripts(&unused, &|_| Err("no".into())), Ok(()));
}

#[test]
fn the_digest_tells_every_difference() {
    let base = ["a: { script: [/bin/a, b], user: u, timeout: 500ms }"];
    let others = [
        "a: { script: [/bin/a, c], user: u, timeout: 500ms }",
        "a: { script: [/bin/a, b], user: v, timeout: 500ms }",
        "a: { script: [/bin/a, b], user: u, timeout: 501ms }",
        "a: { script: [/bin/a, b], user: u, timeout: 500ms, interval: 2s }",
        "a: { script: [/bin/a, b], user: u, timeout: 500ms, rise: 3 }",
        "a: { script: [/bin/a, b], user: u, timeout: 500ms, fall: 2 }",
        "a: { script: [/bin/a, b], user: u, timeout: 500ms, initial: up }",
        "a: { interface: eth1 }",
        "a: { script: [/bin/a, b], user: u, timeout: 500ms, on_fail: handover }",
    ];
    let digest = |check: &&str| checks(&format!("  {check}\n")).digest;
    let mut digests: std::collections::BTreeSet<String> =
        base.iter().chain(&others).map(digest).collect();
    for hook in ["[/bin/a]", "[/bin/b]", "{ run: [/bin/a], timeout: 9s }"] {
        digests.insert(loaded(&format!("    hooks: {{ active: {hook} }}\n"), "").digest);
    }
    let weighted = "    checks: [{ name: a, weight: -5 }]\n";
    digests.insert(loaded(weighted, &format!("checks:\n  {}\n", base[0])).digest);
    assert_eq!(digests.len(), 14);
    let cluster = |key: &str, listen: &str, second: &str| {
        let nodes = format!("lb1: [10.0.0.1], lb2: [{second}]");
        let cluster = format!("key_file: {key}, listen: \"{listen}\", nodes: {{ {nodes} }}");
        loaded("", &format!("cluster: {{ {cluster} }}\n")).digest
    };
    digests.extend([
        loaded("", "").digest,
        cluster("a", "0.0.0.0:9851", "10.0.0.2"),
        cluster("b", "0.0.0.0:9851", "10.0.0.2"),
        cluster("a", "0.0.0.0:9852", "10.0.0.2"),
        cluster("a", "0.0.0.0:9851", "10.0.0.3"),
        loaded("    witnesses: [10.0.0.254]\n", "").digest,
        loaded("    on_conflict: yield\n", "").digest,
        loaded("    on_all_fail: keep\n", "").digest,
    ]);
    assert_eq!(digests.len(), 22);
}

#[test]
fn scripts_are_inspected_where_they_stand() {
    let loaded = loaded(
        "    checks: [a, b]\n    hooks: { active: &n [/bin/notify, x], backup: *n, fault: [/bin/other] }\n",
        "checks:\n  b: { tcp: \"a:1\" }\n  a: { script: [/bin/a, y], user: u }\n",
    );
    let asked = RefCell::new(Vec::new());
    let sound = inspect_scripts(&loaded, &|script| {
        asked
            .borrow_mut()
            .push((script.command.join(" "), script.user.clone()));
        Ok(())
    });
    assert_eq!(sound, Ok(()));
    let asked = asked.into_inner();
    let of_check = ("/bin/a y".to_owned(), Some("u".to_owned()));
    assert!(asked.contains(&of_check), "{asked:?}");
    assert!(
        asked.contains(&("/bin/notify x".to_owned(), None)),
        "{asked:?}"
    );

    let faults = inspect_scripts(&loaded, &|script| match script.command[0].as_str() {
        "/bin/other" => Ok(()),
        path => Err(format!("{path} is\u{1b} missing")),
    })
    .unwrap_err();
    // The hook that an alias repeats is wrong once.
    assert_eq!(faults.count(), 2, "{faults}");
    insta::assert_snapshot!(faults.to_string(), @r"
    error: /bin/notify is? missing
     --> c.yaml:8:26
      |
    8 |     hooks: { active: &n [/bin/notify, x], backup: *n, fault: [/bin/other] }
      |                          ^^^^^^^^^^^ the script of the hook `active` of `web`
      |
      = help: it would be refused each time that it should run

    error: /bin/a is? missing
      --> c.yaml:11:17
       |
    11 |   a: { script: [/bin/a, y], user: u }
       |                 ^^^^^^ the script of check `a`
       |
       = help: it would be refused each time that it should run

    2 faults; the file was not used
    ");
}
