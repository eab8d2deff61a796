//! Proxies: HTTP (absolute form, and CONNECT by RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928, RFC 1929).
//! User and password never show in a text.

use std::{fmt, net::IpAddr, str::FromStr};

use lapwing_core::{observation::Fault, secret::Secret, target::Host};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::error::{Moment, fault_of};

/// Longest head of an answer to CONNECT that is read, in bytes.
const HEAD_MAX: usize = 8192;

/// A proxy: `http://[user:password@]host:port` or `socks5://[user:password@]host:port`. Names are resolved by the proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
    auth: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Socks5,
}

/// Why a text is not a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a proxy: write http://host:port or socks5://host:port, with user:password@ where needed"
)]
pub struct BadProxy;

impl FromStr for ProxyUrl {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let url = Url::parse(text.trim()).map_err(|_| BadProxy)?;
        let (scheme, port) = match url.scheme() {
            "http" => (Scheme::Http, 80),
            "socks5" | "socks5h" => (Scheme::Socks5, 1080),
            _ => return Err(BadProxy),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(BadProxy);
        }
        let host = Host::parse(url.host_str().ok_or(BadProxy)?).map_err(|_| BadProxy)?;
        let auth = user_info(&url);
        // RFC 1929 has one byte for the length of each.
        let fits = |text: &str| (1..256).contains(&text.len());
        if let (Scheme::Socks5, Some((user, password))) = (scheme, &auth)
            && !(fits(user) && fits(password.expose()))
        {
            return Err(BadProxy);
        }
        Ok(Self {
            scheme,
            host,
            port: url.port().unwrap_or(port),
            auth,
        })
    }
}

/// Without user and password.
impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without user and password.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl ProxyUrl {
    /// The value of `Proxy-Authorization` (RFC 7617), where the proxy wants a user.
    pub(crate) fn authorization(&self) -> Option<Secret> {
        self.auth
            .as_ref()
            .map(|(user, password)| basic_authorization(user, password))
    }

    /// Makes a tunnel to `host:port` through `stream`, which is connected to the proxy.
    pub(crate) async fn tunnel(&self, stream: &mut TcpStream, host: &Host, port: u16) -> Result<(), Fault> {
        match self.scheme {
            Scheme::Http => self.connect(stream, host, port).await,
            Scheme::Socks5 => self.socks(stream, host, port).await,
        }
    }

    async fn connect(&self, stream: &mut TcpStream, host: &Host, port: u16) -> Result<(), Fault> {
        let authorization = self.authorization();
        let authorization = authorization
            .map(|a| format!("Proxy-Authorization: {}\r\n", a.expose()))
            .unwrap_or_default();
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
        stream.write_all(head.as_bytes()).await.map_err(later)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            // Byte by byte, so that nothing of what follows is swallowed; it is short and comes once.
            answer.push(stream.read_u8().await.map_err(later)?);
            if answer.len() > HEAD_MAX || (answer.len() == 5 && answer != *b"HTTP/") {
                return Err(Fault::target("http.proxy", "the proxy does not speak HTTP"));
            }
        }
        let line = String::from_utf8_lossy(&answer);
        match line
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|status| status.parse::<u16>().ok())
        {
            Some(200..=299) => Ok(()),
            Some(407) => Err(Fault::target(
                "http.proxy",
                "the proxy wants another user or password",
            )),
            Some(status) => Err(Fault::target(
                "http.proxy",
                format!("the proxy answered {status} to CONNECT"),
            )),
            None => Err(Fault::target("http.proxy", "the proxy does not speak HTTP")),
        }
    }

    async fn socks(&self, stream: &mut TcpStream, host: &Host, port: u16) -> Result<(), Fault> {
        let method = if self.auth.is_some() { 2 } else { 0 };
        stream.write_all(&[5, 1, method]).await.map_err(later)?;
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).await.map_err(later)?;
        match (chosen, &self.auth) {
            ([5, 0], None) => {}
            ([5, 2], Some((user, password))) => log_in(stream, user, password).await?,
            ([5, _], _) => {
                return Err(Fault::target(
                    "http.proxy",
                    "the proxy wants another user or password",
                ));
            }
            _ => return Err(no_socks()),
        }
        stream
            .write_all(&socks_request(host, port)?)
            .await
            .map_err(later)?;
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).await.map_err(later)?;
        if reply[0] != 5 {
            return Err(no_socks());
        }
        socks_reply(reply[1])?;
        let rest = match reply[3] {
            1 => 4,
            4 => 16,
            3 => stream.read_u8().await.map_err(later)?.into(),
            _ => return Err(no_socks()),
        };
        let mut bound = vec![0; rest + 2];
        stream.read_exact(&mut bound).await.map_err(later)?;
        Ok(())
    }
}

