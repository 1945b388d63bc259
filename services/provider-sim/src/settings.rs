//! How the stand-in behaves, changeable while it runs.

use serde::{Deserialize, Serialize};

use crate::channel::PerChannel;

/// The longest latency that can be set: a slow company, not a dead one.
pub const MAX_LATENCY_MS: u64 = 60_000;

/// Behaviour of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChannelSettings {
    /// Time between a complete message and the decision about it.
    pub latency_ms: u64,
    /// Share of new messages that are refused, 0 to 1.
    pub failure_rate: f64,
    /// Share of new messages that are delivered without an answer to the sender, 0 to 1.
    pub lost_answer_rate: f64,
}

/// Behaviour of both channels.
pub type Settings = PerChannel<ChannelSettings>;

/// What the companies of the demo do: 200 ms for an e-mail, 300 ms for a text message, one failure in twenty.
pub const DEFAULTS: Settings = PerChannel {
    email: ChannelSettings { latency_ms: 200, failure_rate: 0.05, lost_answer_rate: 0.0 },
    sms: ChannelSettings { latency_ms: 300, failure_rate: 0.05, lost_answer_rate: 0.0 },
};

/// A change of settings: what it leaves out stays as it is.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// Change of the e-mail channel.
    pub email: Option<ChannelChange>,
    /// Change of the text-message channel.
    pub sms: Option<ChannelChange>,
}

/// A change of one channel.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelChange {
    /// See [`ChannelSettings::latency_ms`].
    pub latency_ms: Option<u64>,
    /// See [`ChannelSettings::failure_rate`].
    pub failure_rate: Option<f64>,
    /// See [`ChannelSettings::lost_answer_rate`].
    pub lost_answer_rate: Option<f64>,
}

/// A value out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSetting {
    /// Path of the value, for example `email.failure_rate`.
    pub field: String,
    /// The accepted range.
    pub detail: String,
}

/// The settings after a change, or every value that is out of range; a change applies as a whole or not at all.
pub fn changed(settings: Settings, change: SettingsChange) -> Result<Settings, Vec<WrongSetting>> {
    let mut next = settings;
    let mut wrong = Vec::new();
    for (name, channel, change) in
        [("email", &mut next.email, change.email), ("sms", &mut next.sms, change.sms)]
    {
        let Some(change) = change else { continue };
        if let Some(latency_ms) = change.latency_ms {
            if latency_ms > MAX_LATENCY_MS {
                wrong.push(WrongSetting {
                    field: format!("{name}.latency_ms"),
                    detail: format!("must be a whole number from 0 to {MAX_LATENCY_MS}"),
                });
            }
            channel.latency_ms = latency_ms;
        }
        let rates = [
            ("failure_rate", &mut channel.failure_rate, change.failure_rate),
            ("lost_answer_rate", &mut channel.lost_answer_rate, change.lost_answer_rate),
        ];
        for (rate_name, rate, new) in rates {
            let Some(new) = new else { continue };
            if !(0.0..=1.0).contains(&new) {
                wrong.push(WrongSetting {
                    field: format!("{name}.{rate_name}"),
                    detail: "must be a number from 0 to 1".to_owned(),
                });
            }
            *rate = new;
        }
    }
    if wrong.is_empty() { Ok(next) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> SettingsChange {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let next = changed(DEFAULTS, change(r#"{"sms":{"failure_rate":1}}"#)).unwrap();
        assert_eq!(next.email, DEFAULTS.email);
        assert_eq!(next.sms, ChannelSettings { failure_rate: 1.0, ..DEFAULTS.sms });
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let json = r#"{"email":{"latency_ms":60001,"failure_rate":-0.1},"sms":{"lost_answer_rate":1.01}}"#;
        let fields: Vec<_> =
            changed(DEFAULTS, change(json)).unwrap_err().into_iter().map(|wrong| wrong.field).collect();
        assert_eq!(fields, ["email.latency_ms", "email.failure_rate", "sms.lost_answer_rate"]);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(serde_json::from_str::<SettingsChange>(r#"{"emial":{}}"#).is_err());
        assert!(serde_json::from_str::<SettingsChange>(r#"{"email":{"latency":1}}"#).is_err());
    }
}
