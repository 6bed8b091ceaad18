//! Key files. The configuration names them; only who signs or verifies reads
//! them, so that neither a script's starter nor a client ever has a key.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Loaded;
use super::diagnostic::{Diagnostic, Faults, Severity, Warning};
use crate::agent::values::InstanceName;

/// Bytes of a key.
pub const KEY_BYTES_MIN: usize = 32;
pub const KEY_BYTES_MAX: usize = 64;
/// What a file may begin with: the key follows as hexadecimal digits.
pub const HEX: &str = "hex:";
/// As whom the packages run the agent.
pub const SERVICE_USER: &str = "vipward";
/// Enough for the longest key as text, with room for blanks at its end.
const FILE_BYTES_MAX: usize = 256;

/// The bytes of a key: never shown, and wiped from memory with the last copy.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes the only copy.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Every key that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Of every instance, by its number.
    pub instances: BTreeMap<(InstanceName, u8), Secret>,
    /// Of the peer link, where there is one.
    pub cluster: Option<Secret>,
}

/// Whom a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Instance(InstanceName, u8),
    Cluster,
}

/// A key file as it is named, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub owner: Owner,
    pub path: PathBuf,
    /// To be given a title and a remedy.
    pub fault: Diagnostic,
}

/// Reads every key that the configuration names. Never waits.
///
/// # Errors
///
/// Each key file that is missing, that others may read, or that holds no key,
/// as a fault at the place where it is named. Nothing of the files is shown.
pub fn read_keys(loaded: &Loaded) -> Result<Keys, Faults> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let mut keys = Keys::default();
    let mut faults = Vec::new();
    for placed in &loaded.key_files {
        match read(&placed.path, credentials.as_deref()) {
            Ok(secret) => match &placed.owner {
                Owner::Instance(instance, number) => {
                    keys.instances.insert((instance.clone(), *number), secret);
                }
                Owner::Cluster => keys.cluster = Some(secret),
            },
            Err(refusal) => {
                let title = match &placed.owner {
                    Owner::Instance(_, number) => format!("key {number}: {}", refusal.what),
                    Owner::Cluster => format!("key of the cluster: {}", refusal.what),
                };
                let fault = placed.fault.clone().titled(title);
                faults.push(fault.helped(refusal.remedy));
            }
        }
    }
    match Faults::of_several(faults) {
        Some(faults) => Err(faults),
        None => Ok(keys),
    }
}

/// A warning for each key file that is not `owner`'s, whose agent would be
/// refused it; named by `name`. Credentials are the service manager's affair.
pub fn keys_of_others(loaded: &Loaded, owner: u32, name: &str) -> Vec<Warning> {
    let closed = |placed: &&Placed| {
        let meta = std::fs::metadata(&placed.path);
        placed.path.is_absolute() && meta.is_ok_and(|meta| meta.uid() != owner)
    };
    let told = |placed: &Placed| {
        let shown = placed.path.display();
        let mut warning = placed.fault.clone();
        warning.severity = Severity::Warning;
        warning
            .titled(format!(
                "the service cannot read {shown}: it runs as {name}"
            ))
            .helped(format!("`chown {name} {shown}`, and its mode 0600 stays"))
    };
    loaded.key_files.iter().filter(closed).map(told).collect()
}

/// Why a file gives no key, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    what: String,
    remedy: String,
}

fn refusal<T>(what: impl Into<String>, remedy: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        what: what.into(),
        remedy: remedy.into(),
    })
}

fn read(named: &Path, credentials: Option<&Path>) -> Result<Secret, Refusal> {
    let path = match credentials {
        _ if named.is_absolute() => named.to_owned(),
        Some(directory) => directory.join(named),
        None => {
            return refusal(
                format!("{} is no absolute path", named.display()),
                "write the whole path; a name alone is looked for among the service manager's \
                 credentials, and there are none here ($CREDENTIALS_DIRECTORY is not set)",
            );
        }
    };
    let shown = path.display();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    format!(
                        "make one: `(umask 077; vipward keygen > {shown})`, and copy it to the peers"
                    )
                }
                std::io::ErrorKind::PermissionDenied => format!(
                    "the user that the agent runs as must own it, and get to it: `chown \
                     {SERVICE_USER} {shown}` where a package has installed it"
                ),
                _ => "try again".to_owned(),
            };
            return refusal(format!("cannot read {shown}: {error}"), remedy);
        }
    };
    judge(&file, &path)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    if let Err(error) = file.take(most).read_to_end(&mut bytes) {
        return refusal(format!("cannot read {shown}: {error}"), "try again");
    }
    let bytes = match bytes.strip_prefix(HEX.as_bytes()) {
        Some(text) => match from_hex(text.trim_ascii_end()) {
            Some(bytes) => bytes,
            None => {
                return refusal(
                    format!("{shown} begins with `{HEX}`, and what follows is not hexadecimal"),
                    "make another with `vipward keygen --hex`",
                );
            }
        },
        None => bytes,
    };
    let length = bytes.len();
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&length) {
        let found = match length {
            0 => "is empty".to_owned(),
            FILE_BYTES_MAX.. => "is no key file".to_owned(),
            _ => format!("holds {length} bytes"),
        };
        return refusal(
            format!("{shown} {found}, and a key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX}"),
            "make one with `vipward keygen`; text must begin with `hex:`",
        );
    }
    Ok(Secret::new(bytes))
}

