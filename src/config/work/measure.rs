//! From the configuration's words to names and measures of this host: no I/O.

use super::parse::{BadValue, bad};
use super::probe::{Bytes, Percent, Room};

/// The kernel's bound on a file's name; one of a process is shorter.
const NAME_BYTES_MAX: usize = 255;
const UNIT_KINDS: [&str; 11] = [
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "timer",
    "path",
    "slice",
    "scope",
    "swap",
    "device",
];

/// `process: haproxy`.
pub fn process(text: &str) -> Result<String, BadValue> {
    if text.contains('/') {
        let base = text.rsplit('/').find(|part| !part.is_empty());
        return bad(
            format!("`{text}` is a path, and a process has a name"),
            format!("write `{}`", base.unwrap_or("haproxy")),
        );
    }
    let sound = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    match sound {
        true => Ok(text.to_owned()),
        false => bad(
            format!("`{}` cannot be the name of a process", text.escape_debug()),
            "write it as `ps -e -o comm` shows it",
        ),
    }
}

/// `systemd: haproxy.service`.
pub fn unit(text: &str) -> Result<String, BadValue> {
    let split = text.rsplit_once('.');
    let Some((name, _)) = split.filter(|(_, kind)| UNIT_KINDS.contains(kind)) else {
        return bad(
            format!("`{text}` does not say what kind of unit it is"),
            format!("write `{text}.service`, or as `systemctl list-units` shows it"),
        );
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte);
    if name.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(allowed) {
        return bad(
            format!("`{text}` cannot be the name of a unit"),
            "write it as `systemctl list-units` shows it",
        );
    }
    if name.ends_with('@') {
        return bad(
            format!("`{text}` is a template, which is never active"),
            "write one that was made of it, such as `getty@tty1.service`",
        );
    }
    Ok(text.to_owned())
}

/// `10%`, `2.5%`.
pub fn percent(text: &str) -> Result<Percent, BadValue> {
    let digits = text.strip_suffix('%').map(str::trim_end);
    let (whole, rest) = match digits.map(|digits| digits.split_once('.')) {
        Some(Some((whole, rest))) => (whole, rest),
        Some(None) => (digits.unwrap_or_default(), "0"),
        None => ("", ""),
    };
    let number = |text: &str, most: usize| {
        let plain = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let scale = if rest.len() == 1 { 10 } else { 1 };
    let hundredths = number(whole, 3).zip(number(rest, 2));
    let hundredths = hundredths.and_then(|(whole, rest)| (whole * 100).checked_add(rest * scale));
    match hundredths {
        Some(hundredths @ 1..=10_000) => Ok(Percent(hundredths)),
        Some(_) | None => bad(
            format!("`{text}` is not a percentage above 0 and up to 100"),
            "write it as `10%` or `2.5%`, with two decimals at most",
        ),
    }
}

/// `10%` of the whole, or `5GiB`.
pub fn room(text: &str) -> Result<Room, BadValue> {
    if text.ends_with('%') {
        return percent(text).map(Room::Percent);
    }
    let split = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = split.map_or((text, ""), |at| text.split_at(at));
    let mut units = Bytes::UNITS.iter();
    let unit = units.find(|(name, _)| *name == unit.trim_start());
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    let bytes = number
        .zip(unit)
        .and_then(|(n, (_, unit))| n.checked_mul(*unit));
    match bytes {
        Some(bytes) => Ok(Room::Bytes(Bytes(bytes))),
        None => bad(
            format!("`{text}` is neither a percentage nor a size"),
            "write it as `10%`, `500MiB` or `5GiB`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_and_shown_alike() {
        for (text, hundredths) in [
            ("10%", 1000),
            ("2.5%", 250),
            ("0.01%", 1),
            ("100%", 10_000),
            ("7.05%", 705),
            ("3 %", 300),
        ] {
            let percent = percent(text).expect(text);
            assert_eq!(percent, Percent(hundredths), "{text}");
            assert_eq!(percent.to_string(), text.replace(' ', ""));
        }
        for text in [
            "", "%", "10", "0%", "0.00%", "101%", "100.01%", "-1%", "1.234%", "1.%", ".5%", "1e1%",
            "+1%",
        ] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_shown_alike() {
        for (text, bytes) in [
            ("1KiB", 1024),
            ("500MiB", 500 << 20),
            ("5GiB", 5 << 30),
            ("2TiB", 2 << 40),
        ] {
            let room = room(text).expect(text);
            assert_eq!(room, Room::Bytes(Bytes(bytes)), "{text}");
            assert_eq!(room.to_string(), text);
        }
        assert_eq!(room("5 GiB"), room("5GiB"));
        assert_eq!(room("5%"), Ok(Room::Percent(Percent(500))));
        for text in [
            "",
            "5",
            "5G",
            "5GB",
            "0GiB",
            "-5GiB",
            "1.5GiB",
            "99999999TiB",
            "GiB",
            "gib",
        ] {
            assert!(room(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_processes_and_units_are_judged() {
        assert_eq!(process("haproxy").as_deref(), Ok("haproxy"));
        assert_eq!(process("Web Content").as_deref(), Ok("Web Content"));
        let fault = process("/usr/sbin/haproxy").expect_err("a path");
        assert_eq!(fault.remedy, "write `haproxy`");
        for text in ["", "a\nb", "a\0b", "///", &"x".repeat(256)] {
            assert!(process(text).is_err(), "{text:?}");
        }
        for text in [
            "haproxy.service",
            "getty@tty1.service",
            "dev-sda.device",
            "a\\x2db.mount",
        ] {
            assert_eq!(unit(text).as_deref(), Ok(text));
        }
        let fault = unit("haproxy").expect_err("no kind");
        assert!(fault.remedy.contains("`haproxy.service`"), "{fault}");
        for text in [
            "",
            ".service",
            "a b.service",
            "a/b.service",
            "é.service",
            "x@.service",
            "a.conf",
        ] {
            assert!(unit(text).is_err(), "{text}");
        }
    }
}
