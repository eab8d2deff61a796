//! Any service that takes an HTTP request: the event's JSON, or a body of the user's own.

use lapwing_core::{
    kind::{OptionError, OptionInfo, OptionReader, OptionType},
    secret::Secret,
};
use lapwing_net::{HttpRequest, Net};

use crate::{
    BoxFuture, DeliveryError, Dial, FIELDS, Message, Notifier, NotifierInfo, NotifierKind, Receipt, Template,
    endpoint::Endpoint, options, template::escape_json,
};

pub(super) const KIND: NotifierKind = NotifierKind { info: &INFO, build };

static INFO: NotifierInfo = NotifierInfo {
    name: "webhook",
    summary: "any HTTP service: the event as JSON, or a body of your own",
    about: "Sends the event's JSON, or `body` with its {fields} filled in, each made safe for a JSON string. The header \
            Idempotency-Key holds the message's id, the same at every resend. Any 2xx is delivered; 408, 425, 429, 5xx \
            and a failing network are tried again; other answers are final. Redirects are not followed.",
    options: &[
        OptionInfo {
            name: "url",
            ty: OptionType::Secret,
            default: "",
            doc: "The address. All behind the host counts as secret and is never shown.",
            example: "\"https://hooks.example.com/${HOOK_KEY}\"",
        },
        OptionInfo {
            name: "method",
            ty: OptionType::Choice(&["POST", "PUT", "PATCH", "GET"]),
            default: "POST",
            doc: "The HTTP method. GET sends no body.",
            example: "\"PUT\"",
        },
        OptionInfo {
            name: "headers",
            ty: OptionType::Pairs,
            default: "",
            doc: "Headers of the request. Content-Type is application/json unless given.",
            example: "{ Authorization = \"Bearer ${TOKEN}\" }",
        },
        OptionInfo {
            name: "body",
            ty: OptionType::Text,
            default: "",
            doc: "The body, with fields such as {text}, {monitor} and {event}; {{ and }} stand for the braces \
                  themselves. Default: the event's JSON.",
            example: "'{{\"content\": \"{text}\"}}'",
        },
    ],
    shared: options::WEB,
    required: &["url"],
    example: "[notify.hook]\ntype = \"webhook\"\nurl = \"https://hooks.example.com/${HOOK_KEY}\"\n",
};

struct Webhook {
    endpoint: Endpoint,
    method: &'static str,
    headers: Vec<(String, Secret)>,
    body: Option<Template>,
}

fn build(reader: &mut OptionReader<'_>, dial: &Dial) -> Option<Box<dyn Notifier>> {
    let method = reader.choice("method");
    let headers = headers(reader);
    let body = body(reader, &headers);
    if method == "GET" && reader.has("body") {
        reader.error(OptionError::new("body", "a GET request has no body").hint("set method = \"POST\""));
    }
    let url = reader.secret("url").filter(|u| !u.is_empty())?;
    let mut endpoint = Endpoint::read(reader, "url", &url, dial)?;
    for (_, value) in &headers {
        let bare = value.expose().rsplit(' ').next().unwrap_or_default();
        endpoint.redactor = std::mem::take(&mut endpoint.redactor)
            .secret(value.expose())
            .secret(bare);
    }
    Some(Box::new(Webhook {
        endpoint,
        method,
        headers,
        body,
    }))
}

fn headers(reader: &mut OptionReader<'_>) -> Vec<(String, Secret)> {
    const OURS: [&str; 6] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "idempotency-key",
    ];
    let given = reader.pairs("headers");
    for (name, value) in &given {
        let token = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !token {
            let shown = name.escape_debug();
            reader.error(OptionError::new(
                "headers",
                format!("\"{shown}\" is not the name of a header"),
            ));
        } else if OURS.contains(&name.to_lowercase().as_str()) {
            reader.error(OptionError::new(
                "headers",
                format!("the header {name} is set by Lapwing itself"),
            ));
        } else if value.chars().any(char::is_control) || !value.is_ascii() {
            let error = format!(
                "the value of the header {name} holds a line break or another character not allowed there"
            );
            reader.error(OptionError::new("headers", error));
        }
    }
    given
        .into_iter()
        .map(|(name, value)| (name, Secret::new(value)))
        .collect()
}

/// The template of the body; where the body is to be JSON, it is tried with a sample, so that a missing brace is
/// found now and not in the first outage.
fn body(reader: &mut OptionReader<'_>, headers: &[(String, Secret)]) -> Option<Template> {
    let text = reader.text("body")?;
    let template = match Template::parse(&text, FIELDS) {
        Ok(template) => template,
        Err(error) => {
            let hint = format!("the fields are: {}", FIELDS.join(", "));
            reader.error(OptionError::new("body", format!("body: {error}")).hint(hint));
            return None;
        }
    };
    let kind = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let json = kind.is_none_or(|(_, value)| value.expose().contains("json"));
    let sample = template.render(|_| "0".to_owned(), escape_json);
    if json && serde_json::from_str::<serde_json::Value>(&sample).is_err() {
        let error = OptionError::new("body", "body is not JSON once its fields are filled in");
        reader.error(error.hint(
            "fields stand inside quotes, as \"{text}\"; for another format set the header Content-Type",
        ));
    }
    Some(template)
}

