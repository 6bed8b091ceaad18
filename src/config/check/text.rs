//! Values that are read alike in several kinds.

use std::path::PathBuf;

use crate::config::fault::{Finding, quoted};
use crate::config::read::{self, Read};
use crate::config::work::parse::BadValue;
use crate::config::yaml::Node;

const TARGET_BYTES_MAX: usize = 2000;

/// Plain printable text, read by one of the parsers.
pub(super) fn by<T>(node: &Node, wanted: &str, parser: fn(&str) -> Result<T, BadValue>) -> Read<T> {
    let scalar = read::scalar(node, wanted)?;
    let text = scalar.text.trim();
    if text.len() > TARGET_BYTES_MAX || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let title = format!("{} is not {wanted}", quoted(text));
        let label = "write it in ASCII";
        return Err(Finding::at(node.place, title, label).help(format!(
            "at most {TARGET_BYTES_MAX} characters; other letters are written as `%C3%A9` in a URL \
             and as `xn--...` in a host's name"
        )));
    }
    parser(text).map_err(|bad| Finding::at(node.place, bad.what, bad.remedy))
}

pub(super) fn absolute(node: &Node) -> Read<PathBuf> {
    let path = read::word(node, "the path of a file")?;
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(PathBuf::from(path));
    }
    let title = format!("{} is not an absolute path", quoted(path));
    Err(Finding::at(
        node.place,
        title,
        "write where the file is, from / on",
    ))
}
