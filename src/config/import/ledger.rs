//! What became of every byte of the files: nothing that was read may be
//! forgotten in silence.

use std::collections::BTreeMap;

use crate::config::fault::{Place, SourceId, Sources};

/// A later one outweighs an earlier one: what is carried over in one place and
/// left in another is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Unseen,
    /// Blanks, comments, braces, definitions, conditions.
    Structure,
    Carried,
    /// Named in the list; there is nothing to do.
    Noted,
    /// Named in the list, to be done by hand.
    Left,
}

#[derive(Default)]
pub(super) struct Ledger(BTreeMap<SourceId, Vec<Fate>>);

impl Ledger {
    pub fn open(&mut self, source: SourceId, text: &str) {
        let fate = |byte: u8| match byte.is_ascii_whitespace() {
            true => Fate::Structure,
            false => Fate::Unseen,
        };
        self.0.insert(source, text.bytes().map(fate).collect());
    }

    pub fn mark(&mut self, place: Place, fate: Fate) {
        let bytes = self.0.get_mut(&place.source);
        let range = bytes.and_then(|bytes| bytes.get_mut(place.start..place.end));
        for byte in range.into_iter().flatten() {
            *byte = (*byte).max(fate);
        }
    }

    /// What nobody accounted for, one place for each line that has some.
    pub fn unseen(&self, sources: &Sources) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for (source, text) in sources.texts() {
            let fates = self.0.get(&source).map_or(&[][..], Vec::as_slice);
            let mut open: Option<Place> = None;
            for (at, (fate, byte)) in fates.iter().zip(text.bytes()).enumerate() {
                if *fate == Fate::Unseen {
                    let place = open.get_or_insert(Place {
                        source,
                        start: at,
                        end: at,
                    });
                    place.end = at + 1;
                }
                if byte == b'\n' {
                    places.extend(open.take());
                }
            }
            places.extend(open);
        }
        places
    }

    /// Whether nobody accounted for any of it.
    pub fn is_unseen(&self, place: Place) -> bool {
        let bytes = self.0.get(&place.source);
        let bytes = bytes.and_then(|bytes| bytes.get(place.start..place.end));
        bytes.is_some_and(|bytes| bytes.contains(&Fate::Unseen))
    }

    /// How many bytes came to each fate.
    pub fn count(&self, fate: Fate) -> usize {
        let all = self.0.values().flatten();
        all.filter(|found| **found == fate).count()
    }
}
