//! Follows the files whose numbers are added to priorities, on a thread of its
//! own: a file system that hangs delays these files and nothing else. They are
//! read when the kernel says that they, or the way to them, changed; never at
//! intervals, unless the kernel cannot watch one.

mod way;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::mpsc;

use super::small_file::{self, Unread};
use crate::agent::event::{Event, FileRead};

/// After a change a file is left alone for this long, so that one that is
/// replaced in steps is read once, and one that changes without end is read
/// twenty times a second.
const CALM: Duration = Duration::from_millis(50);
/// A file that had a number and is empty now is being written, for so long.
const EMPTY_FOR: Duration = Duration::from_secs(1);
/// Pace for what the kernel cannot watch.
const UNWATCHED_PACE: Duration = Duration::from_secs(5);
/// Messages of the kernel taken in one turn; each call brings many.
const READS_PER_TURN: usize = 16;

/// The running thread. Dropping it tells the thread to end, and waits for
/// nothing.
#[derive(Debug)]
pub struct Files {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wanted: Mutex<Wanted>,
    /// Written when `wanted` changed.
    changed: EventFd,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Taken by the thread; the newest counts.
    files: Option<BTreeSet<PathBuf>>,
    stop: bool,
}

impl Files {
    /// `reports` is told of each file once it was read at first, and after
    /// each change. While it is full the thread waits.
    ///
    /// # Errors
    ///
    /// The thread, or what wakes it, could not be made; nothing is left behind.
    pub fn start(reports: mpsc::Sender<Event<'static>>) -> io::Result<Self> {
        let changed =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared {
            wanted: Mutex::default(),
            changed,
        });
        let follower = Follower {
            shared: Arc::clone(&shared),
            reports,
            inotify: None,
            files: BTreeMap::new(),
            watches: HashMap::new(),
        };
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || follower.run())?;
        Ok(Self { shared })
    }

    /// Follows these from now on. Every one is told of anew. Never waits.
    pub fn follow(&self, files: BTreeSet<PathBuf>) {
        self.tell(|wanted| wanted.files = Some(files));
    }

    fn tell(&self, say: impl FnOnce(&mut Wanted)) {
        let wanted = self.shared.wanted.lock();
        say(&mut wanted.unwrap_or_else(PoisonError::into_inner));
        // It can only fail when it is about to wake the thread anyway.
        let _ = self.shared.changed.write(1);
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.tell(|wanted| wanted.stop = true);
    }
}

struct Follower {
    shared: Arc<Shared>,
    reports: mpsc::Sender<Event<'static>>,
    inotify: Option<Inotify>,
    files: BTreeMap<PathBuf, Followed>,
    /// Whom an event concerns: of a directory by the name within it, of a file
    /// whatever it is.
    watches: HashMap<WatchDescriptor, Vec<(Option<OsString>, PathBuf)>>,
}

#[derive(Default)]
struct Followed {
    told: Option<Result<i64, String>>,
    /// When it is to be read again.
    due_at: Option<Instant>,
    /// It had a number before.
    empty_since: Option<Instant>,
    /// The kernel cannot watch it, which was said.
    unwatched: bool,
}

impl Follower {
    fn run(mut self) {
        loop {
            if !self.take_wishes() {
                return;
            }
            let now = Instant::now();
            let due = self.files.iter();
            let due = due.filter(|(_, file)| file.due_at.is_some_and(|at| at <= now));
            let due: Vec<PathBuf> = due.map(|(path, _)| path.clone()).collect();
            for path in due {
                self.watch(&path);
                if !self.look(&path) {
                    return;
                }
            }
            self.wait();
            self.hear();
        }
    }

    /// Whether to go on.
    fn take_wishes(&mut self) -> bool {
        // Nothing to read is as well.
        let _ = self.shared.changed.read();
        let wanted = self.shared.wanted.lock();
        let mut wanted = wanted.unwrap_or_else(PoisonError::into_inner);
        if wanted.stop {
            return false;
        }
        let Some(files) = wanted.files.take() else {
            return true;
        };
        drop(wanted);
        self.files = files
            .into_iter()
            .map(|path| {
                let due_at = Some(Instant::now());
                let file = Followed {
                    due_at,
                    ..Followed::default()
                };
                (path, file)
            })
            .collect();
        // Closes every watch with it.
        self.watches.clear();
        self.inotify = None;
        true
    }

