//! Files whose numbers count, followed on a real file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use vipward::agent::event::{Event, FileRead};
use vipward::daemon::probes::files::Files;

use super::*;

struct Following {
    files: Files,
    told: mpsc::Receiver<Event<'static>>,
    root: tempfile::TempDir,
}

impl Following {
    /// Nothing is there yet.
    fn new() -> Self {
        let (sender, told) = mpsc::channel(64);
        Self {
            files: Files::start(sender).expect("the thread"),
            told,
            root: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn follow(&self, names: &[&str]) {
        let paths = names.iter().map(|name| self.path(name));
        self.files.follow(paths.collect());
    }

    fn read(&mut self, longest: Duration) -> Option<FileRead> {
        let start = Instant::now();
        loop {
            match self.told.try_recv() {
                Ok(Event::FileRead(read)) => return Some(read),
                Ok(other) => panic!("{other:?}"),
                Err(_) if start.elapsed() > longest => return None,
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// What is told next of this file.
    #[track_caller]
    fn next(&mut self, name: &str) -> Result<i64, String> {
        let read = self.read(ENOUGH).expect("it is told");
        assert_eq!(read.path, self.path(name));
        read.number
    }

    #[track_caller]
    fn says(&mut self, name: &str, number: i64) {
        assert_eq!(self.next(name), Ok(number));
    }

    #[track_caller]
    fn is_silent(&mut self, longest: Duration) {
        assert_eq!(self.read(longest), None);
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

#[test]
fn a_file_is_told_of_at_first_and_at_each_change() {
    let mut following = Following::new();
    let path = following.path("n");
    write(&path, "5\n");
    following.follow(&["n"]);
    following.says("n", 5);
    write(&path, "-20\n");
    following.says("n", -20);
    // The same again is no news.
    write(&path, "-20");
    following.is_silent(SHORT);
    fs::remove_file(&path).expect("removed");
    let why = following.next("n").expect_err("it is gone");
    assert_eq!(why, format!("{} does not exist", path.display()));
    write(&path, "7");
    following.says("n", 7);
    write(&path, "seven");
    assert!(following.next("n").is_err());
}

#[test]
fn a_file_that_is_replaced_is_followed_on() {
    let mut following = Following::new();
    let (path, new) = (following.path("n"), following.path("new"));
    write(&path, "1");
    following.follow(&["n"]);
    following.says("n", 1);
    for number in 2..5 {
        write(&new, &number.to_string());
        fs::rename(&new, &path).expect("renamed");
        following.says("n", number);
    }
    write(&path, "9");
    following.says("n", 9);
}

/// Somebody opens it, takes his time, and writes; or keeps it open.
#[test]
fn a_file_that_is_being_written_keeps_its_number_for_a_second() {
    let mut following = Following::new();
    let path = following.path("n");
    write(&path, "4");
    following.follow(&["n"]);
    following.says("n", 4);
    let mut file = fs::File::create(&path).expect("emptied");
    following.is_silent(SHORT);
    file.write_all(b"6").expect("written");
    following.says("n", 6);
    let emptied = Instant::now();
    file.set_len(0).expect("emptied");
    let why = following.next("n").expect_err("it stays empty");
    assert!(why.ends_with("is empty"), "{why}");
    assert!(
        emptied.elapsed() >= Duration::from_secs(1),
        "{:?}",
        emptied.elapsed()
    );
}

#[test]
fn the_way_to_a_file_may_come_and_go() {
    let mut following = Following::new();
    following.follow(&["a/b/n"]);
    assert!(following.next("a/b/n").is_err());
    fs::create_dir_all(following.path("a/b")).expect("made");
    write(&following.path("a/b/n"), "3");
    following.says("a/b/n", 3);
    fs::rename(following.path("a"), following.path("away")).expect("moved");
    assert!(following.next("a/b/n").is_err());
    fs::rename(following.path("away"), following.path("a")).expect("moved");
    following.says("a/b/n", 3);
    write(&following.path("a/b/n"), "8");
    following.says("a/b/n", 8);
}

#[test]
fn symbolic_links_are_followed_wherever_they_lead() {
    let mut following = Following::new();
    for (folder, number) in [("one", "1"), ("two", "2")] {
        fs::create_dir(following.path(folder)).expect("made");
        write(&following.path(folder).join("n"), number);
    }
    symlink("one", following.path("current")).expect("made");
    following.follow(&["current/n"]);
    following.says("current/n", 1);
    symlink("two", following.path("next")).expect("made");
    fs::rename(following.path("next"), following.path("current")).expect("moved");
    following.says("current/n", 2);
    write(&following.path("two/n"), "22");
    following.says("current/n", 22);
}

#[test]
fn several_files_and_others_beside_them_do_not_disturb_each_other() {
    let mut following = Following::new();
    write(&following.path("a"), "1");
    write(&following.path("b"), "2");
    following.follow(&["a", "b"]);
    following.says("a", 1);
    following.says("b", 2);
    for number in 0..200 {
        write(&following.path(&format!("other{number}")), "9");
    }
    following.is_silent(SHORT);
    write(&following.path("b"), "3");
    following.says("b", 3);
    // From now on one of them alone, told anew.
    following.follow(&["a"]);
    following.says("a", 1);
    write(&following.path("b"), "4");
    write(&following.path("a"), "5");
    following.says("a", 5);
    following.is_silent(SHORT);
}

/// More changes than anybody reads: the last one counts.
#[test]
fn a_file_that_changes_without_end_is_read_now_and_then() {
    let mut following = Following::new();
    let path = following.path("n");
    write(&path, "0");
    following.follow(&["n"]);
    following.says("n", 0);
    let began = Instant::now();
    for number in 1..=2_000 {
        write(&following.path("new"), &number.to_string());
        fs::rename(following.path("new"), &path).expect("renamed");
    }
    let took = began.elapsed();
    let mut told = 0;
    let mut last = Ok(0);
    while last != Ok(2_000) {
        last = following.next("n");
        told += 1;
    }
    let most = took.as_millis() / 50 + 3;
    assert!(told <= most, "{told} times in {took:?}");
}

#[test]
fn what_is_no_file_is_said_and_not_waited_for() {
    let mut following = Following::new();
    let fifo = following.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let big = following.path("big");
    fs::File::create(&big)
        .and_then(|file| file.set_len(50 << 20))
        .expect("made");
    following.follow(&["fifo", "big"]);
    let why = following.next("big").expect_err("it is full of zeros");
    assert!(why.contains("which is no whole number"), "{why}");
    let why = following.next("fifo").expect_err("it is no file");
    assert!(why.ends_with("is a FIFO, not a file"), "{why}");
}
