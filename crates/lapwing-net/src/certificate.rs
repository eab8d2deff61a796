//! What a certificate says, and why it is not accepted. What a peer wrote is cut to size and cleaned before it is kept.

use lapwing_core::{
    observation::{Fault, clean},
    target::Host,
    time::Wall,
};
use rustls::{
    CertificateError,
    crypto::{CryptoProvider, hash::HashAlgorithm},
    pki_types::{CertificateDer, UnixTime},
};
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate, x509::X509Name};

/// Most names of a certificate that are kept.
const NAMES_MAX: usize = 100;
/// Most bytes of one name, subject or issuer that are kept.
const TEXT_MAX: usize = 256;

/// What a peer's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    /// Subject alternative names: DNS names and addresses.
    pub names: Vec<String>,
    pub not_before: Wall,
    pub not_after: Wall,
    /// Hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// Subject and issuer are the same.
    pub self_signed: bool,
    /// Certificates that the peer sent.
    pub chain_len: usize,
    /// `TLSv1.3`; empty when the handshake did not come so far.
    pub protocol: &'static str,
    /// `TLS13_AES_256_GCM_SHA384`; empty when the handshake did not come so far.
    pub cipher: &'static str,
}

impl Certificate {
    /// The first certificate of `chain`; None when there is none or it cannot be read.
    pub(crate) fn of(provider: &CryptoProvider, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let der = chain.first()?;
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let validity = Validity::from(&parsed);
        Some(Self {
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            names: names(&parsed),
            not_before: validity.not_before,
            not_after: validity.not_after,
            serial: hex(parsed.raw_serial()),
            fingerprint: sha256(provider, der),
            self_signed: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            chain_len: chain.len(),
            protocol: "",
            cipher: "",
        })
    }

    /// The names it is for, as a person reads them: the first three, and how many more.
    fn audience(&self) -> String {
        if self.names.is_empty() {
            return "no name".to_owned();
        }
        let shown: Vec<String> = self.names.iter().take(3).map(|n| clean(n, 64)).collect();
        let more = self.names.len() - shown.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("{}{more}", shown.join(", "))
    }
}

/// From when to when a certificate holds (RFC 5280 section 4.1.2.5).
pub(crate) struct Validity {
    not_before: Wall,
    not_after: Wall,
}

impl Validity {
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(Self::from(&parsed))
    }

    pub(crate) fn check(&self, now: UnixTime) -> Result<(), rustls::Error> {
        let wall = Wall((now.as_secs() as i64).saturating_mul(1_000_000));
        if wall < self.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if wall > self.not_after {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }
}

impl From<&X509Certificate<'_>> for Validity {
    fn from(parsed: &X509Certificate<'_>) -> Self {
        let wall = |time: x509_parser::time::ASN1Time| Wall(time.timestamp().saturating_mul(1_000_000));
        Self {
            not_before: wall(parsed.validity().not_before),
            not_after: wall(parsed.validity().not_after),
        }
    }
}

/// The fault that `verdict` means for a certificate of `server` at `now`.
pub(crate) fn fault(
    verdict: &CertificateError,
    seen: Option<&Certificate>,
    server: &Host,
    now: Wall,
) -> Fault {
    use CertificateError as E;
    match verdict {
        E::Expired => expired(seen.map(|c| c.not_after), seen, now),
        E::ExpiredContext { not_after, .. } => expired(Some(wall(*not_after)), seen, now),
        E::NotValidYet => not_yet(seen.map(|c| c.not_before)),
        E::NotValidYetContext { not_before, .. } => not_yet(Some(wall(*not_before))),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            let names = seen.map_or_else(|| "another name".to_owned(), Certificate::audience);
            Fault::target("tls.name", format!("certificate is for {names}, not {server}"))
        }
        E::Revoked => Fault::target("tls.revoked", "certificate is revoked"),
        E::UnknownIssuer => untrusted(seen),
        // webpki's "a CA is used as end entity": self-made, and not in `ca`.
        E::Other(_) if seen.is_some_and(|c| c.self_signed) => untrusted(seen),
        E::BadEncoding => Fault::target("tls.certificate", "certificate is malformed"),
        // Also what comes of an authority of ours that was made anew under its old name.
        E::BadSignature => Fault::target("tls.untrusted", "certificate's signature does not fit its issuer"),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            Fault::target("tls.certificate", "certificate is not meant for servers")
        }
        other => Fault::target(
            "tls.certificate",
            format!("certificate is not acceptable: {other}"),
        ),
    }
}

fn expired(end: Option<Wall>, seen: Option<&Certificate>, now: Wall) -> Fault {
    let on = end.map(|end| format!(" on {}", date(end))).unwrap_or_default();
    let whose = if seen.is_some_and(|c| c.not_after >= now) {
        "an issuer's certificate"
    } else {
        "certificate"
    };
    Fault::target("tls.expired", format!("{whose} expired{on}"))
}

fn not_yet(begin: Option<Wall>) -> Fault {
    let on = begin
        .map(|begin| format!(" before {}", date(begin)))
        .unwrap_or_default();
    Fault::target("tls.not_yet_valid", format!("certificate is not valid{on}"))
}

fn untrusted(seen: Option<&Certificate>) -> Fault {
    let detail = match seen {
        Some(c) if c.self_signed => "certificate is self-signed".to_owned(),
        Some(c) if !c.issuer.is_empty() => {
            format!(
                "no trusted authority vouches for the certificate (issued by {})",
                clean(&c.issuer, 120)
            )
        }
        _ => "no trusted authority vouches for the certificate".to_owned(),
    };
    Fault::target("tls.untrusted", detail)
}

/// `2026-11-20`, in UTC.
fn date(wall: Wall) -> String {
    wall.rfc3339().chars().take_while(|c| *c != 'T').collect()
}

fn wall(time: UnixTime) -> Wall {
    Wall((time.as_secs() as i64).saturating_mul(1_000_000))
}

fn name(name: &X509Name<'_>) -> String {
    clean(&name.to_string(), TEXT_MAX)
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let shown = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(clean(name, TEXT_MAX)),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
                let addr = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
                addr.ok().map(|addr| addr.to_string())
            }
            _ => None,
        });
    shown.take(NAMES_MAX).collect()
}

fn sha256(provider: &CryptoProvider, bytes: &[u8]) -> String {
    let hashes = provider
        .cipher_suites
        .iter()
        .filter_map(|suite| Some(suite.tls13()?.common.hash_provider));
    let hash = hashes
        .into_iter()
        .find(|hash| hash.algorithm() == HashAlgorithm::SHA256);
    hash.map(|hash| hex(hash.hash(bytes).as_ref()))
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().take(64).flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
