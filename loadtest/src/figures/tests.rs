//! Layout with all kinds of data, and a Prometheus that is made up.

use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::routing::get;
use chrono::DateTime;
use tokio::net::TcpListener;

use super::panels::{PANELS, Panel, Plan, Side, Unit};
use super::scale::Scale;
use super::series::{Series, Window, distinct};
use super::{Settings, clock, draw, svg};

const NOON: i64 = 1_795_608_000;

fn window(minutes: u32) -> Window {
    Window::new(DateTime::from_timestamp(NOON + 3, 0).unwrap(), minutes)
}

fn series(name: &str, values: &[f64]) -> Series {
    let window = window(5);
    let time = |i: usize| (window.start + i as i64 * window.step) as f64;
    let samples: Vec<_> = values.iter().enumerate().map(|(i, value)| (time(i), *value)).collect();
    Series::new(name.to_owned(), &samples, window)
}

fn panel(unit: Unit, curves: Vec<Series>) -> Panel {
    Panel { title: "Title".into(), left: Side { unit, curves }, right: None }
}

/// The paths of a page whose classes begin with those of a curve, without those of the legend.
fn curves(page: &str) -> Vec<&str> {
    let paths = page.split(r#"<path class="l "#).skip(1);
    paths
        .filter_map(|rest| rest.split_once(r#" d=""#)?.1.split_once('"').map(|(data, _)| data))
        .filter(|data| !data.ends_with("h16"))
        .collect()
}

fn labels(unit: Unit, values: &[f64]) -> Vec<String> {
    let scale = Scale::new(unit, values.iter().copied(), None);
    scale.ticks().into_iter().map(|tick| tick.label).collect()
}

#[test]
fn every_panel_finds_its_queries_in_the_dashboards() {
    let axes = PANELS.iter().flat_map(|Plan { left, right, .. }| std::iter::once(left).chain(right));
    for source in axes.flat_map(|axis| axis.sources) {
        assert!(!source.queries().unwrap().is_empty());
    }
}

#[test]
fn a_window_ends_at_a_full_step_and_has_no_more_points_than_the_picture() {
    let five = window(5);
    assert_eq!((five.start, five.step, five.steps), (NOON - 300, 5, 60));
    assert_eq!(five.rate_interval(), "20s");
    let day = window(24 * 60);
    assert!(day.steps <= 150 && day.steps * day.step >= 86_400, "{day:?}");
    assert_eq!(day.rate_interval(), format!("{}s", day.step + 5));
}

#[test]
fn a_curve_is_broken_where_nothing_was_measured_and_what_stands_alone_is_a_dot() {
    let gaps = series("p99", &[1.0, 2.0, f64::NAN, 3.0, f64::INFINITY, 4.0, 5.0]);
    assert_eq!(gaps.values[..7], [Some(1.0), Some(2.0), None, Some(3.0), None, Some(4.0), Some(5.0)]);
    let page = svg::page(&[panel(Unit::Seconds, vec![gaps])], window(5));
    let [path] = curves(&page)[..] else { panic!("{page}") };
    assert_eq!(path.matches('M').count(), 3, "{path}");
    assert_eq!(path.matches('L').count(), 2, "{path}");
    assert_eq!(path.matches("h0").count(), 1, "{path}");
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn a_single_point_and_a_curve_of_zeros_are_drawn() {
    let page = svg::page(&[panel(Unit::Rows, vec![series("rows", &[7.0])])], window(5));
    assert_eq!(curves(&page), ["M42 57.6h0"]);
    let page = svg::page(&[panel(Unit::Rows, vec![series("rows", &[0.0, 0.0])])], window(5));
    let [path] = curves(&page)[..] else { panic!("{page}") };
    assert!(path.starts_with("M42 167L"), "{path}");
}

#[test]
fn a_panel_without_data_says_so() {
    for curves in [vec![], distinct(vec![series("p99", &[f64::NAN])])] {
        let page = svg::page(&[panel(Unit::SecondsOfAnyLength, curves)], window(5));
        assert_eq!(page.matches("nothing measured").count(), 1, "{page}");
    }
}

#[test]
fn axes_end_at_round_numbers_in_the_unit_that_suits_them() {
    assert_eq!(labels(Unit::PerSecond, &[13.3]), ["0", "5", "10", "15"]);
    assert_eq!(labels(Unit::Seconds, &[0.031]), ["0", "10", "20", "30", "40"]);
    assert_eq!(labels(Unit::Seconds, &[42.0]), ["0", "10", "20", "30", "40", "50"]);
    assert_eq!(labels(Unit::Rows, &[3.0]), ["0", "1", "2", "3"]);
    assert_eq!(labels(Unit::Rows, &[47_000.0]), ["0", "10k", "20k", "30k", "40k", "50k"]);
    assert_eq!(labels(Unit::Share, &[0.3]), ["0", "25", "50", "75", "100"]);
    assert_eq!(labels(Unit::Cores, &[]).len(), 6);
    assert_eq!(
        labels(Unit::SecondsOfAnyLength, &[0.004, 40.0]),
        ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]
    );
    assert_eq!(labels(Unit::SecondsOfAnyLength, &[1.0]), ["100 ms", "1 s"]);
}

#[test]
fn the_axis_at_the_right_shares_the_lines_of_the_left_one() {
    let scale = Scale::new(Unit::Cores, [0.37].into_iter(), Some(4));
    let labels: Vec<_> = scale.ticks().into_iter().map(|tick| tick.label).collect();
    assert_eq!(labels, ["0", "0.1", "0.2", "0.3", "0.4"]);
}

#[test]
fn times_are_written_at_full_minutes_hours_and_days_and_have_room() {
    let labels =
        |minutes| clock::ticks(window(minutes)).into_iter().map(|tick| tick.label).collect::<Vec<_>>();
    assert_eq!(labels(5), ["11:55", "11:56", "11:57", "11:58", "11:59", "12:00"]);
    assert_eq!(
        labels(1),
        ["11:59:00", "11:59:10", "11:59:20", "11:59:30", "11:59:40", "11:59:50", "12:00:00"]
    );
    for minutes in [1, 2, 7, 30, 60, 1_000, 10_080] {
        assert!((2..=8).contains(&labels(minutes).len()), "{minutes}: {:?}", labels(minutes));
    }
}

#[test]
fn names_are_drawn_once_escaped_and_in_the_colour_of_their_process() {
    let curves = vec![series("a<b", &[1.0]), series("email-service", &[1.0]), series("a<b", &[2.0])];
    let page = svg::page(&[panel(Unit::Rows, distinct(curves))], window(5));
    assert_eq!(page.matches("a&lt;b").count(), 1, "{page}");
    assert_eq!(page.matches(r#"class="l email""#).count(), 2, "a curve and its line in the legend: {page}");
}

#[test]
fn a_legend_that_is_too_long_for_a_row_goes_on_in_the_next_one() {
    let names = [
        "order-api",
        "outbox-relay",
        "email-consumer",
        "sms-consumer",
        "inventory-consumer",
        "analytics-consumer",
    ];
    let many = panel(Unit::Cores, names.iter().map(|name| series(name, &[1.0])).collect());
    let tall = |page: String| {
        page.split_once(r#"height=""#).unwrap().1.split_once('"').unwrap().0.parse::<f64>().unwrap()
    };
    let one = panel(Unit::Cores, vec![series("order-api", &[1.0])]);
    assert!(tall(svg::page(&[many], window(5))) > tall(svg::page(&[one], window(5))));
}

/// A Prometheus that gives this answer to whatever is asked, and the file that was drawn.
async fn drawn(answer: &'static str) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let prometheus = format!("http://{}", listener.local_addr()?);
    let router = Router::new().route(
        "/api/v1/query_range",
        get(async move |uri: Uri| {
            assert!(!uri.query().unwrap_or_default().contains("rate_interval"), "{uri}");
            answer
        }),
    );
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let result = draw_from(prometheus).await;
    server.abort();
    result
}

async fn draw_from(prometheus: String) -> anyhow::Result<String> {
    let file = std::env::temp_dir().join(format!("orderflow-{}.svg", uuid::Uuid::new_v4()));
    let until = DateTime::from_timestamp(NOON, 0);
    draw(&Settings { file: file.clone(), minutes: 5, until, prometheus }).await?;
    let page = tokio::fs::read_to_string(&file).await?;
    tokio::fs::remove_file(&file).await?;
    Ok(page)
}

#[tokio::test]
async fn what_prometheus_measured_is_drawn_under_its_name() {
    let page = drawn(
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"group":"sms-service"},
            "values":[[1795607900,"1.5"],[1795607905,"NaN"],[1795607910,"2"]]}]}}"#,
    );
    let page = page.await.unwrap();
    assert!(page.contains(">sms-service</text>") && page.contains(">accepted</text>"), "{page}");
    assert!(page.contains("2026-11-25 12:00:00 UTC"), "{page}");
}

#[tokio::test]
async fn without_data_nothing_is_drawn_and_the_message_says_where_to_look() {
    let said = drawn(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#)
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("has measured nothing") && said.contains("/targets"), "{said}");
}

#[tokio::test]
async fn a_refusal_names_the_query_and_what_is_no_prometheus_is_named() {
    let said = drawn(r#"{"status":"error","errorType":"bad_data","error":"no such thing"}"#)
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("no such thing") && said.contains("orders_total"), "{said}");
    let said = drawn("<html>").await.unwrap_err().to_string();
    assert!(said.contains("does not talk like Prometheus"), "{said}");
}

#[tokio::test]
async fn a_prometheus_that_is_away_is_named_with_how_to_get_one() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let said = tokio::time::timeout(Duration::from_secs(10), draw_from(format!("http://{free}"))).await;
    let said = said.unwrap().unwrap_err().to_string();
    assert!(said.contains(&free.to_string()) && said.contains("./dev start prometheus"), "{said}");
}
