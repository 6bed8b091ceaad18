//! Checks that misbehave: scripts that hang, servers that lie, files that
//! must not be run. Each fails with its reason, and nothing of it is left.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::service::{check, lines, processes, set_mode};
use crate::lab::{Host, LONG, Lab, ROOM, ms, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_hung_script_ignores_sigterm", ignores_sigterm),
        trial("agent_hung_script_forks", forks),
        trial("agent_hung_script_prints_without_end", prints),
        trial("agent_scripts_made_bad_after_start", made_bad),
        trial("agent_http_checks_of_bad_servers", bad_servers),
    ]
}

fn end(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

/// `checks` by name, with their text.
fn listening(names: &[&str], checks: &str) -> String {
    let router = Router::new(200).with(&format!("checks: [{}]", names.join(", ")));
    format!("{}checks:\n{checks}", yaml("a", &[router]))
}

fn ignores_sigterm() {
    hung(|marker| format!("trap '' TERM INT HUP\nwhile :; do sleep {marker}; done"));
}

fn forks() {
    hung(|marker| {
        format!(
            "sleep {marker} &\n( trap '' TERM; sleep {marker} & sleep {marker} ) &\n\
             ( ( while :; do sleep {marker}; done ) & ) &\nsleep {marker}"
        )
    });
}

/// Nobody reads it after its deadline, which it does not mind.
fn prints() {
    hung(|marker| {
        format!("trap '' PIPE TERM\n( yes {marker} ) &\nwhile :; do echo {marker}; done")
    });
}

/// The script `text` fails at its deadline. It runs once an hour, so whatever
/// is left of it after that is left for good.
fn hung(text: impl FnOnce(&str) -> String) {
    let lab = Lab::new();
    let a = lab.host("a");
    // A number to sleep for that is this trial's alone; the script's own name
    // has it too.
    static COUNT: AtomicU32 = AtomicU32::new(100);
    let marker = format!("86400.{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let began = lab.directory.path().join("began");
    let text = format!("echo $$ >{}\n{}", began.display(), text(&marker));
    let script = lab.script(&format!("hung-{marker}"), &text);
    let checks = check("service", &script, "interval: 1h, timeout: 700ms");
    let agent = lab.agent_with(&a, &listening(&["service"], &checks));
    wait_until("the script runs", LONG, || lines(&began) == 1);
    let ran = Instant::now();
    wait_until("what it starts", ms(600), || processes(&marker).len() > 1);
    agent.wait_state("web", "fault", LONG);
    let check = agent.check("service");
    let output = check["output"].as_str().expect("a text");
    assert!(output.starts_with("no end within 700 ms"), "{check}");
    let took = check["duration_ms"].as_u64().map(Duration::from_millis);
    let took = took.expect("a duration");
    let stalled = crate::lab::stall::since(ran);
    assert!(
        took >= ms(690) && took <= ms(700) + ROOM + stalled,
        "{check}"
    );
    wait_until("nothing of it is left", LONG, || {
        processes(&marker).is_empty()
    });
    assert_eq!(a.watch.times(agent.started, vip()), [], "it never was well");
    end(agent);
}

/// Good at the start; then missing, not executable, writable by others. A
/// hook is refused likewise.
fn made_bad() {
    let lab = Lab::new();
    let a = lab.host("a");
    let kinds = ["missing", "mode", "writable"];
    let [missing, mode, writable] = kinds.map(|name| lab.script(name, "exit 0"));
    let hook = lab.script("hook", "exit 0");
    let options = "interval: 200ms, timeout: 5s, rise: 1, fall: 1";
    let checks = check("missing", &missing, options)
        + &check("mode", &mode, options)
        + &check("writable", &writable, options);
    let hooks = format!(
        "hooks: {{ fault: {{ run: [{}], user: root }} }}",
        hook.display()
    );
    let uses = kinds.map(|name| match name {
        "mode" => name.to_owned(),
        _ => format!("{{ name: {name}, weight: -10 }}"),
    });
    let router = Router::new(200).with(&format!("checks: [{}]", uses.join(", ")));
    let file = format!("{}checks:\n{checks}", yaml("a", &[router.with(&hooks)]));
    let agent = lab.agent_with(&a, &file);
    a.watch.wait(agent.started, vip(), true, LONG);
    let config = agent.config.display().to_string();
    let judged = agent.ask_without_socket(&["validate", &config]);
    assert!(judged.status.success(), "{judged:?}");

    std::fs::remove_file(&missing).expect("removed");
    set_mode(&writable, 0o757);
    set_mode(&hook, 0o644);
    agent.wait_check("missing", "down", LONG);
    // The run in which it went may have got as far as the shell.
    wait_until("what is wrong with it", LONG, || {
        let told = agent.check("missing")["output"].to_string();
        told.contains("missing does not exist")
    });
    let told = agent.wait_check("writable", "down", LONG)["output"].to_string();
    assert!(
        told.contains("can be written by") && told.contains("chmod go-w"),
        "{told}"
    );
    assert_eq!(agent.state("web"), "active");
    assert_eq!(agent.instance("web")["priority"]["effective"], 180);

    set_mode(&mode, 0o644);
    agent.wait_state("web", "fault", LONG);
    let obstacle = agent.instance("web")["obstacles"][0]["text"].to_string();
    assert!(
        obstacle.contains("is not executable") && obstacle.contains("chmod +x"),
        "{obstacle}"
    );
    wait_until("the refusal of the hook", LONG, || {
        let error = agent.instance("web")["hooks"][0]["error"].to_string();
        error.contains("hook is not executable")
    });
    let judged = agent.ask_without_socket(&["validate", &config]);
    assert_eq!(judged.status.code(), Some(1), "{judged:?}");
    let told = String::from_utf8_lossy(&judged.stderr) + String::from_utf8_lossy(&judged.stdout);
    for reason in ["does not exist", "is not executable", "can be written by"] {
        assert!(told.contains(reason), "{told}");
    }

    // Made good again, they count again.
    set_mode(&mode, 0o755);
    agent.wait_state("web", "active", LONG);
    end(agent);
}

/// What a server of `host` on `port` does with each connection.
fn serve(host: &Host, port: u16, answer: fn(TcpStream, u16)) {
    let listener = host
        .namespace
        .run(|| TcpListener::bind(("127.0.0.1", port)));
    let listener = listener.expect("a port of the lab's own");
    // They end with the trial's program: nobody waits for them.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, port));
        }
    });
}

