//! One host: a real systemd as its first process, on a copy of its own of the
//! system that tests/machine.sh made, in a network namespace.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Host, LONG, isolation, vip, vip6, wait, wait_until, write};

/// One command inside; nothing here takes half as long.
const COMMAND_LONGEST_S: &str = "60";
/// From the start of the container to `running`.
const BOOT_LONGEST: Duration = Duration::from_secs(60);
const UNITS: [&str; 2] = ["vipward.service", "vipward-runner.service"];

pub struct Machine {
    pub name: &'static str,
    pub host: Host,
    id: String,
    folder: PathBuf,
    group: PathBuf,
    /// The container program, outside; its child is the first process inside.
    container: Child,
}

/// What is on a machine beside the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The program and its units, as built here.
    Program,
    /// Nothing, as on a host before it is installed.
    Nothing,
    /// The same, on a system that has other package managers.
    Tools,
}

/// What is the same on every machine: program, units, the agent's user, and some
/// that are in its group or another.
fn layer() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let layer = PathBuf::from("/run/layer");
        let put = |from: &Path, to: &str| {
            let to = layer.join(to);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        };
        put(Path::new(env!("CARGO_BIN_EXE_vipward")), "usr/bin/vipward");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
        for unit in UNITS {
            let to = format!("usr/lib/systemd/system/{unit}");
            put(&source.join(unit), &to);
        }
        for (file, more) in [
            ("etc/group", "vipward:x:900:\nops:x:901:\n"),
            (
                "etc/passwd",
                "reader:x:900:900::/:/bin/sh\nops:x:901:901::/:/bin/sh\n\
                 vipward:x:902:900::/:/usr/sbin/nologin\n",
            ),
        ] {
            let text = fs::read_to_string(isolation::tree().join(file)).expect("a list");
            write(&layer.join(file), &format!("{text}{more}"));
        }
        layer
    })
}

impl Machine {
    /// Begins to boot.
    pub fn start(name: &'static str, host: Host, content: Content) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{name}-{number}");
        let folder = PathBuf::from(format!("/run/machines/{id}"));
        let part = |part: &str| {
            let path = folder.join(part);
            fs::create_dir_all(&path).expect("a folder");
            path.to_str().expect("a plain name").to_owned()
        };
        let (root, upper, work) = (part("root"), part("upper"), part("work"));
        let tree = isolation::tree().display().to_string();
        let lower = match content {
            Content::Program => format!("{}:{tree}", layer().display()),
            Content::Nothing => tree,
            Content::Tools => isolation::tools().display().to_string(),
        };
        let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let overlay = Some("overlay");
        mount(
            overlay,
            root.as_str(),
            overlay,
            MsFlags::empty(),
            Some(layers.as_str()),
        )
        .expect("an overlay");
        let file = |file: &str, text: &str| write(&folder.join("root/etc").join(file), text);
        // For what scripts of any user have to say.
        let told = folder.join("root/var/told");
        fs::create_dir(&told).expect("a folder");
        fs::set_permissions(&told, Permissions::from_mode(0o1777)).expect("its mode");
        file("machine-id", &format!("{:032x}\n", number + 1));
        file("hostname", &format!("{name}\n"));
        file(
            "hosts",
            &format!("127.0.0.1 localhost {name}\n::1 localhost\n"),
        );
        let group = isolation::group().join(&id);
        fs::create_dir(&group).expect("a control group");
        let container = container(&folder, &group, &id, name, &host);
        Self {
            name,
            host,
            id,
            folder,
            group,
            container,
        }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub fn configure(&self, text: &str) {
        write(&self.root().join("etc/vipward/config.yaml"), text);
    }

    /// Adds to a unit, as `systemctl edit` does.
    pub fn edit(&self, unit: &str, text: &str) {
        let folder = self.root().join(format!("etc/systemd/system/{unit}.d"));
        write(&folder.join("edit.conf"), text);
        self.sh("systemctl daemon-reload");
    }

    #[track_caller]
    pub fn wait_booted(&self) {
        wait("the machine to be up", BOOT_LONGEST, || {
            let output = self.try_sh("systemctl is-system-running");
            match text(&output.stdout) {
                "running" => Ok(()),
                seen => Err(format!(
                    "{}: {seen:?} {:?}; {}",
                    self.name,
                    text(&output.stderr),
                    self.console()
                )),
            }
        });
    }

    /// It was switched off from inside. True if it is to be switched on again.
    #[track_caller]
    pub fn wait_off(&mut self) -> bool {
        let (name, container) = (self.name, &mut self.container);
        let ended = wait(&format!("{name} to be off"), LONG, || {
            let ended = container.try_wait().expect("a child");
            ended.ok_or_else(|| "it runs".to_owned())
        });
        // As the container program tells a service manager.
        ended.code() == Some(133)
    }

    /// Switched on again after [`Self::wait_off`]: the same disk, the same
    /// network.
    pub fn start_again(&mut self) {
        let Self { name, host, .. } = self;
        self.container = container(&self.folder, &self.group, &self.id, name, host);
    }

    /// The first process inside.
    pub fn first_process(&self) -> Option<u32> {
        let pid = self.container.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    fn console(&self) -> String {
        let text = fs::read(self.folder.join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// What a shell inside says, however it ends.
    pub fn try_sh(&self, script: &str) -> Output {
        let Some(first) = self.first_process() else {
            let failed = Command::new("false").output();
            return failed.expect("`false` exists");
        };
        Command::new("timeout")
            .args(["-k", "1", COMMAND_LONGEST_S, "nsenter", "-t"])
            .arg(first.to_string())
            .args(["-m", "-u", "-i", "-n", "-p", "-C", "--", "bash", "-c"])
            .arg(format!("cd /; {script}"))
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("nsenter")
    }

    /// What a shell inside prints. It must succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(
            output.status.success(),
            "{}: `{script}` failed with {:?}: {} {}",
            self.name,
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout).to_owned()
    }

    /// One property of a unit.
    #[track_caller]
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl show --value -p {property} {unit}"))
    }

    /// Of a unit's main process; 0 for none.
    #[track_caller]
    pub fn pid(&self, unit: &str) -> u32 {
        self.show(unit, "MainPID").parse().expect("a number")
    }

    /// A file, or nothing.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path.trim_start_matches('/'))).unwrap_or_default()
    }

