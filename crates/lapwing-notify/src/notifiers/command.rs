//! Runs a command of the user's: exactly the words given, no shell, an empty environment but for what stands below,
//! its own process group, and always an end.

use std::{
    ffi::OsString,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use lapwing_core::kind::{OptionError, OptionInfo, OptionReader, OptionType};
use lapwing_net::Net;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    BoxFuture, DeliveryError, Dial, FIELDS, Message, Notifier, NotifierInfo, NotifierKind, Receipt, Template,
    delivery::{Handed, within},
    options,
};

pub(super) const KIND: NotifierKind = NotifierKind { info: &INFO, build };

/// Most output that is kept; the rest is read and dropped.
const OUTPUT_MAX: usize = 64 * 1024;
/// How long output is awaited once the command itself has ended.
const AFTER_EXIT: Duration = Duration::from_millis(500);
/// What the command inherits of our environment. Nothing else: secrets may stand there.
const INHERITED: [&str; 8] = [
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR",
];

static INFO: NotifierInfo = NotifierInfo {
    name: "command",
    summary: "a command of your own, without a shell",
    about: "Runs the command with exactly these words. The event's JSON comes on its standard input; the environment \
            holds LAPWING_ID, LAPWING_EVENT, LAPWING_MONITOR, LAPWING_SERIES, LAPWING_TARGET, LAPWING_KIND, \
            LAPWING_HOST, LAPWING_AT, LAPWING_TEXT, LAPWING_SHORT and LAPWING_RESENT, and of ours only PATH, HOME, \
            USER, LOGNAME, LANG, LC_ALL, TZ and TMPDIR. Status 0 is delivered; anything else is tried again. What runs \
            longer than 30 s is killed, with all that it started. Works without a network.",
    options: &[OptionInfo {
        name: "argv",
        ty: OptionType::List,
        default: "",
        doc: "The program and its arguments, which may hold fields such as {text} and {event}.",
        example: "[\"/usr/local/bin/page\", \"{short}\"]",
    }],
    shared: options::LOCAL,
    required: &["argv"],
    example: "[notify.siren]\ntype = \"command\"\nargv = [\"/usr/local/bin/siren\", \"--event\", \"{event}\"]\n",
};

struct Run {
    program: String,
    arguments: Vec<Template>,
    deadline: Duration,
}

fn build(reader: &mut OptionReader<'_>, dial: &Dial) -> Option<Box<dyn Notifier>> {
    let argv = reader.list("argv");
    let (program, arguments) = argv.split_first()?;
    if program.trim().is_empty() || argv.iter().any(|a| a.contains('\0')) {
        reader.error(OptionError::new(
            "argv",
            "argv does not begin with a program, or holds a NUL character",
        ));
        return None;
    }
    let mut templates = Vec::new();
    for argument in arguments {
        match Template::parse(argument, FIELDS) {
            Ok(template) => templates.push(template),
            Err(error) => {
                let hint = format!("the fields are: {}", FIELDS.join(", "));
                reader.error(OptionError::new("argv", format!("argv: {error}")).hint(hint));
            }
        }
    }
    Some(Box::new(Run {
        program: program.clone(),
        arguments: templates,
        deadline: dial.deadline,
    }))
}

