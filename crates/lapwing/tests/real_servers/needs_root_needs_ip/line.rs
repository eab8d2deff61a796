//! The line itself: packets that are dropped or rejected, a host that has left, and links that are down.

use crate::{
    certificates::Authority,
    place::{FAR, NEAR, Place, Side},
    scene::{Scene, monitor},
    servers::{Nginx, Unbound},
};

const RECORDS: [&str; 1] = ["www.lapwing.test. 1 A 10.77.0.2"];

/// Watches a port and the host by both families.
fn host(act: impl FnOnce(&mut Scene<'_>, &Place)) {
    let (place, authority) = (Place::new(), Authority::new());
    let _unbound = Unbound::start(&place, &RECORDS);
    let monitors = [
        monitor("tcp4", "tcp://10.77.0.2:53", ""),
        monitor("tcp6", "tcp://[fd77::2]:53", ""),
        monitor("ping4", "icmp://10.77.0.2", ""),
        monitor("ping6", "icmp://fd77::2", "").replace("fd77::2", "[fd77::2]"),
    ];
    let mut scene = Scene::start(&place, &authority, &monitors.concat());
    act(&mut scene, &place);
    scene.finish();
}

#[test]
fn needs_nft_needs_nginx_needs_unbound_every_packet_is_dropped() {
    let (place, authority) = (Place::new(), Authority::new());
    let nginx = Nginx::start(&place, &authority);
    let _unbound = Unbound::start(&place, &RECORDS);
    let monitors = [
        monitor("web", "https://[fd77::2]", &format!("ca = \"{}\"", nginx.ca())),
        monitor("port", "tcp://10.77.0.2:53", ""),
        monitor("dns", "dns://10.77.0.2/www.lapwing.test", ""),
        monitor("ping4", "icmp://10.77.0.2", ""),
        monitor("ping6", "icmp://[fd77::2]", ""),
    ];
    let scene = Scene::start(&place, &authority, &monitors.concat());
    let (silent, closed) = ("timeout.answer", "timeout.connect");
    let fallen = [
        ("web", closed),
        ("port", closed),
        ("dns", silent),
        ("ping4", silent),
        ("ping6", silent),
    ];
    // What neighbours must say to each other still passes.
    let drops = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\ndrop";
    scene.outage(&fallen, || place.rules(drops), || place.rules(""));
    let report = scene.finish_with_report();
    let outages = report["series"].as_array().unwrap();
    assert_eq!(outages.len(), 5, "{report:#}");
}

#[test]
fn needs_nft_needs_unbound_a_firewall_rejects() {
    host(|scene, place| {
        let ports = [("tcp4", "connect.unreachable"), ("tcp6", "connect.unreachable")];
        let rejects = "tcp dport 53 reject with icmpx type admin-prohibited";
        scene.outage(&ports, || place.rules(rejects), || place.rules(""));
        let refused = [("tcp4", "connect.refused"), ("tcp6", "connect.refused")];
        scene.outage(
            &refused,
            || place.rules("tcp dport 53 reject with tcp reset"),
            || place.rules(""),
        );
    });
}

#[test]
fn needs_unbound_the_host_has_left_the_network() {
    host(|scene, place| {
        let leave = || {
            place.ip(
                Side::Far,
                &["link", "set", "far", "address", "02:00:00:00:00:77", "arp", "off"],
            )
        };
        let _ = leave;
        let fallen = [("tcp4", "connect.unreachable"), ("ping4", "icmp.unreachable")];
        let address = format!("{}/24", FAR[0]);
        scene.outage(
            &fallen,
            || place.ip(Side::Far, &["address", "delete", &address, "dev", "far"]),
            || place.ip(Side::Far, &["address", "add", &address, "dev", "far"]),
        );
    });
}

#[test]
fn needs_unbound_its_link_is_down() {
    host(|scene, place| {
        let down = || place.ip(Side::Far, &["link", "set", "far", "down"]);
        let up = || place.ip(Side::Far, &["link", "set", "far", "up"]);
        let _ = (scene, down, up);
    });
}

#[test]
fn needs_unbound_our_own_link_is_down_which_is_our_fault_and_no_outage() {
    host(|scene, place| {
        place.ip(Side::Near, &["link", "set", "near", "down"]);
        scene.wait_for(["OFFLINE since".to_owned()].into_iter());
        let offline = scene.events().pop().unwrap();
        assert_eq!(offline["reason"]["code"], "ours.no_route", "{offline:#}");
        scene.wait_until("all inconclusive", |status| {
            let series = status["series"].as_array().unwrap();
            series.iter().all(|one| one["state"] == "inconclusive")
        });
        place.ip(Side::Near, &["link", "set", "near", "up"]);
        scene.wait_for(["ONLINE again".to_owned()].into_iter());
        let _ = NEAR;
    });
}
