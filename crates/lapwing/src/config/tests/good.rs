//! What a good configuration means: defaults, inheritance, names, keys, ranges, options.

use std::{collections::HashSet, sync::Arc, time::Duration};

use lapwing_core::monitor::{Addresses, DownRule, Family, ResetFailures, Source};

use super::{Place, loaded, names};
use crate::config::{Environment, LogFormat, checks, effective, load};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn defaults_are_those_of_the_product() {
    let loaded = loaded(
        "[[monitor]]\nname = \"a\"\ntarget = \"tcp://a.example:1\"\n[notify.n]\ntype = \"file\"\npath = \"x\"\n",
    );
    let series = &loaded.plan.series[0];
    let policy = &series.monitor.policy;
    assert_eq!(
        (policy.interval, policy.retry_interval, policy.recovery_interval),
        (secs(30), secs(30), secs(30))
    );
    assert_eq!(
        policy.rule,
        DownRule::Consecutive {
            failures: 3,
            successes: 1
        }
    );
    assert_eq!(policy.reset_failures, ResetFailures::Never);
    assert!(policy.loss.is_none() && policy.remind.is_empty());
    assert_eq!(
        series.monitor.notify.iter().map(|n| &**n).collect::<Vec<_>>(),
        ["n"]
    );
    let settings = loaded.probers[&series.key].settings();
    assert_eq!((settings.timeout, settings.connect_timeout), (secs(2), secs(2)));
    assert_eq!(
        (settings.family, settings.addresses, &settings.source),
        (Family::Any, Addresses::First, &Source::Any)
    );
    assert_eq!(loaded.web.unwrap().to_string(), "127.0.0.1:8480");
    assert!(loaded.echo.is_none());
    assert_eq!(
        (loaded.store.raw, loaded.store.max_size),
        (secs(30 * 86_400), 10_000_000_000)
    );
    assert_eq!(
        (loaded.log.level, loaded.log.format),
        (tracing::Level::INFO, LogFormat::Text)
    );
    assert!(loaded.plan.notifiers[0].local && loaded.plan.notifiers[0].on.is_none());
    assert_eq!(loaded.plan.notifiers[0].give_up, secs(3 * 86_400));
}

#[test]
fn the_sample_of_the_product_holds() {
    let loaded = loaded(
        "[defaults]\ninterval = \"30s\"\ntimeout = \"2s\"\nfailure_threshold = 3\nrecovery_interval = \"5s\"\n\
         notify = [\"ops\"]\nremind = [\"10m\", \"30m\", \"1h\"]\n\
         [[monitor]]\nname = \"web\"\ntarget = \"https://www.example.com/health\"\nexpect_body = \"ok\"\n\
         [[monitor]]\nname = \"router\"\ntarget = \"icmp://192.0.2.1\"\ninterval = \"1s\"\ntimeout = \"900ms\"\n\
         loss = { window = 300, change = 5 }\n\
         [[monitor]]\nname = \"google\"\ntargets = [\"http://www.google.com\", \"icmp://www.google.com\"]\n\
         [notify.ops]\ntype = \"slack\"\nwebhook_url = \"https://hooks.example.com/x\"\n\
         [web]\nlisten = \"off\"\n[store]\npath = \"data\"\nraw = \"30d\"\nmax_size = \"10GB\"\n",
    );
    assert_eq!(names(&loaded), ["web", "router", "google/http", "google/icmp"]);
    let router = &loaded.plan.series[1].monitor.policy;
    // Inherited, it gives way to the shorter interval.
    assert_eq!((router.interval, router.recovery_interval), (secs(1), secs(1)));
    assert_eq!(router.loss.unwrap().change_milli, 5000);
    assert_eq!(loaded.plan.series[0].monitor.policy.recovery_interval, secs(5));
    assert_eq!(router.remind, [secs(600), secs(1800), secs(3600)]);
    assert!(loaded.web.is_none());
    assert_eq!(loaded.monitor_count(), 3);
    assert!(loaded.plan.series[1].overlaps && !loaded.plan.series[0].overlaps);
}

