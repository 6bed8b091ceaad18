//! `vipward reload`.

use std::process::ExitCode;

use super::agent::{self, AgentArgs};
use super::output;
use crate::control::client::{self, ReloadAnswer};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The agent reads its own configuration file anew. A file with a fault changes\n\
                  nothing; a good one is applied as far as it differs.\n\n\
                  Exit codes: 0; 1 when the file has faults or was not applied, or on missing\n\
                  permission; 2 on a usage error; 3 when no agent answers."
)]
pub struct Args {
    #[command(flatten)]
    agent: AgentArgs,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let reason = match client::request_reload(&args.agent.socket()) {
        Ok(ReloadAnswer::Applied { summary, warnings }) => {
            for warning in warnings {
                output::complain(&format!("warning: {warning}"));
            }
            output::print(&format!("{summary}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(
            ReloadAnswer::Faulty(reason)
            | ReloadAnswer::Forbidden(reason)
            | ReloadAnswer::Failed(reason),
        ) => reason,
        Err(error) => return Ok(agent::no_answer(&error)),
    };
    output::complain(&reason);
    Ok(ExitCode::FAILURE)
}
