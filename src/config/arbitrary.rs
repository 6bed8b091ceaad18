//! Checks, hooks and what they run, for the properties.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::check::Task;
use super::command::Written;
use super::fault::Sources;
use super::properties::interface;
use super::work::probe::{
    Average, Bytes, DiskProbe, DnsProbe, HostPort, HttpProbe, Percent, PressureProbe, Probe,
    ProbeKind, ProcessProbe, Resource, Room, Stalled, Trust,
};
use super::work::{self, Script, Work};
use super::{check, yaml};
use crate::agent::jobs::{CheckName, HookKind, HookOwner};
use crate::agent::settings::{
    CheckSettings, CheckSource, CheckUse, Combination, InstanceSettings, OnFail,
};
use crate::agent::status::CheckState;

/// Words of a command that a writer must put into quotes, and others.
fn command() -> impl Strategy<Value = Vec<String>> {
    let traps = vec![
        "no",
        "7",
        "-5",
        "010",
        "1e3",
        "~",
        "--fast",
        "- a",
        "a: b",
        "a:",
        "#x",
        "x #y",
        "",
        " ",
        "*",
        "&a",
        "!t",
        "%d",
        "@",
        "`",
        "|",
        ">",
        "{}",
        "[",
        "\\",
        "'",
        "\"",
        "a\nb",
        "\t",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{1b}",
        "\u{7f}",
        "é",
        "\u{1f600}",
        "<<",
        "=",
        "?",
        "1:20",
    ];
    let argument = prop_oneof![
        select(traps).prop_map(str::to_owned),
        any::<String>().prop_map(|text| text.replace('\0', "")),
        "[ -~]{0,12}",
    ];
    ("/[a-z][ -~]{0,8}", vec(argument, 0..4)).prop_map(|(path, arguments)| {
        let mut words = vec![path];
        words.extend(arguments);
        words
    })
}

fn user() -> impl Strategy<Value = Option<String>> {
    let users = vec!["nobody", "on", "1e3", "root"];
    option::of(select(users).prop_map(str::to_owned))
}

pub(super) fn hooks() -> impl Strategy<Value = BTreeMap<HookKind, Script>> {
    let script = (command(), user(), 100..=600_000u64).prop_map(|(command, user, millis)| Script {
        command,
        user,
        timeout: Duration::from_millis(millis),
    });
    let kinds = select(HookKind::ALL.to_vec());
    proptest::collection::btree_map(kinds, script, 0..3)
}

/// A kind of check, its time-out to be filled in.
#[derive(Clone, Debug)]
enum Asked {
    Followed(CheckSource),
    Script(Vec<String>, Option<String>),
    Probe(ProbeKind),
}

fn host_and_port() -> impl Strategy<Value = HostPort> {
    let hosts = vec![
        "127.0.0.1:1",
        "[2001:db8::1]:443",
        "db.example.net:80",
        "a_b.:65535",
    ];
    select(hosts).prop_map(|text| work::parse::tcp(text).unwrap())
}

fn http() -> impl Strategy<Value = HttpProbe> {
    let urls = vec![
        "http://127.0.0.1/",
        "https://a.example:8443/x?y=1&z=%20#f",
        "https://[::1]/",
        "http://a:443?q",
    ];
    let status = vec![100..=100, 200..=299, 404..=404, 300..=599];
    let hosts = vec!["www.example.net", "::1", "10.0.0.1"];
    let trust = prop_oneof![
        Just(Trust::System),
        Just(Trust::Anyone),
        select(vec!["/etc/ca.pem", "/a: b"]).prop_map(|path| Trust::File(path.into())),
    ];
    let parts = (
        select(urls),
        vec(select(status), 1..4),
        option::of(select(hosts)),
        trust,
    );
    parts.prop_map(|(url, status, host, trust)| {
        let url = work::parse::http(url).unwrap();
        HttpProbe {
            trust: if url.tls() { trust } else { Trust::System },
            url,
            status,
            host: host.map(|host| work::parse::host(host).unwrap()),
        }
    })
}