#[test]
fn what_is_inherited_gives_way() {
    let loaded = loaded(
        "[defaults]\ntimeout = \"20s\"\nconnect_timeout = \"10s\"\nretry_interval = \"10s\"\nwindow = { of = 3, fail = 2 }\n\
         labels = { a = \"1\", b = \"2\" }\nclose = \"fin\"\n\
         [[monitor]]\nname = \"a\"\ntarget = \"tcp://a:1\"\ninterval = \"5s\"\nlabels = { b = \"3\" }\n\
         [[monitor]]\nname = \"b\"\ntarget = \"tcp://a:1\"\ntimeout = \"1s\"\nfailure_threshold = 2\n\
         [[monitor]]\nname = \"c\"\ntarget = \"icmp://a\"\ninterval = \"500ms\"\nfailure_threshold = 0\n",
    );
    let of = |n: usize| {
        (
            &loaded.plan.series[n].monitor,
            loaded.probers[&loaded.plan.series[n].key].settings(),
        )
    };
    let (a, settings) = of(0);
    assert_eq!(
        (
            settings.timeout,
            settings.connect_timeout,
            a.policy.retry_interval
        ),
        (secs(5), secs(5), secs(5))
    );
    assert_eq!(
        a.policy.rule,
        DownRule::Window {
            of: 3,
            fail: 2,
            recover: 0
        }
    );
    assert_eq!(
        a.labels,
        [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "3".to_owned())]
    );
    let (b, settings) = of(1);
    assert_eq!((settings.timeout, settings.connect_timeout), (secs(1), secs(1)));
    assert_eq!(
        (b.policy.retry_interval, b.policy.recovery_interval),
        (secs(10), secs(10))
    );
    assert_eq!(
        b.policy.rule,
        DownRule::Consecutive {
            failures: 2,
            successes: 1
        }
    );
    let (c, settings) = of(2);
    assert_eq!(settings.timeout, Duration::from_millis(500));
    assert_eq!(c.policy.rule, DownRule::Off);
}

#[test]
fn series_have_names_and_keys_that_differ() {
    for (targets, expected) in [
        (&["tcp://a:1"][..], &["m"][..]),
        (&["ping://a", "http://a"], &["m/icmp", "m/http"]),
        (&["tcp://a:1", "tcp://b:1"], &["m/a:1", "m/b:1"]),
        (
            &["tcp://a:1", "tcp://b:1", "icmp://a"],
            &["m/a:1", "m/b:1", "m/icmp"],
        ),
        (&["tcp://a:1", "udp://a:1"], &["m/tcp", "m/udp"]),
        (&["http://a/x", "http://a/y"], &["m/http://a/x", "m/http://a/y"]),
        (
            &["tcp://a:1", "tcp://a:2", "udp://a:1", "udp://a:3"],
            &["m/tcp://a:1", "m/a:2", "m/udp://a:1", "m/a:3"],
        ),
        (&["tcp://[::1]:1", "tcp://[::2]:1"], &["m/[::1]:1", "m/[::2]:1"]),
        // A host that is called like a kind.
        (
            &["icmp://http", "icmp://b", "http://c"],
            &["m/icmp://http", "m/b", "m/http://c"],
        ),
    ] {
        let loaded = loaded(&format!("[[monitor]]\nname = \"m\"\ntargets = {targets:?}\n"));
        assert_eq!(names(&loaded), expected);
        let keys: HashSet<_> = loaded.plan.series.iter().map(|s| Arc::clone(&s.key)).collect();
        assert_eq!(keys.len(), targets.len());
        assert!(keys.iter().all(|key| loaded.probers.contains_key(key)));
    }
    let loaded = loaded("[[monitor]]\nname = \"m\"\ntarget = \"tcp://localhost:80\"\n");
    assert_eq!(&*loaded.plan.series[0].key, "m\u{1f}tcp://localhost:80");
    assert!(loaded.plan.series[0].loopback);
}

#[test]
fn both_families_are_two_series() {
    let loaded = loaded(
        "[[monitor]]\nname = \"m\"\nfamily = \"both\"\ntargets = [\"tcp://a:1\", \"tcp://192.0.2.1:1\", \"icmp://a?family=6\"]\n",
    );
    assert_eq!(names(&loaded), ["m/a:1/4", "m/a:1/6", "m/192.0.2.1:1", "m/icmp"]);
    assert_eq!(&*loaded.plan.series[1].key, "m\u{1f}tcp://a:1\u{1f}6");
    let family = |n: usize| loaded.probers[&loaded.plan.series[n].key].settings().family;
    assert_eq!(
        [family(0), family(1), family(2), family(3)],
        [Family::V4, Family::V6, Family::Any, Family::V6]
    );
}

