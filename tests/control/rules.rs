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
