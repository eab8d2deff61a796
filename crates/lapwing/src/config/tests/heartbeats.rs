//! Heartbeats: what is due when, who may report in, and everything that contradicts itself.
#![expect(clippy::too_many_lines, reason = "tables of rows")]

use std::time::Duration;

use lapwing_core::{
    heartbeat::{BeatRule, Due, Wait},
    monitor::{DownRule, ResetFailures},
};

use super::{Place, bad::check, loaded, names};
use crate::config::{Loaded, effective};

/// A listener, and the beginning of a monitor.
const H: &str =
    "[heartbeat]\nlisten = \"127.0.0.1:7777\"\n[[monitor]]\nname = \"m\"\ntarget = \"heartbeat:home\"\n";
const LISTEN: &str = "[heartbeat]\nlisten = \"127.0.0.1:7777\"\n";
const NEXT: &str = "[[monitor]]\nname = \"n\"\ntarget = \"heartbeat:away\"\n";

fn rule(loaded: &Loaded, n: usize) -> BeatRule {
    let policy = &loaded.plan.series[n].monitor.policy;
    BeatRule::clone(policy.beats.as_deref().unwrap())
}

/// `period grace`, `period >down_after`, `cron grace`.
fn shown(rule: &BeatRule) -> String {
    let due = match &rule.due {
        Due::Every(period) => lapwing_core::time::short(*period),
        Due::Cron(cron) => cron.to_string(),
    };
    match rule.wait {
        Wait::Grace(grace) => format!("{due} {}", lapwing_core::time::short(grace)),
        Wait::DownAfter(after) => format!("{due} >{}", lapwing_core::time::short(after)),
    }
}

