//! What `packaging/` has for Prometheus, judged by promtool.

use super::promtool;

fn packaged(name: &str) -> String {
    format!("{}/packaging/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_alert_rules_are_sound_and_fire_when_they_should() {
    let Some(promtool) = promtool::find() else {
        println!("skipped: no promtool; tests/run.sh provides it");
        return;
    };
    for arguments in [
        ["check", "rules", &packaged("alerts.yaml")],
        ["test", "rules", &packaged("alerts.test.yaml")],
    ] {
        let output = promtool.run(&arguments);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_do_not_overlap() {
    let text = std::fs::read_to_string(packaged("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut cells = std::collections::BTreeSet::new();
    let mut ids = std::collections::BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && cells.insert((x, y)), "{panel}");
            }
        }
    }
    assert!(panels.len() > 15);
}

/// Grafana puts these in.
fn as_prometheus_gets_it(query: &str) -> String {
    query
        .replace("$__rate_interval", "1m")
        .replace("$job", ".*")
        .replace("$node", ".*")
        .replace("$vrrp_instance", ".*")
}

#[test]
fn every_query_of_the_dashboard_is_one_of_prometheus() {
    let Some(promtool) = promtool::find() else {
        println!("skipped: no promtool; tests/run.sh provides it");
        return;
    };
    let text = std::fs::read_to_string(packaged("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let rules: Vec<serde_json::Value> = targets
        .flatten()
        .enumerate()
        .map(|(index, target)| {
            let query = as_prometheus_gets_it(target["expr"].as_str().unwrap());
            assert!(!query.contains('$'), "{query}");
            serde_json::json!({ "record": format!("panel:{index}"), "expr": query })
        })
        .collect();
    assert!(rules.len() > 20, "{}", rules.len());
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).unwrap();
    let output = promtool.run(&["check", "rules", &file.path().to_string_lossy()]);
    assert!(output.status.success(), "{output:?}");
}