impl Run {
    async fn run(&self, message: &Message) -> Result<Receipt, DeliveryError> {
        let program = self.find()?;
        let mut command = Command::new(&program);
        command.args(
            self.arguments
                .iter()
                .map(|a| a.render(|name| message.field(name), str::to_owned)),
        );
        command.env_clear().envs(environment(message));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|error| self.failed(&format!("cannot be run: {error}")))?;
        let handed = Handed::default();
        handed.set();
        let mut group = Group::new(child);
        let input = message.payload().into_owned().into_bytes();
        let ended = within(self.deadline, &self.program, &handed, group.talk(input)).await;
        if ended.is_err() {
            group.kill();
            drop(timeout(AFTER_EXIT, group.child.wait()).await);
        }
        let (status, errors) = ended?;
        if status.success() {
            return Ok(Receipt::default());
        }
        let errors = String::from_utf8_lossy(&errors);
        let first = errors
            .lines()
            .map(str::trim)
            .find(|l| !l.is_empty())
            .unwrap_or("it says nothing on standard error");
        Err(self.failed(&format!("ended with {status}: {first}")))
    }

    /// The program's file, found as a shell finds it.
    fn find(&self) -> Result<PathBuf, DeliveryError> {
        let candidates: Vec<PathBuf> = if self.program.contains('/') {
            vec![PathBuf::from(&self.program)]
        } else {
            let path =
                std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
            std::env::split_paths(&path)
                .map(|folder| folder.join(&self.program))
                .collect()
        };
        let runs = |path: &PathBuf| {
            path.metadata()
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        let exists = candidates.iter().any(|path| path.exists());
        candidates.into_iter().find(runs).ok_or_else(|| {
            let problem = if exists {
                "is not an executable file"
            } else {
                "does not exist"
            };
            DeliveryError::backoff("notify.config", format!("the command {} {problem}", self.program))
        })
    }

    fn failed(&self, problem: &str) -> DeliveryError {
        DeliveryError::backoff(
            "notify.command",
            format!("the command {} {problem}", self.program),
        )
    }
}

impl Notifier for Run {
    fn deliver<'a>(
        &'a self,
        message: &'a Message,
        _: &'a Net,
    ) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(self.run(message))
    }

    /// Looks for the program; does not run it.
    fn verify<'a>(&'a self, _: &'a Net) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(async { self.find().map(|_| Receipt::default()) })
    }

    fn is_local(&self) -> bool {
        true
    }
}

fn environment(message: &Message) -> Vec<(String, OsString)> {
    let inherited = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
    let fields = [
        "id", "event", "monitor", "series", "target", "kind", "host", "at", "text", "short",
    ];
    let fields = fields.iter().map(|name| {
        (
            format!("LAPWING_{}", name.to_uppercase()),
            message.field(name).into(),
        )
    });
    let resent = if message.resent { "true" } else { "false" };
    inherited
        .chain(fields)
        .chain([("LAPWING_RESENT".to_owned(), resent.into())])
        .map(|(n, v)| (n, without_nul(v)))
        .collect()
}

/// No system call takes a NUL within a text.
fn without_nul(text: OsString) -> OsString {
    OsString::from_vec(text.into_vec().into_iter().filter(|b| *b != 0).collect())
}

/// A command and all that it starts. Dropped before the command has ended, it kills them.
struct Group {
    child: Child,
    /// The group, as long as it surely is ours: until the command is reaped its number cannot be given away.
    leader: Option<Pid>,
}

impl Group {
    fn new(child: Child) -> Self {
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Self { child, leader }
    }

    /// Feeds `input`, reads what comes, waits for the end. Gives the status and the beginning of standard error.
    async fn talk(&mut self, input: Vec<u8>) -> Result<(ExitStatus, Vec<u8>), DeliveryError> {
        let (stdin, stdout, stderr) = (
            self.child.stdin.take(),
            self.child.stdout.take(),
            self.child.stderr.take(),
        );
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A command need not read what it is told.
                drop(stdin.write_all(&input).await);
            }
        };
        let output = async { tokio::join!(drain(stdout), drain(stderr)) };
        let mut talk = Box::pin(async { tokio::join!(feed, output).1 });
        let (status, early) = tokio::select! {
            biased;
            output = &mut talk => (self.child.wait().await, Some(output)),
            status = self.child.wait() => (status, None),
        };
        let output = match early {
            Some(output) => Ok(output),
            None => timeout(AFTER_EXIT, &mut talk).await,
        };
        let output = if let Ok(output) = output {
            output
        } else {
            // Something that it started still holds the output, and with it the group: end that too.
            self.kill();
            timeout(AFTER_EXIT, talk).await.unwrap_or_default()
        };
        self.leader = None;
        let status = status.map_err(|error| {
            DeliveryError::backoff("notify.command", format!("its end is unknown: {error}"))
        })?;
        Ok((status, output.1))
    }

    fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            // Nobody left to kill is as good.
            killpg(leader, Signal::SIGKILL).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end, keeps the beginning.
async fn drain(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut from) = from else { return Vec::new() };
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count) = from.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        let room = OUTPUT_MAX.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&chunk[..room]);
    }
    kept
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
