//! `vipward handover`, `vipward drain` and `vipward undrain`.

use std::process::ExitCode;
use std::time::Duration;

use super::agent::{self, AgentArgs};
use super::{output, unknown};
use crate::agent::moves::Order;
use crate::agent::values::{InstanceName, NodeName, is_name};
use crate::config::parse_duration;
use crate::control::client::{self, OrderAnswer};
use crate::control::moves::Wish;

const EXIT_CODES: &str = "Exit codes: 0; 1 when it was refused or broken off, or on missing permission;\n\
                          2 on a usage error; 3 when no agent answers.";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Over the peer link. The successor claims before the incumbent releases, so\n\
                  no packet is lost, unless hooks have to demote and promote a service. An\n\
                  instance moves with its group. Afterwards the successor is not preempted by\n\
                  the node that handed over, whatever the priorities, until it is lost, or\n\
                  `vipward undrain`. Where the instance is Active elsewhere, that node is asked.\n\n\
                  Exit codes: 0; 1 when it was refused or broken off, or on missing permission;\n\
                  2 on a usage error; 3 when no agent answers."
)]
pub struct Handover {
    /// The instance to move
    #[arg(value_parser = name)]
    instance: String,
    /// The node that takes over; the best able one without it
    #[arg(long, value_name = "NODE", value_parser = name)]
    to: Option<String>,
    /// Have this node do it, over the peer link
    #[arg(long, value_name = "NODE", value_parser = name)]
    node: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Gives the addresses up and stays out of the election, also across restarts,\n\
                  until `vipward undrain`. With a peer link the best able node takes over\n\
                  first, and it is refused when there is none; without one the instance\n\
                  resigns, answers until somebody has taken over, and stays Active when\n\
                  nobody does.\n\n\
                  Exit codes: 0; 1 when it was refused or broken off, or on missing permission;\n\
                  2 on a usage error; 3 when no agent answers."
)]
pub struct Drain {
    /// The instance to drain, with its group; all of them without it
    #[arg(value_parser = name)]
    instance: Option<String>,
    /// End the drain by itself after this time, such as 90s or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    span: Option<Duration>,
    /// Give the addresses up even when nobody takes over
    #[arg(long)]
    force: bool,
    /// Have this node do it, over the peer link
    #[arg(long, value_name = "NODE", value_parser = name)]
    node: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Undrain {
    /// The instance to bring back, with its group; all of them without it
    #[arg(value_parser = name)]
    instance: Option<String>,
    /// Have this node do it, over the peer link
    #[arg(long, value_name = "NODE", value_parser = name)]
    node: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

/// Instances and nodes are called so.
pub(super) fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(
            "a name has letters, digits, `-`, `_` and `.`, and begins with one of the first two"
                .to_owned(),
        ),
    }
}

pub fn handover(args: Handover) -> anyhow::Result<ExitCode> {
    let order = Order::Handover {
        instance: InstanceName::new(&args.instance),
        to: args.to.as_deref().map(NodeName::new),
    };
    ask(args.node, order, args.agent)
}

pub fn drain(args: Drain) -> anyhow::Result<ExitCode> {
    let order = Order::Drain {
        instance: args.instance.as_deref().map(InstanceName::new),
        span: args.span,
        force: args.force,
    };
    ask(args.node, order, args.agent)
}

pub fn undrain(args: Undrain) -> anyhow::Result<ExitCode> {
    let order = Order::Undrain {
        instance: args.instance.as_deref().map(InstanceName::new),
    };
    ask(args.node, order, args.agent)
}

fn ask(node: Option<String>, order: Order, agent: AgentArgs) -> anyhow::Result<ExitCode> {
    let node = node.as_deref().map(NodeName::new);
    let wish = Wish { node, order };
    let socket = agent.socket();
    match client::request_order(&socket, &wish) {
        Ok(OrderAnswer::Done(text)) => {
            output::print(&format!("{text}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(OrderAnswer::Refused(why)) => {
            output::complain(&unknown::in_order(&socket, &wish).unwrap_or(why));
            Ok(ExitCode::FAILURE)
        }
        Ok(OrderAnswer::Forbidden(why)) => {
            output::complain(&why);
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Ok(agent::no_answer(&error)),
    }
}
