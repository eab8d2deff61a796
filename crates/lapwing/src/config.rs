//! Reads a configuration: from text with places, over typed values, to the plan that the engine runs. `config check`
//! runs this same code. Never shows a secret, never stops at the first error.

mod added;
mod command_line;
mod credentials;
mod diagnostic;
mod effective;
mod environment;
mod file;
mod heartbeat;
mod hosts;
pub mod keys;
mod locate;
mod monitor;
mod names;
mod notify;
mod options;
mod plan;
mod schema;
mod secrets;
mod senders;
mod show;
mod stored;
mod syntax;
#[cfg(test)]
mod tests;
mod value;
mod vocabulary;
mod zones;

pub use added::{LeftOut, Origins, Unwatched, added_by};
pub use command_line::{Check, checks, kinds};
pub use credentials::{is_credential, secret_files};
pub use diagnostic::Report;
pub use environment::Environment;
pub use heartbeat::is_key;
pub use locate::{default_path, is_configuration, locate, reason};
pub use schema::schema;
pub use secrets::secret_file;
pub use show::{key, quoted};
pub use vocabulary::is_secret;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use lapwing_core::{
    kind::Options,
    monitor::{Adoption, Plan},
};
use lapwing_link::{
    echo::{EchoSettings, Plain},
    heartbeat::Roster,
};
use lapwing_notify::Built;
use lapwing_probe::Prober;
use lapwing_store::added::Added;
use lapwing_wire::heartbeat::SensorId;

use self::{
    added::{Files, Parts},
    diagnostic::{At, Place, Source, line_starts},
    file::{FilePlan, Tables},
    monitor::Given,
    plan::{Planned, Planner},
    value::Reading,
};

/// A configuration, ready to run.
#[derive(Clone)]
pub struct Loaded {
    pub plan: Plan,
    /// By the key of the series.
    pub probers: Arc<HashMap<Arc<str>, Prober>>,
    pub notifiers: BTreeMap<String, Arc<Built>>,
    /// Where the status page listens; None for nowhere.
    pub web: Option<SocketAddr>,
    pub store: Store,
    /// The echo server; None for none.
    pub echo: Option<EchoSettings>,
    pub heartbeat: Heartbeat,
    pub log: Log,
    /// What was read: a file or a folder.
    pub source: PathBuf,
    /// Changes when a file of the configuration, or a list of hosts, does. Secrets are not part of it.
    pub fingerprint: u64,
    /// Notifiers that write to files, and the paths.
    pub alert_files: Vec<(String, String)>,
    /// All monitors that were added while the daemon runs.
    pub added: Vec<Arc<Added>>,
    pub origins: Arc<Origins>,
    parts: Arc<Parts>,
    files: Arc<Files>,
}

/// Without the probers, which hold secrets.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Loaded");
        shown
            .field("source", &self.source)
            .field("fingerprint", &self.fingerprint)
            .field("plan", &self.plan);
        shown.finish_non_exhaustive()
    }
}

impl Loaded {
    /// How many monitors the series belong to.
    pub fn monitor_count(&self) -> usize {
        // The series of a monitor stand together.
        let starts = self
            .plan
            .series
            .windows(2)
            .filter(|pair| !Arc::ptr_eq(&pair[0].monitor, &pair[1].monitor));
        if self.plan.series.is_empty() {
            0
        } else {
            starts.count() + 1
        }
    }
}

/// A line for each file that alerts are written to.
pub fn alert_files(loaded: &Loaded) -> Vec<String> {
    let line = |(name, path): &(String, String)| format!("the notifier {name} writes to {path}");
    loaded.alert_files.iter().map(line).collect()
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub path: PathBuf,
    /// How long single observations are kept.
    pub raw: Duration,
    /// In bytes.
    pub max_size: u64,
}