fn local() -> impl Strategy<Value = ProbeKind> {
    let path = || select(vec!["/run/x.pid", "/a: b", "/var/lib/db"]).prop_map(PathBuf::from);
    let address = || select(vec!["192.0.2.254", "2001:db8::1"]).prop_map(|a| a.parse().unwrap());
    let percent = || (1..=10_000u16).prop_map(Percent);
    let names = vec!["haproxy", "Web Content", "a: b", "no", "1e3"];
    let process = (
        select(names),
        option::of(path()),
        0..9u32,
        option::of(0..9u32),
    );
    let units = vec!["haproxy.service", "getty@tty1.service", "a\\x2db.mount"];
    let hosts = vec!["192.0.2.254", "2001:db8::1", "gw.example.net"];
    let room = prop_oneof![
        percent().prop_map(Room::Percent),
        (1..=1_048_576u64).prop_map(|kib| Room::Bytes(Bytes(kib << 10))),
    ];
    let servers = vec!["127.0.0.1:53", "[::1]:5353"];
    prop_oneof![
        process.prop_map(|(name, pid_file, min, more)| {
            let counted = pid_file.is_none();
            ProbeKind::Process(ProcessProbe {
                name: Some(name.to_owned()),
                pid_file,
                min: if counted { min } else { 1 },
                max: more.filter(|_| counted).map(|more| min + more),
            })
        }),
        path().prop_map(|path| ProbeKind::Process(ProcessProbe {
            name: None,
            pid_file: Some(path),
            min: 1,
            max: None,
        })),
        select(units).prop_map(|name| ProbeKind::Unit {
            name: name.to_owned()
        }),
        (address(), interface())
            .prop_map(|(target, interface)| ProbeKind::Arp { target, interface }),
        (select(hosts), option::of(interface())).prop_map(|(host, interface)| ProbeKind::Ping {
            target: work::parse::ping(host).unwrap(),
            interface,
        }),
        (select(servers), option::of(address())).prop_map(|(server, expect)| {
            let (name, server) = ("www.example.net".to_owned(), server.parse().unwrap());
            ProbeKind::Dns(DnsProbe {
                name,
                server,
                expect,
            })
        }),
        (path(), room, option::of(percent())).prop_map(|(path, room, inodes)| {
            let free = Some(room);
            ProbeKind::Disk(DiskProbe { path, free, inodes })
        }),
        pressure(),
        (interface(), 0..=1_000_000u32)
            .prop_map(|(interface, above)| ProbeKind::LinkErrors { interface, above }),
    ]
}

