use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use lapwing_api::{
    monitors::{
        AddShape, EditShape, EditedShape, HistoryQuery, HistoryShape, MonitorDetails, MonitorPage,
        MonitorQuery, NamesShape, NotifiersShape, ReportQuery, SeriesPage, SeriesQuery, TailsShape,
    },
    report::ReportShape,
    shapes::StatusShape,
    steering::WishWord,
    surface::examples,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::watch,
    task::JoinHandle,
};

use super::*;
use crate::{
    Answer, local_router, router, serve_unix,
    stream::{Broadcast, Lines},
};

/// Says what the examples of the API say, and keeps what it was asked.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) wishes: Mutex<Vec<(WishShape, Option<u32>)>>,
    asked: Mutex<Vec<String>>,
    refusal: Option<Refusal>,
    pub(crate) events: Broadcast,
}

impl Desk {
    fn refused<T>(&self, done: T) -> Result<T, Refusal> {
        self.refusal.clone().map_or(Ok(done), Err)
    }

    fn says<T: Send + 'static>(&self, asked: String, says: T) -> Answer<'_, Result<T, Refusal>> {
        self.asked.lock().unwrap().push(asked);
        Box::pin(async { self.refused(says) })
    }

    /// Two lines, and the end.
    fn lines(&self, asked: String, line: &impl serde::Serialize) -> Answer<'_, Result<Lines, Refusal>> {
        let (sender, lines) = Lines::pair(2);
        for _ in 0..2 {
            sender.try_send(serde_json::to_string(line).unwrap()).unwrap();
        }
        self.says(asked, lines)
    }
}

fn who(uid: Option<u32>) -> String {
    uid.map_or_else(|| "nobody".to_owned(), |uid| uid.to_string())
}

impl Source for Desk {
    fn status(&self) -> Answer<'_, Option<StatusShape>> {
        Box::pin(async { self.refused(examples::status()).ok() })
    }

    fn restore(&self, from: PathBuf) -> Answer<'_, Result<String, String>> {
        Box::pin(async move {
            let done = format!("restored {}", from.display());
            self.refused(done).map_err(|refusal| refusal.text)
        })
    }

    fn alive(&self) -> Answer<'_, bool> {
        Box::pin(async { true })
    }

    fn wish(&self, wish: WishShape, uid: Option<u32>) -> Answer<'_, Result<DoneShape, Refusal>> {
        self.wishes.lock().unwrap().push((wish, uid));
        Box::pin(async { self.refused(examples::done()) })
    }

    fn reload(&self) -> Answer<'_, Result<ReloadShape, Refusal>> {
        Box::pin(async { self.refused(examples::reload()) })
    }

    fn events(&self, names: Vec<String>) -> Answer<'_, Result<crate::stream::Follower, Refusal>> {
        let follower = self.events.follow(names).map_err(|_| Refusal::stopping());
        Box::pin(async {
            self.refused(())?;
            follower
        })
    }

    fn series(&self, query: SeriesQuery) -> Answer<'_, Result<SeriesPage, Refusal>> {
        self.says(format!("{query:?}"), examples::series())
    }

    fn monitors(&self, query: MonitorQuery) -> Answer<'_, Result<MonitorPage, Refusal>> {
        self.says(format!("{query:?}"), examples::monitors())
    }

    fn monitor(&self, name: String) -> Answer<'_, Result<MonitorDetails, Refusal>> {
        self.says(format!("monitor {name}"), examples::details())
    }

    fn names(&self, prefix: String, limit: usize) -> Answer<'_, Result<NamesShape, Refusal>> {
        self.says(format!("names {prefix} {limit}"), examples::names())
    }

    fn add(&self, order: AddShape, uid: Option<u32>) -> Answer<'_, Result<EditedShape, Refusal>> {
        self.says(format!("add {order:?} {}", who(uid)), examples::added())
    }

    fn edit(
        &self,
        name: String,
        order: EditShape,
        uid: Option<u32>,
    ) -> Answer<'_, Result<EditedShape, Refusal>> {
        self.says(format!("edit {name} {order:?} {}", who(uid)), examples::changed())
    }

    fn remove(&self, name: String, uid: Option<u32>) -> Answer<'_, Result<EditedShape, Refusal>> {
        self.says(format!("remove {name} {}", who(uid)), examples::removed())
    }

    fn check(&self, names: Vec<String>) -> Answer<'_, Result<Lines, Refusal>> {
        self.lines(format!("check {names:?}"), &examples::checked())
    }

    fn results(&self, names: Vec<String>) -> Answer<'_, Result<Lines, Refusal>> {
        self.lines(format!("results {names:?}"), &examples::result())
    }

    fn tails(&self, series: Vec<String>, count: usize) -> Answer<'_, Result<TailsShape, Refusal>> {
        self.says(format!("tails {series:?} {count}"), examples::tails())
    }

    fn history(&self, query: HistoryQuery) -> Answer<'_, Result<HistoryShape, Refusal>> {
        self.says(format!("{query:?}"), examples::history())
    }

    fn report(&self, query: ReportQuery) -> Answer<'_, Result<ReportShape, Refusal>> {
        self.says(format!("{query:?}"), examples::report())
    }

    fn notifiers(&self) -> Answer<'_, Result<NotifiersShape, Refusal>> {
        self.says("notifiers".to_owned(), examples::notifiers())
    }

    fn test_notifier(&self, name: String) -> Answer<'_, Result<DoneShape, Refusal>> {
        self.says(format!("test {name}"), examples::tested())
    }
}

pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) desk: Arc<Desk>,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Fixture {
    pub(crate) fn new(refusal: Option<Refusal>) -> Self {
        Self::serving(refusal, local_router)
    }

    pub(crate) fn serving(refusal: Option<Refusal>, router: fn(Arc<dyn Source>) -> Router) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let desk = Arc::new(Desk {
            refusal,
            ..Desk::default()
        });
        let (stop, stopped) = watch::channel(false);
        let listener = UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(serve_unix(listener, router(Arc::clone(&desk) as _), stopped));
        Self {
            _folder: folder,
            socket,
            desk,
            stop,
            task,
        }
    }

    /// That this, and nothing else, was asked since the last look.
    pub(crate) fn was_asked(&self, expected: &str) {
        let asked = std::mem::take(&mut *self.desk.asked.lock().unwrap());
        assert_eq!(asked, [expected]);
    }

    pub(crate) fn was_asked_nothing(&self) {
        assert_eq!(*self.desk.asked.lock().unwrap(), [""; 0]);
    }

    /// The user of this process.
    pub(crate) fn me(&self) -> u32 {
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&self.socket).unwrap())
    }

    /// The head of the answer, in small letters.
    pub(crate) async fn head(&self, method: &str, path: &str) -> String {
        let mut stream = request(&self.socket, method, path, "").await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().0.to_lowercase()
    }

    /// Status and body of the answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = request(&self.socket, method, path, body).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
    }
}

async fn request(socket: &Path, method: &str, path: &str, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_wish_comes_with_who_sent_it() {
    let fixture = Fixture::new(None);
    let body = r#"{"wish":"pause","names":["web","db"],"until":"2026-11-20T18:00:00Z"}"#;
    let (status, done) = fixture.ask("POST", "/api/v1/wishes", body).await;
    assert_eq!(
        (status, &done),
        (200, &serde_json::to_value(examples::done()).unwrap())
    );
    let wishes = fixture.desk.wishes.lock().unwrap();
    let (wish, uid) = &wishes[0];
    assert_eq!(
        (wish.wish, wish.until.as_deref()),
        (WishWord::Pause, Some("2026-11-20T18:00:00Z"))
    );
    assert_eq!(*uid, Some(fixture.me()));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_hint() {
    let fixture = Fixture::new(None);
    for (method, path, body, says) in [
        ("POST", "/api/v1/wishes", "pause web", "JSON"),
        (
            "POST",
            "/api/v1/wishes",
            r#"{"wish":"nap","names":["web"]}"#,
            "nap",
        ),
        (
            "POST",
            "/api/v1/wishes",
            r#"{"wish":"pause","names":["web"],"for":"2h"}"#,
            "for",
        ),
        ("GET", "/api/v1/events?since=1h", "", "since"),
    ] {
        let (status, error) = fixture.ask(method, path, body).await;
        assert!(
            (400..=422).contains(&status) && status != 404,
            "{path}: {status} {error}"
        );
        assert_eq!(status, 400, "{path} {body}: {error}");
        assert!(error["error"].as_str().unwrap().contains(says), "{error}");
        assert!(error["hint"].is_string(), "{error}");
    }
    assert!(fixture.desk.wishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn each_refusal_has_its_status() {
    for (why, expected) in [
        (Why::Bad, 400),
        (Why::Unknown, 404),
        (Why::Conflict, 409),
        (Why::Unfit, 422),
        (Why::Crowded, 429),
        (Why::Unable, 503),
    ] {
        let fixture = Fixture::new(Some(Refusal::new(why, "it is so").hint("do this")));
        let wish = r#"{"wish":"ack","names":["web"]}"#;
        for (method, path, body) in [
            ("POST", "/api/v1/wishes", wish),
            ("POST", "/api/v1/reload", ""),
            ("GET", "/api/v1/events?monitor=a%20b", ""),
        ] {
            let (status, error) = fixture.ask(method, path, body).await;
            assert_eq!(
                (status, error),
                (expected, json!({"error":"it is so","hint":"do this"})),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_reload_says_what_was_applied() {
    let (status, applied) = Fixture::new(None).ask("POST", "/api/v1/reload", "").await;
    assert_eq!(
        (status, &applied["series"], &applied["new"]),
        (200, &3.into(), &1.into())
    );
}

#[tokio::test]
async fn events_come_as_they_happen_and_end_with_the_daemon() {
    let fixture = Fixture::new(None);
    let mut stream = request(&fixture.socket, "GET", "/api/v1/events?monitor=web", "").await;
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    // The head comes at once, before anything happens.
    while !seen.contains("\r\n\r\n") {
        let count = stream.read(&mut buffer).await.unwrap();
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    assert!(seen.contains("application/x-ndjson"), "{seen}");
    for (monitor, number) in [("web", 1), ("db", 2), ("web", 3)] {
        fixture
            .desk
            .events
            .announce(&crate::stream::tests::event(monitor, number));
    }
    while !seen.contains(r#""text":"3""#) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    assert!(!seen.contains(r#""text":"2""#), "{seen}");
    fixture.desk.events.close();
    fixture.stop.send_replace(true);
    let mut last = String::new();
    stream.read_to_string(&mut last).await.unwrap();
    assert!(last.ends_with("0\r\n\r\n"), "a whole answer: {last}");
    let ended = tokio::time::timeout(Duration::from_secs(20), fixture.task).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn nobody_steers_from_outside() {
    let fixture = Fixture::serving(None, router);
    for (method, path) in [
        ("POST", "/api/v1/wishes"),
        ("POST", "/api/v1/reload"),
        ("GET", "/api/v1/events"),
        ("POST", "/api/v1/restore"),
    ] {
        assert_eq!(fixture.ask(method, path, "{}").await.0, 404, "{path}");
    }
}
