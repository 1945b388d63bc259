//! The two ways in which the stand-in delivers.

use serde::{Deserialize, Serialize};

/// A way to reach a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Over SMTP.
    Email,
    /// Over HTTP.
    Sms,
}

impl Channel {
    /// The name in JSON, in the journal and on the page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

/// One value for each channel; in JSON an object with the channels as members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PerChannel<T> {
    /// Of the e-mail channel.
    pub email: T,
    /// Of the text-message channel.
    pub sms: T,
}

impl<T> PerChannel<T> {
    /// The value of `channel`.
    pub const fn of(&self, channel: Channel) -> &T {
        match channel {
            Channel::Email => &self.email,
            Channel::Sms => &self.sms,
        }
    }

    /// The value of `channel`, to change it.
    pub const fn of_mut(&mut self, channel: Channel) -> &mut T {
        match channel {
            Channel::Email => &mut self.email,
            Channel::Sms => &mut self.sms,
        }
    }
}
