//! The whole core, told an arbitrary list of events.

mod host;
mod ledger;
mod packet;
mod plan;
mod script;

use arbitrary::{Arbitrary, Unstructured};

use host::Host;
use script::Script;

/// Every byte string is a story. After each event the ledger's rules hold; at
/// the end the agent is stopped and has to come to its end with nothing left
/// on the host.
pub fn agent(data: &[u8]) {
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let mut host = Host::new(script.plan.settings());
    for step in script.steps {
        host.step(step);
    }
    host.finish();
}
