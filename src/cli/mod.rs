//! The command line: one file per subcommand, each with its `Args` and a
//! `run` that returns the exit code. An error that `run` returns is printed
//! as one line and exits 1; clap's own usage errors exit 2.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod agent;
mod cleanup;
mod completions;
mod configured;
mod demo;
mod doctor;
mod events;
mod guardian;
mod import;
mod keygen;
mod manual;
mod moves;
mod output;
mod reload;
mod run;
mod runner;
mod schema;
mod status;
mod unknown;
pub mod validate;
mod watch;

/// Keeps a virtual IP address on a healthy host.
///
/// Agents on two or more hosts elect by VRRP (versions 2 and 3) who holds the
/// addresses; the winner claims and announces them. It interoperates with
/// keepalived, so that a pair can be migrated one host at a time.
#[derive(Debug, Parser)]
#[command(name = "vipward", version, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent.
    Run(run::Args),
    /// Check a configuration file and say what it means.
    Validate(validate::ValidateArgs),
    /// Translate a keepalived.conf.
    Import(import::Args),
    /// Apply a changed configuration file to the running agent.
    Reload(reload::Args),
    /// Show who holds which address, since when, and what is wrong.
    Status(status::Args),
    /// Show what happened, when and why.
    Events(events::Args),
    /// Find what would keep failover from working on this host and pair.
    Doctor(doctor::Args),
    /// Move an instance to another node without losing a packet.
    Handover(moves::Handover),
    /// Give addresses up and stay out, also across restarts.
    Drain(moves::Drain),
    /// Take part again after a drain.
    Undrain(moves::Undrain),
    /// Make a key for authenticated advertisements.
    Keygen(keygen::Args),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Print the completions of a shell.
    Completions(completions::Args),
    /// Write the manual pages into a directory, for packages.
    #[command(hide = true)]
    Manual(manual::Args),
    /// Say whether there is a configuration to run, for the service manager.
    #[command(hide = true)]
    Configured(configured::Args),
    /// Remove addresses that a dead agent left.
    Cleanup(cleanup::Args),
    /// Watch over an agent, for the moment of its death.
    #[command(hide = true)]
    Guardian(guardian::Args),
    /// Start scripts and hooks for the agent.
    #[command(hide = true)]
    Runner(runner::Args),
    /// Watch a failover between two hosts in network namespaces here.
    Demo(demo::Args),
}

pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Validate(args) => Ok(validate::run(&args)),
        Command::Import(args) => import::run(&args),
        Command::Reload(args) => reload::run(args),
        Command::Status(args) => status::run(args),
        Command::Events(args) => events::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Handover(args) => moves::handover(args),
        Command::Drain(args) => moves::drain(args),
        Command::Undrain(args) => moves::undrain(args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Schema => schema::run(),
        Command::Completions(args) => completions::run(args),
        Command::Manual(args) => manual::run(&args),
        Command::Configured(args) => Ok(configured::run(&args)),
        Command::Cleanup(args) => cleanup::run(args),
        Command::Guardian(args) => guardian::run(args),
        Command::Runner(args) => runner::run(args),
        Command::Demo(args) => demo::run(args),
    };
    outcome.unwrap_or_else(|error| {
        output::complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
