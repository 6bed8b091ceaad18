//! Lines to blocks.

use super::ledger::{Fate, Ledger};
use super::words::{Part, Word};
use crate::config::fault::{Finding, Findings, Place};

/// Blocks within blocks; keepalived's own have six levels.
const DEPTH_MAX: usize = 32;

/// One line, and the block that it opens.
#[derive(Debug)]
pub(super) struct Row {
    /// Never empty.
    pub words: Vec<Word>,
    pub block: Option<Vec<Row>>,
}

impl Row {
    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    pub fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// Of every word, without those of the block.
    pub fn places(&self) -> Vec<Place> {
        let places = self.words.iter().flat_map(|word| &word.places);
        places.copied().collect()
    }

    /// Those of the block too.
    pub fn all_places(&self) -> Vec<Place> {
        let mut places = self.places();
        let mut open: Vec<&Row> = self.block.iter().flatten().collect();
        while let Some(row) = open.pop() {
            places.extend(row.places());
            open.extend(row.block.iter().flatten());
        }
        places
    }
}

#[derive(Default)]
pub(super) struct Builder {
    /// The rows of each open block, the outermost first, and where it opened.
    open: Vec<(Vec<Row>, Place)>,
    top: Vec<Row>,
}

impl Builder {
    /// # Errors
    ///
    /// A brace that fits to nothing; nothing can be understood after that.
    pub fn take(&mut self, part: Part, ledger: &mut Ledger) -> Result<(), Finding> {
        match part {
            Part::Words(words) => {
                let row = Row { words, block: None };
                self.rows().push(row);
            }
            Part::Open(place) => {
                ledger.mark(place, Fate::Structure);
                let last = self.rows().last();
                if last.is_none_or(|row| row.block.is_some()) {
                    return Err(Finding::at(place, "a `{` that belongs to nothing", "")
                        .help("a block begins with a word, such as `vrrp_instance VI_1 {`"));
                }
                if self.open.len() >= DEPTH_MAX {
                    let label = format!("{DEPTH_MAX} levels are the most");
                    return Err(Finding::at(place, "blocks are nested too deeply", label)
                        .help("is a `}` missing above?"));
                }
                self.open.push((Vec::new(), place));
            }
            Part::Close(place) => {
                ledger.mark(place, Fate::Structure);
                let Some((rows, _)) = self.open.pop() else {
                    return Err(Finding::at(place, "a `}` that closes nothing", "")
                        .help("remove it, or write the `{` that is missing above"));
                };
                if let Some(row) = self.rows().last_mut() {
                    row.block = Some(rows);
                }
            }
        }
        Ok(())
    }

    fn rows(&mut self) -> &mut Vec<Row> {
        match self.open.last_mut() {
            Some((rows, _)) => rows,
            None => &mut self.top,
        }
    }

    /// What was read; a block without an end is a fault.
    pub fn finish(self, findings: &mut Findings) -> Vec<Row> {
        // The innermost is the likeliest to lack its end.
        if let Some((_, place)) = self.open.last() {
            let title = match self.open.len() {
                1 => "a block without an end".to_owned(),
                several => format!("{several} blocks without an end"),
            };
            findings.fault(
                Finding::at(*place, title, "begins here")
                    .help("write the `}` that is missing; was the file cut off?"),
            );
        }
        self.top
    }
}
