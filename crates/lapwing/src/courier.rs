//! Carries messages: a task each, from the outbox to the notifier, and the receipt back to the engine.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::tz::TimeZone;
use lapwing_core::{
    event::{Event, EventKind},
    id::stable_hash,
    lookout::Input,
    outbox::{Delivery, Notice, Receipt, Retry},
    time::Clock,
};
use lapwing_net::Net;
use lapwing_notify::{Built, Message as Letter};
use lapwing_web::stream::Broadcast;
use tokio::{runtime::Handle, sync::mpsc};
use tracing::{debug, info, warn};

use crate::{
    ear::Reception,
    engine::Message,
    recorder::{Outlet, Sign},
};

/// A message that waited longer than this says when it happened.
const LATE: Duration = Duration::from_secs(60);

/// Who is told, and on which clock: part of the running plan.
pub struct Told {
    pub notifiers: BTreeMap<String, Arc<Built>>,
    pub zone: TimeZone,
}

/// Shows events in the log and to those who follow, hands messages to notifiers, and has senders told that their beats count.
pub struct Courier {
    pub net: Net,
    pub runtime: Handle,
    pub engine: mpsc::Sender<Message>,
    pub told: Arc<RwLock<Arc<Told>>>,
    pub reception: Arc<Reception>,
    pub events: Arc<Broadcast>,
}

impl Outlet for Courier {
    fn heard(&self, ticket: u64) {
        self.reception.heard(ticket);
    }

    fn sign(&self, sign: Sign) {
        // Whoever no longer waits is stopping.
        self.runtime.spawn(async move { sign.send(()) });
    }

    fn announce(&self, event: &Arc<Event>) {
        self.events.announce(event);
        let series = event.series.as_ref().map_or("-", |s| s.name.as_str());
        let code = event.reason.as_ref().map_or("-", |r| r.code.as_str());
        // That a target is watched is said once for all of them; here it would be a line for each of thousands.
        if event.kind == EventKind::Monitoring {
            return debug!(series, "{}", event.text);
        }
        info!(event = event.kind.as_str(), series, code, "{}", event.text);
    }

    fn deliver(&self, delivery: Delivery) {
        let told = Arc::clone(&self.told.read().unwrap_or_else(PoisonError::into_inner));
        let Some(built) = told.notifiers.get(&*delivery.notifier).cloned() else {
            return self.settle(
                delivery.number,
                Receipt::Failed {
                    retry: Retry::Never,
                    message: format!("the notifier {} is no longer configured", delivery.notifier),
                    maybe_arrived: false,
                },
            );
        };
        let letter = letter(&delivery, self.net.clock(), &told.zone);
        let (net, engine) = (self.net.clone(), self.engine.clone());
        let number = delivery.number;
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move {
            let carried = runtime.spawn(async move { carry(&built, &letter, &net, &delivery).await });
            // A notifier that ends by a defect of ours must not take its place in the queue with it.
            let receipt = carried.await.unwrap_or_else(|_| Receipt::Failed {
                retry: Retry::Backoff,
                message: "the notifier ended by a defect of Lapwing".to_owned(),
                maybe_arrived: true,
            });
            let input = Input::Receipt {
                delivery: number,
                receipt,
            };
            // An engine that is gone keeps the row as being sent, and says so when it comes back.
            drop(engine.send(Message::Input(Box::new(input))).await);
        });
    }
}

impl Courier {
    fn settle(&self, delivery: u64, receipt: Receipt) {
        let engine = self.engine.clone();
        self.runtime.spawn(async move {
            drop(
                engine
                    .send(Message::Input(Box::new(Input::Receipt { delivery, receipt })))
                    .await,
            );
        });
    }
}

async fn carry(built: &Built, letter: &Letter, net: &Net, delivery: &Delivery) -> Receipt {
    match built.notifier.deliver(letter, net).await {
        Ok(receipt) => {
            if let Some(note) = receipt.note {
                warn!(notifier = %delivery.notifier, "delivered, but: {note}");
            }
            Receipt::Delivered
        }
        Err(failed) => {
            warn!(notifier = %delivery.notifier, code = failed.code, "not delivered: {}", failed.message);
            Receipt::Failed {
                retry: failed.retry,
                message: failed.message,
                maybe_arrived: failed.maybe_arrived,
            }
        }
    }
}

/// The message of a delivery: of one notice, or of several that a rate limit held back.
pub fn letter(delivery: &Delivery, clock: &dyn Clock, zone: &TimeZone) -> Letter {
    let now = clock.now().wall;
    let first = &delivery.notices[0];
    let mut letter = of_notice(first, zone);
    letter.resent = delivery.resent;
    let waited = now.since(first.at);
    letter.late = (waited >= LATE).then_some(waited);
    if delivery.notices.len() > 1 {
        digest(&mut letter, &delivery.notices);
    }
    letter
}

fn of_notice(notice: &Notice, zone: &TimeZone) -> Letter {
    Letter {
        id: notice.id.to_string(),
        resent: false,
        event: notice.kind.as_str().to_owned(),
        monitor: notice.monitor.clone(),
        series: notice.series.clone(),
        target: notice.target.clone(),
        kind: notice.probe.clone(),
        host: notice.host.clone(),
        at: notice.at,
        zone: zone.clone(),
        late: None,
        text: notice.text.clone(),
        short: headline(&notice.text),
        json: notice.json.clone(),
    }
}

/// One message about several events, oldest first.
fn digest(letter: &mut Letter, notices: &[Arc<Notice>]) {
    let count = notices.len();
    let mut text = format!("{count} messages were held back by the rate limit:");
    let mut events = Vec::with_capacity(count);
    for notice in notices {
        let written = write!(text, "\n{}", notice.text);
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        events.push(serde_json::from_str(&notice.json).unwrap_or(serde_json::Value::Null));
    }
    // A digest is a message of its own: a receiver that knows one of its notices must not take it for that one.
    let ids: Vec<String> = notices.iter().map(|n| n.id.to_string()).collect();
    letter.id = format!("digest-{:016x}", stable_hash(&ids.join(" ")));
    "digest".clone_into(&mut letter.event);
    letter.late = None;
    letter.short = format!("{count} messages held back: {}", headline(&notices[0].text));
    letter.json = serde_json::json!({
        "v": 1, "id": letter.id, "event": "digest", "at": letter.at.rfc3339(),
        "events": events, "resent": false, "text": text,
    })
    .to_string();
    letter.text = text;
}

/// The first words of a text, up to the reason's end: a subject, a text message.
fn headline(text: &str) -> String {
    let end = text.find(". ").unwrap_or(text.len());
    lapwing_core::observation::clean(text[..end].trim_end_matches('.'), 140)
}
