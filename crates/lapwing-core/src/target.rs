//! Targets: one URL syntax everywhere, and the ranges, CIDR blocks and lists that stand for many of them.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use crate::kind::{Address, KindInfo, OptionValue, Options, nearest};

/// Most targets that one monitor may expand to.
pub const MAX_TARGETS: usize = 1_048_576;
/// Longest name of a target that has one of its own, in bytes: it fits the datagram of a heartbeat.
const LONGEST_OWN_NAME: usize = 32;

/// The host of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to be resolved, in its ASCII (IDNA) form, without a final dot.
    Name(String),
    /// An address, with a zone for link-local IPv6 (`fe80::1%eth0`).
    Ip(IpAddr, Option<String>),
}

impl Host {
    /// Reads a name, an IPv4 address or an IPv6 address with or without brackets and zone.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let bare = text
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text);
        if bare.contains(':') {
            let (addr, zone) = match bare.split_once('%') {
                Some((addr, zone)) => (addr, Some(zone.strip_prefix("25").unwrap_or(zone).to_owned())),
                None => (bare, None),
            };
            return match addr.parse() {
                Ok(addr) => Ok(Self::Ip(IpAddr::V6(addr), zone)),
                Err(_) => Err(TargetError::new(format!("\"{text}\" is not an IPv6 address"))),
            };
        }
        if bare.is_empty() {
            return Err(TargetError::new("the host is missing"));
        }
        match url::Host::parse(bare) {
            Ok(url::Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let bad_label = name.split('.').any(|l| l.is_empty() || l.len() > 63);
                if bad_label || name.len() > 253 || name.contains('*') {
                    return Err(TargetError::new(format!("\"{text}\" is not a host name")));
                }
                Ok(Self::Name(name.to_owned()))
            }
            Ok(url::Host::Ipv4(addr)) => Ok(Self::Ip(addr.into(), None)),
            Ok(url::Host::Ipv6(addr)) => Ok(Self::Ip(addr.into(), None)),
            Err(_) => Err(TargetError::new(format!(
                "\"{text}\" is not a host name or address"
            ))),
        }
    }

    /// True for addresses and names that never leave this machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Ip(addr, _) => addr.is_loopback(),
        }
    }
}

/// As it stands in a URL: IPv6 in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(addr), _) => write!(f, "{addr}"),
            Self::Ip(IpAddr::V6(addr), None) => write!(f, "[{addr}]"),
            Self::Ip(IpAddr::V6(addr), Some(zone)) => write!(f, "[{addr}%{zone}]"),
        }
    }
}

/// One thing to probe, read from its URL.
#[derive(Clone, Debug)]
pub struct Target {
    pub kind: &'static KindInfo,
    /// The scheme as written: `icmp` or `ping`.
    pub scheme: &'static str,
    /// None only where the kind allows it (`dns:example.com`: the system's resolver) or has a name of its own.
    pub host: Option<Host>,
    pub port: Option<u16>,
    /// What follows host and port, with its `/`; for kinds that own their query, with the query too; the name where
    /// the kind has one. Else empty.
    pub path: String,
    /// Options from the query.
    pub options: Options,
    /// The URL in its canonical form, without the options: what is shown and stored.
    pub url: String,
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    pub message: String,
    pub hint: Option<String>,
}

impl TargetError {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Target {
    /// Reads a target URL. `kinds` are all that this program has.
    pub fn parse(text: &str, kinds: &[&'static KindInfo]) -> Result<Self, TargetError> {
        let text = text.trim();
        if text.len() > 8192 {
            return Err(TargetError::new("the target is longer than 8192 characters"));
        }
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(TargetError::new(format!(
                "\"{}\" holds a space or control character",
                text.escape_debug()
            )));
        }
        let (scheme, kind, rest) = split_scheme(text, kinds)?;
        if kind.owns_query {
            return Self::web(text, scheme, kind);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if kind.address == Address::Name {
            return Self::named(scheme, kind, rest.strip_prefix("//").unwrap_or(rest), query);
        }
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => match rest.find('/') {
                Some(slash) => (Some(&rest[..slash]), &rest[slash..]),
                None => (Some(rest), ""),
            },
            None => (None, rest),
        };
        let (host, port) = match authority {
            Some("") if matches!(kind.address, Address::OptionalHostPortPath { .. }) => (None, None),
            Some(authority) => {
                let (host, port) = split_port(authority)?;
                (Some(Host::parse(host)?), port)
            }
            None if matches!(kind.address, Address::OptionalHostPortPath { .. }) => (None, None),
            None => {
                return Err(
                    TargetError::new(format!("\"{text}\" lacks the // before the host"))
                        .hint(format!("write {scheme}://{rest}")),
                );
            }
        };
        let port = checked_port(kind, scheme, host.as_ref(), port)?;
        let path = checked_path(kind, path)?;
        let options = query_options(query);
        let mut target = Self {
            kind,
            scheme,
            host,
            port,
            path,
            options,
            url: String::new(),
        };
        target.url = target.canonical();
        Ok(target)
    }

