//! ntp against chronyd, which says when it does not believe its own clock.

use crate::{
    certificates::Authority,
    place::Place,
    scene::{Scene, monitor},
    servers::Chronyd,
};

fn scene(act: impl FnOnce(&Scene<'_>, &Chronyd<'_>)) {
    let (place, authority) = (Place::new(), Authority::new());
    let chronyd = Chronyd::start(&place);
    let limits = "samples = 1\noffset = \"50ms\"\nstratum = 3";
    let monitors = [
        monitor("ntp4", "ntp://10.77.0.2", limits),
        monitor("ntp6", "ntp://[fd77::2]", limits),
    ];
    let scene = Scene::start(&place, &authority, &monitors.concat());
    act(&scene, &chronyd);
    scene.finish();
}

fn both(code: &str) -> [(&str, &str); 2] {
    [("ntp4", code), ("ntp6", code)]
}

#[test]
fn needs_chronyd_not_synchronized_and_then_too_far_from_its_source() {
    scene(|scene, chronyd| {
        let unsynchronized = both("ntp.unsynchronized");
        scene.outage(
            &unsynchronized,
            || chronyd.unsynchronized(),
            || chronyd.stratum(3),
        );
        scene.outage(&both("ntp.stratum"), || chronyd.stratum(4), || chronyd.stratum(3));
    });
}

#[test]
fn needs_chronyd_stopped() {
    scene(|scene, chronyd| {
        scene.outage(&both("connect.refused"), || chronyd.stop(), || chronyd.resume());
    });
}
