//! What a sensor was told: on the command line, in its file (the JSON of the netmonitor script, or TOML with the same
//! keys), in the environment. The command line wins. A key is never taken from the command line, nor shown.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use lapwing_core::{
    secret::Secret,
    target::Host,
    time::{parse_duration, short},
};
use lapwing_link::sensor::{Identity, Level, Server, Word};
use lapwing_wire::heartbeat::{DEFAULT_PORT, SensorId};
use serde_json::{Map, Value};

use crate::{
    cli::Failure,
    config::{self, Environment},
};

const PERIOD: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(24);
/// Longest file of options, in bytes.
const FILE_MAX: u64 = 64 * 1024;
const KEY: &str = "LAPWING_SENSOR_KEY";
const KEY_FILE: &str = "LAPWING_SENSOR_KEY_FILE";

#[derive(Debug, Default, Args)]
pub(super) struct Options {
    /// The monitor [default port: 7777]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) server: Option<String>,
    /// The NAME of the monitor's target heartbeat:NAME [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub(super) id: Option<String>,
    /// File with the key; only you may be able to read it
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// Time between two beats, 1s to 1d [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(super) period: Option<String>,
    /// Folder where a restart is told from a boot [default: $STATE_DIRECTORY, ~/.local/state/lapwing/]
    #[arg(long, value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
    /// File with server, port, id, key_file and period: sensor.json of netmonitor, or TOML
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Say each beat
    #[arg(long, short)]
    pub(super) verbose: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) server: Server,
    pub(super) identity: Option<Identity>,
    pub(super) period: Duration,
    /// None where nothing names a folder.
    pub(super) state: Option<PathBuf>,
    pub(super) warnings: Vec<Word>,
}

pub(super) fn choose(options: &Options, environment: &Environment) -> Result<Chosen, Failure> {
    let mut warnings = Vec::new();
    let file = match &options.config {
        Some(path) => read(path, &mut warnings).map_err(Failure::usage)?,
        None => FileOptions::default(),
    };
    let identity = identity(options, &file, environment)?;
    let period = options.period.as_ref().or(file.period.as_ref());
    Ok(Chosen {
        server: server(options, &file)?,
        identity,
        period: period.map_or(Ok(PERIOD), |text| length(text))?,
        state: state_folder(options.state.as_deref(), environment),
        warnings,
    })
}

/// What stood in the file.
#[derive(Debug, Default, PartialEq, Eq)]
struct FileOptions {
    server: Option<String>,
    port: Option<u16>,
    id: Option<String>,
    key_file: Option<String>,
    period: Option<String>,
}

fn read(path: &Path, warnings: &mut Vec<Word>) -> Result<FileOptions, String> {
    let shown = path.display();
    let unreadable = |error: io::Error| format!("{shown} cannot be read: {}", config::reason(&error));
    let mut text = String::new();
    let open = File::open(path).map_err(unreadable)?;
    let len = open
        .take(FILE_MAX + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if len as u64 > FILE_MAX {
        return Err(format!(
            "{shown} is larger than {} KiB: it holds no more than server, port, id, key_file and period",
            FILE_MAX / 1024
        ));
    }
    let is_toml = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    let table = if is_toml {
        toml_table(&text)
    } else {
        json_table(&text)
    };
    let table = table.map_err(|wrong| format!("{shown}{wrong}"))?;
    FileOptions::of(table, |name| {
        let text = format!("{shown}: \"{name}\" means nothing to a sensor and is left out");
        let level = Level::Warning;
        warnings.push(Word { level, text });
    })
    .map_err(|wrong| format!("{shown}: {wrong}"))
}

/// The error begins with its place.
fn json_table(text: &str) -> Result<Map<String, Value>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str(text) {
        Ok(Value::Object(table)) => Ok(table),
        Ok(_) => Err(
            ": it must be an object, like {\"server\": \"monitor.example.com\", \"port\": 7777}".to_owned(),
        ),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Err(format!(":{line}:{column}: this is not JSON: {what}"))
        }
    }
}

fn toml_table(text: &str) -> Result<Map<String, Value>, String> {
    toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let what = error.message().replace('\n', ", ");
        format!(":{line}:{column}: this is not TOML: {what}")
    })
}

impl FileOptions {
    fn of(table: Map<String, Value>, mut unknown: impl FnMut(&str)) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in table {
            let slot = match &*name {
                "server" => &mut options.server,
                "id" => &mut options.id,
                "key_file" => &mut options.key_file,
                "period" => &mut options.period,
                "port" => {
                    options.port = Some(port(&value)?);
                    continue;
                }
                "key" => {
                    return Err(
                        "a key never stands in this file: write it to a file of its own and give \"key_file\""
                            .to_owned(),
                    );
                }
                _ => {
                    unknown(&name);
                    continue;
                }
            };
            let Value::String(text) = value else {
                return Err(format!("\"{name}\" must be text in quotes, and is {value}"));
            };
            *slot = Some(text);
        }
        Ok(options)
    }
}

/// In quotes too.
fn port(value: &Value) -> Result<u16, String> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        _ => value.as_u64(),
    };
    let port = number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|port| *port > 0);
    port.ok_or_else(|| format!("\"port\" must be a number from 1 to 65535, and is {value}"))
}

