//! HTTP and HTTPS: one request, and what its answer must be. Never keeps more of an answer than `max_body`.

mod conditions;
mod request;

use std::time::Duration;

use lapwing_core::{
    kind::{
        Address, CodeInfo, FactInfo, KindInfo, OptionError, OptionInfo, OptionReader, OptionType, Options,
    },
    observation::Fault,
    secret::Secret,
    target::Target,
};
use lapwing_net::{Certificate, HttpRequest, HttpResponse, HttpSettings, HttpVersion, Stages, TlsSettings};

use self::conditions::Conditions;
use super::tls;
use crate::{Cx, Probe, Probing, Verdict};

pub(super) static HTTP: KindInfo = KindInfo {
    name: "http",
    schemes: &["http"],
    summary: "Sends an HTTP request and judges status, headers and body.",
    about: "Up when the status is one of `status` and the conditions on headers and body hold. Redirects are \
        followed (to https too), and the last answer is judged. Each request uses a new connection, so that name \
        resolution, connect, TLS, first byte and transfer are measured each time. Of the body at most `max_body` is \
        read; compressed bodies are not asked for. The whole URL, query included, belongs to the request: options \
        are keys of the monitor or -o.",
    examples: &["http://www.example.com", "http://192.0.2.1:8080/health"],
    address: Address::HostPortPath { default: 80 },
    options: HTTP_OPTIONS,
    facts: FACTS,
    codes: CODES,
    privileges: None,
    overlaps: false,
    owns_query: true,
};

pub(super) static HTTPS: KindInfo = KindInfo {
    name: "https",
    schemes: &["https"],
    summary: "Sends an HTTP request over TLS and judges certificate, status, headers and body.",
    about: "As http, within TLS: the certificate must be valid today, for this name, and vouched for by a trusted \
        authority. Degraded when it expires within `expires_within`.",
    examples: &["https://www.example.com/health", "https://[2001:db8::1]:8443/"],
    address: Address::HostPortPath { default: 443 },
    options: HTTPS_OPTIONS,
    facts: FACTS,
    codes: CODES,
    privileges: None,
    overlaps: false,
    owns_query: true,
};

const HTTPS_OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        name: "method",
        ty: OptionType::Text,
        default: "GET",
        doc: "The request method.",
        example: "\"HEAD\"",
    },
    OptionInfo {
        name: "status",
        ty: OptionType::List,
        default: "200-299",
        doc: "Which statuses pass: numbers and ranges.",
        example: "\"200-299,301\"",
    },
    OptionInfo {
        name: "headers",
        ty: OptionType::Pairs,
        default: "",
        doc: "Headers to send; they replace those of the same name that Lapwing sends by itself. They may hold secrets, so \
            a redirect to another scheme, host or port takes along none but Accept, Accept-Language, User-Agent and those \
            that describe the body (Content-Type, Content-Encoding, Content-Language).",
        example: "{ Accept = \"application/json\" }",
    },
    OptionInfo {
        name: "body",
        ty: OptionType::Text,
        default: "",
        doc: "The body to send.",
        example: "'{\"ping\": 1}'",
    },
    OptionInfo {
        name: "expect_body",
        ty: OptionType::Text,
        default: "",
        doc: "What the body must hold: a text, or /regex/ ((?i) ignores case).",
        example: "\"ok\"",
    },
    OptionInfo {
        name: "expect_header",
        ty: OptionType::Pairs,
        default: "",
        doc: "Headers that the answer must have, each with a text or /regex/ that its value must hold; an empty text \
            asks for the header alone.",
        example: "{ Content-Type = \"application/json\" }",
    },
    OptionInfo {
        name: "redirects",
        ty: OptionType::Integer,
        default: "10",
        doc: "How many redirects are followed; with 0 the redirect itself is judged, and must be in `status`.",
        example: "0",
    },
    OptionInfo {
        name: "http_version",
        ty: OptionType::Choice(&["auto", "1.1", "2"]),
        default: "auto",
        doc: "`auto` speaks HTTP/2 where the server offers it within TLS, else HTTP/1.1; `2` without TLS is by prior \
            knowledge.",
        example: "\"2\"",
    },
    tls::INSECURE,
    tls::CA,
    tls::CLIENT_CERT,
    OptionInfo {
        name: "max_body",
        ty: OptionType::Text,
        default: "1MiB",
        doc: "How much of the body is read, at most 64MiB. Reading stops there: a longer body passes when \
            `expect_body` is found in this much or not given (fact http.truncated), else it is down (http.too_large).",
        example: "\"100kB\"",
    },
    OptionInfo {
        name: "auth",
        ty: OptionType::Secret,
        default: "",
        doc: "Credentials: \"user:password\" (Basic, RFC 7617) or \"Bearer token\" (RFC 6750). Not sent along to \
            another scheme, host or port by a redirect.",
        example: "{ file = \"/etc/lapwing/web.auth\" }",
    },
    tls::EXPIRES_WITHIN,
];

