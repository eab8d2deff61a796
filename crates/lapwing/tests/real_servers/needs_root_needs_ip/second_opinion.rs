//! What Lapwing finds, against what the tools of the trade find at the same time.

use crate::{
    certificates::Authority,
    place::{Place, Side},
    scene::check,
    servers::{Chronyd, Nginx, Unbound},
};

#[test]
fn needs_unbound_needs_dig_the_same_answers() {
    let place = Place::new();
    let records = [
        "www.lapwing.test. 300 A 10.77.0.2",
        "www.lapwing.test. 300 A 10.77.0.3",
        "www.lapwing.test. 300 AAAA fd77::2",
        "lapwing.test. 600 MX 10 mail.lapwing.test.",
        "lapwing.test. 600 NS ns.lapwing.test.",
        "_ntp._udp.lapwing.test. 60 SRV 1 5 123 time.lapwing.test.",
    ];
    let _unbound = Unbound::start(&place, &records);
    let mut answers = 0;
    for (name, kind) in [
        ("www.lapwing.test", "A"),
        ("www.lapwing.test", "AAAA"),
        ("lapwing.test", "MX"),
        ("lapwing.test", "NS"),
        ("_ntp._udp.lapwing.test", "SRV"),
        ("lapwing.test", "TXT"),
        ("gone.lapwing.test", "A"),
    ] {
        for (server, host) in [("10.77.0.2", "10.77.0.2"), ("fd77::2", "[fd77::2]")] {
            let dug = dig(&place, server, name, kind);
            let found = check(&place, &[], &format!("dns://{host}/{name}?type={kind}"));
            let facts = &found["facts"];
            assert_eq!(facts["dns.rcode"], *dug.code, "{found:#}");
            let ours = facts["dns.answers"].as_str().unwrap_or_default();
            let mut ours: Vec<&str> = ours.split(", ").filter(|answer| !answer.is_empty()).collect();
            ours.sort_unstable();
            assert_eq!(ours, dug.answers, "{found:#}");
            assert_eq!(facts["dns.ttl"].as_f64(), dug.ttl, "{found:#}");
            answers += ours.len();
        }
    }
    assert_eq!(answers, 2 * records.len());
}

/// What dig says about a name.
struct Dug {
    code: String,
    /// Without the final dots, in order.
    answers: Vec<String>,
    ttl: Option<f64>,
}

