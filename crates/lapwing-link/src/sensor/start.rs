//! What a start of the sensor is: the first since the machine booted or not, and the session that it opens. Kept in a
//! small file, written once a start; a file that cannot be used is said once and never stops the sensor.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use lapwing_core::time::{Wall, micros};
use lapwing_wire::heartbeat::SensorId;

use super::voice::{Word, plain};

/// Without a note, a machine that has been up for less is taken to have just booted.
const FRESH: Duration = Duration::from_mins(10);
/// First line of the file.
const FIRST: &str = "lapwing sensor 1";
/// Longest file that is read, in bytes.
const LONGEST: u64 = 1024;

/// The machine as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `/proc/sys/kernel/random/boot_id` (random(4)); empty where there is none.
    pub boot_id: String,
    /// By `CLOCK_BOOTTIME`.
    pub uptime: Duration,
}

/// A start of the sensor.
#[derive(Debug)]
pub struct Start {
    /// The first one since the machine booted.
    pub booted: bool,
    /// Larger than that of any start before.
    pub session: u64,
    machine: Machine,
    file: Option<PathBuf>,
}

/// What the last start left behind.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    machine: Machine,
    session: u64,
}

/// The file of a sensor in the state folder.
pub fn state_file(folder: &Path, id: Option<&SensorId>) -> PathBuf {
    folder.join(match id {
        Some(id) => format!("sensor.{id}.state"),
        None => "sensor.state".to_owned(),
    })
}

impl Start {
    /// Reads what the last start noted in `file`, and notes this one. A complaint comes beside the start, never instead.
    pub fn begin(file: Option<PathBuf>, machine: Machine, now: Wall) -> (Self, Vec<Word>) {
        let mut words = Vec::new();
        let noted = match file.as_deref().map(read) {
            Some(Ok(noted)) => noted,
            Some(Err(why)) => {
                words.push(Word::warning(format!("{why}; going on without it")));
                None
            }
            None => {
                let text = "there is no folder for the state of this sensor: a restart may count as a boot; give --state";
                words.push(Word::warning(text));
                None
            }
        };
        let seconds = u64::try_from(now.0 / 1_000_000).unwrap_or_default();
        let after = noted.as_ref().map_or(1, |note| note.session.saturating_add(1));
        let start = Self {
            booted: is_boot(noted.as_ref(), &machine),
            session: after.max(seconds),
            machine,
            file,
        };
        let unwritten = start.note();
        // What cannot be read can seldom be written; that is one trouble.
        if words.is_empty() {
            words.extend(unwritten);
        }
        (start, words)
    }

    /// Goes on in a session above `newest`, the one that the monitor knows.
    pub(super) fn raise(&mut self, newest: u64) -> Option<Word> {
        let from = self.session;
        self.session = newest.saturating_add(1).max(from);
        self.note().or_else(|| {
            Some(Word::notice(format!(
                "the monitor knows session {newest}, newer than {from}; going on as {}",
                self.session
            )))
        })
    }

    fn note(&self) -> Option<Word> {
        let file = self.file.as_deref()?;
        let text = format!(
            "{FIRST}\nboot_id {}\nuptime_us {}\nsession {}\n",
            self.machine.boot_id,
            micros(self.machine.uptime),
            self.session
        );
        let error = write(file, &text).err()?;
        Some(Word::warning(format!(
            "{} cannot be written: {}; going on without it",
            file.display(),
            plain(&error)
        )))
    }
}

/// The machine has booted since: another boot, or an uptime that ran backwards (a time namespace keeps the boot's id).
fn is_boot(noted: Option<&Note>, machine: &Machine) -> bool {
    noted.map_or(machine.uptime < FRESH, |note| {
        note.machine.boot_id != machine.boot_id || machine.uptime < note.machine.uptime
    })
}

