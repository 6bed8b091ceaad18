//! What holds for every configuration: printed and read back it is the same,
//! by two libraries; and no text makes the reader panic or fall silent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::arbitrary::{check, hooks, wired};
use super::print::{self, Effective};
use super::routing::arbitrary::routing;
use super::*;
use crate::agent::settings::{
    AddressSettings, AnnounceSettings, AntiReplay, Authentication, ClusterSettings, HmacSettings,
    Mode, OnAllFail, OnConflict, Password, Preempt,
};
use crate::agent::values::{
    AdvertInterval, ChecksumForm, Family, InstanceName, InterfaceName, Lease, NodeName, Priority,
    Version, Vrid,
};

/// Names that a writer must put into quotes, and others.
fn name() -> impl Strategy<Value = String> {
    let traps = vec![
        "no", "No", "on", "OFF", "yes", "y", "true", "null", "NULL", "7", "010", "1e3", "0x10",
        "0o17", "0b1", "1_000", "1.5", "1.2.3", "1-2", "12e03", "nan", "inf",
    ];
    prop_oneof![
        1 => select(traps).prop_map(str::to_owned),
        3 => "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,20}",
    ]
}

pub(super) fn interface() -> impl Strategy<Value = InterfaceName> {
    let names = vec!["eth0", "eth1", "br-lan", "on", "1e3", "ens3.100", "0"];
    select(names).prop_map(|name| name.parse().unwrap())
}

fn span(most: Duration) -> impl Strategy<Value = Duration> {
    let most = u64::try_from(most.as_millis()).unwrap();
    prop_oneof![
        Just(0),
        0..=most,
        (0..=most / 1000).prop_map(|seconds| seconds * 1000),
    ]
    .prop_map(Duration::from_millis)
}

/// `index` keeps the addresses of different instances apart.
fn address(
    index: u8,
    family: Family,
    own: InterfaceName,
) -> impl Strategy<Value = AddressSettings> {
    (
        any::<(bool, u8, bool, bool, bool)>(),
        1..=254u8,
        option::of(interface()),
        select(vec![8u8, 16, 24, 32]),
        option::of("[a-z]{0,5}"),
    )
        .prop_map(move |(flags, host, interface, prefix, label)| {
            let (is_v6, net, advertise, required, source_address) = flags;
            let address = match is_v6 {
                true => {
                    let [index, net, host] = [index, net, host].map(u16::from);
                    IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, index, net, 0, 0, 0, host))
                }
                false => IpAddr::from(Ipv4Addr::new(10, index, net, host)),
            };
            let prefix = if is_v6 { 96 + prefix } else { prefix };
            let interface = interface.unwrap_or(own);
            AddressSettings {
                network: IpNet::new(address, prefix).unwrap(),
                interface,
                label: label
                    .filter(|_| !is_v6)
                    .map(|label| format!("{interface}:{label}")),
                advertise: advertise && Family::of(address) == family,
                required,
                source_address: source_address && is_v6,
            }
        })
}

/// At least one is advertised, none is listed twice.
fn addresses(
    index: u8,
    family: Family,
    own: InterfaceName,
) -> impl Strategy<Value = Vec<AddressSettings>> {
    vec(address(index, family, own), 0..6).prop_map(move |mut list| {
        let address: IpAddr = match family {
            Family::Ipv4 => Ipv4Addr::new(10, index, 0, 255).into(),
            Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, index.into(), 0, 0, 0, 1, 1).into(),
        };
        list.push(AddressSettings {
            network: IpNet::from(address),
            interface: own,
            label: None,
            advertise: true,
            required: true,
            source_address: false,
        });
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|address| seen.insert(address.network.addr()));
        list
    })
}

fn peers(family: Family) -> impl Strategy<Value = Vec<IpAddr>> {
    proptest::collection::btree_set(2..=250u8, 0..4).prop_map(move |hosts| {
        let peer = |host: u8| match family {
            Family::Ipv4 => IpAddr::from(Ipv4Addr::new(192, 0, 2, host)),
            Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into()).into(),
        };
        hosts.into_iter().map(peer).collect()
    })
}

fn preempt() -> impl Strategy<Value = Preempt> {
    prop_oneof![
        Just(Preempt::Never),
        Just(Preempt::Immediately),
        (1..=86_400_000u64).prop_map(|millis| Preempt::After(Duration::from_millis(millis))),
    ]
}

