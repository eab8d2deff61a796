//! Every error has its place, its sentence and its hint, and no error hides another.
#![expect(clippy::too_many_lines, reason = "tables of rows")]

use super::{Place, errors, said};

const M: &str = "[[monitor]]\nname = \"m\"\n";
const T: &str = "[[monitor]]\nname = \"m\"\ntarget = \"tcp://a:1\"\n";

/// A text after a common beginning, and all that is said of it.
pub(super) fn check(rows: &[(&str, &str, &[&str])]) {
    for (before, text, expected) in rows {
        let found = errors(&format!("{before}{text}"));
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (found, expected) in found.iter().zip(*expected) {
            let (message, hint) = expected.split_once("; ").unwrap_or((expected, ""));
            let good = found.starts_with(message) && found.contains(hint);
            assert!(good, "{text}\n found: {found}\nwanted: {expected}");
        }
    }
}

#[test]
fn tables() {
    check(&[
        ("", "", &["/"]),
        (
            "",
            "interval = \"1s\"\n",
            &["1:1 interval does not belong above the first table; [defaults]"],
        ),
        (
            "",
            "target = \"tcp://a:1\"\n",
            &["1:1 target does not belong above the first table; [[monitor]]"],
        ),
        (
            "",
            "[monitor]\nname = \"x\"\n",
            &["1:2 monitor is not written as a table; two brackets"],
        ),
        ("", "monitor = [1]\n", &["1:12 a monitor is a table; [[monitor]]"]),
        (
            "",
            "[[defaults]]\n",
            &["1:3 defaults is not written as a table; [defaults]"],
        ),
        (
            "",
            "[monitors]\n",
            &["1:2 there is no table [monitors]; did you mean \"monitor\"?"],
        ),
        (
            "",
            "[[notifier]]\n",
            &["1:3 there is no table [[notifier]]; the tables are: defaults, monitor, notify"],
        ),
        (
            "",
            "notify = \"x\"\n",
            &["1:1 notify is not written as a table; [notify.NAME]"],
        ),
        (
            "",
            "web = \"x\"\n",
            &["1:1 web does not belong above the first table; [web]"],
        ),
        (
            "",
            "[[maintenance]]\n",
            &["1:3 this version of Lapwing does not have [[maintenance]]"],
        ),
        (
            T,
            "[self]\n[[route]]\n",
            &[
                "4:2 this version of Lapwing does not have [self]",
                "5:3 this version",
            ],
        ),
        (
            "",
            "[defaults]\nname = \"x\"\n",
            &["2:1 name belongs to one monitor, so it has no default; [[monitor]]"],
        ),
        (
            "",
            "[defaults]\ntimeot = \"x\"\n",
            &["2:1 neither [defaults] nor any kind has a key \"timeot\"; \"timeout\"?"],
        ),
        (
            "",
            "[defaults]\nicmp.conut = 2\n",
            &["2:6 icmp has no option \"conut\"; did you mean \"count\"?"],
        ),
    ]);
}

