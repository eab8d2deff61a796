//! Notifiers that fail and come back: late, in order, once; or given up, and kept where one can see it.

use std::time::Duration;

use lapwing_core::{lookout::Change, outbox::RowChange, time::Wall};
use lapwing_store::{DataDir, Ledger, Op, book};

use crate::{
    kit::{Daemon, Home, QUICK, shape, wait},
    peers::{Answer, Door, HttpSink, Request, SmtpSink},
};

fn watch(door: &Door, notifier: &str) -> Home {
    Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n{notifier}",
        door.url()
    ))
}

fn hook(sink: &HttpSink) -> String {
    format!(
        "[notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        sink.url("/hook")
    )
}

fn events(requests: &[Request]) -> Vec<String> {
    requests
        .iter()
        .map(|r| r.json()["event"].as_str().unwrap().to_owned())
        .collect()
}

fn wait_failures(daemon: &Daemon, count: u64) -> serde_json::Value {
    daemon.wait("failed deliveries", || {
        let notifier = daemon.status()["notifiers"][0].clone();
        (notifier["failures"].as_u64() >= Some(count)).then_some(notifier)
    })
}

#[test]
fn what_waited_is_delivered_in_order_and_once() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = watch(&door, &hook(&sink));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    sink.answer(Answer::status(500));
    door.close();
    let notifier = wait_failures(&daemon, 1);
    let error = notifier["last_error"].as_str().unwrap();
    assert!(error.contains("500"), "{error}");
    let shown = home.run(&["status"]).out;
    assert!(shown.contains("notifier hook fails (1 waiting): "), "{shown}");
    door.reopen();
    daemon.wait("both messages wait", || {
        (daemon.status()["notifiers"][0]["waiting"] == 2).then_some(())
    });
    sink.answer(Answer::status(200));
    let told = sink.wait_accepted("/hook", 2);
    daemon.wait_checks(5);
    daemon.stop();
    assert_eq!(events(&told), ["down", "up"]);
    assert_eq!(sink.accepted("/hook").len(), 2);
    assert!(
        told.iter().all(|r| r.json()["resent"] == false),
        "a refusal is no arrival: {told:#?}"
    );
    assert!(
        told[0].json()["at"].as_str() < told[1].json()["at"].as_str(),
        "each says when it happened"
    );
}

#[test]
fn retry_after_is_honoured() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = watch(&door, &hook(&sink));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    sink.answer(Answer::RetryAfter(2));
    door.close();
    sink.wait_requests(1);
    sink.answer(Answer::status(200));
    let requests = sink.wait_requests(2);
    let pause = requests[1].at - requests[0].at;
    assert!(
        pause >= Duration::from_secs(2) && pause < Duration::from_secs(4),
        "{pause:?}"
    );
    daemon.stop();
    assert_eq!(events(&sink.requests()), ["down", "down"]);
}

#[test]
fn a_service_that_is_gone_hears_of_it_when_it_is_back() {
    let (mut sink, mut door) = (HttpSink::open(), Door::open());
    let home = watch(&door, &hook(&sink));
    let daemon = home.start();
    daemon.wait_state("web", "up");
    sink.close();
    door.close();
    let notifier = wait_failures(&daemon, 1);
    let error = notifier["last_error"].as_str().unwrap();
    assert!(error.contains("connection refused"), "{error}");
    sink.reopen();
    assert_eq!(events(&sink.wait_accepted("/hook", 1)), ["down"]);
    daemon.stop();
    assert_eq!(sink.requests().len(), 1);
}

/// Ten minutes pass while nobody runs: the message that waits on the disk is made ten minutes older.
fn age_waiting_rows(home: &Home, by: Duration) {
    let now = Wall(
        home.path("data/ledger.db")
            .metadata()
            .unwrap()
            .modified()
            .map_or(0, |at| {
                at.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
            }),
    );
    let dir = DataDir::open(&home.path("data"), now).unwrap();
    let ledger = dir.ledger().unwrap();
    let rows = book::restore(&ledger).unwrap().rows;
    assert_eq!(rows.len(), 2, "one message for each notifier waits");
    let mut ops: Vec<Op> = Vec::new();
    for mut row in rows {
        let mut notice = (*row.notice).clone();
        notice.at = notice.at - by;
        row.notice = notice.into();
        book::operations(&Change::Outbox(RowChange::Put(row)), &mut ops);
    }
    ledger.commit(&[], &ops).unwrap();
}