/// Those of https but the last: a redirect may lead to TLS, but the expiry of its certificate is asked of https alone.
const HTTP_OPTIONS: &[OptionInfo] = match HTTPS_OPTIONS.split_last() {
    Some((_, options)) => options,
    None => HTTPS_OPTIONS,
};

const FACTS: &[FactInfo] = &[
    FactInfo {
        name: "http.status",
        unit: "",
        doc: "The status of the answer.",
        kept: true,
    },
    FactInfo {
        name: "http.version",
        unit: "",
        doc: "The version of HTTP that the server spoke.",
        kept: false,
    },
    FactInfo {
        name: "http.bytes",
        unit: "bytes",
        doc: "How much of the body was read.",
        kept: true,
    },
    FactInfo {
        name: "http.truncated",
        unit: "",
        doc: "True when the body was longer than `max_body`; reading stopped there.",
        kept: false,
    },
    FactInfo {
        name: "http.peer",
        unit: "",
        doc: "Address and port that answered.",
        kept: false,
    },
    FactInfo {
        name: "http.redirects",
        unit: "",
        doc: "Redirects followed; only when there were any.",
        kept: false,
    },
    FactInfo {
        name: "http.url",
        unit: "",
        doc: "The URL that answered in the end; only when redirected.",
        kept: false,
    },
    FactInfo {
        name: "http.downgraded",
        unit: "",
        doc: "True when a redirect led from https to http.",
        kept: false,
    },
    tls::FACT_EXPIRES_IN,
    tls::FACT_NOT_AFTER,
    tls::FACT_ISSUER,
    tls::FACT_SUBJECT,
    tls::FACT_NAMES,
    tls::FACT_PROTOCOL,
    tls::FACT_CIPHER,
    tls::FACT_SERIAL,
];

const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "http.status",
        doc: "The status is not one of `status`.",
    },
    CodeInfo {
        code: "http.malformed",
        doc: "What came back is not HTTP, or an error of HTTP/2 instead of an answer.",
    },
    CodeInfo {
        code: "http.version",
        doc: "The server does not speak the version of HTTP that is asked for.",
    },
    CodeInfo {
        code: "http.proxy",
        doc: "The proxy refused, or is none.",
    },
    CodeInfo {
        code: "http.redirects",
        doc: "More redirects than `redirects`, or one that leads nowhere.",
    },
    CodeInfo {
        code: "http.too_large",
        doc: "The expected text is not in the first `max_body` of a longer body.",
    },
    CodeInfo {
        code: "header.mismatch",
        doc: "An expected header is missing or has another value.",
    },
    CodeInfo {
        code: "body.mismatch",
        doc: "The body does not hold what is expected.",
    },
];