    /// `host` or `host:port` for people: names without brackets and default ports left out.
    pub fn host_port(&self) -> String {
        match (&self.host, self.port) {
            (Some(host), Some(port)) if Some(port) != self.kind.address.default_port() => {
                format!("{host}:{port}")
            }
            (Some(host), _) => host.to_string(),
            (None, _) => self.path.trim_start_matches('/').to_owned(),
        }
    }

    /// The host alone, for people: an IPv6 address without its brackets; of a question without a server, its name.
    pub fn host_only(&self) -> String {
        match &self.host {
            Some(host) => host.to_string().trim_matches(['[', ']']).to_owned(),
            None => self.path.trim_start_matches('/').to_owned(),
        }
    }

    fn named(
        scheme: &'static str,
        kind: &'static KindInfo,
        name: &str,
        query: &str,
    ) -> Result<Self, TargetError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > LONGEST_OWN_NAME || !name.chars().all(good) {
            let message = if name.is_empty() {
                format!("the {scheme} has no name")
            } else {
                format!("\"{name}\" is not the name of a {scheme}")
            };
            return Err(TargetError::new(message).hint(format!(
                "1 to {LONGEST_OWN_NAME} letters, digits, \".\", \"_\" or \"-\", for example {scheme}:home"
            )));
        }
        Ok(Self {
            kind,
            scheme,
            host: None,
            port: None,
            path: name.to_owned(),
            options: query_options(query),
            url: format!("{scheme}:{name}"),
        })
    }

    fn web(text: &str, scheme: &'static str, kind: &'static KindInfo) -> Result<Self, TargetError> {
        let url =
            url::Url::parse(text).map_err(|e| TargetError::new(format!("\"{text}\" is not a URL: {e}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::new(
                "a target URL may not hold a user name or password: it is shown and stored",
            )
            .hint("give them as the option `auth`, for example auth = \"${PAGE_AUTH}\""));
        }
        let host = Host::parse(url.host_str().unwrap_or_default())?;
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path.push('?');
            path.push_str(query);
        }
        let port = url.port_or_known_default();
        let canonical = match url.fragment() {
            Some(_) => url.as_str().split('#').next().unwrap_or_default().to_owned(),
            None => url.as_str().to_owned(),
        };
        // A bare host reads better without the slash that it implies.
        let url = if path == "/" {
            canonical.trim_end_matches('/').to_owned()
        } else {
            canonical
        };
        Ok(Self {
            kind,
            scheme,
            host: Some(host),
            port,
            path,
            options: Options::default(),
            url,
        })
    }

    fn canonical(&self) -> String {
        let Some(host) = &self.host else {
            return format!("{}:{}", self.scheme, self.path.trim_start_matches('/'));
        };
        let port = match self.port {
            Some(port) if Some(port) != self.kind.address.default_port() => format!(":{port}"),
            _ => String::new(),
        };
        format!("{}://{host}{port}{}", self.scheme, self.path)
    }
}

