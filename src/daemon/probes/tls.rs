//! TLS on a probe's connection: whom to trust, and what is wrong with a
//! certificate, in words.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::breakage;
use super::outcome::{Doing, Trouble, quoted};
use crate::config::work::probe::{Host, HostPort, Trust};

/// Files of authorities read at once; a file system that hangs holds no more
/// threads than these.
pub(super) const FILES_AT_ONCE: usize = 2;
/// Files are read again after this time, so that a renewed one counts.
const READ_AGAIN: Duration = Duration::from_secs(60);
const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

type Known = BTreeMap<Trust, (Instant, Arc<ClientConfig>)>;

pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    /// Entries past [`READ_AGAIN`] are dropped whenever one is added: never
    /// more than the checks name files.
    known: Mutex<Known>,
    slots: Arc<Semaphore>,
}

impl Tls {
    pub fn new() -> Self {
        Self {
            provider: Arc::new(ring::default_provider()),
            known: Mutex::default(),
            slots: Arc::new(Semaphore::new(FILES_AT_ONCE)),
        }
    }

    /// The handshake on `stream`, with the certificate checked against `name`.
    pub async fn handshake(
        &self,
        stream: TcpStream,
        target: &HostPort,
        name: &Host,
        trust: &Trust,
        doing: &Doing,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let config = self.config(trust, doing).await?;
        doing.now(format!("during the TLS handshake with {target}"));
        let server = match name {
            Host::Address(address) => ServerName::from(*address),
            // A certificate never has the last dot of an absolute name.
            Host::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| {
                    Trouble::Failed(format!("no certificate can be made out to `{name}`"))
                })?,
        };
        let connected = TlsConnector::from(config).connect(server, stream).await;
        connected.map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            Trouble::Failed(match inner {
                Some(error) => complaint(error, target, name, trust),
                None => breakage(&error, target),
            })
        })
    }

    async fn config(&self, trust: &Trust, doing: &Doing) -> Result<Arc<ClientConfig>, Trouble> {
        let broken = || Trouble::NotRun("the thread that reads certificates failed".to_owned());
        doing.now(match trust {
            Trust::System => "while reading the host's certificate authorities".to_owned(),
            Trust::File(path) => format!("while reading {}", path.display()),
            Trust::Anyone => "while preparing TLS".to_owned(),
        });
        if let Some(config) = self.fresh(trust).await {
            return Ok(config);
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| broken())?;
        // Another probe may have read it meanwhile.
        if let Some(config) = self.fresh(trust).await {
            return Ok(config);
        }
        let (provider, wanted) = (Arc::clone(&self.provider), trust.clone());
        let read = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            client_config(&provider, &wanted)
        });
        let config = Arc::new(read.await.map_err(|_| broken())??);
        let mut known = self.known.lock().await;
        known.retain(|_, (read_at, _)| read_at.elapsed() < READ_AGAIN);
        known.insert(trust.clone(), (Instant::now(), Arc::clone(&config)));
        Ok(config)
    }

    async fn fresh(&self, trust: &Trust) -> Option<Arc<ClientConfig>> {
        let known = self.known.lock().await;
        let (read_at, config) = known.get(trust)?;
        (read_at.elapsed() < READ_AGAIN).then(|| Arc::clone(config))
    }
}

/// Reads files.
fn client_config(provider: &Arc<CryptoProvider>, trust: &Trust) -> Result<ClientConfig, Trouble> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Trouble::NotRun(format!("TLS cannot be used: {error}")))?;
    let builder = match trust {
        Trust::System => builder.with_root_certificates(system_roots()?),
        Trust::File(path) => builder.with_root_certificates(file_roots(path)?),
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(Arc::clone(provider)))),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not show its certificate again, and an expired
    // one would go unnoticed.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, Trouble> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Single ones that cannot be read are common, and left out.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map(ToString::to_string);
        return Err(Trouble::Failed(format!(
            "this host trusts no certificate authority{}: install ca-certificates, or write `ca:`",
            reason.map_or(String::new(), |reason| format!(" ({reason})"))
        )));
    }
    Ok(roots)
}

fn file_roots(path: &Path) -> Result<RootCertStore, Trouble> {
    let trouble =
        |what: String| Trouble::Failed(format!("the `ca` file {}: {what}", path.display()));
    let pem = read_bounded(path).map_err(|error| trouble(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
        added.map_err(|error| trouble(format!("has a certificate that is broken: {error}")))?;
    }
    if roots.is_empty() {
        return Err(trouble("has no certificate in PEM form".to_owned()));
    }
    Ok(roots)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or device could hold the reader for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(CA_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= CA_FILE_BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(io::Error::other("it is larger than 4 MiB"))
    }
}

fn complaint(error: &Error, target: &HostPort, name: &Host, trust: &Trust) -> String {
    match error {
        Error::InvalidCertificate(error) => {
            let what = certificate_complaint(error, name, trust);
            format!("the certificate of {target} {what}")
        }
        Error::InvalidMessage(_) => format!("{target} does not speak TLS"),
        Error::AlertReceived(alert) => {
            format!("{target} refused the TLS handshake: {alert:?}")
        }
        Error::PeerIncompatible(why) => {
            format!("{target} speaks no version of TLS that is accepted here: {why:?}")
        }
        error => format!("the TLS handshake with {target} failed: {error}"),
    }
}

fn certificate_complaint(error: &CertificateError, name: &Host, trust: &Trust) -> String {
    match error {
        CertificateError::UnknownIssuer => match trust {
            Trust::File(path) => {
                format!("is not signed by an authority in {}", path.display())
            }
            Trust::System | Trust::Anyone => {
                "is not signed by an authority that this host trusts".to_owned()
            }
        },
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired at {}", at(*not_after))
        }
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is valid only from {}", at(*not_before))
        }
        CertificateError::NotValidYet => "is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("is not for {name}, but for {}", names(presented))
        }
        CertificateError::NotValidForName => format!("is not for {name}"),
        CertificateError::Revoked => "was revoked".to_owned(),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "is not for a server".to_owned()
        }
        CertificateError::BadEncoding => "is broken".to_owned(),
        // As when an authority was made anew under its old name.
        CertificateError::BadSignature => {
            "has a bad signature: the authority known here has the same name and another key"
                .to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "is an authority's own (CA:TRUE), which no server may show".to_owned()
        }
        // The library's enum grows.
        other => format!("is not accepted: {other}"),
    }
}

fn at(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "an unreadable time".to_owned(), |time| time.to_string())
}

/// What a certificate is made out to; it has as many names as it likes.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 3;
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    let plain = |name: &String| {
        let inner = name
            .strip_prefix("DnsName(\"")
            .and_then(|name| name.strip_suffix("\")"));
        quoted(inner.unwrap_or(name))
    };
    let mut shown: Vec<String> = presented.iter().take(SHOWN).map(plain).collect();
    if presented.len() > SHOWN {
        shown.push(format!("{} more", presented.len() - SHOWN));
    }
    shown.join(", ")
}

/// `insecure: true`: not even the proof of the key is checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