impl Webhook {
    async fn send(&self, message: &Message, net: &Net) -> Result<Receipt, DeliveryError> {
        let body = match (&self.body, self.method) {
            (_, "GET") => Vec::new(),
            (Some(template), _) => template
                .render(|name| message.field(name), escape_json)
                .into_bytes(),
            (None, _) => message.payload().into_owned().into_bytes(),
        };
        let mut headers = vec![("idempotency-key".to_owned(), key(&message.id))];
        let given = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !body.is_empty() && !given("content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned())),
        );
        let request = HttpRequest {
            method: self.method.to_owned(),
            url: self.endpoint.url.clone(),
            headers,
            body,
        };
        let response = self.endpoint.ask(net, request).await?;
        let said = String::from_utf8_lossy(&response.body);
        let first = said
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('<'));
        // The whole answer is searched for secrets before its first line is quoted.
        let detail = if self.endpoint.redactor.repeats(&said) {
            &said
        } else {
            first.unwrap_or_default()
        };
        self.endpoint.judge(&response, net.clock().now().wall, detail)?;
        Ok(Receipt::default())
    }
}

impl Notifier for Webhook {
    fn deliver<'a>(
        &'a self,
        message: &'a Message,
        net: &'a Net,
    ) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(self.send(message, net))
    }

    fn verify<'a>(&'a self, net: &'a Net) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(async { self.send(&Message::test(net.clock().now().wall), net).await })
    }

    fn is_local(&self) -> bool {
        self.endpoint.is_local()
    }
}

/// The id as a header value, whatever it holds.
fn key(id: &str) -> String {
    id.chars().filter(char::is_ascii_graphic).take(200).collect()
}

#[cfg(test)]
mod tests {
    use crate::testkit::{self, HOSTILE, Peer};

    #[tokio::test]
    async fn posts_the_event_with_its_key() {
        let (net, mut peer) = (testkit::net(), Peer::http(&["204 No Content"]).await);
        let built = testkit::built(
            "webhook",
            &[("url", peer.url("/hook?k=1")), ("headers", "X-Key: abc".into())],
        );
        let mut message = testkit::message();
        message.resent = true;
        built.notifier.deliver(&message, &net).await.unwrap();
        let request = peer.request().await;
        assert!(
            request.head.starts_with("POST /hook?k=1 HTTP/1.1"),
            "{}",
            request.head
        );
        assert_eq!(request.header("idempotency-key"), Some("01JTEST"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("x-key"), Some("abc"));
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["resent"], true);
        assert!(built.notifier.is_local());
    }

    #[tokio::test]
    async fn hostile_text_stays_one_field() {
        let (net, mut peer) = (testkit::net(), Peer::http(&["200 OK", "200 OK"]).await);
        let body = "{{\"content\": \"{text}\", \"m\": {{\"n\": \"{monitor}\"}}}}";
        let built = testkit::built(
            "webhook",
            &[
                ("url", peer.url("/")),
                ("method", "PUT".into()),
                ("body", body.into()),
            ],
        );
        let mut message = testkit::message();
        message.text = HOSTILE.to_owned();
        message.monitor = HOSTILE.to_owned();
        message.id = "a\r\nX-Evil: 1".to_owned();
        built.notifier.deliver(&message, &net).await.unwrap();
        let request = peer.request().await;
        assert_eq!(request.header("x-evil"), None);
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 2);
        assert_eq!(body["content"].as_str().unwrap(), message.field("text"));
        assert!(
            !body["m"]["n"]
                .as_str()
                .unwrap()
                .contains(['\0', '\n', '\u{202e}'])
        );
        built.notifier.verify(&net).await.unwrap();
        assert!(String::from_utf8_lossy(&peer.request().await.body).contains("TEST"));
    }

    #[test]
    fn wrong_options_are_all_told() {
        let url = ("url", "https://example.com/x");
        let table: &[(&str, &str, &str)] = &[
            ("body", "{{\"a\": \"{nope}\"}}", "{nope}"),
            ("body", "{\"a\": \"{text}\"}", "single"),
            ("body", "{{\"a\": {text}", "not JSON"),
            ("headers", "Bad Name: x", "not the name"),
            ("headers", "Content-Length: 3", "by Lapwing itself"),
            ("method", "PSOT", "not known"),
            ("urll", "x", "no option"),
        ];
        for (name, value, words) in table {
            let errors = crate::parse("webhook", &testkit::options(&[url, (*name, *value)])).unwrap_err();
            assert_eq!(errors.len(), 1, "{name} {value}: {errors:?}");
            assert!(errors[0].message.contains(words), "{errors:?}");
        }
        for (bad, words) in [
            ("ftp://h/s", "http"),
            ("nonsense", "not a URL"),
            ("https://u:p4ss@h/", "user name"),
            ("", "is empty"),
        ] {
            let errors = crate::parse("webhook", &testkit::options(&[("url", bad)])).unwrap_err();
            assert!(
                errors[0].message.contains(words) && !format!("{errors:?}").contains("p4ss"),
                "{errors:?}"
            );
        }
        let plain = [url, ("body", "{text}"), ("headers", "content-type: text/plain")];
        assert!(crate::parse("webhook", &testkit::options(&plain)).is_ok());
    }

    #[test]
    fn local_addresses_are_known() {
        for (url, local) in [
            ("http://10.1.2.3/", true),
            ("http://[::1]:80/", true),
            ("http://[fd00::1]/", true),
            ("http://nas.lan/", true),
            ("http://localhost/", true),
            ("https://8.8.8.8/", false),
            ("https://example.com/", false),
            ("http://plan/", false),
        ] {
            assert_eq!(
                testkit::built("webhook", &[("url", url)]).notifier.is_local(),
                local,
                "{url}"
            );
        }
    }
}
