//! `lapwing service install`: gathers what the unit needs, tries it, writes, enables and starts it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    super::{Failure, exit},
    RoleArg, STATE, data, ready_to_change, systemd,
    unit::{CREDENTIALS, Role, Unit, differences},
};
use crate::{
    config::{self, Environment},
    out,
};

/// Where the daemon's configuration is looked for.
const CONFIGURATION: &str = "/etc/lapwing";
/// What a service cannot see (ProtectHome=, PrivateTmp=).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(flatten)]
    role: RoleArg,
    /// Configuration: a file or a folder [default: /etc/lapwing/; none for a sensor]
    #[arg(long, short, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Run as this user [default: one that exists only while the service runs]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Hand over a secret file: { file = "NAME" } in the configuration. Those beside it are found without
    #[arg(long, value_name = "NAME=FILE")]
    credential: Vec<String>,
    /// File of NAME=value lines, for ${NAME} in the configuration
    #[arg(long, value_name = "FILE")]
    environment_file: Vec<PathBuf>,
    /// The monitor (sensor only)
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Option<String>,
    /// Name of the sensor (sensor only)
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// File with the key, handed over as a secret (sensor only)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Time between two beats (sensor only)
    #[arg(long, value_name = "TIME")]
    period: Option<String>,
    /// Enable it, but do not start it now
    #[arg(long)]
    no_start: bool,
    /// Print the unit and change nothing
    #[arg(long)]
    print: bool,
    /// Replace a unit that was changed or written by somebody else
    #[arg(long)]
    force: bool,
}

pub(super) fn install(args: &InstallArgs, environment: &Environment) -> Result<u8, Failure> {
    let unit = plan(args)?;
    let text = unit.render();
    if args.print {
        out::print(&text)?;
        return Ok(exit::FINE);
    }
    ready_to_change(
        "install",
        "\"lapwing run\" and \"lapwing sensor\" run as they are",
    )?;
    check_places(args, &unit)?;
    if unit.role == Role::Daemon {
        try_configuration(&unit)?;
    }
    write(&unit, &text, args.force)?;
    systemd::order(&["daemon-reload"])?;
    systemd::order(&["--quiet", "enable", &unit.role.unit()])?;
    if !args.no_start {
        start(unit.role)?;
    }
    out::print(&said(&unit, args.no_start, environment))?;
    Ok(exit::FINE)
}

/// What is to be installed, or what is wrong with the wish.
fn plan(args: &InstallArgs) -> Result<Unit, Failure> {
    let role = args.role.role;
    let program = env::current_exe().and_then(fs::canonicalize)?;
    let mut credentials = Vec::new();
    for given in &args.credential {
        credentials.push(credential(given)?);
    }
    let mut command = vec![text(&program)?];
    match role {
        Role::Daemon => {
            no_sensor_options(args)?;
            let path = absolute(args.config.as_deref().unwrap_or(Path::new(CONFIGURATION)))?;
            for (name, file) in config::secret_files(&path) {
                if !credentials.iter().any(|(given, _)| *given == name) {
                    credentials.push((name, file));
                }
            }
            command.extend(["run".to_owned(), "--config".to_owned(), text(&path)?]);
        }
        Role::Sensor => {
            command.push("sensor".to_owned());
            command.extend(sensor_options(args, &mut credentials)?);
        }
    }
    let environment: Result<Vec<PathBuf>, Failure> =
        args.environment_file.iter().map(|path| absolute(path)).collect();
    for word in command.iter().chain(&args.user) {
        if word.chars().any(char::is_control) {
            return Err(Failure::usage(format!("{word:?} cannot stand in a unit")));
        }
    }
    Ok(Unit {
        role,
        command,
        user: args.user.clone(),
        credentials,
        environment: environment?,
    })
}

fn no_sensor_options(args: &InstallArgs) -> Result<(), Failure> {
    let given = [
        ("--server", args.server.is_some()),
        ("--id", args.id.is_some()),
        ("--key-file", args.key_file.is_some()),
        ("--period", args.period.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::usage(format!(
            "{name} is for a sensor: lapwing service install sensor {name} …"
        ))),
    }
}

fn sensor_options(
    args: &InstallArgs,
    credentials: &mut Vec<(String, PathBuf)>,
) -> Result<Vec<String>, Failure> {
    if args.server.is_none() && args.config.is_none() {
        return Err(Failure::usage(
            "a sensor needs a monitor: --server HOST[:PORT], or --config with a file that names it",
        ));
    }
    let mut words = Vec::new();
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(path) = &args.config {
        option("--config", text(&absolute(path)?)?);
    }
    if let Some(server) = &args.server {
        option("--server", server.clone());
    }
    if let Some(id) = &args.id {
        option("--id", id.clone());
    }
    if let Some(file) = &args.key_file {
        credentials.push(("sensor.key".to_owned(), absolute(file)?));
        option("--key-file", format!("{CREDENTIALS}/sensor.key"));
    }
    if let Some(period) = &args.period {
        option("--period", period.clone());
    }
    Ok(words)
}

/// `NAME=FILE`.
fn credential(given: &str) -> Result<(String, PathBuf), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--credential {given}: write NAME=FILE; NAME without \"/\" or \":\""
        ))
    };
    let (name, path) = given.split_once('=').ok_or_else(wrong)?;
    if !config::is_credential(name) || path.is_empty() {
        return Err(wrong());
    }
    Ok((name.to_owned(), absolute(Path::new(path))?))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(path)?;
    text(&path)?;
    Ok(path)
}

