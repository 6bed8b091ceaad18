//! Keys of an instance, its addresses, routes and rules.

use serde_json::json;

use super::parts::{
    ADDRESSES_MAX, PEERS_MAX, any, boolean, by_node, by_pattern, choice, duration, integer, list,
    shape, word, words_up_to,
};
use super::{Row, row};
use crate::agent::settings::{AntiReplay, Mode, OnAllFail, OnConflict};
use crate::agent::values::Family;
use crate::config::routing::MOST as ROUTES_MAX;
use crate::config::witness::WITNESSES_MAX;

const TABLE_NUMBERS: i64 = 4_294_967_295;

pub(super) fn instance() -> Vec<Row> {
    let mut rows = who_and_what();
    rows.extend(how());
    rows.extend(when());
    rows
}

fn who_and_what() -> Vec<Row> {
    vec![
        row(
            "interface",
            shape("interface_name"),
            "required",
            "where advertisements go out and addresses are held",
        ),
        row(
            "vrid",
            integer(1, 255),
            "required",
            "1 to 255; used once on an interface and family, the same on every node",
        ),
        row(
            "addresses",
            list(any([shape("network"), shape("address")]), 1, ADDRESSES_MAX),
            "required",
            "1 to 4096 addresses, see [below](#an-address)",
        ),
        row(
            "routes",
            list(shape("route"), 0, ROUTES_MAX),
            "none",
            "up to 256 routes, which come and go with the addresses, see [below](#routes-and-rules)",
        ),
        row(
            "rules",
            list(shape("rule"), 0, ROUTES_MAX),
            "none",
            "up to 256 rules, which come and go with the addresses, see [below](#routes-and-rules)",
        ),
        row(
            "priority",
            integer(1, 255),
            "100",
            "1 to 254, the highest wins; 255 for the host whose own address the virtual one is",
        ),
        row(
            "version",
            integer(2, 3),
            "3",
            "`3`, or `2` (IPv4 and whole seconds only)",
        ),
        row(
            "family",
            choice(&[Family::Ipv4.name(), Family::Ipv6.name()]),
            "`ipv4` when any IPv4 address is listed, otherwise `ipv6`",
            "`ipv4` or `ipv6`: what carries the advertisements",
        ),
        row(
            "nodes",
            by_node(shape("overlay")),
            "none",
            "what is other on some node, by its name, see [above](#one-file-for-all-hosts)",
        ),
    ]
}

fn how() -> Vec<Row> {
    vec![
        row(
            "unicast_peers",
            list(shape("host_address"), 0, PEERS_MAX),
            "none: multicast",
            "up to 64 addresses of the other hosts, of `family`",
        ),
        row(
            "source",
            shape("host_address"),
            "the interface's primary address",
            "this host's address to send from, of `family`",
        ),
        row(
            "witnesses",
            list(shape("host_address"), 0, WITNESSES_MAX),
            "the interface's gateways",
            "up to 8 addresses whose answer shows that the segment works; asked only with a \
             `cluster`, see [below](#the-peer-link)",
        ),
        row(
            "checks",
            list(any([word(), shape("use")]), 0, 1000),
            "none",
            "names of checks, or `{ name: uplink, weight: -50 }`, see [below](#a-check)",
        ),
        row(
            "hooks",
            shape("hooks"),
            "none",
            "programs told of changes, see [below](#hooks)",
        ),
        row(
            "checksum",
            choice(&["auto", "rfc9568"]),
            "`auto`",
            "what version 3 sends over IPv4: `auto` (with the pseudo-header, as keepalived and FRR \
             want it) or `rfc9568` (without); both are accepted",
        ),
        row(
            "ttl",
            integer(1, 255),
            "255",
            "1 to 255, the lowest TTL or hop limit accepted; below 255 only with `unicast_peers`",
        ),
        row(
            "virtual_mac",
            boolean(),
            "`false`",
            "`true` or `false`: speak by the virtual router's hardware address, see \
             [below](#virtual-mac)",
        ),
        row(
            "auth",
            shape("auth"),
            "none",
            "who may be believed: `keys`, or version 2's `password`, see [below](#authentication)",
        ),
    ]
}

fn when() -> Vec<Row> {
    let on_all_fail = [OnAllFail::Release, OnAllFail::Keep].map(OnAllFail::name);
    let on_conflict = [OnConflict::Report, OnConflict::Yield].map(OnConflict::name);
    vec![
        row(
            "advert_interval",
            duration(),
            "`1s`",
            "version 3: 10ms to 40.95s in steps of 10ms; version 2: 1s to 255s in whole seconds",
        ),
        row(
            "down_after",
            integer(1, 255),
            "3",
            "1 to 255 intervals of silence until takeover",
        ),
        row(
            "preempt",
            any([boolean(), duration()]),
            "`true`",
            "whether to take over from one of lower priority that is well: `true`, `false`, or a \
             delay of up to 24h",
        ),
        row(
            "settle",
            duration(),
            "`0s`",
            "up to 1h: after start and each return of the link, listen this long before taking part",
        ),
        row(
            "on_all_fail",
            choice(&on_all_fail),
            "`release`",
            "`release`, or `keep`: an Active whose checks fail stays, degraded, while every other \
             node is known to be kept out by failing checks only. Without a `cluster` it acts as \
             `release`",
        ),
        row(
            "on_conflict",
            choice(&on_conflict),
            "`report`",
            "what an Active does about a foreign host that claims one of its addresses: `report` it \
             and defend the address, or `yield`: give it up and try again later",
        ),
        row(
            "announce",
            shape("announce"),
            "`{ repeat: 5, delay: 5s, refresh: 60s }`",
            "how often the segment is told where the addresses are, see \
             [below](#announcements)",
        ),
        row(
            "address_lease",
            any([
                choice(&["auto", "off"]),
                duration(),
                json!({ "type": "integer", "minimum": 2, "maximum": 86400 }),
            ]),
            "`auto`",
            "`auto`, `off`, or whole seconds (`5` or `5s`, up to 24h): how long the kernel keeps \
             the addresses without a renewal, see [below](#the-lease-of-an-address)",
        ),
    ]
}

