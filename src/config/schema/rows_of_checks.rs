//! Keys of checks, of hooks, and of groups.

use serde_json::{Value, json};

use super::parts::{
    any, boolean, by_pattern, choice, duration, integer, list, percent, room, shape, word,
    words_up_to,
};
use super::{KIND, Row, row};
use crate::agent::settings::OnFail;
use crate::config::check::{COUNT_MAX, ERRORS_MAX, MEMBERS_MAX};
use crate::config::work::probe::{Average, Resource, Stalled};

pub(super) fn check() -> Vec<Row> {
    let mut rows = kinds();
    rows.extend(kinds_of_this_host());
    rows.extend(kinds_of_others());
    rows.extend(options());
    rows.extend(options_of_this_host());
    rows
}

fn kinds() -> Vec<Row> {
    vec![
        row(
            "script",
            shape("command"),
            KIND,
            "`[PATH, ARGUMENT, ...]`: a program whose exit code 0 means well. Started without a \
             shell; the path is absolute",
        ),
        row(
            "tcp",
            word(),
            KIND,
            "`\"127.0.0.1:5432\"`, `\"[::1]:5432\"`, `\"db.example.net:5432\"`: a connection is \
             accepted",
        ),
        row(
            "http",
            word(),
            KIND,
            "`\"http://127.0.0.1:8080/healthz\"`: a GET is answered with an accepted status; \
             redirects are followed",
        ),
        row(
            "interface",
            shape("interface_name"),
            KIND,
            "`eth1`: it exists, is up and has its carrier. Beside `arp`, where it is required: \
             where to ask. Beside `ping`: by this one only, otherwise as the routes say",
        ),
    ]
}

fn kinds_of_this_host() -> Vec<Row> {
    vec![
        row(
            "process",
            words_up_to(255),
            KIND,
            "`haproxy`: processes of this name run, see [below](#processes-and-units)",
        ),
        row(
            "pid_file",
            shape("path"),
            KIND,
            "`/run/haproxy.pid`: the process whose number it holds runs; beside `process`, and has \
             that name",
        ),
        row(
            "systemd",
            words_up_to(255),
            KIND,
            "`haproxy.service`: the unit is active, see [below](#processes-and-units)",
        ),
        row(
            "disk",
            shape("path"),
            KIND,
            "`/var/lib/db`: so much is left on its file system",
        ),
        row(
            "pressure",
            choice(&Resource::ALL.map(Resource::name)),
            KIND,
            "`cpu`, `memory` or `io`: work does not stand still for want of it, says the kernel (PSI)",
        ),
        row(
            "link_errors",
            shape("interface_name"),
            KIND,
            "`eth0`: errors of an interface, received and sent, since the last look",
        ),
        row(
            "file",
            shape("path"),
            KIND,
            "`/run/vipward/priority`: its number is added to the priority, see \
             [below](#a-number-in-a-file)",
        ),
    ]
}

fn kinds_of_others() -> Vec<Row> {
    let members = || list(word(), 1, MEMBERS_MAX);
    vec![
        row(
            "arp",
            shape("host_address"),
            KIND,
            "`192.0.2.254` or `fe80::1`: a neighbour answers on `interface`, by ARP or neighbour \
             discovery. The kernel's own table is not asked",
        ),
        row(
            "ping",
            word(),
            KIND,
            "an address or a name: a host answers an ICMP or ICMPv6 echo",
        ),
        row(
            "dns",
            word(),
            KIND,
            "`www.example.net`: the name server `server` knows an address of it",
        ),
        row(
            "any",
            members(),
            KIND,
            "`[nginx, api]`: up to 100 other checks: up while one of them is",
        ),
        row(
            "all",
            members(),
            KIND,
            "`[nginx, api]`: up to 100 other checks: up while all of them are",
        ),
        row(
            "at_least",
            by_pattern("^[0-9]{1,3}$", members()),
            KIND,
            "`{ 2: [nginx, api, db] }`: up while so many of them are",
        ),
    ]
}

fn options() -> Vec<Row> {
    vec![
        row(
            "interval",
            duration(),
            "`1s`",
            "100ms to 1h, from start to start",
        ),
        row(
            "timeout",
            duration(),
            "`1s`, or `interval` where that is shorter",
            "10ms to 1h; by then it has failed",
        ),
        row(
            "rise",
            integer(1, 255),
            "2",
            "1 to 255 good results in a row bring it up",
        ),
        row(
            "fall",
            integer(1, 255),
            "3",
            "1 to 255 bad results in a row take it down",
        ),
        row(
            "initial",
            choice(&["up", "down"]),
            "the instance waits",
            "`up` or `down`: what holds until the first result",
        ),
        row(
            "user",
            words_up_to(32),
            "`nobody`",
            "`script`: whom it runs as",
        ),
        row(
            "status",
            any([status(), list(status(), 1, 50)]),
            "`200-299`",
            "`http`: `200`, `200-299`, or a list of those",
        ),
        row(
            "host",
            word(),
            "the URL's",
            "`http`: the name to ask for, and to find in the certificate, where the URL has an \
             address",
        ),
        row(
            "ca",
            shape("path"),
            "those of the host",
            "`https`: a PEM file of the only authorities to trust",
        ),
        row(
            "insecure",
            boolean(),
            "`false`",
            "`https`: `true` accepts any certificate, so whoever answers passes",
        ),
    ]
}