/// `[heartbeat]` and the monitors of heartbeats: where senders report in, and who they are.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Where datagrams are listened for; None for nowhere.
    pub listen: Option<SocketAddr>,
    /// Where pings are listened for; None for nowhere.
    pub http: Option<SocketAddr>,
    pub roster: Arc<Roster>,
    /// The heartbeat that has neither a key nor `from`; there is one at most.
    pub open: Option<SensorId>,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: tracing::Level,
    pub format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
    Journald,
}

/// The status page's port where nothing else is said.
pub const WEB_PORT: u16 = 8480;

/// Reads the configuration at `path`, a file or a folder, and gives it ready to run, or every error in it.
pub fn load(path: &Path, env: &Environment) -> Result<Loaded, Report> {
    read(path, env, |_, _| ()).map(|(loaded, ())| loaded)
}

/// The configuration at `path` as it is in effect, as TOML: defaults filled in, secrets as `***`. A configuration with
/// errors shows none but those.
pub fn effective(path: &Path, env: &Environment) -> Result<String, Report> {
    let (loaded, parts) = read(path, env, show::Parts::of)?;
    Ok(show::toml(&loaded, &parts))
}

/// Reads all, and lets `keep` take what it needs of what was written.
fn read<T>(
    path: &Path,
    env: &Environment,
    keep: impl FnOnce(&FilePlan, &[Planned]) -> T,
) -> Result<(Loaded, T), Report> {
    let sources = sources(path)?;
    let mut reading = Reading::new(env, &sources);
    let file = file::read(&mut reading);
    let system = TimeZone::system();
    let zone = zone(&file.defaults, &system);
    let (notifiers, policies) = notify::build(&mut reading, &file.notifiers);
    let mut planner = Planner::new(&file.defaults, &system, &file.notifier_names);
    let (planned, adopt) = plan_all(&mut reading, &mut planner, &file, &system);
    let Planner {
        series,
        probers,
        senders,
        ..
    } = planner;
    let heartbeat = senders.heartbeat(&mut reading, &file.tables.heartbeat);
    let echo = echo(&file.tables);
    not_empty(&mut reading, &file, path);
    let (lists, unshown) = reading.done()?;
    let kept = keep(&file, &planned);
    let plan = Plan {
        series,
        notifiers: policies,
        zone: Some(zone),
        adopt,
    };
    let probers = Arc::new(probers);
    let origins = Arc::new(Origins::of_files(&sources, &file.monitors));
    let loaded = Loaded {
        alert_files: notify::files(&file.notifiers),
        web: web(&file.tables),
        store: store(&file.tables, folder_of(path), env),
        echo,
        log: log(&file.tables),
        source: path.to_owned(),
        fingerprint: fingerprint(sources.iter().map(|source| &**source).chain(&lists)),
        added: Vec::new(),
        origins: Arc::clone(&origins),
        parts: Arc::new(Parts::default()),
        files: Arc::new(Files {
            plan: plan.clone(),
            probers: Arc::clone(&probers),
            heartbeat: heartbeat.clone(),
            defaults: file.defaults,
            system,
            notifiers: file.notifier_names,
            listens: file.tables.heartbeat,
            sources,
            unshown,
            origins,
        }),
        plan,
        probers,
        notifiers,
        heartbeat,
    };
    Ok((loaded, kept))
}

/// Plans every monitor, and how unknown senders are judged.
fn plan_all(
    reading: &mut Reading<'_>,
    planner: &mut Planner<'_>,
    file: &FilePlan,
    system: &TimeZone,
) -> (Vec<Planned>, Option<Adoption>) {
    // What a broken file seems to say would be told as errors that it does not have.
    if file.broken {
        return (Vec::new(), None);
    }
    options::check_defaults(reading, &file.defaults.options);
    let monitors = file.monitors.iter();
    let planned = monitors.map(|monitor| planner.add(reading, monitor)).collect();
    ports(reading, &file.tables);
    planner.senders.check(reading, &file.tables.heartbeat, 0);
    let adopt = planner.adoption(reading, &file.tables.heartbeat, system);
    (planned, adopt)
}

