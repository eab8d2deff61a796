//! TLS: one configuration for each distinct set of settings, and handshakes that report the peer's certificate whether
//! it is good or bad. Nothing here trusts a certificate that was not verified, except where `insecure` says so.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use lapwing_core::{
    observation::Fault,
    target::Host,
    time::{Clock, Wall},
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, ProtocolVersion,
    RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    Net,
    certificate::{self, Certificate, Validity},
    error::{Moment, closed, fault_of},
    pem::{self, TlsConfigError},
};

/// Whether a later handshake with the same server may resume an earlier session.
///
/// Off: a resumed handshake costs 0.6 of a full one, but shows the certificate of the earlier handshake, so that a
/// renewed or revoked one would be seen late. To turn it on, sessions must be dropped an hour after their handshake.
const RESUMPTION: bool = false;

/// Distinct settings whose configuration is kept. A configuration file has a handful.
const CACHE_MAX: usize = 1024;

/// What a server's verdict on our certificate may take beyond the time of the handshake, which is a round trip or more.
const VERDICT_MARGIN: Duration = Duration::from_millis(50);

/// What distinguishes one TLS configuration from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// Accepts every certificate; its facts are reported all the same.
    pub insecure: bool,
    /// A PEM file whose certificates are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    pub client_cert: Option<ClientCert>,
    /// Protocols to offer, the preferred one first (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
}

/// A certificate of ours, as PEM files. Both may be the same file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCert {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl TlsSettings {
    /// Reads and parses every file that these settings name, as a handshake would; for when a configuration is read.
    pub fn check(&self) -> Result<(), TlsConfigError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        if let Some(file) = &self.ca {
            authorities(&provider, trusted(file)?.0)?;
        }
        if self.client_cert.is_some() {
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| no_tls(&e))?
                .with_root_certificates(RootCertStore::empty());
            identified(builder, self.client_cert.as_ref())?;
        }
        Ok(())
    }
}

/// A handshake that failed, and the certificate where one was seen.
#[derive(Debug)]
pub struct TlsFailure {
    pub fault: Fault,
    pub certificate: Option<Certificate>,
}

impl From<TlsFailure> for Fault {
    fn from(failure: TlsFailure) -> Self {
        failure.fault
    }
}

/// A TLS configuration, ready for handshakes.
pub struct Tls {
    connector: TlsConnector,
}

/// The configurations made so far.
pub(crate) struct TlsCache {
    provider: Arc<CryptoProvider>,
    time: Arc<Time>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    system_roots: Option<Arc<RootCertStore>>,
    configs: HashMap<TlsSettings, (Vec<Option<SystemTime>>, Arc<Tls>)>,
}

impl Net {
    /// The TLS configuration for `settings`, made once for each distinct set, and anew when one of its files changed.
    /// Reads files: to be called when a monitor is set up, or at most once a handshake.
    pub fn tls(&self, settings: &TlsSettings) -> Result<Arc<Tls>, TlsConfigError> {
        self.tls.get(settings)
    }

    /// Shakes hands over `stream` with the peer that `server` names. Bounded by the caller's deadline.
    pub async fn handshake<S>(
        &self,
        stream: S,
        server: &Host,
        tls: &Tls,
    ) -> Result<(TlsStream<S>, Certificate), TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (stream, certificate, _) = self.shake(stream, server, tls).await?;
        Ok((stream, certificate))
    }

    /// As [`Net::handshake`]; where the server asked for a certificate of ours, its verdict is waited for, at most
    /// for `most`. In TLS 1.3 that comes after the handshake, as an alert, or not at all (RFC 8446 section 4.4.2.4).
    ///
    /// For those who want nothing but the handshake: what the peer says meanwhile is lost.
    pub async fn handshake_with_verdict<S>(
        &self,
        stream: S,
        server: &Host,
        tls: &Tls,
        most: Duration,
    ) -> Result<(TlsStream<S>, Certificate), TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let began = self.clock.mono();
        let (mut stream, certificate, asked) = self.shake(stream, server, tls).await?;
        if asked && stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            let wait = self.clock.mono().since(began) + VERDICT_MARGIN;
            let heard = timeout(wait.min(most), stream.read(&mut [0])).await;
            if let Ok(Err(error)) = heard
                && error.kind() != io::ErrorKind::UnexpectedEof
            {
                let fault = fault_of(&error, Moment::Later);
                let certificate = Some(certificate);
                return Err(TlsFailure { fault, certificate });
            }
        }
        Ok((stream, certificate))
    }

    /// A handshake, and whether the server asked for a certificate of ours.
    async fn shake<S>(
        &self,
        stream: S,
        server: &Host,
        tls: &Tls,
    ) -> Result<(TlsStream<S>, Certificate, bool), TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let name = match server {
            Host::Name(name) => ServerName::try_from(name.clone()),
            Host::Ip(addr, _) => Ok(ServerName::from(*addr)),
        };
        let name = name.map_err(|_| TlsFailure {
            fault: Fault::ours(
                "ours.other",
                format!("{server} is not a name that TLS can ask for"),
            ),
            certificate: None,
        })?;
        let seen = Seen::default();
        let connecting = tls.connector.connect(name, stream);
        let result = SEEN.scope(seen.clone(), connecting).await;
        let provider = &self.tls.provider;
        match result {
            Ok(stream) => {
                let certificate = established(provider, &stream).ok_or_else(|| TlsFailure {
                    fault: Fault::target("tls.certificate", "certificate is malformed"),
                    certificate: None,
                })?;
                Ok((stream, certificate, seen.held().asked))
            }
            Err(error) => {
                let certificate = Certificate::of(provider, &seen.held().chain);
                let fault = failed(&error, certificate.as_ref(), server, self.clock.now().wall);
                Err(TlsFailure { fault, certificate })
            }
        }
    }
}