fn announce() -> impl Strategy<Value = AnnounceSettings> {
    let or_zero =
        |low: u64, high: u64| prop_oneof![Just(0), low..=high].prop_map(Duration::from_millis);
    let spans = (or_zero(100, 3_600_000), or_zero(1_000, 86_400_000));
    (1..=20u8, spans).prop_map(|(repeat, (delay, refresh))| AnnounceSettings {
        repeat,
        delay,
        refresh,
    })
}

fn speech() -> impl Strategy<Value = (Version, Family, ChecksumForm, AdvertInterval)> {
    prop_oneof![
        (1..=255u8).prop_map(|seconds| {
            let interval = AdvertInterval::from_seconds(seconds).unwrap();
            (
                Version::V2,
                Family::Ipv4,
                ChecksumForm::MessageOnly,
                interval,
            )
        }),
        (1..=4095u16, any::<(bool, bool)>()).prop_map(|(centiseconds, (v6, rfc))| {
            let interval = AdvertInterval::from_centiseconds(centiseconds).unwrap();
            let (family, checksum) = match (v6, rfc) {
                (true, _) => (Family::Ipv6, ChecksumForm::PseudoHeader),
                (false, true) => (Family::Ipv4, ChecksumForm::MessageOnly),
                (false, false) => (Family::Ipv4, ChecksumForm::PseudoHeader),
            };
            (Version::V3, family, checksum, interval)
        }),
    ]
}

fn lease(interval: AdvertInterval) -> impl Strategy<Value = Option<Lease>> {
    let shortest = interval.as_duration().as_secs_f64().ceil() as u32 + 1;
    option::of((shortest..=86_400).prop_map(|seconds| Lease::from_seconds(seconds).unwrap()))
}

fn authentication(version: Version) -> impl Strategy<Value = Authentication> {
    let modes = vec![Mode::Enforce, Mode::Permissive, Mode::ReceiveOnly];
    let fresh = vec![AntiReplay::Monotonic, AntiReplay::Time];
    let keys = proptest::collection::btree_set(any::<u8>(), 1..4);
    let hmac = (keys, select(modes), select(fresh), 1_000..=3_600_000u64).prop_map(
        |(keys, mode, anti_replay, window)| {
            Authentication::Hmac(HmacSettings {
                fingerprints: Default::default(),
                active_key: *keys.last().unwrap(),
                keys,
                mode,
                anti_replay,
                window: Duration::from_millis(window),
            })
        },
    );
    let password = name().prop_map(move |text| {
        let mut bytes = [0; 8];
        bytes
            .iter_mut()
            .zip(text.bytes())
            .for_each(|(slot, byte)| *slot = byte);
        match version {
            Version::V2 => Authentication::Password(Password(bytes)),
            Version::V3 => Authentication::None,
        }
    });
    prop_oneof![Just(Authentication::None), hmac, password]
}

/// A file for every key.
fn key_paths(settings: &Settings) -> KeyPaths {
    let cluster = settings.cluster.as_ref();
    KeyPaths {
        instances: instance_key_paths(settings),
        cluster: cluster.map(|cluster| match cluster.nodes.len() % 2 {
            0 => "/etc/vipward/cluster key".into(),
            _ => "cluster.key".into(),
        }),
    }
}

fn instance_key_paths(settings: &Settings) -> BTreeMap<(InstanceName, u8), PathBuf> {
    let of = |instance: &InstanceSettings| {
        let keys = match &instance.authentication {
            Authentication::Hmac(hmac) => hmac.keys.clone(),
            Authentication::None | Authentication::Password(_) => Default::default(),
        };
        let name = instance.name.clone();
        keys.into_iter().map(move |key| {
            let path = if key % 2 == 0 {
                format!("/keys/{name} {key}")
            } else {
                format!("k{key}")
            };
            ((name.clone(), key), path.into())
        })
    };
    settings.instances.iter().flat_map(of).collect()
}

