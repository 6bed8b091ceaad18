//! `vipward status`.

use std::io::IsTerminal;
use std::process::ExitCode;

use jiff::Timestamp;

use super::agent::{self, AgentArgs};
use super::{output, unknown, watch};
use crate::control::client;
use crate::control::document::{Document, Instance};
use crate::control::render::{self, Colour};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0; 1 when --is does not hold or there is no such instance;\n\
                  2 on a usage error; 3 when no agent answers within a second."
)]
pub struct Args {
    /// Only this instance, with everything that is known of it
    instance: Option<String>,
    /// Print the status document as JSON
    ///
    /// With INSTANCE its lists of instances hold that one alone.
    #[arg(long)]
    json: bool,
    /// Print nothing; exit 0 when the instance is in this state, else 1
    ///
    /// Without INSTANCE it must hold for every instance. Active means also
    /// that every required address is held.
    #[arg(long, value_name = "STATE")]
    is: Option<Is>,
    /// Show all of it on the whole screen, and follow what changes
    ///
    /// With keys to hand over, drain and undrain. Survives restarts of the
    /// agent; q ends it.
    #[arg(long, conflicts_with_all = ["instance", "json", "is"])]
    watch: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Is {
    Active,
    Backup,
    Fault,
    Initialize,
    Drained,
}

impl Is {
    fn holds(self, instance: &Instance) -> bool {
        let state = instance.state.as_str();
        match self {
            Is::Active => {
                let mut required = instance.addresses.iter().filter(|one| one.required);
                state == "active" && required.all(|address| address.held)
            }
            Is::Backup => state == "backup",
            Is::Fault => state == "fault",
            Is::Initialize => state == "initialize",
            Is::Drained => state == "drained",
        }
    }

    /// Of nothing nothing holds: a script that waits for an address must not
    /// be told that it is there.
    fn holds_for_all(self, instances: &[Instance]) -> bool {
        !instances.is_empty() && instances.iter().all(|instance| self.holds(instance))
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let socket = args.agent.socket();
    if args.watch {
        return watch::run(&socket);
    }
    let fetched = client::fetch_status_text(&socket, client::TIMEOUT)
        .and_then(|text| Ok((client::parse_status(&socket, &text)?, text)));
    let (mut document, mut text) = match fetched {
        Ok(fetched) => fetched,
        Err(error) => return Ok(agent::no_answer(&error)),
    };
    if let Some(name) = &args.instance {
        if document.instance(name).is_none() {
            output::complain(&unknown::instance(&document, name));
            return Ok(ExitCode::FAILURE);
        }
        retain(&mut document, name);
        if args.json {
            text = document.to_json()?;
        }
    }
    if args.json {
        output::print(&text)?;
    } else if args.is.is_none() {
        output::print(&for_people(&document, args.instance.as_deref()))?;
    }
    let holds = args
        .is
        .is_none_or(|is| is.holds_for_all(&document.instances));
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// This instance alone, on every node.
fn retain(document: &mut Document, name: &str) {
    document.instances.retain(|one| one.name == name);
    for node in &mut document.nodes {
        node.instances.retain(|one| one.name == name);
        node.last_known.retain(|one| one.name == name);
    }
}

/// For standard output.
pub(super) fn colour() -> Colour {
    // https://no-color.org: set and not empty.
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match std::io::stdout().is_terminal() && !refused {
        true => Colour::On,
        false => Colour::Off,
    }
}

fn for_people(document: &Document, instance: Option<&str>) -> String {
    let now = Timestamp::now();
    let colour = colour();
    match instance.and_then(|name| document.instance(name)) {
        Some(instance) => render::detail(document, instance, now, colour),
        None => render::overview(document, now, colour),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample;
    use rstest::rstest;

    // The sample: web is active and whole, db is active without a required
    // address, api is active without one that is not required, mail is in
    // fault, cache is backup, fresh is in initialize.
    #[rstest]
    #[case(&["web"], Is::Active, true)]
    #[case(&["web"], Is::Backup, false)]
    #[case(&["web"], Is::Fault, false)]
    #[case(&["web"], Is::Initialize, false)]
    #[case(&["db"], Is::Active, false)]
    #[case(&["db"], Is::Backup, false)]
    #[case(&["api"], Is::Active, true)]
    #[case(&["mail"], Is::Fault, true)]
    #[case(&["mail"], Is::Initialize, false)]
    #[case(&["cache"], Is::Backup, true)]
    #[case(&["cache"], Is::Active, false)]
    #[case(&["fresh"], Is::Initialize, true)]
    #[case(&["web", "api"], Is::Active, true)]
    #[case(&["web", "api", "cache"], Is::Active, false)]
    #[case(&["web", "db"], Is::Active, false)]
    #[case(&[], Is::Active, false)]
    #[case(&[], Is::Backup, false)]
    fn is_holds(#[case] names: &[&str], #[case] is: Is, #[case] holds: bool) {
        let mut document = sample::document();
        document
            .instances
            .retain(|instance| names.contains(&instance.name.as_str()));
        assert_eq!(document.instances.len(), names.len());
        assert_eq!(is.holds_for_all(&document.instances), holds);
    }

    #[test]
    fn with_an_instance_every_node_is_cut_to_it() {
        let mut document = sample::cluster();
        retain(&mut document, "web");
        let [lb2, lb3] = &document.nodes[..] else {
            panic!("two nodes")
        };
        assert_eq!((document.instances.len(), lb2.instances.len()), (1, 1));
        assert_eq!(lb2.instances[0].name, "web");
        assert_eq!(lb3.last_known.len(), 1);
        retain(&mut document, "mail");
        assert!(document.nodes.iter().all(|node| node.instances.is_empty()));
        assert!(document.nodes[1].last_known.is_empty());
    }
}