pub(super) fn parse(target: &Target, options: &Options) -> Result<Box<dyn Probe>, Vec<OptionError>> {
    let secure = target.kind.name == HTTPS.name;
    let info = if secure { &HTTPS } else { &HTTP };
    let mut reader = OptionReader::new(info, options);
    let request = request::read(&mut reader, target);
    let conditions = Conditions::read(&mut reader);
    if request.method == "HEAD" && conditions.wants_body() {
        reader.error(
            OptionError::new("expect_body", "the answer to HEAD has no body").hint("use method = \"GET\""),
        );
    }
    let version = match reader.choice("http_version") {
        "1.1" => HttpVersion::Http1,
        "2" => HttpVersion::Http2,
        _ => HttpVersion::Auto,
    };
    let redirects = reader.integer("redirects", 0..=50).unwrap_or_default();
    let client_cert = tls::client_cert(&mut reader);
    let settings = HttpSettings {
        tls: TlsSettings {
            client_cert,
            ..tls::settings(&mut reader)
        },
        max_body: request::max_body(&mut reader),
        redirects: u32::try_from(redirects).unwrap_or_default(),
        version,
        ..HttpSettings::default()
    };
    let expires_within = if secure {
        reader.duration("expires_within").unwrap_or_default()
    } else {
        Duration::ZERO
    };
    reader.finish()?;
    Ok(Box::new(Http {
        secrets: request::secrets(&request, options),
        request,
        settings,
        conditions,
        expires_within,
    }))
}

struct Http {
    request: HttpRequest,
    /// What the request sends and nobody may read: a server that sends it back must not get it into a reason.
    secrets: Vec<Secret>,
    settings: HttpSettings,
    conditions: Conditions,
    expires_within: Duration,
}

impl Probe for Http {
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a> {
        Box::pin(self.ask(cx))
    }
}

impl Http {
    fn conceal(&self, fault: Fault) -> Fault {
        let Fault::Target(mut reason) = fault else {
            return fault;
        };
        reason.detail = self.hide(&reason.detail);
        Fault::Target(reason)
    }

    fn hide(&self, text: &str) -> String {
        let shown = text.to_owned();
        self.secrets
            .iter()
            .fold(shown, |shown, secret| secret.redact(&shown))
    }

    async fn ask(&self, cx: &Cx<'_>) -> Verdict {
        let settings = HttpSettings {
            family: cx.settings.family,
            source: cx.settings.source.clone(),
            resolve_timeout: cx.settings.timeout.mul_f64(0.8),
            connect_timeout: cx.settings.connect_timeout,
            only: cx.only,
            ..self.settings.clone()
        };
        let response = cx.net.http(&self.request, &settings, &Watch(cx)).await?;
        cx.leave();
        self.record(cx, &response);
        let judged = self
            .conditions
            .judge(&response, self.settings.max_body, &self.secrets);
        judged.map_err(|fault| self.conceal(fault))?;
        if let Some(certificate) = &response.certificate {
            tls::judge_expiry(cx, certificate, self.expires_within);
        }
        Ok(())
    }

    fn record(&self, cx: &Cx<'_>, response: &HttpResponse) {
        cx.fact("http.status", u32::from(response.status));
        cx.fact("http.version", response.version);
        cx.fact("http.bytes", response.body.len() as u64);
        if response.truncated {
            cx.fact("http.truncated", true);
        }
        cx.fact("http.peer", response.peer.to_string());
        if response.redirects > 0 {
            cx.fact("http.redirects", response.redirects);
            cx.fact("http.url", self.hide(response.url.as_str()));
        }
        if response.downgraded {
            cx.fact("http.downgraded", true);
        }
    }
}

/// Hands the stages of a request on to the run.
struct Watch<'a, 'b>(&'a Cx<'b>);

impl Stages for Watch<'_, '_> {
    fn enter(&self, stage: &'static str) {
        self.0.enter(stage);
    }

    fn leave(&self) {
        self.0.leave();
    }

    fn certificate(&self, certificate: &Certificate) {
        tls::record(self.0, certificate);
    }
}

#[cfg(test)]
mod tests;
