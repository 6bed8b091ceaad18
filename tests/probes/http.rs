//! Servers that answer well, late, without end, or nonsense.

use super::*;

#[test]
fn http_passes_and_asks_as_it_should() {
    let (saw, seen) = std::sync::mpsc::channel();
    let address = pages(move |_, head| {
        let _ = saw.send(head.to_owned());
        page("200 OK", "\n all is well \nmore\n")
    });
    let result = get(http(&format!("http://{address}/a/b?c=d#e")), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "all is well");
    let head = seen.recv_timeout(ENOUGH).expect("a request");
    assert!(head.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
    assert!(head.contains("connection: close\r\n"), "{head}");

    let mut named = http(&format!("http://{address}/"));
    named.host = Some(parse::host("www.example.net").expect("a name"));
    assert_eq!(get(named, ENOUGH).verdict, Verdict::Passed);
    let head = seen.recv_timeout(ENOUGH).expect("a request");
    assert!(head.contains("host: www.example.net\r\n"), "{head}");
}

#[test]
fn a_status_out_of_range_fails_and_others_can_be_accepted() {
    let address = pages(|_, _| page("503 Service Unavailable", "draining\n"));
    let mut probe = http(&format!("http://{address}/"));
    let result = get(probe.clone(), ENOUGH);
    assert_eq!(failure(&result), "status 503");
    assert_eq!(result.output, "draining");
    probe.status = vec![200..=204, 500..=503];
    assert_eq!(get(probe, ENOUGH).verdict, Verdict::Passed);
}

#[test]
fn unprintable_pages_are_not_shown() {
    let address = pages(|_, _| page("200 OK", "\x1b[2J all is well"));
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "");
}

#[test]
fn a_server_that_says_nothing_times_out() {
    let address = serve(|mut stream| {
        head(&mut stream);
        let _ = stream.read(&mut [0]);
    });
    let result = get(http(&format!("http://{address}/")), SHORT);
    assert_timed_out(&result, &format!("waiting for the answer of {address}"));
}

/// Writes `text` again and again until the other side is gone; true then.
fn without_end(stream: &mut TcpStream, text: &[u8], pause: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < 2 * ENOUGH {
        if stream.write_all(text).is_err() {
            return true;
        }
        std::thread::sleep(pause);
    }
    false
}

#[test]
fn a_head_that_trickles_times_out() {
    let address = serve(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        without_end(&mut stream, b"A: b\r\n", Duration::from_millis(20));
    });
    let result = get(http(&format!("http://{address}/")), SHORT);
    assert_timed_out(&result, &format!("waiting for the answer of {address}"));
}

#[test]
fn a_head_without_end_fails_by_its_size() {
    for line in ["A: b\r\n", "x"] {
        let address = serve(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            without_end(
                &mut stream,
                line.as_bytes().repeat(999).as_slice(),
                Duration::ZERO,
            );
        });
        let result = get(http(&format!("http://{address}/")), ENOUGH);
        let why = failure(&result);
        assert_eq!(
            why,
            format!("the head of the answer of {address} is too long")
        );
    }
}

#[test]
fn a_body_without_end_is_read_no_further_than_64_kib() {
    let (gone, ended) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfine\n");
        let _ = gone.send(without_end(&mut stream, &[b'x'; 9999], Duration::ZERO));
    });
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "fine");
    assert_eq!(ended.recv_timeout(2 * ENOUGH), Ok(true), "it was cut off");
}

#[test]
fn a_body_that_trickles_times_out() {
    let address = serve(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        without_end(&mut stream, b"x", Duration::from_millis(20));
    });
    let result = get(http(&format!("http://{address}/")), SHORT);
    assert_timed_out(&result, &format!("while reading the page of {address}"));
}

#[test]
fn a_body_that_is_cut_short_fails() {
    let address = pages(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf".to_owned());
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    let why = format!("{address} closed the connection early");
    assert_eq!(failure(&result), why);
}

#[test]
fn garbage_is_not_http() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..],
        b"\0\xff\x01\x02\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
    ] {
        let address = serve(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(garbage);
            let _ = stream.read(&mut [0]);
        });
        let result = get(http(&format!("http://{address}/")), ENOUGH);
        let why = failure(&result);
        let start = format!("what {address} answers is not HTTP: ");
        assert!(why.starts_with(&start), "{why}");
    }
}

#[test]
fn a_server_that_hangs_up_fails() {
    let address = serve(|mut stream| {
        head(&mut stream);
    });
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    let why = format!("{address} closed the connection without a whole answer");
    assert_eq!(failure(&result), why);

    let address = serve(|stream| {
        let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("a reset instead of an end");
    });
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    let why = failure(&result);
    let words = [
        "connection reset by",
        "reset the connection",
        "closed the connection",
    ];
    assert!(words.iter().any(|word| why.contains(word)), "{why}");
}

#[test]
fn a_redirect_is_followed_to_where_all_is_well() {
    let address = pages(|path, _| match path {
        "/start" => moved("next?x"),
        "/next?x" => moved("/end"),
        _ => page("200 OK", path),
    });
    let mut probe = http(&format!("http://{address}/start"));
    let result = get(probe.clone(), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "/end");
    probe.status = vec![302..=302];
    let result = get(probe, ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "", "it was not followed");
}

#[test]
fn redirects_end() {
    let circle = pages(|path, _| moved(if path == "/a" { "/b" } else { "/a" }));
    let result = get(http(&format!("http://{circle}/a")), ENOUGH);
    assert_eq!(
        failure(&result),
        format!("redirected in circles: `http://{circle}/b` leads back to `http://{circle}/a`")
    );

    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let endless = pages(move |path, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        moved(&format!("{path}x"))
    });
    let result = get(http(&format!("http://{endless}/")), ENOUGH);
    assert_eq!(
        failure(&result),
        format!("redirected more than {REDIRECTS_MAX} times, at last to `http://{endless}/xxxxxx`")
    );
    assert_eq!(asked.load(Ordering::SeqCst), REDIRECTS_MAX + 1);
}

#[test]
fn redirects_to_nonsense_fail() {
    for (to, word) in [
        ("ftp://127.0.0.1/", "does not start with `http://`"),
        ("http://user:secret@127.0.0.1/", "user or password"),
        ("http://127.0.0.1:0/", "not a port"),
        ("/a b", "not a URL"),
        ("/\x07", "not HTTP"),
    ] {
        let address = pages(move |_, _| moved(to));
        let result = get(http(&format!("http://{address}/")), ENOUGH);
        let why = failure(&result);
        assert!(why.contains(word), "{why}");
    }
    // Without a place to go it is a status as any other.
    let address = pages(|_, _| page("301 Moved Permanently", ""));
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    assert_eq!(failure(&result), "status 301");
}
