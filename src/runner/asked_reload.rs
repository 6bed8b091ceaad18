//! A runner that was asked to read its configuration, and whether it found
//! what the agent has found. Both read the files themselves, at moments and in
//! environments of their own.

use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct AskedReload {
    pub reply: oneshot::Sender<Result<(), String>>,
    /// Digest of the agent's scripts and hooks when it asked; `None` when it
    /// does not care.
    pub expected: Option<String>,
}

impl AskedReload {
    /// `error`: the old catalog stays; otherwise `digest` is of the new one.
    pub fn answered(self, error: Option<String>, digest: Option<String>) {
        let outcome = match error {
            Some(error) => {
                tracing::warn!("the runner keeps the configuration it has: {error}");
                Err(error)
            }
            None => {
                let outcome = self.compare(digest);
                if let Err(difference) = &outcome {
                    tracing::warn!("{difference}");
                }
                outcome
            }
        };
        // Whoever asked may have lost interest.
        let _ = self.reply.send(outcome);
    }

    fn compare(&self, digest: Option<String>) -> Result<(), String> {
        match (&self.expected, digest) {
            (Some(ours), Some(theirs)) if *ours != theirs => Err(format!(
                "the runner has read other scripts or hooks ({theirs}) than this agent ({ours}), \
                 and starts its own: the files have changed meanwhile, or the environment or the \
                 host name of the two differ. `vipward reload` reads them again; if it says so \
                 again, give vipward.service and vipward-runner.service the same environment and \
                 restart both"
            )),
            (Some(_) | None, _) => Ok(()),
        }
    }
}
