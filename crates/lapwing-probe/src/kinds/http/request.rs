//! The request as its options describe it. Nothing given may break out of the place where it stands in the request.

use hyper::{
    Method,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
    },
};
use lapwing_core::{
    kind::{OptionError, OptionReader, Options},
    secret::Secret,
    target::Target,
};
use lapwing_net::{HttpRequest, Url, basic_authorization};

/// Shorter words are not worth hiding, and would hide parts of others.
const SHORTEST_SECRET: usize = 6;
/// Most of a body that may be asked for.
const LARGEST_BODY: u64 = 64 << 20;

/// Every form in which a header's value or the `auth` of a request may come back from the server.
pub(super) fn secrets(request: &HttpRequest, options: &Options) -> Vec<Secret> {
    let mut forms: Vec<String> = Vec::new();
    for (_, value) in &request.headers {
        forms.extend(value.split_whitespace().map(ToOwned::to_owned));
        forms.push(value.clone());
    }
    if let Some(auth) = options.get("auth").map(ToString::to_string) {
        forms.extend(auth.split_once(':').map(|(_, password)| password.to_owned()));
        forms.push(auth);
    }
    // The longest first: a part must not spoil the whole.
    forms.retain(|form| form.len() >= SHORTEST_SECRET);
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.into_iter().map(Secret::new).collect()
}

/// Reads `method`, `headers`, `body` and `auth`.
pub(super) fn read(reader: &mut OptionReader<'_>, target: &Target) -> HttpRequest {
    let method = reader.text("method").unwrap_or_default();
    match Method::from_bytes(method.as_bytes()) {
        Ok(Method::CONNECT) => {
            reader.error(OptionError::new(
                "method",
                "CONNECT asks a proxy for a tunnel and has no answer to judge",
            ));
        }
        Ok(_) => {}
        Err(_) => reader.error(OptionError::new(
            "method",
            format!("\"{method}\" is not a method"),
        )),
    }
    let mut headers = headers(reader);
    if let Some(auth) = reader.secret("auth") {
        if headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION.as_str()))
        {
            reader.error(OptionError::new(
                "auth",
                "give either auth or the header Authorization, not both",
            ));
        }
        match authorization(&auth) {
            Ok(value) => headers.push((AUTHORIZATION.as_str().to_owned(), value)),
            Err(why) => reader.error(
                OptionError::new("auth", why)
                    .hint("it is \"user:password\" or \"Bearer token\", best from a file"),
            ),
        }
    }
    let url = Url::parse(&target.url).unwrap_or_else(|error| {
        reader.error(OptionError::new(
            "",
            format!("\"{}\" is not a URL: {error}", target.url),
        ));
        nowhere()
    });
    let body = reader.text("body").unwrap_or_default().into_bytes();
    HttpRequest {
        method,
        url,
        headers,
        body,
    }
}

fn headers(reader: &mut OptionReader<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in reader.pairs("headers") {
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            reader.error(OptionError::new(
                "headers",
                format!("\"{}\" is not the name of a header", name.escape_debug()),
            ));
            continue;
        };
        if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE].contains(&header) {
            reader.error(OptionError::new(
                "headers",
                format!("{name} is set by Lapwing itself"),
            ));
        } else if HeaderValue::from_str(&value).is_err() {
            // The value may be a secret: it is not repeated.
            reader.error(OptionError::new(
                "headers",
                format!("the value of {name} holds a control character"),
            ));
        } else {
            headers.push((name, value));
        }
    }
    headers
}

/// The value of the header Authorization. Nothing of `auth` stands in the error.
fn authorization(auth: &Secret) -> Result<String, &'static str> {
    let text = auth.expose();
    let has_scheme = ["basic ", "bearer "].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let value = match text.split_once(':') {
        _ if has_scheme => text.to_owned(),
        Some((user, password)) => basic_authorization(user, &Secret::new(password))
            .expose()
            .to_owned(),
        None => return Err("auth is neither \"user:password\" nor \"Bearer token\""),
    };
    match HeaderValue::from_str(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err("auth holds a control character"),
    }
}

/// Reads `max_body`: a number of bytes, with B, kB, KiB, MB or MiB.
pub(super) fn max_body(reader: &mut OptionReader<'_>) -> usize {
    let text = reader.text("max_body").unwrap_or_default();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "kib" | "k" => Some(1 << 10),
        "mb" => Some(1_000_000),
        "mib" | "m" => Some(1 << 20),
        _ => None,
    };
    let bytes = text[..digits]
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(count, unit)| count.checked_mul(unit));
    let bytes = bytes.filter(|bytes| *bytes <= LARGEST_BODY);
    if bytes.is_none() {
        let error = OptionError::new(
            "max_body",
            format!("max_body = \"{text}\" is not a size of at most 64MiB"),
        );
        reader.error(error.hint("for example: max_body = \"100kB\""));
    }
    bytes.unwrap_or_default() as usize
}

/// Stands in for a URL that is an error, so that reading goes on.
fn nowhere() -> Url {
    Url::parse("http://localhost/").expect("a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorization_by_its_form() {
        let value = |text: &str| authorization(&Secret::new(text));
        assert_eq!(
            value("Aladdin:open sesame").unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(value("Bearer abc").unwrap(), "Bearer abc");
        assert_eq!(value("bearer:abc").unwrap(), "Basic YmVhcmVyOmFiYw==");
        for bad in ["canary", "", "Bearer canary\r\nX: y"] {
            assert!(!value(bad).unwrap_err().contains("canary"), "{bad}");
        }
    }
}
