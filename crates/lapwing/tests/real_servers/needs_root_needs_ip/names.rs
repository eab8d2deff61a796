//! unbound: as a target of its own, and as the resolver through which other targets are found.

use std::time::Duration;

use crate::{
    certificates::Authority,
    place::Place,
    scene::{Scene, monitor},
    servers::{Impostor, Unbound},
};

const GOOD: [&str; 2] = [
    "www.lapwing.test. 1 A 10.77.0.2",
    "www.lapwing.test. 1 AAAA fd77::2",
];

/// Watches an A record by IPv4 and an AAAA record by IPv6.
fn scene(act: impl FnOnce(&Scene<'_>, &Unbound<'_>)) {
    let (place, authority) = (Place::new(), Authority::new());
    let unbound = Unbound::start(&place, &GOOD);
    let monitors = [
        monitor(
            "dns4",
            "dns://10.77.0.2/www.lapwing.test?expect=10.77.0.2&match=exact",
            "",
        ),
        monitor(
            "dns6",
            "dns://[fd77::2]/www.lapwing.test?type=AAAA&expect=fd77::2&transport=tcp",
            "",
        ),
    ];
    let scene = Scene::start(&place, &authority, &monitors.concat());
    act(&scene, &unbound);
    scene.finish();
}

fn both(code: &str) -> [(&str, &str); 2] {
    [("dns4", code), ("dns6", code)]
}

#[test]
fn needs_unbound_a_wrong_address_and_then_none_at_all() {
    scene(|scene, unbound| {
        let wrong = [
            "www.lapwing.test. 1 A 10.77.0.66",
            "www.lapwing.test. 1 AAAA fd77::66",
        ];
        scene.outage(
            &both("dns.mismatch"),
            || unbound.serve(&wrong),
            || unbound.serve(&GOOD),
        );
        let down = scene.newest("down", "dns4");
        assert!(
            down["reason"]["detail"].as_str().unwrap().contains("10.77.0.66"),
            "{down:#}"
        );
        let text = ["www.lapwing.test. 1 TXT lapwing"];
        scene.outage(
            &both("dns.nodata"),
            || unbound.serve(&text),
            || unbound.serve(&GOOD),
        );
    });
}

#[test]
fn needs_unbound_the_name_is_gone() {
    scene(|scene, unbound| {
        scene.outage(
            &both("dns.nxdomain"),
            || unbound.serve(&[]),
            || unbound.serve(&GOOD),
        );
    });
}

#[test]
fn needs_unbound_stopped() {
    scene(|scene, unbound| {
        scene.outage(
            &both("connect.refused"),
            || unbound.stop(),
            || unbound.resume(&GOOD),
        );
    });
}

#[test]
fn needs_unbound_silent() {
    scene(|scene, unbound| {
        scene.outage(&both("timeout.answer"), || unbound.freeze(), || unbound.thaw());
    });
}

/// Watches a port by a name that unbound, as this machine's resolver, must know.
fn found_by_name(act: impl FnOnce(&Scene<'_>, &Unbound<'_>)) {
    let (place, authority) = (Place::new(), Authority::new());
    let unbound = Unbound::start(&place, &GOOD);
    let _greeter = Impostor::stand(&place, 2323, "hello\r\n");
    let target = "tcp://www.lapwing.test:2323";
    let mut scene = Scene::start(&place, &authority, &monitor("name", target, "expect = \"hello\""));
    // An answer is kept for its time to live, and that there is none for 5 s at most.
    scene.stale = Duration::from_secs(5);
    act(&scene, &unbound);
    scene.finish();
}

#[test]
fn needs_unbound_as_resolver_says_that_a_name_does_not_exist_which_is_the_targets_fault() {
    found_by_name(|scene, unbound| {
        scene.outage(
            &[("name", "dns.nxdomain")],
            || unbound.serve(&[]),
            || unbound.serve(&GOOD),
        );
    });
}

#[test]
fn needs_unbound_as_resolver_stopped_is_our_fault_and_no_outage() {
    found_by_name(|scene, unbound| {
        unbound.stop();
        scene.wait_for(["OFFLINE since".to_owned()].into_iter());
        let offline = scene.events().pop().unwrap();
        assert_eq!(offline["reason"]["code"], "ours.resolver", "{offline:#}");
        assert_eq!(scene.status()["series"][0]["state"], "inconclusive");
        unbound.resume(&GOOD);
        scene.wait_for(["ONLINE again".to_owned()].into_iter());
    });
}
