use std::process::ExitCode;

fn main() -> ExitCode {
    vipward::cli::main()
}
