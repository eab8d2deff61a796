//! The watchdog is fed only while alerts could be stored and sent: a disk that hangs under the ledger ends the feeding,
//! though everything else goes on.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::wait;

/// A file system in a file, which can be made to hang; gone with the test.
struct Disk {
    place: PathBuf,
}

impl Disk {
    fn mount(folder: &Path) -> Self {
        let (image, place) = (folder.join("image"), folder.join("disk"));
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(&place).unwrap();
        run("mkfs.ext4", &[Path::new("-q"), &image]);
        run("mount", &[Path::new("-o"), Path::new("loop"), &image, &place]);
        Self { place }
    }

    fn hang(&self) {
        run("fsfreeze", &[Path::new("--freeze"), &self.place]);
    }

    fn go_on(&self) {
        run("fsfreeze", &[Path::new("--unfreeze"), &self.place]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may not hang at all.
        drop(
            Command::new("fsfreeze")
                .arg("--unfreeze")
                .arg(&self.place)
                .output(),
        );
        run("umount", &[Path::new("--lazy"), &self.place]);
    }
}

fn run(program: &str, args: &[&Path]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

/// The test as the service manager.
struct Manager {
    socket: UnixDatagram,
    daemon: Child,
}

impl Manager {
    fn start(folder: &Path) -> Self {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let daemon = Command::new(env!("CARGO_BIN_EXE_lapwing"))
            .args(["run", "--config"])
            .arg(folder.join("lapwing.toml"))
            .env_clear()
            .env("HOME", folder)
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .env("WATCHDOG_USEC", "600000")
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { socket, daemon }
    }

    /// The next word; None when there is silence for ten times as long as a living daemon is silent.
    fn hear(&self) -> Option<String> {
        let mut bytes = [0; 512];
        match self.socket.recv(&mut bytes) {
            Ok(len) => Some(String::from_utf8_lossy(&bytes[..len]).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn hears(&self, word: &str) {
        wait(word, || {
            (self.hear()?.lines().any(|line| line == word)).then_some(())
        });
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _gone_is_fine = self.daemon.kill();
        let _ended = self.daemon.wait();
    }
}

#[test]
fn needs_root_needs_fsfreeze_needs_mkfs_ext4_a_hanging_disk_is_not_taken_for_life() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path());
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[defaults]\ninterval = \"100ms\"\ntimeout = \"100ms\"\n[web]\nlisten = \"off\"\n[store]\npath = \"disk/data\"\n\
         [[monitor]]\nname = \"peer\"\ntarget = \"tcp://{}\"\nfailure_threshold = 1\n",
        peer.local_addr().unwrap()
    );
    fs::write(folder.path().join("lapwing.toml"), config).unwrap();
    let mut manager = Manager::start(folder.path());
    manager.hears("READY=1");
    manager.hears("STATUS=watching 1 series: 1 up");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");

    disk.hang();
    // Now there is something to store.
    drop(peer);
    wait("the feeding ends", || {
        let fed = std::iter::from_fn(|| manager.hear()).any(|words| words == "WATCHDOG=1");
        (!fed).then_some(())
    });
    disk.go_on();
    manager.hears("WATCHDOG=1");
    manager.hears("STATUS=watching 1 series: 1 down");

    let pid = nix::unistd::Pid::from_raw(manager.daemon.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    manager.hears("STOPPING=1");
    assert!(manager.daemon.wait().unwrap().success());
}
