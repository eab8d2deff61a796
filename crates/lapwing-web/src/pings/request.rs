//! What a request to the listener of pings wants: from its method and path alone.

use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{self, HeaderValue},
};
use lapwing_core::heartbeat::Signal;

use super::text;

/// A ping with some key, known or not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    pub(super) key: &'a str,
    pub(super) signal: Signal,
}

/// Why a request is no ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAPing {
    Path,
    Signal,
    Method,
}

/// Reads `/ping/<key>`, `/ping/<key>/start`, `/fail`, `/<exit status>`, with or without a slash at the end.
pub(super) fn wanted<'a>(method: &Method, path: &'a str) -> Result<Wanted<'a>, NotAPing> {
    let rest = path.strip_prefix("/ping/").ok_or(NotAPing::Path)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (key, signal) = match rest.split_once('/') {
        None => (rest, Signal::Ping),
        Some((key, "start")) => (key, Signal::Start),
        Some((key, "fail")) => (key, Signal::Fail),
        Some((key, status)) => (key, Signal::Exit(exit_status(status).ok_or(NotAPing::Signal)?)),
    };
    if key.is_empty() {
        return Err(NotAPing::Path);
    }
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT];
    if !known.contains(method) {
        return Err(NotAPing::Method);
    }
    Ok(Wanted { key, signal })
}

/// Digits alone: a number type would take a sign as well.
fn exit_status(text: &str) -> Option<u8> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl NotAPing {
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        match self {
            Self::Path => text(
                StatusCode::NOT_FOUND,
                "there is nothing here: pings go to /ping/KEY, /ping/KEY/start, /ping/KEY/fail or /ping/KEY/STATUS",
            ),
            Self::Signal => text(
                StatusCode::BAD_REQUEST,
                "after the key comes nothing, start, fail or an exit status from 0 to 255",
            ),
            Self::Method => {
                let mut response = text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "a ping is a GET, HEAD, POST or PUT",
                );
                let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT");
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_happened() {
        for (path, signal) in [
            ("/ping/k", Signal::Ping),
            ("/ping/k/", Signal::Ping),
            ("/ping/k/start", Signal::Start),
            ("/ping/k/start/", Signal::Start),
            ("/ping/k/fail", Signal::Fail),
            ("/ping/k/0", Signal::Exit(0)),
            ("/ping/k/003", Signal::Exit(3)),
            ("/ping/k/255/", Signal::Exit(255)),
        ] {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT] {
                assert_eq!(
                    wanted(&method, path),
                    Ok(Wanted { key: "k", signal }),
                    "{method} {path}"
                );
            }
            assert_eq!(wanted(&Method::DELETE, path), Err(NotAPing::Method), "{path}");
        }
    }

    #[test]
    fn other_paths_are_no_pings() {
        for path in [
            "/",
            "",
            "*",
            "/ping",
            "/ping/",
            "/ping//",
            "/ping//start",
            "/pings/k",
            "/Ping/k",
            "//ping/k",
        ] {
            assert_eq!(wanted(&Method::GET, path), Err(NotAPing::Path), "{path}");
        }
        for path in [
            "/ping/k/256",
            "/ping/k/1000",
            "/ping/k/-1",
            "/ping/k/+1",
            "/ping/k/1.0",
            "/ping/k/Start",
            "/ping/k/start/fail",
            "/ping/k//",
            "/ping/k/0x1",
            "/ping/k/%30",
        ] {
            assert_eq!(wanted(&Method::GET, path), Err(NotAPing::Signal), "{path}");
        }
    }
}
