//! `vipward schema`.

use std::process::ExitCode;

use super::output;
use crate::config::schema;

pub fn run() -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&schema::document())?;
    output::print(&(text + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
