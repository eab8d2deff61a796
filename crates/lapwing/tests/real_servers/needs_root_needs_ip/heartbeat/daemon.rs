//! The daemon itself: ended and killed while a line is down, and while all is well.

use serde_json::Value;

use super::{begin, prove};
use crate::{
    place::{NEAR, Place, Side},
    scene::{Scene, during, now, time},
    sensors::Sensor,
};

fn home(monitor: &str, act: impl FnOnce(&mut Scene<'_>, &Place, &Sensor<'_>)) {
    let place = Place::with_home();
    let sensor = Sensor::keyed(&place, Side::Home, "home", NEAR[0]);
    let mut scene = begin(&place, &[monitor.to_owned()]);
    scene.wait_until_up();
    act(&mut scene, &place, &sensor);
    scene.finish();
}

/// The outages of the only series.
fn outages(scene: &Scene<'_>) -> Vec<Value> {
    let mut report: Value = serde_json::from_str(&scene.report("json")).unwrap();
    let Value::Array(outages) = report["series"][0]["outages"].take() else {
        panic!("{report:#}")
    };
    outages
}

#[test]
fn needs_nft_ended_and_killed_within_an_outage_which_stays_one() {
    home(&Sensor::keyed_monitor("home"), |scene, place, _| {
        let broken = during(|| place.swallow(true));
        scene.wait_for(["DOWN home".to_owned()].into_iter());
        scene.wait_until_told();
        scene.end_daemon();
        scene.start_daemon();
        scene.kill_daemon();
        scene.start_daemon();
        let mended = during(|| place.swallow(false));
        scene.wait_for(["UP home".to_owned()].into_iter());
        let up = scene.newest("up", "home");
        assert_eq!(up["cause"]["kind"], "line", "{up:#}");
        prove(&scene.newest("down", "home"), &up, broken, mended);
        let outages = outages(scene);
        assert_eq!(outages.len(), 1, "{outages:#?}");
        assert_eq!(outages[0]["cause"], up["cause"]);
    });
}

#[test]
fn needs_nft_killed_before_it_could_tell_of_an_outage() {
    // Long enough to see it before it is told.
    let monitor = Sensor::keyed_monitor("home").replace("\"3s\"", "\"6s\"");
    home(&monitor, |scene, place, _| {
        let broken = during(|| place.swallow(true));
        scene.wait_until("failing", |status| status["series"][0]["state"] == "failing");
        scene.kill_daemon();
        scene.start_daemon();
        scene.wait_for(["DOWN home".to_owned()].into_iter());
        let mended = during(|| place.swallow(false));
        scene.wait_for(["UP home".to_owned()].into_iter());
        let (down, up) = (scene.newest("down", "home"), scene.newest("up", "home"));
        assert_eq!(up["cause"]["kind"], "line", "{up:#}");
        // The time in which nobody listened does not count: it is told shorter, never longer.
        let (began, ended) = (time(&down, "since"), time(&up, "ended"));
        assert!(broken.0 < began && began < mended.1 && mended.0 < ended, "{up:#}");
        assert_eq!(outages(scene).len(), 1);
    });
}

#[test]
fn ended_and_killed_while_all_is_well_for_longer_than_a_sensor_may_be_silent() {
    home(&Sensor::keyed_monitor("home"), |scene, _, sensor| {
        scene.end_daemon();
        // Beats that nobody hears, one a second.
        sensor.wait_for(5, ": lost: ");
        scene.start_daemon();
        sensor.wait_for(4, ": heard by ");
        scene.kill_daemon();
        sensor.wait_for(5, ": lost: ");
        scene.start_daemon();
        sensor.wait_for(4, ": heard by ");
        let status = scene.status();
        assert_eq!(status["series"][0]["state"], "up", "{status:#}");
        // What the sensor says of both gaps is no outage, and not known as uptime either.
        let report: Value = serde_json::from_str(&scene.report("json")).unwrap();
        let home = &report["series"][0];
        assert_eq!(home["outages"], serde_json::json!([]), "{report:#}");
        let since_known = now().duration_since(time(home, "known_since")).as_secs_f64();
        assert!(
            home["up_s"].as_f64().unwrap() < since_known - 8.0,
            "{since_known} s: {report:#}"
        );
    });
}