#[test]
fn monitors() {
    check(&[
        (
            "",
            "[[monitor]]\n",
            &[
                "1:1 this monitor has no name; name = \"web\"",
                "1:1 this monitor has no target; icmp://",
            ],
        ),
        (M, "targets = []\n", &["3:11 targets is empty"]),
        (
            T,
            "targets = [\"tcp://b:1\"]\n",
            &["3:1 a monitor has either target or targets, not both"],
        ),
        (
            M,
            "target = 3\n",
            &["3:10 target = 3 is not a text in quotes; for example"],
        ),
        (
            M,
            "targets = [\"tcp://b:1\", 3]\n",
            &["3:25 targets = 3 is not a text in quotes"],
        ),
        (
            T,
            "[[monitor]]\nname = \"m\"\ntarget = \"tcp://b:1\"\n",
            &["5:8 the name \"m\" is given to two monitors"],
        ),
        (
            "",
            "[[monitor]]\nname = \"\"\ntarget = \"tcp://a:1\"\n",
            &["2:8 a name needs at least one character"],
        ),
        (
            "",
            "[[monitor]]\nname = \"a/b\"\ntarget = \"tcp://a:1\"\n",
            &["2:8 a name may not hold \"/\""],
        ),
        (
            "",
            "[[monitor]]\nname = \"a\\tb\"\ntarget = \"tcp://a:1\"\n",
            &["2:8 a name may not hold control"],
        ),
        (
            "",
            "[[monitor]]\nname = \"a\u{202e}b\"\ntarget = \"tcp://a:1\"\n",
            &["2:8 a name may not hold characters that turn the direction of writing"],
        ),
        (
            "",
            "[[monitor]]\nname = \"a\u{2066}b\"\ntarget = \"tcp://a:1\"\n",
            &["2:8 a name may not hold characters that turn"],
        ),
        (
            "",
            "[[monitor]]\nname = \"a\u{200f}\"\ntarget = \"tcp://a:1\"\n",
            &["2:8 a name may not hold characters that turn"],
        ),
        (
            "",
            "[[monitor]]\nname = \"-a\"\ntarget = \"tcp://a:1\"\n",
            &["2:8 a name may not begin with \"-\""],
        ),
        (
            M,
            "target = \"tcp://a\"\n",
            &["3:10 tcp needs a port; tcp://a:80"],
        ),
        (
            M,
            "target = \"tpc://a:1\"\n",
            &["3:10 the scheme \"tpc\" is not known; did you mean \"tcp\"?"],
        ),
        (
            M,
            "targets = [\"tcp://a:1\", \"tcp://A:1\"]\n",
            &["3:25 tcp://a:1 stands twice in this monitor; take one"],
        ),
        (
            M,
            "targets = [\"dns://a/b?type=A\", \"dns://a/b?type=MX\"]\n",
            &["3:32 dns://a/b stands twice; of its own"],
        ),
        (
            T,
            "depends_on = [\"x\"]\n",
            &["4:1 this version of Lapwing does not have \"depends_on\""],
        ),
        (
            T,
            "period = \"1m\"\ngrace = \"1m\"\n",
            &[
                "4:1 tcp has no option \"period\"; it is an option of heartbeat",
                "5:1 tcp has no option \"grace\"; it is an option of heartbeat",
            ],
        ),
    ]);
}

#[test]
fn values() {
    check(&[
        (
            T,
            "interval = 30\n",
            &["4:12 interval = 30 is not a length of time; did you mean interval = \"30s\"?"],
        ),
        (
            T,
            "interval = \"3 apples\"\n",
            &["4:12 interval = \"3 apples\" is not a length of time, like"],
        ),
        (
            T,
            "interval = \"50ms\"\n",
            &["4:12 interval = \"50ms\" is too short; at least 100ms"],
        ),
        (
            T,
            "timeout = \"0s\"\n",
            &["4:11 timeout = \"0s\" leaves no time for an answer"],
        ),
        (
            T,
            "failure_threshold = -1\n",
            &["4:21 failure_threshold = -1 is not a whole number from 0 to 1000000"],
        ),
        (
            T,
            "failure_threshold = 99999999999999999999\n",
            &["4:21 failure_threshold = 9"],
        ),
        (
            T,
            "recovery_threshold = 0\n",
            &["4:22 recovery_threshold = 0 is not a whole number from 1"],
        ),
        (
            T,
            "reset_failures = \"hourli\"\n",
            &["4:18 reset_failures = \"hourli\" is not known; \"hourly\"?"],
        ),
        (
            T,
            "family = \"ipv5\"\n",
            &["4:10 family = \"ipv5\" is not known; any, 4, 6, both"],
        ),
        (
            T,
            "source = \"not an interface\"\n",
            &["4:10 source = \"not an interface\" is neither"],
        ),
        (
            T,
            "timezone = \"Europe/Belrin\"\n",
            &["4:12 there is no time zone \"Europe/Belrin\"; \"Europe/Berlin\"?"],
        ),
        (
            T,
            "timezone = \"berlin\"\n",
            &["4:12 there is no time zone \"berlin\"; \"Europe/Berlin\"?"],
        ),
        (
            T,
            "labels = 3\n",
            &["4:10 labels = 3 is not a table of names and texts"],
        ),
        (
            T,
            "labels = { \"a b\" = \"x\", c = 1 }\n",
            &["4:12 \"a b\" is not the name of a label", "4:29 the label c"],
        ),
        (
            T,
            "remind = [\"2m\", \"1m\"]\n",
            &["4:17 the times of remind do not ascend"],
        ),
        (
            T,
            "remind = [\"0s\"]\n",
            &["4:11 a reminder comes some time after"],
        ),
        (
            T,
            "remind = [3]\n",
            &["4:11 remind = 3 is not a length of time; remind = \"3s\""],
        ),
        (
            T,
            "notify = [\"x\"]\n",
            &["4:11 there is no notifier \"x\"; write [notify.x]"],
        ),
        (
            T,
            "notify = \"opps\"\n[notify.ops]\ntype = \"file\"\npath = \"x\"\n",
            &["4:10 there is no notifier \"opps\"; did you mean \"ops\"?"],
        ),
    ]);
}

