//! All the targets in one program, so that the crate is linked once; libFuzzer
//! brings `main`, and takes every word on the command line for its own. So the
//! target is named by `VIPWARD_FUZZ_TARGET`.

#![no_main]

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vipward_fuzz::{TARGETS, Target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("VIPWARD_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let Some((_, run)) = found else {
        let names = TARGETS.map(|(target, _)| target).join(", ");
        eprintln!("VIPWARD_FUZZ_TARGET is {name:?}; it must be one of {names}");
        exit(2);
    };
    *run
}

fuzz_target!(|data: &[u8]| CHOSEN.get_or_init(chosen)(data));
