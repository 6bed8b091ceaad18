use std::fs;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant as Clock;

use super::file::{FILE, FILE_BYTES_MAX, OLD_FILE};
use super::*;
use crate::agent::report::{Fact, Report};
use crate::agent::values::InstanceName;
use crate::control::events::feed::EVENTS_MAX;
use crate::control::events::query::Query;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

fn wait(what: &str, done: impl Fn() -> bool) {
    let begun = Clock::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn start(directory: &Path) -> History {
    History::start(directory, "lb1").unwrap()
}

fn stop(history: History) {
    let stopped = AgentFact::Stopped { left: Vec::new() };
    history.events().recorder.note(stopped);
    history.events().recorder.close();
    // Longer than the agent would: what these tests read has to be on the disk.
    let finished = history.finished.recv_timeout(PATIENCE);
    let hung_up = Err(RecvTimeoutError::Disconnected);
    assert_eq!(finished, hung_up, "the writer is not done");
}

fn happen(history: &History, text: &str) {
    history.events().recorder.report(Report {
        at: timer::now(),
        instance: Some(InstanceName::new("web")),
        fact: Fact::SocketFailed {
            interface: "eth0".parse().unwrap(),
            family: crate::agent::values::Family::Ipv4,
            error: text.to_owned(),
        },
    });
}

fn names(records: &[Record]) -> Vec<(u64, u64, &str)> {
    let names = records.iter();
    names
        .map(|one| (one.id, one.run, one.event.as_str()))
        .collect()
}

/// A file with a few events, as an agent leaves it.
fn written(directory: &Path) -> Vec<u8> {
    let history = start(directory);
    history.started(1);
    happen(&history, "one");
    stop(history);
    fs::read(directory.join(FILE)).unwrap()
}

#[test]
fn events_survive_restarts_and_identifiers_go_on() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("made/when/needed");
    written(&directory);
    let history = start(&directory);
    history.started(2);
    let page = history.events().feed.page(&Query::default());
    assert!(page.kept.len() >= 3, "those of the run before are there");
    stop(history);
    let past = read(&directory);
    assert_eq!(
        names(&past.records),
        [
            (1, 1, "agent-started"),
            (2, 1, "socket-failed"),
            (3, 1, "agent-stopped"),
            (4, 2, "agent-started"),
            (5, 2, "agent-stopped"),
        ]
    );
    assert!(past.damaged.is_empty() && past.problems.is_empty());
    assert!(!past.records[3].text.contains("orderly"));
}

#[test]
fn an_agent_that_died_is_told_of_and_its_identifiers_are_left_to_it() {
    let folder = TempDir::new().unwrap();
    let history = start(folder.path());
    happen(&history, "one");
    wait("the first event", || {
        !read(folder.path()).records.is_empty()
    });
    drop(history);
    let history = start(folder.path());
    history.started(1);
    stop(history);
    let past = read(folder.path());
    let expected = [
        (1, 1, "socket-failed"),
        (10_001, 2, "agent-started"),
        (10_002, 2, "agent-stopped"),
    ];
    assert_eq!(names(&past.records), expected);
    assert!(
        past.records[1]
            .text
            .contains("did not stop in an orderly way")
    );
}

#[test]
fn whatever_byte_is_changed_the_rest_is_read() {
    let folder = TempDir::new().unwrap();
    let whole = written(folder.path());
    let all = read(folder.path()).records;
    assert_eq!(all.len(), 3);
    let path = folder.path().join(FILE);
    for position in 0..whole.len() {
        for change in [0x01, 0x20, 0x80, whole[position]] {
            let mut bytes = whole.clone();
            bytes[position] ^= change;
            if bytes[position] == b'\n' && whole.get(position.wrapping_sub(1)) == Some(&b'\n') {
                continue;
            }
            fs::write(&path, &bytes).unwrap();
            let past = read(folder.path());
            let lost = all.len() - past.records.len();
            // The end of a line joins two.
            let most = if whole[position] == b'\n' { 2 } else { 1 };
            assert!((1..=most).contains(&lost), "{position}: {lost} lost");
            assert!(
                past.records.iter().all(|one| all.contains(one)),
                "{position}"
            );
            let [(of, lines)] = &past.damaged[..] else {
                panic!("not told: {position}");
            };
            assert!(
                *of == path && (1..=2).contains(lines),
                "{position}: {lines}"
            );
        }
    }
}

