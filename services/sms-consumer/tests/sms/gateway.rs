//! What the answers of a gateway mean, and what it is sent.

use std::time::Duration;

use messaging::consumer::Answer;
use secrecy::SecretString;
use serde_json::json;
use sms_consumer::Gateway;
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::handler::{Service, handle};
use crate::orders::{order, order_for};

const LONG: Duration = Duration::from_secs(10);

fn gateway(server: &MockServer, token: Option<&str>, timeout: Duration) -> Gateway {
    let url = format!("{}/sms", server.uri()).parse().unwrap();
    Gateway::new(url, token.map(SecretString::from).as_ref(), timeout).unwrap()
}

async fn answering(status: u16) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).insert_header("location", "/elsewhere");
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn the_gateway_gets_number_text_order_key_and_token() {
    let server = MockServer::start().await;
    let event = order();
    let order_id = event.data.order_id;
    let text = format!("We received your order {order_id}. Total: 59.98. Thank you!");
    Mock::given(method("POST"))
        .and(path("/sms"))
        .and(header("idempotency-key", event.id.to_string()))
        .and(header("authorization", "Bearer secret"))
        .and(body_json(json!({"to": "+1234567890", "text": text, "order_id": order_id})))
        .respond_with(ResponseTemplate::new(202))
        .expect(1)
        .mount(&server)
        .await;
    let service = Service::new(gateway(&server, Some("secret"), LONG)).await;
    assert_eq!(handle(&service.handler, &event).await, Answer::Ok);
}

#[tokio::test]
async fn no_token_or_an_empty_one_is_not_sent() {
    let server = answering(202).await;
    for token in [None, Some("")] {
        let service = Service::new(gateway(&server, token, LONG)).await;
        assert_eq!(handle(&service.handler, &order()).await, Answer::Ok);
    }
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| !request.headers.contains_key("authorization")));
}

#[tokio::test]
async fn each_answer_of_the_gateway_leads_to_its_own_answer() {
    let retry = |code| Answer::Retry(format!("the text-message gateway answered {code}"));
    let poison = |code| Answer::Poison(format!("the text-message gateway answered {code}"));
    let unavailable =
        |code| Answer::Unavailable(format!("the text-message gateway does not serve us: it answered {code}"));
    for (code, expected) in [
        (200, Answer::Ok),
        (202, Answer::Ok),
        (429, retry(429)),
        (500, retry(500)),
        (503, retry(503)),
        (400, poison(400)),
        (404, poison(404)),
        (422, poison(422)),
        (401, unavailable(401)),
        (302, unavailable(302)),
    ] {
        let server = answering(code).await;
        let service = Service::new(gateway(&server, None, LONG)).await;
        assert_eq!(handle(&service.handler, &order()).await, expected, "{code}");
        assert_eq!(service.noted().await.len(), usize::from(expected == Answer::Ok), "{code}");
    }
}

#[tokio::test]
async fn a_gateway_that_is_slow_or_away_is_unavailable_and_the_reason_names_nobody() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(202).set_delay(Duration::from_secs(30));
    Mock::given(method("POST")).respond_with(slow).mount(&server).await;
    let service = Service::new(gateway(&server, None, Duration::from_millis(100))).await;
    assert_eq!(
        handle(&service.handler, &order()).await,
        Answer::Unavailable("the text-message gateway gave no answer: nothing in time".to_owned())
    );

    let url = format!("http://127.0.0.1:{}/sms?token=secret", testkit::free_port()).parse().unwrap();
    let service = Service::new(Gateway::new(url, None, LONG).unwrap()).await;
    assert_eq!(
        handle(&service.handler, &order_for("+4999")).await,
        Answer::Unavailable("the text-message gateway gave no answer: cannot connect".to_owned())
    );
}
