//! A line taken apart: words by blanks and quotes, and the braces between them.

use super::text::Text;
use crate::config::fault::{Finding, Place};

/// A variable of keepalived's environment, `${_ENV NAME}`, which is not ours.
const ENVIRONMENT: &str = "${_ENV ";

/// One word, without its quotes.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub text: String,
    pub place: Place,
    /// Every place that a part of it comes from.
    pub places: Vec<Place>,
}

#[derive(Debug)]
pub(super) enum Part {
    Words(Vec<Word>),
    Open(Place),
    Close(Place),
}

/// Where `text` has braces outside of double quotes, it is several parts.
pub(super) fn parts(text: &Text) -> Result<Vec<Part>, Finding> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut quote = false;
    let mut chars = text.chars.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => quote = !quote,
            '\\' => {
                chars.next();
            }
            // `${_ENV NAME}`, which is no block.
            '$' if text
                .chars
                .get(at..)
                .is_some_and(|rest| rest.starts_with(ENVIRONMENT)) =>
            {
                chars.by_ref().take_while(|(_, c)| *c != '}').count();
            }
            '{' | '}' if !quote => {
                push_words(&mut parts, text, from, at)?;
                if let Some(place) = text.place(at..at + 1) {
                    parts.push(match c {
                        '{' => Part::Open(place),
                        _ => Part::Close(place),
                    });
                }
                from = at + 1;
            }
            _ => {}
        }
    }
    push_words(&mut parts, text, from, text.chars.len())?;
    Ok(parts)
}

fn push_words(parts: &mut Vec<Part>, text: &Text, from: usize, to: usize) -> Result<(), Finding> {
    let words = words(&text.slice(from..to))?;
    if !words.is_empty() {
        parts.push(Part::Words(words));
    }
    Ok(())
}

/// By blanks outside of quotes of either kind; quotes within a word belong to
/// it.
///
/// # Errors
///
/// A quote has no end.
pub(super) fn words(text: &Text) -> Result<Vec<Word>, Finding> {
    let mut words = Vec::new();
    let mut at = 0;
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r');
    while let Some(rest) = text.chars.get(at..) {
        let start = at + (rest.len() - rest.trim_start_matches(blank).len());
        if start >= text.chars.len() {
            break;
        }
        let scanned = scan(&text.chars, start);
        let scanned = scanned.map_err(|quote| no_end(text.place(quote..quote + 1)))?;
        if let Some(place) = text.place(start..scanned.end) {
            words.push(Word {
                text: scanned.word,
                places: text.places(start..scanned.end),
                place,
            });
        }
        at = scanned.end;
    }
    Ok(words)
}

struct Scanned {
    word: String,
    end: usize,
}

/// The word that begins at `start`; where a quote begins that has no end, that
/// place.
fn scan(chars: &str, start: usize) -> Result<Scanned, usize> {
    let mut scanned = Scanned {
        word: String::new(),
        end: start,
    };
    let mut quote: Option<(usize, char)> = None;
    while let Some(c) = chars
        .get(scanned.end..)
        .and_then(|rest| rest.chars().next())
    {
        let at = scanned.end;
        if quote.is_none() && matches!(c, ' ' | '\t' | '\r') {
            break;
        }
        scanned.end += c.len_utf8();
        match (c, quote) {
            ('"' | '\'', None) => quote = Some((at, c)),
            (c, Some((_, open))) if c == open => quote = None,
            ('\\', _) => {
                let rest = chars.get(scanned.end..).unwrap_or("");
                let (meant, taken) = escaped(rest);
                scanned.word.push_str(&meant);
                scanned.end += taken;
            }
            ('$', None)
                if chars
                    .get(at..)
                    .is_some_and(|rest| rest.starts_with(ENVIRONMENT)) =>
            {
                // A blank in it parts no words.
                let rest = chars.get(scanned.end..).unwrap_or("");
                let inner = rest.split_inclusive('}').next().unwrap_or("");
                scanned.word.push('$');
                scanned.word.push_str(inner);
                scanned.end += inner.len();
            }
            (c, _) => scanned.word.push(c),
        }
    }
    match quote {
        Some((at, _)) => Err(at),
        None => Ok(scanned),
    }
}

fn no_end(place: Option<Place>) -> Finding {
    const TITLE: &str = "a quote without an end";
    let finding = match place {
        Some(place) => Finding::at(place, TITLE, "begins here"),
        None => Finding::of_file(TITLE),
    };
    finding.help("quotes end on the line they begin on")
}

/// What the characters after a backslash mean, and how many bytes of them are
/// used.
fn escaped(rest: &str) -> (String, usize) {
    let Some(first) = rest.chars().next() else {
        return ("\\".to_owned(), 0);
    };
    let code = |digits: &str, radix: u32, used: usize| {
        // Beyond a byte the lowest eight bits count.
        let value = u32::from_str_radix(digits, radix).unwrap_or(0) & 0xff;
        let c = char::from_u32(value).unwrap_or('?');
        (c.to_string(), used)
    };
    let digits = |from: usize, radix: u32, most: usize| {
        let rest = rest.get(from..).unwrap_or("");
        let count = rest
            .chars()
            .take(most)
            .take_while(|c| c.is_digit(radix))
            .count();
        rest.get(..count).unwrap_or("")
    };
    let plain = match first {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'E' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '0'..='7' => {
            let digits = digits(0, 8, 3);
            return code(digits, 8, digits.len());
        }
        'x' => match digits(1, 16, 8) {
            "" => 'x',
            digits => return code(digits, 16, 1 + digits.len()),
        },
        'c' => match rest.chars().nth(1).filter(char::is_ascii) {
            Some(control) => {
                let value = u32::from(control) & 0x1f;
                return (char::from_u32(value).unwrap_or('?').to_string(), 2);
            }
            None => 'c',
        },
        other => other,
    };
    (plain.to_string(), first.len_utf8())
}