fn instance(index: u8, name: String) -> impl Strategy<Value = InstanceSettings> {
    let hour = Duration::from_hours(1);
    (interface(), speech())
        .prop_flat_map(move |(interface, speech)| {
            let (version, family, _, interval) = speech;
            (
                Just((interface, speech)),
                addresses(index, family, interface),
                (peers(family), disputes(family)),
                (1..=255u8, 1..=255u8, 1..=255u8, any::<bool>()),
                (preempt(), span(hour), announce(), lease(interval)),
                (authentication(version), routing(index, interface)),
            )
        })
        .prop_map(
            move |((interface, speech), addresses, others, numbers, times, rest)| {
                let (peers, (on_all_fail, on_conflict, witnesses)) = others;
                let (authentication, (routes, rules)) = rest;
                let (version, family, checksum, advert_interval) = speech;
                let (priority, down_after, ttl, with_source) = numbers;
                let (preempt, settle, announce, lease) = times;
                let source = match family {
                    Family::Ipv4 => IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)),
                    Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
                };
                InstanceSettings {
                    checks: Vec::new(),
                    on_all_fail,
                    on_conflict,
                    witnesses,
                    virtual_mac: ttl % 2 == 0 && priority < 255,
                    hooks: Default::default(),
                    name: InstanceName::new(&name),
                    interface,
                    vrid: Vrid::new(index).unwrap(),
                    priority: Priority::new(priority).unwrap(),
                    version,
                    family,
                    addresses,
                    routes,
                    rules,
                    advert_interval,
                    down_after,
                    ttl: if peers.is_empty() { 255 } else { ttl },
                    unicast_peers: peers,
                    source: with_source.then_some(source),
                    preempt,
                    settle,
                    announce,
                    lease,
                    checksum,
                    authentication,
                }
            },
        )
}

/// What an instance does when nodes disagree, and whom it asks.
fn disputes(family: Family) -> impl Strategy<Value = (OnAllFail, OnConflict, Vec<IpAddr>)> {
    let choices = (any::<bool>(), any::<bool>());
    (choices, peers(family)).prop_map(|((keep, give_way), witnesses)| {
        let on_all_fail = if keep {
            OnAllFail::Keep
        } else {
            OnAllFail::Release
        };
        let on_conflict = if give_way {
            OnConflict::Yield
        } else {
            OnConflict::Report
        };
        (on_all_fail, on_conflict, witnesses)
    })
}

/// With `own` among its nodes. Their addresses are no instance's.
fn cluster(own: String) -> impl Strategy<Value = Option<ClusterSettings>> {
    let nodes = proptest::collection::btree_set(name(), 2..16);
    let paths = vec(any::<bool>(), 1..=4);
    let listen = (any::<bool>(), 1..=u16::MAX);
    let cluster = (nodes, paths, listen).prop_map(move |(mut names, paths, (v6, port))| {
        names.insert(own.clone());
        let address = |node: usize, path: usize, v6: bool| match v6 {
            true => {
                let [node, path] = [node, path].map(|part| u16::try_from(part).unwrap());
                IpAddr::from(Ipv6Addr::new(0xfd00, path, 0, 0, 0, 0, 0, node))
            }
            false => {
                let [node, path] = [node, path].map(|part| u8::try_from(part).unwrap());
                Ipv4Addr::new(172, 16, path, node).into()
            }
        };
        let addresses = |node: usize| {
            let each = paths.iter().enumerate();
            each.map(|(path, v6)| address(node, path, *v6)).collect()
        };
        let only = paths.iter().filter(|path| **path == v6).count() == 1;
        let listen: IpAddr = match (only, v6) {
            // It need not be one that is listed.
            (true, _) => address(200, 9, v6),
            (false, true) => Ipv6Addr::UNSPECIFIED.into(),
            (false, false) => Ipv4Addr::UNSPECIFIED.into(),
        };
        ClusterSettings {
            own: NodeName::new(&own),
            nodes: names
                .iter()
                .zip(1..)
                .map(|(name, node)| (NodeName::new(name), addresses(node)))
                .collect(),
            listen: (listen, port).into(),
        }
    });
    option::of(cluster)
}

