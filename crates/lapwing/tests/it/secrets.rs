//! Secrets: in no log, answer, alert or file of ours, on no way that a delivery can fail.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    kit::{Home, Ran},
    peers::{Answer, Door, HttpSink, SmtpSink},
};

/// Stands within every secret. Its base64 within a longer text cannot be searched, so logins are searched apart.
const CANARY: &str = "C4naryNeverShown";

fn config(door: &Door, sink: &HttpSink, mail: &SmtpSink) -> String {
    let (hook, slack) = (
        sink.url(&format!("/hook/{CANARY}?k={CANARY}")),
        sink.url(&format!("/slack/{CANARY}")),
    );
    format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{target}\"\n\
         [[monitor]]\nname = \"page\"\ntarget = \"{page}\"\nauth = \"user:${{PASSWORD}}\"\nheaders = {{ X-Key = \"${{PASSWORD}}\" }}\n\
         [notify.hook]\ntype = \"webhook\"\nurl = \"{hook}\"\nheaders = {{ Authorization = \"Bearer {CANARY}\" }}\n\
         [notify.slack]\ntype = \"slack\"\nwebhook_url = \"{slack}\"\n\
         [notify.phone]\ntype = \"telegram\"\ntoken = {{ file = \"token\" }}\nchat_id = \"-100\"\napi = \"{api}\"\n\
         [notify.mail]\ntype = \"email\"\nserver = \"{server}\"\nport = {port}\ntls = \"none\"\nusername = \"ops@example.com\"\n\
         password = \"${{PASSWORD}}\"\nto = [\"ops@example.com\"]\n\
         [notify.proxied]\ntype = \"webhook\"\nurl = \"{hook}\"\nproxy = \"http://user:{CANARY}@{refused}\"\n",
        target = door.url(),
        page = sink.url("/page"),
        api = sink.url(""),
        server = mail.address.ip(),
        port = mail.address.port(),
        refused = Door::closed().address(),
    )
}

fn assert_clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // "user:C4naryNeverShown" and "\0ops@example.com\0C4naryNeverShown" as logins send them.
    for secret in [
        CANARY,
        "dXNlcjpDNG5hcnlOZXZlclNob3du",
        "AG9wc0BleGFtcGxlLmNvbQBDNG5hcnlOZXZlclNob3du",
    ] {
        if let Some(at) = text.find(secret) {
            let around: String = text[..at]
                .chars()
                .rev()
                .take(200)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            panic!("{what} shows a secret after {around:?}");
        }
    }
}

fn clean(what: &str, ran: &Ran) {
    assert_clean(what, ran.out.as_bytes());
    assert_clean(what, ran.err.as_bytes());
}

