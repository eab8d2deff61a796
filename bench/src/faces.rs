//! How fast the daemon answers people and their programs: the requests of `lapwing top`, completion and the lists.

use std::{path::Path, time::Duration};

use anyhow::Context as _;

use crate::{
    clock,
    daemon::{Daemon, START},
    load::Load,
    proc::Cpu,
    sink::Sink,
    startup::median,
    status, table,
};

/// What is asked for, and by whom.
const REQUESTS: [(&str, &str); 7] = [
    (
        "top: a page, what needs somebody first",
        "/api/v1/series?limit=60",
    ),
    (
        "top: a page in the middle",
        "/api/v1/series?sort=target&offset=50000&limit=60",
    ),
    ("top: a search", "/api/v1/series?search=127.2.3&limit=60"),
    (
        "completion: a prefix of names",
        "/api/v1/names?prefix=load/127.2&limit=100",
    ),
    ("list", "/api/v1/monitors"),
    ("a page of 10,000", "/api/v1/series?limit=10000"),
    ("status: everything", "/api/v1/status"),
];
/// Between the rounds: longer than the daemon's look at everything serves, so that the first request needs a new one.
const PAUSE: Duration = Duration::from_millis(1_050);

/// Prints how long each request takes when the daemon must look anew, and when it has just looked, and what the daemon
/// pays for one, its checks of that moment included.
pub(crate) fn run(load: &Load, rounds: usize, lapwing: &Path) -> anyhow::Result<()> {
    let sink = Sink::open()?;
    let mut daemon = Daemon::start(&load.configuration(sink.port), lapwing)?;
    let wanted = u64::from(load.monitors);
    let socket = daemon.socket();
    daemon.until("is not up", load.interval * 2 + START, || {
        Ok(status::ask(&socket)?.is_some_and(|status| status.count("up") == wanted))
    })?;
    table::say(&table::head(&[
        "request",
        "new look ms (median)",
        "again ms (median)",
        "daemon's CPU ms",
    ]))?;
    for (name, path) in REQUESTS {
        let (mut first, mut again, mut used) = (Vec::new(), Vec::new(), Cpu::default());
        for _ in 0..rounds {
            std::thread::sleep(PAUSE);
            let before = Cpu::of_process(daemon.id())?;
            first.push(timed(&socket, path)?);
            again.push(timed(&socket, path)?);
            let now = Cpu::of_process(daemon.id())?.since(before);
            used = Cpu {
                user: used.user + now.user,
                system: used.system + now.system,
            };
        }
        let each = used.total().as_secs_f64() * 1e3 / (2 * rounds) as f64;
        table::say(&table::row(&[
            name.to_owned(),
            millis(median(&mut first)),
            millis(median(&mut again)),
            format!("{each:.0}"),
        ]))?;
    }
    daemon.stop()?;
    Ok(())
}

fn timed(socket: &Path, path: &str) -> anyhow::Result<Duration> {
    let begun = clock::now();
    let answer = status::get(socket, path)?.context("the daemon is gone")?;
    let took = begun.elapsed();
    status::body(&answer)?;
    Ok(took)
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