fn pressure() -> impl Strategy<Value = ProbeKind> {
    let settings = (
        select(Resource::ALL.to_vec()),
        select(Stalled::ALL.to_vec()),
        select(Average::ALL.to_vec()),
        (1..=10_000u16).prop_map(Percent),
    );
    settings.prop_map(|(resource, stalled, average, above)| {
        ProbeKind::Pressure(PressureProbe {
            resource,
            stalled,
            average,
            above,
        })
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        interface().prop_map(|interface| Asked::Followed(CheckSource::Interface(interface))),
        select(vec!["/run/n", "/a: b"])
            .prop_map(|path| Asked::Followed(CheckSource::File(path.into()))),
        (0..8usize).prop_map(|needed| {
            let members = Vec::new();
            Asked::Followed(CheckSource::Combination(Combination { needed, members }))
        }),
        (command(), user()).prop_map(|(command, user)| Asked::Script(command, user)),
        host_and_port().prop_map(|target| Asked::Probe(ProbeKind::Tcp { target })),
        http().prop_map(|http| Asked::Probe(ProbeKind::Http(http))),
        local().prop_map(Asked::Probe),
    ]
}

/// A check, with its entry in the work. What combines others gets its members
/// in [`wired`].
pub(super) fn check(name: String) -> impl Strategy<Value = (CheckSettings, Work)> {
    let initial = option::of(select(vec![CheckState::Up, CheckState::Down]));
    let on_fail = select(vec![OnFail::Fault, OnFail::Handover]);
    let times = (100..=3_600_000u64, 10..=3_600_000u64);
    let counts = (1..=255u8, 1..=255u8);
    let parts = (asked(), times, counts, initial, on_fail);
    parts.prop_map(
        move |(asked, (interval, timeout), (rise, fall), initial, on_fail)| {
            let name = CheckName::new(&name);
            let timeout = Duration::from_millis(timeout);
            let mut work = Work::default();
            let task = match asked {
                Asked::Followed(source) => {
                    let is_file = matches!(source, CheckSource::File(_));
                    let settings = CheckSettings {
                        initial: initial.filter(|_| !is_file),
                        on_fail: if is_file { OnFail::Fault } else { on_fail },
                        ..check::follows(name, source)
                    };
                    return (settings, work);
                }
                Asked::Script(command, user) => {
                    let script = Script {
                        command,
                        user,
                        timeout,
                    };
                    work.scripts.insert(name.clone(), script.clone());
                    let words = Vec::new();
                    Task::Script(Written { script, words })
                }
                Asked::Probe(kind) => {
                    let probe = Probe { kind, timeout };
                    work.probes.insert(name.clone(), probe.clone());
                    let nowhere = yaml::read(Sources::default().add(Path::new(""), ""), "");
                    Task::Probe(probe, nowhere.unwrap().place)
                }
            };
            let settings = CheckSettings {
                interval: Duration::from_millis(interval),
                timeout,
                rise,
                fall,
                initial,
                on_fail,
                ..check::follows(name, check::source(&task))
            };
            (settings, work)
        },
    )
}

/// Which instance uses which check, and how, by bits and weights.
pub(super) type Uses = Vec<Vec<Option<Option<i16>>>>;

/// Combinations get those before them as members. Checks that no instance
/// uses, itself or by way of others, are not printed, so they are taken out.
pub(super) fn wired(
    mut instances: Vec<InstanceSettings>,
    hooks: Vec<BTreeMap<HookKind, Script>>,
    checks: Vec<(CheckSettings, Work)>,
    uses: &Uses,
) -> (Vec<InstanceSettings>, Vec<CheckSettings>, Work) {
    let mut work = Work::default();
    let mut known: Vec<(CheckSettings, Work)> = Vec::new();
    let mut used = BTreeSet::new();
    for (index, (mut check, own)) in checks.into_iter().enumerate() {
        if let CheckSource::Combination(combination) = &mut check.source {
            let members = known.iter().map(|(check, _)| check);
            let members = members.filter(|check| !matches!(check.source, CheckSource::File(_)));
            combination.members = members.map(|check| check.name.clone()).collect();
            if combination.members.is_empty() {
                continue;
            }
            combination.needed = 1 + combination.needed % combination.members.len();
        }
        let weighed =
            check.on_fail == OnFail::Fault && !matches!(check.source, CheckSource::File(_));
        for (instance, uses) in instances.iter_mut().zip(uses) {
            if let Some(Some(weight)) = uses.get(index) {
                used.insert(check.name.clone());
                instance.checks.push(CheckUse {
                    name: check.name.clone(),
                    weight: weight.filter(|_| weighed),
                });
            }
        }
        known.push((check, own));
    }
    let mut settings = Vec::new();
    while let Some((check, own)) = known.pop() {
        if !used.contains(&check.name) {
            continue;
        }
        match &check.source {
            CheckSource::Combination(combination) => used.extend(combination.members.clone()),
            CheckSource::File(path) => drop(work.files.insert(path.clone())),
            CheckSource::Interface(_) | CheckSource::Elsewhere { .. } => {}
        }
        work.scripts.extend(own.scripts);
        work.probes.extend(own.probes);
        settings.insert(0, check);
    }
    for (instance, hooks) in instances.iter_mut().zip(hooks) {
        for (kind, script) in hooks {
            instance.hooks.insert(kind, script.timeout);
            let owner = HookOwner::Instance(instance.name.clone());
            work.hooks.insert((owner, kind), script);
        }
    }
    (instances, settings, work)
}
