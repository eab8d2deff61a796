//! Telegram, by bot. Texts are HTML with everything escaped; the token never leaves the URL it belongs in.

use lapwing_core::{
    kind::{OptionError, OptionInfo, OptionReader, OptionType, Options},
    observation::clean,
    secret::Secret,
};
use lapwing_net::{HttpRequest, HttpResponse, Net};
use serde_json::{Value, json};

use crate::{
    BoxFuture, DeliveryError, Dial, Message, Notifier, NotifierInfo, NotifierKind, Receipt, Retry,
    delivery::RETRY_AFTER_MAX, endpoint::Endpoint, message::cut_utf16, options,
};

pub(super) const KIND: NotifierKind = NotifierKind { info: &INFO, build };

/// Telegram refuses texts of more than 4096 UTF-16 units after entities.
const TEXT_MAX: usize = 4_000;
/// Most chats that are listed.
const CHATS_MAX: usize = 1_000;

static INFO: NotifierInfo = NotifierInfo {
    name: "telegram",
    summary: "a Telegram chat, group or channel, by bot",
    about: "Sends the text as a message of a bot. Make a bot with @BotFather, send it a message or add it to the \
            group or channel, and find the chat's number with `lapwing notify telegram-chats NAME`.",
    options: &[
        OptionInfo {
            name: "token",
            ty: OptionType::Secret,
            default: "",
            doc: "The bot's token, as @BotFather gives it.",
            example: "\"${TELEGRAM_TOKEN}\"",
        },
        OptionInfo {
            name: "chat_id",
            ty: OptionType::Text,
            default: "",
            doc: "The chat's number (negative for groups and channels) or the name of a public channel.",
            example: "\"-1001234567890\"",
        },
        OptionInfo {
            name: "api",
            ty: OptionType::Text,
            default: "https://api.telegram.org",
            doc: "The address of the Bot API server, for an own one.",
            example: "\"http://localhost:8081\"",
        },
    ],
    shared: options::WEB,
    required: &["token", "chat_id"],
    example: "[notify.phone]\ntype = \"telegram\"\ntoken = \"${TELEGRAM_TOKEN}\"\nchat_id = \"-1001234567890\"\n",
};

struct Telegram {
    bot: Bot,
    chat: Value,
}

/// A bot, which may not know yet to whom it speaks.
struct Bot {
    endpoint: Endpoint,
    api: String,
    token: Secret,
}

/// A chat that the bot has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Negative for groups and channels.
    pub id: i64,
    pub title: String,
    /// `private`, `group`, `supergroup` or `channel`.
    pub kind: String,
}

fn build(reader: &mut OptionReader<'_>, dial: &Dial) -> Option<Box<dyn Notifier>> {
    let bot = bot(reader, dial);
    let chat = reader.text("chat_id").filter(|c| !c.trim().is_empty())?;
    let chat = match (chat.trim().parse::<i64>(), chat.trim().strip_prefix('@')) {
        (Ok(id), _) => json!(id),
        (_, Some(name))
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
        {
            json!(chat.trim())
        }
        _ => {
            let error = OptionError::new(
                "chat_id",
                format!("chat_id = \"{chat}\" is neither a number nor @channel"),
            );
            reader.error(
                error.hint("`lapwing notify telegram-chats NAME` lists the chats that the bot has seen"),
            );
            return None;
        }
    };
    Some(Box::new(Telegram { bot: bot?, chat }))
}

fn bot(reader: &mut OptionReader<'_>, dial: &Dial) -> Option<Bot> {
    let token = reader.secret("token").filter(|t| !t.is_empty())?;
    let api = reader.text("api").unwrap_or_default();
    let token = Secret::new(token.expose().trim());
    if !token
        .expose()
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b))
    {
        let error = OptionError::new("token", "token is not a bot token");
        reader.error(error.hint("@BotFather gives it: digits, a colon, then letters and digits"));
        return None;
    }
    let api = api.trim_end_matches('/').to_owned();
    let mut endpoint = Endpoint::read(reader, "api", &Secret::new(&api), dial)?;
    let (_, secret_part) = token.expose().split_once(':').unwrap_or_default();
    endpoint.redactor = std::mem::take(&mut endpoint.redactor)
        .secret(token.expose())
        .secret(secret_part);
    Some(Bot { endpoint, api, token })
}

/// The chats that the bot of this notifier has seen, for `lapwing notify telegram-chats`. Needs no `chat_id`.
/// Telegram keeps what the bot has seen for a day.
pub async fn chats(given: &Options, net: &Net) -> Result<Vec<Chat>, ChatsError> {
    let mut reader = OptionReader::of(INFO.name, [INFO.options, INFO.shared], given);
    let common = options::read(&mut reader, INFO.shared);
    let bot = bot(&mut reader, &common.dial);
    reader.finish().map_err(ChatsError::Options)?;
    let bot = bot.ok_or_else(|| {
        ChatsError::Options(vec![OptionError::new(
            "token",
            "telegram needs token, which is missing",
        )])
    })?;
    let allowed = json!({ "allowed_updates": ["message", "channel_post", "my_chat_member"], "limit": 100 });
    let answer = bot
        .call(net, "getUpdates", &allowed)
        .await
        .map_err(ChatsError::Delivery)?;
    Ok(chats_of(&answer["result"]))
}

