//! Reads the files of a configuration into one [`FilePlan`]: what is written, typed, with every place kept. Decides
//! nothing that needs more than one table.

use std::{collections::HashMap, fs::File, io::Read, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use lapwing_core::kind::nearest;
use toml::de::{DeTable, DeValue};

use super::{
    diagnostic::{At, Place, Problem},
    heartbeat::HeartbeatText,
    keys::{self, Key, TableInfo},
    locate::reason,
    monitor::{Given, MonitorText, read_defaults, read_monitor},
    notify::{self, NotifierText},
    syntax::{self, Broken},
    value::{Node, Reading, nodes},
};

/// Largest configuration file, in bytes.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// All files together, as written.
#[derive(Debug, Default)]
pub(super) struct FilePlan {
    pub(super) defaults: Given,
    pub(super) monitors: Vec<MonitorText>,
    pub(super) notifiers: Vec<NotifierText>,
    /// All names, those of notifiers with errors too.
    pub(super) notifier_names: Vec<Arc<str>>,
    pub(super) tables: Tables,
    /// True when it is not certain what holds for all monitors.
    pub(super) broken: bool,
    /// True when not a single table stands in it.
    pub(super) empty: bool,
}

/// The tables with fixed names; None where a key is not given.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) web: Option<At<Listen>>,
    pub(super) echo: EchoText,
    pub(super) heartbeat: HeartbeatText,
    pub(super) store_path: Option<At<String>>,
    pub(super) raw: Option<Duration>,
    pub(super) max_size: Option<u64>,
    pub(super) level: Option<&'static str>,
    pub(super) format: Option<&'static str>,
}

/// `[echo]`
#[derive(Debug, Default)]
pub(super) struct EchoText {
    pub(super) listen: Option<At<Listen>>,
    pub(super) per_source: Option<i64>,
    pub(super) in_all: Option<i64>,
    pub(super) plain: Option<&'static str>,
}

/// Where to listen; None for nowhere.
pub(super) type Listen = Option<SocketAddr>;

/// Where names were seen first.
#[derive(Default)]
struct Seen {
    defaults: Option<Place>,
    monitors: HashMap<String, Place>,
    notifiers: HashMap<String, Place>,
    tables: HashMap<&'static str, Place>,
}

/// Reads the text of one file; the error says why not.
pub(super) fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| reason(&error))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("it is larger than 64 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = String::from_utf8_lossy(good).matches('\n').count() + 1;
        format!("it is not UTF-8 text (line {line})")
    })
}

/// Reads all files. With errors in the syntax, only what they cannot have caused is told beside them.
pub(super) fn read(reading: &mut Reading<'_>) -> FilePlan {
    let mut plan = FilePlan {
        empty: true,
        ..FilePlan::default()
    };
    let mut seen = Seen::default();
    let mut lines = Vec::new();
    for (file, source) in (0..).zip(reading.sources) {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        lines.extend(syntax::report(reading, file, source, &errors));
        plan.empty &= root.get_ref().is_empty();
        read_root(reading, file, root.get_ref(), &mut plan, &mut seen);
    }
    if !lines.is_empty() {
        let broken = Broken::of(reading, &lines);
        broken.keep_certain(reading);
        plan.broken = seen.defaults.is_some_and(|place| !broken.leaves(place));
        plan.monitors.retain(|monitor| broken.leaves(monitor.at));
        plan.notifiers.retain(|notifier| broken.leaves(notifier.at));
    }
    plan
}

