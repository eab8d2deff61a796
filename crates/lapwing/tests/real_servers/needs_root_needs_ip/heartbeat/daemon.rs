//! The daemon itself: ended and killed while a line is down, and while all is well.

use serde_json::Value;

use super::{begin, prove};
use crate::{
    place::{NEAR, Place, Side},
    scene::{Scene, during, now, time},
    sensors::Sensor,
};

/// What the report says of a series.
fn report(scene: &Scene<'_>, name: &str) -> Value {
    let report: Value = serde_json::from_str(&scene.report("json")).unwrap();
    let mut all = report["series"].as_array().unwrap().iter();
    all.find(|one| one["series"] == name).unwrap().clone()
}

/// How often a sensor that is well goes unheard before the daemon is back: for longer than it may be silent.
const UNHEARD: usize = 5;

#[test]
fn needs_nft_ended_and_killed_within_an_outage_which_stays_one_and_no_other_begins() {
    let place = Place::with_home();
    let _home = Sensor::keyed(&place, Side::Home, "home", NEAR[0]);
    // The router swallows what it forwards, and sends its own.
    let well = Sensor::keyed(&place, Side::Far, "well", NEAR[0]);
    let mut scene = begin(&place, &["home", "well"].map(Sensor::keyed_monitor));
    scene.wait_until_up();
    let broken = during(|| place.swallow(true));
    scene.wait_for(["DOWN home".to_owned()].into_iter());
    scene.wait_until_told();
    scene.end_daemon();
    well.wait_for(UNHEARD, ": lost: ");
    scene.start_daemon();
    well.wait_for(1, ": heard by ");
    scene.kill_daemon();
    well.wait_for(UNHEARD, ": lost: ");
    scene.start_daemon();
    well.wait_for(4, ": heard by ");
    let mended = during(|| place.swallow(false));
    scene.wait_for(["UP home".to_owned()].into_iter());
    let up = scene.newest("up", "home");
    assert_eq!(up["cause"]["kind"], "line", "{up:#}");
    prove(&scene.newest("down", "home"), &up, broken, mended);
    let home = report(&scene, "home");
    let outages = home["outages"].as_array().unwrap();
    assert_eq!(outages.len(), 1, "{home:#}");
    assert_eq!(outages[0]["cause"], up["cause"]);
    // What the other one says of both gaps is no outage, and not known as uptime either.
    let well = report(&scene, "well");
    assert_eq!(well["outages"], serde_json::json!([]), "{well:#}");
    let since_known = now().duration_since(time(&well, "known_since")).as_secs_f64();
    let up = well["up_s"].as_f64().unwrap();
    assert!(up < since_known - 8.0, "{up} of {since_known} s: {well:#}");
    scene.finish();
}

#[test]
fn needs_nft_killed_before_it_could_tell_of_an_outage() {
    let place = Place::with_home();
    let _home = Sensor::keyed(&place, Side::Home, "home", NEAR[0]);
    // Long enough to see it before it is told.
    let monitor = Sensor::keyed_monitor("home").replace("\"3s\"", "\"6s\"");
    let mut scene = begin(&place, &[monitor]);
    scene.wait_until_up();
    let broken = during(|| place.swallow(true));
    scene.wait_until("failing", |status| status["series"][0]["state"] == "failing");
    scene.kill_daemon();
    scene.start_daemon();
    scene.wait_for(["DOWN home".to_owned()].into_iter());
    let mended = during(|| place.swallow(false));
    scene.wait_for(["UP home".to_owned()].into_iter());
    let (down, up) = (scene.newest("down", "home"), scene.newest("up", "home"));
    assert_eq!(up["cause"]["kind"], "line", "{up:#}");
    // The time in which nobody listened does not count: the outage is told shorter, never longer.
    let (began, ended) = (time(&down, "since"), time(&up, "ended"));
    assert!(broken.0 < began && began < mended.0 && mended.0 < ended, "{up:#}");
    let home = report(&scene, "home");
    assert_eq!(home["outages"].as_array().unwrap().len(), 1, "{home:#}");
    scene.finish();
}
