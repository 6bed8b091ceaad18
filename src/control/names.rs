//! A name that is not known, and the one that was probably meant.

use super::words;

/// How many known names are listed.
const SHOWN: usize = 10;

/// The known name that was most likely meant, if one is close.
fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    // Nobody misspells a name into a page; the distance is quadratic.
    const LENGTH_MAX: usize = 80;
    if written.len() > LENGTH_MAX {
        return None;
    }
    let distance = |known: &str| strsim::damerau_levenshtein(known, written);
    let best = known.iter().map(|known| distance(known)).min()?;
    let mut near = known.iter().filter(|known| distance(known) == best);
    let (first, other) = (near.next()?, near.next());
    // Of `lb1` and `lb2` neither is what `lb3` was meant to be.
    (other.is_none() && best * 2 <= first.chars().count()).then_some(*first)
}

/// `there is no instance `wbe` on lb1; did you mean `web`? It has: db, web`.
pub fn missing(what: &str, name: &str, place: &str, known: &[&str]) -> String {
    let missing = format!("there is no {what} `{}` {place}", words::cut(name, 80));
    let all = words::list(known, SHOWN);
    match nearest(name, known) {
        Some(nearest) => format!("{missing}; did you mean `{nearest}`? It has: {all}"),
        None if known.is_empty() => format!("{missing}; it has none"),
        None => format!("{missing}; it has: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("wbe", &["db", "web"], "; did you mean `web`? It has: db, web")]
    #[case("postgres", &["db", "web"], "; it has: db, web")]
    #[case("web", &[], "; it has none")]
    #[case("db3", &["db1", "db2"], "; it has: db1, db2")]
    fn an_unknown_name_is_followed_by_what_would_be_right(
        #[case] name: &str,
        #[case] known: &[&str],
        #[case] rest: &str,
    ) {
        let expected = format!("there is no instance `{name}` on lb1{rest}");
        assert_eq!(missing("instance", name, "on lb1", known), expected);
    }

    #[test]
    fn a_page_for_a_name_is_neither_compared_nor_repeated() {
        let text = missing("node", &"web".repeat(100_000), "in the cluster", &["web"]);
        assert!(text.ends_with("...` in the cluster; it has: web"), "{text}");
    }
}
