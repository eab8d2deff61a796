//! TLS: shakes hands and judges the certificate; what tcp and https say about certificates stands here too.
//! Never sends a byte of application data.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use lapwing_core::{
    kind::{Address, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options},
    observation::{Fault, Reason},
    target::{Host, Target},
};
use lapwing_net::{Certificate, ClientCert, TlsSettings, TlsStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{Cx, Probe, Probing, Verdict};

pub(super) static INFO: KindInfo = KindInfo {
    name: "tls",
    schemes: &["tls"],
    summary: "Shakes hands by TLS and checks the certificate.",
    about: "Up when the handshake succeeds: the certificate is valid today, for this name, and a trusted authority \
        vouches for it. Degraded when it expires within `expires_within`. No application data is sent. With \
        `insecure` every certificate passes, and its facts are reported all the same.",
    examples: &[
        "tls://example.com:443",
        "tls://mail.example.com:993?expires_within=30d",
        "tls://192.0.2.1:443?name=www.example.com",
    ],
    address: Address::HostPort { default: Some(443) },
    options: &[EXPIRES_WITHIN, NAME, CA, INSECURE, CLIENT_CERT],
    facts: &[
        FACT_EXPIRES_IN,
        FACT_NOT_AFTER,
        FACT_ISSUER,
        FACT_SUBJECT,
        FACT_NAMES,
        FACT_PROTOCOL,
        FACT_CIPHER,
        FACT_SERIAL,
    ],
    codes: &[],
    privileges: None,
    overlaps: false,
    owns_query: false,
};

pub(super) const EXPIRES_WITHIN: OptionInfo = OptionInfo {
    name: "expires_within",
    ty: OptionType::Duration,
    default: "14d",
    doc: "Degraded when the certificate expires within this time; \"0s\" turns that off.",
    example: "\"30d\"",
};
pub(super) const NAME: OptionInfo = OptionInfo {
    name: "name",
    ty: OptionType::Text,
    default: "",
    doc: "The name that is asked for (SNI) and that the certificate must carry; unless given, the target's host.",
    example: "\"www.example.com\"",
};
pub(super) const CA: OptionInfo = OptionInfo {
    name: "ca",
    ty: OptionType::Path,
    default: "",
    doc: "A PEM file with the authorities to trust instead of the system's.",
    example: "\"/etc/lapwing/ca.pem\"",
};
pub(super) const INSECURE: OptionInfo = OptionInfo {
    name: "insecure",
    ty: OptionType::Flag,
    default: "false",
    doc: "Accepts every certificate: expired, for another name, vouched for by nobody.",
    example: "true",
};
pub(super) const CLIENT_CERT: OptionInfo = OptionInfo {
    name: "client_cert",
    ty: OptionType::Path,
    default: "",
    doc: "Our own certificate with its key: one PEM file with both, or two with a comma between them.",
    example: "\"/etc/lapwing/client.pem,/etc/lapwing/client.key\"",
};

pub(super) const FACT_EXPIRES_IN: FactInfo = FactInfo {
    name: "tls.expires_in",
    unit: "s",
    doc: "Time until the certificate expires; negative when it has.",
    kept: true,
};
pub(super) const FACT_NOT_AFTER: FactInfo = FactInfo {
    name: "tls.not_after",
    unit: "",
    doc: "When the certificate expires (RFC 3339, UTC).",
    kept: false,
};
pub(super) const FACT_ISSUER: FactInfo = FactInfo {
    name: "tls.issuer",
    unit: "",
    doc: "Who signed the certificate.",
    kept: false,
};
pub(super) const FACT_SUBJECT: FactInfo = FactInfo {
    name: "tls.subject",
    unit: "",
    doc: "Whom the certificate names as its subject.",
    kept: false,
};
pub(super) const FACT_NAMES: FactInfo = FactInfo {
    name: "tls.names",
    unit: "",
    doc: "Names and addresses that the certificate is for.",
    kept: false,
};
pub(super) const FACT_PROTOCOL: FactInfo = FactInfo {
    name: "tls.protocol",
    unit: "",
    doc: "The version of TLS spoken.",
    kept: false,
};
pub(super) const FACT_CIPHER: FactInfo = FactInfo {
    name: "tls.cipher",
    unit: "",
    doc: "The cipher suite used.",
    kept: false,
};
pub(super) const FACT_SERIAL: FactInfo = FactInfo {
    name: "tls.serial",
    unit: "",
    doc: "The certificate's serial number, hexadecimal.",
    kept: false,
};

pub(super) fn parse(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    let mut reader = OptionReader::new(&INFO, options);
    let expires_within = reader.duration("expires_within").unwrap_or_default();
    let name = name(&mut reader);
    let settings = TlsSettings {
        client_cert: client_cert(&mut reader),
        ..settings(&mut reader)
    };
    let (Some(host), Some(port)) = (target.host.clone(), target.port) else {
        return Err(vec![OptionError::new("", "tls needs a host and a port")]);
    };
    reader.finish()?;
    let name = name.unwrap_or_else(|| host.clone());
    Ok(Box::new(Handshake {
        host,
        port,
        name,
        settings,
        expires_within,
    }))
}

struct Handshake {
    host: Host,
    port: u16,
    name: Host,
    settings: TlsSettings,
    expires_within: Duration,
}

impl Probe for Handshake {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(self.ask(cx))
    }
}