fn split_scheme<'a>(
    text: &'a str,
    kinds: &[&'static KindInfo],
) -> Result<(&'static str, &'static KindInfo, &'a str), TargetError> {
    let schemes = || kinds.iter().flat_map(|k| k.schemes.iter().map(move |s| (*s, *k)));
    let known = || schemes().map(|(s, _)| s).collect::<Vec<_>>().join(", ");
    let Some((scheme, rest)) = text
        .split_once(':')
        .filter(|(s, _)| !s.is_empty() && !s.contains(['/', '.']))
    else {
        return Err(
            TargetError::new(format!("\"{text}\" has no scheme")).hint(format!(
                "write what to ask, for example icmp://{text} or tcp://{text}; schemes: {}",
                known()
            )),
        );
    };
    let lower = scheme.to_ascii_lowercase();
    if let Some((scheme, kind)) = schemes().find(|(s, _)| *s == lower) {
        return Ok((scheme, kind, rest));
    }
    // `example.com:443` reads as a scheme; say what was meant.
    if rest.chars().next().is_some_and(|c| c.is_ascii_digit()) && !rest.starts_with("//") {
        return Err(TargetError::new(format!("\"{text}\" has no scheme")).hint(format!("write tcp://{text}")));
    }
    let error = TargetError::new(format!("the scheme \"{scheme}\" is not known"));
    Err(match nearest(&lower, schemes().map(|(s, _)| s)) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error.hint(format!("schemes: {}", known())),
    })
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), TargetError> {
    if authority.contains('@') {
        return Err(TargetError::new("a target may not hold a user name or password"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let close = rest
                .find(']')
                .ok_or_else(|| TargetError::new("the bracket [ is not closed"))?;
            (&authority[..close + 2], rest[close + 1..].strip_prefix(':'))
        }
        None if authority.matches(':').count() > 1 => {
            return Err(TargetError::new(format!("\"{authority}\" is not host:port"))
                .hint(format!("an IPv6 address stands in brackets: [{authority}]")));
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    match port {
        None => Ok((host, None)),
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err(TargetError::new(format!("\"{text}\" is not a port"))
                .hint("a port is a number from 1 to 65535")),
        },
    }
}

fn checked_port(
    kind: &KindInfo,
    scheme: &str,
    host: Option<&Host>,
    port: Option<u16>,
) -> Result<Option<u16>, TargetError> {
    if matches!(kind.address, Address::Host) {
        return match port {
            None => Ok(None),
            Some(port) => Err(TargetError::new(format!(
                "{scheme} has no ports, but \":{port}\" is given"
            ))),
        };
    }
    match (port, kind.address.default_port(), host) {
        (Some(port), ..) => Ok(Some(port)),
        (None, Some(default), _) => Ok(Some(default)),
        (None, None, Some(host)) => Err(TargetError::new(format!("{scheme} needs a port")).hint(format!(
            "for example {scheme}://{host}:{}",
            if scheme == "tls" { 443 } else { 80 }
        ))),
        (None, None, None) => Ok(None),
    }
}

fn checked_path(kind: &KindInfo, path: &str) -> Result<String, TargetError> {
    let has_path = matches!(
        kind.address,
        Address::HostPortPath { .. } | Address::OptionalHostPortPath { .. }
    );
    if has_path {
        return Ok(if path.is_empty() || path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        });
    }
    if path.is_empty() || path == "/" {
        return Ok(String::new());
    }
    Err(TargetError::new(format!(
        "{} has no path, but \"{path}\" is given",
        kind.name
    )))
}

/// `a=b&c=d` or `a=b;c=d`, percent-encoded, as options.
fn query_options(query: &str) -> Options {
    let joined = query.replace(';', "&");
    url::form_urlencoded::parse(joined.as_bytes())
        .map(|(name, value)| (name.into_owned(), OptionValue::Text(value.into_owned())))
        .collect()
}

/// All targets that one target text stands for: a range or CIDR block where there is neither port nor path.
pub fn expand_target(text: &str, kinds: &[&'static KindInfo]) -> Result<Vec<String>, TargetError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(vec![text.to_owned()]);
    };
    let kind = kinds
        .iter()
        .find(|k| k.schemes.iter().any(|s| s.eq_ignore_ascii_case(scheme)));
    if kind.is_some_and(|k| k.address == Address::Name) {
        return Ok(vec![text.to_owned()]);
    }
    // Where a path may follow the host, a slash begins it: http://10.0.0.1/24 is one address and a path.
    let has_path = kind.is_some_and(|k| {
        matches!(
            k.address,
            Address::HostPortPath { .. } | Address::OptionalHostPortPath { .. }
        )
    });
    let (authority, query) = match rest.split_once('?') {
        Some((authority, query)) => (authority, format!("?{query}")),
        None => (rest, String::new()),
    };
    let literal = authority.starts_with('[') && authority.split(']').next().is_some_and(|a| a.contains(':'));
    let block = !has_path && authority.parse::<IpNet>().is_ok() && authority.contains('/');
    let block_and_port = authority.rsplit_once(':').is_some_and(|(net, port)| {
        net.contains('/') && net.parse::<IpNet>().is_ok() && port.parse::<u16>().is_ok()
    });
    if !has_path && block_and_port {
        return Err(no_room(text));
    }
    // The range stands in the host: a bracket in a path or in a query is an ordinary character.
    let range = !literal && authority.split('/').next().is_some_and(|host| host.contains('['));
    if !range && !block {
        return Ok(vec![text.to_owned()]);
    }
    if range
        && (authority.contains('/')
            || authority.contains("]:")
            || authority.rsplit(']').next().is_some_and(|t| t.contains(':')))
    {
        return Err(no_room(text));
    }
    let hosts = expand_host(authority)?;
    Ok(hosts
        .into_iter()
        .map(|host| format!("{scheme}://{}{query}", bracketed(&host)))
        .collect())
}

fn no_room(text: &str) -> TargetError {
    TargetError::new(format!(
        "\"{text}\": a range or CIDR block stands only where there is neither port nor path"
    ))
    .hint("use hosts = [\"web[01-20].example.com\", \"10.0.0.0/28\"] and {host} in the target")
}

/// All hosts that one entry of `hosts` stands for: a name, an address, a range `web[01-20].example.com`,
/// or a CIDR block (every address of it). Lists from files (`@path`) are read by the caller.
pub fn expand_host(entry: &str) -> Result<Vec<String>, TargetError> {
    let entry = entry.trim();
    if entry.contains('/') {
        let net: IpNet = entry.parse().map_err(|_| {
            TargetError::new(format!("\"{entry}\" is not a CIDR block")).hint("for example 10.0.0.0/24")
        })?;
        return block_addresses(net);
    }
    let Some(open) = entry.find('[') else {
        return Ok(vec![entry.to_owned()]);
    };
    let close = entry[open..].find(']').map(|c| open + c);
    let close = close.ok_or_else(|| TargetError::new(format!("\"{entry}\": the bracket [ is not closed")))?;
    let (head, body, tail) = (&entry[..open], &entry[open + 1..close], &entry[close + 1..]);
    if body.contains(':') && head.is_empty() {
        return Ok(vec![entry.to_owned()]);
    }
    let bad = || {
        TargetError::new(format!("\"{entry}\": [{body}] is not a range"))
            .hint("for example web[01-20].example.com")
    };
    let (from, to) = body.split_once('-').ok_or_else(bad)?;
    let (low, high): (u64, u64) = (from.parse().map_err(|_| bad())?, to.parse().map_err(|_| bad())?);
    if low > high {
        return Err(bad());
    }
    let width = if from.starts_with('0') { from.len() } else { 0 };
    if high - low >= MAX_TARGETS as u64 {
        return Err(too_many(entry));
    }
    let mut hosts = Vec::new();
    for n in low..=high {
        for rest in expand_host(tail)? {
            hosts.push(format!("{head}{n:0width$}{rest}"));
            if hosts.len() > MAX_TARGETS {
                return Err(too_many(entry));
            }
        }
    }
    Ok(hosts)
}

/// The host as it stands in a URL: bare IPv6 gets its brackets.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn block_addresses(net: IpNet) -> Result<Vec<String>, TargetError> {
    let host_bits = u32::from(net.max_prefix_len() - net.prefix_len());
    if host_bits > MAX_TARGETS.ilog2() {
        return Err(too_many(&net.to_string()));
    }
    let count = 1usize << host_bits;
    Ok(match net {
        IpNet::V4(net) => {
            let first = u32::from(net.network());
            (0..count as u32)
                .map(|i| std::net::Ipv4Addr::from(first + i).to_string())
                .collect()
        }
        IpNet::V6(net) => {
            let first = u128::from(net.network());
            (0..count as u128)
                .map(|i| std::net::Ipv6Addr::from(first + i).to_string())
                .collect()
        }
    })
}

