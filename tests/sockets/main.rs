//! The sockets against the real kernel, each test between two hosts of its
//! own. Without the right to make network namespaces they are ignored, aloud.

mod adverts;
mod announcements;
mod link;
mod peer_link;

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sched::{CloneFlags, unshare};

fn main() {
    let arguments = Arguments::from_args();
    let attempt = std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
    let refused = match attempt {
        Ok(Ok(())) => false,
        outcome => {
            eprintln!(
                "SKIPPED: no test of the sockets can run, because this process may not make \
                 network namespaces ({outcome:?}); run it as root"
            );
            true
        }
    };
    let tests = adverts::TESTS.iter().chain(announcements::TESTS);
    let tests = tests.chain(peer_link::TESTS);
    let trials = tests
        .map(|&(name, test)| {
            Trial::test(name, move || in_own_thread(test)).with_ignored_flag(refused)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// A thread that changed its namespace is not given to another test.
fn in_own_thread(test: fn()) -> Result<(), Failed> {
    std::thread::spawn(test).join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Failed::from(text.unwrap_or_else(|| "it panicked".to_owned()))
    })
}

pub type Test = (&'static str, fn());