#[test]
fn rules_between_keys() {
    check(&[
        (
            T,
            "timeout = \"40s\"\n",
            &["4:11 timeout = \"40s\" is longer than the interval (30s); at most \"30s\""],
        ),
        (
            T,
            "interval = \"1s\"\nretry_interval = \"2s\"\n",
            &["5:18 retry_interval = \"2s\" is longer than the interval (1s)"],
        ),
        (
            T,
            "recovery_interval = \"31s\"\n",
            &["4:21 recovery_interval = \"31s\" is longer than the interval (30s)"],
        ),
        (
            T,
            "connect_timeout = \"3s\"\n",
            &["4:19 connect_timeout = \"3s\" is longer than the timeout (2s)"],
        ),
        (
            T,
            "[defaults]\ntimeout = \"31s\"\n",
            &["5:11 timeout = \"31s\" is longer than the interval (30s)"],
        ),
        (
            T,
            "window = { of = 4, fail = 5 }\n",
            &["4:27 of 4 checks, 5 can never fail; window = {"],
        ),
        (
            T,
            "window = { of = 4, fail = 2, recover = 2 }\n",
            &["4:40 recover = 2 is not less than fail = 2"],
        ),
        (
            T,
            "window = { of = 4000, fail = 2 }\n",
            &["4:17 of = 4000 is not a whole number from 1 to 1000"],
        ),
        (
            T,
            "window = { of = 4 }\n",
            &["4:1 window lacks fail; for example: window = {"],
        ),
        (
            T,
            "window = { of = 4, fial = 2 }\n",
            &[
                "4:1 window lacks fail",
                "4:20 window has no key \"fial\"; \"fail\"?",
            ],
        ),
        (T, "window = 3\n", &["4:10 window = 3 is not a table"]),
        (
            T,
            "window = { of = 4, fail = 2 }\nfailure_threshold = 3\nrecovery_threshold = 2\n",
            &[
                "5:21 failure_threshold has no effect beside window; keep one",
                "6:22 recovery_threshold",
            ],
        ),
        (
            T,
            "failure_threshold = 0\nrecovery_threshold = 2\n",
            &["5:22 recovery_threshold has no effect: failure_threshold = 0"],
        ),
        (
            T,
            "loss = { window = 0 }\n",
            &["4:19 window = 0 is not a whole number from 1 to 100000"],
        ),
        (
            T,
            "loss = { window = 3, change = 101 }\n",
            &["4:31 change = 101 is not a number from 0 to 100"],
        ),
        (
            T,
            "loss = { window = 3, min = 4 }\n",
            &["4:28 a window of 3 never holds min = 4 requests"],
        ),
    ]);
}

