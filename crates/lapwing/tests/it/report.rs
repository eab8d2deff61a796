//! `lapwing report` over a ledger whose story is known to the microsecond, in every format and on every way out.

use std::{fs, sync::Arc, time::Duration};

use lapwing_core::{
    heartbeat::{Account, Cause, Hindrance, Verdict},
    judge::Standing,
    lookout::Change,
    observation::Reason,
    outage::{End, Outage},
    state::State,
    time::Wall,
};
use lapwing_store::{DataDir, Ledger, book};
use serde_json::json;

use crate::kit::{Home, PATIENCE, instant};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

fn at(text: &str) -> Wall {
    Wall(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// A data folder that holds what `changes` say.
fn home_with(changes: &[Change]) -> Home {
    let home = Home::quick("");
    let ledger = DataDir::open(&home.path("data"), Wall(0))
        .unwrap()
        .ledger()
        .unwrap();
    let mut ops = Vec::new();
    for change in changes {
        book::operations(change, &mut ops);
    }
    ledger.commit(&[], &ops).unwrap();
    home
}

fn outage(began: Wall, ended: Option<Wall>) -> Outage {
    Outage {
        began,
        begin_uncertainty: Some(Duration::from_secs(30)),
        last_up: Some(began.shifted(-30 * SECOND)),
        reason: Reason::new("heartbeat.late", "no beat for 3m"),
        evidence: Vec::new(),
        failed_checks: 1,
        reminded: 0,
        end: ended.map(|at| End {
            at,
            uncertainty: Duration::from_secs(1),
            recovered: true,
        }),
        verdict: None,
        acknowledged: None,
    }
}

fn standing(series: &Arc<str>, name: &str, state: State, known_since: Wall) -> Change {
    Change::Standing {
        series: Arc::clone(series),
        name: name.to_owned(),
        standing: Box::new(Standing {
            state,
            since: known_since,
            known_since: Some(known_since),
            ..Standing::default()
        }),
    }
}

/// The day of the netmonitor script's own report: watched from noon to 16:28:32, one outage over and one not, and a
/// router that was always there.
fn the_day() -> Home {
    let (line, router) = (
        Arc::<str>::from("1.2.3.4\u{1f}heartbeat:1.2.3.4"),
        Arc::<str>::from("<b>router\u{1f}icmp://192.168.1.1"),
    );
    let known = at("2020-12-20T14:51:19Z");
    let mut cut = outage(
        at("2020-12-20T15:08:30Z"),
        Some(at("2020-12-20T15:11:56.611862Z")),
    );
    cut.verdict = Some(Verdict {
        cause: Cause::Line,
        silent: Duration::from_secs(236),
        uptime: Some(Duration::from_secs(7_200)),
        account: Some(Account {
            silent: Duration::from_secs(236),
            lost: 7,
            hindrance: Hindrance::Unanswered,
        }),
    });
    let told = |outage| Change::Outage {
        series: Arc::clone(&line),
        outage: Box::new(outage),
    };
    home_with(&[
        Change::Watch {
            started: at("2020-12-20T12:00:00Z"),
            until: at("2020-12-20T16:28:32.922098Z"),
        },
        standing(&line, "1.2.3.4", State::Down, known),
        standing(&router, "<b>router", State::Up, known),
        told(cut),
        told(outage(at("2020-12-20T16:07:14Z"), None)),
    ])
}

/// Arguments for a report of that day.
fn of_the_day<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let window = ["report", "--since", "2020-12-20T12:00Z", "--until", "2020-12-21"];
    [&window, more].concat()
}

#[test]
fn the_original_script_would_have_written_the_same() {
    let ran = the_day().run(&of_the_day(&["1.2.3.4", "--format", "classic"]));
    let expected = "\
Report for 1.2.3.4
Entry: Sun Dec 20 14:51:19 2020 up
Entry: Sun Dec 20 15:08:30 2020 down
Entry: Sun Dec 20 15:11:56 2020 up
Outage on Sun Dec 20 15:11:56 2020 lasted 0:03:26.611862 (+/- 30sec)
Entry: Sun Dec 20 16:07:14 2020 down
Ongoing outage on Sun Dec 20 16:07:14 2020 has lasted ";
    assert!(ran.code == 0 && ran.out.starts_with(expected), "{ran:?}");
    assert!(
        ran.out.ends_with(" (+/- 30sec)\n") && ran.out.lines().count() == 7,
        "{ran:?}"
    );
}

#[test]
fn json_says_whose_fault_it_was_and_what_lasts() {
    let report = the_day().json(&of_the_day(&["--json"]));
    assert_eq!(
        (&report["running"], &report["version"]),
        (&json!(false), &json!(env!("CARGO_PKG_VERSION")))
    );
    let (router, line) = (&report["series"][1], &report["series"][0]);
    assert_eq!(line["series"], "1.2.3.4");
    let cause = json!({
        "kind": "line", "text": "line down, sensor kept running (7 beats lost)",
        "silent_s": 236.0, "uptime_s": 7200.0, "lost_beats": 7,
    });
    assert_eq!(line["outages"][0]["cause"], cause, "{report:#}");
    assert_eq!(line["outages"][1]["ongoing"], true);
    assert_eq!(line["mttr_s"], 206.611_862);
    let (up, down) = (line["up_s"].as_f64().unwrap(), line["down_s"].as_f64().unwrap());
    // From the first beat known to the end of the run; the rest of the day is unknown.
    assert!((up + down - 5_833.922_098).abs() < 1e-6 && (down - 206.611_862 - 1_278.922_098).abs() < 1e-6);
    assert!(
        (line["unknown_s"].as_f64().unwrap() - (43_200.0 - up - down)).abs() < 1e-6,
        "{report:#}"
    );
    assert_eq!(line["mtbf_s"].as_f64(), Some(up / 2.0));
    assert_eq!(
        (
            router.get("mtbf_s"),
            &router["outages"],
            &router["uptime_percent"]
        ),
        (None, &json!([]), &json!(100.0))
    );
    assert!(
        line.get("slices").is_none() && report.get("edges").is_none(),
        "{report:#}"
    );
}

#[test]
fn csv_keeps_its_columns_and_adds_the_cause_at_the_end() {
    let out = the_day().run(&of_the_day(&["--format", "csv"])).out;
    let expected = "\
series,target,began,ended,length_s,uncertainty_s,code,reason,failed_checks,recovered,cause,cause_text\r
1.2.3.4,heartbeat:1.2.3.4,2020-12-20T15:08:30.000000Z,2020-12-20T15:11:56.611862Z,206.611862,30.000000,\
heartbeat.late,no beat for 3m,1,true,line,\"line down, sensor kept running (7 beats lost)\"\r
1.2.3.4,heartbeat:1.2.3.4,2020-12-20T16:07:14.000000Z,,";
    assert!(out.starts_with(expected), "{out}");
    assert!(
        out.ends_with(",30.000000,heartbeat.late,no beat for 3m,1,false,,\r\n"),
        "{out}"
    );
}

#[test]
fn the_table_calls_an_ongoing_outage_ongoing() {
    let out = the_day().run(&of_the_day(&[])).out;
    assert!(
        out.starts_with(
            "No daemon is running on this data folder.\n2020-12-20 12:00:00 to 2020-12-21 00:00:00\n"
        ),
        "{out}"
    );
    for words in [
        " 2020-12-20 16:07:14  ongoing ",
        " line down, sensor kept running (7 beats lost)\n",
        "  MTBF  ",
        "uptime = up / (up + down), by time; unknown time is left out\nmtbf = up / outages that began; ",
    ] {
        assert!(out.contains(words), "{words}\n{out}");
    }
}

#[test]
fn html_is_one_file_that_needs_nothing_else() {
    let home = the_day();
    let said = home.run(&of_the_day(&["--format", "html", "--out", "evidence.html"]));
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "evidence.html is written\n"),
        "{said:?}"
    );
    let page = home.read("evidence.html");
    for words in [
        "<h1>Outages and uptime: 1.2.3.4, &lt;b&gt;router</h1>",
        "<p>2020-12-20 12:00:00 UTC to 2020-12-21 00:00:00 UTC</p>",
        "2 outages in 1 of 2 series. <strong class=\"ongoing\">1 is ongoing.</strong>",
        "<span class=\"cause\">line down, sensor kept running (7 beats lost)</span>",
        "<title>2020-12-20 15:00 to 2020-12-20 15:10: up 00:08:30, down 00:01:30</title>",
        "<title>2020-12-20 16:30 to 2020-12-21: unknown</title>",
        "No daemon was watching when this report was made",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    for word in [
        "<script",
        "<link",
        "<img",
        "@import",
        "src=",
        "http://",
        "https://",
        "<b>router",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.starts_with("<!DOCTYPE html>\n") && page.ends_with("</html>\n"));
}