/// Why chats could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ChatsError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Options(Vec<OptionError>),
    #[error("{0}")]
    Delivery(#[from] DeliveryError),
}

/// Every chat of the updates once, in the order in which they were seen.
fn chats_of(updates: &Value) -> Vec<Chat> {
    let mut chats: Vec<Chat> = Vec::new();
    for update in updates.as_array().into_iter().flatten() {
        for from in ["message", "channel_post", "my_chat_member"] {
            let chat = &update[from]["chat"];
            let Some(id) = chat["id"].as_i64() else { continue };
            let word = |name: &str| chat[name].as_str().unwrap_or_default();
            let person = format!("{} {}", word("first_name"), word("last_name"));
            let names = [word("title"), person.trim(), word("username")];
            let title = clean(names.into_iter().find(|n| !n.is_empty()).unwrap_or("?"), 200);
            let chat = Chat {
                id,
                title,
                kind: clean(word("type"), 40),
            };
            match chats.iter().position(|c| c.id == id) {
                Some(at) => chats[at] = chat,
                None if chats.len() < CHATS_MAX => chats.push(chat),
                None => {}
            }
        }
    }
    chats
}

impl Bot {
    async fn call(&self, net: &Net, method: &str, body: &Value) -> Result<Value, DeliveryError> {
        let url = format!("{}/bot{}/{method}", self.api, self.token.expose());
        let url = url
            .parse()
            .map_err(|_| DeliveryError::never("notify.config", "api is not a URL"))?;
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let request = HttpRequest {
            method: "POST".to_owned(),
            url,
            headers,
            body: body.to_string().into_bytes(),
        };
        let response = self.endpoint.ask(net, request).await?;
        let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        self.judge(net, &response, &answer)?;
        Ok(answer)
    }

