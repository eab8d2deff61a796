//! Slack, and what takes Slack's format (Mattermost, Rocket.Chat): an incoming webhook. Never links a name.

use lapwing_core::kind::{OptionInfo, OptionReader, OptionType};
use lapwing_net::Net;
use serde_json::json;

use crate::{
    BoxFuture, DeliveryError, Dial, Message, Notifier, NotifierInfo, NotifierKind, Receipt,
    endpoint::Endpoint, message::cut_utf16, options,
};

pub(super) const KIND: NotifierKind = NotifierKind { info: &INFO, build };

/// Slack cuts longer texts at 40,000 characters; escaping may grow ours fivefold.
const TEXT_MAX: usize = 7_900;

static INFO: NotifierInfo = NotifierInfo {
    name: "slack",
    summary: "a Slack channel, by incoming webhook",
    about: "Posts the text of the message to an incoming webhook. Services that take Slack's format, such as \
            Mattermost and Rocket.Chat, work too. The address is a secret: whoever has it can post.",
    options: &[OptionInfo {
        name: "webhook_url",
        ty: OptionType::Secret,
        default: "",
        doc: "The address that Slack gives for an incoming webhook.",
        example: "\"${SLACK_WEBHOOK_URL}\"",
    }],
    shared: options::WEB,
    required: &["webhook_url"],
    example: "[notify.ops]\ntype = \"slack\"\nwebhook_url = \"${SLACK_WEBHOOK_URL}\"\n",
};

struct Slack {
    endpoint: Endpoint,
}

fn build(reader: &mut OptionReader<'_>, dial: &Dial) -> Option<Box<dyn Notifier>> {
    let url = reader.secret("webhook_url").filter(|u| !u.is_empty())?;
    let endpoint = Endpoint::read(reader, "webhook_url", &url, dial)?;
    Some(Box::new(Slack { endpoint }))
}

impl Slack {
    async fn post(&self, message: &Message, net: &Net) -> Result<Receipt, DeliveryError> {
        let told = message.told();
        let body = json!({ "text": escape(&cut_utf16(&told, TEXT_MAX)) });
        let response = self.endpoint.post_json(net, &body).await?;
        let detail = String::from_utf8_lossy(&response.body);
        self.endpoint
            .judge(&response, net.clock().now().wall, meaning(&detail))?;
        Ok(Receipt::default())
    }
}

impl Notifier for Slack {
    fn deliver<'a>(
        &'a self,
        message: &'a Message,
        net: &'a Net,
    ) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(self.post(message, net))
    }

    fn verify<'a>(&'a self, net: &'a Net) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(async { self.post(&Message::test(net.clock().now().wall), net).await })
    }

    fn is_local(&self) -> bool {
        self.endpoint.is_local()
    }
}

/// The three characters that are markup; all mentions and links need them.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Slack's error words for people; what else a server says stands as it is.
fn meaning(answer: &str) -> &str {
    match answer.trim() {
        "no_service" | "no_active_hooks" | "no_team" => "the webhook was removed or switched off in Slack",
        "invalid_token" => "the webhook address is not valid",
        "channel_not_found" | "channel_is_archived" => "the channel no longer exists or is archived",
        "action_prohibited" | "posting_to_general_channel_denied" => {
            "the workspace does not allow posting there"
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::testkit::{self, HOSTILE, Peer};

    #[tokio::test]
    async fn hostile_text_arrives_as_text() {
        let (net, mut peer) = (testkit::net(), Peer::http(&["200 OK"]).await);
        let built = testkit::built("slack", &[("webhook_url", &peer.url("/services/T/B/x"))]);
        let mut message = testkit::message();
        message.text = HOSTILE.to_owned();
        message.resent = true;
        built.notifier.deliver(&message, &net).await.unwrap();
        let request = peer.request().await;
        assert!(
            request.head.starts_with("POST /services/T/B/x HTTP/1.1\r\n"),
            "{}",
            request.head
        );
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let keys: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["text"]);
        let text = body["text"].as_str().unwrap();
        assert!(
            !text.contains(['<', '>', '\0', '\r', '\u{202e}', '\u{1b}']),
            "{text}"
        );
        let read = text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        assert_eq!(read, message.told());
    }

    #[tokio::test]
    async fn errors_say_what_to_do() {
        let (net, peer) = (testkit::net(), Peer::http(&["404 Not Found|no_service"]).await);
        let built = testkit::built("slack", &[("webhook_url", &peer.url("/x"))]);
        let error = built
            .notifier
            .deliver(&testkit::message(), &net)
            .await
            .unwrap_err();
        assert!(error.message.contains("removed or switched off"), "{error}");
    }
}
