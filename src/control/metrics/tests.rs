use std::fmt::Write;

use super::*;
use crate::agent::status::{Counter, Reason, StateName};
use crate::control::document::WallClock;
use crate::control::pictures::About;
use crate::control::reload::Reloadings;
use crate::control::sample;
use crate::control::server::StatusPicture;

#[path = "../../../tests/control/exposition.rs"]
mod strict;

fn view() -> View {
    let status = sample::cluster_status();
    let now = sample::now();
    let about = About {
        identity: sample::identity(),
        reloadings: Reloadings {
            applied: 2,
            failed: 1,
            last_failed: true,
        },
    };
    let clock = WallClock::new(now, sample::wall());
    View::new(StatusPicture { status, now }, about, clock, Vec::new())
}

#[test]
fn everything_at_once() {
    let text = exposition(&view());
    strict::read(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn an_instance_is_in_one_state_and_every_state_is_told() {
    let view = view();
    let series = strict::read(&exposition(&view));
    for one in &view.picture.status.instances {
        let told = |state: StateName| {
            let name = &one.name;
            series[&format!("vipward_instance_state{{vrrp_instance=\"{name}\",state=\"{state}\"}}")]
        };
        let all = StateName::ALL.map(told);
        assert_eq!(all.iter().sum::<f64>(), 1.0, "{}", one.name);
        assert_eq!(told(one.state), 1.0, "{}", one.name);
    }
}

#[test]
fn reasons_add_up_to_transitions_and_errors_of_sending_are_no_discarded_packets() {
    let mut view = view();
    let counters = &mut view.picture.status.instances[0].counters;
    for reason in [Reason::NoResponse, Reason::Drained, Reason::Drained] {
        counters.count_transition(reason);
    }
    counters.count(Counter::SendError);
    counters.count(Counter::ChecksumError);
    let name = view.picture.status.instances[0].name.clone();
    let series = strict::read(&exposition(&view));
    let of = |metric: &str, reason: &str| {
        series
            .get(&format!(
                "{metric}{{vrrp_instance=\"{name}\",reason=\"{reason}\"}}"
            ))
            .copied()
    };
    assert_eq!(
        of("vipward_instance_transitions_total", "drained"),
        Some(2.0)
    );
    assert_eq!(
        of("vipward_instance_transitions_total", "no-response"),
        Some(1.0)
    );
    assert_eq!(
        of("vipward_instance_transitions_total", "stalled"),
        Some(0.0)
    );
    assert_eq!(
        of("vipward_adverts_discarded_total", "checksum-error"),
        Some(1.0)
    );
    assert_eq!(of("vipward_adverts_discarded_total", "send-error"), None);
    let sent = format!("vipward_advert_send_errors_total{{vrrp_instance=\"{name}\"}}");
    assert_eq!(series[&sent], 1.0);
}

#[test]
fn a_node_alone_tells_nothing_of_peers() {
    let mut view = view();
    view.picture.status.nodes.clear();
    assert!(!exposition(&view).contains("vipward_peer"));
}

/// `UPDATE_DOCS=1 cargo test --lib the_list_of_metrics` writes it anew.
#[test]
fn the_list_of_metrics_is_in_the_documents() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- metrics -->\n\n").unwrap();
    let (_, after) = rest.split_once("\n<!-- end -->").unwrap();
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let exposition = exposition(&view());
    for family in exposition.split("# HELP ").skip(1) {
        let mut lines = family.lines();
        let (name, help) = lines.next().unwrap().split_once(' ').unwrap();
        let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
        let labels: Vec<String> = lines
            .next()
            .unwrap()
            .split(['{', ','])
            .filter_map(|part| Some(part.split_once("=\"")?.0))
            .filter(|label| *label != "le")
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = labels.join(", ");
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    let current = format!("{before}<!-- metrics -->\n\n{table}\n<!-- end -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &current).unwrap();
        return;
    }
    assert_eq!(text, current);
}

/// What rules and dashboard ask for is there under that name.
#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let exposition = exposition(&view());
    let there = strict::read(&exposition);
    for file in ["alerts.yaml", "alerts.test.yaml", "grafana-dashboard.json"] {
        let path = format!("{}/packaging/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let named = text.split(word).filter(|word| word.starts_with("vipward_"));
        let mut count = 0;
        for name in named {
            let exists = there.keys().any(|key| key.split('{').next() == Some(name));
            assert!(exists, "{file}: {name}");
            count += 1;
        }
        assert!(count > 3, "{file}");
    }
}
