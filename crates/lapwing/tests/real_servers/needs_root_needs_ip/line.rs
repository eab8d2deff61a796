//! The line itself: packets that are dropped or rejected, a host that has left, and links that are down.

use crate::{
    certificates::Authority,
    place::{FAR, Place, Side},
    scene::{INTERVAL, Scene, monitor},
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
        monitor("ping6", "icmp://[fd77::2]", ""),
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
    let series = report["series"].as_array().unwrap();
    assert_eq!(series.len(), 5, "{report:#}");
    for one in series {
        let (_, code) = fallen.iter().find(|(name, _)| one["series"] == *name).unwrap();
        let outages = one["outages"].as_array().unwrap();
        assert_eq!(outages.len(), 1, "{report:#}");
        assert_eq!(
            (&outages[0]["reason"]["code"], &outages[0]["recovered"]),
            (&(*code).into(), &true.into())
        );
        assert_eq!(outages[0]["length_s"], one["down_s"], "{report:#}");
    }
}

#[test]
fn needs_nft_needs_unbound_a_firewall_rejects() {
    host(|scene, place| {
        // Not tcp6: on a link as short as this, the error arrives while the call that connects is still at work, and
        // then Linux keeps it to itself.
        let told = [
            ("tcp4", "connect.unreachable"),
            ("ping4", "icmp.unreachable"),
            ("ping6", "icmp.unreachable"),
        ];
        let rejects = "meta nfproto ipv4 tcp dport 53 reject with icmp type admin-prohibited
            icmp type echo-request reject with icmp type admin-prohibited
            icmpv6 type echo-request reject with icmpv6 type admin-prohibited";
        scene.outage(&told, || place.rules(rejects), || place.rules(""));
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
        let fallen = [("tcp4", "connect.unreachable"), ("ping4", "icmp.unreachable")];
        let address = format!("{}/24", FAR[0]);
        let leave = || {
            place.ip(Side::Far, &["address", "delete", &address, "dev", "far"]);
            // Who was heard a moment ago would be believed in for a while.
            place.ip(Side::Near, &["neighbor", "flush", "dev", "near"]);
        };
        scene.outage(&fallen, leave, || {
            place.ip(Side::Far, &["address", "add", &address, "dev", "far"]);
        });
    });
}

#[test]
fn needs_unbound_the_link_at_its_end_is_down() {
    host(|scene, place| {
        // IPv6 may be without a route for a moment: such a check is inconclusive, and the next one counts.
        scene.stale = INTERVAL;
        // Without a carrier the kernel forgets who lives behind the link, but not at once.
        let (host, ping) = (
            "timeout.connect|connect.unreachable",
            "timeout.answer|icmp.unreachable",
        );
        let fallen = [("tcp4", host), ("tcp6", host), ("ping4", ping), ("ping6", ping)];
        let set = |state| place.ip(Side::Far, &["link", "set", "far", state]);
        scene.outage(&fallen, || set("down"), || set("up"));
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
    });
}
