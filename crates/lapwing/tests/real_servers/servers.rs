//! Real servers on the far side, each with as few rights as it can do with, and the ways to break them.

use std::{
    cell::RefCell,
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::User};

use crate::{
    certificates::{Authority, replace},
    place::{FAR, Place, Side, need, system},
    process::Process,
    scene::now,
};

/// Names and addresses for which the web server's good certificate is.
const NAMES: [&str; 3] = [FAR[0], FAR[1], "www.lapwing.test"];
/// The user without rights.
const NOBODY: u32 = 65_534;

/// nginx with TLS on port 443. Whether it answers 200 or 503, its page and its certificate are files, so that each
/// changes between two requests.
pub(crate) struct Nginx<'a> {
    place: &'a Place,
    authority: &'a Authority,
    folder: PathBuf,
    process: RefCell<Option<Process>>,
}

impl<'a> Nginx<'a> {
    pub(crate) fn start(place: &'a Place, authority: &'a Authority) -> Self {
        let folder = place.folder().join("nginx");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("key.pem"), authority.key().serialize_pem()).unwrap();
        fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        fs::write(folder.join("nginx.conf"), nginx_conf(&folder)).unwrap();
        let nginx = Self {
            place,
            authority,
            folder,
            process: RefCell::default(),
        };
        nginx.page("all is well");
        nginx.good();
        nginx.resume();
        nginx
    }

    /// The authority's certificate, for the option `ca`.
    pub(crate) fn ca(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }

    pub(crate) fn page(&self, text: &str) {
        replace(&self.folder.join("index.html"), text);
    }

    /// Answers 503 from now on, or as before.
    pub(crate) fn fail(&self, fails: bool) {
        let flag = self.folder.join("fails");
        if fails {
            fs::write(flag, "")
        } else {
            fs::remove_file(flag)
        }
        .unwrap();
    }

    pub(crate) fn good(&self) {
        self.present(&self.authority.issue(now(), &NAMES, (-1, 90)));
    }

    pub(crate) fn expired(&self) {
        self.present(&self.authority.issue(now(), &NAMES, (-30, -1)));
    }

    pub(crate) fn not_yet_valid(&self) {
        self.present(&self.authority.issue(now(), &NAMES, (1, 30)));
    }

    pub(crate) fn expiring(&self) {
        self.present(&self.authority.issue(now(), &NAMES, (-30, 2)));
    }

    pub(crate) fn of_another_name(&self) {
        self.present(
            &self
                .authority
                .issue(now(), &["www.other.test", "10.77.0.3"], (-1, 90)),
        );
    }

    pub(crate) fn untrusted(&self) {
        self.present(&self.authority.forge(now(), &NAMES));
    }

    fn present(&self, certificate: &rcgen::Certificate) {
        replace(&self.folder.join("live.pem"), &certificate.pem());
    }

    pub(crate) fn stop(&self) {
        self.process.borrow_mut().as_mut().unwrap().stop();
    }

    /// Starts it again, and waits until it answers.
    pub(crate) fn resume(&self) {
        let mut command = self.place.command(Side::Far, "nginx");
        command
            .arg("-c")
            .arg(self.folder.join("nginx.conf"))
            .arg("-p")
            .arg(&self.folder)
            .args(["-e", "stderr"]);
        let mut process = Process::start(&mut command, self.folder.join("log"));
        wait_for_port(self.place, 443, &mut process);
        *self.process.borrow_mut() = Some(process);
    }

    /// Takes connections, but does nothing with them, until `thaw`.
    pub(crate) fn freeze(&self) {
        self.process.borrow().as_ref().unwrap().signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.borrow().as_ref().unwrap().signal(Signal::SIGCONT);
    }
}

fn nginx_conf(folder: &Path) -> String {
    let [v4, v6] = FAR;
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    # A name that is only known at the handshake makes nginx read the file for each of them.
    map $remote_addr $live {{ default {folder}/live.pem; }}
    server {{
        listen {v4}:443 ssl http2;
        listen [{v6}]:443 ssl http2;
        ssl_certificate $live;
        ssl_certificate_key {folder}/key.pem;
        ssl_session_cache off;
        ssl_session_tickets off;
        root {folder};
        location / {{
            if (-f {folder}/fails) {{ return 503; }}
            index index.html;
        }}
    }}
}}
"
    )
}

