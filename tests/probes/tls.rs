//! Certificates, good and bad.

use super::*;

/// An authority, and a server that shows a certificate of it for `name`.
struct Secure {
    address: SocketAddr,
    ca: tempfile::NamedTempFile,
}

fn server_config(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}

fn pem_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("to write");
    file
}

fn serve_tls(config: Arc<ServerConfig>) -> SocketAddr {
    serve(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut stream = StreamOwned::new(connection, stream);
        let head = head(&mut stream);
        if !head.is_empty() {
            let _ = stream.write_all(page("200 OK", "secret").as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    })
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params
}

fn secure(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Secure {
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority("the authority"), key);
    let authority = authority.expect("an authority");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    Secure {
        address: serve_tls(server_config(vec![certificate.der().clone()], &key)),
        ca: pem_file(&authority.pem()),
    }
}

fn https(address: SocketAddr, trust: Trust) -> HttpProbe {
    HttpProbe {
        trust,
        ..http(&format!("https://{address}/"))
    }
}

fn trusting(path: &Path) -> Trust {
    Trust::File(path.to_owned())
}

#[test]
fn tls_is_accepted_by_the_authority_or_by_not_caring() {
    let server = secure(&["127.0.0.1"], |_| {});
    for trust in [trusting(server.ca.path()), Trust::Anyone] {
        let result = get(https(server.address, trust), ENOUGH);
        assert_eq!(result.verdict, Verdict::Passed);
        assert_eq!(result.output, "secret");
    }
    let result = get(https(server.address, Trust::System), ENOUGH);
    let why = failure(&result);
    let unknown = format!(
        "the certificate of {} is not signed by an authority that this host trusts",
        server.address
    );
    let no_roots = "this host trusts no certificate authority";
    assert!(why == unknown || why.starts_with(no_roots), "{why}");
    let key = KeyPair::generate().expect("a key");
    let renewed = authority("the authority").self_signed(&key).expect("it");
    let renewed = pem_file(&renewed.pem());
    let result = get(https(server.address, trusting(renewed.path())), ENOUGH);
    assert!(failure(&result).contains("the same name and another key"));
    let other = authority("another one").self_signed(&key).expect("it");
    let other = pem_file(&other.pem());
    let result = get(https(server.address, trusting(other.path())), ENOUGH);
    assert!(failure(&result).contains("is not signed by an authority in /"));
}

#[test]
fn a_self_signed_certificate_can_be_its_own_authority() {
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let address = serve_tls(server_config(vec![certificate.der().clone()], &key));
    let file = pem_file(&certificate.pem());
    let accepted = get(https(address, trusting(file.path())), ENOUGH);
    assert_eq!(accepted.verdict, Verdict::Passed);
    let accepted = get(https(address, Trust::Anyone), ENOUGH);
    assert_eq!(accepted.verdict, Verdict::Passed);
    assert!(failure(&get(https(address, Trust::System), ENOUGH)).contains("authority"));
}

#[test]
fn an_authority_as_a_server_is_told_apart() {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let address = serve_tls(server_config(vec![certificate.der().clone()], &key));
    let file = pem_file(&certificate.pem());
    let result = get(https(address, trusting(file.path())), ENOUGH);
    assert!(failure(&result).contains("CA:TRUE"), "{result:?}");
    let accepted = get(https(address, Trust::Anyone), ENOUGH);
    assert_eq!(accepted.verdict, Verdict::Passed);
}

#[test]
fn the_name_in_the_certificate_must_be_right() {
    let server = secure(&["www.example.net", "b.example"], |_| {});
    let trust = || trusting(server.ca.path());
    let result = get(https(server.address, trust()), ENOUGH);
    assert_eq!(
        failure(&result),
        format!(
            "the certificate of {} is not for 127.0.0.1, but for `www.example.net`, `b.example`",
            server.address
        )
    );
    let mut named = https(server.address, trust());
    named.host = Some("www.example.net".to_owned());
    assert_eq!(get(named, ENOUGH).verdict, Verdict::Passed);
}

#[test]
fn an_expired_certificate_says_since_when() {
    let server = secure(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 2, 3);
    });
    let result = get(https(server.address, trusting(server.ca.path())), ENOUGH);
    assert_eq!(
        failure(&result),
        format!(
            "the certificate of {} expired at 2002-02-03T00:00:00Z",
            server.address
        )
    );
}

#[test]
fn bad_files_of_authorities_are_told_apart() {
    let server = secure(&["127.0.0.1"], |_| {});
    let folder = tempfile::tempdir().expect("a folder");
    let empty = pem_file("nothing\n");
    let broken = pem_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (path, word) in [
        (
            Path::new("/nonexistent/ca.pem"),
            "cannot be read: No such file",
        ),
        (folder.path(), "it is not a file"),
        (Path::new("/dev/zero"), "it is not a file"),
        (empty.path(), "has no certificate in PEM form"),
        (broken.path(), "has a certificate that is broken"),
    ] {
        let result = get(https(server.address, trusting(path)), ENOUGH);
        let why = failure(&result);
        assert!(why.contains(word), "{why}");
        assert!(why.contains(&path.display().to_string()), "{why}");
    }
}

#[test]
fn a_server_without_tls_is_told_apart() {
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let result = get(https(plain, Trust::Anyone), ENOUGH);
    assert_eq!(failure(&result), format!("{plain} does not speak TLS"));
    let silent = serve(|mut stream| while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
    let result = get(https(silent, Trust::Anyone), SHORT);
    assert_timed_out(&result, &format!("during the TLS handshake with {silent}"));
    let gone = serve(drop);
    let result = get(https(gone, Trust::Anyone), ENOUGH);
    assert!(failure(&result).contains("the connection"), "{result:?}");
    let secure = secure(&["127.0.0.1"], |_| {});
    let result = get(http(&format!("http://{}/", secure.address)), ENOUGH);
    assert!(failure(&result).contains("not HTTP"), "{result:?}");
}
