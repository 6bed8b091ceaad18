//! From the configuration's words to a probe. No I/O: a name is not resolved
//! and a file is not looked at.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use hyper::Uri;
use thiserror::Error;

use super::probe::{Host, HostPort, HttpUrl};

/// Why a text is refused, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}; {remedy}")]
pub struct BadValue {
    pub what: String,
    pub remedy: String,
}

pub(super) fn bad<T>(what: impl Into<String>, remedy: impl Into<String>) -> Result<T, BadValue> {
    Err(BadValue {
        what: what.into(),
        remedy: remedy.into(),
    })
}

const LIKE_TCP: &str = "write it as `127.0.0.1:5432`, `[::1]:5432` or `db.example.net:5432`";
const LIKE_HTTP: &str = "write it as `https://www.example.net/healthz`";
const LIKE_STATUS: &str = "write it as `200` or `200-299`";

/// `tcp: "127.0.0.1:5432"`.
pub fn tcp(text: &str) -> Result<HostPort, BadValue> {
    if text.contains("://") {
        return bad(
            format!("`{text}` is a URL, and `tcp` takes a host and a port"),
            "write `http:` instead of `tcp:`, or leave all but host and port out",
        );
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return bad(format!("`{text}` has no port"), LIKE_TCP);
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return bad(
            format!("where the address ends and the port begins in `{text}` cannot be told"),
            "write an IPv6 address in brackets: `[2001:db8::1]:5432`",
        );
    }
    let host = match bracketed {
        Some(inner) => ipv6(inner)?,
        None => name_or_address(host, LIKE_TCP)?,
    };
    Ok(HostPort {
        host,
        port: port_number(port)?,
    })
}

/// `http: "https://www.example.net:8443/healthz?deep=1"`.
pub fn http(text: &str) -> Result<HttpUrl, BadValue> {
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return bad(
            format!("`{text}` does not start with `http://` or `https://`"),
            LIKE_HTTP,
        );
    }
    let uri = match text.parse::<Uri>() {
        Ok(uri) => uri,
        Err(error) => return bad(format!("`{text}` is not a URL: {error}"), LIKE_HTTP),
    };
    let Some(authority) = uri.authority() else {
        return bad(format!("`{text}` names no host"), LIKE_HTTP);
    };
    if authority.as_str().contains('@') {
        return bad(
            "a user or password in a URL is not supported",
            "leave out all up to the `@`, and ask a page that needs none",
        );
    }
    let tls = uri.scheme_str() == Some("https");
    let host = authority.host();
    let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inner) => ipv6(inner)?,
        None => name_or_address(host, LIKE_HTTP)?,
    };
    // What follows the host, since the library reads `host:` and `host:99999`
    // as a host without a port.
    let port = match authority.as_str().rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port_number(port)?,
        _ if tls => 443,
        _ => 80,
    };
    let path = match uri.path_and_query().map(|path| path.as_str()) {
        None | Some("") => "/".to_owned(),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(query) => format!("/{query}"),
    };
    Ok(HttpUrl {
        tls,
        target: HostPort { host, port },
        path,
    })
}

/// One item of `status`: `200` or `200-299`.
pub fn status_range(text: &str) -> Result<RangeInclusive<u16>, BadValue> {
    let number = |digits: &str| -> Result<u16, BadValue> {
        let digits = digits.trim();
        let three_digits = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(code) if three_digits && (100..=599).contains(&code) => Ok(code),
            _ => bad(
                format!("`{digits}` is not an HTTP status: they go from 100 to 599"),
                LIKE_STATUS,
            ),
        }
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first > last {
        return bad(
            format!("`{text}` ends before it starts"),
            format!("write `{last}-{first}`"),
        );
    }
    Ok(first..=last)
}

/// `host: www.example.net`: a name or an address, without a port.
pub fn host(text: &str) -> Result<String, BadValue> {
    const LIKE_HOST: &str = "write the name alone, as `host: www.example.net`";
    match name_or_address(text, LIKE_HOST) {
        Ok(host) => Ok(host.to_string()),
        Err(fault) => match text.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Host::Address(IpAddr::V6(address)).to_string()),
            Err(_) => Err(fault),
        },
    }
}

/// `ping: 192.0.2.254`: an address of either family, or a name.
pub fn ping(text: &str) -> Result<Host, BadValue> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Host::Address(address)),
        Err(_) if text.contains(':') => bad(
            format!("`{text}` is not an IPv6 address"),
            "write an address such as `2001:db8::1`, without a port",
        ),
        Err(_) => name_or_address(text, "write an address or a name, as `192.0.2.254`"),
    }
}

/// `dns: www.example.net`.
pub fn domain(text: &str) -> Result<String, BadValue> {
    const LIKE: &str = "write a name, as `www.example.net`";
    match ping(text)? {
        Host::Name(name) => Ok(name),
        Host::Address(address) => bad(format!("`{address}` is an address, not a name"), LIKE),
    }
}

