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
fn needs_unshare_a_sensor_is_killed_or_stopped_and_a_machine_is_restarted() {
    let place = Place::new();
    let keyed = |name| Sensor::keyed(&place, Side::Far, name, NEAR[0]);
    let (killed, stopped, restarted) = (keyed("killed"), keyed("stopped"), keyed("restarted"));
    let plain = Sensor::plain(&place, Side::Far, "plain", NEAR[0]);
    let mut monitors = ["killed", "stopped", "restarted"]
        .map(Sensor::keyed_monitor)
        .to_vec();
    monitors.push(Sensor::monitor("plain", ""));
    let mut scene = begin(&place, &monitors);
    scene.wait_until_up();
    let end = || {
        killed.kill();
        stopped.end();
        restarted.kill();
        plain.kill();
    };
    let start = || {
        killed.start();
        stopped.start();
        restarted.start_after_boot();
        plain.start_after_boot();
    };
    let told = silence(&scene, &["killed", "stopped", "restarted", "plain"], end, start);
    let text = told[0].cause("sensor");
    assert_eq!(text, "the sensor was not running, its machine was");
    let reason = told[1].reason("heartbeat.stopped");
    assert!(reason.starts_with("the sensor said at "), "{reason}");
    assert_eq!(told[1].cause("stopped"), "the sensor was stopped in good order");
    for told in &told[2..] {
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