#[test]
fn hosts_fill_targets() {
    let place = Place::new();
    place.write(
        "hosts.txt",
        "# all of them\n  db1.example  # first\r\n\n2001:db8::7\nweb[09-10].example",
    );
    let text = "[[monitor]]\nname = \"m\"\nhosts = [\"10.0.0.0/30\", \"@hosts.txt\"]\ntarget = \"tcp://{host}:22\"\n";
    let loaded = place.load(text).unwrap();
    let expected = [
        "10.0.0.0",
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "db1.example",
        "[2001:db8::7]",
        "web09.example",
        "web10.example",
    ];
    assert_eq!(names(&loaded), expected.map(|host| format!("m/{host}:22")));
    let before = loaded.fingerprint;
    place.write("hosts.txt", "db1.example\n");
    assert_ne!(place.load(text).unwrap().fingerprint, before);
    // An error in a list has the list's place.
    place.write("hosts.txt", "good\n\n  bad host  # x\n@more\n");
    let report = place.load(text).unwrap_err();
    let at: Vec<_> = report
        .diagnostics()
        .iter()
        .map(|d| d.at.clone().unwrap())
        .collect();
    assert!(at.iter().all(|at| at.path.ends_with("hosts.txt")), "{report}");
    assert_eq!(
        at.iter().map(|at| (at.line, at.column)).collect::<Vec<_>>(),
        [(3, 3), (4, 1)]
    );
    place.write("hosts.txt", "# none\n");
    assert!(place.load(text).unwrap_err().to_string().contains("is empty"));
}

#[test]
fn many_targets_share_their_settings() {
    let loaded = loaded("[[monitor]]\nname = \"m\"\ntarget = \"icmp://10.0.0.0/18\"\n");
    assert_eq!(loaded.plan.series.len(), 16_384);
    let [first, last] = [0, 16_383].map(|n: usize| &loaded.plan.series[n]);
    assert_eq!(
        (first.name.as_str(), last.name.as_str()),
        ("m/10.0.0.0", "m/10.0.63.255")
    );
    assert!(Arc::ptr_eq(&first.monitor, &last.monitor));
    assert!(std::ptr::eq(
        loaded.probers[&first.key].settings(),
        loaded.probers[&last.key].settings()
    ));
}

#[test]
fn the_nearest_option_wins() {
    // Seen through the timeout, which every probe has: defaults, monitor, kind.key, URL.
    let loaded = loaded(
        "[defaults]\ntimeout = \"5s\"\nicmp.timeout = \"4s\"\n\
         [[monitor]]\nname = \"a\"\ntargets = [\"icmp://a\", \"tcp://a:1\"]\n\
         [[monitor]]\nname = \"b\"\ntargets = [\"icmp://a\", \"tcp://a:1?timeout=1s\"]\nicmp.timeout = \"3s\"\ntimeout = \"2s\"\n",
    );
    let timeout = |n: usize| loaded.probers[&loaded.plan.series[n].key].settings().timeout;
    assert_eq!(
        [timeout(0), timeout(1), timeout(2), timeout(3)],
        [secs(4), secs(5), secs(3), secs(1)]
    );
}

#[test]
fn paths_start_at_the_configuration() {
    let place = Place::new();
    let text = "[[monitor]]\nname = \"m\"\ntarget = \"tcp://a:1\"\n[notify.f]\ntype = \"file\"\npath = \"alerts/{date}.txt\"\n";
    let loaded = place.load(text).unwrap();
    assert_eq!(loaded.store.path, place.path().join("data"));
    assert_eq!(
        loaded.alert_files[0].1,
        place.path().join("alerts/{date}.txt").to_string_lossy()
    );
    let path = place.write("lapwing.toml", text);
    let env = Environment::of(place.path(), [("STATE_DIRECTORY", "/var/lib/lapwing:/x")]);
    assert_eq!(
        load(&path, &env).unwrap().store.path.to_string_lossy(),
        "/var/lib/lapwing"
    );
    let path = place.write("lapwing.toml", format!("{text}[store]\npath = \"elsewhere\"\n"));
    assert_eq!(
        load(&path, &env).unwrap().store.path,
        place.path().join("elsewhere")
    );
}

#[test]
fn what_is_shown_reads_back_the_same() {
    let place = Place::new();
    let text = "[defaults]\nexpires_within = \"14d\"\nlabels = { a = \"$$x\" }\n\
        [[monitor]]\nname = \"a \\\"b\\\"\"\ntargets = [\"https://a/x\", \"icmp://a\"]\nicmp.retry = 3\nicmp.timeout = \"1s\"\n\
        family = \"both\"\nsource = \"192.0.2.1\"\nexpect_body = 'C:\\x $${y}'\nredirects = 0\ntimezone = \"Europe/Berlin\"\n\
        [[monitor]]\nname = \"c\"\nhosts = [\"10.0.0.0/30\"]\ntarget = \"tls://{host}:443\"\ntls.name = \"x\"\n\
        window = { of = 10, fail = 4 }\nloss = { window = 10, change = 2.5 }\n\
        [notify.\"the file\"]\ntype = \"file\"\npath = \"/tmp/{date}.txt\"\n";
    let first = effective(&place.write("lapwing.toml", text), &place.env()).unwrap();
    let second = effective(&place.write("lapwing.toml", &first), &place.env())
        .unwrap_or_else(|r| panic!("{first}\n{r}"));
    assert_eq!(first, second);
    for line in [
        "https.expires_within = \"14d\"",
        "tls.name = \"x\"",
        "icmp.retry = 3",
        "connect_timeout = \"2s\"",
    ] {
        assert!(first.contains(&format!("\n{line}\n")), "{line}\n{first}");
    }
}