/// Reads an added monitor: the text with this number holds one `[[monitor]]` and nothing else.
pub(super) fn read_added(reading: &mut Reading<'_>, file: u32) -> Option<MonitorText> {
    let source = Arc::clone(reading.sources.get(file as usize)?);
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    syntax::report(reading, file, &source, &errors);
    let mut found = None;
    for node in nodes(file, root.get_ref()) {
        match (node.key, node.value) {
            ("monitor", DeValue::Array(items)) if items.len() == 1 => {
                let header = Place::new(file, &items[0].span());
                if let DeValue::Table(table) = items[0].get_ref() {
                    found = Some(read_monitor(reading, header, table));
                }
            }
            _ => {
                reading.mask_unknown(node);
                reading.error(
                    node.key_at,
                    "an added monitor is one [[monitor]] and nothing else",
                    None,
                );
            }
        }
    }
    if found.is_none() && !reading.failed() {
        reading.error(Place::NONE, "an added monitor is one [[monitor]]", None);
    }
    found
}

/// Reads `[store]` alone.
pub(super) fn read_store(reading: &mut Reading<'_>) -> Tables {
    let mut tables = Tables::default();
    each(reading, "store", |reading, node, table| {
        if let Some(info) = keys::table("store") {
            read_table(reading, node.key_at, info, table, &mut tables);
        }
    });
    tables
}

/// Reads one notifier alone, and the names of all.
pub(super) fn read_notifier(reading: &mut Reading<'_>, name: &str) -> FilePlan {
    let mut plan = FilePlan::default();
    each(reading, "notify", |reading, node, table| {
        for node in nodes(node.at.file, table) {
            plan.notifier_names.push(node.key.into());
            if node.key == name {
                plan.notifiers.extend(notify::read(reading, node));
            }
        }
    });
    plan
}

