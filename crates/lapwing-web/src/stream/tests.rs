use std::time::Duration;

use http_body_util::BodyExt;
use lapwing_core::{
    event::EventKind,
    id::{Id, Rng},
    monitor::{Monitor, Policy, Series},
    state::State,
    time::Wall,
};
use serde_json::Value;

use super::*;

pub(crate) fn event(monitor: &str, number: i64) -> Arc<Event> {
    let series = Series {
        key: monitor.into(),
        name: format!("{monitor}/tcp"),
        monitor: Arc::new(Monitor {
            name: monitor.to_owned(),
            labels: Vec::new(),
            policy: Policy::default(),
            notify: Vec::new(),
        }),
        target: "tcp://127.0.0.1:1".to_owned(),
        kind: "tcp",
        host: "127.0.0.1".to_owned(),
        loopback: true,
        overlaps: false,
    };
    let of_ours = monitor.is_empty();
    Arc::new(Event {
        id: Id::new(Wall(number), &mut Rng::new(1)),
        kind: if of_ours {
            EventKind::Offline
        } else {
            EventKind::Down
        },
        series: (!of_ours).then(|| Arc::new(series)),
        state: State::Down,
        previous: State::Up,
        at: Wall(number),
        since: None,
        duration: None,
        uncertainty: None,
        reason: None,
        reminder: None,
        loss: None,
        ended: None,
        failed_checks: None,
        last_up: None,
        verdict: None,
        mute: None,
        withheld: monitor == "db",
        text: number.to_string(),
    })
}

/// The lines of what is there to the end.
async fn rest(follower: Follower) -> Vec<Value> {
    let all = tokio::time::timeout(Duration::from_secs(20), follower.collect()).await;
    let bytes = all.unwrap().unwrap().to_bytes();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn who_follows_sees_what_is_chosen_and_what_is_about_ourselves() {
    let hub = Broadcast::default();
    hub.announce(&event("web", 0));
    let all = hub.follow(Vec::new()).unwrap();
    let web = hub.follow(vec!["web".to_owned()]).unwrap();
    let series = hub.follow(vec!["db/tcp".to_owned(), "x".to_owned()]).unwrap();
    for (monitor, number) in [("web", 1), ("db", 2), ("", 3), ("web", 4)] {
        hub.announce(&event(monitor, number));
    }
    hub.close();
    let all = rest(all).await;
    assert_eq!(texts(&all), ["1", "2", "3", "4"], "nothing from before");
    assert_eq!(
        (all[0].get("withheld"), &all[1]["withheld"]),
        (None, &true.into())
    );
    assert_eq!(
        (&all[0]["event"], &all[0]["series"]),
        (&"down".into(), &"web/tcp".into())
    );
    assert_eq!(texts(&rest(web).await), ["1", "3", "4"]);
    assert_eq!(texts(&rest(series).await), ["2", "3"]);
    assert_eq!(hub.follow(Vec::new()).unwrap_err(), NoPlace::Closed);
}

#[tokio::test]
async fn who_reads_too_slowly_is_let_go_and_told() {
    let hub = Broadcast {
        waiting: 3,
        ..Broadcast::default()
    };
    let (slow, mut fast) = (hub.follow(Vec::new()).unwrap(), hub.follow(Vec::new()).unwrap());
    for number in 1..=4 {
        hub.announce(&event("web", number));
        let frame = fast.frame().await.unwrap().unwrap();
        assert!(frame.into_data().unwrap().ends_with(b"}\n"));
    }
    // It ends although nothing is closed.
    let lines = rest(slow).await;
    assert_eq!(texts(&lines[..3]), ["1", "2", "3"]);
    assert!(
        lines[3]["error"].as_str().unwrap().contains("too slowly"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 4);
    hub.close();
    assert!(rest(fast).await.is_empty());
}

#[test]
fn places_are_few_and_come_free() {
    let hub = Broadcast::default();
    let mut followers: Vec<_> = (0..FOLLOWERS).map(|_| hub.follow(Vec::new()).unwrap()).collect();
    assert_eq!(hub.follow(Vec::new()).unwrap_err(), NoPlace::Full);
    drop(followers.pop());
    assert!(hub.follow(Vec::new()).is_ok());
}
