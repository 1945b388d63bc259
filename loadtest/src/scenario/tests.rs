//! What is taken for settings, and a whole load against a shop that is made up.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use clap::Parser;
use tokio::net::TcpListener;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

fn settings(arguments: &[&str]) -> Result<Settings, clap::Error> {
    Line::try_parse_from([&["loadtest"], arguments].concat()).map(|line| line.settings)
}

#[test]
fn without_a_word_it_is_the_mix_of_a_hundred_users_who_think() {
    let settings = settings(&[]).unwrap();
    assert_eq!((settings.scenario, settings.users, settings.ramp), (Scenario::Mix, 100, 10.0));
    assert_eq!(settings.think.0, Some((Duration::from_secs(1), Duration::from_secs(3))));
    assert_eq!(settings.rate(), None);
}

#[test]
fn a_rate_makes_the_loop_open_and_a_spike_has_one() {
    assert_eq!(settings(&["orders", "--rate", "500"]).unwrap().rate(), Some(500.0));
    assert_eq!(settings(&["spike"]).unwrap().rate(), Some(200.0));
    assert!(settings(&["mix", "--rate", "5", "--users", "3"]).is_err());
}

#[test]
fn what_has_no_sense_is_refused() {
    for wrong in [
        ["--rate", "0"],
        ["--rate", "-1"],
        ["--ramp", "NaN"],
        ["--think", "3s-1s"],
        ["--think", "1s"],
        ["--duration", "2h"],
        ["--users", "0"],
        ["--in-flight", "0"],
        ["--process", "order-api"],
    ] {
        assert!(settings(&wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(settings(&["--think", "none"]).unwrap().think, Think(None));
}

/// A shop in which every order meets an overload.
async fn shop() -> String {
    let product = r#"{"success":true,"data":{},"from_cache":true,"response_time_ms":0.1}"#;
    let busy = storefront::refusals::too_many_orders().body(None).to_string();
    let busy = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], busy);
    let routes = Router::new()
        .route("/api/product/{id}", get(move || async move { product }))
        .route("/api/order", post(move || async move { busy.clone() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn a_load_is_counted_and_its_page_needs_nothing_from_anywhere_else() {
    let url = shop().await;
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.html");
    let own = format!("a <b>={}", std::process::id());
    let settings = settings(&[
        "--url",
        &url,
        "--rate",
        "200",
        "--duration",
        "1500ms",
        "--process",
        &own,
        "--report",
        report.to_str().unwrap(),
    ])
    .unwrap();
    let run = load(&settings).await.unwrap();
    assert_eq!(run.requests, 300);
    assert_eq!(run.hit_rate, Some(1.0));
    assert_eq!(run.errors.keys().collect::<Vec<_>>(), ["503 overloaded"]);
    let page = std::fs::read_to_string(report).unwrap();
    for outside in ["<script", "<link", "<img", "<iframe", "@import", "url(", "src=", "href=", "@font-face"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // The address of the shop is text, and nothing else is an address.
    assert_eq!(page.matches("http").count(), page.matches(&url).count());
    assert!(page.contains("a &lt;b&gt;") && !page.contains("a <b>"));
    assert_eq!(page.matches("<svg").count(), 6);
}

#[tokio::test]
async fn without_a_shop_there_is_no_load() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = load(&settings(&["--url", &url]).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("nobody answers"), "{error:#}");
}

#[tokio::test]
async fn a_load_of_which_nothing_ended_well_is_a_failure() {
    let url = shop().await;
    let settings = settings(&["orders", "--url", &url, "--rate", "50", "--duration", "200ms"]).unwrap();
    let error = load(&settings).await.unwrap_err();
    assert!(error.to_string().contains("10 503 overloaded"), "{error:#}");
}