#[test]
fn options() {
    check(&[
        (
            T,
            "exspect = \"x\"\n",
            &["4:1 neither a monitor nor tcp has a key \"exspect\"; did you mean \"expect\"?"],
        ),
        (
            T,
            "intervall = \"1s\"\n",
            &["4:1 neither a monitor nor tcp has a key \"intervall\"; \"interval\"?"],
        ),
        (
            T,
            "wibble = \"x\"\n",
            &["4:1 neither a monitor nor tcp has a key \"wibble\"; config schema"],
        ),
        (
            T,
            "status = \"200\"\n",
            &["4:1 tcp has no option \"status\"; it is an option of http, https"],
        ),
        (
            T,
            "icmp.retry = 3\n",
            &["4:6 this monitor has no icmp target, so icmp.retry has no effect"],
        ),
        (
            T,
            "tcp.exspect = \"x\"\n",
            &["4:5 tcp has no option \"exspect\"; did you mean \"expect\"?"],
        ),
        (
            T,
            "close = \"rst\"\n",
            &["4:9 close = \"rst\" is not known; reset"],
        ),
        (
            T,
            "tcp.timeout = \"31s\"\n",
            &["4:15 timeout = \"31s\" is longer than the interval (30s)"],
        ),
        (
            M,
            "target = \"tcp://a:1?exspect=x\"\n",
            &["3:21 tcp has no option \"exspect\"; \"expect\"?"],
        ),
        (
            M,
            "target = \"tcp://a:1?timeout=1x\"\n",
            &["3:21 timeout = \"1x\" is not a length of time"],
        ),
        (
            M,
            "target = \"tcp://a:1?timeout=31s\"\n",
            &["3:21 timeout = \"31s\" is longer than the interval"],
        ),
        (
            M,
            "target = \"tcp://a:1?connect_timeout=3s\"\n",
            &["3:21 connect_timeout = \"3s\" is longer than the timeout"],
        ),
        (
            M,
            "target = \"tcp://a:1?family=5\"\n",
            &["3:21 family = \"5\" is not known; did you mean \"4\"?"],
        ),
        (
            M,
            "target = \"icmp://192.0.2.1\"\nfamily = \"6\"\n",
            &["3:10 192.0.2.1 is an IPv4 address, but family = \"6\""],
        ),
        (
            T,
            "expect = { a = 1 }\n",
            &["4:10 expect = \"a table\" is not a text"],
        ),
    ]);
}

#[test]
fn hosts() {
    check(&[
        (
            M,
            "target = \"tcp://{host}:1\"\n",
            &["3:10 the target has {host}, but hosts is not given; hosts ="],
        ),
        (
            T,
            "hosts = [\"a\"]\n",
            &["4:9 hosts is given, but no target has {host}; {host}"],
        ),
        (
            M,
            "target = \"tcp://{host}:1\"\nhosts = [\"web[1-\"]\n",
            &["4:10 \"web[1-\": the bracket [ is not closed"],
        ),
        (
            M,
            "target = \"tcp://{host}:1\"\nhosts = [\"\", \"a b\"]\n",
            &["4:10 this host is empty", "4:14 "],
        ),
        (
            M,
            "target = \"tcp://{host}:1\"\nhosts = [\"tcp://a:1\"]\n",
            &["4:10 \"tcp://a:1\" is a URL, not a host"],
        ),
        (
            M,
            "target = \"tcp://{host}:1\"\nhosts = [\"10.0.0.0/8\"]\n",
            &["4:10 \"10.0.0.0/8\" stands for more than"],
        ),
        (
            M,
            "target = \"tcp://{host}:1\"\nhosts = [\"10.0.0.0/12\", \"a\"]\n",
            &["4:25 a monitor has at most 1048576 targets; split"],
        ),
        (M, "target = \"icmp://10.0.0.0/33\"\n", &["3:10 "]),
        (
            M,
            "target = \"tcp://web[1-2]:80\"\n",
            &["3:10 \"tcp://web[1-2]:80\": a range or CIDR block stands only where"],
        ),
        (
            M,
            "target = \"tcp://{host}\"\nhosts = [\"web[1-900]\"]\n",
            &["3:10 tcp needs a port"],
        ),
        (
            M,
            "target = \"icmp://{host}\"\nhosts = [\"10.0.0.0/30\", \"10.0.0.1\"]\n",
            &["4:25 icmp://10.0.0.1 stands twice"],
        ),
    ]);
}

