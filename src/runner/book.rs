//! What names stand for: the catalog as it was read last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::catalog::{Catalog, Script};
use super::crew::Name;
use super::message::Call;
use super::start::{Accounts, Launch};
use crate::agent::jobs::{CheckName, HookKind, HookOwner, Verdict};

/// Reads the configuration file: every program that may be started. Called
/// on a thread of its own; it may block.
pub type Loader = dyn Fn() -> Result<Catalog, String> + Send + Sync;

pub struct Book {
    loader: Arc<Loader>,
    /// Nothing until the file was read for the first time, an error until it
    /// was good; a bad one later changes nothing.
    catalog: watch::Sender<Option<Result<Arc<Catalog>, String>>>,
    /// The hooks of instances and groups that the last change took away: what
    /// leaves is still told, and its `before_release` is awaited.
    leaving: Mutex<BTreeMap<(HookOwner, HookKind), Script>>,
    accounts: Arc<Accounts>,
}

impl Book {
    /// Nothing was read yet.
    pub fn new(loader: Arc<Loader>) -> Self {
        Self {
            loader,
            catalog: watch::Sender::new(None),
            leaving: Mutex::default(),
            accounts: Arc::default(),
        }
    }

    /// The digest of what was read; the old catalog stays when the new one has
    /// a fault.
    pub async fn reload(&self) -> Result<String, String> {
        let loader = Arc::clone(&self.loader);
        let read = spawn_blocking(move || loader()).await;
        let outcome = read.unwrap_or_else(|error| Err(format!("reading it failed: {error}")));
        // Users may have changed as well.
        self.accounts.forget();
        match outcome {
            Ok(catalog) => {
                self.remember_leaving(&catalog);
                let digest = catalog.digest();
                let _ = self.catalog.send_replace(Some(Ok(Arc::new(catalog))));
                Ok(digest)
            }
            Err(error) => {
                tracing::error!("the configuration was not taken over: {error}");
                self.catalog.send_if_modified(|catalog| {
                    let none = !matches!(catalog, Some(Ok(_)));
                    if none {
                        *catalog = Some(Err(error.clone()));
                    }
                    none
                });
                Err(error)
            }
        }
    }

    fn remember_leaving(&self, new: &Catalog) {
        let Ok(before) = self.catalog() else {
            return;
        };
        if before.hooks == new.hooks {
            return;
        }
        let stay: BTreeSet<&HookOwner> = new.hooks.keys().map(|(owner, _)| owner).collect();
        let hooks = before.hooks.iter();
        let gone = hooks.filter(|((owner, _), _)| !stay.contains(owner));
        let gone = gone.map(|(key, script)| (key.clone(), script.clone()));
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = gone.collect();
    }

    fn leaving(&self, owner: &HookOwner, kind: HookKind) -> Option<Script> {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.get(&(owner.clone(), kind)).cloned()
    }

    /// Waits for the file to be read for the first time, whatever comes of it.
    pub async fn opened(&self) {
        // The sender is ours and lives.
        let _ = self.catalog.subscribe().wait_for(Option::is_some).await;
    }

    fn catalog(&self) -> Result<Arc<Catalog>, Verdict> {
        let catalog = self.catalog.borrow().clone();
        catalog
            .unwrap_or_else(|| Err("it was not read yet".to_owned()))
            .map_err(|error| Verdict::NotRun(format!("the runner has no configuration: {error}")))
    }

    /// What a check's name stands for.
    pub fn check(&self, name: &CheckName) -> Result<(Name, Launch), Verdict> {
        let catalog = self.catalog()?;
        let script = catalog
            .checks
            .get(name)
            .ok_or_else(|| unknown(format!("there is no script check {:?}", name.as_str())))?;
        let environment = vec![("VIPWARD_CHECK", name.as_str().to_owned())];
        let launch = self.launch(script, Vec::new(), environment, false);
        Ok((Name::Check(name.clone()), launch))
    }

    /// What a hook's call stands for, with the arguments and the environment
    /// that existing scripts know.
    pub fn hook(&self, call: &Call) -> Result<(Name, Launch), Verdict> {
        let catalog = self.catalog()?;
        let owner = call.owner.to_owner();
        let kind = HookKind::ALL
            .into_iter()
            .find(|kind| kind.name() == call.hook);
        let script = kind.and_then(|kind| {
            let present = catalog.hooks.get(&(owner.clone(), kind)).cloned();
            present.or_else(|| self.leaving(&owner, kind))
        });
        let (Some(kind), Some(script)) = (kind, script) else {
            let (hook, name) = (&call.hook, owner.name());
            let whose = match owner {
                HookOwner::Instance(_) => "",
                HookOwner::Group(_) => "group ",
            };
            return Err(unknown(format!(
                "there is no hook {hook:?} of {whose}{name:?}"
            )));
        };
        judge_words(call)?;
        let priority = call.priority.to_string();
        let arguments = match kind {
            HookKind::Change => vec![
                owner.word().to_owned(),
                owner.name().to_owned(),
                call.word.clone(),
                priority.clone(),
            ],
            HookKind::BeforeActive
            | HookKind::BeforeRelease
            | HookKind::Active
            | HookKind::Backup
            | HookKind::Fault => Vec::new(),
        };
        let named = match owner {
            HookOwner::Instance(_) => "VIPWARD_INSTANCE",
            HookOwner::Group(_) => "VIPWARD_GROUP",
        };
        let addresses: Vec<_> = call.addresses.iter().map(ToString::to_string).collect();
        let environment = vec![
            (named, owner.name().to_owned()),
            ("VIPWARD_STATE", call.state.clone()),
            ("VIPWARD_PREVIOUS", call.previous.clone()),
            ("VIPWARD_REASON", call.reason.clone()),
            ("VIPWARD_PRIORITY", priority),
            ("VIPWARD_ADDRESSES", addresses.join(" ")),
        ];
        Ok((
            Name::Hook(owner),
            self.launch(&script, arguments, environment, true),
        ))
    }

    fn launch(
        &self,
        script: &Script,
        arguments: Vec<String>,
        environment: Vec<(&'static str, String)>,
        may_leave: bool,
    ) -> Launch {
        Launch {
            may_leave,
            script: Arc::new(script.clone()),
            arguments,
            environment,
            accounts: Arc::clone(&self.accounts),
        }
    }
}

fn unknown(what: String) -> Verdict {
    Verdict::Refused(format!(
        "{what} in the configuration that the runner has read; it may be older than the agent's"
    ))
}

/// Nothing but words of ours reaches a program that may run as root.
fn judge_words(call: &Call) -> Result<(), Verdict> {
    let is_word = |text: &String| {
        text.len() <= 32
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let words = [&call.state, &call.previous, &call.reason];
    let known = ["MASTER", "BACKUP", "FAULT", "STOP"];
    if words.into_iter().all(is_word) && known.contains(&call.word.as_str()) {
        return Ok(());
    }
    Err(Verdict::Refused(format!(
        "the agent described the change in words that do not exist: {:?} {words:?}",
        call.word
    )))
}
