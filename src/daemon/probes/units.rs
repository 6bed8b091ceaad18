//! Whether a unit is active, asked of systemd over the system bus.

use std::sync::{Mutex, PoisonError};

use zbus::OwnedObjectPath;
use zbus::connection::{Builder, Connection};

use super::outcome::{Doing, Trouble, quoted};

/// Name, description, how it was loaded, active state, sub-state, whom it
/// follows, path, and the job that is queued for it: its number, kind, path.
type Unit = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// One connection for all, made when first needed and again after a failure.
pub(super) struct Bus {
    /// `None`: the system's, or what `DBUS_SYSTEM_BUS_ADDRESS` says.
    address: Option<String>,
    connection: Mutex<Option<Connection>>,
    /// Held by the one that connects; the others take what it got.
    connecting: tokio::sync::Mutex<()>,
}

impl Bus {
    pub fn new() -> Self {
        Self {
            address: None,
            connection: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// In words what it does.
    pub async fn probe(&self, unit: &str, doing: &Doing) -> Result<String, Trouble> {
        let connection = self.connect(doing).await?;
        doing.now("while asking systemd over the system bus".to_owned());
        let mut using = Using {
            bus: self,
            well: false,
        };
        let reply = connection
            .call_method(
                Some("org.freedesktop.systemd1"),
                "/org/freedesktop/systemd1",
                Some("org.freedesktop.systemd1.Manager"),
                "ListUnitsByNames",
                &(vec![unit],),
            )
            .await;
        let units = reply.and_then(|reply| reply.body().deserialize::<Vec<Unit>>());
        let units = units.map_err(|error| {
            Trouble::NotRun(format!(
                "systemd cannot be asked over the system bus: {}",
                quoted(&error.to_string())
            ))
        })?;
        using.well = true;
        match units.as_slice() {
            [unit] => judge(unit),
            _ => Err(Trouble::NotRun(
                "systemd gave no answer about it".to_owned(),
            )),
        }
    }

    async fn connect(&self, doing: &Doing) -> Result<Connection, Trouble> {
        doing.now("while connecting to the system bus".to_owned());
        let _alone = self.connecting.lock().await;
        let known = self.locked().clone();
        if let Some(connection) = known.filter(|connection| !connection.is_closed()) {
            return Ok(connection);
        }
        let builder = match &self.address {
            None => Builder::system(),
            Some(address) => Builder::address(address.as_str()),
        };
        let connection = builder.build().await.map_err(|error| {
            Trouble::NotRun(format!(
                "the system bus cannot be reached: {}; is D-Bus running?",
                quoted(&error.to_string())
            ))
        })?;
        *self.locked() = Some(connection.clone());
        Ok(connection)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question over the connection. Given up on the way, or failed, it lets the
/// next one connect anew.
struct Using<'b> {
    bus: &'b Bus,
    well: bool,
}

impl Drop for Using<'_> {
    fn drop(&mut self) {
        if !self.well {
            *self.bus.locked() = None;
        }
    }
}

/// As `systemctl is-active`: a unit that reloads serves.
fn judge(unit: &Unit) -> Result<String, Trouble> {
    let (name, _, loaded, active, sub, ..) = unit;
    let state = format!("{active} ({sub})");
    match (loaded.as_str(), active.as_str()) {
        (_, "active" | "reloading" | "refreshing") => Ok(state),
        ("not-found", _) => Err(Trouble::Failed(format!(
            "there is no unit {}",
            quoted(name)
        ))),
        ("masked" | "bad-setting" | "error", _) => Err(Trouble::Failed(format!(
            "the unit {} is {state}, and cannot be started: {loaded}",
            quoted(name)
        ))),
        _ => Err(Trouble::Failed(format!(
            "the unit {} is {state}",
            quoted(name)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::UnixListener;
    use tokio::time::timeout;

    use super::*;

    fn unit(loaded: &str, active: &str, sub: &str) -> Unit {
        let text = str::to_owned;
        let path = || OwnedObjectPath::try_from("/").expect("a path");
        (
            text("web.service"),
            text("Web"),
            text(loaded),
            text(active),
            text(sub),
            String::new(),
            path(),
            0,
            String::new(),
            path(),
        )
    }

    #[test]
    fn what_serves_is_active() {
        for (loaded, active, sub, told) in [
            ("loaded", "active", "running", Ok("active (running)")),
            ("loaded", "reloading", "reload", Ok("reloading (reload)")),
            (
                "loaded",
                "failed",
                "failed",
                Err("the unit `web.service` is failed (failed)"),
            ),
            (
                "loaded",
                "activating",
                "auto-restart",
                Err("the unit `web.service` is activating (auto-restart)"),
            ),
            (
                "not-found",
                "inactive",
                "dead",
                Err("there is no unit `web.service`"),
            ),
            (
                "masked",
                "inactive",
                "dead",
                Err("the unit `web.service` is inactive (dead), and cannot be started: masked"),
            ),
        ] {
            let told = told.map(str::to_owned);
            let told = told.map_err(|why| Trouble::Failed(why.to_owned()));
            assert_eq!(judge(&unit(loaded, active, sub)), told);
        }
    }

    fn at(path: &std::path::Path) -> Bus {
        Bus {
            address: Some(format!("unix:path={}", path.display())),
            connection: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    #[tokio::test]
    async fn without_a_bus_nothing_is_concluded() {
        let root = tempfile::tempdir().expect("a directory");
        let bus = at(&root.path().join("nowhere"));
        let told = bus.probe("web.service", &Doing::default()).await;
        match told {
            Err(Trouble::NotRun(why)) => assert!(why.contains("cannot be reached"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_bus_that_hangs_or_lies_ends_with_the_probe() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("bus");
        let listener = UnixListener::bind(&path).expect("a socket");
        let bus = at(&path);
        let doing = Doing::default();
        let asked = timeout(Duration::from_millis(200), bus.probe("web.service", &doing));
        assert!(asked.await.is_err(), "nobody answers");
        assert_eq!(doing.take(), "while connecting to the system bus");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.try_write(b"\0\xff\r\nHTTP/1.1 200 OK\r\n\r\n");
            }
        });
        let asked = timeout(Duration::from_secs(10), bus.probe("web.service", &doing));
        match asked.await {
            Ok(Err(Trouble::NotRun(why))) => assert!(why.contains("cannot be reached"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
