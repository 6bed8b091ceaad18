//! Whatever the text: an answer, every byte accounted for, and a result that
//! passes vipward's own judge. The last two are asked by `Memory::import`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use vipward::config::import::{Kind, import};

use crate::kit::{Memory, main_file};

fn pick(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words.to_vec()).prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..300u32).prop_map(|number| number.to_string()),
        1 => pick(&["-1", "0x10", "1.5", "0.25", ".5", "1e3", "99999999999999999999", "x", "", "1 2", "on", "007"]),
    ]
}

fn interface() -> impl Strategy<Value = String> {
    pick(&[
        "eth0",
        "eth1",
        "eth0.10",
        "on",
        "br-lan",
        "a-name-that-is-too-long",
        "\"e 0\"",
        "1e3",
    ])
}

fn address() -> impl Strategy<Value = String> {
    let prefix = pick(&["", "", "/24", "/32", "/33", "/0", "/255.255.255.0", "/x"]);
    let base = prop_oneof![
        4 => (0..4u8, 0..12u8).prop_map(|(net, host)| format!("10.0.{net}.{host}")),
        1 => (0..5u8).prop_map(|host| format!("2001:db8::{host}")),
        1 => pick(&["fe80::1", "127.0.0.1", "224.0.0.1", "0.0.0.0", "::", "nonsense", "10.0.0", "default"]),
    ];
    (base, prefix).prop_map(|(base, prefix)| base + &prefix)
}

fn option() -> impl Strategy<Value = String> {
    prop_oneof![
        interface().prop_map(|name| format!("dev {name}")),
        pick(&[
            "label eth0:1",
            "label x",
            "brd +",
            "scope global",
            "scope link",
            "home",
            "no_track",
            "preferred_lft 0",
            "preferred_lft forever",
            "peer 10.0.0.9",
            "use_vmac",
            "dev",
            "label"
        ]),
    ]
}

fn list(
    keyword: &'static [&'static str],
    items: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (pick(keyword), vec(items, 0..5))
        .prop_map(|(keyword, items)| format!("{keyword} {{\n{}\n}}", items.join("\n")))
}

fn addresses() -> impl Strategy<Value = String> {
    let item = (address(), vec(option(), 0..3))
        .prop_map(|(address, options)| format!("{address} {}", options.join(" ")));
    list(
        &[
            "virtual_ipaddress",
            "virtual_ipaddress",
            "virtual_ipaddress_excluded",
        ],
        item,
    )
}

fn route() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        address().prop_map(|to| format!("to {to}")),
        address().prop_map(|via| format!("via {via}")),
        address().prop_map(|src| format!("src {src}")),
        address().prop_map(|from| format!("from {from}")),
        address(),
        interface().prop_map(|name| format!("dev {name}")),
        number().prop_map(|table| format!("table {table}")),
        number().prop_map(|metric| format!("metric {metric}")),
        number().prop_map(|mark| format!("fwmark {mark}")),
        number().prop_map(|preference| format!("preference {preference}")),
        pick(&[
            "onlink",
            "blackhole",
            "or 10.0.0.1",
            "scope link",
            "no_track",
            "iif eth0",
            "oif eth1",
            "tos 4"
        ]),
    ];
    let parts = vec(part, 0..6).prop_map(|parts| parts.join(" "));
    list(&["virtual_routes", "virtual_rules"], parts)
}

fn tracked() -> impl Strategy<Value = String> {
    let weight = prop_oneof![
        Just(String::new()),
        (-300..300i32).prop_map(|weight| format!("weight {weight}")),
        pick(&[
            "weight",
            "weight x",
            "weight 5 reverse",
            "weight 0 reverse",
            "nonsense"
        ]),
    ];
    let item = (
        pick(&["s1", "s2", "s3", "eth0", "eth1", "p1", "f1", "none"]),
        weight,
    )
        .prop_map(|(name, weight)| format!("{name} {weight}"));
    list(
        &[
            "track_script",
            "track_interface",
            "track_process",
            "track_file",
            "track_bfd",
        ],
        item,
    )
}

