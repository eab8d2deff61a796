//! An authority of the test's own, trusted nowhere else, and good and bad certificates. One key serves all of them, so
//! that a server changes its certificate by changing one file.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    server: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of the tests");
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
            server: KeyPair::generate().unwrap(),
        }
    }

    /// The authority's certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The key of every server.
    pub(crate) fn key(&self) -> &KeyPair {
        &self.server
    }

    /// For these names and addresses, valid from and until so many days from `now`.
    pub(crate) fn issue(&self, now: Timestamp, names: &[&str], days: (i32, i32)) -> rcgen::Certificate {
        self.vouch(&self.issuer, now, names, days)
    }

    /// A good one, but of an authority of the same name that nobody trusts.
    pub(crate) fn forge(&self, now: Timestamp, names: &[&str]) -> rcgen::Certificate {
        self.vouch(&Self::new().issuer, now, names, (-1, 90))
    }

    fn vouch(
        &self,
        issuer: &Issuer<'_, KeyPair>,
        now: Timestamp,
        names: &[&str],
        (from, until): (i32, i32),
    ) -> rcgen::Certificate {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "www.lapwing.test");
        let at = |days: i32| {
            let seconds = now.as_second() + i64::from(days) * 86_400;
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.unsigned_abs())
        };
        params.not_before = at(from);
        params.not_after = at(until);
        params.signed_by(&self.server, issuer).unwrap()
    }
}

/// Puts `text` in the place of the file at `path`, all at once.
pub(crate) fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}