/// unbound on port 53, with a zone of its own and no way to ask anybody else.
pub(crate) struct Unbound<'a> {
    place: &'a Place,
    folder: PathBuf,
    process: RefCell<Option<Process>>,
}

impl<'a> Unbound<'a> {
    /// `records` are lines such as `www.lapwing.test. 1 A 10.77.0.2`.
    pub(crate) fn start(place: &'a Place, records: &[&str]) -> Self {
        let folder = place.folder().join("unbound");
        fs::create_dir(&folder).unwrap();
        let unbound = Self {
            place,
            folder,
            process: RefCell::default(),
        };
        unbound.resume(records);
        unbound
    }

    /// Answers with these records from now on. Questions that come while it reads them are answered afterwards.
    pub(crate) fn serve(&self, records: &[&str]) {
        self.write(records);
        self.process.borrow().as_ref().unwrap().signal(Signal::SIGHUP);
    }

    pub(crate) fn stop(&self) {
        self.process.borrow_mut().as_mut().unwrap().stop();
    }

    pub(crate) fn freeze(&self) {
        self.process.borrow().as_ref().unwrap().signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.borrow().as_ref().unwrap().signal(Signal::SIGCONT);
    }

    pub(crate) fn resume(&self, records: &[&str]) {
        self.write(records);
        let mut command = self.place.command(Side::Far, "unbound");
        let mut process = Process::start(
            command.args(["-d", "-c"]).arg(self.folder.join("conf")),
            self.folder.join("log"),
        );
        wait_for_port(self.place, 53, &mut process);
        *self.process.borrow_mut() = Some(process);
    }

    fn write(&self, records: &[&str]) {
        let [v4, v6] = FAR;
        let folder = self.folder.display();
        let records = records.iter().fold(String::new(), |all, record| {
            all + &format!("    local-data: \"{record}\"\n")
        });
        let text = format!(
            "server:
    directory: \"{folder}\"
    pidfile: \"\"
    username: \"\"
    chroot: \"\"
    use-syslog: no
    logfile: \"\"
    interface: {v4}
    interface: {v6}
    access-control: 10.77.0.0/24 allow
    access-control: fd77::/64 allow
    num-threads: 1
    module-config: \"iterator\"
    local-zone: \"lapwing.test.\" static
{records}
remote-control:
    control-enable: no
"
        );
        replace(&self.folder.join("conf"), &text);
    }
}

/// chronyd on port 123, which never touches the clock and runs as the user that its package made for it.
pub(crate) struct Chronyd<'a> {
    place: &'a Place,
    folder: PathBuf,
    process: RefCell<Option<Process>>,
}

impl<'a> Chronyd<'a> {
    pub(crate) fn start(place: &'a Place) -> Self {
        let folder = place.folder().join("chrony");
        fs::create_dir(&folder).unwrap();
        need("chronyd");
        let user = User::from_name("_chrony")
            .unwrap()
            .expect("the Debian package chrony makes the user _chrony");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        let text = format!(
            "local stratum 3\nallow 10.77.0.0/24\nallow fd77::/64\ncmdport 0\nbindcmdaddress {0}/socket\npidfile {0}/pid\n",
            folder.display()
        );
        fs::write(place.folder().join("chrony.conf"), text).unwrap();
        let chronyd = Self {
            place,
            folder,
            process: RefCell::default(),
        };
        chronyd.resume();
        chronyd
    }

    /// It does not believe its clock any more.
    pub(crate) fn unsynchronized(&self) {
        self.tell(&["local", "off"]);
    }

    /// It believes its clock, so many steps from a reference clock.
    pub(crate) fn stratum(&self, stratum: u8) {
        self.tell(&["local", "stratum", &stratum.to_string()]);
    }

    fn tell(&self, words: &[&str]) {
        assert!(self.ask(words), "chronyc {words:?}");
    }

