//! A sensor for a long time, in short: thousands of beats, losses and look-ups, and the memory of the process.
//!
//! Alone in its process, so that what is measured is the sensor's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    net::{SocketAddr, UdpSocket},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use lapwing_core::{
    secret::Secret,
    target::Host,
    time::{Clock, Mono, Now, Wall},
};
use lapwing_link::sensor::{Identity, Lookup, Machine, Sensor, SensorSettings, Server, Start, Word};
use lapwing_wire::heartbeat::{Answer, Beat, LEN, Reply, SensorId};
use nix::time::{ClockId, clock_gettime};

const KEY: &str = "0123456789abcdefghij";
const BEATS: u64 = 2000;
/// Every so many beats, two in a row get lost, so that the name is looked up again.
const LOSSES: u64 = 50;

struct Machines;

impl Clock for Machines {
    fn now(&self) -> Now {
        let read = |id| Duration::from(clock_gettime(id).unwrap()).as_micros() as u64;
        Now {
            wall: Wall(read(ClockId::CLOCK_REALTIME) as i64),
            mono: Mono(read(ClockId::CLOCK_BOOTTIME)),
        }
    }
}

/// Resident memory of this process, in KiB (proc_pid_status(5)), and its open files.
fn held() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (kib, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// Acknowledges beats; gives what was held early and at the end.
fn monitor(socket: &UdpSocket, stop: &UnixStream) -> [(u64, usize); 2] {
    let id = SensorId::parse("soak").unwrap();
    let mut early = None;
    let mut buffer = [0; LEN];
    for nth in 0.. {
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        let beat = Beat::parse(&buffer).unwrap();
        if nth == BEATS / 5 {
            early = Some(held());
        }
        if nth == BEATS {
            let late = held();
            stop.shutdown(std::net::Shutdown::Both).unwrap();
            return [early.unwrap(), late];
        }
        if nth % LOSSES >= 2 {
            let reply = Reply {
                answer: Answer::Heard,
                boot: beat.boot,
                seq: beat.seq,
                instance: beat.instance,
                time: 0,
            };
            socket.send_to(&reply.write(&id, KEY.as_bytes()), from).unwrap();
        }
    }
    unreachable!("it counts on")
}

#[test]
fn a_sensor_does_not_grow() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let monitor = std::thread::spawn(move || monitor(&socket, &stop));
    let settings = SensorSettings {
        server: Server {
            host: Host::Name("monitor.example".to_owned()),
            port: 1,
        },
        identity: Some(Identity {
            id: SensorId::parse("soak").unwrap(),
            key: Secret::new(KEY),
        }),
        period: Duration::from_micros(200),
        patience: Duration::from_millis(20),
        instance: 1,
    };
    let machine = Machine {
        boot_id: String::new(),
        uptime: Duration::from_hours(1),
    };
    let (start, _) = Start::begin(None, machine, Wall(0));
    let lookup: Lookup = Arc::new(move |_| Ok::<Vec<SocketAddr>, _>(vec![address]));
    let mut say = |_: Word| {};
    Sensor::new(settings, start, lookup, &Machines, stopped.as_fd(), &mut say)
        .unwrap()
        .run()
        .unwrap();
    let [early, late] = monitor.join().unwrap();
    assert!(late.0 < early.0 + 512, "{early:?} KiB and files, then {late:?}");
    assert!(late.1 <= early.1 + 2, "{early:?} KiB and files, then {late:?}");
}