/// The time zone where a monitor has none of its own.
fn zone(defaults: &Given, system: &TimeZone) -> TimeZone {
    let given = defaults.timezone.as_ref();
    given.map_or_else(|| system.clone(), |(_, zone)| zone.clone())
}

/// Monitors can be added later, but what says nothing at all is a mistake.
fn not_empty(reading: &mut Reading<'_>, file: &FilePlan, path: &Path) {
    if file.empty && !reading.failed() {
        let hint =
            "write a [[monitor]] into it; \"lapwing config init\" writes a file to start from".to_owned();
        reading.error(Place::NONE, format!("{} is empty", path.display()), hint);
    }
}

/// The data folder of the configuration at `path`. Reads nothing else of it: whoever reports need not have the
/// secrets of the daemon.
pub fn store_path(path: &Path, env: &Environment) -> Result<PathBuf, Report> {
    let sources = sources(path)?;
    let mut reading = Reading::new(env, &sources);
    let tables = file::read_store(&mut reading);
    reading.done()?;
    Ok(store(&tables, folder_of(path), env).path)
}

/// The data folder of a configuration that has mistakes, as far as it can be told in spite of them: where nothing is
/// read of another one, that is the usual one.
pub fn likely_store_path(path: &Path, env: &Environment) -> PathBuf {
    let sources = sources(path).unwrap_or_default();
    let alone = |source: &Arc<Source>| {
        Arc::new(Source {
            path: source.path.clone(),
            text: table_text(&source.text, "[store]").to_owned(),
        })
    };
    // What is not closed before a table may swallow it.
    let sources: Vec<_> = sources.iter().map(alone).collect();
    let mut tables = file::read_store(&mut Reading::new(env, &sources));
    tables.store_path.take_if(|path| path.value.is_empty());
    store(&tables, folder_of(path), env).path
}

/// The lines of the table with this head alone; all of the text where there is none.
fn table_text<'t>(text: &'t str, head: &str) -> &'t str {
    let starts = line_starts(text).into_iter();
    let mut rests = starts.map(|at| &text[at as usize..]);
    let Some(table) = rests.find(|rest| rest.starts_with(head)) else {
        return text;
    };
    let next = rests.find(|rest| rest.starts_with('['));
    &table[..table.len() - next.map_or(0, str::len)]
}

/// The options of one notifier as they are given, secrets included. Reads nothing else of the configuration.
pub fn notifier_options(path: &Path, env: &Environment, name: &str) -> Result<Options, Report> {
    let sources = sources(path)?;
    let mut reading = Reading::new(env, &sources);
    let file = file::read_notifier(&mut reading, name);
    if !file.notifier_names.iter().any(|n| &**n == name) {
        let wanted = At {
            value: name.to_owned(),
            place: Place::NONE,
        };
        plan::unknown_notifier(&mut reading, &wanted, &file.notifier_names);
    }
    reading.done()?;
    let found = file.notifiers.first();
    let options = found.map(|n| {
        n.options
            .iter()
            .map(|o| (o.name.as_str(), o.value.clone()))
            .collect()
    });
    Ok(options.unwrap_or_default())
}

fn folder_of(path: &Path) -> &Path {
    if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new(""))
    }
}

fn sources(path: &Path) -> Result<Vec<Arc<Source>>, Report> {
    let unreadable =
        |path: &Path, why: &str| Report::one(format!("{} cannot be read: {why}", path.display()), None);
    let files = locate::files(path).map_err(|error| unreadable(path, &reason(&error)))?;
    if files.is_empty() {
        let hint = "\"lapwing config init\" writes one to start from".to_owned();
        return Err(Report::one(
            format!("the folder {} holds no *.toml", path.display()),
            Some(hint),
        ));
    }
    let read = |path: PathBuf| match file::text_of(&path) {
        // A mark that some editors put at the beginning.
        Ok(text) => Ok(Arc::new(Source {
            text: text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text),
            path,
        })),
        Err(why) => Err(unreadable(&path, &why)),
    };
    files.into_iter().map(read).collect()
}

