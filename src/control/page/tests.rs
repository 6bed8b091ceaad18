use serde_json::json;

use super::*;
use crate::control::sample;

fn page(document: &Document) -> String {
    html(document, &happened(""), sample::wall())
}

/// Another host falls silent, and this one takes over; `more` follows each
/// text.
fn happened(more: &str) -> Vec<Record> {
    let record = |id: u64, level: &str, event: &str, text: &str| {
        let value = json!({
            "id": id, "run": 1, "node": "lb1", "instance": "web", "level": level, "event": event,
            "time": format!("2026-11-2{}T23:59:59.{}00Z", 1 + id / 3, id),
            "monotonic_us": id * 100_000, "text": format!("{text}{more}"),
        });
        serde_json::from_value(value).expect("a record")
    };
    vec![
        record(
            1,
            "info",
            "transition",
            "Initialize -> Backup: the agent started",
        ),
        record(2, "warning", "silence", "nothing was heard of 192.0.2.2"),
        record(
            3,
            "info",
            "transition",
            "Backup -> Active: the Active fell silent",
        ),
        record(
            4,
            "error",
            "address-failed",
            "the kernel refused 192.0.2.10/24",
        ),
        record(5, "detail", "announced", "1 address was announced"),
    ]
}

#[test]
fn the_time_line_begins_with_the_latest() {
    let text = page(&sample::cluster());
    let (_, line) = text.split_once("id=\"events\"").unwrap();
    let place = |what: &str| line.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(place("was announced") < place("refused"));
    assert!(place("Backup -&gt; Active") < place("nothing was heard"));
    // Each day once, before what happened on it; spans to what came before.
    assert!(place("2026-11-22") < place("was announced"));
    assert!(place("2026-11-21") > place("Backup -&gt; Active"));
    assert_eq!(line.matches("<h3>").count(), 2);
    assert!(line.contains("+100 ms"));
    // A level is a word too.
    assert!(line.contains("<span class=\"level\">warning</span>"));
    assert!(line.contains("<span class=\"level\">error</span>"));
    let empty = html(&sample::cluster(), &[], sample::wall());
    assert!(empty.contains("<section id=\"events\" data-part hidden"));
}

#[test]
fn it_brings_all_that_it_needs() {
    let text = page(&sample::cluster());
    for outside in [
        "http://", "https://", "//", "src=", "url(", "@import", "style=", "onclick",
    ] {
        let mine = text.replace(SCRIPT, "");
        assert!(!mine.contains(outside), "{outside}");
    }
    let policy = content_security_policy();
    let policy = policy.to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // What the browser hashes is what stands between the tags.
    for (tag, text_of) in [("style", STYLE), ("script", SCRIPT)] {
        let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap();
        let (between, _) = rest.split_once(&format!("</{tag}>")).unwrap();
        assert_eq!(between, text_of);
        let hash = BASE64.encode(Sha256::digest(between));
        assert!(
            policy.contains(&format!("{tag}-src 'sha256-{hash}'")),
            "{policy}"
        );
    }
}

#[test]
fn names_and_outputs_are_text() {
    let mut document = sample::cluster();
    let hostile =
        "</style></title><script>alert(1)</script><img src=x onerror=\"a\">'&\u{202e}\u{0}\n";
    document.node = hostile.to_owned();
    document.version = hostile.to_owned();
    for one in &mut document.instances {
        one.name += hostile;
        one.interface = hostile.to_owned();
        one.state = hostile.to_owned();
        one.reason = hostile.to_owned();
        for address in &mut one.addresses {
            address.address = hostile.to_owned();
        }
        for obstacle in &mut one.obstacles {
            obstacle.text = hostile.to_owned();
            obstacle.source = hostile.to_owned();
        }
        if let Some(router) = &mut one.active_router {
            router.node = Some(hostile.to_owned());
        }
    }
    for check in &mut document.checks {
        check.name += hostile;
        check.output = hostile.to_owned();
    }
    for group in &mut document.groups {
        group.members.push(hostile.to_owned());
    }
    for node in &mut document.nodes {
        node.name += hostile;
        node.version = Some(hostile.to_owned());
        for path in &mut node.paths {
            path.error = Some(hostile.to_owned());
        }
        for one in &mut node.instances {
            one.reason = hostile.to_owned();
            one.name += hostile;
        }
    }
    let text = html(&document, &happened(hostile), sample::wall());
    assert_eq!(text.matches("<script").count(), 1);
    assert_eq!(text.matches("<style").count(), 1);
    assert_eq!(text.matches("</title>").count(), 1);
    assert!(!text.contains("<img"));
    assert!(!text.contains(['\u{202e}', '\u{0}']));
    assert!(
        text.matches("&lt;script&gt;alert(1)").count() > 20,
        "{text}"
    );
    balanced(&text);
}

/// Every element that is opened is closed, in order.
fn balanced(text: &str) {
    let text = text.replace(SCRIPT, "").replace(STYLE, "");
    let mut open: Vec<&str> = Vec::new();
    for tag in text.split('<').skip(1) {
        let inside = tag.split('>').next().unwrap();
        let name = inside
            .split([' ', '/'])
            .find(|word| !word.is_empty())
            .unwrap();
        match inside {
            closing if closing.starts_with('/') => assert_eq!(open.pop(), Some(name), "{tag}"),
            _ if matches!(name, "!DOCTYPE" | "meta") => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn every_part_has_a_name_and_every_column_a_label() {
    let text = page(&sample::cluster());
    balanced(&text);
    for id in [
        "attention",
        "cluster",
        "instances",
        "nodes",
        "groups",
        "checks",
        "events",
        "noted",
    ] {
        assert!(
            text.contains(&format!("<section id=\"{id}\" data-part")),
            "{id}"
        );
        assert!(
            text.contains(&format!("aria-labelledby=\"{id}-title\"")),
            "{id}"
        );
        assert!(text.contains(&format!("id=\"{id}-title\"")), "{id}");
    }
    assert_eq!(
        text.matches("<td").count(),
        text.matches("data-label=").count()
    );
    // A state is a word and a sign, not a colour alone.
    assert!(text.contains(
        "<span class=\"state good\"><span aria-hidden=\"true\">\u{25cf} </span>active</span>"
    ));
}

#[test]
fn what_is_to_be_done_comes_first_and_counts_come_last() {
    let text = page(&sample::cluster());
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(place("things to look at") < place("To look at"));
    assert!(place("id=\"attention\"") < place("id=\"cluster\""));
    assert!(place("id=\"checks\"") < place("id=\"noted\""));
}

#[test]
fn a_node_alone_and_well_says_so() {
    let mut document = sample::cluster();
    document.nodes.clear();
    document.checks.clear();
    document.groups.clear();
    document.counters.errors.clear();
    document.link = Default::default();
    document.instances.clear();
    let text = html(&document, &[], sample::wall());
    assert!(text.contains("All well"));
    for id in [
        "attention",
        "cluster",
        "instances",
        "nodes",
        "groups",
        "checks",
        "events",
        "noted",
    ] {
        assert!(
            text.contains(&format!("<section id=\"{id}\" data-part hidden")),
            "{id}"
        );
    }
}
