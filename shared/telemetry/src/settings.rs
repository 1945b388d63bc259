//! What the environment says about traces. The names are those of the OpenTelemetry specification where it has one.

use url::Url;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
const CONSUMERS: &str = "TRACE_CONSUMERS";

/// How a span that handles a message stands to the one that sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Consumers {
    /// Its child, and linked to it: an order is one trace.
    #[default]
    Child,
    /// Linked to it, in a trace of its own: traces stay small where one message causes much.
    Link,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TraceSettings {
    /// Where spans go, by OTLP over HTTP; `None`: nowhere, and none are recorded.
    pub(crate) endpoint: Option<String>,
    /// The share of the traces begun here that are recorded, from 0 to 1.
    pub(crate) ratio: f64,
    pub(crate) consumers: Consumers,
}

impl TraceSettings {
    pub(crate) fn from_environment() -> Result<Self, String> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// The error is one line for the operator.
    pub(crate) fn from(read: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let read = |name| read(name).filter(|value| !value.is_empty());
        let wrong = |name: &str, value: &str, expected: &str| {
            Err(format!("{name}='{value}' is not valid: expected {expected}"))
        };
        let endpoint = match read(ENDPOINT) {
            None => None,
            Some(text) => match Url::parse(&text) {
                Ok(url) if url.scheme() == "http" && url.has_host() => Some(traces(&url)),
                _ => return wrong(ENDPOINT, &text, "http://host:port"),
            },
        };
        let ratio = match read(RATIO) {
            None => 1.0,
            Some(text) => match text.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => return wrong(RATIO, &text, "a number from 0 to 1 such as 0.05"),
            },
        };
        let consumers = match read(CONSUMERS).as_deref() {
            None | Some("child") => Consumers::Child,
            Some("link") => Consumers::Link,
            Some(other) => return wrong(CONSUMERS, other, "child or link"),
        };
        Ok(Self { endpoint, ratio, consumers })
    }
}

/// The endpoint is that of all signals; each has a path below it.
fn traces(endpoint: &Url) -> String {
    format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<TraceSettings, String> {
        TraceSettings::from(|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_settings_nothing_is_sent_and_an_empty_one_is_none() {
        let none = TraceSettings { endpoint: None, ratio: 1.0, consumers: Consumers::Child };
        assert_eq!(settings(&[]), Ok(none.clone()));
        assert_eq!(settings(&[(ENDPOINT, ""), (RATIO, ""), (CONSUMERS, "")]), Ok(none));
    }

    #[test]
    fn the_endpoint_is_that_of_all_signals() {
        for endpoint in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            let settings = settings(&[(ENDPOINT, endpoint)]).unwrap();
            assert_eq!(settings.endpoint.as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        }
    }

    #[test]
    fn a_wrong_setting_is_named_with_the_accepted_form() {
        for (name, value, expected) in [
            (ENDPOINT, "127.0.0.1:4318", "http://host:port"),
            (ENDPOINT, "https://collector", "http://host:port"),
            (RATIO, "5%", "a number from 0 to 1"),
            (RATIO, "1.5", "a number from 0 to 1"),
            (RATIO, "NaN", "a number from 0 to 1"),
            (CONSUMERS, "parent", "child or link"),
        ] {
            let line = settings(&[(name, value)]).unwrap_err();
            assert!(
                line.starts_with(&format!("{name}='{value}' is not valid: expected {expected}")),
                "{line}"
            );
        }
    }
}
