//! What `top` asks of the daemon. One question of each sort is under way at a time, and nobody waits for it.

use std::{future::Future, time::Duration};

use lapwing_api::{
    client::{Client, ClientError},
    monitors::{HistoryQuery, HistoryShape, MonitorDetails, SeriesPage, SeriesQuery, TailsShape},
    shapes::EventShape,
    steering::WishShape,
};
use lapwing_core::time::Mono;
use lapwing_term::top::Wants;
use tokio::{sync::mpsc, time::sleep};

/// Answers that wait to be shown; whoever has more waits.
const WAITING: usize = 1_024;
/// Until the stream of events is asked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// Until what has changed is asked for again.
const SOON: Duration = Duration::from_millis(250);

/// What came back.
pub(super) enum Answer {
    Page(SeriesQuery, Result<SeriesPage, ClientError>),
    Tails(Result<TailsShape, ClientError>),
    Details(String, Result<Box<MonitorDetails>, ClientError>),
    History(HistoryQuery, Result<HistoryShape, ClientError>),
    Event(Box<EventShape>),
    /// What came of an action: a sentence, and whether it is a bad one.
    Said(String, bool),
}

/// Series, and how many results of each.
type Wanted = (Vec<String>, usize);

/// Asks, and gives the answers.
pub(super) struct Feed {
    client: Client,
    answers: mpsc::Sender<Answer>,
    page: Slot<SeriesQuery>,
    tails: Slot<Wanted>,
    details: Slot<String>,
    history: Slot<HistoryQuery>,
}

impl Feed {
    pub(super) fn new(client: Client) -> (Self, mpsc::Receiver<Answer>) {
        let (answers, come) = mpsc::channel(WAITING);
        tokio::spawn(follow(client.clone(), answers.clone()));
        let feed = Self {
            client,
            answers,
            page: Slot::new(0, 1_000),
            tails: Slot::new(50, 1_000),
            details: Slot::new(100, 2_000),
            history: Slot::new(100, 5_000),
        };
        (feed, come)
    }

    /// Asks for what is wanted and not known yet, or known for too long. True when something has to wait a little.
    pub(super) fn ask(&mut self, wants: Wants, now: Mono) -> bool {
        let Wants {
            list,
            tails,
            details,
            history,
        } = wants;
        let asker = Asker {
            client: &self.client,
            answers: &self.answers,
            now,
        };
        let waits = [
            asker.ask(&mut self.page, Some(list), |client, query| async move {
                let page = client.series(&query).await;
                Answer::Page(query, page)
            }),
            asker.ask(
                &mut self.tails,
                Some(tails).filter(|(series, _)| !series.is_empty()),
                |client, (series, count)| async move { Answer::Tails(client.tails(&series, count).await) },
            ),
            asker.ask(&mut self.details, details, |client, series| async move {
                let details = client.monitor(&series).await.map(Box::new);
                Answer::Details(series, details)
            }),
            asker.ask(&mut self.history, history, |client, query| async move {
                let history = client.history(&query).await;
                Answer::History(query, history)
            }),
        ];
        waits.contains(&true)
    }

    /// A question has been answered.
    pub(super) fn answered(&mut self, answer: &Answer, now: Mono) {
        match answer {
            Answer::Page(..) => self.page.answered(now),
            Answer::Tails(..) => self.tails.answered(now),
            Answer::Details(..) => self.details.answered(now),
            Answer::History(..) => self.history.answered(now),
            Answer::Event(_) | Answer::Said(..) => {}
        }
    }

    /// How long the list has been asked for, while there is no answer.
    pub(super) fn unanswered(&self, now: Mono) -> Option<Duration> {
        let asked = self.page.asked.as_ref().filter(|_| self.page.is_busy);
        asked.map(|(_, at)| now.since(*at))
    }

    /// What somebody has done is to be seen at once.
    pub(super) fn refresh(&mut self) {
        self.page.forget();
        self.details.forget();
    }

    /// Something has happened: it is to be seen soon, however much happens.
    pub(super) fn refresh_soon(&mut self) {
        self.page.is_old = true;
        self.details.is_old = true;
    }

    pub(super) fn wish(&self, wish: WishShape) {
        let client = self.client.clone();
        spawn(&self.answers, async move {
            match client.wish(&wish).await {
                Ok(done) => Answer::Said(done.text, false),
                Err(error) => Answer::Said(error.to_string(), true),
            }
        });
    }

    pub(super) fn check(&self, series: String) {
        let client = self.client.clone();
        spawn(&self.answers, async move {
            match checked(&client, series).await {
                Ok(text) => Answer::Said(text, false),
                Err(error) => Answer::Said(error.to_string(), true),
            }
        });
    }
}

/// `web is up, 12.3ms` of the first result that comes.
async fn checked(client: &Client, series: String) -> Result<String, ClientError> {
    let mut lines = client.check(std::slice::from_ref(&series)).await?;
    let Some(line) = lines.next().await else {
        return Ok(format!("{series} was not checked"));
    };
    let line = line?;
    let why = line
        .check
        .reason
        .map_or_else(String::new, |why| format!(": {}", why.detail));
    Ok(format!(
        "checked {}: {}, {:.1}ms{why}",
        line.series, line.check.state, line.check.total_ms
    ))
}