#[test]
fn a_file_is_replaced_only_when_asked() {
    let home = the_day();
    fs::write(home.path("old.csv"), "mine").unwrap();
    let csv = |more: &[&'static str]| home.run(&of_the_day(&[&["--format", "csv"], more].concat()));
    let refused = csv(&["--out", "old.csv"]);
    assert_eq!(
        refused.refused(),
        "lapwing: old.csv exists already; --force replaces it"
    );
    assert_eq!(home.read("old.csv"), "mine");
    let forced = csv(&["--out", "old.csv", "--force"]);
    assert_eq!((forced.code, forced.out.as_str()), (0, "old.csv is written\n"));
    assert!(home.read("old.csv").starts_with("series,target,began"));
    let nowhere = csv(&["--out", "gone/new.csv"]);
    assert!(
        nowhere
            .refused()
            .contains("gone/new.csv cannot be written: No such file"),
        "{nowhere:?}"
    );
    let alone = csv(&["--force"]);
    assert!(alone.code == 2 && alone.err.contains("--out"), "{alone:?}");
}

#[test]
fn a_window_without_anything_is_told_in_every_format() {
    let (home, empty) = (the_day(), home_with(&[]));
    for (format, quiet, nobody) in [
        ("table", "No outages.\n", "No series is watched, and none was.\n"),
        ("classic", "Report for 1.2.3.4\n\nReport for <b>router\n", ""),
        (
            "csv",
            "recovered,cause,cause_text\r\n",
            "recovered,cause,cause_text\r\n",
        ),
        ("json", "\"outages\": []", "\"series\": []"),
        (
            "html",
            "<p class=\"verdict\">No outages.</p>",
            "No series is watched, and none was.",
        ),
    ] {
        let before = [
            "report",
            "--since",
            "2020-12-01",
            "--until",
            "2020-12-02",
            "--format",
            format,
        ];
        for (home, words) in [(&home, quiet), (&empty, nobody)] {
            let ran = home.run(&before);
            assert!(ran.code == 0 && ran.out.contains(words), "{format}: {ran:?}");
        }
    }
}

/// Nothing here may grow faster than what is told. The program of this test is not optimized, and the machine has more
/// to do: the figures of `docs/performance.md` are far below this bound.
#[test]
fn a_year_of_many_series_is_told_soon() {
    let begin = at("2020-01-01T00:00:00Z");
    let mut changes = Vec::new();
    for run in 0..400 {
        changes.push(Change::Watch {
            started: begin.shifted(run * DAY * 365 / 400),
            until: begin.shifted((run + 1) * DAY * 365 / 400 - 300 * SECOND),
        });
    }
    for nth in 0..200 {
        let series = Arc::<str>::from(format!("web-{nth}\u{1f}tcp://web-{nth}:443"));
        changes.push(standing(&series, &format!("web-{nth}"), State::Up, begin));
        for n in 0..50 {
            let began = begin.shifted(n * 7 * DAY + nth * SECOND);
            changes.push(Change::Outage {
                series: Arc::clone(&series),
                outage: Box::new(outage(began, Some(began.shifted(600 * SECOND)))),
            });
        }
    }
    let home = home_with(&changes);
    for format in ["table", "classic", "csv", "json", "html"] {
        let begun = instant();
        let ran = home.run(&[
            "report",
            "--since",
            "2020-01-01",
            "--until",
            "2021-01-01",
            "--format",
            format,
        ]);
        assert!(
            ran.code == 0 && ran.out.contains("web-199"),
            "{format}: {}",
            ran.err
        );
        assert!(begun.elapsed() < PATIENCE, "{format}: {:?}", begun.elapsed());
    }
}