#[test]
fn notifiers_and_fixed_tables() {
    check(&[
        (
            T,
            "[notify.x]\n",
            &["4:9 notify.x has no type; slack, telegram, email, file, webhook, command"],
        ),
        (
            T,
            "[notify.x]\ntype = \"slak\"\n",
            &["5:8 there is no notifier of type \"slak\"; did you mean \"slack\"?"],
        ),
        (T, "[notify.x]\ntype = 3\n", &["5:8 type is not a text in quotes"]),
        (
            T,
            "[notify]\nx = 3\n",
            &["5:1 notify.x is not a table; [notify.x]"],
        ),
        (
            T,
            "[notify.x]\ntype = \"file\"\n",
            &["4:9 file needs path, which is missing; path ="],
        ),
        (
            T,
            "[notify.x]\ntype = \"file\"\npath = \"x\"\npaht = \"x\"\n",
            &["7:1 file has no option \"paht\"; \"path\"?"],
        ),
        (
            T,
            "[notify.x]\ntype = \"file\"\npath = \"x\"\non = [\"dwn\"]\n",
            &["7:6 "],
        ),
        (
            T,
            "[notify.x]\ntype = \"file\"\npath = \"x\"\nfallback = [\"y\"]\n",
            &["7:1 this version of Lapwing does not"],
        ),
        (
            T,
            "[web]\nlisten = 8480\n",
            &["5:10 listen = 8480 is not an address and port; \"127.0.0.1:8480\""],
        ),
        (
            T,
            "[web]\nlisten = \"localhost:80\"\n",
            &["5:10 listen = \"localhost:80\" is not an address; 127.0.0.1:80"],
        ),
        (
            T,
            "[web]\nlisten = false\n",
            &["5:10 listen = false is not an address; \"off\""],
        ),
        (
            T,
            "[web]\nlitsen = \"off\"\n",
            &["5:1 [web] has no key \"litsen\"; did you mean \"listen\"?"],
        ),
        (T, "[echo]\n", &["4:2 [echo] lacks listen; 127.0.0.1:7007"]),
        (
            T,
            "[echo]\nlisten = \"127.0.0.1:0\"\nper_source = 0\nplain = \"guardd\"\n",
            &[
                "6:14 per_source = 0 is not a whole number from 1 to 10000000; 500",
                "7:9 plain = \"guardd\" is not known; did you mean \"guarded\"?",
            ],
        ),
        (
            T,
            "[echo]\nlisten = \"127.0.0.1:8480\"\n",
            &["5:10 the status page already listens on 127.0.0.1:8480"],
        ),
        (
            T,
            "[store]\nraw = \"1m\"\n",
            &["5:7 raw = \"1m\" is too short; at least 1h"],
        ),
        (
            T,
            "[store]\nmax_size = \"10 apples\"\n",
            &["5:12 max_size = \"10 apples\" is not a size; max_size = "],
        ),
        (
            T,
            "[store]\nmax_size = 1\n",
            &["5:12 max_size = 1 is too small; at least 10MB"],
        ),
        (
            T,
            "[log]\nlevel = \"inof\"\nformat = \"xml\"\n",
            &["5:9 level = \"inof\" is not known; \"info\"?", "6:10 format"],
        ),
    ]);
}

