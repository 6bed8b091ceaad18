//! `vipward keygen`: a key for `auth` or `cluster`, from the kernel's random numbers.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

/// As long as the hash: more adds nothing.
const KEY_BYTES: usize = 32;

/// Make a key and write it to standard output
///
/// For `auth` of an instance or for the peer link of a `cluster`:
/// `(umask 077; vipward keygen > /etc/vipward/cluster.key)`, and copy the file
/// to the other hosts over a way that nobody listens to. One key for each use.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As text, `hex:` and 64 digits, instead of 32 raw bytes
    #[arg(long)]
    hex: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout();
    if !args.hex && stdout.is_terminal() {
        bail!("a raw key is not for a terminal; write it to a file, or give --hex");
    }
    let key = key(args.hex)?;
    stdout
        .write_all(&key)
        .and_then(|()| stdout.flush())
        .context("the key could not be written; what was written is no key")?;
    Ok(ExitCode::SUCCESS)
}

fn key(hex: bool) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
    getrandom::fill(&mut bytes).context("the kernel gave no random numbers")?;
    if !hex {
        return Ok(bytes);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(4 + 2 * KEY_BYTES + 1));
    text.extend(b"hex:");
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.extend(b"0123456789abcdef".get(usize::from(digit)));
        }
    }
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_the_right_form_and_never_the_same() {
        assert_eq!(key(false).unwrap().len(), 32);
        assert_ne!(key(false).unwrap(), key(false).unwrap());
        let text = key(true).unwrap();
        let digits = text
            .strip_prefix(b"hex:")
            .unwrap()
            .strip_suffix(b"\n")
            .unwrap();
        assert!(digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit));
        assert_ne!(key(true).unwrap(), text);
    }
}