    /// Telegram says in the body what the status alone does not (Bot API, "Making requests").
    fn judge(&self, net: &Net, response: &HttpResponse, answer: &Value) -> Result<(), DeliveryError> {
        let detail = answer["description"].as_str().unwrap_or_default();
        let refused = || {
            DeliveryError::never(
                "notify.rejected",
                format!("Telegram refused: {}", self.endpoint.redactor.quote(detail)),
            )
        };
        let judged = self.endpoint.judge(response, net.clock().now().wall, detail);
        let Err(mut error) = judged else {
            return if answer["ok"] == json!(false) {
                Err(refused())
            } else {
                Ok(())
            };
        };
        let parameters = &answer["parameters"];
        if let Some(seconds) = parameters["retry_after"]
            .as_u64()
            .filter(|_| error.retry != Retry::Never)
        {
            error.retry = Retry::After(std::time::Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        }
        let moved = parameters["migrate_to_chat_id"].as_i64();
        let sentence = match (response.status, detail) {
            (401 | 404, _) => {
                "Telegram does not know this bot token: copy it again from @BotFather".to_owned()
            }
            (400, _) if let Some(moved) = moved => {
                format!("the group became a supergroup: set chat_id = {moved}")
            }
            (400, d) if d.contains("chat not found") => {
                "Telegram does not find the chat: send the bot a message, or add \
                it to the group, then run `lapwing notify telegram-chats NAME` for its number"
                    .to_owned()
            }
            (403, _) => {
                format!(
                    "the bot may not write to this chat: {}",
                    self.endpoint.redactor.quote(detail)
                )
            }
            _ => return Err(error),
        };
        error.code = if matches!(response.status, 401 | 404) {
            "notify.auth"
        } else {
            "notify.rejected"
        };
        Err(DeliveryError::new(error.code, sentence, error.retry))
    }
}

impl Notifier for Telegram {
    fn deliver<'a>(
        &'a self,
        message: &'a Message,
        net: &'a Net,
    ) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(async {
            let told = message.told();
            let body = json!({
                "chat_id": self.chat,
                "text": escape(&cut_utf16(&told, TEXT_MAX)),
                "parse_mode": "HTML",
                "link_preview_options": { "is_disabled": true },
            });
            self.bot.call(net, "sendMessage", &body).await?;
            Ok(Receipt::default())
        })
    }

    /// Asks for the bot and for the chat: nobody sees a message.
    fn verify<'a>(&'a self, net: &'a Net) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(async {
            self.bot.call(net, "getMe", &json!({})).await?;
            self.bot
                .call(net, "getChat", &json!({ "chat_id": self.chat }))
                .await?;
            Ok(Receipt::default())
        })
    }

    fn is_local(&self) -> bool {
        self.bot.endpoint.is_local()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testkit::{self, HOSTILE, Peer};

    fn options(peer: &Peer) -> Vec<(&'static str, String)> {
        vec![
            ("token", "123:AAcanary".into()),
            ("chat_id", "-100123".into()),
            ("api", peer.url("/")),
        ]
    }

    #[tokio::test]
    async fn hostile_text_arrives_as_text() {
        let (net, mut peer) = (testkit::net(), Peer::http(&["200 OK|{\"ok\":true}"]).await);
        let built = testkit::built("telegram", &options(&peer));
        let mut message = testkit::message();
        message.text = HOSTILE.to_owned();
        built.notifier.deliver(&message, &net).await.unwrap();
        let request = peer.request().await;
        assert!(
            request.head.starts_with("POST /bot123:AAcanary/sendMessage "),
            "{}",
            request.head
        );
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["chat_id"], json!(-100_123));
        assert_eq!(body["parse_mode"], "HTML");
        assert_eq!(body["link_preview_options"]["is_disabled"], true);
        let text = body["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>', '\0', '\u{202e}']), "{text}");
        assert_eq!(
            text.replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
            message.told()
        );
    }

    #[tokio::test]
    async fn verify_sends_no_message() {
        let ok = "200 OK|{\"ok\":true,\"result\":{}}";
        let (net, mut peer) = (testkit::net(), Peer::http(&[ok, ok]).await);
        testkit::built("telegram", &options(&peer))
            .notifier
            .verify(&net)
            .await
            .unwrap();
        assert!(peer.request().await.head.contains("/getMe "));
        assert!(peer.request().await.head.contains("/getChat "));
    }

    #[tokio::test]
    async fn error_bodies_are_understood() {
        let table: &[(&str, &str, Retry, &str)] = &[
            (
                "429 Too Many|{\"ok\":false,\"parameters\":{\"retry_after\":17}}",
                "notify.rate_limited",
                Retry::After(Duration::from_secs(17)),
                "fewer",
            ),
            (
                "401 Unauthorized|{\"ok\":false,\"description\":\"Unauthorized\"}",
                "notify.auth",
                Retry::Never,
                "@BotFather",
            ),
            (
                "404 Not Found|{\"ok\":false,\"description\":\"Not Found\"}",
                "notify.auth",
                Retry::Never,
                "@BotFather",
            ),
            (
                "400 Bad|{\"ok\":false,\"description\":\"Bad Request: chat not found\"}",
                "notify.rejected",
                Retry::Never,
                "telegram-chats",
            ),
            (
                "400 Bad|{\"ok\":false,\"description\":\"x\",\"parameters\":{\"migrate_to_chat_id\":-1009}}",
                "notify.rejected",
                Retry::Never,
                "-1009",
            ),
            (
                "403 Forbidden|{\"ok\":false,\"description\":\"bot was kicked\"}",
                "notify.rejected",
                Retry::Never,
                "kicked",
            ),
            (
                "200 OK|{\"ok\":false,\"description\":\"odd\"}",
                "notify.rejected",
                Retry::Never,
                "odd",
            ),
            ("400 Bad|not json", "notify.rejected", Retry::Never, "400"),
        ];
        let net = testkit::net();
        for (answer, code, retry, words) in table {
            let peer = Peer::http(&[answer]).await;
            let error = testkit::built("telegram", &options(&peer))
                .notifier
                .deliver(&testkit::message(), &net)
                .await
                .unwrap_err();
            assert_eq!((error.code, error.retry), (*code, *retry), "{answer}");
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn chats_are_listed_once() {
        let updates = json!({ "ok": true, "result": [
            { "message": { "chat": { "id": 7, "first_name": "Ada", "last_name": "L", "type": "private" } } },
            { "channel_post": { "chat": { "id": -1005, "title": "Ops\u{202e}", "type": "channel" } } },
            { "my_chat_member": { "chat": { "id": -9, "title": "Group", "type": "group" } } },
            { "message": { "chat": { "id": 7, "username": "ada", "type": "private" } } },
            { "edited_message": {} }, 3, { "message": { "chat": { "id": "x" } } },
        ] });
        let (net, peer) = (testkit::net(), Peer::http(&[&format!("200 OK|{updates}")]).await);
        let given = testkit::options(
            &options(&peer)[..]
                .iter()
                .filter(|(n, _)| *n != "chat_id")
                .cloned()
                .collect::<Vec<_>>(),
        );
        let found = chats(&given, &net).await.unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|c| (c.id, c.title.as_str(), c.kind.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (7, "ada", "private"),
                (-1005, "Ops ", "channel"),
                (-9, "Group", "group")
            ]
        );
        assert!(matches!(
            chats(&Options::default(), &net).await,
            Err(ChatsError::Options(_))
        ));
    }

    #[test]
    fn chat_ids_and_tokens_are_checked() {
        for (chat, good) in [
            ("-1001", true),
            ("42", true),
            ("@ops_room", true),
            ("ops", false),
            ("@", false),
            ("@a/b", false),
        ] {
            let given = testkit::options(&[("token", "1:a"), ("chat_id", chat)]);
            assert_eq!(crate::parse("telegram", &given).is_ok(), good, "{chat}");
        }
        let given = testkit::options(&[("token", "1:a/../../x"), ("chat_id", "1")]);
        assert_eq!(crate::parse("telegram", &given).unwrap_err()[0].option, "token");
    }
}
