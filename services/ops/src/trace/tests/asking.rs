//! Asking a Jaeger that answers, or does not, over a socket.

use std::time::Duration;

use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::jaeger::Jaeger;
use super::super::progress::Missing;
use super::super::sample::{self, TRACE};
use super::super::wait::{look, until_complete};

/// As Jaeger writes it: JSON that is called text.
const UNKNOWN: &str =
    r#"{"data":null,"total":0,"limit":0,"offset":0,"errors":[{"code":404,"msg":"trace not found"}]}"#;

fn jaeger(url: &str) -> Jaeger {
    Jaeger::new(url, Duration::from_secs(30)).unwrap()
}

fn impatient(url: &str) -> Jaeger {
    Jaeger::new(url, Duration::from_millis(300)).unwrap()
}

async fn answers(server: &MockServer, trace: &str, answer: ResponseTemplate, times: Option<u64>) {
    let mock = Mock::given(method("GET")).and(path(format!("/api/traces/{trace}"))).respond_with(answer);
    match times {
        Some(times) => mock.up_to_n_times(times).mount(server).await,
        None => mock.mount(server).await,
    }
}

fn json(body: impl Into<String>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.into(), "application/json")
}

fn unknown() -> ResponseTemplate {
    ResponseTemplate::new(404).set_body_string(UNKNOWN)
}

/// The sample without its orphan.
fn complete() -> String {
    sample::ORDER
        .lines()
        .filter(|line| !line.contains(sample::LOST))
        .collect::<Vec<_>>()
        .join("\n")
        .replace("},\n]", "}\n]")
}

async fn with_batches() -> MockServer {
    let server = MockServer::start().await;
    for (trace, batch) in sample::BATCHES {
        answers(&server, trace, json(batch), None).await;
    }
    server
}

#[tokio::test]
async fn a_trace_comes_with_the_batches_it_refers_to() {
    let server = with_batches().await;
    answers(&server, TRACE, json(sample::ORDER), None).await;
    let jaeger = jaeger(&format!("{}/", server.uri()));
    let story = look(&jaeger, TRACE).await.unwrap().story.unwrap();
    assert_eq!((story.own, story.spans.len(), story.batches.len()), (27, 35, 2));
}

#[tokio::test]
async fn a_trace_that_jaeger_does_not_know_is_no_error() {
    let server = MockServer::start().await;
    answers(&server, TRACE, unknown(), None).await;
    let seen = look(&jaeger(&server.uri()), TRACE).await.unwrap();
    assert!(seen.story.is_none() && !seen.progress.is_complete());
}

#[tokio::test]
async fn a_batch_that_jaeger_does_not_know_is_no_error_either() {
    let server = MockServer::start().await;
    answers(&server, TRACE, json(sample::ORDER), None).await;
    for (trace, _) in sample::BATCHES {
        answers(&server, trace, unknown(), None).await;
    }
    let story = look(&jaeger(&server.uri()), TRACE).await.unwrap().story.unwrap();
    assert_eq!((story.spans.len(), story.without_batch.len()), (27, 2));
}

#[tokio::test]
async fn a_jaeger_that_hangs_or_is_away_or_is_something_else_is_an_error_that_names_it() {
    let failure = async |server: &MockServer, jaeger: fn(&str) -> Jaeger| {
        let error = look(&jaeger(&server.uri()), TRACE).await.err().unwrap().to_string();
        assert!(error.contains(&server.uri()), "{error}");
        error
    };
    let server = MockServer::start().await;
    answers(&server, TRACE, json(sample::ORDER).set_delay(Duration::from_secs(60)), Some(1)).await;
    let hangs = failure(&server, impatient).await;
    assert!(hangs.ends_with("did not answer within 300ms"), "{hangs}");

    for (answer, expected) in [
        (json("<html>Grafana</html>"), "does not talk like Jaeger"),
        (json("{}"), "does not talk like Jaeger: missing field `data`"),
        (ResponseTemplate::new(404).set_body_string("404 page not found"), "it knows no /api/traces"),
        (ResponseTemplate::new(500).set_body_string("storage is away"), "status 500"),
    ] {
        answers(&server, TRACE, answer, Some(1)).await;
        let error = failure(&server, jaeger).await;
        assert!(error.contains(expected), "{error}");
    }

    let url = server.uri();
    drop(server);
    // A pooled server of wiremock may stay behind its handle: ask where nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_ne!(url, format!("http://{nobody}"));
    let error = look(&jaeger(&format!("http://{nobody}")), TRACE).await.err().unwrap().to_string();
    for part in
        [&format!("does not answer at http://{nobody} (Connection refused"), "./dev jaeger", "JAEGER_URL"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_wait_ends_when_all_is_there_and_nothing_was_added() {
    let server = with_batches().await;
    answers(&server, TRACE, unknown(), Some(1)).await;
    answers(&server, TRACE, json(sample::ORDER), Some(1)).await;
    answers(&server, TRACE, json(complete()), None).await;
    let seen = until_complete(&jaeger(&server.uri()), TRACE, Duration::from_secs(20)).await.unwrap();
    assert!(seen.progress.is_complete());
    let asked = server.received_requests().await.unwrap();
    let asked = asked.iter().filter(|request| request.url.path().ends_with(TRACE)).count();
    assert_eq!(asked, 4, "unknown, with an orphan, complete, and once more");
}

#[tokio::test]
async fn a_wait_that_is_over_returns_what_is_there_and_what_is_missing() {
    let server = with_batches().await;
    answers(&server, TRACE, json(sample::ORDER), None).await;
    let seen = until_complete(&jaeger(&server.uri()), TRACE, Duration::from_millis(600)).await.unwrap();
    assert!(seen.story.is_some());
    assert_eq!(seen.progress.missing, [Missing::Parents(vec![sample::LOST.to_owned()])]);

    let server = with_batches().await;
    answers(&server, TRACE, json(complete()), None).await;
    let seen = until_complete(&jaeger(&server.uri()), TRACE, Duration::ZERO).await.unwrap();
    assert_eq!(seen.progress.missing, [Missing::Rest], "one look cannot tell whether that was all");
}
