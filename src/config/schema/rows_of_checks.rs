//! Keys of checks, of hooks, and of groups.

use serde_json::{Value, json};

use super::parts::{any, boolean, choice, duration, integer, list, shape, word, words_up_to};
use super::{KIND, Row, row};

pub(super) fn check() -> Vec<Row> {
    let mut rows = kinds();
    rows.extend(options());
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
            "`eth1`: it exists, is up and has its carrier. Nothing is run, so `interval`, \
             `timeout`, `rise`, `fall` and `user` are refused",
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