/// The tables of one name in all files.
fn each(
    reading: &mut Reading<'_>,
    name: &str,
    mut visit: impl FnMut(&mut Reading<'_>, Node<'_>, &DeTable<'_>),
) {
    for (file, source) in (0..).zip(reading.sources) {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        syntax::report(reading, file, source, &errors);
        for node in nodes(file, root.get_ref()).filter(|node| node.key == name) {
            if let DeValue::Table(table) = node.value {
                visit(reading, node, table);
            }
        }
    }
}

fn read_root(reading: &mut Reading<'_>, file: u32, root: &DeTable<'_>, plan: &mut FilePlan, seen: &mut Seen) {
    for node in nodes(file, root) {
        match (node.key, node.value) {
            ("defaults", DeValue::Table(table)) => {
                if let Some(first) = seen.defaults.replace(node.key_at) {
                    twice(reading, node.key_at, first, "a configuration has one [defaults]");
                }
                plan.defaults = read_defaults(reading, file, table);
            }
            ("monitor", DeValue::Array(items)) => {
                for item in items {
                    let header = Place::new(file, &item.span());
                    match item.get_ref() {
                        DeValue::Table(table) => add_monitor(reading, header, table, plan, seen),
                        _ => reading.error(header, "a monitor is a table", HOW_MONITOR.to_owned()),
                    }
                }
            }
            ("notify", DeValue::Table(table)) => {
                for node in nodes(file, table) {
                    let first = seen.notifiers.insert(node.key.to_owned(), node.key_at);
                    if let Some(first) = first {
                        let message = format!("the notifier \"{}\" stands twice", node.key);
                        twice(reading, node.key_at, first, &message);
                    }
                    plan.notifier_names.push(node.key.into());
                    plan.notifiers.extend(notify::read(reading, node));
                }
            }
            (name, value) => match (keys::table(name), value) {
                (Some(info), DeValue::Table(table)) => {
                    if let Some(first) = seen.tables.insert(info.name, node.key_at) {
                        twice(reading, node.key_at, first, &format!("[{name}] stands twice"));
                    }
                    read_table(reading, node.key_at, info, table, &mut plan.tables);
                }
                _ => misplaced(reading, node),
            },
        }
    }
}

const HOW_MONITOR: &str = "write [[monitor]] with two brackets, and name = \"…\" below it";

fn add_monitor(
    reading: &mut Reading<'_>,
    header: Place,
    table: &DeTable<'_>,
    plan: &mut FilePlan,
    seen: &mut Seen,
) {
    let monitor = read_monitor(reading, header, table);
    let name = &monitor.name;
    // Without a name it has an error of its own.
    if !name.value.is_empty() {
        match seen.monitors.get(&name.value) {
            Some(first) => {
                twice(
                    reading,
                    name.place,
                    *first,
                    &format!("the name \"{}\" is given to two monitors", name.value),
                );
            }
            None => {
                seen.monitors.insert(name.value.clone(), name.place);
            }
        }
    }
    plan.monitors.push(monitor);
}

fn twice(reading: &mut Reading<'_>, place: Place, first: Place, message: &str) {
    reading.problem(Problem {
        message: message.to_owned(),
        hint: None,
        place,
        also: Some(("it stands here first", first)),
    });
}

/// What does not belong at the top of a file.
fn misplaced(reading: &mut Reading<'_>, node: Node<'_>) {
    let name = node.key;
    if keys::LATER_TABLES.contains(&name) {
        let table = matches!(node.value, DeValue::Array(_));
        return reading.later(
            node.key_at,
            &if table {
                format!("[[{name}]]")
            } else {
                format!("[{name}]")
            },
        );
    }
    reading.mask_unknown(node);
    let hint = match name {
        "monitor" => HOW_MONITOR.to_owned(),
        "notify" => "write [notify.NAME] above the keys of a notifier".to_owned(),
        "defaults" => "write [defaults] above its keys".to_owned(),
        _ if keys::table(name).is_some() => format!("write [{name}] above its keys"),
        _ if keys::monitor(name).is_some_and(|key| key.in_defaults) => {
            format!("{name} stands in [defaults] or in a [[monitor]]")
        }
        _ if keys::monitor(name).is_some() => format!("{name} stands in a [[monitor]]"),
        _ => {
            let known = ["defaults", "monitor", "notify"]
                .into_iter()
                .chain(keys::TABLES.iter().map(|t| t.name));
            match nearest(name, known.clone()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the tables are: {}", known.collect::<Vec<_>>().join(", ")),
            }
        }
    };
    let message = match name {
        "monitor" | "notify" | "defaults" => format!("{name} is not written as a table"),
        _ => match node.value {
            DeValue::Table(_) => format!("there is no table [{name}]"),
            DeValue::Array(_) => format!("there is no table [[{name}]]"),
            _ => format!("{name} does not belong above the first table"),
        },
    };
    reading.error(node.key_at, message, hint);
}

fn read_table(
    reading: &mut Reading<'_>,
    header: Place,
    info: &'static TableInfo,
    table: &DeTable<'_>,
    tables: &mut Tables,
) {
    for node in nodes(header.file, table) {
        let Some(key) = keys::find(info.keys, node.key) else {
            let owner = format!("[{}]", info.name);
            reading.unknown(
                node,
                &owner,
                &info.keys.iter().map(|k| k.name).collect::<Vec<_>>(),
            );
            continue;
        };
        let at = node.at;
        match (info.name, key.name) {
            ("web", _) => {
                let wanted = listen(reading, node, key);
                tables.web = wanted
                    .filter(|l| local_only(reading, node, *l))
                    .map(|value| At { value, place: at });
            }
            ("echo", "listen") => {
                tables.echo.listen = listen(reading, node, key).map(|value| At { value, place: at });
            }
            ("echo", "per_source") => tables.echo.per_source = reading.integer(node, key),
            ("echo", "in_all") => tables.echo.in_all = reading.integer(node, key),
            ("echo", _) => tables.echo.plain = reading.choice(node, key),
            ("heartbeat", _) => tables.heartbeat.read(reading, node, key),
            ("store", "path") => {
                tables.store_path = reading.text(node, key).map(|value| At { value, place: at });
            }
            ("store", "raw") => tables.raw = raw(reading, node, key),
            ("store", _) => tables.max_size = size(reading, node, key),
            ("log", "level") => tables.level = reading.choice(node, key),
            _ => tables.format = reading.choice(node, key),
        }
    }
    let listens = |name: &str| table.contains_key(name);
    if info.name == "echo" && !listens("listen") {
        reading.error(
            header,
            "[echo] lacks listen",
            "for example: listen = \"127.0.0.1:7007\"".to_owned(),
        );
    }
    if info.name == "heartbeat" && !listens("listen") && !listens("http") {
        let hint =
            "for example: listen = \"0.0.0.0:7777\" for sensors, http = \"0.0.0.0:7778\" for pings with curl";
        reading.error(header, "[heartbeat] has neither listen nor http", hint.to_owned());
    }
}

/// Shortest time that observations are kept: reports and the page look back that far.
const SHORTEST_RAW: Duration = Duration::from_hours(1);

fn raw(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Option<Duration> {
    let raw = reading.duration(node, key)?;
    if raw < SHORTEST_RAW {
        reading.error(
            node.at,
            format!("raw = {} is too short", reading.literal(node.at)),
            "it is at least 1h".to_owned(),
        );
        return None;
    }
    Some(raw)
}

pub(super) fn listen(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Option<Listen> {
    if let DeValue::Boolean(false) = node.value {
        reading.error(
            node.at,
            format!("{} = false is not an address", key.name),
            format!("write {} = \"off\"", key.name),
        );
        return None;
    }
    let text = match node.value {
        DeValue::Integer(port) => port.as_str().to_owned(),
        _ => reading.text(node, key)?,
    };
    if text == "off" {
        return Some(None);
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(Some(addr));
    }
    let port = text.rsplit(':').next().unwrap_or_default().parse::<u16>().ok();
    let hint = match port {
        Some(port) => format!(
            "an address and a port: \"127.0.0.1:{port}\" for this machine, \"0.0.0.0:{port}\" for all"
        ),
        None => format!("for example: {} = {}; \"off\" for none", key.name, key.example),
    };
    reading.error(
        node.at,
        format!(
            "{} = {} is not an address and port",
            key.name,
            reading.literal(node.at)
        ),
        hint,
    );
    None
}

/// The status page asks nobody who they are: what is wider than this machine is refused.
fn local_only(reading: &mut Reading<'_>, node: Node<'_>, wanted: Listen) -> bool {
    let Some(wide) = wanted.filter(|addr| !addr.ip().is_loopback()) else {
        return true;
    };
    reading.error(
        node.at,
        format!("the status page has no authentication in this version, so it cannot listen on {wide}"),
        format!(
            "write \"127.0.0.1:{}\", and put a web server with authentication before it",
            wide.port()
        ),
    );
    false
}

/// Smallest `max_size`: less holds no useful past.
const SMALLEST_STORE: u64 = 10_000_000;

fn size(reading: &mut Reading<'_>, node: Node<'_>, key: &Key) -> Option<u64> {
    let text = match node.value {
        DeValue::Integer(bytes) => bytes.as_str().to_owned(),
        _ => reading.text(node, key)?,
    };
    let Some(bytes) = parse_size(&text) else {
        reading.wrong(node, key, "a size, like \"500MB\" or \"10GB\"");
        return None;
    };
    if bytes < SMALLEST_STORE {
        let message = format!("{} = {} is too small", key.name, reading.literal(node.at));
        reading.error(node.at, message, "it is at least 10MB".to_owned());
        return None;
    }
    Some(bytes)
}

/// Bytes: `500MB` (powers of 1000), `1GiB` (powers of 1024), or a plain number.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit: f64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "tb" | "t" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024f64.powi(2),
        "gib" => 1024f64.powi(3),
        "tib" => 1024f64.powi(4),
        _ => return None,
    };
    let bytes = number * unit;
    (bytes.is_finite() && bytes < 1e18).then_some(bytes as u64)
}

/// A size as it is written: the largest unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1000),
    ];
    let unit = units
        .into_iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(
        || bytes.to_string(),
        |(unit, size)| format!("{}{unit}", bytes / size),
    )
}