#[test]
fn a_late_message_says_when_it_happened() {
    let (sink, mut door, mail) = (HttpSink::open(), Door::open(), SmtpSink::open());
    let mut config = format!(
        "[notify.slack]\ntype = \"slack\"\nwebhook_url = \"{}\"\n[notify.mail]\ntype = \"email\"\nserver = \"{}\"\n\
         port = 1\ntls = \"none\"\nfrom = \"lapwing@example.com\"\nto = [\"ops@example.com\"]\n",
        sink.url("/slack"),
        mail.address.ip()
    );
    let home = watch(&door, &config);
    let daemon = home.start();
    daemon.wait_state("web", "up");
    sink.answer(Answer::status(503));
    door.close();
    daemon.wait("both fail", || {
        let notifiers = daemon.status()["notifiers"].as_array().unwrap().clone();
        notifiers
            .iter()
            .all(|n| n["failures"].as_u64() > Some(0))
            .then_some(())
    });
    daemon.stop();
    age_waiting_rows(&home, Duration::from_secs(600));
    sink.answer(Answer::status(200));
    config = home
        .read("lapwing.toml")
        .replace("port = 1\n", &format!("port = {}\n", mail.address.port()));
    home.configure(&config);
    let daemon = home.start();
    let text = sink.wait_accepted("/slack", 1)[0].json()["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let (_, late) = text
        .split_once(" (This happened on ")
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(
        shape(late),
        "0000-00-00 at 00:00:00; it could not be sent for 00:00:00.)",
        "{text}"
    );
    assert!(late.contains(" for 00:10:"), "{text}");
    let letter = mail.wait_mails(1).remove(0);
    assert!(
        letter.contains("DOWN web") && letter.contains("This happened on"),
        "{letter}"
    );
    daemon.stop();
}

#[test]
fn what_is_given_up_is_kept_and_shown() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let hooks = format!(
        "[notify.patient]\ntype = \"webhook\"\nurl = \"{}\"\ngive_up = \"1s\"\n[notify.refused]\ntype = \"webhook\"\n\
         url = \"{}\"\n",
        sink.url("/patient"),
        sink.url("/refused")
    );
    let home = watch(&door, &hooks);
    let daemon = home.start();
    daemon.wait_state("web", "up");
    // What is final is given up at once; a failure of the service, after the time.
    sink.answer(Answer::Status(404, "no such hook".to_owned()));
    home.edit("give_up = \"1s\"", "give_up = \"1s\"\non = [\"up\"]");
    daemon.reload("configuration applied", 1);
    door.close();
    let listed = |text: &str| {
        wait(text, || {
            Some(home.run(&["notify", "list"])).filter(|ran| ran.out.contains(text))
        })
    };
    let ran = listed("Given up:");
    assert!(ran.out.contains("refused  DOWN web ("), "{ran:?}");
    assert!(ran.out.contains("404"), "the reason: {ran:?}");
    sink.answer(Answer::status(500));
    door.reopen();
    let ran = listed("patient  UP web after");
    assert!(ran.out.contains("500") && ran.code == 0, "{ran:?}");
    assert_eq!(sink.accepted("/patient").len(), 0);
    daemon.stop();
    let again = home.run(&["notify", "list"]).out;
    assert!(again.contains("patient  UP web after"), "it is kept: {again}");
}

#[test]
fn above_the_rate_limit_there_is_one_digest() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let monitors: String = ["a", "b", "c", "d"]
        .map(|name| format!("[[monitor]]\nname = \"{name}\"\ntarget = \"{}\"\n", door.url()))
        .concat();
    let home = Home::new(&format!(
        "{QUICK}{monitors}{}rate_limit = \"1/2s\"\n",
        hook(&sink)
    ));
    let daemon = home.start();
    for name in ["a", "b", "c", "d"] {
        daemon.wait_state(name, "up");
    }
    door.close();
    let told = sink.wait_accepted("/hook", 2);
    let pause = told[1].at - told[0].at;
    assert!(pause >= Duration::from_millis(1_900), "{pause:?}");
    assert_eq!(events(&told), ["down", "digest"]);
    let digest = told[1].json();
    let text = digest["text"].as_str().unwrap();
    assert!(
        text.starts_with("3 messages were held back by the rate limit:\nDOWN "),
        "{text}"
    );
    let mut named: Vec<_> = digest["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["series"].clone())
        .collect();
    named.push(told[0].json()["series"].clone());
    named.sort_by_key(ToString::to_string);
    assert_eq!(named, ["a", "b", "c", "d"], "each is told once");
    daemon.wait_checks(8);
    daemon.stop();
    assert_eq!(sink.requests().len(), 2);
}
