//! `vipward import`: keepalived.conf to a configuration of vipward. Reads that
//! file and those that it includes; touches neither the network nor keepalived.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{configured, output, validate};
use crate::config::import::{self, Host};
use crate::config::{self, Faults, Loaded, Style};

const SOMETHING_LEFT: u8 = 3;
const MATCHES_MAX: usize = 256;

const HELP: &str = "The configuration goes to standard output, or to the file of -o; it passes \
`vipward validate`. What could not be carried over, and what behaves differently, is listed on \
standard error with its place; the former stands above the configuration too.

Exit code 0: all was carried over. 3: the configuration is written, and something is left to be \
done by hand. 1: nothing is written, because the file could not be understood or holds no \
instance that could be carried over.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The file of keepalived
    #[arg(value_name = "FILE", default_value = "/etc/keepalived/keepalived.conf")]
    file: PathBuf,

    /// Write to this file, which must not exist yet, or be the example that a
    /// package has installed
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What keepalived is started with as --config-id: lines that begin with
    /// `@` and another word are for other hosts [default: the host's name up to
    /// the first dot]
    #[arg(long, value_name = "ID")]
    config_id: Option<String>,

    /// Write the keys that stand in the file of keepalived into files of their
    /// own in this directory, for the user of the service where there is one, or
    /// else for root; without it they are left to be done by hand
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// The file is of another host: scripts, key files and users are not looked
    /// for on this one
    #[arg(long)]
    elsewhere: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let host = ThisHost {
        elsewhere: args.elsewhere,
        keys: args.keys.clone(),
        kept: RefCell::default(),
    };
    let ended = carry_over(args, &host);
    if !matches!(ended, Ok(code) if code != ExitCode::FAILURE) {
        // Nothing names them.
        for path in host.kept.take() {
            let _ = std::fs::remove_file(path);
        }
    }
    ended
}

fn carry_over(args: &Args, host: &ThisHost) -> anyhow::Result<ExitCode> {
    let config_id = args.config_id.clone().unwrap_or_else(|| {
        let name = host.name();
        name.split('.').next().unwrap_or_default().to_owned()
    });
    let imported = match import::import(&args.file, &config_id, host) {
        Ok(imported) => imported,
        Err(faults) => {
            complain(&faults.render(style()));
            return Ok(ExitCode::FAILURE);
        }
    };
    complain(&import::list(&imported.entries));
    let left = imported.left().count();
    let Some(yaml) = imported.yaml else {
        output::complain(&format!(
            "{}: nothing was written: no `vrrp_instance` in it could be carried over",
            args.file.display()
        ));
        return Ok(ExitCode::FAILURE);
    };
    match &args.output {
        None => output::print(&yaml).context("the configuration could not be written")?,
        Some(path) => write(path, &yaml)?,
    }
    Ok(match left {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(SOMETHING_LEFT),
    })
}

fn style() -> Style {
    match std::io::stderr().is_terminal() {
        true => Style::Coloured,
        false => Style::Plain,
    }
}

fn complain(text: &str) {
    // There is nowhere left to report that this failed.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

/// Nothing that is there is overwritten, but for what nobody has written.
fn write(path: &Path, yaml: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let example = configured::is_as_shipped(path);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(!example)
        .truncate(example)
        .open(path)
        .with_context(|| format!("{shown} cannot be created, and nothing was written"))?;
    let written = file
        .write_all(yaml.as_bytes())
        .and_then(|()| file.sync_all());
    written.with_context(|| format!("{shown} could not be written, and is not complete"))
}

/// The machine that the import runs on.
struct ThisHost {
    elsewhere: bool,
    keys: Option<PathBuf>,
    /// The key files of this run.
    kept: RefCell<Vec<PathBuf>>,
}

/// A key file that was not there, which nobody but the agent may read: the user
/// of the service, where a package has installed one and we are root.
fn write_key(directory: &Path, name: &str, key: &str) -> std::io::Result<PathBuf> {
    let user = validate::service_user().map(|user| user.uid.as_raw());
    let made = !directory.exists();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    if made && user.is_some() {
        chown(directory, user, None)?;
    }
    let path = std::fs::canonicalize(directory)?.join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&path)?;
    let written = file
        .write_all(key.as_bytes())
        .and_then(|()| fchown(&file, user, None))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok(path)
}

impl Host for ThisHost {
    fn read(&self, path: &Path) -> Result<String, Faults> {
        import::read_file(path)
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let found = glob::glob(pattern).into_iter().flatten().flatten();
        found.take(MATCHES_MAX).collect()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        // A link and what it leads to are one file.
        let real = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        real.unwrap_or_else(|_| path.to_owned())
    }

    fn name(&self) -> String {
        let name = nix::unistd::gethostname().ok();
        name.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned())
            .unwrap_or_default()
    }

    fn has_user(&self, name: &str) -> bool {
        !self.elsewhere && matches!(nix::unistd::User::from_name(name), Ok(Some(_)))
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let places = [
            "/usr/local/sbin",
            "/usr/local/bin",
            "/usr/sbin",
            "/usr/bin",
            "/sbin",
            "/bin",
        ];
        let mut paths = places.iter().map(|place| Path::new(place).join(name));
        paths.find(|path| !self.elsewhere && path.is_file())
    }

    fn judge(&self, loaded: &Loaded) -> Result<(), Faults> {
        if self.elsewhere {
            return Ok(());
        }
        config::inspect_scripts(loaded, &validate::inspect)?;
        config::read_keys(loaded).map(drop)
    }

    fn keep_key(&self, name: &str, key: &str) -> Result<Option<PathBuf>, String> {
        let Some(directory) = &self.keys else {
            return Ok(None);
        };
        let path = write_key(directory, name, key).map_err(|error| {
            let path = directory.join(name);
            format!(
                "the key could not be written to {}: {error}",
                path.display()
            )
        })?;
        self.kept.borrow_mut().push(path.clone());
        Ok(Some(path))
    }
}