fn too_many(entry: &str) -> TargetError {
    TargetError::new(format!("\"{entry}\" stands for more than {MAX_TARGETS} targets"))
        .hint("split it over several monitors")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn kind(
        name: &'static str,
        schemes: &'static [&'static str],
        address: Address,
        owns_query: bool,
    ) -> KindInfo {
        KindInfo {
            name,
            schemes,
            summary: "",
            about: "",
            examples: &[],
            address,
            options: &[],
            facts: &[],
            codes: &[],
            privileges: None,
            overlaps: false,
            owns_query,
        }
    }
    static TCP: KindInfo = kind("tcp", &["tcp"], Address::HostPort { default: None }, false);
    static ICMP: KindInfo = kind("icmp", &["icmp", "ping"], Address::Host, false);
    static HTTPS: KindInfo = kind("https", &["https"], Address::HostPortPath { default: 443 }, true);
    static DNS: KindInfo = kind(
        "dns",
        &["dns"],
        Address::OptionalHostPortPath { default: 53 },
        false,
    );
    static KINDS: [&KindInfo; 5] = [&TCP, &ICMP, &HTTPS, &DNS, &crate::kind::HEARTBEAT];

    #[test]
    fn canonical_forms() {
        for (text, url) in [
            ("tcp://DB.example.com:5432", "tcp://db.example.com:5432"),
            ("ping://[2001:db8::1]", "ping://[2001:db8::1]"),
            ("icmp://fe80::1", ""),
            ("icmp://[fe80::1%eth0]", "icmp://[fe80::1%eth0]"),
            ("https://Example.com", "https://example.com"),
            ("https://example.com/a?b=c#d", "https://example.com/a?b=c"),
            ("dns:example.com?type=AAAA", "dns:example.com"),
            (
                "dns://192.0.2.1/example.com?type=A;class=IN",
                "dns://192.0.2.1/example.com",
            ),
            (
                "dns://192.0.2.1:5353/example.com",
                "dns://192.0.2.1:5353/example.com",
            ),
            ("tcp://bücher.example:80", "tcp://xn--bcher-kva.example:80"),
            ("heartbeat:Home-1.x_y", "heartbeat:Home-1.x_y"),
            ("HEARTBEAT://home?period=1m", "heartbeat:home"),
        ] {
            match Target::parse(text, &KINDS) {
                Ok(target) => assert_eq!(target.url, url),
                Err(error) => assert_eq!(url, "", "{text}: {error}"),
            }
        }
    }

    #[test]
    fn errors_say_what_was_meant() {
        for (text, message, hint) in [
            ("tpc://x:1", "\"tpc\" is not known", "did you mean \"tcp\"?"),
            ("tcp://x", "needs a port", "tcp://x:80"),
            ("tcp://x:99999", "is not a port", "1 to 65535"),
            ("icmp://x:7", "has no ports", ""),
            ("example.com", "no scheme", "icmp://example.com"),
            ("example.com:80", "no scheme", "tcp://example.com:80"),
            ("tcp://2001:db8::1:80", "host:port", "brackets"),
            (
                "https://user:pw@host/",
                "user name or password",
                "auth = \"${PAGE_AUTH}\"",
            ),
            ("tcp:host:80", "lacks the //", "tcp://host:80"),
            ("tcp://ho st:80", "space", ""),
            ("tcp://:80", "host is missing", ""),
            ("heartbeat:", "the heartbeat has no name", "heartbeat:home"),
            (
                "heartbeat:a/b",
                "\"a/b\" is not the name of a heartbeat",
                "1 to 32",
            ),
            ("heartbeat://10.0.0.0/30", "is not the name", ""),
            (
                "heartbeat:abcdefghijklmnopqrstuvwxyz-0123456",
                "is not the name",
                "",
            ),
            ("heartbeet:x", "is not known", "did you mean \"heartbeat\"?"),
        ] {
            let error = Target::parse(text, &KINDS).unwrap_err();
            assert!(error.message.contains(message), "{text}: {}", error.message);
            assert!(error.hint.unwrap_or_default().contains(hint), "{text}");
        }
    }

    #[test]
    fn expansion() {
        let hosts = expand_host("web[08-11].example.com").unwrap();
        assert_eq!(hosts.first().map(String::as_str), Some("web08.example.com"));
        assert_eq!(hosts.len(), 4);
        assert_eq!(expand_host("r[1-2]-[1-3]").unwrap().len(), 6);
        assert_eq!(expand_host("10.0.0.0/24").unwrap().len(), 256);
        assert_eq!(expand_host("2001:db8::/126").unwrap()[3], "2001:db8::3");
        assert!(expand_host("10.0.0.0/8").is_err());
        assert_eq!(
            expand_target("icmp://10.0.0.0/30?count=2", &KINDS).unwrap()[1],
            "icmp://10.0.0.1?count=2"
        );
        assert_eq!(expand_target("icmp://[::1]", &KINDS).unwrap(), ["icmp://[::1]"]);
        assert_eq!(
            expand_target("https://x/a[1-2]", &KINDS).unwrap(),
            ["https://x/a[1-2]"]
        );
        assert!(expand_target("tcp://web[1-2]:80", &KINDS).is_err());
        assert!(expand_target("tcp://10.0.0.0/30:80", &KINDS).is_err());
        assert_eq!(
            expand_target("https://10.0.0.1/24", &KINDS).unwrap(),
            ["https://10.0.0.1/24"]
        );
        for bad in ["x[", "x[a-b]", "x[5-1]", "x[1]", "10.0.0.0/33"] {
            assert!(expand_host(bad).is_err(), "{bad}");
        }
    }
}