pub(super) fn address() -> Vec<Row> {
    vec![
        row(
            "address",
            shape("network"),
            "required",
            "with the prefix length of its subnet; without one it is held as /32 or /128",
        ),
        row(
            "interface",
            shape("interface_name"),
            "the instance's",
            "where it is held",
        ),
        row(
            "label",
            words_up_to(15),
            "none",
            "IPv4 only; at most 15 bytes, beginning with the interface's name",
        ),
        row(
            "advertise",
            boolean(),
            "`true`",
            "whether advertisements list it. An address of the other family rides along: held and \
             announced, never listed",
        ),
        row("required", boolean(), "`true`", REQUIRED),
        row(
            "source_address",
            boolean(),
            "`false`",
            "IPv6 only: whether this host's own connections may start from it",
        ),
    ]
}

const REQUIRED: &str = "`false`: if it cannot be added, that is reported and the instance goes on";

fn table() -> serde_json::Value {
    any([
        choice(&["main", "local", "default"]),
        integer(1, TABLE_NUMBERS),
    ])
}

pub(super) fn route() -> Vec<Row> {
    vec![
        row(
            "to",
            any([choice(&["default"]), shape("network")]),
            "required",
            "a subnet without host bits, an address, or `default`",
        ),
        row(
            "via",
            shape("host_address"),
            "none: the destinations are on the link",
            "the router, of the same family",
        ),
        row(
            "interface",
            shape("interface_name"),
            "the instance's",
            "by which it leads; while that is missing or has no carrier, the instance is in fault",
        ),
        row(
            "source",
            shape("host_address"),
            "the kernel's choice",
            "the address from which the host's own connections start: one of the instance, or one \
             that the host has anyway",
        ),
        row(
            "table",
            table(),
            "`main`",
            "1 to 4294967295, `main`, `local` or `default`",
        ),
        row(
            "metric",
            integer(0, TABLE_NUMBERS),
            "IPv4 0, IPv6 1024, as `ip route` has it",
            "0 to 4294967295, IPv6 from 1; the lowest is preferred",
        ),
        row(
            "onlink",
            boolean(),
            "`false`",
            "`true`: the router is a neighbour whatever the subnets of the interface say",
        ),
        row("required", boolean(), "`true`", REQUIRED),
    ]
}

pub(super) fn rule() -> Vec<Row> {
    vec![
        row(
            "from",
            shape("network"),
            "any",
            "a subnet or an address that packets come from; it tells the family, which otherwise is \
             the instance's",
        ),
        row(
            "to",
            shape("network"),
            "any",
            "a subnet or an address that packets go to; it tells the family as well",
        ),
        row(
            "iif",
            shape("interface_name"),
            "any",
            "the interface by which a packet came",
        ),
        row(
            "oif",
            shape("interface_name"),
            "any",
            "the interface to which a packet's socket is bound",
        ),
        row(
            "fwmark",
            integer(1, TABLE_NUMBERS),
            "any",
            "1 to 4294967295: all bits of the packet's mark",
        ),
        row("table", table(), "required", "as of a route"),
        row(
            "priority",
            integer(1, TABLE_NUMBERS),
            "30000",
            "1 to 4294967295; the lowest is asked first. The kernel's own for `main` is 32766",
        ),
        row("required", boolean(), "`true`", "as of a route"),
    ]
}

pub(super) fn announce() -> Vec<Row> {
    vec![
        row(
            "repeat",
            integer(1, 20),
            "5",
            "1 to 20 announcements in each of two bursts",
        ),
        row(
            "delay",
            duration(),
            "`5s`",
            "`0s` (no second burst), or 100ms to 1h between the bursts",
        ),
        row(
            "refresh",
            duration(),
            "`60s`",
            "`0s` (none), or 1s to 24h between single ones afterwards",
        ),
    ]
}

pub(super) fn auth() -> Vec<Row> {
    let modes = [Mode::Enforce, Mode::Permissive, Mode::ReceiveOnly].map(Mode::name);
    let against = [AntiReplay::Monotonic, AntiReplay::Time].map(AntiReplay::name);
    vec![
        row(
            "keys",
            by_pattern("^[0-9]{1,3}$", words_up_to(4096)),
            "none",
            "up to 16 key files by number, 0 to 255: an absolute path, or the name of a credential \
             of the service manager",
        ),
        row(
            "active_key",
            integer(0, 255),
            "the only one",
            "the key that our own advertisements are signed with",
        ),
        row(
            "mode",
            choice(&modes),
            "`enforce`",
            "`enforce`; `permissive`: sign, and accept what is not signed; `receive-only`: do not \
             sign, and verify what is signed",
        ),
        row(
            "anti_replay",
            choice(&against),
            "`monotonic`",
            "`monotonic`: newer than the last of its sender; `time`: and signed within `window` of \
             this host's clock",
        ),
        row(
            "window",
            duration(),
            "three intervals, at least 5s",
            "1s to 1h: how far clocks may differ, in `time` mode always, otherwise when a sender is \
             heard for the first time",
        ),
        row(
            "password",
            words_up_to(8),
            "none",
            "`version: 2` only, instead of `keys`: the simple password of 1 to 8 bytes, for pairs \
             that still use it. Every advertisement shows it: it protects nothing",
        ),
    ]
}
