//! The runner as a process, real scripts, the agent's side of it. Where this
//! process is not root, what needs another user is ignored, aloud.
//!
//! Started as `... runner ...`, this program *is* the runner, with a catalog
//! that it reads from the file given by `--config`, as JSON.

mod bounds;
mod host;
mod lives;
mod scripts;
mod wire;

use libtest_mimic::{Arguments, Failed, Trial};

pub type Test = (&'static str, fn());

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("runner") {
        host::be_the_runner(words);
    }
    let arguments = Arguments::from_args();
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        eprintln!("SKIPPED: without root no script can be started as another user");
    }
    let for_all = [scripts::TESTS, bounds::TESTS, lives::TESTS, wire::TESTS].concat();
    let trials = for_all
        .into_iter()
        .map(|test| (test, false))
        .chain(scripts::TESTS_OF_ROOT.iter().map(|test| (*test, !root)))
        .map(|((name, test), ignored)| {
            Trial::test(name, move || run(test)).with_ignored_flag(ignored)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn run(test: fn()) -> Result<(), Failed> {
    std::thread::spawn(test).join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Failed::from(text.unwrap_or_else(|| "it panicked".to_owned()))
    })
}
