//! Mail against a scripted SMTP server: every way in which it can go wrong, and what must not be said on the way.

use super::*;
use crate::{
    Retry,
    testkit::{self, HOSTILE, Mode, SmtpPeer},
};

const LOGIN: [(&str, &str); 2] = [("username", "user@example.com"), ("password", "pa55word")];

type Script = &'static [(&'static str, &'static str)];

fn position(transcript: &[String], start: &str) -> usize {
    transcript
        .iter()
        .position(|l| l.starts_with(start))
        .unwrap_or_else(|| panic!("no {start} in {transcript:#?}"))
}

#[tokio::test]
async fn a_mail_in_the_clear() {
    let mut peer = SmtpPeer::start(Mode::Plain, &[]).await;
    let built = testkit::built(
        "email",
        &peer.options("none", &[("to", "a@example.com, Ops <b@example.com>")]),
    );
    assert_eq!(
        built
            .notifier
            .deliver(&testkit::message(), &testkit::net())
            .await
            .unwrap(),
        Receipt::default()
    );
    let transcript = peer.transcript().await;
    assert!(transcript[0].starts_with("EHLO "));
    assert_eq!(
        transcript[1..5],
        [
            "MAIL FROM:<lapwing@example.com>",
            "RCPT TO:<a@example.com>",
            "RCPT TO:<b@example.com>",
            "DATA"
        ]
    );
    assert_eq!(transcript[transcript.len() - 2..], [".", "QUIT"]);
    for line in [
        "From: lapwing@example.com",
        "Subject: DOWN web: connection refused",
        "Message-ID: <01JTEST.lapwing@example.com>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "DOWN web (https://www.example.com/health) since 14:51:19: connection refused.",
    ] {
        assert!(
            transcript.iter().any(|l| l == line),
            "{line} is not in {transcript:#?}"
        );
    }
    assert!(transcript.iter().any(|l| l.starts_with("Date: ")));
}

#[tokio::test]
async fn starttls_comes_before_the_password() {
    let mut peer = SmtpPeer::start(Mode::StartTls, &[]).await;
    let built = testkit::built("email", &peer.options("starttls", &LOGIN));
    built
        .notifier
        .deliver(&testkit::message(), &testkit::net())
        .await
        .unwrap();
    let transcript = peer.transcript().await;
    let auth = format!("AUTH PLAIN {}", base64(b"\0user@example.com\0pa55word"));
    assert!(position(&transcript, "STARTTLS") < position(&transcript, &auth));
    assert_eq!(transcript.iter().filter(|l| l.starts_with("EHLO")).count(), 2);
}

#[tokio::test]
async fn implicit_tls_and_login_in_two_steps() {
    let ehlo = ("EHLO", "250-peer\r\n250 AUTH LOGIN");
    let user = base64(b"user@example.com");
    let script = [
        ehlo,
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        (user.as_str(), "334 UGFzc3dvcmQ6"),
        ("cGE1", "235 fine"),
    ];
    let mut peer = SmtpPeer::start(Mode::Implicit, &script).await;
    let built = testkit::built("email", &peer.options("implicit", &LOGIN));
    built
        .notifier
        .deliver(&testkit::message(), &testkit::net())
        .await
        .unwrap();
    let transcript = peer.transcript().await;
    assert_eq!(
        transcript[1..4],
        ["AUTH LOGIN", user.as_str(), base64(b"pa55word").as_str()]
    );
}

#[tokio::test]
async fn one_of_two_recipients_is_refused() {
    let mut peer = SmtpPeer::start(Mode::Plain, &[("RCPT TO:<b@", "550 5.1.1 no such user")]).await;
    let built = testkit::built(
        "email",
        &peer.options("none", &[("to", "a@example.com,b@example.com")]),
    );
    let note = built
        .notifier
        .deliver(&testkit::message(), &testkit::net())
        .await
        .unwrap()
        .note
        .unwrap();
    assert!(
        note.contains("not to b@example.com") && note.contains("no such user"),
        "{note}"
    );
    assert!(peer.transcript().await.contains(&".".to_owned()));
}

#[tokio::test]
async fn refusals_say_whether_to_try_again() {
    let long = "x".repeat(10_000);
    let lines = "250-more\r\n".repeat(300);
    let table: &[(&str, &str, &str, Retry)] = &[
        ("GREETING", "421 too busy", "notify.unavailable", Retry::Backoff),
        ("GREETING", "554 not you", "notify.rejected", Retry::Never),
        ("GREETING", "SSH-2.0-x", "notify.protocol", Retry::Backoff),
        ("GREETING", "!close", "notify.unreachable", Retry::Backoff),
        ("GREETING", "!silence", "notify.timeout", Retry::Backoff),
        ("GREETING", &long, "notify.protocol", Retry::Backoff),
        ("GREETING", "22é", "notify.protocol", Retry::Backoff),
        ("EHLO", &lines, "notify.protocol", Retry::Backoff),
        ("EHLO", "250 bare", "notify.auth", Retry::Never),
        ("AUTH", "535 5.7.8 bad", "notify.auth", Retry::Never),
        ("AUTH", "454 later", "notify.unavailable", Retry::Backoff),
        ("AUTH", "334 ", "notify.protocol", Retry::Backoff),
        ("MAIL", "451 later", "notify.unavailable", Retry::Backoff),
        ("MAIL", "530 log in first", "notify.auth", Retry::Never),
        ("MAIL", "553 not you", "notify.rejected", Retry::Never),
        ("RCPT", "450 greylisted", "notify.unavailable", Retry::Backoff),
        ("RCPT", "550 unknown", "notify.rejected", Retry::Never),
        ("DATA", "554 no", "notify.rejected", Retry::Never),
        ("DATA", "250 odd", "notify.protocol", Retry::Backoff),
        (".", "!close", "notify.unreachable", Retry::Backoff),
        (".", "!silence", "notify.timeout", Retry::Backoff),
        (".", "552 too big", "notify.rejected", Retry::Never),
        (".", "452 full", "notify.unavailable", Retry::Backoff),
    ];
    let net = testkit::net();
    for (stage, answer, code, retry) in table {
        let peer = SmtpPeer::start(Mode::Plain, &[(stage, answer)]).await;
        let build = if *answer == "!silence" {
            testkit::hasty
        } else {
            testkit::built
        };
        let built = build("email", &peer.options("none", &LOGIN));
        let error = built
            .notifier
            .deliver(&testkit::message(), &net)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.retry),
            (*code, *retry),
            "{stage} {answer:.20}: {error}"
        );
        assert!(error.message.starts_with("127.0.0.1:"), "{error}");
        assert_eq!(
            error.maybe_arrived,
            *stage == "." && answer.starts_with('!'),
            "{stage} {answer:.20}"
        );
    }
    let script = [("RCPT TO:<a@", "550 no"), ("RCPT TO:<b@", "450 later")];
    let peer = SmtpPeer::start(Mode::Plain, &script).await;
    let built = testkit::built(
        "email",
        &peer.options("none", &[("to", "a@example.com,b@example.com")]),
    );
    let error = built
        .notifier
        .deliver(&testkit::message(), &net)
        .await
        .unwrap_err();
    assert_eq!(
        error.retry,
        Retry::Backoff,
        "one of them may be accepted later: {error}"
    );
}