/// A path as it stands in a unit.
fn text(path: &Path) -> Result<String, Failure> {
    let usable = path.to_str().filter(|text| !text.chars().any(char::is_control));
    usable
        .map(ToOwned::to_owned)
        .ok_or_else(|| Failure::usage(format!("the path {} cannot stand in a unit", path.display())))
}

/// What the service reads must be there, and where it can see it.
fn check_places(args: &InstallArgs, unit: &Unit) -> Result<(), Failure> {
    if let Some(user) = &unit.user
        && !matches!(nix::unistd::User::from_name(user), Ok(Some(_)))
    {
        return Err(Failure::usage(format!("there is no user {user}")));
    }
    for (_, file) in &unit.credentials {
        there(file)?;
    }
    for file in &unit.environment {
        there(file)?;
    }
    let program = Path::new(&unit.command[0]);
    if is_hidden(program) {
        return Err(Failure::usage(format!(
            "a service cannot see {}: copy it first, \"install {0} /usr/local/bin/\", and call that one",
            program.display()
        )));
    }
    let configuration = match (&args.config, unit.role) {
        (Some(path), _) => absolute(path)?,
        (None, Role::Daemon) => PathBuf::from(CONFIGURATION),
        (None, Role::Sensor) => return Ok(()),
    };
    if unit.role == Role::Daemon && args.config.is_none() && !config::is_configuration(&configuration) {
        return Err(Failure::usage(format!(
            "there is no configuration in {CONFIGURATION}: \"lapwing config init {CONFIGURATION}/lapwing.toml\" writes one to start from, --config names another"
        )));
    }
    there(&configuration)?;
    if is_hidden(&configuration) {
        return Err(Failure::usage(format!(
            "a service cannot see {}: put the configuration into {CONFIGURATION}",
            configuration.display()
        )));
    }
    Ok(())
}

fn there(path: &Path) -> Result<(), Failure> {
    path.metadata()
        .map(|_| ())
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))
}

fn is_hidden(path: &Path) -> bool {
    HIDDEN.iter().any(|hidden| path.starts_with(hidden))
}

/// Has the configuration checked by a service with the same user, files and secrets.
fn try_configuration(unit: &Unit) -> Result<(), Failure> {
    let (program, config) = (unit.command[0].as_str(), unit.command[3].as_str());
    let command = [program, "config", "check", "--config", config];
    let done = systemd::trial(&unit.trial(), &command)?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let mut text = format!(
        "nothing is installed, for the service would refuse its configuration:\n{}",
        said.trim()
    );
    if said.contains("permission denied") {
        let who = unit.user.as_deref().unwrap_or("a user of its own");
        text.push_str(&format!(
            "\nThe service runs as {who}: let everybody read the configuration (chmod 644), and hand over secret files: \
             those beside it, named without their folder, come by themselves, others by --credential NAME=FILE"
        ));
    }
    if said.contains("environment variable") {
        text.push_str(
            "\nThe service does not have your variables: give it a file of them, --environment-file FILE",
        );
    }
    Err(Failure::usage(text))
}

/// Writes the unit whole or not at all. One that is there and differs is shown, and stays without `force`.
fn write(unit: &Unit, text: &str, force: bool) -> Result<(), Failure> {
    let file = unit.role.file();
    match fs::read_to_string(&file) {
        Ok(old) if old == text => return Ok(()),
        Ok(old) if !force => {
            return Err(Failure::usage(format!(
                "{} is there already and would change; --force replaces it:\n{}",
                file.display(),
                differences(&old, text)
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::usage(format!(
                "{} cannot be read: {error}",
                file.display()
            )));
        }
    }
    let new = file.with_extension("service.new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &file))
        .map_err(|error| Failure::usage(format!("{} cannot be written: {error}", file.display())))
}

/// Starts it, or anew when it runs, and waits until it says that it is ready.
fn start(role: Role) -> Result<(), Failure> {
    let unit = role.unit();
    systemd::order(&["restart", &unit]).map_err(|_| {
        Failure::usage(format!(
            "{unit} is installed but does not start; systemd tries again every 10 s, \"lapwing service uninstall{}\" ends that. It said:\n{}",
            role.argument(),
            systemd::journal(&unit).trim_end()
        ))
    })
}

fn said(unit: &Unit, no_start: bool, environment: &Environment) -> String {
    let (name, role) = (unit.role.name(), unit.role);
    let state = if no_start {
        format!("installed and starts at the next boot; now: systemctl start {name}")
    } else {
        "installed, starts at each boot, and runs".to_owned()
    };
    let mut text = format!("{} is {state}\n", role.unit());
    for (credential, file) in &unit.credentials {
        text.push_str(&format!(
            "  secret   {credential} from {} (read again at each start)\n",
            file.display()
        ));
    }
    if role == Role::Daemon {
        text.push_str(&places(Path::new(&unit.command[3]), environment));
    }
    text.push_str(&format!("  status   lapwing service status{}\n", role.argument()));
    text.push_str(&format!("  log      journalctl --follow --unit {name}\n"));
    text
}

/// Where the daemon's data is, how commands find it, and how a changed configuration is applied.
fn places(configuration: &Path, environment: &Environment) -> String {
    let data = data(configuration, environment).unwrap_or_else(|_| PathBuf::from(STATE));
    let data = data.display();
    let asked = if configuration.starts_with(CONFIGURATION) {
        String::new()
    } else {
        format!("      sudo lapwing status --data {data}")
    };
    format!("  data     {data}{asked}\n  apply    systemctl reload lapwing      a changed configuration\n")
}
