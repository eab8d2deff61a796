//! Reports for the tests of every format.

use lapwing_api::{
    report::{CauseShape, OutageShape, ReportShape, SeriesReport, SliceShape},
    shapes::Reason,
};

pub(crate) fn report(series: Vec<SeriesReport>) -> ReportShape {
    ReportShape {
        v: 1,
        version: "1.2.3".to_owned(),
        at: "2020-12-20T16:28:32.922098Z".to_owned(),
        running: true,
        from: "2020-12-20T12:28:32.922098Z".to_owned(),
        to: "2020-12-20T16:28:32.922098Z".to_owned(),
        formula: "uptime = up / (up + down), by time; unknown time is left out".to_owned(),
        edges: Vec::new(),
        series,
    }
}

pub(crate) fn series(name: &str) -> SeriesReport {
    SeriesReport {
        series: name.to_owned(),
        monitor: name.to_owned(),
        target: format!("heartbeat:{name}"),
        watched: true,
        known_since: None,
        uptime_percent: None,
        up_s: 0.0,
        down_s: 0.0,
        unknown_s: 14_400.0,
        longest_outage_s: None,
        mtbf_s: None,
        mttr_s: None,
        outages: Vec::new(),
        slices: Vec::new(),
    }
}

pub(crate) fn outage(began: &str, ended: Option<&str>, length_s: f64) -> OutageShape {
    OutageShape {
        began: began.to_owned(),
        ended: ended.map(ToOwned::to_owned),
        ongoing: ended.is_none(),
        length_s,
        uncertainty_s: Some(30.0),
        reason: Reason {
            code: "heartbeat.late".to_owned(),
            detail: "no beat for 3m".to_owned(),
        },
        cause: None,
        failed_checks: 1,
        recovered: ended.is_some(),
        evidence: Vec::new(),
    }
}

/// Four hours of a home line: one outage with a cause, one that lasts, and an hour in which nothing is known.
pub(crate) fn home() -> ReportShape {
    let mut home = series("home");
    home.known_since = Some("2020-12-20T13:28:32.922098Z".to_owned());
    let mut cut = outage(
        "2020-12-20T15:08:30.000000Z",
        Some("2020-12-20T15:11:56.611862Z"),
        206.611_862,
    );
    cut.cause = Some(CauseShape {
        kind: "line".to_owned(),
        text: "line down, sensor kept running (7 beats lost)".to_owned(),
        silent_s: 236.6,
        uptime_s: Some(7_200.0),
        lost_beats: Some(7),
    });
    let mut lasts = outage("2020-12-20T16:07:14.000000Z", None, 1_278.922_098);
    lasts.uncertainty_s = None;
    home.outages = vec![cut, lasts];
    let slice = |up_s, down_s, unknown_s| SliceShape {
        up_s,
        down_s,
        unknown_s,
    };
    home.slices = vec![
        slice(0.0, 0.0, 3_600.0),
        slice(3_600.0, 0.0, 0.0),
        slice(3_393.388_138, 206.611_862, 0.0),
        slice(2_321.077_902, 1_278.922_098, 0.0),
    ];
    home.up_s = home.slices.iter().map(|s| s.up_s).sum();
    home.down_s = home.slices.iter().map(|s| s.down_s).sum();
    home.unknown_s = 3_600.0;
    home.uptime_percent = Some(home.up_s * 100.0 / (home.up_s + home.down_s));
    home.longest_outage_s = Some(1_278.922_098);
    (home.mtbf_s, home.mttr_s) = (Some(home.up_s / 2.0), Some(206.611_862));
    let mut report = report(vec![home]);
    report.edges = (12..17)
        .map(|hour| format!("2020-12-20T{hour}:28:32.922098Z"))
        .collect();
    report
}