/// Events as they happen, also after the daemon was away.
async fn follow(client: Client, answers: mpsc::Sender<Answer>) {
    loop {
        if let Ok(mut events) = client.events(&[]).await {
            while let Some(Ok(event)) = events.next().await {
                if answers.send(Answer::Event(Box::new(event))).await.is_err() {
                    return;
                }
            }
        }
        sleep(AGAIN).await;
    }
}

fn spawn(answers: &mpsc::Sender<Answer>, question: impl Future<Output = Answer> + Send + 'static) {
    let answers = answers.clone();
    tokio::spawn(async move {
        // Nobody wants it any more when the other end is gone.
        drop(answers.send(question.await).await);
    });
}

/// Asks what is due.
struct Asker<'f> {
    client: &'f Client,
    answers: &'f mpsc::Sender<Answer>,
    now: Mono,
}

impl Asker<'_> {
    /// True when it is not due yet.
    fn ask<Q, F>(&self, slot: &mut Slot<Q>, wanted: Option<Q>, question: impl FnOnce(Client, Q) -> F) -> bool
    where
        Q: Clone + PartialEq,
        F: Future<Output = Answer> + Send + 'static,
    {
        match wanted.map_or(Next::Nothing, |query| slot.next(query, self.now)) {
            Next::Ask(query) => spawn(self.answers, question(self.client.clone(), query)),
            Next::Wait => return true,
            Next::Nothing => {}
        }
        false
    }
}

/// One sort of question.
struct Slot<Q> {
    asked: Option<(Q, Mono)>,
    is_busy: bool,
    /// The last answer is known to be an old one.
    is_old: bool,
    /// How long the last one took.
    took: Duration,
    /// Between two different ones, and until the same one is asked again.
    gap: Duration,
    every: Duration,
}

enum Next<Q> {
    Ask(Q),
    Wait,
    Nothing,
}

impl<Q: Clone + PartialEq> Slot<Q> {
    fn new(gap_ms: u64, every_ms: u64) -> Self {
        Self {
            asked: None,
            is_busy: false,
            is_old: false,
            took: Duration::ZERO,
            gap: Duration::from_millis(gap_ms),
            every: Duration::from_millis(every_ms),
        }
    }

    fn next(&mut self, query: Q, now: Mono) -> Next<Q> {
        if self.is_busy {
            // Its answer wakes us.
            return Next::Nothing;
        }
        if let Some((asked, at)) = &self.asked {
            let since = now.since(*at);
            // What costs the daemon much is asked for less often.
            let every = if self.is_old { SOON } else { self.every };
            let every = every.max(self.took * 10);
            if *asked == query && since < every {
                return if self.is_old { Next::Wait } else { Next::Nothing };
            }
            if *asked != query && since < self.gap {
                return Next::Wait;
            }
        }
        self.asked = Some((query.clone(), now));
        (self.is_busy, self.is_old) = (true, false);
        Next::Ask(query)
    }

    fn answered(&mut self, now: Mono) {
        self.is_busy = false;
        self.took = self
            .asked
            .as_ref()
            .map_or(Duration::ZERO, |(_, at)| now.since(*at));
    }

    fn forget(&mut self) {
        if !self.is_busy {
            self.asked = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(slot: &mut Slot<u8>, query: u8, at_ms: u64) -> Option<bool> {
        match slot.next(query, Mono(at_ms * 1_000)) {
            Next::Ask(_) => Some(true),
            Next::Wait => Some(false),
            Next::Nothing => None,
        }
    }

    #[test]
    fn the_same_is_asked_once_a_second_and_another_one_soon() {
        let mut slot = Slot::new(50, 1_000);
        assert_eq!(asks(&mut slot, 1, 0), Some(true));
        assert_eq!(asks(&mut slot, 2, 10), None, "one at a time");
        slot.answered(Mono(20_000));
        assert_eq!(asks(&mut slot, 1, 30), None);
        assert_eq!(asks(&mut slot, 2, 30), Some(false));
        assert_eq!(asks(&mut slot, 2, 50), Some(true));
        slot.answered(Mono(60_000));
        assert_eq!(asks(&mut slot, 2, 1_049), None);
        assert_eq!(asks(&mut slot, 2, 1_050), Some(true));
        slot.answered(Mono(1_250_000));
        assert_eq!(
            asks(&mut slot, 2, 2_100),
            None,
            "it took 200 ms, so it comes every 2 s"
        );
        assert_eq!(asks(&mut slot, 2, 3_050), Some(true));
        slot.answered(Mono(3_060_000));
        slot.is_old = true;
        assert_eq!(asks(&mut slot, 2, 3_100), Some(false), "events come in thousands");
        assert_eq!(asks(&mut slot, 2, 3_300), Some(true));
        slot.answered(Mono(3_310_000));
        slot.forget();
        assert_eq!(asks(&mut slot, 2, 3_311), Some(true));
    }
}