/// What the peer of a finished handshake showed.
fn established<S>(provider: &CryptoProvider, stream: &TlsStream<S>) -> Option<Certificate> {
    let connection = stream.get_ref().1;
    let mut certificate = Certificate::of(provider, connection.peer_certificates()?)?;
    certificate.protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    };
    let suite = connection.negotiated_cipher_suite();
    certificate.cipher = suite.and_then(|s| s.suite().as_str()).unwrap_or_default();
    Some(certificate)
}

fn failed(error: &io::Error, certificate: Option<&Certificate>, server: &Host, now: Wall) -> Fault {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::InvalidCertificate(verdict)) => {
            certificate::fault(verdict, certificate, server, now)
        }
        _ if error.kind() == io::ErrorKind::UnexpectedEof && error.raw_os_error().is_none() => closed(),
        _ => fault_of(error, Moment::Later),
    }
}

/// The fault that an error of the TLS protocol means, wherever in a connection it is met.
pub(crate) fn protocol_fault(error: &rustls::Error) -> Fault {
    use rustls::Error as E;
    match error {
        E::AlertReceived(alert) => {
            Fault::target("tls.alert", format!("peer sent alert {}", alert_name(*alert)))
        }
        E::InvalidMessage(_) | E::InappropriateMessage { .. } | E::PeerSentOversizedRecord => {
            Fault::target("tls.protocol", "peer does not speak TLS")
        }
        E::PeerIncompatible(_) => {
            Fault::target("tls.protocol", "no TLS version or cipher in common with the peer")
        }
        E::NoApplicationProtocol => {
            Fault::target("tls.protocol", "no application protocol in common with the peer")
        }
        E::InvalidCertificate(_) | E::NoCertificatesPresented => {
            Fault::target("tls.certificate", "certificate is not acceptable")
        }
        E::FailedToGetRandomBytes | E::FailedToGetCurrentTime | E::General(_) | E::Other(_) => {
            Fault::ours("ours.other", format!("TLS failed: {error}"))
        }
        _ => Fault::target("tls.protocol", "peer breaks the TLS protocol"),
    }
}

/// `handshake_failure`, as RFC 8446 section 6 spells it.
fn alert_name(alert: AlertDescription) -> String {
    let AlertDescription::Unknown(number) = alert else {
        let mut name = String::new();
        for c in format!("{alert:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() && !name.ends_with(|p: char| p.is_ascii_uppercase())
            {
                name.push('_');
            }
            name.push(c);
        }
        return name.to_ascii_lowercase();
    };
    number.to_string()
}

