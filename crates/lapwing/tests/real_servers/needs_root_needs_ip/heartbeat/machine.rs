//! The machine at home and its sensor. What a line cannot do: end the process, and start the uptime anew.
//!
//! A power cut is told from a restart by a minute without power, which no test here waits for: the timelines of
//! lapwing-core have it.

use super::{begin, silence};
use crate::{
    place::{NEAR, Place, Side},
    sensors::Sensor,
};

#[test]
fn the_sensor_is_killed() {
    let place = Place::new();
    let sensor = Sensor::keyed(&place, Side::Far, "home", NEAR[0]);
    let mut scene = begin(&place, &[Sensor::keyed_monitor("home")]);
    scene.wait_until_up();
    let told = silence(&scene, &["home"], || sensor.kill(), || sensor.start());
    assert_eq!(
        told[0].cause("sensor"),
        "the sensor was not running, its machine was"
    );
    scene.finish();
}

#[test]
fn the_sensor_is_stopped_in_good_order() {
    let place = Place::new();
    let sensor = Sensor::keyed(&place, Side::Far, "home", NEAR[0]);
    let mut scene = begin(&place, &[Sensor::keyed_monitor("home")]);
    scene.wait_until_up();
    let told = silence(&scene, &["home"], || sensor.end(), || sensor.start());
    assert_eq!(sensor.count("stopped; the monitor knows"), 1);
    let reason = told[0].reason("heartbeat.stopped");
    assert!(reason.starts_with("the sensor said at "), "{reason}");
    assert_eq!(told[0].cause("stopped"), "the sensor was stopped in good order");
    scene.finish();
}

#[test]
fn needs_unshare_the_machine_is_restarted() {
    let place = Place::new();
    let sensors = [
        Sensor::keyed(&place, Side::Far, "keyed", NEAR[0]),
        Sensor::plain(&place, Side::Far, "plain", NEAR[0]),
    ];
    let monitors = [Sensor::keyed_monitor("keyed"), Sensor::monitor("plain", "")];
    let mut scene = begin(&place, &monitors);
    scene.wait_until_up();
    let told = silence(
        &scene,
        &["keyed", "plain"],
        || sensors.iter().for_each(Sensor::kill),
        || sensors.iter().for_each(Sensor::start_after_boot),
    );
    for told in told {
        let text = told.cause("restart");
        let cause = &told.up["cause"];
        let [uptime, silent] = ["uptime_s", "silent_s"].map(|key| cause[key].as_f64().unwrap());
        assert!((1.0..silent).contains(&uptime), "{cause:#}");
        let booted = text.split_once("restarted: silent ").unwrap().1;
        assert!(
            booted.contains("s, booted ") && booted.ends_with("s before it spoke"),
            "{text}"
        );
    }
    scene.finish();
}
