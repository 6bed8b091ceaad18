//! Nothing is lost in silence: every line of every sample below is carried over
//! or named. Shown from outside: a line that nobody names makes a difference.

use crate::kit::{Memory, Outcome};

/// The words of a line, without its comment, and braces as words.
fn words(line: &str) -> Vec<String> {
    let mut quote = false;
    let mut kept = String::new();
    for c in line.chars() {
        match c {
            '"' => quote = !quote,
            '#' | '!' if !quote => break,
            _ => {}
        }
        kept.push(c);
    }
    kept.split_whitespace().map(str::to_owned).collect()
}

/// What is to be known of an import.
fn said(outcome: &Result<Outcome, vipward::config::Faults>) -> String {
    match outcome {
        Ok(outcome) => {
            let yaml = outcome.imported.yaml.as_deref().unwrap_or("");
            let body = yaml.split_once("\n\n").map_or("", |(_, body)| body);
            format!("{body}\n{:?}", outcome.imported.entries)
        }
        Err(faults) => faults.to_string(),
    }
}

/// Checks every line of a text; how many made a difference, and how many are
/// named.
pub fn account(text: &str) -> (usize, usize) {
    let whole = Memory::new(text).import();
    let before = said(&whole);
    let whole = whole.unwrap_or_else(|faults| panic!("{faults}"));
    let (mut telling, mut named) = (0, 0);
    for (index, line) in text.lines().enumerate() {
        let words = words(line);
        let braces = |word: &String| word == "{" || word == "}";
        if words.iter().all(braces) {
            continue;
        }
        let entries = whole.imported.entries.iter();
        let listed = entries
            .flat_map(|entry| entry.lines.values().flatten())
            .any(|number| *number == index + 1);
        if listed {
            named += 1;
            continue;
        }
        // Its last word that is no brace is another now.
        let last = words
            .iter()
            .rposition(|word| !braces(word))
            .expect("a word");
        let mut changed = words.clone();
        changed[last] = "xyzzy".to_owned();
        let lines: Vec<String> = text
            .lines()
            .enumerate()
            .map(|(at, line)| match at == index {
                true => changed.join(" "),
                false => line.to_owned(),
            })
            .collect();
        let after = said(&Memory::new(&(lines.join("\n") + "\n")).import());
        assert_ne!(
            before,
            after,
            "line {}, {line:?}, makes no difference and is not named",
            index + 1
        );
        telling += 1;
    }
    (telling, named)
}

#[test]
fn every_line_of_a_large_configuration() {
    let text = include_str!("everything.conf");
    let (telling, named) = account(text);
    assert!(
        telling > 60 && named > 90,
        "{telling} lines tell, {named} are named"
    );
}