impl TlsCache {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self {
            provider,
            time: Arc::new(Time(clock)),
            made: Mutex::default(),
        }
    }

    fn get(&self, settings: &TlsSettings) -> Result<Arc<Tls>, TlsConfigError> {
        let dates = pem::dates(settings);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_with, tls)) = made.configs.get(settings)
            && *made_with == dates
        {
            return Ok(tls.clone());
        }
        let tls = Arc::new(self.make(settings, &mut made.system_roots)?);
        if made.configs.len() >= CACHE_MAX {
            made.configs.clear();
        }
        made.configs.insert(settings.clone(), (dates, tls.clone()));
        Ok(tls)
    }

    fn make(
        &self,
        settings: &TlsSettings,
        system_roots: &mut Option<Arc<RootCertStore>>,
    ) -> Result<Tls, TlsConfigError> {
        let (roots, pinned) = match &settings.ca {
            Some(file) => trusted(file)?,
            None => (
                system_roots
                    .get_or_insert_with(|| Arc::new(pem::system_roots()))
                    .clone(),
                Vec::new(),
            ),
        };
        let verifier = Arc::new(Verifier {
            authorities: authorities(&self.provider, roots)?,
            pinned,
            insecure: settings.insecure,
        });
        let builder = ClientConfig::builder_with_details(self.provider.clone(), self.time.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| no_tls(&e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = identified(builder, settings.client_cert.as_ref())?;
        config.alpn_protocols.clone_from(&settings.alpn);
        if !RESUMPTION {
            config.resumption = Resumption::disabled();
        }
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }
}

/// The certificates of `file`: as authorities, and as they are.
fn trusted(file: &Path) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), TlsConfigError> {
    let certificates = pem::certificates(file)?;
    Ok((Arc::new(pem::roots(file, &certificates)?), certificates))
}

fn authorities(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
) -> Result<Arc<WebPkiServerVerifier>, TlsConfigError> {
    WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|e| TlsConfigError::new(format!("no certificate can be verified: {e}")))
}

/// The configuration with our own certificate, where there is one.
fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    client: Option<&ClientCert>,
) -> Result<ClientConfig, TlsConfigError> {
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(ClientCert { cert, key }) => {
            let (chain, private) = (pem::certificates(cert)?, pem::key(key)?);
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|e| pem::mismatch(cert, key, &e))?
        }
    };
    config.client_auth_cert_resolver = Arc::new(Identity(config.client_auth_cert_resolver));
    Ok(config)
}

fn no_tls(error: &rustls::Error) -> TlsConfigError {
    TlsConfigError::new(format!("TLS cannot be set up: {error}"))
}

/// The clock, as rustls asks for it.
struct Time(Arc<dyn Clock>);

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let wall = self.0.now().wall;
        Some(UnixTime::since_unix_epoch(wall.since(Wall(0))))
    }
}

/// What the peer of the running handshake did.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Deeds>>);

#[derive(Default)]
struct Deeds {
    /// The chain that it showed.
    chain: Vec<CertificateDer<'static>>,
    /// It asked for a certificate of ours.
    asked: bool,
}

impl Seen {
    fn held(&self) -> MutexGuard<'_, Deeds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

tokio::task_local! {
    /// Set while a handshake is polled. One verifier serves all handshakes of a configuration, and rustls drops the
    /// chain when the verdict is bad.
    static SEEN: Seen;
}

/// Our certificate, or none; notes that the peer asked for it.
#[derive(Debug)]
struct Identity(Arc<dyn ResolvesClientCert>);

impl ResolvesClientCert for Identity {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Outside of a handshake of ours nobody wants to know.
        let _unset = SEEN.try_with(|seen| seen.held().asked = true);
        self.0.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    /// The certificates of the `ca` file: a server that shows one of these very certificates is trusted too.
    pinned: Vec<CertificateDer<'static>>,
    insecure: bool,
}

impl Verifier {
    /// A self-made certificate that is its own authority, which webpki refuses as a server's (`CA:TRUE`, what
    /// `openssl req -x509` makes). Its dates and names hold all the same.
    fn pinned(
        &self,
        end_entity: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Result<ServerCertVerified, rustls::Error>> {
        self.pinned.iter().find(|pinned| *pinned == end_entity)?;
        let validity = Validity::of(end_entity)?;
        let verdict = validity.check(now).and_then(|()| {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, name)
        });
        Some(verdict.map(|()| ServerCertVerified::assertion()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Outside of `Net::handshake` nobody wants to know.
        let _unset = SEEN.try_with(|seen| {
            let chain = std::iter::once(end_entity).chain(intermediates);
            seen.held().chain = chain.map(|der| der.clone().into_owned()).collect();
        });
        if self.insecure {
            return Ok(ServerCertVerified::assertion());
        }
        let verdict =
            self.authorities
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) => self.pinned(end_entity, server_name, now).unwrap_or(verdict),
            _ => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.insecure {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.insecure {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
