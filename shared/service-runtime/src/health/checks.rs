//! Asking the dependencies, all at once and not too often.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

/// A dependency that takes longer counts as away.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer is good for, so that whoever calls `/health` in a loop does not load the dependencies.
const GOOD_FOR: Duration = Duration::from_millis(250);

type Check = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

#[derive(Default)]
pub(super) struct Checks {
    dependencies: Vec<Dependency>,
    /// The lock is held while the dependencies are asked: callers that come meanwhile share the answer.
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

struct Dependency {
    name: &'static str,
    required: bool,
    check: Check,
}

/// What the dependencies answered.
pub(super) struct Report(Vec<Answer>);

struct Answer {
    name: &'static str,
    required: bool,
    took: Duration,
    result: Result<(), String>,
}

impl Checks {
    pub(super) fn add<F, Fut>(&mut self, name: &'static str, required: bool, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.dependencies.push(Dependency { name, required, check: Box::new(move || Box::pin(check())) });
    }

    pub(super) async fn report(&self) -> Arc<Report> {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < GOOD_FOR
        {
            return report.clone();
        }
        let answers = join_all(self.dependencies.iter().map(Dependency::ask)).await;
        let report = Arc::new(Report(answers));
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

impl Dependency {
    async fn ask(&self) -> Answer {
        let started = Instant::now();
        let result = tokio::time::timeout(CHECK_TIMEOUT, (self.check)())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {CHECK_TIMEOUT:?}")));
        Answer { name: self.name, required: self.required, took: started.elapsed(), result }
    }
}

impl Report {
    pub(super) fn is_healthy(&self) -> bool {
        self.0.iter().all(|answer| answer.result.is_ok())
    }

    /// The first required dependency that is away, and why.
    pub(super) fn required_failure(&self) -> Option<String> {
        self.0.iter().filter(|answer| answer.required).find_map(|answer| {
            let reason = answer.result.as_ref().err()?;
            Some(format!("{}: {reason}", answer.name))
        })
    }

    pub(super) fn dependencies(&self) -> impl Iterator<Item = super::Dependency> {
        self.0.iter().map(|answer| super::Dependency {
            name: answer.name,
            required: answer.required,
            up: answer.result.is_ok(),
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let entry = |answer: &Answer| {
            let mut entry = Map::new();
            entry.insert("status".into(), if answer.result.is_ok() { "up" } else { "down" }.into());
            entry.insert("required".into(), answer.required.into());
            entry.insert("took_ms".into(), json!(answer.took.as_micros() as f64 / 1e3));
            if let Err(reason) = &answer.result {
                entry.insert("detail".into(), reason.as_str().into());
            }
            (answer.name.to_owned(), Value::Object(entry))
        };
        Value::Object(self.0.iter().map(entry).collect())
    }
}
