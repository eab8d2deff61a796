//! A run over UDP: datagrams leave at their time, whatever comes back meanwhile.

use std::io;

use lapwing_api::echo::EchoEvent;
use lapwing_core::{
    monitor::Source,
    observation::{Fault, Reason},
    time::{Clock as _, Mono},
};
use lapwing_net::{Moment, fault_of};
use lapwing_probe::echo::{Book, DATAGRAM_MAX};
use tokio::{net::UdpSocket, time::sleep};

use super::{
    Order, Orders, Pace, Plan,
    telling::{Run, Telling, shape},
};

/// Runs to the end, and gives how many came back.
pub(super) async fn run(plan: &Plan, telling: &Telling, orders: &mut Orders) -> anyhow::Result<u64> {
    let mut line = Line {
        plan,
        telling,
        book: Book::new(plan.cookie, plan.size),
        run: Run::new(plan.clock.now()),
        socket: None,
        packet: vec![0; plan.size],
        trouble: None,
    };
    let mut pace = Pace::new(plan);
    let mut buffer = vec![0; DATAGRAM_MAX + 1];
    let mut reading = true;
    while reading {
        let now = plan.clock.mono();
        let due = pace.due();
        let all_told = line.book.sent() == line.book.totals().back + line.book.lost();
        if due.is_none() && all_told {
            break;
        }
        let next = [due, line.book.next_overdue(plan.timeout)];
        let wake = next.into_iter().flatten().min().unwrap_or(now);
        tokio::select! {
            biased;
            order = orders.next() => match order {
                Order::Stop => break,
                Order::Summary => reading = line.summary()?,
            },
            came = receive(line.socket.as_ref(), &mut buffer) => reading = line.receive(came, &buffer)?,
            () = until(wake, now) => {
                let now = plan.clock.mono();
                reading = line.tell_overdue(now)?;
                if due.is_some_and(|due| due <= now) && reading {
                    pace.sent(now);
                    reading = line.send().await?;
                }
            }
        }
    }
    line.summary()?;
    Ok(line.book.totals().back)
}

async fn until(wake: Mono, now: Mono) {
    if wake > now {
        sleep(wake.since(now)).await;
    }
}

/// The next datagram, or error, of a socket; without one, nothing ever comes.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<usize> {
    match socket {
        Some(socket) => socket.recv(buffer).await,
        None => std::future::pending().await,
    }
}

struct Line<'a> {
    plan: &'a Plan,
    telling: &'a Telling,
    book: Book,
    run: Run,
    /// None when it has to be opened anew: an address of ours may have gone.
    socket: Option<UdpSocket>,
    packet: Vec<u8>,
    /// What was said instead of an echo, last time: it is not said again and again.
    trouble: Option<Reason>,
}

impl Line<'_> {
    fn tell(&self, event: EchoEvent) -> anyhow::Result<bool> {
        self.telling.event(self.plan.clock.now().wall, event)
    }

    fn summary(&self) -> anyhow::Result<bool> {
        let now = self.plan.clock.now();
        self.tell(self.run.of_datagrams(self.plan, now, &self.book))
    }

    async fn send(&mut self) -> anyhow::Result<bool> {
        match self.try_send().await {
            Ok(None) => Ok(true),
            Ok(Some(earlier)) => self.trouble(&earlier),
            Err(fault) => {
                self.socket = None;
                let event = self.run.not_sent(fault.reason());
                self.tell(event)
            }
        }
    }

    /// Sends the next one. Gives what an ICMP message said about an earlier one.
    async fn try_send(&mut self) -> Result<Option<Fault>, Fault> {
        let opened = match self.socket.take() {
            Some(socket) => socket,
            None => self.plan.net.udp(self.plan.peer, &Source::Any)?,
        };
        let socket = self.socket.insert(opened);
        // It would be taken for an error of this one.
        let earlier = socket.take_error().ok().flatten();
        let now = self.plan.clock.mono();
        self.book.write_next(now, &mut self.packet);
        let sent = socket.send(&self.packet).await;
        sent.map_err(|error| fault_of(&error, Moment::Call))?;
        self.book.sent_at(now);
        Ok(earlier.map(|error| fault_of(&error, Moment::Later)))
    }

    fn receive(&mut self, came: io::Result<usize>, buffer: &[u8]) -> anyhow::Result<bool> {
        let now = self.plan.clock.now();
        let length = match came {
            Ok(length) => length,
            Err(error) => return self.trouble(&fault_of(&error, Moment::Later)),
        };
        match self.book.receive(&buffer[..length], now) {
            Ok(Some(arrival)) => {
                self.trouble = None;
                self.tell(shape(self.plan, &arrival))
            }
            // So late that nobody knows it any more.
            Ok(None) => Ok(true),
            Err(mismatch) => {
                self.run.strangers += 1;
                self.trouble(&mismatch.fault())
            }
        }
    }

    fn trouble(&mut self, fault: &Fault) -> anyhow::Result<bool> {
        let reason = fault.reason();
        if self.trouble.as_ref() == Some(reason) {
            return Ok(true);
        }
        self.trouble = Some(reason.clone());
        self.tell(EchoEvent::trouble(reason))
    }

    fn tell_overdue(&mut self, now: Mono) -> anyhow::Result<bool> {
        let silence = self.plan.silence();
        let mut reading = true;
        for seq in self.book.overdue(now, self.plan.timeout) {
            reading &= self.tell(EchoEvent::lost(seq, silence.reason()))?;
        }
        Ok(reading)
    }
}
