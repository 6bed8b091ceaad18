//! Programs: the words of a script, and whom it runs as.

use super::desk::Desk;
use super::node::{flow_list, flow_map, scalar};
use super::text::Text;
use super::tree::Row;
use super::words::{self, Word};
use crate::config::fault::Place;

/// Where commands without a path are looked for, as a login has it.
const SHELL: &str = "/bin/sh";

/// What a program runs as where its line does not say.
#[derive(Clone, Debug)]
pub(super) struct DefaultUser {
    pub name: String,
    /// The words of `script_user`, where it is written.
    pub origin: Vec<Place>,
}

/// A program as vipward takes it.
pub(super) struct Program {
    pub words: Vec<String>,
    pub user: Option<String>,
}

impl Program {
    /// For a hook: `{ run: [...], user: ... }`.
    pub fn hook(&self, default: &DefaultUser) -> String {
        let user = self.user.as_ref().unwrap_or(&default.name);
        flow_map(&[("run", flow_list(&self.words)), ("user", scalar(user))])
    }
}

/// What stands behind a keyword: the program with its arguments as one word in
/// quotes, or a path; then a user and a group.
pub(super) fn program(desk: &mut Desk, row: &Row, with_user: bool) -> Option<Program> {
    desk.block_extra(row);
    let Some((command, rest)) = row.arguments().split_first() else {
        desk.left(row, "names no program");
        return None;
    };
    let words = match command_words(desk, command) {
        Ok(words) => words,
        Err(why) => {
            desk.left(row, why);
            return None;
        }
    };
    let (user, rest) = match rest.split_first() {
        Some((user, rest)) if with_user => (user_of(desk, user), rest),
        _ => (None, rest),
    };
    match with_user {
        true => group(desk, rest),
        false => desk.extra(rest),
    }
    Some(Program { words, user })
}

/// `user`, or `user:group` in later versions.
fn user_of(desk: &mut Desk, word: &Word) -> Option<String> {
    let (user, group) = word.text.split_once(':').unwrap_or((&word.text, ""));
    if !group.is_empty() {
        desk.note_at(&word.places, OWN_GROUP);
    }
    Some(user.to_owned())
}

const OWN_GROUP: &str =
    "a program runs with its user's own groups here: make the user a member of that group";

/// A group behind the user, and what keepalived does not read.
pub(super) fn group(desk: &mut Desk, rest: &[Word]) {
    if let Some((first, more)) = rest.split_first() {
        desk.note_words(std::slice::from_ref(first), OWN_GROUP);
        desk.extra(more);
    }
}

pub(super) fn user(desk: &mut Desk, row: &Row) -> Option<String> {
    desk.block_extra(row);
    let Some((user, rest)) = row.arguments().split_first() else {
        desk.left(row, "names no user");
        return None;
    };
    group(desk, rest);
    user_of(desk, user)
}

/// Without a shell where it can be.
fn command_words(desk: &mut Desk, command: &Word) -> Result<Vec<String>, &'static str> {
    let line = command.text.trim();
    if line.contains('\0') {
        return Err("holds a zero byte, which no program can be given");
    }
    let mut text = Text::default();
    text.push_instead(line, command.place);
    let words = words::words(&text).map_err(|_| "a quote within the quotes has no end")?;
    let words: Vec<String> = words.into_iter().map(|word| word.text).collect();
    let Some(first) = words.first() else {
        return Err("names no program");
    };
    if first.starts_with('/') {
        return Ok(words);
    }
    let shell = |line: &str| vec![SHELL.to_owned(), "-c".to_owned(), line.to_owned()];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    if !first.chars().all(plain) {
        desk.note_at(
            &command.places,
            "a line for a shell: it is given to /bin/sh, which need not be bash",
        );
        return Ok(shell(line));
    }
    match desk.host.program(first) {
        Some(path) => {
            let found = path.to_string_lossy().into_owned();
            desk.note_at(&command.places, format!("`{first}` was found as {found}"));
            let rest = words.iter().skip(1).cloned();
            Ok([found].into_iter().chain(rest).collect())
        }
        None => {
            desk.note_at(
                &command.places,
                "a command without its path, not found here: /bin/sh looks for it when it runs",
            );
            Ok(shell(&format!("exec {line}")))
        }
    }
}