fn program() -> impl Strategy<Value = String> {
    pick(&[
        "/bin/true",
        "\"/bin/true 'a b' c\"",
        "killall",
        "\"killall -0 x\"",
        "\"</dev/null\"",
        "\"\"",
        "",
        "relative/path",
        "\"/bin/x \\x00\"",
        "\"/bin/x 'y\"",
        "\"/bin/x \\u007f é\"",
    ])
}

fn notify() -> impl Strategy<Value = String> {
    let kind = pick(&[
        "notify",
        "notify_master",
        "notify_backup",
        "notify_fault",
        "notify_stop",
    ]);
    let user = pick(&["", "root", "root wheel", "0", "a:b", "bad/user"]);
    (kind, program(), user).prop_map(|(kind, program, user)| format!("{kind} {program} {user}"))
}

fn authentication() -> impl Strategy<Value = String> {
    prop_oneof![
        (pick(&["PASS", "AH", "", "X"]), pick(&["1111", "123456789", "\"a b\"", "", "yes", "é"]))
            .prop_map(|(kind, pass)| format!("authentication {{\nauth_type {kind}\nauth_pass {pass}\n}}")),
        (number(), pick(&["file:/k", "file:rel/a", "hex:00", "text", "file:", "file:${_ENV CREDENTIALS_DIRECTORY}/x"]), number(), number())
            .prop_map(|(id, key, active, window)| format!(
                "auth_hmac {{\nkey {id} {key}\nactive_key {active}\ntime_window {window}\nmode permissive\n}}")),
    ]
}

fn peers() -> impl Strategy<Value = String> {
    let ttl = prop_oneof![
        Just(String::new()),
        number().prop_map(|ttl| format!("min_ttl {ttl} max_ttl 255"))
    ];
    let item = (address(), ttl).prop_map(|(address, ttl)| format!("{address} {ttl}"));
    list(&["unicast_peer"], item)
}

fn line() -> impl Strategy<Value = String> {
    let valued = pick(&[
        "priority",
        "advert_int",
        "version",
        "preempt_delay",
        "garp_master_delay",
        "garp_master_repeat",
        "garp_master_refresh",
        "down_timer_adverts",
        "unicast_ttl",
        "debug",
        "virtual_router_id",
    ]);
    prop_oneof![
        3 => addresses(),
        1 => route(),
        2 => tracked(),
        1 => notify(),
        1 => authentication(),
        1 => peers(),
        4 => (valued, number()).prop_map(|(keyword, number)| format!("{keyword} {number}")),
        2 => pick(&["state MASTER", "state BACKUP", "nopreempt", "use_vmac", "smtp_alert", "accept", "no_accept",
                    "native_ipv6", "strict_mode off", "v3_checksum_as_v2", "frobnicate", "interface", "priority",
                    "mcast_dst_ip 224.0.0.18", "$V", "${W}1", "@lb1 priority 9", "@other x", "# c", "interface eth0 {\nx\n}"]),
        1 => (pick(&["unicast_src_ip", "mcast_src_ip"]), address()).prop_map(|(keyword, address)| format!("{keyword} {address}")),
    ]
}

fn instance() -> impl Strategy<Value = String> {
    let name = pick(&["VI_1", "VI_2", "VI_3", "\"VI 4\"", "yes", "", "VI_1 x"]);
    let id = prop_oneof![4 => (1..255u32).prop_map(|id| id.to_string()), 1 => number()];
    (name, interface(), id, vec(line(), 0..12)).prop_map(|(name, interface, id, lines)| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id {id}\n\
                 virtual_ipaddress {{\n10.9.{}.1/24\n}}\n{}\n}}\n",
            id.len(),
            lines.join("\n")
        )
    })
}