    fn ask(&self, words: &[&str]) -> bool {
        need("chronyc");
        let mut chronyc = system("chronyc");
        chronyc
            .arg("-h")
            .arg(self.folder.join("socket"))
            .args(words)
            .output()
            .unwrap()
            .status
            .success()
    }

    pub(crate) fn stop(&self) {
        self.process.borrow_mut().as_mut().unwrap().stop();
    }

    pub(crate) fn resume(&self) {
        let mut command = self.place.command(Side::Far, "chronyd");
        command
            .args(["-x", "-d", "-f"])
            .arg(self.place.folder().join("chrony.conf"));
        let mut process = Process::start(&mut command, self.place.folder().join("chrony.log"));
        wait("chronyd", &mut process, || self.ask(&["tracking"]));
        *self.process.borrow_mut() = Some(process);
    }
}

/// sshd on port 2222, run by nobody.
pub(crate) struct Sshd<'a> {
    place: &'a Place,
    folder: PathBuf,
    process: RefCell<Option<Process>>,
}

impl<'a> Sshd<'a> {
    pub(crate) const PORT: u16 = 2222;

    pub(crate) fn start(place: &'a Place) -> Self {
        let folder = place.folder().join("ssh");
        fs::create_dir(&folder).unwrap();
        need("ssh-keygen");
        let key = folder.join("key");
        let mut keygen = system("ssh-keygen");
        assert!(
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status()
                .unwrap()
                .success()
        );
        for path in [&folder, &key] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let ([v4, v6], port) = (FAR, Self::PORT);
        let text = format!(
            "Port {port}\nListenAddress {v4}\nListenAddress {v6}\nHostKey {}\nPidFile none\nMaxStartups 100\n",
            key.display()
        );
        fs::write(folder.join("conf"), text).unwrap();
        let sshd = Self {
            place,
            folder,
            process: RefCell::default(),
        };
        sshd.resume();
        sshd
    }

    pub(crate) fn stop(&self) {
        self.process.borrow_mut().as_mut().unwrap().stop();
    }

    pub(crate) fn resume(&self) {
        need("sshd");
        let mut command = self.place.command(Side::Far, "setpriv");
        let nobody = NOBODY.to_string();
        command.args([
            "--reuid",
            &nobody,
            "--regid",
            &nobody,
            "--clear-groups",
            "/usr/sbin/sshd",
            "-D",
            "-e",
            "-f",
        ]);
        let mut process = Process::start(command.arg(self.folder.join("conf")), self.folder.join("log"));
        wait_for_port(self.place, Self::PORT, &mut process);
        *self.process.borrow_mut() = Some(process);
    }
}

/// Stands on `port` of the far side, and says `banner` to whoever comes. Goes with its value.
pub(crate) struct Impostor {
    gone: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Impostor {
    pub(crate) fn stand(place: &Place, port: u16, banner: &'static str) -> Self {
        let gone = Arc::new(AtomicBool::new(false));
        let threads = FAR.map(|address| {
            let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
            let listener = place.inside(Side::Far, move || TcpListener::bind(address).unwrap());
            listener.set_nonblocking(true).unwrap();
            let gone = Arc::clone(&gone);
            thread::spawn(move || {
                while !gone.load(Ordering::Relaxed) {
                    match listener.accept() {
                        // Who comes may be gone already.
                        Ok((mut stream, _)) => drop(stream.write_all(banner.as_bytes())),
                        Err(_) => thread::sleep(Duration::from_millis(2)),
                    }
                }
            })
        });
        Self {
            gone,
            threads: threads.into(),
        }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn wait_for_port(place: &Place, port: u16, process: &mut Process) {
    for address in FAR {
        let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        wait(&address.to_string(), process, || {
            place.inside(Side::Far, move || TcpStream::connect(address).is_ok())
        });
    }
}

/// Waits until `ready`; panics when the server has ended instead.
fn wait(what: &str, process: &mut Process, ready: impl Fn() -> bool) {
    for _ in 0..1000 {
        if ready() {
            return;
        }
        assert!(
            process.is_running(),
            "{what} does not answer, its server has ended:\n{}",
            process.said()
        );
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} does not answer:\n{}", process.said());
}
