//! What is watched, piece by piece: lists, details, the past, edits, checks asked for now. Served on the local socket
//! alone: whoever may open it may do all of it. It must never do what it has not understood whole.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{
        ConnectInfo, Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    response::Response,
    routing::{get, post},
};
use lapwing_api::{
    monitors::{
        AddShape, CheckOrder, EditShape, EditedShape, HistoryQuery, HistoryShape, MonitorDetails,
        MonitorPage, MonitorQuery, NamesShape, NotifiersShape, ReportQuery, SeriesPage, SeriesQuery,
        TailsShape,
    },
    queries::{self, NamesQuery, StreamQuery, TailsQuery, Words},
    report::ReportShape,
    steering::{DoneShape, ErrorShape},
};

use crate::{
    Source,
    steering::{Peer, Refusal, Why, stream},
};

/// Longest name in a request, in bytes.
const MAX_NAME: usize = 1 << 10;

type Faces = State<Arc<dyn Source>>;
type Name = Result<Path<String>, PathRejection>;
pub(crate) type Asked = Result<Query<Words>, QueryRejection>;
type Body<T> = Result<Json<T>, JsonRejection>;
type Who = Option<Extension<ConnectInfo<Peer>>>;
type Told<T> = Result<Json<T>, Refusal>;

pub(crate) fn routes() -> Router<Arc<dyn Source>> {
    let one = get(monitor).patch(edit).delete(remove);
    Router::new()
        .route("/api/v1/series", get(series))
        .route("/api/v1/monitors", get(monitors).post(add))
        .route(
            "/api/v1/monitors/",
            get(nameless).patch(nameless).delete(nameless),
        )
        .route("/api/v1/monitors/{name}", one)
        .route("/api/v1/names", get(names))
        .route("/api/v1/checks", post(check))
        .route("/api/v1/results", get(results))
        .route("/api/v1/tails", get(tails))
        .route("/api/v1/history", get(history))
        .route("/api/v1/report", get(report))
        .route("/api/v1/notifiers", get(notifiers))
        .route("/api/v1/notifiers//test", post(nameless))
        .route("/api/v1/notifiers/{name}/test", post(test_notifier))
}

async fn series(State(source): Faces, asked: Asked) -> Told<SeriesPage> {
    let query = read(asked, SeriesQuery::from_pairs)?;
    source.series(query).await.map(Json)
}

async fn monitors(State(source): Faces, asked: Asked) -> Told<MonitorPage> {
    let query = read(asked, MonitorQuery::from_pairs)?;
    source.monitors(query).await.map(Json)
}

async fn monitor(State(source): Faces, name: Name, asked: Asked) -> Told<MonitorDetails> {
    read(asked, queries::nothing)?;
    source.monitor(named(name)?).await.map(Json)
}

async fn names(State(source): Faces, asked: Asked) -> Told<NamesShape> {
    let NamesQuery { prefix, limit } = read(asked, NamesQuery::from_pairs)?;
    source.names(prefix, limit).await.map(Json)
}

async fn add(State(source): Faces, who: Who, asked: Asked, body: Body<AddShape>) -> Told<EditedShape> {
    read(asked, queries::nothing)?;
    let example = r#"{"monitor":{"name":"web","target":"https://example.org"}}"#;
    let order = sent(body, example)?;
    if let Some(lapwing_api::Json::String(name)) = order.monitor.get("name") {
        short([name])?;
    }
    source.add(order, uid(who)).await.map(Json)
}

async fn edit(
    State(source): Faces,
    who: Who,
    name: Name,
    asked: Asked,
    body: Body<EditShape>,
) -> Told<EditedShape> {
    read(asked, queries::nothing)?;
    let order = sent(body, r#"{"set":{"interval":"30s"}}"#)?;
    source.edit(named(name)?, order, uid(who)).await.map(Json)
}

async fn remove(State(source): Faces, who: Who, name: Name, asked: Asked) -> Told<EditedShape> {
    read(asked, queries::nothing)?;
    source.remove(named(name)?, uid(who)).await.map(Json)
}

async fn check(State(source): Faces, asked: Asked, body: Body<CheckOrder>) -> Result<Response, Refusal> {
    read(asked, queries::nothing)?;
    let order = sent(body, r#"{"names":["web"]}"#)?;
    short(&order.names)?;
    source.check(order.names).await.map(stream)
}

async fn results(State(source): Faces, asked: Asked) -> Result<Response, Refusal> {
    let query = read(asked, StreamQuery::from_pairs)?;
    source.results(query.monitors).await.map(stream)
}

async fn tails(State(source): Faces, asked: Asked) -> Told<TailsShape> {
    let TailsQuery { series, count } = read(asked, TailsQuery::from_pairs)?;
    source.tails(series, count).await.map(Json)
}

async fn history(State(source): Faces, asked: Asked) -> Told<HistoryShape> {
    let query = read(asked, HistoryQuery::from_pairs)?;
    source.history(query).await.map(Json)
}

async fn report(State(source): Faces, asked: Asked) -> Told<ReportShape> {
    let query = read(asked, ReportQuery::from_pairs)?;
    source.report(query).await.map(Json)
}

async fn notifiers(State(source): Faces, asked: Asked) -> Told<NotifiersShape> {
    read(asked, queries::nothing)?;
    source.notifiers().await.map(Json)
}

async fn test_notifier(State(source): Faces, name: Name, asked: Asked) -> Told<DoneShape> {
    read(asked, queries::nothing)?;
    source.test_notifier(named(name)?).await.map(Json)
}

async fn nameless() -> Refusal {
    Refusal::new(Why::Bad, "no name is given").hint("`lapwing status --all` lists them")
}

/// The query of a request.
pub(crate) fn read<Q>(asked: Asked, read: fn(Words) -> Result<Q, ErrorShape>) -> Result<Q, Refusal> {
    let Query(words) = asked.map_err(|bad| Refusal::new(Why::Bad, bad.body_text()))?;
    short(words.iter().map(|(_, word)| word))?;
    Ok(read(words)?)
}

fn named(name: Name) -> Result<String, Refusal> {
    let Path(name) = name.map_err(|_| {
        Refusal::new(Why::Bad, "the name in the path is no UTF-8")
            .hint("write every byte that is no letter or digit as % and two hexadecimal digits")
    })?;
    short([&name])?;
    Ok(name)
}

/// Refuses words that nothing can be called.
pub(crate) fn short<'a>(words: impl IntoIterator<Item = &'a String>) -> Result<(), Refusal> {
    if words.into_iter().all(|word| word.len() <= MAX_NAME) {
        return Ok(());
    }
    let text = format!("a name of more than {MAX_NAME} bytes is given");
    Err(Refusal::new(Why::Bad, text).hint("`lapwing status --all` lists the names"))
}

/// The body of a request, which is like `example`.
pub(crate) fn sent<T>(body: Body<T>, example: &str) -> Result<T, Refusal> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(bad) => Err(Refusal::new(Why::Bad, bad.body_text()).hint(format!(
            "send JSON like {example}, with content-type application/json"
        ))),
    }
}

fn uid(who: Who) -> Option<u32> {
    who.and_then(|Extension(ConnectInfo(peer))| peer.uid())
}

#[cfg(test)]
mod tests;
