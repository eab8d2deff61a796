//! Keyed sensors on a real daemon: a hundred thousand at their usual pace, and a few beside a flood of datagrams that
//! are none. What was lost is a failure of the run.

mod fleet;

use std::{
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use self::fleet::{Fleet, Flood, Tally};
use crate::{
    clock,
    daemon::{self, Daemon},
    load::{ALERTS, DATA},
    proc::{Cpu, Size},
    status::Listener,
    table,
};

/// Where the keys of the sensors lie, in the daemon's folder.
const KEYS: &str = "keys";
/// Between beats of the sensors beside a flood.
const FLOOD_PERIOD: Duration = Duration::from_secs(10);
/// How much memory a flood may cost, MiB.
const GROWTH: f64 = 16.0;

/// What was measured over a window.
#[derive(Debug)]
struct Figures {
    tally: Tally,
    /// Datagrams of the window by the daemon's own count: beats that count, and those that the system dropped.
    judged: u64,
    dropped: u64,
    false_downs: u64,
    cpu: Cpu,
    length: Duration,
    before: Size,
    after: Size,
}

/// `sensors` at their `period`, as one row.
pub(crate) fn steady(sensors: u32, period: Duration, window: Duration, lapwing: &Path) -> anyhow::Result<()> {
    let found = measure(sensors, period, window, None, lapwing)?;
    let Figures { tally, judged, .. } = &found;
    let (user, system) = found.cpu.each(tally.sent as f64);
    table::say(&table::head(&[
        "sensors",
        "period",
        "beats/s",
        "beats",
        "judged",
        "acknowledged",
        "ack p50 ms",
        "p99",
        "false downs",
        "CPU %",
        "CPU µs/beat",
        "RSS MiB",
        "peak",
    ]))?;
    table::say(&table::row(&[
        table::count(f64::from(sensors)),
        format!("{} s", period.as_secs_f64()),
        table::count(tally.sent as f64 / found.length.as_secs_f64()),
        table::count(tally.sent as f64),
        table::count(*judged as f64),
        table::count(tally.acknowledged() as f64),
        format!("{:.0}", tally.answered_within(0.5)),
        format!("{:.0}", tally.answered_within(0.99)),
        found.false_downs.to_string(),
        format!("{:.1}", found.percent()),
        format!("{:.1}", user + system),
        format!("{:.1}", found.after.rss),
        format!("{:.1}", found.after.peak),
    ]))?;
    ensure!(*judged == tally.sent, "beats were lost");
    ensure!(found.false_downs == 0, "a sensor that beat was called down");
    Ok(())
}

/// `good` beats beside `flood` malformed datagrams each second, as one row.
pub(crate) fn flood(flood: u32, good: u32, window: Duration, lapwing: &Path) -> anyhow::Result<()> {
    let sensors = (f64::from(good) * FLOOD_PERIOD.as_secs_f64()) as u32;
    let found = measure(sensors, FLOOD_PERIOD, window, Some(flood), lapwing)?;
    let growth = found.growth();
    let Figures { tally, judged, .. } = &found;
    table::say(&table::head(&[
        "malformed/s",
        "good/s",
        "seconds",
        "malformed",
        "good",
        "judged",
        "acknowledged",
        "dropped",
        "false downs",
        "CPU %",
        "RSS before MiB",
        "after",
        "growth at most",
    ]))?;
    table::say(&table::row(&[
        table::count(tally.malformed as f64 / found.length.as_secs_f64()),
        table::count(tally.sent as f64 / found.length.as_secs_f64()),
        format!("{:.0}", found.length.as_secs_f64()),
        table::count(tally.malformed as f64),
        table::count(tally.sent as f64),
        table::count(*judged as f64),
        table::count(tally.acknowledged() as f64),
        found.dropped.to_string(),
        found.false_downs.to_string(),
        format!("{:.1}", found.percent()),
        format!("{:.1}", found.before.rss),
        format!("{:.1}", found.after.rss),
        format!("{growth:.1}"),
    ]))?;
    ensure!(*judged == tally.sent, "good beats were lost");
    ensure!(found.false_downs == 0, "a sensor that beat was called down");
    ensure!(growth < GROWTH, "the flood cost {growth:.1} MiB");
    Ok(())
}

impl Figures {
    /// By how much the daemon was at most larger in the window than before it, MiB.
    fn growth(&self) -> f64 {
        let higher = self.after.peak > self.before.peak;
        let most = if higher { self.after.peak } else { self.after.rss };
        most - self.before.rss
    }

    /// Of one processor.
    fn percent(&self) -> f64 {
        100.0 * self.cpu.total().as_secs_f64() / self.length.as_secs_f64()
    }
}

/// Starts a daemon with so many sensors, lets each beat once, and measures it over `window`.
fn measure(
    sensors: u32,
    period: Duration,
    window: Duration,
    flood: Option<u32>,
    lapwing: &Path,
) -> anyhow::Result<Figures> {
    let folder = daemon::folder()?;
    write_keys(&folder.path().join(KEYS), sensors)?;
    let mut daemon = Daemon::start_in(folder, &configuration(sensors, period), lapwing)?;
    let found = observe(&mut daemon, sensors, period, window, flood);
    daemon.stop()?;
    found.with_context(|| format!("the daemon's last words: {}", daemon.last_words()))
}

fn observe(
    daemon: &mut Daemon,
    sensors: u32,
    period: Duration,
    window: Duration,
    flood: Option<u32>,
) -> anyhow::Result<Figures> {
    let address = listener(daemon)?.address;
    let rate = f64::from(sensors) / period.as_secs_f64();
    let mut fleet = Fleet::new(address, sensors)?;
    fleet.run(period, rate, None)?;
    let up = daemon.status()?.count("up");
    ensure!(
        up == u64::from(sensors),
        "{up} of {sensors} sensors are up after their first beat"
    );

    let before = listener(daemon)?;
    let (begun, used) = (clock::now(), Cpu::of_process(daemon.id())?);
    let size = Size::of_process(daemon.id())?;
    let mut malformed = flood.map(|rate| Flood::new(address, rate)).transpose()?;
    let tally = fleet.run(window, rate, malformed.as_mut())?;
    let (length, cpu) = (begun.elapsed(), Cpu::of_process(daemon.id())?.since(used));
    let after_size = Size::of_process(daemon.id())?;
    let after = listener(daemon)?;
    let since = |name| after.count(name) - before.count(name);
    let down = u64::from(sensors) - daemon.status()?.count("up");
    Ok(Figures {
        judged: since("beats"),
        dropped: since("kernel_dropped"),
        false_downs: daemon.alerts().max(down),
        tally,
        cpu,
        length,
        before: size,
        after: after_size,
    })
}

/// Waits until the heartbeat listener is open.
fn listener(daemon: &mut Daemon) -> anyhow::Result<Listener> {
    let begun = clock::now();
    loop {
        if let Some(status) = daemon.early_status()? {
            return status.heartbeats();
        }
        ensure!(begun.elapsed() < daemon::START, "the daemon does not listen");
        daemon.until("has ended", Duration::ZERO, || Ok(true))?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One file for each sensor, which only its owner can read.
fn write_keys(folder: &Path, sensors: u32) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for number in 0..sensors {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.join(fleet::name(number)))?;
        std::io::Write::write_all(&mut file, fleet::key(number).as_bytes())?;
    }
    Ok(())
}

fn configuration(sensors: u32, period: Duration) -> String {
    let mut text = format!(
        "[notify.alerts]\ntype = \"file\"\npath = \"{ALERTS}\"\n\n[web]\nlisten = \"off\"\n\n\
         [heartbeat]\nlisten = \"127.0.0.1:0\"\n\n[store]\npath = \"{DATA}\"\n\n[log]\nlevel = \"warn\"\n\n"
    );
    for number in 0..sensors {
        let name = fleet::name(number);
        text += &format!(
            "[[monitor]]\nname = \"{name}\"\ntarget = \"heartbeat:{name}\"\nperiod = \"{}ms\"\n\
             key = {{ file = \"{KEYS}/{name}\" }}\n\n",
            period.as_millis()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sensor_has_a_monitor_and_a_key_of_its_own() {
        let folder = daemon::folder().unwrap();
        let keys = folder.path().join(KEYS);
        write_keys(&keys, 3).unwrap();
        let read = |number| fs::read_to_string(keys.join(fleet::name(number))).unwrap();
        assert_ne!(read(1), read(2));
        let mode = fs::metadata(keys.join(fleet::name(1)))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = configuration(3, Duration::from_secs(30));
        assert_eq!(text.matches("[[monitor]]").count(), 3);
        let expected =
            "target = \"heartbeat:s000002\"\nperiod = \"30000ms\"\nkey = { file = \"keys/s000002\" }";
        assert!(text.contains(expected), "{text}");
    }
}
