//! Which agent a client command speaks to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output;
use crate::control::client::ClientError;
use crate::control::socket_path;

/// No agent answered.
pub const NO_ANSWER: u8 = 3;

#[derive(Debug, Default, clap::Args)]
pub struct AgentArgs {
    /// Control socket of the agent to ask
    #[arg(long, value_name = "PATH", conflicts_with = "runtime_dir")]
    pub socket: Option<PathBuf>,
    /// Runtime directory of the agent to ask
    ///
    /// Its control socket is DIR/control.sock. Without --socket and
    /// --runtime-dir it is $RUNTIME_DIRECTORY, then /run/vipward.
    #[arg(long, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
}

impl AgentArgs {
    pub fn socket(self) -> PathBuf {
        self.resolve(std::env::var_os("RUNTIME_DIRECTORY"))
    }

    fn resolve(self, environment: Option<OsString>) -> PathBuf {
        let Self {
            socket,
            runtime_dir,
        } = self;
        let environment = environment.filter(|value| !value.is_empty());
        socket.unwrap_or_else(|| {
            let directory = runtime_dir.or(environment.map(PathBuf::from));
            socket_path(directory.as_deref().unwrap_or(Path::new("/run/vipward")))
        })
    }
}

/// Says why there was no answer.
pub fn no_answer(error: &ClientError) -> ExitCode {
    output::complain(&error.to_string());
    ExitCode::from(NO_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Some("/s"), None, Some("/env"), "/s")]
    #[case(None, Some("/dir"), Some("/env"), "/dir/control.sock")]
    #[case(None, None, Some("/env"), "/env/control.sock")]
    #[case(None, None, Some(""), "/run/vipward/control.sock")]
    #[case(None, None, None, "/run/vipward/control.sock")]
    fn the_nearest_wish_wins(
        #[case] socket: Option<&str>,
        #[case] runtime_dir: Option<&str>,
        #[case] environment: Option<&str>,
        #[case] path: &str,
    ) {
        let args = AgentArgs {
            socket: socket.map(PathBuf::from),
            runtime_dir: runtime_dir.map(PathBuf::from),
        };
        let resolved = args.resolve(environment.map(OsString::from));
        assert_eq!(resolved, PathBuf::from(path));
    }
}