#[test]
fn a_heartbeat_is_a_series_without_a_probe() {
    let loaded = loaded(
        "[defaults]\ninterval = \"5s\"\nloss = { window = 10 }\nreset_failures = \"hourly\"\nfamily = \"both\"\n\
         remind = [\"10m\"]\nlabels = { a = \"1\" }\ntimezone = \"Europe/Berlin\"\nexpect = \"x\"\n\
         [heartbeat]\nlisten = \"127.0.0.1:7777\"\nhttp = \"[::1]:7778\"\n\
         [[monitor]]\nname = \"home\"\ntarget = \"heartbeat://Home-1\"\n",
    );
    let series = &loaded.plan.series[0];
    assert_eq!(&*series.key, "home\u{1f}heartbeat:Home-1");
    assert_eq!(
        (
            series.name.as_str(),
            series.target.as_str(),
            series.host.as_str(),
            series.kind
        ),
        ("home", "heartbeat:Home-1", "Home-1", "heartbeat")
    );
    assert!(series.loopback && !series.overlaps && loaded.probers.is_empty());
    let policy = &series.monitor.policy;
    assert_eq!(shown(&rule(&loaded, 0)), "30s 40s");
    assert_eq!(policy.interval, Duration::from_secs(30));
    assert_eq!(
        policy.rule,
        DownRule::Consecutive {
            failures: 1,
            successes: 1
        }
    );
    assert_eq!((policy.loss, policy.reset_failures), (None, ResetFailures::Never));
    assert_eq!(policy.remind, [Duration::from_mins(10)]);
    assert_eq!(policy.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(series.monitor.labels, [("a".to_owned(), "1".to_owned())]);
    let heartbeat = &loaded.heartbeat;
    assert_eq!(heartbeat.listen.unwrap().to_string(), "127.0.0.1:7777");
    assert_eq!(heartbeat.http.unwrap().to_string(), "[::1]:7778");
    assert!(loaded.plan.adopt.is_none());
}

#[test]
fn what_is_given_last_and_nearest_decides_when_a_beat_is_missing() {
    for (defaults, own, expected) in [
        ("", "", "30s 40s"),
        ("", "period = \"1m\"", "1m 1m10s"),
        ("", "period = \"1d\"", "1d 1h"),
        ("", "grace = \"5s\"", "30s 5s"),
        ("", "down_after = \"3m\"", "30s >3m"),
        ("", "cron = \"30 2 * * *\"", "30 2 * * * 10m"),
        ("", "cron = \"@daily\"\ngrace = \"2h\"", "@daily 2h"),
        ("", "heartbeat.period = \"1m\"", "1m 1m10s"),
        ("period = \"1m\"", "", "1m 1m10s"),
        ("period = \"1m\"\ngrace = \"20s\"", "period = \"10s\"", "10s 20s"),
        ("period = \"1m\"", "cron = \"@daily\"", "@daily 10m"),
        ("down_after = \"3m\"", "cron = \"@daily\"", "@daily 10m"),
        ("down_after = \"3m\"", "grace = \"1m\"", "30s 1m"),
        ("grace = \"3m\"", "down_after = \"1m\"", "30s >1m"),
        ("heartbeat.down_after = \"3m\"", "period = \"1m\"", "1m >3m"),
        // What is inherited gives way.
        ("down_after = \"3m\"", "period = \"5m\"", "5m 5m10s"),
    ] {
        let loaded = loaded(&format!("[defaults]\n{defaults}\n{H}{own}\n"));
        assert_eq!(shown(&rule(&loaded, 0)), expected, "{defaults} / {own}");
    }
    let text = format!(
        "{LISTEN}[[monitor]]\nname = \"m\"\ntarget = \"heartbeat:x?period=1m&grace=5s\"\nperiod = \"2m\"\n"
    );
    assert_eq!(shown(&rule(&loaded(&text), 0)), "1m 5s");
}

#[test]
fn the_roster_holds_every_sender() {
    let place = Place::new();
    let file = place.write("old.key", "0123456789abcdef~._-\n");
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let loaded = place
        .load(
            "[heartbeat]\nhttp = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"\n\
             [[monitor]]\nname = \"one\"\ntarget = \"heartbeat:one\"\nkey = [\"${KEY}\", { file = \"old.key\" }]\n\
             [[monitor]]\nname = \"two\"\ntarget = \"heartbeat:two\"\nfrom = \"192.0.2.7\"\n\
             [[monitor]]\nname = \"three\"\ntarget = \"heartbeat:three\"\nfrom = [\"192.0.2.9/24\", \"2001:db8::/32\"]\n",
        )
        .unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(names(&loaded), ["one", "two", "three"]);
    let roster = &loaded.heartbeat.roster;
    for key in ["canary-key-0123456789", "0123456789abcdef~._-"] {
        assert_eq!(roster.by_url(key).as_deref(), Some("one\u{1f}heartbeat:one"));
    }
    assert!(roster.by_url("canary-key-9876543210").is_none());
    let shown = format!("{roster:?}");
    assert!(
        shown.starts_with("Roster { keyed: 1, plain: 3, urls: 2, adopt: false"),
        "{shown}"
    );
    assert!(!format!("{loaded:?}").contains("canary"));
}

#[test]
fn unknown_senders_are_adopted_on_request() {
    let loaded = loaded(
        "[defaults]\nremind = [\"1h\"]\nlabels = { a = \"1\" }\nnotify = [\"a\"]\nperiod = \"10s\"\n\
         [heartbeat]\nlisten = \"0.0.0.0:7777\"\nadopt = true\ndown_after = \"3m\"\nnotify = [\"b\"]\n\
         [notify.a]\ntype = \"file\"\npath = \"a\"\n[notify.b]\ntype = \"file\"\npath = \"b\"\n",
    );
    let adopt = loaded.plan.adopt.as_ref().unwrap();
    assert_eq!(shown(adopt.policy.beats.as_deref().unwrap()), "10s >3m");
    assert_eq!(adopt.policy.remind, [Duration::from_hours(1)]);
    assert_eq!(adopt.notify.iter().map(|n| &**n).collect::<Vec<_>>(), ["b"]);
    assert_eq!(adopt.labels, [("a".to_owned(), "1".to_owned())]);
    assert!(loaded.plan.series.is_empty());
    let roster = format!("{:?}", loaded.heartbeat.roster);
    assert!(
        roster.starts_with("Roster { keyed: 0, plain: 0, urls: 0, adopt: true"),
        "{roster}"
    );
    let plain = super::loaded(&format!("{LISTEN}adopt = true\n"));
    let policy = &plain.plan.adopt.as_ref().unwrap().policy;
    assert_eq!(shown(policy.beats.as_deref().unwrap()), "30s 40s");
}

#[test]
fn monitors_that_contradict_themselves() {
    check(&[
        (
            H,
            "grace = \"1m\"\ndown_after = \"3m\"\n",
            &[
                "7:14 a heartbeat has either grace or down_after, not both; grace counts from when the beat was due",
            ],
        ),
        (
            H,
            "period = \"1m\"\ncron = \"@daily\"\n",
            &["7:8 a heartbeat has either period or cron, not both; keep one"],
        ),
        (
            H,
            "cron = \"@daily\"\ndown_after = \"3m\"\n",
            &["7:14 down_after counts from the last beat, so it does not go with cron; write grace"],
        ),
        (
            H,
            "down_after = \"30s\"\n",
            &["6:14 down_after = \"30s\" is not longer than the period (30s); down_after = \"1m10s\""],
        ),
        (
            H,
            "period = \"5m\"\ndown_after = \"1m\"\n",
            &["7:14 down_after = \"1m\" is not longer than the period (5m)"],
        ),
        (
            "[defaults]\nperiod = \"5m\"\ndown_after = \"3m\"\n",
            H,
            &["3:14 down_after = \"3m\" is not longer than the period (5m)"],
        ),
        (
            "[defaults]\ngrace = \"5m\"\ndown_after = \"3m\"\n",
            H,
            &["3:14 a heartbeat has either grace or down_after, not both"],
        ),
        (
            H,
            "period = \"1ms\"\ngrace = \"900d\"\n",
            &[
                "6:10 period = \"1ms\" is too short; at least 100ms",
                "7:9 grace = \"900d\" is too long; at most 366d",
            ],
        ),
        (
            H,
            "period = 30\n",
            &["6:10 period = \"30\" is not a length of time, like; for example: period = \"1m\""],
        ),
        (
            H,
            "cron = \"61 * * * *\"\n",
            &["6:8 \"61 * * * *\" is not a cron expression: ; every night at 02:30"],
        ),
        (
            H,
            "cron = \"0 0 30 2 *\"\n",
            &["6:8 \"0 0 30 2 *\" names a time that never comes"],
        ),
        (
            H,
            "interval = \"1s\"\ntimeout = \"1s\"\nfailure_threshold = 1\nloss = { window = 3 }\nwindow = { of = 2, fail = 1 }\n",
            &[
                "6:1 interval has no meaning for a heartbeat: nothing is asked; take it out; period, grace and down_after",
                "7:1 timeout has no meaning",
                "8:1 failure_threshold has no meaning",
                "8:21 failure_threshold has no effect beside window",
                "9:1 loss has no meaning",
                "10:1 window has no meaning",
            ],
        ),
        (
            H,
            "family = \"4\"\naddresses = \"all\"\nsource = \"eth0\"\nreset_failures = \"hourly\"\nrecovery_interval = \"1s\"\n",
            &[
                "6:1 family has no meaning",
                "7:1 addresses has no",
                "8:1 source has no",
                "9:1 reset_failures has no",
                "10:1 recovery_interval has no",
            ],
        ),
        (
            H,
            "hosts = [\"a\"]\n",
            &["6:9 hosts has no meaning for a heartbeat"],
        ),
        (
            H,
            "heartbeat.timeout = \"1s\"\nexpect = \"x\"\nperiot = \"1m\"\n",
            &[
                "6:21 timeout has no meaning for a heartbeat",
                "7:1 heartbeat has no option \"expect\"; it is an option of",
                "8:1 neither a monitor nor heartbeat has a key \"periot\"; did you mean \"period\"?",
            ],
        ),
        (
            LISTEN,
            "[[monitor]]\nname = \"m\"\ntarget = \"heartbeat:x?timeout=1s&perod=1m\"\n",
            &[
                "5:23 timeout has no meaning for a heartbeat",
                "5:34 heartbeat has no option \"perod\"; did you mean \"period\"?",
            ],
        ),
        (
            LISTEN,
            "[[monitor]]\nname = \"m\"\ntargets = [\"tcp://a:1\", \"heartbeat:x\"]\n",
            &["5:25 a heartbeat stands alone in its monitor; a monitor of their own"],
        ),
        (
            LISTEN,
            "[[monitor]]\nname = \"m\"\ntarget = \"heartbeat:ho/me\"\nperiod = \"1m\"\n",
            &["5:10 \"ho/me\" is not the name of a heartbeat; 1 to 32 letters"],
        ),
    ]);
}

#[test]
fn keys_and_sources() {
    check(&[
        (
            H,
            "key = \"0123456789abcdef\"\n",
            &[
                "6:7 key does not stand in the configuration itself; write key = \"${NAME}\" for an environment variable, or",
            ],
        ),
        (
            H,
            "key = [\"${KEY}\", \"0123456789abcdef\"]\n",
            &["6:18 key does not stand in the configuration itself"],
        ),
        (
            H,
            "key = 3\n",
            &["6:7 key does not stand in the configuration itself"],
        ),
        (
            H,
            "key = []\n",
            &["6:7 key is an empty list; lapwing sensor keygen"],
        ),
        (
            H,
            "key = \"${NUMBER}\"\n",
            &[
                "6:7 a key has 16 to 128 letters, digits, \".\", \"_\", \"~\" or \"-\", and this one does not; keygen",
            ],
        ),
        (H, "key = \"${HOME}\"\n", &["6:7 a key has 16 to 128 letters"]),
        (
            H,
            "key = \"${NOPE}\"\n",
            &["6:8 the environment variable NOPE is not set; set it"],
        ),
        (
            H,
            "key = [\"${KEY}\", \"${KEY}\"]\n",
            &["6:7 both keys are the same; makes another"],
        ),
        (
            H,
            "key = [\"${KEY}\", \"${OTHER_KEY}\", \"${TOKEN}\"]\n",
            &["6:7 a heartbeat has at most two keys; the new one, and the old one"],
        ),
        (
            H,
            "key = \"${KEY}\"\nfrom = \"any\"\n",
            &["7:8 from has no effect beside key: the key says who it is; take one"],
        ),
        (
            LISTEN,
            "[[monitor]]\nname = \"m\"\ntarget = \"heartbeat:x?key=0123456789abcdef\"\n",
            &["5:10 a key does not stand in a target, which is shown and stored; key = \"${NAME}\""],
        ),
        (
            H,
            "from = [\"192.0.2.7\", \"home.example\"]\n",
            &["6:8 from = \"home.example\" is neither an address nor a network; for example"],
        ),
        (
            H,
            "from = []\n",
            &["6:8 from is empty: nobody could report in; any"],
        ),
        (
            "",
            "[defaults]\nkey = \"${KEY}\"\nfrom = \"any\"\ncron = \"@daily\"\nheartbeat.timeout = \"1s\"\n",
            &[
                "2:1 key belongs to one monitor, so it has no default; [[monitor]]",
                "3:1 from belongs to one monitor",
                "4:1 cron belongs to one monitor",
                "5:11 timeout has no meaning for a heartbeat",
            ],
        ),
    ]);
}

#[test]
fn no_two_senders_are_taken_for_one() {
    check(&[
        (
            H,
            "from = \"192.0.2.7\"\n[[monitor]]\nname = \"n\"\ntarget = \"heartbeat:home\"\n",
            &["9:10 heartbeat:home is the target of two monitors; a name of its own"],
        ),
        (
            H,
            NEXT,
            &["8:10 two heartbeats without a key are from any address; give one of them a key, or other"],
        ),
        (
            &format!("{H}from = [\"192.0.2.9/24\", \"10.0.0.1\"]\n{NEXT}"),
            "from = [\"2001:db8::1\", \"192.0.2.0/24\"]\n",
            &["10:8 two heartbeats without a key are from 192.0.2.0/24"],
        ),
        (
            &format!("{H}from = \"192.0.2.9\"\n{NEXT}"),
            "from = \"::ffff:192.0.2.9\"\n",
            &["10:8 two heartbeats without a key are from 192.0.2.9/32"],
        ),
        (
            &format!("{H}key = [\"${{OTHER_KEY}}\", \"${{KEY}}\"]\n{NEXT}"),
            "key = \"${KEY}\"\n",
            &["10:7 two heartbeats have the same key; makes another"],
        ),
    ]);
    let report = Place::new()
        .load(&format!("{H}key = \"${{KEY}}\"\n{NEXT}key = \"${{KEY}}\"\n"))
        .unwrap_err();
    let also = report.diagnostics()[0].also.as_ref().unwrap();
    assert_eq!(
        (also.0, also.1.line, also.1.column),
        ("it stands here first", 6, 7)
    );
}

#[test]
fn the_listeners() {
    let m = "[[monitor]]\nname = \"m\"\ntarget = \"heartbeat:home\"\n";
    check(&[
        (
            m,
            "",
            &[
                "3:10 nobody can report in: [heartbeat] does not listen; write [heartbeat] with listen = \"0.0.0.0:7777\"",
            ],
        ),
        (
            m,
            "key = \"${KEY}\"\n[heartbeat]\nlisten = \"off\"\n",
            &["3:10 nobody can report in: [heartbeat] does not listen"],
        ),
        (
            m,
            "[heartbeat]\nhttp = \"127.0.0.1:7778\"\n",
            &["3:10 this heartbeat has no key, so it cannot report in by HTTP; give it a key, or"],
        ),
        (
            "",
            "[heartbeat]\nadopt = true\n",
            &[
                "1:2 [heartbeat] has neither listen nor http; for example",
                "2:9 adopt needs listen: unknown senders come by UDP; 0.0.0.0:7777",
            ],
        ),
        (
            "",
            "[heartbeat]\nhttp = \"127.0.0.1:7778\"\nadopt = true\n",
            &["3:9 adopt needs listen"],
        ),
        (
            "",
            "[heartbeat]\nlisten = \"127.0.0.1:7777\"\nperiod = \"1m\"\nnotify = \"x\"\n[[monitor]]\nname = \"m\"\ntarget = \"tcp://a:1\"\n",
            &[
                "3:1 period of [heartbeat] has no effect without adopt; a monitor has its own",
                "4:10 notify of [heartbeat] has no effect without adopt",
            ],
        ),
        (
            LISTEN,
            "adopt = true\ngrace = \"1m\"\ndown_after = \"3m\"\nnotify = \"x\"\ncron = \"@daily\"\n",
            &[
                "5:14 a heartbeat has either grace or down_after, not both",
                "6:10 there is no notifier \"x\"",
                "7:1 [heartbeat] has no key \"cron\"; it has: listen, http, adopt, period, grace, down_after, notify",
            ],
        ),
        (
            LISTEN,
            "adopt = \"yes\"\n[[monitor]]\nname = \"m\"\ntarget = \"tcp://a:1\"\n",
            &["3:9 adopt = \"yes\" is not true or false; for example: adopt = true"],
        ),
        (
            LISTEN,
            "adopt = true\n[[monitor]]\nname = \"m\"\ntarget = \"heartbeat:home\"\n",
            &["3:9 adopt has no effect: no sender is unknown; from = [\"192.0.2.7\"]"],
        ),
        (
            "",
            "[heartbeat]\nlisten = \"x\"\nhttp = false\n",
            &[
                "2:10 listen = \"x\" is not an address and port; \"0.0.0.0:7777\"",
                "3:8 http = false is not an address; http = \"off\"",
            ],
        ),
        (
            "[echo]\nlisten = \"0.0.0.0:7777\"\n[web]\nlisten = \"127.0.0.1:7778\"\n",
            "[heartbeat]\nlisten = \"127.0.0.1:7777\"\nhttp = \"0.0.0.0:7778\"\n",
            &[
                "6:10 the echo server already listens on 0.0.0.0:7777; 7777",
                "7:8 the status page already listens on 127.0.0.1:7778; 7778",
            ],
        ),
    ]);
    // UDP and TCP do not share their ports.
    loaded("[heartbeat]\nlisten = \"0.0.0.0:7777\"\nhttp = \"0.0.0.0:7777\"\nadopt = true\n");
}

#[test]
fn what_is_shown_reads_back_the_same_but_for_keys() {
    let place = Place::new();
    let text = "[echo]\nlisten = \"127.0.0.1:0\"\nin_all = 500\nplain = \"refused\"\n\
        [heartbeat]\nlisten = \"0.0.0.0:7777\"\nadopt = true\ndown_after = \"3m\"\n\
        [[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a\"\nfrom = [\"192.0.2.0/24\"]\nperiod = \"1m\"\n\
        [[monitor]]\nname = \"b\"\ntarget = \"heartbeat:b\"\nfrom = \"192.0.2.9\"\ncron = \"30 2 * * *\"\ntimezone = \"UTC\"\n";
    let first = effective(&place.write("lapwing.toml", text), &place.env()).unwrap();
    let second = effective(&place.write("lapwing.toml", &first), &place.env())
        .unwrap_or_else(|r| panic!("{first}\n{r}"));
    assert_eq!(first, second);
    for part in [
        "[heartbeat]\nlisten = \"0.0.0.0:7777\"\nhttp = \"off\"\nadopt = true\nperiod = \"30s\"\ndown_after = \"3m\"\nnotify = []\n",
        "target = \"heartbeat:a\"\nperiod = \"1m\"\ngrace = \"1m10s\"\nnotify = []\n",
        "target = \"heartbeat:b\"\ncron = \"30 2 * * *\"\ngrace = \"10m\"\n",
        "from = [\"192.0.2.0/24\"]\n",
        "per_source = 2000\nin_all = 500\nplain = \"refused\"\n",
    ] {
        assert!(first.contains(part), "{part}\n{first}");
    }
    let text = format!("{H}key = [\"${{KEY}}\", \"${{OTHER_KEY}}\"]\n");
    let shown = effective(&place.write("lapwing.toml", text), &place.env()).unwrap();
    assert!(
        shown.contains("\nkey = \"***\"\n") && !shown.contains("canary"),
        "{shown}"
    );
}

#[test]
fn twenty_thousand_sensors_are_read_at_once() {
    let mut place = Place::new();
    let mut text = LISTEN.to_owned();
    for n in 0..20_000 {
        place
            .variables
            .push((format!("K{n}"), format!("0123456789abcdef-{n}")));
        text.push_str(&format!(
            "[[monitor]]\nname = \"{n}\"\ntarget = \"heartbeat:s{n}\"\nkey = \"${{K{n}}}\"\n"
        ));
    }
    let loaded = place.load(&text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.plan.series.len(), 20_000);
    assert!(loaded.heartbeat.roster.by_url("0123456789abcdef-19999").is_some());
    let rules = [0, 19_999].map(|n: usize| loaded.plan.series[n].monitor.policy.beats.clone().unwrap());
    assert!(std::sync::Arc::ptr_eq(&rules[0], &rules[1]));
}