#[test]
fn wherever_it_was_torn_the_next_event_is_whole() {
    let folder = TempDir::new().unwrap();
    let whole = written(folder.path());
    let path = folder.path().join(FILE);
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let ends: Vec<usize> = ends.map(|(at, _)| at + 1).collect();
    for length in (0..whole.len())
        .step_by(7)
        .chain(ends.iter().map(|end| end - 1))
    {
        fs::write(&path, &whole[..length]).unwrap();
        let kept = ends.iter().filter(|end| **end <= length).count();
        let torn = !ends.contains(&length) && length > 0;
        let history = start(folder.path());
        happen(&history, "after");
        stop(history);
        let past = read(folder.path());
        assert!(past.damaged.is_empty(), "{length}: the torn line is gone");
        let told = past
            .records
            .iter()
            .any(|one| one.event == "history-damaged");
        // A whole line without its end is read once more before it is cut off.
        let unended = ends.contains(&(length + 1));
        assert_eq!(told, torn && !unended, "{length}");
        let after = past.records.iter().filter(|one| one.run > 1 || kept == 0);
        assert!(after.count() >= 2, "{length}");
    }
}

#[test]
fn the_files_have_a_bound_and_the_newest_events_are_in_them() {
    let folder = TempDir::new().unwrap();
    let history = start(folder.path());
    let newest = || read(folder.path()).records.last().map_or(0, |one| one.id);
    let long = "x".repeat(400);
    let total: u64 = 6000;
    for number in 1..=total {
        happen(&history, &format!("{number} {long}"));
        // Not faster than the disk is: none is to be dropped.
        if number % 500 == 0 {
            wait("events on the disk", || newest() >= number);
        }
    }
    stop(history);
    let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(size(FILE) <= FILE_BYTES_MAX && size(OLD_FILE) <= FILE_BYTES_MAX);
    assert!(size(OLD_FILE) > FILE_BYTES_MAX / 2);
    let past = read(folder.path());
    assert!(past.damaged.is_empty());
    assert!(past.records.len() > 1000 && past.records.len() <= EVENTS_MAX);
    let ids: Vec<u64> = past.records.iter().map(|one| one.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a gap");
    assert_eq!(ids.last(), Some(&(total + 1)));
}

#[test]
fn a_disk_that_takes_nothing_is_told_of_once_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("state");
    fs::write(&directory, "in the way").unwrap();
    let history = start(&directory);
    let shown = |name: &str| {
        let page = history.events().feed.page(&Query::default());
        let name = format!("\"event\":\"{name}\"");
        page.kept
            .iter()
            .filter(|kept| kept.line.contains(&name))
            .count()
    };
    happen(&history, "one");
    wait("the complaint", || shown("history-unwritten") == 1);
    happen(&history, "two");
    fs::remove_file(&directory).unwrap();
    wait("that it is over", || shown("history-written") == 1);
    assert_eq!(shown("history-unwritten"), 1, "once");
    stop(history);
    let expected = [
        (1, 1, "socket-failed"),
        (2, 1, "history-unwritten"),
        (3, 1, "socket-failed"),
        (4, 1, "history-written"),
        (5, 1, "agent-stopped"),
    ];
    let past = read(&directory);
    assert_eq!(names(&past.records), expected);
    assert!(past.records[3].text.ends_with("again; none is lost"));
}

#[test]
fn what_is_no_file_is_left_alone() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join(FILE)).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join(OLD_FILE)).unwrap();
    let past = read(folder.path());
    assert_eq!((past.records.len(), past.problems.len()), (0, 2));
    let history = start(folder.path());
    happen(&history, "one");
    stop(history);
    assert!(folder.path().join(FILE).is_dir());
}

#[test]
fn what_was_not_taken_down_is_an_event() {
    let (recorder, entries) = Recorder::new(timer::now, 2);
    for _ in 0..5 {
        recorder.keep(AgentFact::Stopping);
    }
    let feed = Arc::new(Feed::new(1));
    let scribe = Scribe {
        feed: Arc::clone(&feed),
        node: "lb1".to_owned(),
        run: 1,
        clock: WallClock::new(timer::now(), Timestamp::now()),
    };
    let taking = thread::spawn(move || scribe.take_down(&entries));
    recorder.close();
    taking.join().unwrap();
    let page = feed.page(&Query::default());
    let lines: Vec<&str> = page.kept.iter().map(|kept| &*kept.line).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let gaps = lines.iter().filter(|line| line.contains("\"lost\":3"));
    assert_eq!(gaps.count(), 1, "{lines:#?}");
}