    /// Watches the file and the way to it as they are now.
    fn watch(&mut self, path: &Path) {
        self.forget(path);
        let watched = self.try_to_watch(path);
        let Some(file) = self.files.get_mut(path) else {
            return;
        };
        file.due_at = None;
        match watched {
            Ok(()) => file.unwatched = false,
            Err(error) => {
                file.due_at = Some(Instant::now() + UNWATCHED_PACE);
                if !std::mem::replace(&mut file.unwatched, true) {
                    tracing::warn!(
                        "the kernel cannot watch {}: {}; it is read every {} s instead",
                        path.display(),
                        shortage(error),
                        UNWATCHED_PACE.as_secs()
                    );
                }
            }
        }
    }

    fn try_to_watch(&mut self, path: &Path) -> Result<(), Errno> {
        let inotify = match &mut self.inotify {
            Some(inotify) => inotify,
            none => none.insert(Inotify::init(
                InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK,
            )?),
        };
        for (directory, name) in way::steps(path) {
            let flags = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVED_FROM
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_MOVE_SELF
                | AddWatchFlags::IN_ONLYDIR;
            match inotify.add_watch(&directory, flags) {
                Ok(watch) => {
                    let concerned = self.watches.entry(watch).or_default();
                    concerned.push((Some(name), path.to_owned()));
                }
                // What lies below is seen when this is there.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => return Err(error),
            }
        }
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        match inotify.add_watch(path, flags) {
            Ok(watch) => {
                let concerned = self.watches.entry(watch).or_default();
                concerned.push((None, path.to_owned()));
                Ok(())
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes the watches of a file away that serve no other.
    fn forget(&mut self, path: &Path) {
        let inotify = self.inotify.as_ref();
        self.watches.retain(|watch, concerned| {
            concerned.retain(|(_, other)| other != path);
            if concerned.is_empty()
                && let Some(inotify) = inotify
            {
                // One that went with its file is gone already.
                let _ = inotify.rm_watch(*watch);
            }
            !concerned.is_empty()
        });
    }

    /// Reads the file, and tells what changed. Whether to go on.
    fn look(&mut self, path: &Path) -> bool {
        let now = Instant::now();
        let read = small_file::number(path);
        let Some(file) = self.files.get_mut(path) else {
            return true;
        };
        let had_a_number = matches!(file.told, Some(Ok(_)));
        if read == Err(Unread::Empty) && had_a_number {
            let since = *file.empty_since.get_or_insert(now);
            let over_at = since + EMPTY_FOR;
            if now < over_at {
                file.due_at = Some(over_at);
                return true;
            }
        }
        file.empty_since = None;
        let number = read.map_err(|unread| unread.words(path));
        if file.told.as_ref() == Some(&number) {
            return true;
        }
        file.told = Some(number.clone());
        let path = path.to_owned();
        let read = Event::FileRead(FileRead { path, number });
        self.reports.blocking_send(read).is_ok()
    }

    /// Until the kernel has news, something is due, or somebody wants something.
    fn wait(&self) {
        let due = self.files.values().filter_map(|file| file.due_at).min();
        let left = due.map(|at| at.saturating_duration_since(Instant::now()));
        // Rounded up: a little late is better than again and again too early.
        let left = left.map(|left| left + Duration::from_millis(1));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let watched = self.inotify.as_ref().map(AsFd::as_fd);
        let both = [Some(self.shared.changed.as_fd()), watched];
        let both = both.into_iter().flatten();
        let mut both: Vec<PollFd> = both.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // Interrupted is as good as woken.
        let _ = poll(&mut both, timeout);
    }

    fn hear(&mut self) {
        let soon = Instant::now() + CALM;
        for _ in 0..READS_PER_TURN {
            let Some(inotify) = &self.inotify else { return };
            let Ok(events) = inotify.read_events() else {
                return;
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    self.files.values_mut().for_each(|file| file.soon(soon));
                    continue;
                }
                let concerned = self.watches.get(&event.wd).into_iter().flatten();
                for (name, path) in concerned {
                    let meant = name.is_none() || event.name.is_none() || *name == event.name;
                    if let Some(file) = self.files.get_mut(path).filter(|_| meant) {
                        file.soon(soon);
                    }
                }
            }
        }
    }
}

impl Followed {
    fn soon(&mut self, at: Instant) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }
}

fn shortage(error: Errno) -> String {
    match error {
        Errno::ENOSPC => "this host's bound on watches is reached, which \
                          fs.inotify.max_user_watches raises"
            .to_owned(),
        Errno::EMFILE => "this host's bound on watchers is reached, which \
                          fs.inotify.max_user_instances raises"
            .to_owned(),
        error => error.desc().to_owned(),
    }
}