    /// The document, or why there is none.
    pub fn status(&self) -> Result<Value, String> {
        let output = self.try_sh("vipward status --json");
        serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("{}: {}", self.name, text(&output.stderr)))
    }

    /// The instance `web` in it.
    pub fn web(&self) -> Result<Value, String> {
        let status = self.status()?;
        let web = status["instances"][0].clone();
        match web.is_null() {
            true => Err(status.to_string()),
            false => Ok(web),
        }
    }

    /// The check `name` in it, when `wanted` holds for it.
    pub fn check(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let status = self.status()?;
        let checks = status["checks"].as_array().cloned().unwrap_or_default();
        let found = checks.into_iter().find(|check| check["name"] == name);
        found
            .filter(wanted)
            .ok_or_else(|| status["checks"].to_string())
    }

    #[track_caller]
    pub fn wait_state(&self, state: &str) {
        wait(&format!("{} to be {state}", self.name), LONG, || {
            let web = self.web()?;
            match web["state"] == state {
                true => Ok(()),
                false => Err(web.to_string()),
            }
        });
    }

    /// Active, and every address is held.
    #[track_caller]
    pub fn wait_active(&self) {
        self.wait_state("active");
        let name = self.name;
        wait_until(&format!("the addresses on {name}"), LONG, || {
            [vip(), vip6()].into_iter().all(|vip| self.holds(vip))
        });
    }

    /// As the kernel has it; also of a machine that is off.
    /// Not what lingers on the loopback interface for a moment.
    pub fn holds(&self, address: IpAddr) -> bool {
        let found = self.host.namespace.ip_json("address show");
        let interfaces = found.as_array().cloned().unwrap_or_default();
        interfaces
            .iter()
            .filter(|interface| interface["ifname"] != "lo")
            .filter_map(|interface| interface["addr_info"].as_array())
            .flatten()
            .any(|found| found["local"] == address.to_string())
    }

    /// Both units' part of the journal, and what the manager says of them.
    pub fn journal(&self) -> String {
        self.journal_by("-u vipward -u vipward-runner")
    }

    pub fn journal_by(&self, filter: &str) -> String {
        let command = format!("journalctl --no-pager -o short-monotonic {filter}");
        let output = match self.first_process() {
            Some(_) => self.try_sh(&command),
            // Off: the file is read by a program of the same system.
            None => Command::new("chroot")
                .arg(self.root())
                .args(["sh", "-c", &format!("{command} -D /var/log/journal")])
                .output()
                .expect("chroot"),
        };
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("not UTF-8").trim()
}

/// The container program is that of the system inside, with its libraries, so
/// that nothing is asked of the host.
fn container(folder: &Path, group: &Path, id: &str, name: &str, host: &Host) -> Child {
    let tree = isolation::tree();
    let console = File::create(folder.join("console")).expect("a file");
    let mut libraries = String::new();
    for place in ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"] {
        let place = tree.join(place).display().to_string();
        let _ = write!(libraries, "{place}/systemd:{place}:");
    }
    let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"]
        .map(|loader| tree.join(loader))
        .into_iter()
        .find(|loader| loader.exists())
        .expect("the system's loader");
    Command::new("sh")
        .args(["-c", "echo 0 >\"$0/cgroup.procs\" && exec \"$@\""])
        .arg(group)
        .arg(loader)
        .args(["--library-path", libraries.trim_end_matches(':')])
        .arg(tree.join("usr/bin/systemd-nspawn"))
        .arg("-D")
        .arg(folder.join("root"))
        .args(["-M", id])
        .arg(format!("--hostname={name}"))
        .arg(format!(
            "--network-namespace-path=/run/netns/{}",
            host.namespace.name
        ))
        .args(["--quiet", "--boot", "--register=no", "--keep-unit"])
        .args(["--capability=CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_SYS_RESOURCE"])
        .args(["--resolv-conf=off", "--timezone=off"])
        .args(["--link-journal=no", "--console=pipe"])
        .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("a second descriptor"))
        .stderr(console)
        .spawn()
        .expect("a shell")
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.journal();
            eprintln!("--- {}, both units:\n{journal}---", self.name);
        }
        // With it everything inside ends.
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        let pid = i32::try_from(self.container.id()).unwrap_or(0);
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = self.container.wait();
        let end = Instant::now() + Duration::from_secs(2);
        while umount2(&self.root(), MntFlags::MNT_DETACH).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
