//! What the dashboards and alerts ask for is what the processes tell, asked of a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use testkit::{Prometheus, eventually, workspace_root};

use crate::system::{Running, system};

/// Every query with where it stands.
fn queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(workspace_root().join("deploy/grafana/dashboards")).expect("dashboards") {
        let path = entry.expect("a file").path();
        let dashboard: Value =
            serde_json::from_str(&fs::read_to_string(&path).expect("a dashboard")).expect("JSON");
        collect(&dashboard, &path.display().to_string(), &mut all);
    }
    assert!(all.len() > 30, "the dashboards have {} queries", all.len());
    all
}

fn collect(value: &Value, place: &str, all: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(query)) = members.get("expr") {
                all.push((
                    place.to_owned(),
                    query.replace("$__rate_interval", "1m").replace("$__range", "5m"),
                ));
            }
            members.values().for_each(|member| collect(member, place, all));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, place, all)),
        _ => {}
    }
}

async fn ask(prometheus: &Prometheus, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
    let client = reqwest::Client::new();
    let asked = client.get(format!("{}{path}", prometheus.url())).query(parameters).send().await;
    let answer: Value =
        asked.map_err(|error| error.to_string())?.json().await.map_err(|error| error.to_string())?;
    if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
}

/// The names of metrics in a query: what stands where a metric can stand.
fn names(query: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let (mut braces, mut quoted) = (0, false);
    for letter in query.chars() {
        match letter {
            '"' => quoted = !quoted,
            '{' if !quoted => braces += 1,
            '}' if !quoted => braces -= 1,
            _ if braces == 0 && !quoted => plain.push(letter),
            _ => {}
        }
    }
    let words = plain.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_:".contains(letter));
    // The names of functions and labels have no such beginning; those of metrics have, by our own rule.
    const FAMILIES: [&str; 16] = [
        "http_server_",
        "process_",
        "orderflow_",
        "dependency_",
        "trace_spans_",
        "database_pool_",
        "orders_",
        "product_cache_",
        "outbox_",
        "relay_",
        "consumer_",
        "provider_",
        "stock_",
        "analytics_",
        "job",
        "group:",
    ];
    let is_metric =
        |word: &&str| word.contains(['_', ':']) && FAMILIES.iter().any(|family| word.starts_with(family));
    words.filter(is_metric).map(str::to_owned).collect()
}

async fn scraped(system: &Running) -> Prometheus {
    let prometheus = Prometheus::start().await;
    let targets: Vec<_> = system.services().map(|(name, process)| (name, process.address())).collect();
    prometheus.ask(&targets);
    eventually("every process is scraped", async || {
        let up = ask(&prometheus, "/api/v1/query", &[("query", "sum(up)")]).await?;
        let up = up["result"][0]["value"][1].as_str().unwrap_or_default().to_owned();
        if up == targets.len().to_string() { Ok(()) } else { Err(up) }
    })
    .await;
    prometheus
}

#[tokio::test]
async fn every_query_of_a_dashboard_can_be_asked_and_every_metric_in_them_and_in_the_alerts_is_told_by_a_process()
 {
    let system = system().await;
    // What is counted by what happens has to happen once: a read, an order, and its effects; and an answer that is an error.
    system.shop.get("/api/product/1").await;
    system.refuse_all_deliveries(true).await;
    system.shop.accepted_orders(3).await;
    eventually("a message was refused", async || {
        let refused =
            "http_server_request_duration_seconds_count{method=\"POST\",route=\"/sms\",status=\"503\"}";
        value(&system, crate::system::PROVIDERS, refused).await
    })
    .await;
    system.refuse_all_deliveries(false).await;
    system.every_order_took_effect_once().await;
    let prometheus = scraped(&system).await;

    let rules = ask(&prometheus, "/api/v1/rules", &[]).await.expect("rules");
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    let mut asked = 0;
    for group in rules["groups"].as_array().expect("groups") {
        for rule in group["rules"].as_array().expect("rules") {
            let name = rule["name"].as_str().unwrap_or_default();
            let query = rule["query"].as_str().unwrap_or_default();
            wanted.extend(names(query).into_iter().map(|metric| (metric, format!("the rule {name}"))));
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked} rules were read");
    for (place, query) in queries() {
        if let Err(error) = ask(&prometheus, "/api/v1/query", &[("query", &query)]).await {
            panic!("{place}: {query}: {error}");
        }
        wanted.extend(names(&query).into_iter().map(|metric| (metric, place.clone())));
    }
    // What is recorded by a rule appears once the rule has been evaluated.
    eventually("every metric that is asked for is there", async || {
        let known = ask(&prometheus, "/api/v1/label/__name__/values", &[]).await?;
        let known: BTreeSet<&str> =
            known.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let missing: Vec<_> = wanted.iter().filter(|(metric, _)| !known.contains(metric.as_str())).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
}

#[tokio::test]
async fn the_figures_of_a_scrape_are_those_of_the_orders_that_were_placed() {
    let system = system().await;
    system.every_order_took_effect_once().await;
    // An effect is counted a moment after it is committed.
    let before = eventually("figures that rest", async || {
        let (first, second) = (figures(&system).await?, figures(&system).await?);
        if first == second { Ok(second) } else { Err(format!("{first:?}, {second:?}")) }
    })
    .await;
    system.shop.accepted_orders(25).await;
    system.every_order_took_effect_once().await;
    let risen = eventually("25 more in every figure", async || {
        let now = figures(&system).await?;
        let risen: Vec<f64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
        if risen.iter().all(|risen| *risen >= 25.0) { Ok(risen) } else { Err(format!("{risen:?}")) }
    })
    .await;
    // Repeats are counted apart, so none of these is more.
    assert!(risen.iter().all(|risen| (*risen - 25.0).abs() < 0.5), "{risen:?}");
    eventually("nothing waits", async || {
        let rows = value(&system, "outbox-relay", "outbox_rows ").await?;
        let lag = value(&system, "sms-consumer", "consumer_lag_records{").await?;
        if (rows, lag) == (0.0, 0.0) { Ok(()) } else { Err(format!("{rows} rows, {lag} records")) }
    })
    .await;
}

/// Accepted (under its key, if the first answer was lost), applied by each group, and the end-to-end times that were taken.
async fn figures(system: &Running) -> Result<Vec<f64>, String> {
    let orders =
        async |outcome| value(system, "order-api", &format!("orders_total{{outcome=\"{outcome}\"}}")).await;
    let mut figures = vec![orders("accepted").await? + orders("repeated").await?];
    for consumer in crate::system::CONSUMERS {
        let group = format!("{}-service", consumer.trim_end_matches("-consumer"));
        for series in [
            format!("consumer_records_total{{group=\"{group}\",outcome=\"applied\"}}"),
            format!("consumer_end_to_end_seconds_count{{group=\"{group}\"}}"),
        ] {
            figures.push(value(system, consumer, &series).await?);
        }
    }
    Ok(figures)
}

/// The sum of the series that begin so.
async fn value(system: &Running, service: &str, series: &str) -> Result<f64, String> {
    let text =
        reqwest::get(system.service(service).url("/metrics")).await.map_err(|error| error.to_string())?;
    let text = text.text().await.map_err(|error| error.to_string())?;
    let lines = text.lines().filter(|line| line.starts_with(series));
    let values: Vec<f64> = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect();
    if values.is_empty() { Err(format!("{service} does not tell {series}")) } else { Ok(values.iter().sum()) }
}
