//! A network of a test's own, which has nothing but its loopback: its hosts 127.0.0.1 and ::1 can be made deaf.

use std::{
    fs, io::IoSliceMut, net::UdpSocket, os::fd::AsRawFd as _, panic::resume_unwind, process::Command, thread,
    time::Duration,
};

use nix::{
    cmsg_space,
    sched::{CloneFlags, unshare},
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
            setsockopt, socket, sockopt::ReceiveTimestampns,
        },
        time::TimeSpec,
    },
};

use crate::kit::PATIENCE;

/// Tells `story` in a network of its own. Sockets and programs of it stay there.
pub(crate) fn alone(story: fn()) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect(
            "this test needs root, because it makes a network namespace: run it as root, or `cargo xtask test --partial`",
        );
        let mut up = Command::new("ip");
        assert!(up.args(["link", "set", "lo", "up"]).status().unwrap().success());
        story();
    });
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// Whether this network answers no echo request to 127.0.0.0/8.
pub(crate) fn deaf(deaf: bool) {
    switch("/proc/sys/net/ipv4/icmp_echo_ignore_all", deaf);
}

/// Whether this network answers no echo request to ::1.
pub(crate) fn deaf6(deaf: bool) {
    switch("/proc/sys/net/ipv6/icmp/echo_ignore_all", deaf);
}

fn switch(path: &str, on: bool) {
    fs::write(path, if on { "1" } else { "0" }).unwrap();
}

/// Sees every echo request to an IPv4 address of this network, also those that nobody answers.
pub(crate) struct Requests(UdpSocket);

impl Requests {
    pub(crate) fn open() -> Self {
        let raw = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Icmp,
        );
        let socket = UdpSocket::from(raw.unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
        Self(socket)
    }

    /// When the next one came: the time since 1970 by the kernel, which is right however late this thread is.
    pub(crate) fn next(&self) -> Duration {
        loop {
            let (packet, at) = self.packet();
            let header = usize::from(packet[0] & 15) * 4;
            // RFC 792: 8 is an echo request, 0 a reply.
            if packet.get(header) == Some(&8) {
                return at;
            }
        }
    }

    fn packet(&self) -> (Vec<u8>, Duration) {
        let mut packet = vec![0; 2048];
        let (mut control, mut slices) = (cmsg_space!(TimeSpec), [IoSliceMut::new(&mut packet)]);
        let fd = self.0.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(&mut control), MsgFlags::empty()).unwrap();
        let stamp = |control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        };
        let at = message.cmsgs().unwrap().find_map(stamp).unwrap();
        let length = message.bytes;
        packet.truncate(length);
        (packet, at)
    }

    /// Waits until they come at a pace; the first steps of a monitor lead to its place in the schedule.
    pub(crate) fn next_at_pace(&self, pause: Duration) -> Duration {
        let mut last = self.next();
        for _ in 0..10 {
            let next = self.next();
            if is_about(next.saturating_sub(last), pause) {
                return next;
            }
            last = next;
        }
        panic!("they do not come every {pause:?}");
    }

    /// Proves that the next one comes `pause` after `before`, and gives its time.
    #[track_caller]
    pub(crate) fn next_after(&self, before: Duration, pause: Duration) -> Duration {
        let next = self.next();
        let found = next.saturating_sub(before);
        assert!(is_about(found, pause), "{found:?}, not {pause:?}");
        next
    }
}

/// Nearer than half of the shortest pause that a test tells apart, which is 500 ms.
fn is_about(found: Duration, wanted: Duration) -> bool {
    found.abs_diff(wanted) < Duration::from_millis(240)
}