/// RFC 1929.
async fn log_in(stream: &mut TcpStream, user: &str, password: &Secret) -> Result<(), Fault> {
    let mut request = vec![1, user.len() as u8];
    request.extend_from_slice(user.as_bytes());
    request.push(password.expose().len() as u8);
    request.extend_from_slice(password.expose().as_bytes());
    stream.write_all(&request).await.map_err(later)?;
    let mut status = [0; 2];
    stream.read_exact(&mut status).await.map_err(later)?;
    if status[1] == 0 {
        return Ok(());
    }
    Err(Fault::target(
        "http.proxy",
        "the proxy wants another user or password",
    ))
}

/// RFC 1928 section 4.
fn socks_request(host: &Host, port: u16) -> Result<Vec<u8>, Fault> {
    let mut request = vec![5, 1, 0];
    match host {
        Host::Ip(IpAddr::V4(addr), _) => {
            request.push(1);
            request.extend_from_slice(&addr.octets());
        }
        Host::Ip(IpAddr::V6(addr), _) => {
            request.push(4);
            request.extend_from_slice(&addr.octets());
        }
        Host::Name(name) => {
            let len =
                u8::try_from(name.len()).map_err(|_| Fault::ours("ours.other", "the name is too long"))?;
            request.extend_from_slice(&[3, len]);
            request.extend_from_slice(name.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Ok(request)
}

/// RFC 1928 section 6.
fn socks_reply(code: u8) -> Result<(), Fault> {
    Err(match code {
        0 => return Ok(()),
        2 => Fault::target("http.proxy", "the proxy does not allow this connection"),
        3 => Fault::target("connect.unreachable", "network unreachable from the proxy"),
        4 | 6 => Fault::target("connect.unreachable", "no route to host from the proxy"),
        5 => Fault::target("connect.refused", "connection refused"),
        _ => Fault::target("http.proxy", "the proxy could not connect"),
    })
}

fn no_socks() -> Fault {
    Fault::target("http.proxy", "the proxy does not speak SOCKS5")
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn later(error: std::io::Error) -> Fault {
    fault_of(&error, Moment::Later)
}

/// User and password of a URL, percent-decoded.
pub(crate) fn user_info(url: &Url) -> Option<(String, Secret)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    Some((
        decoded(url.username()),
        Secret::new(decoded(url.password().unwrap_or_default())),
    ))
}

/// The value of a Basic authorization (RFC 7617): `Basic …`.
pub fn basic_authorization(user: &str, password: &Secret) -> Secret {
    Secret::new(format!(
        "Basic {}",
        base64(format!("{user}:{}", password.expose()).as_bytes())
    ))
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let escaped = text.get(i + 1..i + 3).filter(|_| bytes[i] == b'%');
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(bytes[i]));
        i += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_and_never_show_their_password() {
        let proxy: ProxyUrl = "http://user:p%40ss@proxy.example:3128".parse().unwrap();
        assert_eq!(format!("{proxy:?}"), "http://proxy.example:3128");
        // printf 'user:p@ss' | base64
        assert_eq!(proxy.authorization().unwrap().expose(), "Basic dXNlcjpwQHNz");
        let proxy: ProxyUrl = "socks5://[::1]".parse().unwrap();
        assert_eq!(proxy.to_string(), "socks5://[::1]:1080");
        assert!(proxy.authorization().is_none());
        for bad in [
            "proxy:3128",
            "https://proxy",
            "http://proxy/path",
            "",
            "socks5://u@h",
            "http://",
        ] {
            assert_eq!(bad.parse::<ProxyUrl>(), Err(BadProxy), "{bad}");
        }
    }

    #[test]
    fn base64_golden() {
        // RFC 4648 section 10
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }
}
