//! Lost packets: what the loss monitor tells, against what the packet filter has really dropped.

use crate::{
    certificates::Authority,
    place::{Place, Side},
    scene::{Scene, monitor},
};

/// Ten requests a check: the window fills within a few seconds, and is empty of losses again as soon.
const WATCHED: &str = "interval = \"200ms\"\ntimeout = \"150ms\"\nfailure_threshold = 0\ncount = 10\nloss = { window = 100, change = 5, min = 50 }";
/// Every request is counted, and those that `which` matches are counted and dropped.
fn drops(which: &str) -> String {
    format!(
        "icmp type echo-request counter name asked\nicmp type echo-request {which} counter name lost drop"
    )
}

/// Drops requests as `which` says, until the window holds no time before that; gives its share and the true one.
fn shares(which: &str) -> (f64, f64) {
    let (place, authority) = (Place::new(), Authority::new());
    let mut scene = Scene::start(
        &place,
        &authority,
        &monitor("router", "icmp://10.77.0.2", WATCHED),
    );
    place.rules(&drops(which));
    scene.wait_until("a window since then", |_| {
        count(&place, Side::Far, "asked") >= 200
    });
    let told = scene.status()["series"][0]["loss"].as_f64().unwrap();
    let truth = 100.0 * count(&place, Side::Far, "lost") as f64 / count(&place, Side::Far, "asked") as f64;
    place.rules("");
    let events = until_told_as_none(&scene, "router");
    scene.finish_with("LOSS router", events);
    (told, truth)
}

/// Waits for the message that nothing is lost any more. Proves that each message goes on from the one before.
/// Gives how many there were.
pub(super) fn until_told_as_none(scene: &Scene<'_>, name: &str) -> usize {
    scene.wait_for_text(&format!("LOSS {name} fell from"), "to 0.00% (0 of 100)");
    let events = scene.events();
    let mut before = 0.0;
    for event in &events {
        assert_eq!(
            (&event["event"], &event["state"]),
            (&"loss".into(), &"up".into()),
            "{event:#}"
        );
        let number = |key: &str| event["loss"][key].as_f64().unwrap();
        assert!(
            (number("from") - before).abs() < 1e-9,
            "told was {before}: {event:#}"
        );
        let share = 100.0 * number("lost") / number("held");
        assert!((number("to") - share).abs() < 0.01, "{event:#}");
        assert!(
            (share - before).abs() > 5.0 || share == 0.0,
            "too small a change to be told: {event:#}"
        );
        before = number("to");
    }
    assert!(events.len() >= 2, "{events:#?}");
    events.len()
}

/// A counter of the far side's packet filter.
pub(super) fn count(place: &Place, side: Side, name: &str) -> u64 {
    let text = place.run(side, "nft", &["list", "counter", "inet", "lapwing", name]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "packets").unwrap();
    words[at + 1].parse().unwrap()
}

#[test]
fn needs_nft_every_fifth_request_is_lost() {
    let (told, truth) = shares("numgen inc mod 5 0");
    assert!((truth - 20.0).abs() < 0.5, "{truth}");
    // A busy machine judges fewer than ten requests of a check: then the window is not of whole fives.
    assert!((told - 20.0).abs() <= 4.0, "{told}");
}

#[test]
fn needs_nft_a_random_fifth_of_the_requests_is_lost() {
    let (told, truth) = shares("numgen random mod 100 < 20");
    // Of 200 and of 100 requests: five standard deviations of the difference between a window and its whole.
    assert!(
        (told - truth).abs() < 5.0 * 100.0 * (0.2_f64 * 0.8 / 200.0).sqrt(),
        "{told} and {truth}"
    );
}
