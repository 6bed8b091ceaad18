//! `vipward completions`.

use std::process::ExitCode;

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

use super::output;

/// Those that the packages install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: For,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let text = String::from_utf8(completions(args.shell))?;
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: For) -> Vec<u8> {
    let shell = match shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut super::Cli::command(), "vipward", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_every_command_that_is_shown() {
        for shell in For::value_variants() {
            let text = String::from_utf8(completions(*shell)).unwrap();
            for command in crate::cli::Cli::command().get_subcommands() {
                let shown = !command.is_hide_set();
                let name = command.get_name();
                assert!(text.contains(name) || !shown, "{shell:?}: {name}");
            }
            let option = if matches!(shell, For::Fish) {
                "-l print"
            } else {
                "--print"
            };
            assert!(text.contains(option), "{shell:?}");
        }
    }
}
