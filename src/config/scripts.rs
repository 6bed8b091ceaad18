//! Whether the scripts of a configuration may be run. Reading a configuration
//! looks at no other file; who wants to know hands in a function that does.

use super::command::Written;
use super::diagnostic::{Diagnostic, Faults};
use super::fault::{Finding, Sources};
use super::work::Script;
use super::{Loaded, Path};

/// A script, whose it is, and where its path stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    script: Script,
    /// To be given a title.
    fault: Diagnostic,
}

/// `whose` is "check `web`", for example.
pub(super) fn placed(
    written: &Written,
    whose: &str,
    path: &Path,
    sources: &Sources,
) -> Option<Placed> {
    let place = written.words.first()?.place;
    let finding = Finding::at(place, "", format!("the script of {whose}"))
        .help("it would be refused each time that it should run");
    Some(Placed {
        script: written.script.clone(),
        fault: finding.into_fault(path, sources),
    })
}

/// Asks `inspect` about each script of a check that is used, and of each hook;
/// its errors become faults at the script's path, in the order of the file. A
/// configuration with such faults can be used all the same: what is refused
/// here is refused again, and reported, when it should run.
///
/// # Errors
///
/// At least one script was refused; each reason is the title of a fault.
pub fn inspect_scripts(
    loaded: &Loaded,
    inspect: &dyn Fn(&Script) -> Result<(), String>,
) -> Result<(), Faults> {
    let refused = |placed: &Placed| {
        let reason = inspect(&placed.script).err()?;
        Some(placed.fault.clone().titled(reason))
    };
    let faults: Vec<Diagnostic> = loaded.scripts.iter().filter_map(refused).collect();
    match Faults::of_several(faults) {
        Some(faults) => Err(faults),
        None => Ok(()),
    }
}