/// Of the open file, so that none can be put in its place.
fn judge(file: &File, path: &Path) -> Result<(), Refusal> {
    let shown = path.display();
    let meta = match file.metadata() {
        Ok(meta) => meta,
        Err(error) => return refusal(format!("cannot read {shown}: {error}"), "try again"),
    };
    if !meta.is_file() {
        return refusal(format!("{shown} is no regular file"), "name a key file");
    }
    if meta.mode() & 0o077 != 0 {
        return refusal(
            format!(
                "{shown} can be read or written by others (mode {:04o})",
                meta.mode() & 0o7777
            ),
            format!("`chmod 0600 {shown}`; who may have read it has the key, so make another"),
        );
    }
    Ok(())
}

fn from_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, odd) = text.as_chunks::<2>();
    // All at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = digit(*high)? << 4 | digit(*low)?;
        bytes.push(u8::try_from(byte).ok()?);
    }
    odd.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn outcome(bytes: &[u8], mode: u32) -> Result<Vec<u8>, String> {
        let (_folder, path) = written(bytes, mode);
        let read = read(&path, None);
        read.map(|secret| secret.bytes().to_vec())
            .map_err(|refusal| format!("{}: {}", refusal.what, refusal.remedy))
    }

    #[test]
    fn raw_and_hexadecimal_files_give_their_bytes() {
        for length in [32, 33, 64] {
            assert_eq!(outcome(&vec![7; length], 0o600), Ok(vec![7; length]));
        }
        let text = format!("hex:{}\n", "0aFf".repeat(16));
        assert_eq!(outcome(text.as_bytes(), 0o400), Ok([0x0a, 0xff].repeat(16)));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for (bytes, says) in [
            (&b""[..], "is empty"),
            (&[b'k'; 31], "holds 31 bytes"),
            (&[b'k'; 65], "holds 65 bytes"),
            (&[b'k'; 4096], "is no key file"),
            (b"hex:0a0", "is not hexadecimal"),
            (b"hex:zz", "is not hexadecimal"),
            (b"hex:0a0b", "holds 2 bytes"),
        ] {
            let refused = outcome(bytes, 0o600).unwrap_err();
            assert!(refused.contains(says), "{refused}");
            assert!(!refused.contains("kkk"), "{refused}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_its_remedy() {
        for mode in [0o604, 0o644, 0o602, 0o601, 0o620, 0o640, 0o610] {
            let refused = outcome(&[7; 32], mode).unwrap_err();
            assert!(refused.contains("chmod 0600"), "{mode:o}: {refused}");
        }
    }

    #[test]
    fn a_name_is_looked_for_among_the_credentials() {
        let (folder, _) = written(&[7; 32], 0o400);
        assert!(read(Path::new("key"), Some(folder.path())).is_ok());
        let refused = read(Path::new("key"), None).unwrap_err();
        assert!(refused.remedy.contains("CREDENTIALS_DIRECTORY"));
        let refused = read(Path::new("other"), Some(folder.path())).unwrap_err();
        assert!(refused.remedy.contains("keygen"), "{}", refused.remedy);
        assert!(read(folder.path(), None).is_err());
    }

    #[test]
    fn the_key_of_the_cluster_is_read_as_those_of_instances_are() {
        let (_folder, path) = written(&[7; 32], 0o600);
        let read = |path: &Path| {
            let text = format!(
                "cluster:\n  nodes: {{ lb1: [10.0.0.1], lb2: [10.0.0.2] }}\n  key_file: {}\n\
                 instances: {{ a: {{ interface: eth0, vrid: 1, addresses: [192.0.2.10/24] }} }}\n",
                path.display()
            );
            let loaded = super::super::parse(Path::new("c.yaml"), &text, "lb1").unwrap();
            let effective = loaded.effective().unwrap();
            assert!(effective.contains("key_file: /"), "{effective}");
            read_keys(&loaded).map_err(|faults| faults.to_string())
        };
        let keys = read(&path).unwrap();
        let secret = keys.cluster.expect("the key of the cluster");
        assert_eq!((secret.bytes(), keys.instances.len()), (&[7; 32][..], 0));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(refused.contains("c.yaml:3:13"), "{refused}");
        assert!(refused.contains("key of the cluster"), "{refused}");
        fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().contains("keygen"));
    }

    #[test]
    fn a_key_of_another_user_is_told_with_its_place() {
        let (_folder, path) = written(&[7; 32], 0o600);
        let text = format!(
            "cluster:\n  nodes: {{ lb1: [10.0.0.1], lb2: [10.0.0.2] }}\n  key_file: {}\n\
             instances: {{ a: {{ interface: eth0, vrid: 1, addresses: [192.0.2.10/24] }} }}\n",
            path.display()
        );
        let loaded = super::super::parse(Path::new("c.yaml"), &text, "lb1").unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        assert_eq!(keys_of_others(&loaded, owner, "vipward"), []);
        let told = keys_of_others(&loaded, owner + 1, "vipward");
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        let [told] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(told.starts_with("c.yaml:3:13"), "{told}");
        assert!(told.contains("chown vipward /"), "{told}");
    }

    #[test]
    fn no_debug_shows_a_key() {
        let secret = Secret::new(Zeroizing::new(vec![0x41; 32]));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
