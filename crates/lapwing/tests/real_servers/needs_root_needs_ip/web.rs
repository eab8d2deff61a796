//! https and tls against nginx: every way in which a web server disappoints, over IPv4 and IPv6.

use crate::{
    certificates::Authority,
    place::Place,
    scene::{Scene, monitor},
    servers::Nginx,
};

/// Watches nginx over both families, and lets `act` break it. `extra` is for the monitors of https.
fn scene(extra: &str, act: impl FnOnce(&Scene<'_>, &Nginx<'_>)) {
    let (place, authority) = (Place::new(), Authority::new());
    let nginx = Nginx::start(&place, &authority);
    let ca = nginx.ca();
    let https = format!("ca = \"{ca}\"\nexpect_body = \"all is well\"\n{extra}");
    let monitors = [
        monitor("web4", "https://10.77.0.2", &https),
        monitor("web6", "https://[fd77::2]", &https),
        monitor(
            "tls4",
            "tls://10.77.0.2:443",
            &format!("ca = \"{ca}\"\ntls.name = \"www.lapwing.test\""),
        ),
    ];
    let scene = Scene::start(&place, &authority, &monitors.concat());
    act(&scene, &nginx);
    scene.finish();
}

fn all(code: &str) -> [(&str, &str); 3] {
    [("web4", code), ("web6", code), ("tls4", code)]
}

#[test]
fn needs_nginx_a_503_and_then_a_wrong_page() {
    scene("", |scene, nginx| {
        let both = |code| [("web4", code), ("web6", code)];
        scene.outage(&both("http.status"), || nginx.fail(true), || nginx.fail(false));
        let down = scene.newest("down", "web4");
        assert_eq!(
            down["reason"]["detail"], "status 503, expected 200-299",
            "{down:#}"
        );
        scene.outage(
            &both("body.mismatch"),
            || nginx.page("under construction"),
            || nginx.page("all is well"),
        );
    });
}

#[test]
fn needs_nginx_a_certificate_that_has_expired_or_is_not_valid_yet() {
    scene("", |scene, nginx| {
        scene.outage(&all("tls.expired"), || nginx.expired(), || nginx.good());
        scene.outage(
            &all("tls.not_yet_valid"),
            || nginx.not_yet_valid(),
            || nginx.good(),
        );
    });
}

#[test]
fn needs_nginx_a_certificate_for_another_name_or_by_another_authority() {
    scene("", |scene, nginx| {
        scene.outage(&all("tls.name"), || nginx.of_another_name(), || nginx.good());
        scene.outage(&all("tls.untrusted"), || nginx.untrusted(), || nginx.good());
    });
}

#[test]
fn needs_nginx_a_certificate_that_expires_soon_is_degraded_and_not_down() {
    scene("expires_within = \"14d\"", |scene, nginx| {
        // The kind tls looks 14 days ahead unless told otherwise; https only where it is told.
        nginx.expiring();
        scene.wait_for(
            ["DEGRADED web4", "DEGRADED web6", "DEGRADED tls4"]
                .map(str::to_owned)
                .into_iter(),
        );
        let degraded = scene.newest("degraded", "web4");
        assert_eq!(degraded["reason"]["code"], "tls.expiring", "{degraded:#}");
        assert_eq!(degraded["state"], "degraded", "{degraded:#}");
        nginx.good();
        scene.wait_for(
            ["CLEARED web4", "CLEARED web6", "CLEARED tls4"]
                .map(str::to_owned)
                .into_iter(),
        );
    });
}

#[test]
fn needs_nginx_stopped() {
    scene("", |scene, nginx| {
        scene.outage(&all("connect.refused"), || nginx.stop(), || nginx.resume());
    });
}

#[test]
fn needs_nginx_takes_connections_but_says_nothing() {
    scene("", |scene, nginx| {
        scene.outage(&all("timeout.tls"), || nginx.freeze(), || nginx.thaw());
    });
}
