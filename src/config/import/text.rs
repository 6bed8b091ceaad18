//! Text that knows where each part of it stands in the files, also after
//! definitions were replaced in it.

use std::ops::Range;

use crate::config::fault::{Place, SourceId};

/// A line, or a part of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub chars: String,
    /// By where they begin in `chars`, ascending.
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    from: usize,
    place: Place,
    /// Byte for byte as it stands there; otherwise all of it is of that place.
    verbatim: bool,
}

impl Text {
    /// What stands in a file, `start` bytes from its beginning.
    pub fn push_file(&mut self, source: SourceId, start: usize, text: &str) {
        let end = start + text.len();
        let place = Place { source, start, end };
        self.push(text, place, true);
    }

    /// Something that stands for what is at `place`.
    pub fn push_instead(&mut self, text: &str, place: Place) {
        self.push(text, place, false);
    }

    fn push(&mut self, text: &str, place: Place, verbatim: bool) {
        if !text.is_empty() {
            let from = self.chars.len();
            self.chars.push_str(text);
            self.pieces.push(Piece {
                from,
                place,
                verbatim,
            });
        }
    }

    pub fn append(&mut self, other: &Text) {
        let by = self.chars.len();
        self.chars.push_str(&other.chars);
        let moved = other.pieces.iter().map(|piece| Piece {
            from: piece.from + by,
            ..*piece
        });
        self.pieces.extend(moved);
    }

    pub fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    /// Bytes that are no boundaries of characters give nothing.
    pub fn slice(&self, range: Range<usize>) -> Text {
        let mut out = Text::default();
        for (piece, bounds) in self.within(range) {
            let Some(text) = self.chars.get(bounds.clone()) else {
                continue;
            };
            let place = narrowed(piece, &bounds);
            out.push(text, place, piece.verbatim);
        }
        out
    }

    /// Without blanks at both ends.
    pub fn trimmed(&self) -> Text {
        let blank = [' ', '\t', '\r'];
        let start = self.chars.len() - self.chars.trim_start_matches(blank).len();
        let end = self.chars.trim_end_matches(blank).len();
        self.slice(start..end.max(start))
    }

    /// Every place that something in `range` comes from.
    pub fn places(&self, range: Range<usize>) -> Vec<Place> {
        let places = self.within(range);
        places
            .map(|(piece, bounds)| narrowed(piece, &bounds))
            .collect()
    }

    /// For messages: where `range` begins, and as far as it goes on there.
    pub fn place(&self, range: Range<usize>) -> Option<Place> {
        let places = self.places(range);
        let (first, rest) = places.split_first()?;
        let last = rest.last().filter(|last| last.source == first.source);
        let end = last.map_or(first.end, |last| last.end.max(first.end));
        Some(Place { end, ..*first })
    }

    fn within(&self, range: Range<usize>) -> impl Iterator<Item = (&Piece, Range<usize>)> {
        let ends = self.pieces.iter().skip(1).map(|piece| piece.from);
        let ends = ends.chain([self.chars.len()]);
        self.pieces
            .iter()
            .zip(ends)
            .map(move |(piece, end)| (piece, piece.from.max(range.start)..end.min(range.end)))
            .filter(|(_, bounds)| bounds.start < bounds.end)
    }
}

fn narrowed(piece: &Piece, bounds: &Range<usize>) -> Place {
    match piece.verbatim {
        false => piece.place,
        true => Place {
            source: piece.place.source,
            start: piece.place.start + (bounds.start - piece.from),
            end: piece.place.start + (bounds.end - piece.from),
        },
    }
}