fn read(file: &Path) -> Result<Option<Note>, String> {
    let unreadable = |error: io::Error| format!("{} cannot be read: {}", file.display(), plain(&error));
    let mut text = String::new();
    match File::open(file) {
        Ok(open) => open.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let note = parse(&text);
    if note.is_none() {
        return Err(format!("{} is not what a sensor wrote", file.display()));
    }
    Ok(note)
}

fn parse(text: &str) -> Option<Note> {
    let mut lines = text.lines();
    let first = lines.next()?;
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let note = Note {
        machine: Machine {
            boot_id: field("boot_id")?.to_owned(),
            uptime: Duration::from_micros(field("uptime_us")?.parse().ok()?),
        },
        session: field("session")?.parse().ok()?,
    };
    (first == FIRST && text.ends_with('\n')).then_some(note)
}

/// Puts the text in place of the file, whole or not at all.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    fs::rename(&new, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Wall = Wall(1_795_000_000_000_000);

    fn machine(boot_id: &str, uptime: u64) -> Machine {
        Machine {
            boot_id: boot_id.to_owned(),
            uptime: Duration::from_secs(uptime),
        }
    }

    #[test]
    fn a_boot_is_told_from_a_restart() {
        let noted = |boot_id, uptime| {
            Some(Note {
                machine: machine(boot_id, uptime),
                session: 1,
            })
        };
        for (noted, now, boot) in [
            (None, machine("a", 599), true),
            (None, machine("a", 600), false),
            (noted("a", 20), machine("a", 20), false),
            (noted("a", 20), machine("a", 5000), false),
            (noted("a", 20), machine("b", 5000), true),
            (noted("a", 5000), machine("a", 20), true),
            (noted("", 20), machine("", 30), false),
            (noted("", 20), machine("", 10), true),
        ] {
            assert_eq!(is_boot(noted.as_ref(), &now), boot, "{noted:?} {now:?}");
        }
    }

    #[test]
    fn starts_are_noted() {
        let folder = tempfile::tempdir().unwrap();
        let id = SensorId::parse("home").unwrap();
        let file = state_file(&folder.path().join("deep/er"), Some(&id));
        let begin = |machine: Machine, now| {
            let (start, words) = Start::begin(Some(file.clone()), machine, now);
            assert!(words.is_empty(), "{words:?}");
            start
        };
        let mut first = begin(machine("a", 30), NOW);
        assert_eq!((first.booted, first.session), (true, 1_795_000_000));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // A clock that ran backwards does not take the session with it.
        let second = begin(machine("a", 40), Wall(-5));
        assert_eq!((second.booted, second.session), (false, 1_795_000_001));
        let word = first.raise(1_900_000_000).unwrap();
        assert!(
            word.text.contains("going on as 1900000001") && first.session == 1_900_000_001,
            "{word:?}"
        );
        let third = begin(machine("b", 50), NOW);
        assert_eq!((third.booted, third.session), (true, 1_900_000_002));
        assert_eq!(
            fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_session_ends_at_the_largest_number() {
        let (mut start, _) = Start::begin(None, machine("a", 1), NOW);
        start.raise(u64::MAX);
        assert_eq!(start.session, u64::MAX);
        start.raise(7);
        assert_eq!(start.session, u64::MAX, "never lower");
    }

    #[test]
    fn a_file_that_is_of_no_use_is_said_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = state_file(folder.path(), None);
        let whole = "lapwing sensor 1\nboot_id a\nuptime_us 5\nsession 7\n";
        assert!(parse(whole).is_some());
        let mut broken: Vec<String> = (0..whole.len()).map(|end| whole[..end].to_owned()).collect();
        broken.extend([whole.replace(" 7", " -7"), whole.replace("sensor 1", "sensor 2")]);
        for text in broken {
            fs::write(&file, &text).unwrap();
            let (start, words) = Start::begin(Some(file.clone()), machine("a", 3), NOW);
            assert!(
                start.booted && words.len() == 1 && words[0].text.contains("is not what a sensor wrote"),
                "{text:?}: {words:?}"
            );
            let (again, words) = Start::begin(Some(file.clone()), machine("a", 4), NOW);
            assert!(!again.booted && words.is_empty(), "{words:?}");
        }
        fs::write(&file, [0xff; 9]).unwrap();
        let (_, words) = Start::begin(Some(file), machine("a", 3), NOW);
        assert!(words[0].text.contains("cannot be read"), "{words:?}");
    }

    #[test]
    fn without_a_usable_folder_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("file");
        fs::write(&taken, "").unwrap();
        let (start, words) = Start::begin(Some(taken.join("sensor.state")), machine("a", 5), NOW);
        assert!(start.booted && start.session > 0);
        assert!(
            words.len() == 1 && words[0].text.contains("cannot be read"),
            "{words:?}"
        );
        let sealed = folder.path().join("sensor.new");
        fs::create_dir(&sealed).unwrap();
        let (_, words) = Start::begin(Some(folder.path().join("sensor.state")), machine("a", 5), NOW);
        assert!(
            words.len() == 1 && words[0].text.contains("cannot be written: is a directory"),
            "{words:?}"
        );
        let (_, words) = Start::begin(None, machine("a", 5), NOW);
        assert_eq!(words.len(), 1);
    }
}