#[tokio::test]
async fn delivered_stays_delivered_when_the_goodbye_hangs() {
    let peer = SmtpPeer::start(Mode::Plain, &[("QUIT", "!silence")]).await;
    let built = testkit::built("email", &peer.options("none", &[]));
    built
        .notifier
        .deliver(&testkit::message(), &testkit::net())
        .await
        .unwrap();
}

#[tokio::test]
async fn without_tls_nothing_is_said() {
    let net = testkit::net();
    let table: &[(Mode, Script, &str)] = &[
        (Mode::Plain, &[], "notify.tls"),
        (
            Mode::StartTls,
            &[("STARTTLS", "454 not now")],
            "notify.unavailable",
        ),
        (
            Mode::StartTls,
            &[("STARTTLS", "220 go on\r\n250 injected")],
            "notify.protocol",
        ),
    ];
    for (mode, script, code) in table {
        let mut peer = SmtpPeer::start(*mode, script).await;
        let built = testkit::built("email", &peer.options("starttls", &LOGIN));
        let error = built
            .notifier
            .deliver(&testkit::message(), &net)
            .await
            .unwrap_err();
        assert_eq!((error.code, error.retry), (*code, Retry::Backoff), "{error}");
        let transcript = peer.transcript().await;
        assert!(
            !transcript
                .iter()
                .any(|l| l.starts_with("AUTH") || l.starts_with("MAIL")),
            "{transcript:?}"
        );
    }
}

#[tokio::test]
async fn an_untrusted_certificate_ends_it() {
    let net = testkit::net();
    let other = SmtpPeer::start(Mode::Plain, &[]).await;
    let (_, ca) = other
        .options("none", &[])
        .into_iter()
        .find(|(n, _)| *n == "ca")
        .unwrap();
    for (mode, tls) in [(Mode::StartTls, "starttls"), (Mode::Implicit, "implicit")] {
        let mut peer = SmtpPeer::start(mode, &[]).await;
        let built = testkit::built("email", &peer.options(tls, &[LOGIN[0], LOGIN[1], ("ca", &ca)]));
        let error = built
            .notifier
            .deliver(&testkit::message(), &net)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.retry),
            ("notify.tls", Retry::Backoff),
            "{error}"
        );
        assert!(!peer.transcript().await.iter().any(|l| l.starts_with("AUTH")));
    }
}

