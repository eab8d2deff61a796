//! Between home and monitor: the line, the home's own network, and the monitor's name.

use serde_json::Value;

use super::{begin, classic, silence};
use crate::{
    place::{NEAR, Place, Side},
    scene::time,
    sensors::Sensor,
};

/// Names of the sensor that reports by IPv4, and of the one that reports by IPv6.
const BOTH: [&str; 2] = ["home4", "home6"];

#[test]
fn needs_nft_the_line_swallows_everything_and_the_report_is_true() {
    let place = Place::with_home();
    let _sensors = [
        Sensor::keyed(&place, Side::Home, BOTH[0], NEAR[0]),
        Sensor::keyed(&place, Side::Home, BOTH[1], NEAR[1]),
    ];
    let mut scene = begin(&place, &BOTH.map(Sensor::keyed_monitor));
    scene.wait_until_up();
    let told = silence(&scene, &BOTH, || place.swallow(true), || place.swallow(false));
    for told in &told {
        told.cause_of_running("line", "line down, sensor kept running");
        let reason = told.reason("heartbeat.late");
        assert!(
            reason.starts_with("no beat for 3s, expected every 1s"),
            "{reason}"
        );
        assert!(
            told.down["text"].as_str().unwrap().contains(". Last beat "),
            "{:#}",
            told.down
        );
    }
    let table = scene.report("table");
    let json: Value = serde_json::from_str(&scene.report("json")).unwrap();
    let series = json["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{json:#}");
    let mut expected = Vec::new();
    for (report, told) in series.iter().zip(&told) {
        assert_eq!(report["series"], told.series, "{json:#}");
        let outages = report["outages"].as_array().unwrap();
        assert_eq!(outages.len(), 1, "{json:#}");
        assert_eq!(outages[0]["cause"], told.up["cause"]);
        assert_eq!(outages[0]["length_s"], told.up["duration_s"]);
        assert_eq!(report["down_s"], told.up["duration_s"]);
        let cause = told.up["cause"]["text"].as_str().unwrap();
        let line = table
            .lines()
            .find(|line| line.trim_start().starts_with(told.series) && line.contains(cause));
        assert!(line.is_some(), "{table}");
        expected.push(classic(time(report, "known_since"), told));
    }
    assert_eq!(scene.report("classic"), expected.join("\n"));
    scene.finish();
}

#[test]
fn an_uplink_is_down_which_is_the_line_to_those_behind_it_and_the_routers_own_network() {
    let place = Place::with_home();
    let home = Sensor::keyed(&place, Side::Home, "home", NEAR[0]);
    let router = Sensor::keyed(&place, Side::Far, "router", NEAR[0]);
    let mut scene = begin(&place, &["home", "router"].map(Sensor::keyed_monitor));
    scene.wait_until_up();
    let uplink = |state| place.ip(Side::Far, &["link", "set", "far", state]);
    let told = silence(&scene, &["home", "router"], || uplink("down"), || uplink("up"));
    told[0].cause_of_running("line", "line down, sensor kept running");
    let text = "the sensor's own network was down, sensor kept running";
    told[1].cause_of_running("network", text);
    // What their people read in the meantime.
    assert!(home.count(": 10.77.0.1:7777 is not reached: network is unreachable") > 0);
    assert!(router.count(": this machine cannot send to 10.77.0.1:7777: network is unreachable") > 0);
    scene.finish();
}

#[test]
fn the_name_of_the_monitor_gets_another_address() {
    let place = Place::new();
    place.hosts(Side::Far, "10.77.0.1 monitor.lapwing.test\n");
    let sensor = Sensor::keyed(&place, Side::Far, "home", "monitor.lapwing.test");
    // Longer than it takes to see that nobody answers, and to look the name up.
    let patient = Sensor::keyed_monitor("home").replace("\"3s\"", "\"15s\"");
    let mut scene = begin(&place, &[patient]);
    scene.wait_until_up();
    place.hosts(Side::Far, "10.77.0.3 monitor.lapwing.test\n");
    let address = |verb, address| place.ip(Side::Near, &["address", verb, address, "dev", "near"]);
    address("delete", "10.77.0.1/24");
    address("add", "10.77.0.3/24");
    sensor.wait_for(
        1,
        "monitor.lapwing.test is 10.77.0.3:7777 now, no longer 10.77.0.1:7777",
    );
    sensor.wait_for(3, "heard by 10.77.0.3:7777 after");
    scene.finish();
}