fn server(options: &Options, file: &FileOptions) -> Result<Server, Failure> {
    let Some(text) = options.server.as_ref().or(file.server.as_ref()) else {
        let where_ = if options.config.is_some() {
            "\"server\" in the file, or --server HOST"
        } else {
            "--server HOST"
        };
        return Err(Failure::usage(format!(
            "it is not said where the beats go: {where_}"
        )));
    };
    let (host, port) = host_port(text).map_err(Failure::usage)?;
    let port = port.or(file.port).unwrap_or(DEFAULT_PORT);
    Ok(Server { host, port })
}

fn host_port(text: &str) -> Result<(Host, Option<u16>), String> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!(
            "\"{text}\" is not a server: write HOST or HOST:PORT, without {scheme}://"
        ));
    }
    let parse = |host: &str| Host::parse(host).map_err(|error| error.message);
    let (host, port) = match text.rsplit_once(':') {
        // More than one colon outside of brackets is an IPv6 address.
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, port),
        _ => return Ok((parse(text)?, None)),
    };
    match port.parse() {
        Ok(port) if port > 0 => Ok((parse(host)?, Some(port))),
        _ => Err(format!(
            "\"{port}\" is not a port: a port is a number from 1 to 65535"
        )),
    }
}

fn length(text: &str) -> Result<Duration, Failure> {
    let length = parse_duration(text).map_err(|error| Failure::usage(format!("the period {error}")))?;
    if (SHORTEST..=LONGEST).contains(&length) {
        return Ok(length);
    }
    let (shortest, longest) = (short(SHORTEST), short(LONGEST));
    Err(Failure::usage(format!(
        "the period \"{text}\" must lie between {shortest} and {longest}"
    )))
}

fn identity(
    options: &Options,
    file: &FileOptions,
    environment: &Environment,
) -> Result<Option<Identity>, Failure> {
    let named = options.id.as_ref().or(file.id.as_ref());
    let key = match (key(options, file, environment)?, named) {
        (Some(key), _) => key,
        (None, None) => return Ok(None),
        (None, Some(id)) => {
            return Err(Failure::usage(format!(
                "the id \"{id}\" needs a key: --key-file FILE or {KEY}; \"lapwing sensor keygen\" makes one"
            )));
        }
    };
    let id = match named {
        Some(id) => SensorId::parse(id).map_err(|error| format!("\"{id}\" is no id: {error}")),
        None => own_name(),
    };
    let id = id.map_err(Failure::usage)?;
    Ok(Some(Identity { id, key }))
}

/// The machine's name, as far as it can be an id.
fn own_name() -> Result<SensorId, String> {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    SensorId::parse(&name)
        .map_err(|_| format!("this machine's name \"{name}\" cannot be an id: give one with --id NAME"))
}

fn key(options: &Options, file: &FileOptions, environment: &Environment) -> Result<Option<Secret>, Failure> {
    let variable = |name| environment.get(name).filter(|value: &&str| !value.is_empty());
    let here = Path::new("");
    let beside_file = options.config.as_deref().and_then(Path::parent).unwrap_or(here);
    let named = [
        (options.key_file.as_deref(), here),
        (file.key_file.as_deref().map(Path::new), beside_file),
    ];
    let in_file = named.into_iter().find_map(|(path, folder)| Some((path?, folder)));
    let (key, from) = match (in_file, variable(KEY), variable(KEY_FILE)) {
        (Some((path, folder)), _, _) => (
            secret_file(path, folder, environment)?,
            format!("in {}", path.display()),
        ),
        (None, Some(key), _) => (Secret::new(key), format!("in {KEY}")),
        (None, None, Some(path)) => (
            secret_file(Path::new(path), here, environment)?,
            format!("in {path}"),
        ),
        (None, None, None) => return Ok(None),
    };
    if config::is_key(key.expose()) {
        return Ok(Some(key));
    }
    Err(Failure::usage(format!(
        "what stands {from} is no key: a key has 16 to 128 letters, digits, \".\", \"_\", \"~\" or \"-\"; \"lapwing sensor keygen\" makes a good one"
    )))
}

fn secret_file(path: &Path, folder: &Path, environment: &Environment) -> Result<Secret, Failure> {
    config::secret_file(path, folder, environment).map_err(|wrong| {
        Failure::usage(format!(
            "{wrong}; a key needs a file of its own that only you can read (chmod 600)"
        ))
    })
}

/// Where the sensor notes its starts.
fn state_folder(given: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let folder = |name| {
        environment
            .get(name)
            .map(PathBuf::from)
            .filter(|path: &PathBuf| path.is_absolute())
    };
    // systemd gives several folders with colons between them.
    let of_service = environment
        .get("STATE_DIRECTORY")
        .and_then(|list| list.split(':').next());
    given
        .map(Path::to_owned)
        .or_else(|| of_service.filter(|path| !path.is_empty()).map(PathBuf::from))
        .or_else(|| Some(folder("XDG_STATE_HOME")?.join("lapwing")))
        .or_else(|| Some(folder("HOME")?.join(".local/state/lapwing")))
}

#[cfg(test)]
mod tests;
