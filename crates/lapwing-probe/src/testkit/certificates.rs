//! Certificates for peers that speak TLS: good ones, and every way to be bad. Never for use outside tests.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

const DAY: Duration = Duration::from_hours(24);

/// An authority of its own, trusted only where its file is given as `ca`.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    #[expect(clippy::new_without_default, reason = "each authority has a new key")]
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Lapwing test authority {number}"));
        let certificate = params.self_signed(&key).expect("signed by itself");
        let file = file_of(&certificate.pem());
        Self {
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// The path of its certificate, for the option `ca`.
    pub fn path(&self) -> String {
        self.file.path().to_string_lossy().into_owned()
    }

    /// Good for every loopback name and address, for 90 days.
    pub fn good(&self) -> Certified {
        self.issue(&["localhost", "127.0.0.1", "::1"], -1, 90)
    }

    /// For these names and addresses, valid from and until so many days from now (and an hour, where it is to come).
    pub fn issue(&self, names: &[&str], from_days: i32, until_days: i32) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let params = params(names, from_days, until_days);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("signed by the authority");
        Certified {
            pem: certificate.pem(),
            chain: vec![certificate.der().clone(), self.der.clone()],
            key,
        }
    }

    /// A store that trusts this authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        roots
    }
}

/// A certificate with its key.
pub struct Certified {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pem: String,
}

impl Certified {
    /// Signed by itself, good for every loopback name and address.
    pub fn self_signed() -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(&["localhost", "127.0.0.1", "::1"], -1, 90)
            .self_signed(&key)
            .expect("signed by itself");
        Self {
            pem: certificate.pem(),
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    /// Certificate and key in one file, for the option `client_cert`.
    pub fn file(&self) -> tempfile::NamedTempFile {
        file_of(&format!("{}{}", self.pem, self.key.serialize_pem()))
    }

    /// Accepts TLS with this certificate; with `clients`, only from those with a certificate of that authority.
    pub fn acceptor(&self, alpn: &[&str], clients: Option<&Authority>) -> tokio_rustls::TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder
            .with_safe_default_protocol_versions()
            .expect("versions of the provider");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let mut config = builder
            .with_single_cert(self.chain.clone(), key)
            .expect("certificate and key match");
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }
}

fn params(names: &[&str], from_days: i32, until_days: i32) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params
        .distinguished_name
        .push(DnType::CommonName, "Lapwing test peer");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(from_days);
    let slack = if until_days > 0 { DAY / 24 } else { Duration::ZERO };
    params.not_after = epoch + since_epoch(until_days) + slack;
    params
}

/// The time since 1970 at so many days from now.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are judged by the real clock"
)]
fn since_epoch(days: i32) -> Duration {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if days < 0 {
        now.saturating_sub(DAY * days.unsigned_abs())
    } else {
        now + DAY * days.unsigned_abs()
    }
}

fn file_of(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("room for a certificate");
    file
}
