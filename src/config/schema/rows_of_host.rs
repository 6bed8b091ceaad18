//! Keys of the top level, and of the sections that say something of the host
//! and its cluster.

use super::parts::{any, by_node, choice, list, named, shape, word, words_up_to};
use super::{Row, row};
use crate::config::cluster::{NODES_MAX, PATHS_MAX};
use crate::config::host::{LogFormat, LogLevel};

pub(super) fn top() -> Vec<Row> {
    let path = || words_up_to(4096);
    vec![
        row(
            "node",
            words_up_to(253),
            "the host name",
            "this host's name: letters, digits, `-`, `_`, `.`",
        ),
        row(
            "instances",
            named(shape("instance")),
            "at least one",
            "the instances by name",
        ),
        row(
            "groups",
            named(shape("group")),
            "none",
            "instances that move together, by name; see [below](#groups)",
        ),
        row(
            "checks",
            named(shape("check")),
            "none",
            "the checks by name, up to 1000; see [below](#a-check)",
        ),
        row(
            "cluster",
            shape("cluster"),
            "none",
            "the other nodes and the peer link to them; see [below](#the-peer-link)",
        ),
        row(
            "control",
            shape("control"),
            "`{ admin_group: root }`",
            "who may use the control socket; see [below](#control-and-log)",
        ),
        row(
            "metrics",
            shape("metrics"),
            "nothing listens",
            "where metrics and a page are shown over HTTP; see [below](#metrics-and-the-page)",
        ),
        row(
            "log",
            shape("log"),
            "`{ level: info, format: text }`",
            "what is logged, and how; see [below](#control-and-log)",
        ),
        row(
            "include",
            any([path(), list(path(), 0, 2000)]),
            "none",
            "other files: a path, a pattern such as `conf.d/*.yaml`, or a list of them; see \
             [above](#several-files)",
        ),
    ]
}

pub(super) fn cluster() -> Vec<Row> {
    vec![
        row(
            "key_file",
            words_up_to(4096),
            "required",
            "the key by which nodes know each other, the same on every node; a name alone is a \
             credential of the service manager",
        ),
        row(
            "listen",
            word(),
            "`\"0.0.0.0:9851\"`",
            "the port, the same on every node. `0.0.0.0` stands for each of this node's own \
             addresses; another address replaces this node's own on the one path of its family",
        ),
        row(
            "nodes",
            by_node(list(shape("host_address"), 1, PATHS_MAX)),
            "required",
            NODES,
        ),
    ]
}

const NODES: &str = "all nodes, this one included, 2 to 16, each with 1 to 4 addresses. The n-th \
                     addresses of all nodes are one path";
const _: () = assert!(NODES_MAX == 16 && PATHS_MAX == 4);

pub(super) fn control() -> Vec<Row> {
    vec![
        row(
            "read_group",
            words_up_to(32),
            "`vipward` where the host has that group, otherwise none",
            "the group that may ask",
        ),
        row(
            "admin_group",
            words_up_to(32),
            "`root`",
            "the group that may ask and change",
        ),
    ]
}

pub(super) fn metrics() -> Vec<Row> {
    vec![row(
        "listen",
        word(),
        "`\"127.0.0.1:9852\"`",
        "the address and port; who reaches it may read, and nobody is asked who they are",
    )]
}

pub(super) fn log() -> Vec<Row> {
    let levels = LogLevel::ALL.map(|(name, _)| name);
    let formats = LogFormat::ALL.map(|(name, _)| name);
    vec![
        row(
            "level",
            choice(&levels),
            "`info`",
            "`error`, `warn`, `info`, `debug` or `trace`",
        ),
        row(
            "format",
            choice(&formats),
            "`text`",
            "`text`, or `json`: one object a line",
        ),
    ]
}
