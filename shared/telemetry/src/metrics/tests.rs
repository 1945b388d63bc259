use super::*;

#[test]
fn the_text_has_every_metric_with_labels_and_ends_as_openmetrics_does() {
    let metrics = Metrics::new();
    let orders = Counters::new(["outcome"]).with(["accepted"]).with(["refused"]);
    orders.register(&metrics, "orders", "Orders by what became of them");
    orders.add(["accepted"], 3);
    let waits = Histograms::new(["group"], MOMENTS);
    waits.register(&metrics, "wait_seconds", "A wait");
    waits.get(["a \"quoted\" group".into()]).observe(0.002);
    metrics.gauges("connections", "Connections", ["state"], || vec![(["idle".into()], 4.0)]);
    metrics.gauge("depth", "Depth", || 7.5);
    let text = metrics.text();
    for line in [
        "# TYPE orders counter",
        r#"orders_total{outcome="accepted"} 3"#,
        r#"orders_total{outcome="refused"} 0"#,
        r#"wait_seconds_bucket{le="0.001",group="a \"quoted\" group"} 0"#,
        r#"wait_seconds_bucket{le="0.0025",group="a \"quoted\" group"} 1"#,
        r#"connections{state="idle"} 4.0"#,
        "depth 7.5",
        "# TYPE process_cpu_seconds counter",
        r#"trace_spans_dropped_total{reason="queue_full"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("\nprocess_cpu_seconds_total ") && text.contains("\nprocess_open_fds "), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_bucket_names_the_trace_of_an_observation_if_it_was_sampled() {
    let metrics = Metrics::new();
    let waits = Histograms::new([], MOMENTS);
    waits.register(&metrics, "wait_seconds", "A wait");
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";
    waits.get([]).observe_of(0.2, Some(&format!("{traceparent}0")));
    for other in ["2", "x"] {
        waits.get([]).observe_of(0.2, Some(&format!("{traceparent}{other}")));
    }
    waits
        .get([])
        .observe_of(0.2, Some("customer7@example.com, customer7@example.com, customer7@example.com"));
    assert!(!metrics.text().contains("trace_id"), "{}", metrics.text());
    waits.get([]).observe_of(0.2, Some(&format!("{traceparent}1")));
    let exemplar = r#"wait_seconds_bucket{le="0.25"} 5 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.2 "#;
    assert!(metrics.text().contains(exemplar), "{}", metrics.text());
}