fn configuration() -> impl Strategy<Value = (Settings, HostSettings, Work)> {
    let names = proptest::collection::btree_set(name(), 1..4);
    let instances = names.prop_flat_map(|names| {
        // In the order of the names, as settings are.
        let each = names
            .into_iter()
            .zip(1..)
            .map(|(name, index)| instance(index, name));
        each.collect::<Vec<_>>()
    });
    let names = proptest::collection::btree_set(name(), 0..4);
    let checks = names.prop_flat_map(|names| names.into_iter().map(check).collect::<Vec<_>>());
    let uses = vec(vec(option::of(option::of(-254..=-1i16)), 4), 4);
    let health = (checks, vec(hooks(), 4), uses);
    let levels = vec![
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Trace,
    ];
    let log = (
        select(levels),
        select(vec![LogFormat::Text, LogFormat::Json]),
    );
    let metrics = option::of((any::<IpAddr>(), 1..=u16::MAX)).prop_map(|listen| {
        let listen = listen.filter(|(address, _)| !address.is_multicast());
        listen.map(|listen| MetricsSettings {
            listen: listen.into(),
        })
    });
    let host = (log, option::of(name()), name(), metrics).prop_map(
        |((level, format), read_group, admin, metrics)| HostSettings {
            log: LogSettings { level, format },
            control: ControlSettings {
                read_group,
                admin_group: admin,
            },
            metrics,
        },
    );
    let node = name().prop_flat_map(|node| (Just(node.clone()), cluster(node)));
    (node, instances, health, host).prop_map(|((node, cluster), instances, health, host)| {
        let (checks, hooks, uses) = health;
        let (instances, checks, work) = wired(instances, hooks, checks, &uses);
        let settings = Settings {
            cluster,
            node,
            instances,
            checks,
            groups: Vec::new(),
        };
        (settings, host, work)
    })
}

fn parsed(text: &str) -> Result<Loaded, Faults> {
    parse(Path::new("p.yaml"), text, "host")
}

/// Whatever the text, an answer: and every fault shows its file.
fn answers(text: &str) {
    match parsed(text) {
        Ok(loaded) => assert!(!loaded.settings.instances.is_empty()),
        Err(faults) => {
            assert!(faults.count() > 0);
            for fault in faults.iter() {
                assert!(fault.render(Style::Plain).contains("p.yaml"), "{fault:?}");
                assert!(fault.to_string().starts_with("p.yaml"), "{fault:?}");
            }
        }
    }
}

/// Valid and invalid, to be taken apart.
fn texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![std::fs::read_to_string(root.join("config.example.yaml")).unwrap()];
    for entry in std::fs::read_dir(root.join("tests/config/faults")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = std::fs::read_to_string(path).unwrap();
            texts.extend(Some(text).filter(|text| text.len() < 2000));
        }
    }
    texts.sort();
    texts
}

proptest! {
    // A failure is printed whole; those found are in the lists above.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_and_read_back_it_is_the_same((settings, host, work) in configuration()) {
        let paths = key_paths(&settings);
        let text = print::yaml(&settings, &host, &work, &paths).unwrap();
        let loaded = parsed(&text).map_err(|faults| {
            TestCaseError::fail(format!("{faults}\n{text}"))
        })?;
        prop_assert_eq!(&loaded.settings, &settings);
        prop_assert_eq!(&loaded.host, &host);
        prop_assert_eq!(&loaded.work, &work);
        prop_assert_eq!(&loaded.effective().unwrap(), &text);
        let digest = print::digest(&settings, &host, &work, &paths).unwrap();
        prop_assert_eq!(&loaded.digest, &digest);
        // Another library takes the text for the same; it knows no references.
        let effective = print::effective(&settings, &host, &work, &paths);
        let again: Effective = serde_yaml::from_str(&text.replace("$${", "${")).unwrap();
        prop_assert_eq!(again, effective);
    }

    #[test]
    fn any_text_gets_an_answer(text in ".{0,200}") {
        answers(&text);
    }

    #[test]
    fn any_yaml_like_text_gets_an_answer(
        parts in vec(select(vec![
            "instances:", "web:", "checks:", "hooks:", "cluster:", "nodes:", "lb1:", "listen:", "witnesses:", "script:", "/a", "include:", "${", "$", "}", "tcp:", " ", "  ", "\n", "\n  ", "\n    ", "- ", "{", "}", "[", "]", ",", ": ",
            "addresses:", "192.0.2.10/24", "::1", "\"", "'", "#", "&a", "*a", "<<: ", "!x ", "|", ">-",
            "\t", "~", "no", "1:20", "vrid: 1", "\u{feff}", "é", "\u{202e}", "? ", "---\n", "%",
        ]), 0..60)
    ) {
        answers(&parts.concat());
    }

    #[test]
    fn a_damaged_file_gets_an_answer(
        text in select(texts()),
        at in any::<prop::sample::Index>(),
        removed in 0..20usize,
        put in "[ \\n\\t:\\-\\[\\]{}\"'#&*!|>%@`,a-z0-9é]{0,4}",
    ) {
        let characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len() + 1);
        let rest = (at + removed).min(characters.len());
        let mut damaged: String = characters[..at].iter().collect();
        damaged.push_str(&put);
        damaged.extend(&characters[rest..]);
        answers(&damaged);
    }
}
