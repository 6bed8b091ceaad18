//! Where fuzzing begins: other implementations' packets from the captures,
//! the configurations of the tests, and requests as they are meant to be.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vipward::agent::cluster::message::{
    CheckNews, Fitness, InstanceNews, Message, News, ObstacleNews, Record, Word,
};
use vipward::agent::jobs::CheckName;
use vipward::agent::moves::{Order, Step};
use vipward::agent::status::{CheckState, StateName};
use vipward::agent::values::{Family, InstanceName, MacAddress, Version, Vrid};
use vipward::runner::frame;
use vipward::runner::message::{Answer, Call, Hello, Owner, PROTOCOL, Request, WireVerdict};
use vipward::wire::announcement::unsolicited_neighbour_advertisement;
use vipward::wire::link::encode;

pub struct Seed {
    pub target: &'static str,
    pub name: String,
    pub bytes: Vec<u8>,
}

pub fn all() -> Vec<Seed> {
    let mut seeds = captured();
    seeds.push(other_option());
    seeds.extend(configurations());
    seeds.extend(keepalived_configurations());
    seeds.extend(requests());
    seeds.extend(messages());
    seeds.extend(stories());
    seeds.extend(link_messages());
    seeds
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files with this extension below a folder of the repository.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Each frame of each capture, without its Ethernet header, for the target
/// that reads its kind.
fn captured() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for path in files("tests/vectors", "pcap") {
        let bytes = fs::read(&path).expect("a capture");
        for (place, frame) in frames(&bytes).into_iter().enumerate() {
            let name = format!("{}-{place}", stem(&path));
            if let Some((target, bytes)) = body(frame) {
                seeds.extend(sealed(target, &name, &bytes));
                seeds.push(Seed {
                    target,
                    name,
                    bytes,
                });
            }
        }
    }
    seeds
}

/// The frames of a little-endian Ethernet pcap file.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let (header, mut rest) = bytes.split_at(24);
    assert_eq!(
        header[..4],
        0xa1b2_c3d4_u32.to_le_bytes(),
        "another kind of pcap"
    );
    let mut frames = Vec::new();
    while let Some((record, behind)) = rest.split_first_chunk::<16>() {
        let kept = u32::from_le_bytes(record[8..12].try_into().expect("four bytes"));
        let (frame, behind) = behind.split_at(usize::try_from(kept).expect("short"));
        frames.push(frame);
        rest = behind;
    }
    frames
}

/// For the target that reads what is behind the message, where there is
/// something.
fn sealed(target: &str, name: &str, bytes: &[u8]) -> Option<Seed> {
    let (family, datagram) = match target {
        "advert_ipv4" => (0, bytes),
        "advert_ipv6" => (1, bytes.get(40..)?),
        _ => return None,
    };
    name.contains("hmac").then(|| Seed {
        target: "trailer",
        name: name.to_owned(),
        bytes: [&[family, 0, 77], datagram].concat(),
    })
}

fn body(frame: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let (header, body) = frame.split_at(14);
    match (<[u8; 2]>::try_from(&header[12..]).ok()?, body) {
        ([0x08, 0x00], body) if body[9] == 112 => Some(("advert_ipv4", body.to_vec())),
        ([0x08, 0x06], body) => Some(("arp", body.to_vec())),
        ([0x86, 0xdd], body) if body[6] == 112 => Some(("advert_ipv6", body.to_vec())),
        ([0x86, 0xdd], body) if body[6] == 58 => Some(("neighbour", body[40..].to_vec())),
        _ => None,
    }
}

/// A neighbour advertisement whose first option is no hardware address.
fn other_option() -> Seed {
    let address = "2001:db8::10".parse().expect("an address");
    let frame = unsolicited_neighbour_advertisement(address, MacAddress([2; 6]), false);
    let mut bytes = frame[54..].to_vec();
    bytes.extend([14, 1, 3, 3, 3, 3, 3, 3]);
    Seed {
        target: "neighbour",
        name: "other-option".to_owned(),
        bytes,
    }
}

fn configurations() -> Vec<Seed> {
    let mut paths = vec![root().join("config.example.yaml")];
    paths.extend(files("tests/config/faults", "yaml"));
    paths.extend(files("tests/config/warnings", "yaml"));
    let seeds = paths.iter().map(|path| Seed {
        target: "config_text",
        name: stem(path),
        bytes: fs::read(path).expect("a configuration"),
    });
    // Long ones would cost every run their length.
    seeds.filter(|seed| seed.bytes.len() < 20_000).collect()
}

