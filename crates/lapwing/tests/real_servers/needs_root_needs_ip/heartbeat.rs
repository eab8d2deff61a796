//! Heartbeats from a home to a monitor elsewhere: the line, the machine, its sensor, the daemon, each broken in turn; and
//! the truth of what is told about it.

mod daemon;
mod jobs;
mod line;
mod machine;
mod plain;

use std::time::Duration;

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use serde_json::Value;

use crate::{
    certificates::Authority,
    place::Place,
    scene::{Scene, during, seconds, time},
    sensors::PERIOD,
};

/// What a busy machine may add to the time of a beat.
const SLACK: Duration = Duration::from_millis(500);
/// Where heartbeats and pings are heard.
const LISTEN: &str = "[heartbeat]\nlisten = \"[::]:7777\"\nhttp = \"0.0.0.0:7778\"\n";

/// Starts the daemon with these tables of its configuration, listening.
fn begin<'a>(place: &'a Place, monitors: &[String]) -> Scene<'a> {
    let text = format!("{LISTEN}{}", monitors.concat());
    Scene::begin(place, &Authority::new(), &text)
}

/// An outage of a series, as it was told.
struct Told {
    series: &'static str,
    down: Value,
    up: Value,
}

/// Silences `series` and lets them be heard again; each side is waited for until it is told. Proves that begin, end and
/// length are true to within a period, and that mail tells the same.
fn silence(
    scene: &Scene<'_>,
    series: &[&'static str],
    break_it: impl FnOnce(),
    mend_it: impl FnOnce(),
) -> Vec<Told> {
    let broken = during(break_it);
    scene.wait_for(series.iter().map(|series| format!("DOWN {series}")));
    let mended = during(mend_it);
    scene.wait_for(series.iter().map(|series| format!("UP {series}")));
    let told = |series: &&'static str| {
        let (down, up) = (scene.newest("down", series), scene.newest("up", series));
        prove(&down, &up, broken, mended);
        for event in [&down, &up] {
            let text = event["text"].as_str().unwrap();
            let mail = scene.mail(&event["id"]);
            assert_eq!(mail.lines().next(), Some(text), "{mail}");
        }
        Told { series, down, up }
    };
    series.iter().map(told).collect()
}

/// A beat comes once in a period: so much may lie between the truth and what is seen of it, on either side.
fn prove(down: &Value, up: &Value, broken: (Timestamp, Timestamp), mended: (Timestamp, Timestamp)) {
    let (began, ended) = (time(down, "since"), time(up, "ended"));
    assert!(
        broken.0 - SLACK <= began && began <= broken.1 + PERIOD,
        "broken between {} and {}: {down:#}",
        broken.0,
        broken.1
    );
    assert!(
        mended.0 <= ended && ended <= mended.1 + PERIOD + SLACK,
        "mended between {} and {}: {up:#}",
        mended.0,
        mended.1
    );
    assert_eq!(seconds(up, "uncertainty_s"), PERIOD, "{up:#}");
    let told = seconds(up, "duration_s");
    let between = |from: Timestamp, to: Timestamp| to.duration_since(from).unsigned_abs();
    let (shortest, longest) = (between(broken.1, mended.0), between(broken.0, mended.1));
    assert!(
        told + PERIOD + SLACK >= shortest && told <= longest + PERIOD + SLACK,
        "{told:?}, in truth {shortest:?} to {longest:?}: {up:#}"
    );
}

impl Told {
    /// Proves why it was, by the code of the cause and by what a person reads. Gives the latter.
    fn cause(&self, kind: &str) -> String {
        let (cause, up) = (&self.up["cause"], &self.up);
        assert_eq!(cause["kind"], kind, "{up:#}");
        let text = cause["text"].as_str().unwrap();
        let whole = up["text"].as_str().unwrap();
        assert!(
            whole.contains(" ± 1s down (") && whole.ends_with(&format!("): {text}.")),
            "{up:#}"
        );
        text.to_owned()
    }

    /// As [`Told::cause`], of a sensor that kept running: its text says so before the beats it lost, one for each period.
    fn cause_of_running(&self, kind: &str, text: &str) {
        let told = self.cause(kind);
        let lost = self.up["cause"]["lost_beats"].as_u64().unwrap();
        assert_eq!(told, format!("{text} ({lost} beats lost)"));
        let periods = seconds(&self.up, "duration_s").as_secs_f64() / PERIOD.as_secs_f64();
        assert!((lost as f64 - periods).abs() <= 2.0, "{:#}", self.up);
    }

    fn reason(&self, code: &str) -> &str {
        let reason = &self.down["reason"];
        assert_eq!(reason["code"], code, "{:#}", self.down);
        reason["detail"].as_str().unwrap()
    }
}

/// The report of one series that was up, had this outage, and is up again, in the layout of the original.
fn classic(known_since: Timestamp, told: &Told) -> String {
    let on = |at: Timestamp| strtime::format("%a %b %e %H:%M:%S %Y", &at.to_zoned(TimeZone::UTC)).unwrap();
    let (began, ended) = (time(&told.up, "since"), time(&told.up, "ended"));
    let micros = ended.duration_since(began).as_micros();
    let (secs, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let fraction = if fraction == 0 {
        String::new()
    } else {
        format!(".{fraction:06}")
    };
    let (known, began, ended) = (on(known_since), on(began), on(ended));
    format!(
        "Report for {}\nEntry: {known} up\nEntry: {began} down\nEntry: {ended} up\n\
         Outage on {ended} lasted 0:{:02}:{:02}{fraction} (+/- 1sec)\n",
        told.series,
        secs / 60,
        secs % 60
    )
}
