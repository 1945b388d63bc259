use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::{info, info_span, warn};

use super::*;
use crate::{continue_trace, current_trace_id, current_traceparent};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` under telemetry of its own and returns the lines it logged.
fn lines(level: &str, work: impl FnOnce()) -> Vec<Value> {
    let captured = Captured::default();
    let writer = captured.clone();
    let (subscriber, _telemetry) = subscriber(
        "test-service",
        filter(level).unwrap(),
        move || writer.clone(),
        builder("test-service", 1.0).build(),
    );
    tracing::subscriber::with_default(subscriber, work);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[test]
fn a_line_inside_a_request_names_service_trace_and_request() {
    let lines = lines("info", || {
        let span = info_span!("request", otel.name = "GET /", request_id = "r-1");
        continue_trace(&span, Some(PARENT));
        let _entered = span.enter();
        info!(order.lines = 3, note = "a \"quoted\"\nline", "order accepted");
    });
    let line = &lines[0];
    assert_eq!(line["service_name"], "test-service");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
    assert_eq!(line["request_id"], "r-1");
    assert_eq!((&line["level"], &line["message"]), (&"INFO".into(), &"order accepted".into()));
    assert_eq!((&line["order.lines"], &line["note"]), (&3.into(), &"a \"quoted\"\nline".into()));
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(line["target"], "telemetry::start::tests");
    assert!(line.get("otel.name").is_none());
}

#[test]
fn a_quiet_log_keeps_the_request_id_and_the_trace() {
    let lines = lines("warn", || {
        let _entered = info_span!("request", request_id = "r-1").entered();
        info!("not shown");
        warn!("shown");
    });
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["message"], &lines[0]["request_id"]), (&"shown".into(), &"r-1".into()));
    assert_eq!(lines[0]["trace_id"].as_str().map(str::len), Some(32));
}

#[test]
fn a_field_cannot_pass_for_one_that_every_line_has() {
    let lines = lines("info", || info!(service_name = "other", level = "none", "x"));
    assert_eq!((&lines[0]["service_name"], &lines[0]["level"]), (&"test-service".into(), &"INFO".into()));
}

#[test]
fn a_valid_traceparent_is_continued_and_shows_in_ours() {
    lines("off", || {
        let span = info_span!("request");
        continue_trace(&span, Some(PARENT));
        let _entered = span.enter();
        assert_eq!(current_trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        let ours = current_traceparent().unwrap();
        assert!(ours.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && ours.ends_with("-01"), "{ours}");
        assert_ne!(ours, PARENT, "our own span is the parent of what follows");
    });
}

#[test]
fn who_asks_whether_something_would_be_logged_takes_no_span_out_of_its_trace() {
    lines("info", || {
        for _ in 0..3 {
            // The database driver asks so before it notes a slow statement.
            assert!(tracing::enabled!(tracing::Level::WARN));
            let span = info_span!("request");
            continue_trace(&span, Some(PARENT));
            let _entered = span.enter();
            assert_eq!(current_trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        }
    });
}

#[test]
fn a_trace_that_is_not_sampled_is_continued_too() {
    lines("off", || {
        let span = info_span!("request");
        continue_trace(&span, Some(&PARENT.replace("-01", "-00")));
        let _entered = span.enter();
        let ours = current_traceparent().unwrap();
        assert!(ours.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && ours.ends_with("-00"), "{ours}");
    });
}

#[test]
fn an_invalid_or_missing_traceparent_starts_a_new_trace() {
    lines("off", || {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for traceparent in [None, Some(""), Some("nonsense"), Some(zeros), Some("00-0af7-b7ad-01")] {
            let span = info_span!("request");
            continue_trace(&span, traceparent);
            let _entered = span.enter();
            let trace = current_trace_id().unwrap();
            assert!(
                trace.len() == 32 && trace.bytes().any(|byte| byte != b'0'),
                "{traceparent:?} gave {trace}"
            );
        }
    });
}

#[test]
fn outside_a_span_there_is_no_trace() {
    let lines = lines("info", || {
        assert_eq!(current_traceparent(), None);
        info!("alone");
    });
    assert!(lines[0]["trace_id"].is_null() && lines[0]["request_id"].is_null());
}

#[test]
fn what_the_kafka_client_repeats_while_brokers_are_away_is_logged_only_if_asked_for() {
    let repeat = || tracing::error!(target: "rdkafka::client", "all brokers are down");
    assert!(lines("info", repeat).is_empty());
    assert_eq!(lines("info,rdkafka::client=error", repeat).len(), 1);
}

#[test]
fn a_wrong_log_level_is_named_with_the_accepted_form() {
    let line = filter("order_api=loud").unwrap_err();
    assert!(line.starts_with("LOG_LEVEL='order_api=loud' is not valid: expected a level"), "{line}");
}