fn keepalived_configurations() -> Vec<Seed> {
    let instance = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n \
                    virtual_ipaddress {\n  192.0.2.10/24 label eth0:1\n }\n";
    let everything = fs::read_to_string(root().join("tests/import/everything.conf"));
    let texts = [
        ("everything", everything.expect("a configuration")),
        ("conditions", format!("$P=90\n@host {instance} priority $P\n @^host priority 1\n}}\n")),
        (
            "sequences",
            "$VI= \\\nvrrp_instance a${N} { \\\n interface eth0 \\\n virtual_router_id ${N} \\\n \
             virtual_ipaddress { 10.0.0.${N} } \\\n}\n~SEQ(N, 1, 3) $VI\n~LST({A,B}, {1,2}) x $A $B\n"
                .to_owned(),
        ),
        (
            "tracked",
            format!(
                "vrrp_script s {{\n script \"/bin/s 'a b' c\" \n weight -5\n}}\n{instance} track_script {{\n s\n \
                 s weight 3 reverse\n }}\n notify \"/bin/n\" root\n}}\n"
            ),
        ),
        (
            "group",
            format!("vrrp_sync_group g {{\n group {{\n VI_1\n }}\n}}\n{instance}}}\ninclude x{{a,b}}*\n"),
        ),
    ];
    let seeds = texts.into_iter().map(|(name, text)| Seed {
        target: "keepalived_conf",
        name: name.to_owned(),
        bytes: text.into_bytes(),
    });
    seeds.collect()
}