/// `server: 192.0.2.53`, with a port where it is not 53.
pub fn name_server(text: &str) -> Result<SocketAddr, BadValue> {
    const PORT: u16 = 53;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT));
    }
    match text.parse::<SocketAddr>() {
        Ok(server) if server.port() > 0 => Ok(server),
        Ok(_) | Err(_) => bad(
            format!("`{text}` is not the address of a name server"),
            "write it as `192.0.2.53`, `192.0.2.53:5353` or `[2001:db8::53]:5353`",
        ),
    }
}

fn port_number(text: &str) -> Result<u16, BadValue> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => bad(
            format!("`{text}` is not a port"),
            "write a number from 1 to 65535 after the last colon",
        ),
    }
}

fn ipv6(text: &str) -> Result<Host, BadValue> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Ok(Host::Address(IpAddr::V6(address))),
        Err(_) if text.contains('%') => bad(
            format!("`{text}` names an interface, which is not supported"),
            "write an address that needs none, not a link-local one",
        ),
        Err(_) => bad(
            format!("`{text}` is not an IPv6 address"),
            "write one in the brackets, such as `[2001:db8::1]`",
        ),
    }
}

fn name_or_address(text: &str, like: &str) -> Result<Host, BadValue> {
    if let Ok(address) = text.parse::<IpAddr>()
        && address.is_ipv4()
    {
        return Ok(Host::Address(address));
    }
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(allowed) && !label.starts_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return bad("the host is missing", like);
    }
    if name.len() > 253 || !name.split('.').all(label) {
        return bad(
            format!("`{text}` is neither an address nor a host's name"),
            like,
        );
    }
    // Old resolvers take `10.1` for 10.0.0.1 and `0x7f.1` for 127.0.0.1.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return bad(
            format!("`{text}` is not a whole IPv4 address"),
            "write all four numbers, each from 0 to 255 and without leading zeros",
        );
    }
    Ok(Host::Name(text.to_owned()))
}

/// Where a redirect leads (RFC 3986 section 5.2). `location` is what the
/// server sent: anything.
pub fn redirect(from: &HttpUrl, location: &str) -> Result<HttpUrl, BadValue> {
    let location = location.split('#').next().unwrap_or("").trim();
    let scheme = if from.tls { "https" } else { "http" };
    let origin = format!("{scheme}://{}", from.target);
    let path = from.path.split('?').next().unwrap_or("/");
    let before_colon = location.split(['/', '?']).next().unwrap_or("");
    if before_colon.contains(':') {
        http(location)
    } else if location.starts_with("//") {
        http(&format!("{scheme}:{location}"))
    } else if location.starts_with('/') {
        http(&format!("{origin}{}", without_dots(location)))
    } else if location.starts_with('?') {
        http(&format!("{origin}{path}{location}"))
    } else if location.is_empty() {
        http(&format!("{origin}{}", from.path))
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        http(&format!(
            "{origin}{}",
            without_dots(&format!("{folder}/{location}"))
        ))
    }
}

