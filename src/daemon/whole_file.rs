//! Small files that are replaced as a whole or stay as they were, for whoever
//! comes after this process.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::control::own_file;

/// Replaces `name` in `directory`, for our eyes only. `sync`: not before it
/// would survive the loss of power.
///
/// # Errors
///
/// The file is as it was, or not there.
pub fn replace(directory: &Path, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
    let next = directory.join(format!("{name}.new"));
    let written = write_new(&next, bytes, sync);
    let outcome = written.and_then(|()| fs::rename(&next, directory.join(name)));
    if sync && outcome.is_ok() {
        // The new name, too.
        fs::File::open(directory)?.sync_all()?;
    }
    if outcome.is_err() {
        // It may hold the last bytes of a full disk.
        let _ = fs::remove_file(&next);
    }
    outcome
}

fn write_new(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    // One that an agent left half written.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = own_file::make(path)?;
    file.write_all(bytes)?;
    if sync { file.sync_data() } else { Ok(()) }
}

/// `None`: there is no such file.
///
/// # Errors
///
/// Why it cannot be read, in words; one is that it has more than `bytes_max`.
pub fn read(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    Ok(Some(bytes))
}