fn requests() -> Vec<Seed> {
    let chunked = "POST /reload HTTP/1.1\r\nhost: v\r\ntransfer-encoding: chunked\r\n\r\n\
                   2\r\n{}\r\n0\r\n\r\n";
    let texts = [
        ("status", "GET /status HTTP/1.1\r\nhost: vipward\r\n\r\n"),
        ("status-1.0", "GET /status HTTP/1.0\r\n\r\n"),
        (
            "reload",
            "POST /reload HTTP/1.1\r\nhost: v\r\ncontent-length: 2\r\n\r\n{}",
        ),
        ("chunked", chunked),
        (
            "elsewhere",
            "GET /%73tatus?x=1 HTTP/1.1\r\nhost: v\r\nconnection: close\r\n\r\n",
        ),
        ("metrics", "GET /metrics HTTP/1.1\r\nhost: v\r\n\r\n"),
        ("head", "HEAD /status HTTP/1.1\r\nhost: v\r\n\r\n"),
        (
            "absolute",
            "GET http://vipward/status HTTP/1.1\r\nhost: vipward\r\n\r\n",
        ),
        (
            "expect",
            "PUT /status HTTP/1.1\r\nhost: v\r\nexpect: 100-continue\r\ncontent-length: 9999\r\n\r\n",
        ),
        (
            "upgrade",
            "GET /status HTTP/1.1\r\nhost: v\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        ),
        ("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("unfinished", "GET /status HTTP/1.1\r\nhost: "),
    ];
    let seed = |(name, text): &(&str, &str)| Seed {
        target: "control_request",
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    texts.iter().map(seed).collect()
}

fn messages() -> Vec<Seed> {
    let hello = Hello {
        protocol: PROTOCOL,
        version: "0.1.0".to_owned(),
        config: "/etc/vipward/config.yaml".to_owned(),
    };
    let call = Call {
        owner: Owner::Instance("web".to_owned()),
        hook: "change".to_owned(),
        word: "MASTER".to_owned(),
        state: "active".to_owned(),
        previous: "backup".to_owned(),
        reason: "no-response".to_owned(),
        priority: 150,
        addresses: vec![
            [192, 0, 2, 10].into(),
            "2001:db8::10".parse().expect("an address"),
        ],
    };
    let name = "nginx".to_owned();
    let requests = [
        Request::Hello(hello.clone()),
        Request::Reload { id: u64::MAX },
        Request::Check { id: 7, name },
        Request::Hook { id: 8, call },
        Request::Goodbye,
    ];
    let done = |verdict| Answer::Done {
        id: 7,
        verdict,
        duration_us: 1500,
        output: "ü\n".to_owned(),
    };
    let why = || "exit code 1".to_owned();
    let answers = [
        Answer::Hello(hello),
        Answer::Reloaded {
            id: 0,
            error: None,
            digest: Some("6b86b273ff34fce1".to_owned()),
        },
        Answer::Reloaded {
            id: 1,
            error: Some(why()),
            digest: None,
        },
        done(WireVerdict::Passed),
        done(WireVerdict::Failed(why())),
        done(WireVerdict::TimedOut),
        done(WireVerdict::Refused(why())),
        done(WireVerdict::NotRun(why())),
    ];
    let too_long = [&262_145_u32.to_be_bytes()[..], b"{}"].concat();
    let requests = requests.iter().map(frame::encode);
    let answers = answers.iter().map(frame::encode);
    let each: Vec<Vec<u8>> = requests.chain(answers).map(|f| f.expect("short")).collect();
    let whole = each.concat();
    let seed = |(place, bytes): (usize, Vec<u8>)| Seed {
        target: "runner_message",
        name: format!("message-{place}"),
        bytes,
    };
    each.into_iter()
        .chain([whole, too_long])
        .enumerate()
        .map(seed)
        .collect()
}

/// Every byte string is a story: some that begin anywhere.
fn stories() -> Vec<Seed> {
    // Knuth's constants for a linear congruence modulo 2^64.
    let byte = |state: &mut u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 56) as u8
    };
    let story = |place: u64| {
        let mut state = place;
        let length = 100 + 40 * place;
        Seed {
            target: "agent",
            name: format!("story-{place}"),
            bytes: (0..length).map(|_| byte(&mut state)).collect(),
        }
    };
    (0..20).map(story).collect()
}

/// Messages of the peer link: sealed for us, in a hello, and as they are.
fn link_messages() -> Vec<Seed> {
    let name = InstanceName::new("web");
    let instance = InstanceNews {
        name: name.clone(),
        vrid: Vrid::new(51).expect("not 0"),
        family: Family::Ipv4,
        version: Version::V3,
        state: StateName::Active,
        for_: Duration::from_secs(70),
        reason: "no-response".to_owned(),
        fitness: Fitness::Able,
        priority: 150,
        source: "192.0.2.1".parse().ok(),
        hardware_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        advert_interval: Duration::from_secs(1),
        down_after: 3,
        holds: true,
        addresses: vec![("192.0.2.10/24".parse().expect("a network"), true)],
        addresses_total: 1,
        addresses_digest: 1 << 40,
        settings_digest: 7,
        keys: vec![(1, 1 << 60)],
        active_key: Some(1),
        obstacles: vec![ObstacleNews {
            code: "check-failed".to_owned(),
            source: "nginx".to_owned(),
            text: "exit code 1".to_owned(),
        }],
        active_router: "2001:db8::1".parse().ok(),
        witnesses: 1,
        witnessed: Some(false),
    };
    let check = CheckNews {
        name: CheckName::new("nginx"),
        state: CheckState::Down,
        for_: Duration::from_millis(1500),
        output: "connection refused".to_owned(),
    };
    let records = vec![
        Record::Instance(instance),
        Record::InstanceGone(name.clone()),
        Record::Check(check),
        Record::CheckGone(CheckName::new("disk")),
    ];
    let (instance, round) = (name, 4);
    let message = Message {
        revision: 300,
        known: 9,
        pace: Duration::from_secs(1),
        clock_ms: 7,
        echo_ms: 5,
        heard_paths: Some(1),
        program: "1.2.3".to_owned(),
        news: Some(News {
            after: 9,
            up_to: 300,
            records,
        }),
        words: vec![
            Word::Ask {
                instance: instance.clone(),
                round,
            },
            Word::Answer {
                instance: instance.clone(),
                round,
                shown: true,
            },
            Word::Claim {
                instance: instance.clone(),
                round,
            },
            Word::Move {
                instance: instance.clone(),
                serial: 5,
                step: Step::Accept {
                    hooks: Duration::from_secs(10),
                },
            },
            Word::Command {
                serial: 6,
                order: Order::Drain {
                    instance: Some(instance),
                    span: Some(Duration::from_hours(2)),
                    force: false,
                },
            },
            Word::Outcome {
                serial: 6,
                answer: Some(Ok("web is drained".to_owned())),
            },
        ],
    };
    let quiet = Message {
        news: None,
        words: Vec::new(),
        ..message.clone()
    };
    let whole = encode(&message).expect("it fits");
    let quiet = encode(&quiet).expect("it fits");
    let mut foreign = b"vpl\x01".to_vec();
    foreign.resize(100, 5);
    let kinds = [
        ("whole", 0, whole.clone()),
        ("quiet", 0, quiet),
        ("hello", 1, Vec::new()),
        ("elsewhere", 1, whole),
        ("foreign", 2, foreign),
    ];
    let seeds = kinds.into_iter().map(|(name, kind, body)| Seed {
        target: "link_message",
        name: name.to_owned(),
        bytes: [vec![kind], body].concat(),
    });
    seeds.collect()
}
