//! One event as a line of a file: its digest, then its JSON. A line that was
//! torn, or changed at any byte, is known by that.

use crate::agent::digest::fnv1a;
use crate::control::events::record::Record;

/// Hexadecimal digits before the JSON.
const DIGITS: usize = 16;

/// With its end.
pub fn write(json: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(digest(json.as_bytes()).as_bytes());
    line.push(b' ');
    line.extend_from_slice(json.as_bytes());
    line.push(b'\n');
}

fn digest(json: &[u8]) -> String {
    format!("{:0DIGITS$x}", fnv1a(json.iter().copied()))
}

/// Without its end. `None`: it is no line of ours, or no longer.
pub fn read(line: &[u8]) -> Option<Record> {
    let (digits, json) = line.split_at_checked(DIGITS)?;
    let json = json.strip_prefix(b" ")?;
    // As it was written, to the letter.
    if digest(json).as_bytes() != digits {
        return None;
    }
    serde_json::from_slice(json).ok()
}