#[tokio::test]
async fn verify_sends_no_mail() {
    let net = testkit::net();
    let mut peer = SmtpPeer::start(Mode::StartTls, &[]).await;
    testkit::built("email", &peer.options("starttls", &LOGIN))
        .notifier
        .verify(&net)
        .await
        .unwrap();
    let transcript = peer.transcript().await;
    assert!(
        transcript.contains(&"NOOP".to_owned()) && !transcript.iter().any(|l| l.starts_with("MAIL")),
        "{transcript:?}"
    );
    let peer = SmtpPeer::start(Mode::Plain, &[("AUTH", "535 no")]).await;
    let error = testkit::built("email", &peer.options("none", &LOGIN))
        .notifier
        .verify(&net)
        .await
        .unwrap_err();
    assert_eq!(error.code, "notify.auth");
}

#[tokio::test]
async fn hostile_text_stays_in_its_place() {
    let mut peer = SmtpPeer::start(Mode::Plain, &[]).await;
    let built = testkit::built("email", &peer.options("none", &[]));
    let mut message = testkit::message();
    message.text = HOSTILE.to_owned();
    message.short = HOSTILE.to_owned();
    message.id = "x>\r\nBcc: evil@example.com\r\n".to_owned();
    message.target = "t\r\n.\r\nMAIL FROM:<evil>".to_owned();
    built.notifier.deliver(&message, &testkit::net()).await.unwrap();
    let transcript = peer.transcript().await;
    assert_eq!(transcript.iter().filter(|l| *l == ".").count(), 1);
    let data = position(&transcript, "DATA");
    let head: Vec<_> = transcript[data + 1..]
        .iter()
        .take_while(|l| !l.is_empty())
        .collect();
    let names: Vec<_> = head
        .iter()
        .filter(|l| !l.starts_with(' '))
        .map(|l| l.split(':').next().unwrap())
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let expected = [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ];
    assert_eq!(sorted, expected);
    assert!(
        transcript[data + 1..]
            .iter()
            .all(|l| !l.contains(['\0', '\r', '\u{1b}']) && l.len() <= 998)
    );
}

#[tokio::test]
async fn the_short_form_fits_a_text_message() {
    let mut peer = SmtpPeer::start(Mode::Plain, &[]).await;
    let built = testkit::built("email", &peer.options("none", &[("format", "short")]));
    let mut message = testkit::message();
    message.short = format!("DOWN Büro [x] ± 30s\r\n😀 {}", "y".repeat(300));
    built.notifier.deliver(&message, &testkit::net()).await.unwrap();
    let transcript = peer.transcript().await;
    assert!(
        !transcript.iter().any(|l| l.starts_with("Subject")),
        "{transcript:#?}"
    );
    let line = &transcript[position(&transcript, "DOWN")];
    assert!(
        line.starts_with("DOWN Buero (x) +- 30s  ? yyy") && line.ends_with("..."),
        "{line}"
    );
    assert_eq!(line.len(), SHORT_MAX);
    message.short = "DOWN web".to_owned();
    message.late = Some(Duration::from_mins(1));
    assert_eq!(short_line(&message), "DOWN web at 14:51:19");
}

#[test]
fn options_are_checked_together() {
    let table: &[(Script, &str)] = &[
        (&[("server", "")], "server"),
        (&[("server", "m:587")], "server"),
        (&[("from", "")], "from"),
        (&[("from", ""), ("username", "joe"), ("password", "x")], "from"),
        (&[("to", "nobody")], "to"),
        (&[("to", "a@b.c\r\nBcc: x@y.z")], "to"),
        (&[("to", "ä@b.c")], "to"),
        (&[("username", "x")], "password"),
        (&[("password", "x")], "username"),
        (&[("port", "0")], "port"),
        (&[("tls", "startls")], "tls"),
        (&[("proxy", "http://p:1")], "proxy"),
    ];
    let errors = |more: Script| {
        let base = [("server", "m"), ("to", "a@b.c"), ("from", "a@b.c")];
        let given: Vec<_> = base.iter().chain(more).copied().collect();
        crate::parse("email", &testkit::options(&given))
            .map_err(|errors| errors.into_iter().map(|e| e.option).collect())
    };
    assert!(errors(&[]).is_ok());
    for (more, option) in table {
        let wrong: Vec<String> = errors(more).unwrap_err();
        assert_eq!(wrong, [*option], "{more:?}");
    }
    let missing = crate::parse("email", &lapwing_core::kind::Options::default()).unwrap_err();
    let missing: Vec<_> = missing.iter().map(|e| e.option.as_str()).collect();
    assert_eq!(missing, ["server", "to", "from"]);
    let login = [
        ("server", "m"),
        ("to", "x@y.z"),
        ("username", "me@example.com"),
        ("password", "x"),
    ];
    assert!(
        crate::parse("email", &testkit::options(&login)).is_ok(),
        "username is the sender"
    );
}
