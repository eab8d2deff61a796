//! A run over TCP: messages follow each other on one connection, which is made again when it breaks.

use std::time::Duration;

use lapwing_api::echo::{EchoEvent, EchoShape};
use lapwing_core::{
    monitor::Source,
    observation::Fault,
    time::{Clock as _, short},
};
use lapwing_probe::echo::{Jitter, Times, bounce, fill};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    Order, Orders, Pace, Plan,
    telling::{Run, Telling, millis},
};

/// Runs to the end, and gives how many came back.
pub(super) async fn run(plan: &Plan, telling: &Telling, orders: &mut Orders) -> anyhow::Result<u64> {
    let mut account = Account {
        plan,
        telling,
        run: Run::new(plan.clock.now()),
        sent: 0,
        under_way: false,
        times: Times::default(),
        jitter: Jitter::default(),
    };
    let mut line = Line {
        plan,
        stream: None,
        message: vec![0; plan.size],
        buffer: vec![0; plan.size],
    };
    let mut pace = Pace::new(plan);
    while let Some(due) = pace.due() {
        let wait = sleep(due.since(plan.clock.mono()));
        let Some(()) = account.meanwhile(orders, wait).await? else {
            break;
        };
        pace.sent(plan.clock.mono());
        account.sent += 1;
        account.under_way = true;
        let asking = line.ask(account.sent);
        let Some(outcome) = account.meanwhile(orders, asking).await? else {
            break;
        };
        account.under_way = false;
        if !account.enter(outcome)? {
            break;
        }
    }
    account.summary()?;
    Ok(account.times.count())
}

/// What one message took.
struct Took {
    /// When a connection had to be made first.
    connect: Option<Duration>,
    rtt: Result<Duration, Fault>,
}

struct Line<'a> {
    plan: &'a Plan,
    stream: Option<TcpStream>,
    message: Vec<u8>,
    buffer: Vec<u8>,
}

impl Line<'_> {
    async fn ask(&mut self, seq: u64) -> Took {
        let mut took = Took {
            connect: None,
            rtt: Err(Fault::target(
                "timeout.connect",
                format!("no connection within {}", short(self.plan.timeout)),
            )),
        };
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let begun = self.plan.clock.mono();
                let connect = self.plan.net.connect(self.plan.peer, &Source::Any);
                match timeout(self.plan.timeout, connect).await {
                    Ok(Ok(stream)) => {
                        took.connect = Some(self.plan.clock.mono().since(begun));
                        stream
                    }
                    Ok(Err(fault)) => {
                        took.rtt = Err(fault);
                        return took;
                    }
                    Err(_) => return took,
                }
            }
        };
        let begun = self.plan.clock.mono();
        fill(&mut self.message, self.plan.cookie, seq, begun);
        let back = bounce(&mut stream, &self.message, &mut self.buffer);
        took.rtt = match timeout(self.plan.timeout, back).await {
            Ok(back) => back.map(|()| self.plan.clock.mono().since(begun)),
            Err(_) => Err(self.plan.silence()),
        };
        // After a message that did not come back whole, nothing on this connection can be told apart.
        self.stream = took.rtt.is_ok().then_some(stream);
        took
    }
}

struct Account<'a> {
    plan: &'a Plan,
    telling: &'a Telling,
    run: Run,
    sent: u64,
    under_way: bool,
    times: Times,
    jitter: Jitter,
}

impl Account<'_> {
    /// Waits for `work`, and obeys meanwhile. None when it is told to stop, or nobody reads any more.
    async fn meanwhile<T>(
        &self,
        orders: &mut Orders,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<Option<T>> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                order = orders.next() => match order {
                    Order::Summary if self.summary()? => {}
                    _ => return Ok(None),
                },
            }
        }
    }

    fn tell(&self, event: EchoEvent) -> anyhow::Result<bool> {
        self.telling.event(self.plan.clock.now().wall, event)
    }

    fn summary(&self) -> anyhow::Result<bool> {
        let now = self.plan.clock.now();
        let run = &self.run;
        self.tell(run.of_messages(
            self.plan,
            now,
            self.sent,
            self.under_way,
            &self.times,
            self.jitter,
        ))
    }

    fn enter(&mut self, took: Took) -> anyhow::Result<bool> {
        let mut reading = true;
        if let Some(connect) = took.connect {
            reading = self.tell(EchoEvent::Connected {
                took_ms: millis(connect),
            })?;
        }
        let seq = self.sent;
        match took.rtt {
            Ok(rtt) => {
                self.times.add(rtt);
                self.jitter.add(rtt.as_secs_f64());
                reading &= self.tell(EchoEvent::Echo(EchoShape {
                    seq,
                    bytes: self.plan.size,
                    from: self.plan.peer.to_string(),
                    rtt_ms: millis(rtt),
                    out_change_ms: None,
                    back_change_ms: None,
                    duplicate: false,
                    reordered: false,
                    late: false,
                }))?;
            }
            Err(Fault::Ours(reason)) => {
                self.sent -= 1;
                let event = self.run.not_sent(&reason);
                reading &= self.tell(event)?;
            }
            Err(Fault::Target(reason)) => reading &= self.tell(EchoEvent::lost(seq, &reason))?,
        }
        Ok(reading)
    }
}
