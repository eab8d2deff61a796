//! One HTTP request to a service, and the one table that says what its status means. Never shows more of a URL than
//! scheme and host: the rest is as good as a password.

use std::{fmt, net::IpAddr, time::Duration};

use jiff::fmt::rfc2822::DateTimeParser;
use lapwing_core::{
    kind::{OptionError, OptionReader},
    secret::Secret,
    target::Host,
    time::Wall,
};
use lapwing_net::{HeaderMap, HttpRequest, HttpResponse, HttpSettings, Net, Url};

use crate::{
    delivery::{DeliveryError, Handed, RETRY_AFTER_MAX, Retry, within},
    options::Dial,
    redact::Redactor,
};

/// The dates of HTTP are those of mail; nobody has to get the day of the week right.
const DATES: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// A service behind a URL.
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    /// `https://hooks.slack.com`
    pub(crate) shown: String,
    pub(crate) redactor: Redactor,
    pub(crate) deadline: Duration,
    host: Host,
    settings: HttpSettings,
}

/// Without what is behind the host.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/***", self.shown)
    }
}

impl Endpoint {
    /// Reads the URL that the option `name` gives. Error texts never repeat it.
    pub(crate) fn read(reader: &mut OptionReader<'_>, name: &str, url: &Secret, dial: &Dial) -> Option<Self> {
        let mut refuse = |problem: &str, hint: &str| {
            reader.error(OptionError::new(name, format!("{name} {problem}")).hint(hint));
            None
        };
        let hint = "it begins with https:// and is best given as ${NAME} or { file = \"path\" }";
        let Ok(url) = Url::parse(url.expose().trim()) else {
            return refuse("is not a URL", hint);
        };
        if !matches!(url.scheme(), "https" | "http") {
            return refuse("is neither an http nor an https URL", hint);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(
                "may not hold a user name or password",
                "give an Authorization header instead",
            );
        }
        let Ok(host) = Host::parse(url.host_str().unwrap_or_default()) else {
            return refuse("has no host", hint);
        };
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let shown = format!("{}://{host}{port}", url.scheme());
        let mut redactor = Redactor::new().url(&url);
        if let Ok(proxy) = Url::parse(dial.proxy_secret.expose()) {
            redactor = redactor.url(&proxy);
        }
        Some(Self {
            url,
            shown,
            redactor,
            deadline: dial.deadline,
            host,
            settings: dial.http(),
        })
    }

    /// True for addresses and names of the local network.
    pub(crate) fn is_local(&self) -> bool {
        match &self.host {
            Host::Ip(IpAddr::V4(ip), _) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
            Host::Ip(IpAddr::V6(ip), _) => {
                ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local()
            }
            Host::Name(name) => {
                let local = [".local", ".lan", ".home.arpa", ".internal"];
                self.host.is_loopback() || local.iter().any(|end| name.ends_with(end))
            }
        }
    }

    /// Posts `json` to the URL itself.
    pub(crate) async fn post_json(
        &self,
        net: &Net,
        json: &serde_json::Value,
    ) -> Result<HttpResponse, DeliveryError> {
        let headers = vec![(
            "content-type".to_owned(),
            "application/json; charset=utf-8".to_owned(),
        )];
        let body = json.to_string().into_bytes();
        self.ask(
            net,
            HttpRequest {
                method: "POST".to_owned(),
                url: self.url.clone(),
                headers,
                body,
            },
        )
        .await
    }

    /// Asks, and gives the answer whatever its status.
    pub(crate) async fn ask(&self, net: &Net, request: HttpRequest) -> Result<HttpResponse, DeliveryError> {
        let handed = Handed::default();
        within(self.deadline, &self.shown, &handed, async {
            let asked = net.http(&request, &self.settings, &handed).await;
            let network = |fault| DeliveryError::network(&self.shown, &fault, &self.redactor);
            asked.map_err(|fault| network(fault).maybe_arrived(handed.get()))
        })
        .await
    }

    /// What the status of `response` means; `detail` is what the service says about it.
    pub(crate) fn judge(
        &self,
        response: &HttpResponse,
        now: Wall,
        detail: &str,
    ) -> Result<(), DeliveryError> {
        let status = response.status;
        let (code, sentence, retry) = match status {
            200..=299 => return Ok(()),
            300..=399 => (
                "notify.redirected",
                "redirects to another address; configure the final one (or a login page of this network is in between)",
                Retry::Backoff,
            ),
            401 | 403 => (
                "notify.auth",
                "does not accept the key in the configuration",
                Retry::Never,
            ),
            408 | 425 | 500.. => (
                "notify.unavailable",
                "cannot take the message now",
                Retry::Backoff,
            ),
            429 => ("notify.rate_limited", "wants fewer messages", Retry::Backoff),
            _ => ("notify.rejected", "refused the message", Retry::Never),
        };
        let retry = match (retry, retry_after(&response.headers, now)) {
            (Retry::Backoff, Some(wait)) => Retry::After(wait),
            (retry, _) => retry,
        };
        let detail = self.redactor.quote(detail);
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(": {detail}")
        };
        let message = format!("{} {sentence} (status {status}){detail}", self.shown);
        // A gateway does not know whether the service behind it took the message.
        Err(DeliveryError::new(code, message, retry).maybe_arrived(matches!(status, 502 | 504)))
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date, at most a day.
fn retry_after(headers: &HeaderMap, now: Wall) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        Wall(DATES.parse_timestamp(text).ok()?.as_microsecond()).since(now)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Wall(784_111_777_000_000); // Sun, 06 Nov 1994 08:49:37 GMT
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            retry_after(&headers, now).map(|d| d.as_secs())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(read("99999999999999999999999"), Some(86_400));
        assert_eq!(read("Sun, 06 Nov 2094 08:50:07 GMT"), Some(86_400));
        for bad in ["", "soon", "-5", "1.5", "Sun, 99 Nov 1994"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
