//! The metrics' address of a running agent: what Prometheus, a browser and an
//! operator's reload see.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::exposition::{self, Series};
use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::{Host, LONG, Lab, vip, wait_until, write};
use crate::promtool;
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_metrics_tell_what_happens", tell),
        trial("agent_metrics_follow_a_reload", follow),
        trial("agent_metrics_address_in_use", in_use),
    ]
}

fn listening(port: u16) -> String {
    format!("metrics: {{ listen: \"127.0.0.1:{port}\" }}\n")
}

/// An answer's status and body, or nothing where nobody listens.
fn get(host: &Host, port: u16, path: &str) -> Option<(String, String)> {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let request = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\n\r\n");
    let answer = host.namespace.run(move || {
        let mut stream = TcpStream::connect(at).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    Some((status.to_owned(), body.to_owned()))
}

fn scrape(host: &Host, port: u16) -> Option<Series> {
    let (status, body) = get(host, port, "/metrics")?;
    (status == "200").then(|| exposition::read(&body))
}

fn value(host: &Host, series: &str) -> f64 {
    let all = scrape(host, 9852).expect("metrics");
    all.get(series).copied().unwrap_or(-1.0)
}

fn state(name: &str) -> String {
    format!("vipward_instance_state{{vrrp_instance=\"web\",state=\"{name}\"}}")
}

fn tell() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let service = lab.service("nginx");
    let router = Router::new(200).with("checks: [nginx]");
    let checks = service.check("nginx", "interval: 100ms, timeout: 5s, rise: 1, fall: 1");
    let first = format!(
        "{}checks:\n{checks}{}",
        yaml("a", &[router]),
        listening(9852)
    );
    let agent = lab.agent_with(&a, &first);
    a.watch.wait(agent.started, vip(), true, LONG);
    wait_until("the address in the metrics", LONG, || {
        value(&a, "vipward_instance_addresses_held{vrrp_instance=\"web\"}") == 1.0
    });
    assert_eq!(value(&a, &state("active")), 1.0);
    let second = format!("{}{}", yaml("b", &[Router::new(100)]), listening(9852));
    let backup = lab.agent_with(&b, &second);
    backup.wait_state("web", "backup", LONG);
    wait_until("advertisements heard", LONG, || {
        value(&b, "vipward_adverts_received_total{vrrp_instance=\"web\"}") > 3.0
    });
    let age = "vipward_instance_last_advert_age_seconds{vrrp_instance=\"web\"}";
    assert!((0.0..30.0).contains(&value(&b, age)));

    let all = scrape(&a, 9852).expect("metrics");
    let sent = all["vipward_adverts_sent_total{vrrp_instance=\"web\"}"];
    let late = all["vipward_advert_lateness_seconds_count"];
    // The one that claims is not periodic.
    assert!(late > 0.0 && late < sent, "{late} of {sent}");
    assert!(all["vipward_announcements_total{vrrp_instance=\"web\"}"] > 0.0);
    assert!(all["vipward_check_duration_seconds_count{check=\"nginx\"}"] > 0.0);
    if let Some(promtool) = promtool::find() {
        promtool.check_metrics(&get(&a, 9852, "/metrics").expect("metrics").1);
    }
    let (_, page) = get(&b, 9852, "/").expect("the page");
    assert!(
        page.contains("<h1>b</h1>") && page.contains("192.0.2.100/24"),
        "{page}"
    );
    assert_eq!(
        get(&a, 9852, "/healthz"),
        Some(("200".to_owned(), "ok\n".to_owned()))
    );

    service.ill();
    wait_until("the fault in the metrics", LONG, || {
        value(&a, &state("fault")) == 1.0 && value(&b, &state("active")) == 1.0
    });
    assert!(value(&a, "vipward_check_failures_total{check=\"nginx\"}") >= 1.0);
    let by = |reason: &str| {
        format!("vipward_instance_transitions_total{{vrrp_instance=\"web\",reason=\"{reason}\"}}")
    };
    assert_eq!(value(&a, &by("obstacle")), 1.0);
    assert_eq!(value(&b, &by("priority")), 1.0);
}

fn reload(agent: &Agent, text: &str) -> bool {
    write(&agent.config, text);
    agent.ask(&["reload"]).status.success()
}

fn follow() {
    let lab = Lab::new();
    let a = lab.host("a");
    let plain = yaml("a", &[Router::new(200)]);
    let agent = lab.agent_with(&a, &plain);
    agent.wait_state("web", "active", LONG);
    assert_eq!(get(&a, 9852, "/healthz"), None, "nobody was told to listen");
    for (port, other) in [(9852, 9853), (9853, 9852)] {
        assert!(reload(&agent, &format!("{plain}{}", listening(port))));
        wait_until("an answer after the reload", LONG, || {
            scrape(&a, port).is_some()
        });
        wait_until("no answer at the old address", LONG, || {
            scrape(&a, other).is_none()
        });
    }
    let failed = "vipward_config_reloads_total{outcome=\"failed\"}";
    assert!(!reload(&agent, "instances: nonsense\n"));
    wait_until("the failure in the metrics", LONG, || {
        let all = scrape(&a, 9853).expect("metrics");
        all[failed] == 1.0 && all["vipward_config_last_reload_successful"] == 0.0
    });
    assert!(reload(&agent, &plain));
    wait_until("nobody listens any more", LONG, || {
        scrape(&a, 9853).is_none()
    });
    assert_eq!(agent.state("web"), "active");
}

fn in_use() {
    let lab = Lab::new();
    let a = lab.host("a");
    let at = SocketAddr::from(([127, 0, 0, 1], 9852));
    let other = a
        .namespace
        .run(move || std::net::TcpListener::bind(at).expect("to listen"));
    let agent = lab.agent_with(
        &a,
        &format!("{}{}", yaml("a", &[Router::new(200)]), listening(9852)),
    );
    agent.wait_state("web", "active", LONG);
    wait_until("a line that says what to do", LONG, || {
        agent.process.log().contains("ss -ltnp sport = :9852")
    });
    drop(other);
    wait_until("an answer", LONG, || scrape(&a, 9852).is_some());
    let said = agent.process.log();
    assert_eq!(said.matches("cannot serve metrics").count(), 1, "{said}");
}