#[test]
fn every_example_is_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let variables =
        ["SLACK_WEBHOOK_URL", "HOOK_TOKEN", "MAIL_PASSWORD", "WEB_TOKEN"].map(|n| (n, "https://a.example/x"));
    let place = Place::new();
    let env = Environment::of(
        place.path(),
        variables
            .into_iter()
            .chain([("TELEGRAM_CHAT_ID", "-100123"), ("HOME_KEY", "0123456789abcdef")]),
    );
    let token = place.write(
        "telegram.token",
        "1234567890:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc\n",
    );
    std::fs::set_permissions(token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        load(&place.write("lapwing.toml", text), &env)
            .unwrap_or_else(|report| panic!("{}\n{report}", path.display()));
        count += 1;
    }
    assert!(count >= 5);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of rows")]
fn the_command_line_has_the_same_words() {
    let pair = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
    let check = |text: &str, options: &[(&str, &str)]| {
        checks(
            &[text.to_owned()],
            &options.iter().map(pair).collect::<Vec<_>>(),
            Some(secs(7)),
        )
    };
    let found = check(
        "tcp://a:1?connect_timeout=1s&expect=x",
        &[("source", "eth0"), ("tcp.family", "4")],
    )
    .unwrap();
    assert_eq!((found[0].target.as_str(), found[0].kind), ("tcp://a:1", "tcp"));
    let settings = found[0].prober.settings();
    assert_eq!(
        (settings.timeout, settings.connect_timeout, settings.family),
        (secs(7), secs(1), Family::V4)
    );
    assert_eq!(settings.source, Source::Interface("eth0".to_owned()));
    let found = check("tcp://a:1", &[("timeout", "3s")]).unwrap();
    assert_eq!(found[0].prober.settings().connect_timeout, secs(3));
    for (text, options, message, hint) in [
        (
            "tcp://a:1",
            &[("exspect", "x")][..],
            "no kind has an option \"exspect\"",
            "expect",
        ),
        (
            "tcp://a:1",
            &[("status", "200")],
            "tcp has no option \"status\"",
            "it is an option of http",
        ),
        (
            "tcp://a:1",
            &[("imcp.retry", "3")],
            "there is no kind \"imcp\"",
            "icmp.retry",
        ),
        ("tcp://a:1", &[("icmp.retry", "3")], "no target is icmp", ""),
        (
            "tcp://a:1",
            &[("icmp.retri", "3")],
            "icmp has no option \"retri\"",
            "retry",
        ),
        ("tcp://a:1", &[("family", "both")], "two series", "family=4"),
        ("tcp://a:1", &[("timeout", "x")], "is not a length of time", ""),
        ("tcp://a", &[], "needs a port", ""),
        (
            "heartbeat:x",
            &[],
            "a heartbeat is passive: nothing can be asked",
            "lapwing status shows when it reported last",
        ),
        (
            "tcp://a:1",
            &[("period", "1m")],
            "tcp has no option \"period\"",
            "it is an option of heartbeat",
        ),
        (
            "icmp://[::1]",
            &[("family", "4")],
            "::1 is an IPv6 address, but family = \"4\"",
            "",
        ),
    ] {
        let Err(errors) = check(text, options) else {
            panic!("{text} {options:?}")
        };
        assert!(
            errors.contains(message) && errors.contains(hint) && errors.lines().count() == 1,
            "{errors}"
        );
    }
    let many = checks(
        &["icmp://10.0.0.0/30".to_owned(), "tcp://a:1".to_owned()],
        &[],
        None,
    )
    .unwrap();
    assert_eq!(
        many.iter().map(|c| c.target.as_str()).next_back(),
        Some("tcp://a:1")
    );
    assert_eq!(many.len(), 5);
    // An option that one of them has reaches that one.
    let count = ("count".to_owned(), "2".to_owned());
    assert!(checks(&["icmp://a".to_owned(), "tcp://a:1".to_owned()], &[count], None).is_ok());
    let wrong = checks(
        &["icmp://a".to_owned(), "x".to_owned(), "y:1".to_owned()],
        &[],
        None,
    );
    assert_eq!(wrong.err().unwrap().lines().count(), 2);
}