/// Reads the question; what goes wrong afterwards is the client hanging up.
fn heard(mut stream: &TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
}

fn slow(mut stream: TcpStream, _: u16) {
    heard(&stream);
    for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain([b'y'; 600].iter()) {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(ms(100));
    }
}

fn endless(mut stream: TcpStream, _: u16) {
    heard(&stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
    while stream.write_all(b"x-more: and more of it\r\n").is_ok() {}
}

fn garbage(mut stream: TcpStream, _: u16) {
    heard(&stream);
    let _ = stream.write_all(&[0xff, 0, 0xfe, b'\n', b'\n', 7, 7, 7]);
}

fn circle(mut stream: TcpStream, port: u16) {
    heard(&stream);
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/again\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    );
    let _ = stream.write_all(answer.as_bytes());
}

fn sound(mut stream: TcpStream, _: u16) {
    heard(&stream);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let _ = stream.write_all(answer);
}

/// All of them at once, beside a sound one; the agent advertises on.
fn bad_servers() {
    let lab = Lab::new();
    let a = lab.host("a");
    serve(&a, 8001, slow);
    serve(&a, 8002, endless);
    serve(&a, 8003, garbage);
    serve(&a, 8004, circle);
    serve(&a, 8005, sound);
    let urls = [
        ("slow", "http://127.0.0.1:8001/"),
        ("endless", "http://127.0.0.1:8002/"),
        ("garbage", "http://127.0.0.1:8003/"),
        ("circle", "http://127.0.0.1:8004/"),
        ("nobody", "http://127.0.0.1:8006/"),
        ("nameless", "http://nowhere.invalid:8001/"),
        ("sound", "http://127.0.0.1:8005/"),
    ];
    let checks = urls.map(|(name, url)| {
        format!("  {name}: {{ http: \"{url}\", interval: 500ms, timeout: 2s, rise: 1, fall: 1 }}\n")
    });
    let uses = urls.map(|(name, _)| format!("{{ name: {name}, weight: -10 }}"));
    let uses: Vec<_> = uses.iter().map(String::as_str).collect();
    let agent = lab.agent_with(&a, &listening(&uses, &checks.concat()));
    a.watch.wait(agent.started, vip(), true, LONG);
    let began = Instant::now();
    for (name, reason) in [
        ("slow", "no end within 2000 ms"),
        ("endless", "too long"),
        ("garbage", "not HTTP"),
        ("circle", "redirect"),
        ("nobody", "refused"),
        ("nameless", ""),
    ] {
        let check = agent.wait_check(name, "down", LONG);
        let told = check["output"].as_str().unwrap_or_default();
        assert!(!told.is_empty() && told.contains(reason), "{check}");
    }
    agent.wait_check("sound", "up", LONG);
    assert_eq!(agent.instance("web")["priority"]["effective"], 140);
    thread::sleep(ms(2_000));
    assert_eq!(agent.state("web"), "active");
    let times: Vec<_> = lab.observer.adverts(began, "a");
    assert!(times.len() > 3, "{times:?}");
    for pair in times.windows(2) {
        crate::lab::assert_span("the next one", pair[1].0 - pair[0].0, ms(0), ms(300));
    }
    end(agent);
}
