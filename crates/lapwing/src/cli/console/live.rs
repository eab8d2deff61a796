//! What happens while somebody types: events above the line, the state in the prompt, the daemon that goes and comes.
//!
//! It must never hold up who types, nor keep more than a few lines.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    time::Duration,
};

use lapwing_api::{
    client::{Client, ClientError, Lines},
    monitors::SeriesQuery,
    shapes::EventShape,
};
use lapwing_core::observation::clean;
use lapwing_term::{
    console::{flood::Flood, glance::Glance},
    event_lines,
};
use tokio::{runtime::Runtime, sync::Notify};

use crate::{cli::report::zone, out};

/// Events of this long are shown together.
const TOGETHER: Duration = Duration::from_millis(200);
/// After a flood nothing more is shown for so long.
const AFTER_FLOOD: Duration = Duration::from_secs(3);
/// How often the state is looked at when no event comes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two attempts to reach a daemon that has gone.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest text of an event, in bytes.
const TEXT: usize = 4_000;

/// Clears what is below: a line that wraps must not stand among the words of a menu (ECMA-48, section 8.3.39).
const CLEAR: &str = "\u{1b}[J";

/// Where things are shown, besides the line that is being typed.
pub(super) struct Screen {
    /// Above the line; None prints at once.
    pub(super) above: Option<SyncSender<String>>,
    /// Has the prompt shown again.
    pub(super) prompt: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Screen {
    /// A terminal that only takes lines.
    pub(super) fn plain() -> Self {
        Self {
            above: None,
            prompt: None,
        }
    }

    /// False when there is no room: somebody runs something that takes long.
    fn show(&self, line: String) -> bool {
        match &self.above {
            Some(above) => above.try_send(format!("{CLEAR}{line}")).is_ok(),
            None => out::print(&(line + "\n")).is_ok(),
        }
    }

    fn repaint(&self) {
        if let Some(prompt) = &self.prompt {
            prompt();
        }
    }
}

/// Shared by who types and who listens.
#[derive(Clone)]
pub(super) struct Live {
    client: Client,
    glance: Arc<Mutex<Glance>>,
    is_muted: Arc<AtomicBool>,
    look: Arc<Notify>,
}

impl Live {
    pub(super) fn new(client: Client, glance: Glance) -> Self {
        Self {
            client,
            glance: Arc::new(Mutex::new(glance)),
            is_muted: Arc::default(),
            look: Arc::default(),
        }
    }

    pub(super) fn glance(&self) -> Glance {
        self.glance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps events away, or lets them appear.
    pub(super) fn mute(&self, off: bool) {
        self.is_muted.store(off, Ordering::Relaxed);
    }

    /// Something may have changed.
    pub(super) fn look_again(&self) {
        self.look.notify_one();
    }

    pub(super) fn start(&self, runtime: &Runtime, screen: Screen) {
        let live = self.clone();
        runtime.spawn(async move { live.listen(&screen).await });
    }

    /// Listens for ever, to whichever daemon answers.
    async fn listen(&self, screen: &Screen) {
        let mut told = String::new();
        loop {
            let why = match self.client.events(&[]).await {
                Ok(lines) => {
                    if !std::mem::take(&mut told).is_empty() {
                        screen.show("The daemon is back.".to_owned());
                    }
                    self.look(screen).await;
                    self.follow(lines, screen).await
                }
                Err(error) => error,
            };
            let text = match why {
                ClientError::NoDaemon { .. } | ClientError::Broken { .. } => {
                    "The daemon has stopped; this goes on by itself when it is back.".to_owned()
                }
                other => format!("Events do not appear: {other}"),
            };
            // Once, however often it is tried.
            if told != text {
                screen.show(clean(&text, TEXT));
                told = text;
            }
            self.tell(Glance::default(), screen);
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Shows events until there are no more. Gives why.
    async fn follow(&self, mut lines: Lines<EventShape>, screen: &Screen) -> ClientError {
        let mut flood = Flood::default();
        let mut wait = TOGETHER;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                next = lines.next() => match next {
                    Some(Ok(event)) => self.take(event, &mut flood),
                    Some(Err(error)) => return error,
                    None => return ClientError::Broken { what: "has stopped", why: String::new() },
                },
                () = tokio::time::sleep(wait), if !flood.is_empty() => {
                    wait = if flood.is_over() { AFTER_FLOOD } else { TOGETHER };
                    let unseen = flood.take().into_iter().filter(|line| !screen.show(line.clone())).count();
                    if unseen > 0 {
                        flood.count("unseen", unseen);
                    }
                    self.look(screen).await;
                }
                _ = look.tick() => self.look(screen).await,
                () = self.look.notified() => self.look(screen).await,
            }
        }
    }

    fn take(&self, event: EventShape, flood: &mut Flood) {
        if self.is_muted.load(Ordering::Relaxed) {
            return;
        }
        let word = event.event.clone();
        flood.add(&word, || {
            let text = clean(&event.text, TEXT);
            let line = event_lines::live(&EventShape { text, ..event }, &zone(), out::paint());
            line.trim_end().to_owned()
        });
    }

    /// Counts what is down.
    async fn look(&self, screen: &Screen) {
        let counts = SeriesQuery {
            limit: 1,
            ..SeriesQuery::default()
        };
        if let Ok(page) = self.client.series(&counts).await {
            self.tell(Glance::new(&page.counts), screen);
        }
    }

    fn tell(&self, glance: Glance, screen: &Screen) {
        let mut told = self.glance.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != glance {
            *told = glance;
            screen.repaint();
        }
    }
}
