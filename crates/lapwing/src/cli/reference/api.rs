//! The page about the API: each route with its query, body and answer. It must never hold an example that is not
//! written by the shapes themselves.

use lapwing_api::{
    Json,
    surface::{Answer, REFUSALS, Route, examples, routes},
};

use super::{Page, cell};

const BEGIN: &str = "# API

What the daemon answers on the Unix socket `lapwing.sock` in its data folder, over HTTP/1.1. Whoever may open the socket may do all of this: its owner and root.

    curl --unix-socket data/lapwing.sock 'http://localhost/api/v1/series?state=down'
    curl --unix-socket data/lapwing.sock http://localhost/api/v1/wishes --json '{\"wish\": \"pause\", \"names\": [\"web\"]}'

Names in paths and queries are percent-encoded (RFC 3986). Times are RFC 3339 in UTC. Bodies are JSON, sent with `content-type: application/json`, and at most 8 MiB long. `v` is the version of a shape: fields may be added to it, none goes or changes its meaning; one that does not apply is absent. A key of a query or of a body that is not known is refused. `/api/v1/status` is served on the address of the status page, too.
";

pub(super) fn page() -> String {
    let mut page = Page(BEGIN.to_owned());
    for route in routes() {
        tell(&mut page, route);
    }
    page.line("\n## Refusals\n\nWhat is not done says why, and as a rule what to do about it:\n");
    json(
        &mut page,
        &serde_json::to_value(examples::error()).unwrap_or_default(),
    );
    page.line("\n| status | meaning |\n|---|---|");
    for (status, meaning) in REFUSALS {
        page.line(format!("| {status} | {meaning} |"));
    }
    page.line("\nA stream that has begun ends with such a line where it ends early.");
    page.0
}

fn tell(page: &mut Page, route: Route) {
    page.line(format!(
        "\n## {} {}\n\n{}\n",
        route.method, route.path, route.about
    ));
    if !route.query.is_empty() {
        page.line("| key | meaning |\n|---|---|");
        for (key, meaning) in route.query {
            page.line(format!("| `{key}` | {} |", cell(&meaning)));
        }
        page.line("");
    }
    if let Some(body) = route.body {
        page.line("Body:\n");
        json(page, &body);
        page.line("");
    }
    match route.answer {
        Answer::One(answer) => {
            page.line("Answer:\n");
            json(page, &answer);
        }
        Answer::Lines(line) => page.line(format!("Answer, a line each:\n\n```json\n{line}\n```")),
        Answer::Text(text) => page.line(format!("Answer: text for people, such as `{text}`.")),
    }
}

fn json(page: &mut Page, value: &Json) {
    page.line(format!("```json\n{value:#}\n```"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_told_with_all_that_belongs_to_it() {
        let page = page();
        for route in routes() {
            let head = format!("\n## {} {}\n", route.method, route.path);
            assert_eq!(page.matches(&head).count(), 1, "{head}");
            for (key, _) in route.query {
                assert!(page.contains(&format!("| `{key}` |")), "{key}");
            }
            if let Some(body) = route.body {
                assert!(page.contains(&format!("{body:#}")), "{body}");
            }
        }
        assert!(page.contains("| 429 |"));
    }
}