impl Handshake {
    async fn ask(&self, cx: &Cx<'_>) -> Verdict {
        let address = cx.address(&self.host, self.port).await?;
        let connecting = cx.net.connect(address, &cx.settings.source);
        let stream = cx
            .limited("connect", cx.settings.connect_timeout, connecting)
            .await?;
        let (mut stream, certificate) = handshake(cx, stream, &self.name, &self.settings).await?;
        judge_expiry(cx, &certificate, self.expires_within);
        // A close alert is a courtesy; the verdict stands whether or not the peer takes it.
        drop(timeout(cx.before_deadline(), stream.shutdown()).await);
        Ok(())
    }
}

/// Reads `insecure` and `ca`.
pub(super) fn settings(reader: &mut OptionReader<'_>) -> TlsSettings {
    let insecure = reader.flag("insecure");
    let ca = reader.text("ca").map(PathBuf::from);
    if let Some(path) = &ca {
        must_hold(reader, "ca", path, "CERTIFICATE");
    }
    TlsSettings {
        insecure,
        ca,
        ..TlsSettings::default()
    }
}

/// Reads `client_cert`.
pub(super) fn client_cert(reader: &mut OptionReader<'_>) -> Option<ClientCert> {
    let paths = reader.list("client_cert");
    let (cert, key) = match paths.as_slice() {
        [] => return None,
        [both] => (both, both),
        [cert, key] => (cert, key),
        _ => {
            let error = OptionError::new("client_cert", "client_cert names more than two files");
            reader
                .error(error.hint("one PEM file with certificate and key, or two with a comma between them"));
            return None;
        }
    };
    let found = ClientCert {
        cert: PathBuf::from(cert),
        key: PathBuf::from(key),
    };
    must_hold(reader, "client_cert", &found.cert, "CERTIFICATE");
    must_hold(reader, "client_cert", &found.key, "PRIVATE KEY");
    Some(found)
}

/// Reads `name`.
pub(super) fn name(reader: &mut OptionReader<'_>) -> Option<Host> {
    let text = reader.text("name")?;
    match Host::parse(&text) {
        Ok(host) => Some(host),
        Err(error) => {
            reader.error(OptionError::new("name", format!("name: {}", error.message)));
            None
        }
    }
}

/// The file of an option must be there and hold PEM of that kind; what is inside is read by the first handshake.
fn must_hold(reader: &mut OptionReader<'_>, option: &'static str, path: &Path, kind: &str) {
    const LARGEST: u64 = 16 << 20;
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
    if let Err(error) = read {
        reader.error(OptionError::new(
            option,
            format!("{option}: cannot read {}: {error}", path.display()),
        ));
    } else if !String::from_utf8_lossy(&text).contains(&format!("{kind}-----")) {
        let message = format!(
            "{option}: {} holds no {} in PEM form",
            path.display(),
            kind.to_ascii_lowercase()
        );
        reader.error(OptionError::new(option, message));
    }
}

/// Shakes hands in the stage `tls`, and records what the certificate says, good or bad.
pub(super) async fn handshake<S>(
    cx: &Cx<'_>,
    stream: S,
    name: &Host,
    settings: &TlsSettings,
) -> Result<(TlsStream<S>, Certificate), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let tls = cx
        .net
        .tls(settings)
        .map_err(|error| Fault::ours("ours.other", error.to_string()))?;
    cx.enter("tls");
    let done = cx.net.handshake(stream, name, &tls).await;
    cx.leave();
    match done {
        Ok((stream, certificate)) => {
            record(cx, &certificate);
            Ok((stream, certificate))
        }
        Err(failure) => {
            if let Some(certificate) = &failure.certificate {
                record(cx, certificate);
            }
            Err(failure.fault)
        }
    }
}

/// Records what a certificate says.
pub(super) fn record(cx: &Cx<'_>, certificate: &Certificate) {
    let left = certificate
        .not_after
        .micros_since(cx.started.wall)
        .div_euclid(1_000_000);
    cx.fact("tls.expires_in", left);
    cx.fact(
        "tls.not_after",
        format!("{:.0}", certificate.not_after.timestamp()),
    );
    cx.fact("tls.issuer", certificate.issuer.as_str());
    cx.fact("tls.subject", certificate.subject.as_str());
    cx.fact("tls.names", certificate.names.join(", "));
    cx.fact("tls.serial", certificate.serial.as_str());
    if !certificate.protocol.is_empty() {
        cx.fact("tls.protocol", certificate.protocol);
        cx.fact("tls.cipher", certificate.cipher);
    }
}

/// Degrades the run when the certificate expires within `limit`, or (where that was accepted) has expired.
pub(super) fn judge_expiry(cx: &Cx<'_>, certificate: &Certificate, limit: Duration) {
    let left = certificate.not_after.micros_since(cx.started.wall);
    let limit_micros = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
    if limit.is_zero() || left >= limit_micros {
        return;
    }
    let date = format!("{:.0}", certificate.not_after.timestamp());
    let date = date.get(..10).unwrap_or(&date);
    let length = days_or_hours(Duration::from_micros(left.unsigned_abs()));
    let detail = match left {
        ..0 => format!("certificate expired {length} ago ({date})"),
        _ => format!("certificate expires in {length} ({date})"),
    };
    cx.degraded(Reason::new("tls.expiring", detail));
}

fn days_or_hours(length: Duration) -> String {
    let (count, unit) = match length.as_secs() {
        ..7_200 => (length.as_secs() / 60, "minute"),
        hours @ ..172_800 => (hours / 3_600, "hour"),
        days => (days / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