fn other() -> impl Strategy<Value = String> {
    let script = (pick(&["s1", "s2", "s3", ""]), program(), number(), number(), number()).prop_map(|(name, program, a, b, c)| {
        format!("vrrp_script {name} {{\nscript {program}\ninterval {a}\ntimeout {b}\nrise {a}\nfall {b}\nweight {c}\nuser nobody\n}}\n")
    });
    let group = (
        pick(&["G1", "G2", "\"G 1\"", ""]),
        vec(pick(&["VI_1", "VI_2", "VI_3", "yes", "none"]), 0..4),
        vec(prop_oneof![tracked(), notify()], 0..3),
    )
        .prop_map(|(name, members, rest)| {
            format!(
                "vrrp_sync_group {name} {{\ngroup {{\n{}\n}}\n{}\n}}\n",
                members.join("\n"),
                rest.join("\n")
            )
        });
    let global = vec(
        (
            pick(&[
                "vrrp_version",
                "vrrp_garp_master_delay",
                "vrrp_garp_master_repeat",
                "vrrp_startup_delay",
                "vrrp_down_timer_adverts",
                "router_id",
                "script_user",
                "vrrp_strict",
                "vrrp_min_garp",
                "nonsense",
            ]),
            number(),
        ),
        0..5,
    )
    .prop_map(|lines| {
        let lines: Vec<String> = lines
            .into_iter()
            .map(|(keyword, value)| format!("{keyword} {value}"))
            .collect();
        format!("global_defs {{\n{}\n}}\n", lines.join("\n"))
    });
    prop_oneof![
        script,
        group,
        global,
        pick(&[
            "vrrp_track_process p1 {\nprocess x\nquorum 1\n}\n",
            "track_file f1 {\nfile /run/f\nweight 1\n}\n",
            "virtual_server 10.0.0.1 80 {\nreal_server 10.0.0.2 80 {\nweight 1\n}\n}\n",
            "static_routes {\nx\n}\n",
            "$V=priority 77\n",
            "$W=advert_int \n",
            "~SEQ(N,1,3) nonsense $N\n",
            "vrrp_instance\n",
            "include gone\n"
        ]),
    ]
}

fn soup() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => pick(&["{", "}", "\n", "\"", "'", "\\", "$", "${", "}", "#", "!", "@", "^", "~SEQ(", "~LST(", ",", ")", " ", "\t", "\r\n", "\0", "é"]),
        4 => pick(&["vrrp_instance a {", "interface eth0\n", "virtual_router_id 7\n", "virtual_ipaddress {\n", "10.0.0.1\n",
                    "$A=1\n", "$A", "${A}", "$B= \\\n", "include x\n", "vrrp_sync_group g {", "group {", "priority 5\n"]),
        1 => ".{0,6}",
    ];
    vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_looks_like_keepalived_is_answered(parts in vec(prop_oneof![2 => instance(), 1 => other()], 1..6)) {
        let text = parts.concat();
        let outcome = Memory::new(&text).import();
        if let Ok(outcome) = outcome {
            let whole = outcome.imported.left().next().is_none();
            let nothing = outcome.imported.yaml.is_none();
            // What is left out is named.
            prop_assert!(!(whole && nothing && text.contains("vrrp_instance VI")), "{outcome:?}");
            for entry in &outcome.imported.entries {
                prop_assert!(!entry.advice.is_empty() && !entry.lines.is_empty(), "{entry:?}");
                prop_assert!(!entry.place().is_empty());
            }
            // The same, each time.
            let again = import(&main_file(), "lb1", &Memory::new(&text));
            prop_assert_eq!(again.ok(), Some(outcome.imported));
        }
    }

    #[test]
    fn any_text_is_answered(text in soup()) {
        match Memory::new(&text).import() {
            Ok(outcome) => {
                let left = outcome.imported.entries.iter().filter(|entry| entry.kind == Kind::Left);
                prop_assert_eq!(left.count(), outcome.imported.left().count());
            }
            Err(faults) => {
                prop_assert!(faults.count() > 0);
                for fault in faults.iter() {
                    prop_assert!(!fault.to_string().is_empty());
                }
            }
        }
    }
}

/// A file that was cut off anywhere.
#[test]
fn a_truncated_file_is_answered() {
    let text = include_str!("everything.conf");
    for end in (0..text.len()).step_by(37) {
        let _ = Memory::new(&text[..end]).import();
    }
    assert!(Memory::new(text).import().unwrap().imported.yaml.is_some());
}
