//! What the programs count, as `/metrics` says.

use std::time::Duration;

use anyhow::{Context, bail};

use super::programs::Program;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the programs.
#[derive(Clone, Debug)]
pub(crate) struct Meters(reqwest::Client);

/// The counts of all programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Orders that each stage is done with: the relay has removed the row, the consumer has applied the event.
    pub(crate) done: Vec<u64>,
    /// Spans that the collector took.
    pub(crate) exported: u64,
    /// Spans that are lost.
    pub(crate) dropped: u64,
}

impl Counts {
    /// Orders that each stage was done with since `before`.
    ///
    /// # Errors
    /// There are other stages than before.
    pub(crate) fn since(&self, before: &Self) -> anyhow::Result<Vec<u64>> {
        if self.done.len() != before.done.len() {
            bail!("a process counts something else than before");
        }
        Ok(self.done.iter().zip(&before.done).map(|(now, before)| now.saturating_sub(*before)).collect())
    }
}

impl Meters {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(reqwest::Client::builder().timeout(PATIENCE).build()?))
    }

    /// What they have counted since they were started.
    pub(crate) async fn read(&self, programs: &[Program]) -> anyhow::Result<Counts> {
        let mut counts = Counts { done: Vec::new(), exported: 0, dropped: 0 };
        for program in programs {
            let answer = self.0.get(format!("http://{}/metrics", program.address)).send().await;
            let text = answer
                .and_then(reqwest::Response::error_for_status)
                .with_context(|| format!("{} gives no metrics", program.name))?
                .text()
                .await?;
            counts.done.extend(count(&text, "relay_removed_rows_total", ""));
            counts.done.extend(count(&text, "consumer_records_total", r#"outcome="applied""#));
            counts.exported += count(&text, "trace_spans_exported_total", "").unwrap_or_default();
            counts.dropped += count(&text, "trace_spans_dropped_total", "").unwrap_or_default();
        }
        Ok(counts)
    }
}

/// The sum of the samples of `name` that have `label`; `None` if there is none.
fn count(text: &str, name: &str, label: &str) -> Option<u64> {
    let sample = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let value = value.split(' ').next()?;
        labels.contains(label).then(|| value.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(sample).reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_name_with_a_label_are_added_up_and_those_of_longer_names_are_not() {
        let text = "# TYPE spans counter\nspans_total{reason=\"full\",group=\"a b\"} 3\nspans_total{reason=\"failed\"} 4\n\
                    spans_total_more 9\nplain_total 7 # {trace_id=\"x\"} 1.0\n";
        assert_eq!(count(text, "spans_total", ""), Some(7));
        assert_eq!(count(text, "spans_total", "reason=\"full\""), Some(3));
        assert_eq!(count(text, "spans_total", "reason=\"none\""), None);
        assert_eq!(count(text, "plain_total", ""), Some(7));
    }
}