#[test]
fn no_secret_is_ever_shown() {
    let (mut sink, mut door, mail) = (HttpSink::open(), Door::open(), SmtpSink::open());
    let home = Home::quick(&config(&door, &sink, &mail));
    fs::write(home.path("token"), format!("1:{CANARY}\n")).unwrap();
    fs::set_permissions(home.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let run = |args: &[&str]| Ran::of(home.lapwing().env("PASSWORD", CANARY).args(args));
    commands_show_none(run, &sink);

    let daemon = home.start_as(
        home.lapwing()
            .env("PASSWORD", CANARY)
            .env("LAPWING_LOG", "trace")
            .arg("run"),
    );
    daemon.wait_state("web", "up");
    sink.answer(Answer::Status(500, format!("oops {CANARY}")));
    door.close();
    daemon.wait("every HTTP notifier fails", || {
        let status = daemon.status();
        let notifiers = status["notifiers"].as_array().unwrap();
        let failing = notifiers
            .iter()
            .filter(|n| n["failures"].as_u64() > Some(0))
            .count();
        (failing >= 4).then_some(())
    });
    for mail in mail.wait_mails(1) {
        assert_clean("a mail", mail.as_bytes());
    }
    assert_clean("status", daemon.status().to_string().as_bytes());
    sink.close();
    home.edit("chat_id", "chat_jd");
    daemon.reload("is not applied", 1);
    home.edit("chat_jd", "chat_id");
    home.edit("PASSWORD", "PASSWORT");
    daemon.reload("is not applied", 2);
    home.edit("PASSWORT", "PASSWORD");
    clean("status", &run(&["status", "--all"]));
    clean("notify list", &run(&["notify", "list"]));
    sink.reopen();
    sink.answer(Answer::Status(404, String::new()));
    let given_up = || Some(run(&["notify", "list"])).filter(|ran| ran.out.contains("Given up:"));
    clean("notify list", &daemon.wait("dead letters", given_up));
    let log = daemon.kill9();
    assert!(
        log.contains("DEBUG"),
        "the log must show much for this to mean something"
    );
    assert_clean("the log", log.as_bytes());
    what_is_kept_and_sent_shows_none(&home, &sink);
}

fn commands_show_none(run: impl Fn(&[&str]) -> Ran, sink: &HttpSink) {
    let shown = run(&["config", "show"]);
    assert!(shown.code == 0 && shown.out.contains("***"), "{shown:?}");
    clean("config show", &shown);
    clean("config check", &run(&["config", "check"]));
    // The bodies that services answer with may repeat what they were sent.
    let echo = format!("bad token {CANARY} for /bot1:{CANARY}/sendMessage");
    for answer in [
        Answer::Status(500, echo.clone()),
        Answer::Status(401, echo.clone()),
        Answer::Status(404, echo.clone()),
        Answer::Status(302, echo),
        Answer::RetryAfter(1),
        Answer::Status(200, "not what Telegram says".to_owned()),
    ] {
        sink.answer(answer.clone());
        let tested = run(&["notify", "test"]);
        assert_eq!(tested.code, 1, "the proxy at least refuses: {tested:?}");
        clean(&format!("notify test, {answer:?}"), &tested);
        clean("telegram-chats", &run(&["notify", "telegram-chats", "phone"]));
    }
}

fn what_is_kept_and_sent_shows_none(home: &Home, sink: &HttpSink) {
    for entry in fs::read_dir(home.path("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.metadata().unwrap().is_file() {
            assert_clean(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
    let (probes, alerts): (Vec<_>, Vec<_>) = sink.requests().into_iter().partition(|r| r.path == "/page");
    assert!(
        probes.iter().any(|r| r.header("x-key") == Some(CANARY)),
        "the secrets were really used"
    );
    for secret in ["/bot1:", "/slack/", "/hook/"].map(|begin| format!("{begin}{CANARY}")) {
        assert!(
            alerts.iter().any(|r| r.path.starts_with(&secret)),
            "nobody asked {secret}"
        );
    }
    for alert in alerts {
        assert_clean("an alert", alert.body.as_bytes());
    }
}

#[test]
fn what_a_server_reflects_is_shown_nowhere() {
    let sink = HttpSink::open();
    sink.answer(Answer::Reflection);
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"page\"\ntarget = \"{page}\"\nauth = \"user:{CANARY}\"\nheaders = {{ X-K = \"{CANARY}2\" }}\n\
         expect_body = \"is never there\"\n\
         [notify.file]\ntype = \"file\"\npath = \"alerts.txt\"\n\
         [notify.hook]\ntype = \"webhook\"\nurl = \"{hook}\"\n",
        page = sink.url("/page"),
        hook = sink.url("/hook"),
    ));
    let daemon = home.start_as(home.lapwing().env("LAPWING_LOG", "trace").arg("run"));
    let state = daemon.wait_state("page", "down");
    let detail = state["reason"]["detail"].as_str().unwrap();
    assert!(
        state["reason"]["code"] == "body.mismatch" && detail.contains("***"),
        "the reflection stands in the reason, without the secrets: {state:#}"
    );
    let alert = &sink.wait_accepted("/hook", 1)[0];
    assert_clean("an alert", alert.body.as_bytes());
    let told = daemon.wait("the alert file", || {
        Some(home.read("alerts.txt")).filter(|text| text.contains("DOWN page"))
    });
    assert_clean("the alert file", told.as_bytes());
    assert_clean("status", daemon.status().to_string().as_bytes());
    for args in [
        &["status", "--all"][..],
        &["report"],
        &["report", "--json"],
        &["notify", "list"],
    ] {
        clean(&args.join(" "), &home.run(args));
    }
    let log = daemon.kill9();
    assert!(log.contains("DEBUG") && log.contains("DOWN page"), "{log}");
    assert_clean("the log", log.as_bytes());
    let probes: Vec<_> = sink
        .requests()
        .into_iter()
        .filter(|r| r.path == "/page")
        .collect();
    assert!(
        probes
            .iter()
            .any(|r| r.header("authorization") == Some("Basic dXNlcjpDNG5hcnlOZXZlclNob3du")),
        "the secrets were really used"
    );
    for entry in fs::read_dir(home.path("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.metadata().unwrap().is_file() {
            assert_clean(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
}