#[test]
fn syntax_errors_come_together_and_hide_only_what_they_may_have_caused() {
    check(&[
        (
            T,
            "timeout = 2s\n",
            &["4:11 this is not TOML: string values must be quoted; timeout = \"2s\""],
        ),
        (
            T,
            "expect = \"x\n",
            &["4:12 this is not TOML: invalid basic string; a quote is missing"],
        ),
        (
            T,
            "timeout =\n",
            &["4:10 this is not TOML: string values must be quoted; a value stands after the ="],
        ),
        (
            T,
            "timeout = \"1s\"\ntimeout = \"2s\"\n",
            &["5:1 this is not TOML: duplicate key"],
        ),
        // The head of a table decides what all below it means.
        (
            "",
            "[[monitor]\nname = \"a\"\nfoo = 1\n",
            &["1:11 this is not TOML: unclosed array table"],
        ),
        // Errors in other tables are told; what is missing in the broken one is not.
        (
            "",
            "[[monitor]]\nname = x\n[[monitor]]\nname = \"b\"\ntarget = \"tcp://b\"\n[web]\nlisten = 1\n[[monitor]]\ntarget = y\n",
            &[
                "2:8 this is not TOML",
                "5:10 tcp needs a port",
                "7:10 listen = 1",
                "9:10 this is not TOML",
            ],
        ),
    ]);
}

#[test]
fn what_is_told_has_the_line_and_a_marker() {
    let place = Place::new();
    let text = "[defaults]\ninterval = 30\n\n[[monitor]]\nname = \"web\"\ntarget = \"tcp://a:1\"\n\n[[monitor]]\nname = \"web\"\n\
                target = \"tcp://b:1\" # x\nhosts = [\"@list\"]\n";
    let report = place.load(text).unwrap_err();
    let shown = report
        .to_string()
        .replace(&format!("{}/", place.path().display()), "");
    let expected = "\
error: interval = 30 is not a length of time
 --> lapwing.toml:2:12
  |
2 | interval = 30
  |            ^^
  |
  = help: did you mean interval = \"30s\"?

error: the name \"web\" is given to two monitors
 --> lapwing.toml:9:8
  |
9 | name = \"web\"
  |        ^^^^^
  |
note: it stands here first
 --> lapwing.toml:5:8
  |
5 | name = \"web\"
  |        ^^^^^

error: hosts is given, but no target has {host}
  --> lapwing.toml:11:9
   |
11 | hosts = [\"@list\"]
   |         ^^^^^^^^^
   |
   = help: for example: target = \"icmp://{host}\"

error: the list list cannot be read: it does not exist
  --> lapwing.toml:11:10
   |
11 | hosts = [\"@list\"]
   |          ^^^^^^^
   |
   = help: a relative path starts at the folder of the configuration file

4 errors";
    assert_eq!(shown, expected);
    assert!(!shown.contains('\u{1b}'));
    assert!(report.render(true).contains("\u{1b}["));
}

#[test]
fn a_wrong_default_is_told_once_and_a_long_report_is_cut() {
    let mut text = "[defaults]\nclose = \"x\"\n".to_owned();
    for n in 0..300 {
        text.push_str(&format!("[[monitor]]\nname = \"{n}\"\ntarget = \"tcp://a:1\"\n"));
    }
    assert_eq!(errors(&text).len(), 1);
    let report = Place::new().load(&text.replace("tcp:", "tpc:")).unwrap_err();
    assert_eq!(report.diagnostics().len(), 300);
    let shown = report.to_string();
    assert!(
        shown.ends_with("and 100 more errors that are not shown\n300 errors"),
        "{}",
        &shown[shown.len() - 100..]
    );
}

#[test]
fn a_very_long_line_is_shown_in_part() {
    let long = "x".repeat(100_000);
    let report = Place::new()
        .load(&format!(
            "[[monitor]]\nname = \"m\"\ntargets = [\"tcp://{long}:1\", 3]\n"
        ))
        .unwrap_err();
    assert!(report.to_string().len() < 12_000, "{}", report.to_string().len());
    assert!(
        said(&report)
            .iter()
            .any(|line| line.starts_with("3:100024 targets = 3")),
        "{}",
        said(&report)[1]
    );
}