/// RFC 3986 section 5.2.4, for a path that starts with a slash.
fn without_dots(path: &str) -> String {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if matches!(path.rsplit('/').next(), Some("." | "..")) {
        kept.push("");
    }
    let path = format!("/{}", kept.join("/"));
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        for (text, shown) in [
            ("127.0.0.1:5432", "127.0.0.1:5432"),
            ("[::1]:80", "[::1]:80"),
            ("[2001:DB8:0::1]:80", "[2001:db8::1]:80"),
            ("db_1.example.net.:65535", "db_1.example.net.:65535"),
            ("localhost:1", "localhost:1"),
        ] {
            assert_eq!(tcp(text).expect(text).to_string(), shown);
        }
        assert_eq!(
            tcp("10.0.0.1:22").expect("it").host,
            Host::Address("10.0.0.1".parse().expect("an address"))
        );
    }

    #[test]
    fn a_bad_host_or_port_is_refused_in_words() {
        for (text, word) in [
            ("127.0.0.1", "has no port"),
            ("127.0.0.1:", "not a port"),
            ("127.0.0.1:0", "not a port"),
            ("127.0.0.1:65536", "not a port"),
            ("127.0.0.1:+80", "not a port"),
            ("127.0.0.1: 80", "not a port"),
            (":80", "host is missing"),
            ("::1:80", "in brackets"),
            ("[::1:80", "in brackets"),
            ("[::g]:80", "not an IPv6"),
            ("[fe80::1%eth0]:80", "interface"),
            ("127.1:80", "whole IPv4"),
            ("127.0.0.256:80", "whole IPv4"),
            ("010.0.0.1:80", "whole IPv4"),
            ("0x7f.0x1:80", "whole IPv4"),
            ("a b:80", "neither"),
            ("a..b:80", "neither"),
            ("-a:80", "neither"),
            ("http://a:80", "is a URL"),
            ("é:80", "neither"),
        ] {
            let fault = tcp(text).expect_err(text).to_string();
            assert!(fault.contains(word), "{text}: {fault}");
        }
    }

    #[test]
    fn urls_are_read() {
        for (text, shown) in [
            (
                "http://127.0.0.1:8080/healthz",
                "http://127.0.0.1:8080/healthz",
            ),
            ("HTTPS://a.example", "https://a.example/"),
            ("https://a.example:443/x?y=1#z", "https://a.example/x?y=1"),
            ("http://a.example?y", "http://a.example/?y"),
            ("http://[::1]:81/", "http://[::1]:81/"),
            ("http://[::1]/", "http://[::1]/"),
        ] {
            assert_eq!(http(text).expect(text).to_string(), shown);
        }
        assert_eq!(http("https://a").expect("it").target.port, 443);
        assert_eq!(http("http://a").expect("it").target.port, 80);
    }

    #[test]
    fn a_bad_url_is_refused_in_words() {
        for (text, word) in [
            ("127.0.0.1:8080", "does not start"),
            ("ftp://a/", "does not start"),
            ("http://", "not a URL"),
            ("http:///x", "not a URL"),
            ("http://u:p@a/", "password"),
            ("http://a:b/", "not a"),
            ("http://a:99999/", "not a"),
            ("http://a:/", "not a port"),
            ("http://a:0/", "not a port"),
            ("http://127.1/", "whole IPv4"),
            ("http://a /", "not a URL"),
            ("http://[::g]/", "not a"),
            ("http://[fe80::1%25eth0]/", "interface"),
            ("http://-a/", "neither"),
        ] {
            let fault = http(text).expect_err(text).to_string();
            assert!(fault.contains(word), "{text}: {fault}");
        }
    }

    #[test]
    fn statuses_are_read() {
        assert_eq!(status_range("200"), Ok(200..=200));
        assert_eq!(status_range("200-299"), Ok(200..=299));
        assert_eq!(status_range("200 - 299"), Ok(200..=299));
        for text in ["", "2xx", "99", "600", "0200", "-200", "200-", "+20"] {
            assert!(status_range(text).is_err(), "{text}");
        }
        let fault = status_range("299-200").expect_err("the order");
        assert_eq!(fault.remedy, "write `200-299`");
    }

    #[test]
    fn names_for_the_host_header_are_read() {
        assert_eq!(host("www.example.net").as_deref(), Ok("www.example.net"));
        assert_eq!(host("::1").as_deref(), Ok("[::1]"));
        for text in ["", "a:80", "a/b", "a b", "a\r\nb"] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_names_and_servers_without_ports_are_read() {
        for (text, shown) in [
            ("192.0.2.254", "192.0.2.254"),
            ("2001:db8::1", "[2001:db8::1]"),
            ("gw.example.net", "gw.example.net"),
        ] {
            assert_eq!(ping(text).expect(text).to_string(), shown);
        }
        for text in ["", "192.0.2.254:80", "[::1]", "10.1", "a b", "::g"] {
            assert!(ping(text).is_err(), "{text}");
        }
        assert_eq!(domain("a.example.").as_deref(), Ok("a.example."));
        for text in ["::1", "127.0.0.1", "", "a..b"] {
            assert!(domain(text).is_err(), "{text}");
        }
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(name_server(text).expect(text).to_string(), shown);
        }
        for text in ["", "localhost", "127.0.0.1:0", "[::1]", "127.0.0.1:x"] {
            assert!(name_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects_lead_where_the_rfc_says() {
        let from = http("https://a.example:8443/one/two?q=1").expect("a URL");
        for (location, to) in [
            ("http://b.example/x", "http://b.example/x"),
            ("//b.example/x", "https://b.example/x"),
            ("/x?y", "https://a.example:8443/x?y"),
            ("three", "https://a.example:8443/one/three"),
            ("../three/./four/", "https://a.example:8443/three/four/"),
            ("../../../x", "https://a.example:8443/x"),
            ("..", "https://a.example:8443/"),
            ("?z", "https://a.example:8443/one/two?z"),
            ("", "https://a.example:8443/one/two?q=1"),
            ("#part", "https://a.example:8443/one/two?q=1"),
            ("/x?to=http://c/", "https://a.example:8443/x?to=http://c/"),
        ] {
            assert_eq!(redirect(&from, location).expect(location).to_string(), to);
        }
        for location in ["ftp://b/", "javascript:x", "http://", "/a b", "//"] {
            assert!(redirect(&from, location).is_err(), "{location}");
        }
    }
}