fn options_of_this_host() -> Vec<Row> {
    vec![
        row(
            "min",
            integer(0, COUNT_MAX.into()),
            "1",
            "`process`: how many run at least",
        ),
        row(
            "max",
            integer(0, COUNT_MAX.into()),
            "any number",
            "`process`: how many run at most; `max: 0` alone: none may run",
        ),
        row(
            "free",
            room(),
            "`free` or `inodes` is required",
            "`disk`: what must be free for users, `10%` as `df` counts, or `5GiB` (`KiB` to `TiB`)",
        ),
        row(
            "inodes",
            percent(),
            "`free` or `inodes` is required",
            "`disk`: the percentage of inodes that must be free; where none are counted, that passes",
        ),
        row(
            "stalled",
            choice(&Stalled::ALL.map(Stalled::name)),
            "`some`",
            "`pressure`: `some` work stands still, or `full`: all of it",
        ),
        row(
            "average",
            choice(&Average::ALL.map(Average::name)),
            "`10s`",
            "`pressure`: over `10s`, `60s` or `300s`",
        ),
        row(
            "above",
            any([percent(), integer(0, ERRORS_MAX.into())]),
            "`pressure` and `link_errors` require it",
            "`pressure`: `40%`, `link_errors`: 10 (a second): more than that fails",
        ),
        row(
            "server",
            word(),
            "`dns` requires it",
            "`dns`: `192.0.2.53`, `192.0.2.53:5353`, `[2001:db8::53]:5353`",
        ),
        row(
            "expect",
            shape("host_address"),
            "any address, IPv4 or IPv6",
            "`dns`: an address that must be among the answers",
        ),
        row(
            "on_fail",
            choice(&[OnFail::Fault, OnFail::Handover].map(OnFail::name)),
            "`fault`",
            "`fault`, or `handover`: what a failure means for an instance that lists it without a \
             weight",
        ),
    ]
}

fn status() -> Value {
    any([
        integer(100, 599),
        json!({ "type": "string", "pattern": "^ *[0-9]{3} *(- *[0-9]{3} *)?$" }),
    ])
}

/// As an instance lists them.
pub(super) fn listed() -> Vec<Row> {
    vec![
        row("name", word(), "required", "the name of a check"),
        row(
            "weight",
            integer(-254, -1),
            "none: the instance is in fault",
            "-254 to -1: added to the priority while the check fails",
        ),
    ]
}

fn program() -> Value {
    any([shape("command"), shape("hook")])
}

pub(super) fn hooks() -> Vec<Row> {
    let mut rows = vec![
        row(
            "before_active",
            program(),
            "none",
            "must succeed before this host serves; see [below](#hooks-that-are-awaited)",
        ),
        row(
            "before_release",
            program(),
            "none",
            "ends before this host goes on purpose; see [below](#hooks-that-are-awaited)",
        ),
    ];
    rows.extend(told(
        "told of every transition: `INSTANCE name MASTER\\|BACKUP\\|FAULT\\|STOP priority`",
    ));
    rows
}

fn told(change: &'static str) -> [Row; 4] {
    [
        row("active", program(), "none", "told when it becomes Active"),
        row("backup", program(), "none", "told when it becomes Backup"),
        row("fault", program(), "none", "told when it is in fault"),
        row("change", program(), "none", change),
    ]
}

pub(super) fn group_hooks() -> Vec<Row> {
    let change = "told of every transition: `GROUP name MASTER\\|BACKUP\\|FAULT\\|STOP priority`";
    told(change).into()
}

pub(super) fn hook() -> Vec<Row> {
    vec![
        row(
            "run",
            shape("command"),
            "required",
            "the absolute path and the arguments; no shell",
        ),
        row(
            "timeout",
            duration(),
            "`10s`",
            "100ms to 10m; then it is killed",
        ),
        row("user", words_up_to(32), "`nobody`", "whom it runs as"),
    ]
}

pub(super) fn group() -> Vec<Row> {
    vec![
        row(
            "members",
            list(word(), 1, 100_000),
            "required",
            "names of instances; their order means nothing",
        ),
        row(
            "hooks",
            shape("group_hooks"),
            "none",
            "`active`, `backup`, `fault` and `change`, as in an instance",
        ),
    ]
}
