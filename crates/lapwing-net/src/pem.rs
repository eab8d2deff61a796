//! Certificates and keys from files: the system's roots, `ca`, `client_cert`. Every error names the file and what is
//! wrong with it, and never shows what is in it.

use std::{
    fs::{self, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::fcntl::OFlag;
use rustls::{
    InconsistentKeys, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::tls::TlsSettings;

/// Most bytes of a file: the authorities of a whole system have less than a tenth of it.
const FILE_MAX: u64 = 16 << 20;

/// Why a TLS configuration could not be made: which file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TlsConfigError {
    message: String,
}

impl TlsConfigError {
    pub(crate) fn new(message: String) -> Self {
        Self { message }
    }
}

/// When the files of `settings` were last changed.
pub(crate) fn dates(settings: &TlsSettings) -> Vec<Option<SystemTime>> {
    let client = settings
        .client_cert
        .iter()
        .flat_map(|client| [&client.cert, &client.key]);
    let files: Vec<&PathBuf> = settings.ca.iter().chain(client).collect();
    files
        .into_iter()
        .map(|file| fs::metadata(file).and_then(|meta| meta.modified()).ok())
        .collect()
}

/// The certificates in `file`, at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found =
        found.map_err(|_| TlsConfigError::new(format!("{}: the PEM text is damaged", file.display())))?;
    if found.is_empty() {
        let message = format!(
            "{}: no certificate in it (-----BEGIN CERTIFICATE-----)",
            file.display()
        );
        return Err(TlsConfigError::new(message));
    }
    Ok(found)
}

/// The private key in `file`.
pub(crate) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let bytes = read(file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let encrypted = bytes.windows(9).any(|w| w == b"ENCRYPTED");
        let what = if encrypted {
            "the key has a password; give it without"
        } else {
            "no private key in it"
        };
        TlsConfigError::new(format!(
            "{}: {what} (-----BEGIN PRIVATE KEY-----)",
            file.display()
        ))
    })
}

/// These certificates, which come from `file`, as the only trusted ones.
pub(crate) fn roots(
    file: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, TlsConfigError> {
    let mut store = RootCertStore::empty();
    for (i, certificate) in certificates.iter().enumerate() {
        store.add(certificate.clone()).map_err(|_| {
            TlsConfigError::new(format!(
                "{}: certificate {} in it is malformed",
                file.display(),
                i + 1
            ))
        })?;
    }
    Ok(store)
}

/// The roots that this machine trusts; Mozilla's where it has none (a bare container).
pub(crate) fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        tracing::info!(
            "no certificate authorities found on this machine, using the built-in ones of Mozilla"
        );
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

/// Why a certificate and a key do not go together.
pub(crate) fn mismatch(cert: &Path, key: &Path, error: &rustls::Error) -> TlsConfigError {
    let (cert, key) = (cert.display(), key.display());
    TlsConfigError::new(match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("{key}: the key does not belong to the certificate {cert}")
        }
        rustls::Error::InvalidCertificate(_) => format!("{cert}: the certificate is malformed"),
        _ => format!("{key}: the key is not usable"),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsConfigError> {
    let wrong = |what: String| TlsConfigError::new(format!("{}: {what}", file.display()));
    // Without waiting: a pipe that nobody writes to must not hold us up.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(file);
    let opened = opened.and_then(|opened| Ok((opened.metadata()?, opened)));
    let (meta, opened) = opened.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if !meta.is_file() {
        return Err(wrong("it is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    match opened.take(FILE_MAX + 1).read_to_end(&mut bytes) {
        Ok(len) if len as u64 > FILE_MAX => Err(wrong("larger than any certificate file".to_owned())),
        Ok(_) => Ok(bytes),
        Err(error) => Err(wrong(format!("cannot be read: {error}"))),
    }
}
