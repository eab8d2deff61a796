//! Where sensors and jobs report in: the listener of datagrams and that of HTTP pings.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use lapwing_core::time::Clock;
use lapwing_link::heartbeat::{
    HeartbeatCounters, HeartbeatError, HeartbeatListener, HeartbeatServer, Known, RECEIVE_BUFFER, Rosters,
};
use lapwing_web::pings::{PingCounters, Pings};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    ear::{Reception, SensorEar},
    recorder::Vital,
};

/// The listener of heartbeat datagrams: bound, and hearing once it is started.
pub(super) struct Sensors {
    pub(super) wanted: SocketAddr,
    pub(super) bound: SocketAddr,
    pub(super) counters: Arc<HeartbeatCounters>,
    receive_buffer: usize,
    server: Option<HeartbeatServer>,
    listener: Option<HeartbeatListener>,
}

/// What a listener of datagrams needs to hear.
#[derive(Clone)]
pub struct Hearing {
    pub reception: Arc<Reception>,
    pub rosters: Rosters,
    pub clock: Arc<dyn Clock>,
    pub vital: Arc<Vital>,
}

impl Sensors {
    pub(super) fn bind(wanted: SocketAddr) -> anyhow::Result<Self> {
        let server = HeartbeatServer::bind(wanted)
            .map_err(|error| match error {
                HeartbeatError::Listen { source, .. } => anyhow::Error::new(source),
                HeartbeatError::Thread(_) => anyhow::Error::new(error),
            })
            .with_context(|| {
                format!("sensors cannot be heard on UDP {wanted}; choose another address in the configuration: [heartbeat] listen")
            })?;
        Ok(Self {
            wanted,
            bound: server.address(),
            counters: server.counters(),
            receive_buffer: server.receive_buffer(),
            server: Some(server),
            listener: None,
        })
    }

    /// Hears from now on.
    pub(super) fn start(&mut self, hearing: &Hearing, known: Known) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            let ear = SensorEar::new(
                Arc::clone(&hearing.reception),
                server.replier(),
                hearing.vital.of("listener of heartbeats"),
            );
            let (rosters, clock) = (hearing.rosters.clone(), Arc::clone(&hearing.clock));
            self.listener = Some(server.start(rosters, known, clock, Box::new(ear))?);
        }
        Ok(())
    }

    /// Hears nothing any more; what was heard may still be answered.
    pub(super) fn stop(&mut self) {
        self.server = None;
        if let Some(listener) = self.listener.take() {
            listener.stop();
        }
    }

    pub(super) fn describe(&self) -> String {
        let (bound, buffer) = (self.bound, size(self.receive_buffer));
        let less = if self.receive_buffer < RECEIVE_BUFFER {
            format!(
                ", {} would be better: raise net.core.rmem_max",
                size(RECEIVE_BUFFER)
            )
        } else {
            String::new()
        };
        format!("heartbeats on udp {bound} (receive buffer {buffer}{less})")
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// The listener of HTTP pings; it stops when told, or when dropped.
pub(super) struct PingDoor {
    pub(super) wanted: SocketAddr,
    pub(super) bound: SocketAddr,
    pub(super) counters: Arc<PingCounters>,
    listener: Option<TcpListener>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl PingDoor {
    pub(super) async fn bind(wanted: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(wanted).await.with_context(|| {
            format!("pings cannot be taken on {wanted}; choose another address in the configuration: [heartbeat] http")
        })?;
        Ok(Self {
            wanted,
            bound: listener.local_addr()?,
            counters: Arc::default(),
            listener: Some(listener),
            stop: watch::channel(false).0,
            task: None,
        })
    }

    pub(super) fn serve(&mut self, pings: Arc<dyn Pings>) {
        if let Some(listener) = self.listener.take() {
            let (counters, stop) = (Arc::clone(&self.counters), self.stop.subscribe());
            self.task = Some(tokio::spawn(lapwing_web::pings::serve(
                listener, pings, counters, stop,
            )));
        }
    }

    /// Takes no more requests; those under way are finished, but do not hold us up.
    pub(super) async fn stop(mut self) {
        self.listener = None;
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            drop(task.await);
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("pings on http://{}/ping/…", self.bound)
    }
}
