//! A machine of a test's own: systemd-nspawn boots the files of this one, with all changes in memory, without a
//! network. It is gone with the test: its mounts live in a namespace of its own, and it never outlives a time limit.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::wait;

/// Longest life of a machine, in seconds.
const LIFE: &str = "120";
/// One machine at a time: they share a control group.
static TURN: Mutex<()> = Mutex::new(());

/// What makes the machine's files and then becomes the machine. $1: an empty folder, $2: a file, $3: where it goes.
const BOOT: &str = r#"
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
# Of this machine's own services, none starts.
rm -rf etc/systemd/system/*.wants etc/systemd/system/lapwing* etc/lapwing etc/rc?.d etc/netns
# Packages may start what they like.
rm -f usr/sbin/policy-rc.d
rm -rf var/lib/lapwing* var/lib/private/lapwing* var/log/lapwing* var/log/private/lapwing* usr/bin/lapwing
od -An -tx1 -N16 /dev/urandom | tr -d ' \n' > etc/machine-id
echo >> etc/machine-id
cp "$2" ".$3"
exec systemd-nspawn --quiet --boot --directory="$1/root" --machine="lapwing-test-$$" --private-network \
    --register=no --keep-unit --console=pipe
"#;

pub(crate) struct Machine {
    folder: tempfile::TempDir,
    nspawn: Child,
    /// The first process inside.
    leader: u32,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// Boots, with the file `from` of this machine at `to` inside.
    pub(crate) fn boot(from: &Path, to: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let nspawn = Command::new("timeout")
            .args([
                "--kill-after=5",
                LIFE,
                "unshare",
                "--mount",
                "--propagation=private",
            ])
            .args(["sh", "-euc", BOOT, "boot"])
            .args([folder.path(), from, Path::new(to)])
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.path().join("console")).unwrap())
            .stderr(fs::File::create(folder.path().join("errors")).unwrap())
            .spawn()
            .unwrap();
        // The folder's files are covered by the machine's inside its namespace only.
        let mut machine = Self {
            folder,
            nspawn,
            leader: 0,
            _turn: turn,
        };
        machine.leader = wait("the machine begins to boot", || machine.find_leader());
        let up = machine.run("systemctl is-system-running --wait");
        assert!(
            ["running\n", "degraded\n"].contains(&up.said.as_str()),
            "{up:?} {}",
            machine.errors()
        );
        machine
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default()
    }

    /// The process below `timeout` and below systemd-nspawn that is a systemd.
    fn find_leader(&mut self) -> Option<u32> {
        if let Some(ended) = self.nspawn.try_wait().unwrap() {
            panic!("the machine does not boot ({ended}): {}", self.errors());
        }
        let nspawn = children(self.nspawn.id());
        let inside = nspawn.into_iter().flat_map(children);
        let is_systemd = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "systemd"
        };
        let leader = inside.into_iter().find(is_systemd)?;
        // It takes orders once its socket is there.
        let socket = format!("/proc/{leader}/root/run/systemd/private");
        Path::new(&socket).exists().then_some(leader)
    }

    /// Runs a shell script inside, to its end.
    pub(crate) fn run(&self, script: &str) -> Ran {
        let output = Command::new("nsenter")
            .args([
                "--target",
                &self.leader.to_string(),
                "--all",
                "--",
                "sh",
                "-c",
                script,
            ])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::of(&output)
    }

    /// Runs a script that must succeed; gives what it said.
    pub(crate) fn does(&self, script: &str) -> String {
        let ran = self.run(script);
        assert_eq!(
            ran.code,
            Some(0),
            "{script}: {ran:?}\n{}",
            self.run("journalctl --no-pager -n 40").said
        );
        ran.said
    }

    /// Runs a script that must fail with this exit code; gives what it complained.
    pub(crate) fn fails(&self, script: &str, code: i32) -> String {
        let ran = self.run(script);
        assert_eq!(ran.code, Some(code), "{script}: {ran:?}");
        ran.complained
    }

    /// Waits until a script says this.
    pub(crate) fn until(&self, script: &str, said: &str) {
        let mut last = String::new();
        let look = || {
            last = self.run(script).said;
            (last.trim() == said).then_some(())
        };
        wait(&format!("{script}: {said}"), look);
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.does(&format!("systemctl show --value --property {name} {unit}"))
            .trim()
            .to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.nspawn.id().cast_signed());
        // timeout hands it on to systemd-nspawn, which ends everything inside.
        let _gone_is_fine = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ended = self.nspawn.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// What came of a script.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) complained: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            said: String::from_utf8_lossy(&output.stdout).into_owned(),
            complained: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
