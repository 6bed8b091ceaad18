//! `vipward manual`: the pages that the packages install, made of the help
//! and of the table behind the schema.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use crate::config::schema::{self, Row, Section};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write them; made where it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    write(&args.directory).with_context(|| {
        format!(
            "cannot write manual pages into {}",
            args.directory.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `vipward.8`, `vipward-COMMAND.8` for each command that is shown, and
/// `vipward.yaml.5`.
fn write(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = super::Cli::command().disable_help_subcommand(true);
    command.build();
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    for one in shown.cloned().collect::<Vec<_>>() {
        page(one).generate_to(directory)?;
    }
    let whole = page(command).generate_to(directory)?;
    let also = Roff::new()
        .control("SH", ["SEE ALSO"])
        .text([bold("vipward.yaml"), roman("(5)")])
        .to_roff();
    fs::OpenOptions::new()
        .append(true)
        .open(whole)?
        .write_all(also.as_bytes())?;
    fs::write(directory.join("vipward.yaml.5"), configuration())?;
    Ok(())
}

fn page(command: clap::Command) -> Man {
    let version = format!("vipward {}", env!("CARGO_PKG_VERSION"));
    Man::new(command)
        .section("8")
        .source(version)
        .manual("System Administration")
}

/// The page of the configuration file.
fn configuration() -> String {
    let mut page = Roff::new();
    let version = format!("vipward {}", env!("CARGO_PKG_VERSION"));
    let head = ["vipward.yaml", "5", "", &version, "File Formats"];
    page.control("TH", head);
    page.control("SH", ["NAME"]);
    page.text([roman("vipward.yaml - configuration of vipward")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("/etc/vipward/config.yaml")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in DESCRIPTION {
        page.text(inlines(paragraph));
        page.control("PP", []);
    }
    for section in schema::sections() {
        describe(&section, &mut page);
    }
    page.control("SH", ["FILES"]);
    for (file, what) in FILES {
        page.control("TP", []);
        page.text([bold(*file)]);
        page.text(inlines(what));
    }
    page.control("SH", ["SEE ALSO"]);
    let also = "(8), /usr/share/doc/vipward/configuration.md, which explains each part";
    page.text([bold("vipward"), roman(also)]);
    page.render()
}

const DESCRIPTION: [&str; 4] = [
    "One YAML file, and those that it includes. `vipward validate` judges it and names every fault \
     with its place; a file with a fault is not used at all. Unknown keys are faults.",
    "Durations are a number and a unit, such as `250ms`, `1.5s`, `2m`, `1h`, and are never rounded. \
     Booleans are `true` and `false`; what looks like another boolean or a number and is meant as \
     text stands in quotes.",
    "In a value `${NAME}` and `${NAME:-default}` stand for a variable of the environment, and `$${` \
     for `${` itself. Within braces or brackets such a value stands in quotes.",
    "Below, each kind of section with its keys.",
];

const FILES: &[(&str, &str)] = &[
    ("/etc/vipward/config.yaml", "the configuration"),
    (
        "/etc/vipward/environment",
        "variables for the values of the configuration, `NAME=value` lines; read by both services \
         when they start",
    ),
    (
        "/var/lib/vipward/events.log",
        "what happened; `vipward events` reads it",
    ),
    (schema::INSTALLED, "the JSON Schema, for editors"),
];

fn describe(section: &Section, page: &mut Roff) {
    page.control(
        "SH",
        [section.within.replace('`', "").to_uppercase().as_str()],
    );
    for Row {
        key,
        values,
        default,
        ..
    } in &section.rows
    {
        page.control("TP", []);
        page.text([bold(*key)]);
        let text = schema::plain(values).replace("\\|", "|");
        page.text(inlines(&text));
        page.control("br", []);
        page.text(match *default {
            schema::REQUIRED => inlines("Required."),
            default => inlines(&format!("Default: {}.", schema::plain(default))),
        });
    }
}

/// What stands between backticks is bold.
fn inlines(markdown: &str) -> Vec<Inline> {
    let pieces = markdown.split('`').enumerate();
    let pieces = pieces.filter(|(_, text)| !text.is_empty());
    pieces
        .map(|(index, text)| match index % 2 {
            0 => roman(text),
            _ => bold(text),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command_and_one_for_the_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let directory = folder.path().join("man");
        write(&directory).unwrap();
        let read = |name: &str| fs::read_to_string(directory.join(name)).expect(name);
        assert!(read("vipward.8").contains("vipward\\-validate(8)"));
        assert!(read("vipward-validate.8").contains("\\-\\-print"));
        assert!(read("vipward.8").contains("vipward.yaml"));
        assert!(!directory.join("vipward-guardian.8").exists());
        let page = read("vipward.yaml.5");
        for section in schema::sections() {
            for row in &section.rows {
                let key = row.key.replace('-', "\\-");
                assert!(page.contains(&format!("\\fB{key}\\fR")), "{key}");
            }
        }
        assert!(!page.contains('`'), "a backtick is left over");
    }
}
