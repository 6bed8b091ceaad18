//! Names to addresses, by the host's own resolver: the one that reads
//! /etc/hosts too. It blocks for as long as it likes, so it runs on threads of
//! its own, and few of them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::outcome::{Doing, Trouble};

/// Names resolved at once. At the bound a probe waits, and is failed at its
/// time-out; a stuck resolver holds no more threads than these.
pub(super) const NAMES_AT_ONCE: usize = 4;

type Answer = Result<Vec<IpAddr>, Arc<str>>;
/// Empty until the resolver answered.
type Pending = watch::Receiver<Option<Answer>>;
/// What asks the host's resolver, blocking.
type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

pub(super) struct Resolver {
    lookup: Lookup,
    slots: Arc<Semaphore>,
    /// A name is asked for once at a time, so that one slow name cannot take
    /// every slot. At most [`NAMES_AT_ONCE`] entries.
    under_way: Arc<Mutex<HashMap<String, Pending>>>,
}

impl Resolver {
    pub fn new() -> Self {
        Self::with(of_the_host)
    }

    fn with(lookup: Lookup) -> Self {
        Self {
            lookup,
            slots: Arc::new(Semaphore::new(NAMES_AT_ONCE)),
            under_way: Arc::default(),
        }
    }

    /// Never empty. May be given up at any time: the lookup itself goes on,
    /// and keeps its slot until it ends.
    pub async fn addresses(&self, name: &str, doing: &Doing) -> Result<Vec<IpAddr>, Trouble> {
        doing.now(format!("while resolving the name `{name}`"));
        let answer = match self.join(name).await {
            Some(answer) => answer,
            None => self.start(name).await?,
        };
        match answer {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            Ok(_) => Err(Trouble::Failed(format!("the name `{name}` has no address"))),
            Err(reason) => Err(Trouble::Failed(format!(
                "the name `{name}` does not resolve: {reason}"
            ))),
        }
    }

    async fn join(&self, name: &str) -> Option<Answer> {
        let mut pending = locked(&self.under_way).get(name).cloned()?;
        wait(&mut pending).await
    }

    async fn start(&self, name: &str) -> Result<Answer, Trouble> {
        let broken = || Trouble::NotRun("the thread that resolves names failed".to_owned());
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| broken())?;
        // Another probe may have started the same name meanwhile.
        if let Some(answer) = self.join(name).await {
            return Ok(answer);
        }
        let (done, mut pending) = watch::channel(None);
        locked(&self.under_way).insert(name.to_owned(), pending.clone());
        let entry = Entry {
            under_way: Arc::clone(&self.under_way),
            name: name.to_owned(),
        };
        let lookup = self.lookup;
        tokio::task::spawn_blocking(move || {
            let answer = lookup(&entry.name).map_err(|error| reason(&error).into());
            // Taken out first: who comes later asks anew.
            drop(entry);
            drop(slot);
            done.send_replace(Some(answer));
        });
        wait(&mut pending).await.ok_or_else(broken)
    }
}

/// A name under way; taken out also when the lookup panics.
struct Entry {
    under_way: Arc<Mutex<HashMap<String, Pending>>>,
    name: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        locked(&self.under_way).remove(&self.name);
    }
}

async fn wait(pending: &mut Pending) -> Option<Answer> {
    let answer = pending.wait_for(Option::is_some).await.ok()?;
    answer.clone()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_the_host(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    // The port is only there because the call wants one.
    for address in (name, 0).to_socket_addrs()? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    Ok(addresses)
}

/// What the resolver says, without the library's preamble.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once("address information: ") {
        Some((_, reason)) => reason.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use tokio::time::timeout;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    }

    #[test]
    fn localhost_is_known() {
        runtime().block_on(async {
            let resolver = Resolver::new();
            let doing = Doing::default();
            let addresses = resolver.addresses("localhost", &doing).await.expect("it");
            assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
        });
    }

    #[test]
    fn a_stuck_resolver_holds_few_threads_and_is_asked_once_for_a_name() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn stuck(_: &str) -> io::Result<Vec<IpAddr>> {
            ASKED.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(2));
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        }
        let runtime = runtime();
        let started = Instant::now();
        runtime.block_on(async {
            let resolver = Arc::new(Resolver::with(stuck));
            let ask = |name: String| {
                let resolver = Arc::clone(&resolver);
                async move {
                    let doing = Doing::default();
                    let wait = Duration::from_millis(200);
                    let gave_up = timeout(wait, resolver.addresses(&name, &doing))
                        .await
                        .is_err();
                    (gave_up, doing.take())
                }
            };
            let mut all = tokio::task::JoinSet::new();
            (0..20).for_each(|_| drop(all.spawn(ask("same".to_owned()))));
            for (gave_up, doing) in all.join_all().await {
                assert!(gave_up);
                assert_eq!(doing, "while resolving the name `same`");
            }
            assert_eq!(ASKED.load(Ordering::SeqCst), 1);
            let mut all = tokio::task::JoinSet::new();
            (0..50).for_each(|n| drop(all.spawn(ask(format!("name{n}")))));
            assert!(all.join_all().await.iter().all(|(gave_up, _)| *gave_up));
            assert_eq!(ASKED.load(Ordering::SeqCst), NAMES_AT_ONCE);
            assert_eq!(locked(&resolver.under_way).len(), NAMES_AT_ONCE);
        });
        assert!(started.elapsed() < Duration::from_secs(2), "it waited");
        runtime.shutdown_background();
    }

    #[test]
    fn waiting_probes_get_the_answer_of_the_one_that_asked() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn slow(_: &str) -> io::Result<Vec<IpAddr>> {
            ASKED.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            Err(io::Error::other(
                "failed to lookup address information: Name or service not known",
            ))
        }
        runtime().block_on(async {
            let resolver = Resolver::with(slow);
            let doing = Doing::default();
            let (one, two) = tokio::join!(
                resolver.addresses("x", &doing),
                resolver.addresses("x", &doing)
            );
            let said = "the name `x` does not resolve: Name or service not known";
            assert_eq!(one, Err(Trouble::Failed(said.to_owned())));
            assert_eq!(two, one);
            assert_eq!(ASKED.load(Ordering::SeqCst), 1);
            assert!(locked(&resolver.under_way).is_empty());
        });
    }
}