/// Two listeners cannot have one port, unless one has it for UDP and the other for TCP.
fn ports(reading: &mut Reading<'_>, tables: &Tables) {
    let web_at = tables.web.as_ref().map_or(Place::NONE, |web| web.place);
    let echo = tables
        .echo
        .listen
        .as_ref()
        .and_then(|e| Some((e.value?, e.place)));
    let (udp, http) = (tables.heartbeat.udp(), tables.heartbeat.http());
    let mut tcp = Vec::new();
    tcp.extend(web(tables).map(|addr| ("the status page", (addr, web_at), "its usual port is 8480")));
    tcp.extend(echo.map(|echo| ("the echo server", echo, "the echo server's usual port is 7007")));
    tcp.extend(http.map(|http| ("[heartbeat] http", http, "its usual port is 7778")));
    let mut datagrams = Vec::new();
    datagrams.extend(echo.map(|echo| ("the echo server", echo, "its usual port is 7007")));
    datagrams.extend(udp.map(|udp| ("[heartbeat] listen", udp, "its usual port is 7777")));
    for listeners in [tcp, datagrams] {
        for (n, (_, (addr, place), hint)) in listeners.iter().enumerate() {
            let taken = listeners[..n]
                .iter()
                .find(|(_, (other, _), _)| same_place(*addr, *other));
            if let Some((name, (other, _), _)) = taken {
                reading.error(
                    *place,
                    format!("{name} already listens on {other}"),
                    (*hint).to_owned(),
                );
            }
        }
    }
}

fn same_place(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same
}

/// The echo server's settings, where it is to listen.
fn echo(tables: &Tables) -> Option<EchoSettings> {
    let text = &tables.echo;
    let mut settings = EchoSettings::new(text.listen.as_ref()?.value?);
    let rate = |given: Option<i64>| given.and_then(|rate| u32::try_from(rate).ok());
    settings.per_source = rate(text.per_source).unwrap_or(settings.per_source);
    settings.in_all = rate(text.in_all).unwrap_or(settings.in_all);
    settings.plain = match text.plain {
        Some("refused") => Plain::Refused,
        Some("allowed") => Plain::Allowed,
        _ => Plain::Guarded,
    };
    Some(settings)
}

fn web(tables: &Tables) -> Option<SocketAddr> {
    tables
        .web
        .as_ref()
        .map_or_else(|| Some((Ipv4Addr::LOCALHOST, WEB_PORT).into()), |web| web.value)
}

fn store(tables: &Tables, folder: &Path, env: &Environment) -> Store {
    let path = match (&tables.store_path, env.folder("STATE_DIRECTORY")) {
        (Some(path), _) => folder.join(&path.value),
        (None, Some(state)) => state,
        // Programs do not write below /etc; where a service has its data, everybody looks for it.
        (None, None) if std::path::absolute(folder).is_ok_and(|f| f.starts_with("/etc/lapwing")) => {
            PathBuf::from("/var/lib/lapwing")
        }
        (None, None) => folder.join("data"),
    };
    Store {
        path,
        raw: tables.raw.unwrap_or(Duration::from_hours(30 * 24)),
        max_size: tables.max_size.unwrap_or(10_000_000_000),
    }
}

fn log(tables: &Tables) -> Log {
    Log {
        level: tables
            .level
            .and_then(|l| l.parse().ok())
            .unwrap_or(tracing::Level::INFO),
        format: match tables.format {
            Some("json") => LogFormat::Json,
            Some("journald") => LogFormat::Journald,
            _ => LogFormat::Text,
        },
    }
}

/// FNV-1a, 64 bit, of all names and texts: the same in every version.
fn fingerprint<'s>(sources: impl Iterator<Item = &'s Source>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    sources.fold(0xcbf2_9ce4_8422_2325, |hash, source| {
        let name = source.path.file_name().unwrap_or_default().as_encoded_bytes();
        let bytes = name
            .iter()
            .chain(b"\0")
            .chain(source.text.as_bytes())
            .chain(b"\0");
        bytes.fold(hash, |hash, byte| step(hash, *byte))
    })
}