fn dig(place: &Place, server: &str, name: &str, kind: &str) -> Dug {
    let server = format!("@{server}");
    let text = place.run(
        Side::Near,
        "dig",
        &[&server, name, kind, "+noall", "+comments", "+answer"],
    );
    let code = text
        .split("status: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let records = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(';'));
    let records: Vec<Vec<&str>> = records.map(|line| line.split_whitespace().collect()).collect();
    let data = |words: &Vec<&str>| words[4..].join(" ").trim_end_matches('.').to_owned();
    let mut answers: Vec<String> = records.iter().map(data).collect();
    answers.sort();
    Dug {
        code: code.unwrap().to_owned(),
        answers,
        ttl: records.first().and_then(|words| words[1].parse().ok()),
    }
}

#[test]
fn needs_nginx_needs_openssl_the_same_certificate() {
    let (place, authority) = (Place::new(), Authority::new());
    let nginx = Nginx::start(&place, &authority);
    let ca = nginx.ca();
    for peer in ["10.77.0.2:443", "[fd77::2]:443"] {
        let asked = format!(
            "openssl s_client -connect {peer} -CAfile {ca} -verify_return_error < /dev/null 2>/dev/null | tee {0} | \
             openssl x509 -noout -serial -enddate -subject; cat {0}",
            place.folder().join("s_client").display()
        );
        crate::place::need("openssl");
        let said = place.run(Side::Near, "sh", &["-c", &asked]);
        let line = |start: &str| {
            said.lines()
                .find_map(|l| l.trim().strip_prefix(start))
                .unwrap_or_else(|| panic!("{said}"))
        };
        let found = check(&place, &[&format!("ca={ca}")], &format!("tls://{peer}"));
        let fact = |name: &str| {
            found["facts"][name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {found:#}"))
        };
        let plain = |serial: &str| {
            serial
                .replace(':', "")
                .trim_start_matches('0')
                .to_ascii_uppercase()
        };
        assert_eq!(plain(fact("tls.serial")), plain(line("serial=")), "{said}");
        let end = jiff::fmt::strtime::parse("%b %d %H:%M:%S %Y GMT", line("notAfter=").replace("  ", " "));
        let end = end
            .unwrap()
            .to_datetime()
            .unwrap()
            .in_tz("UTC")
            .unwrap()
            .timestamp();
        assert_eq!(
            fact("tls.not_after").parse::<jiff::Timestamp>().unwrap(),
            end,
            "{said}"
        );
        let (protocol, cipher) = line("New, ").split_once(", Cipher is ").unwrap();
        let letters = |text: &str| text.replace(['_', '-', ' '], "").to_ascii_uppercase();
        assert_eq!(letters(fact("tls.protocol")), letters(protocol), "{said}");
        assert!(
            !cipher.is_empty() && line("Verify return code:").trim() == "0 (ok)",
            "{said}"
        );
    }
}

#[test]
fn needs_chronyd_the_same_offset() {
    let place = Place::new();
    let _chronyd = Chronyd::start(&place);
    // It asks and goes, and sets nothing (-Q). The clocks are one and the same: the truth is 0.
    let conf = place.folder().join("ask.conf");
    std::fs::write(
        &conf,
        format!(
            "server 10.77.0.2 iburst maxsamples 4\npidfile {0}/ask.pid\ncmdport 0\nbindcmdaddress /\n",
            place.folder().display()
        ),
    )
    .unwrap();
    let said = place.run(
        Side::Near,
        "sh",
        &["-c", &format!("chronyd -Q -t 15 -f {} 2>&1", conf.display())],
    );
    let wrong_by = said
        .split("System clock wrong by ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let theirs: f64 = wrong_by.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    for target in ["ntp://10.77.0.2", "ntp://[fd77::2]"] {
        let found = check(&place, &["samples=8"], target);
        let fact = |name: &str| {
            found["facts"][name]
                .as_f64()
                .unwrap_or_else(|| panic!("no {name}: {found:#}"))
        };
        let (ours, margin) = (fact("ntp.offset"), fact("ntp.delay") / 2.0 + 1e-6);
        assert!(
            ours.abs() <= margin,
            "the true offset 0 is not within {ours} ± {margin} s"
        );
        assert!(
            (ours - theirs).abs() <= margin + 0.001,
            "{ours} ± {margin} s, chronyd says {theirs} s"
        );
        let (stratum, samples) = (fact("ntp.stratum"), fact("ntp.samples"));
        assert!(
            (stratum - 3.0).abs() < f64::EPSILON && samples >= 2.0,
            "{found:#}"
        );
        assert!(margin < 0.02, "{found:#}");
    }
}

#[test]
fn needs_nft_needs_ping_the_same_loss_and_times() {
    let place = Place::new();
    for (target, peer, rule) in [
        (
            "icmp://10.77.0.2",
            "10.77.0.2",
            "icmp type echo-request numgen inc mod 5 0 drop",
        ),
        (
            "icmp://[fd77::2]",
            "fd77::2",
            "icmpv6 type echo-request numgen inc mod 5 0 drop",
        ),
    ] {
        place.rules(rule);
        let found = check(&place, &["count=20"], target);
        let said = place.run(
            Side::Near,
            "ping",
            &["-q", "-c", "20", "-i", "0.02", "-W", "1", peer],
        );
        let share = said
            .split(", ")
            .find_map(|part| part.split_once("% packet loss"))
            .unwrap()
            .0;
        let fact = |name: &str| {
            found["facts"][name]
                .as_f64()
                .unwrap_or_else(|| panic!("no {name}: {found:#}"))
        };
        // Four of twenty, exactly, for both.
        assert_eq!(
            (fact("icmp.loss"), share.parse::<f64>().unwrap()),
            (20.0, 20.0),
            "{said}\n{found:#}"
        );
        let times = said.split("rtt min/avg/max/mdev = ").nth(1).unwrap();
        let fastest: f64 = times.split('/').next().unwrap().parse().unwrap();
        let ours = fact("icmp.rtt_min") * 1e3;
        assert!((ours - fastest).abs() < 1.0, "{ours} ms, ping says {fastest} ms");
    }
}
