//! TLS: shakes hands and judges the certificate; what tcp and https say about certificates stands here too.
//! Never sends a byte of application data.

use std::{borrow::Cow, path::PathBuf, sync::Arc, time::Duration};

use lapwing_core::{
    kind::{Address, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options},
    observation::{Fault, Reason},
    target::{Host, Target},
};
use lapwing_net::{Certificate, ClientCert, Tls, TlsFailure, TlsSettings, TlsStream};
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
        vouches for it. Degraded when it expires within `expires_within`. No application data is sent. Where the \
        server asks for a certificate of ours, its verdict on that is waited for (in TLS 1.3 it comes after the \
        handshake): a refusal is down. With `insecure` every certificate of the server passes, and its facts are \
        reported all the same.",
    examples: &[
        "tls://example.com:443",
        "tls://mail.example.com:993?expires_within=30d",
        "tls://192.0.2.1:443?server_name=www.example.com",
    ],
    address: Address::HostPort { default: Some(443) },
    options: &[EXPIRES_WITHIN, SERVER_NAME, CA, INSECURE, CLIENT_CERT],
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
pub(super) const SERVER_NAME: OptionInfo = OptionInfo {
    name: "server_name",
    ty: OptionType::Text,
    default: "",
    doc: "The name that is asked for (SNI) and that the certificate must carry; unless given, the target's host. \
        In a target's query `name` says the same.",
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
    let options = with_server_name(options);
    let mut reader = OptionReader::new(&INFO, &options);
    let expires_within = reader.duration("expires_within").unwrap_or_default();
    let name = server_name(&mut reader);
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
        let (mut stream, certificate) = handshake_alone(cx, stream, &self.name, &self.settings).await?;
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
    let settings = TlsSettings {
        ca,
        ..TlsSettings::default()
    };
    check(reader, "ca", &settings);
    TlsSettings { insecure, ..settings }
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
    let settings = TlsSettings {
        client_cert: Some(found),
        ..TlsSettings::default()
    };
    check(reader, "client_cert", &settings);
    settings.client_cert
}

/// The options with `name` (the key of a monitor's own name in a configuration) read as `server_name`.
pub(super) fn with_server_name(options: &Options) -> Cow<'_, Options> {
    let Some(name) = options
        .get("name")
        .filter(|_| options.get("server_name").is_none())
    else {
        return Cow::Borrowed(options);
    };
    let others = options.names().filter(|other| *other != "name");
    let others = others.filter_map(|other| Some((other, options.get(other)?.clone())));
    Cow::Owned(others.chain([("server_name", name.clone())]).collect())
}

/// Reads `server_name`.
pub(super) fn server_name(reader: &mut OptionReader<'_>) -> Option<Host> {
    let text = reader.text("server_name")?;
    match Host::parse(&text) {
        Ok(host) => Some(host),
        Err(error) => {
            let message = format!("server_name: {}", error.message);
            reader.error(OptionError::new("server_name", message));
            None
        }
    }
}

/// The files of an option must be there and hold what they should.
fn check(reader: &mut OptionReader<'_>, option: &'static str, settings: &TlsSettings) {
    if let Err(error) = settings.check() {
        reader.error(OptionError::new(option, format!("{option}: {error}")));
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
    let tls = configuration(cx, settings)?;
    cx.enter("tls");
    let done = cx.net.handshake(stream, name, &tls).await;
    cx.leave();
    recorded(cx, done)
}

/// As [`handshake`], for those who ask for no more: a server that asked for our certificate is given the time to refuse.
pub(super) async fn handshake_alone<S>(
    cx: &Cx<'_>,
    stream: S,
    name: &Host,
    settings: &TlsSettings,
) -> Result<(TlsStream<S>, Certificate), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let tls = configuration(cx, settings)?;
    cx.enter("tls");
    let most = cx.before_deadline();
    let done = cx.net.handshake_with_verdict(stream, name, &tls, most).await;
    cx.leave();
    recorded(cx, done)
}

fn configuration(cx: &Cx<'_>, settings: &TlsSettings) -> Result<Arc<Tls>, Fault> {
    let tls = cx.net.tls(settings);
    tls.map_err(|error| Fault::ours("ours.other", error.to_string()))
}

fn recorded<S>(
    cx: &Cx<'_>,
    done: Result<(TlsStream<S>, Certificate), TlsFailure>,
) -> Result<(TlsStream<S>, Certificate), Fault> {
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
