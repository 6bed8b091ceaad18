//! One file per subcommand.

use std::process::ExitCode;

mod demo;
mod run;
mod status;
pub mod validate;

pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
