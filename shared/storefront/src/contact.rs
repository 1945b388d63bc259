//! How a customer is reached.

use std::fmt;

/// An e-mail address in the form that every mail system takes: `dot-atom@domain.name`, ASCII only (RFC 5321 and 5322 without quoted
/// local parts, comments and address literals). There is no room in it for a line break that could add a header to a mail.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// What [`EmailAddress::parse`] takes, for the caller.
    pub const FORM: &str = "must be an e-mail address such as user@example.com";

    /// The address, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let valid = text.len() <= 254 && is_dot_atom(local) && is_domain(domain);
        valid.then(|| Self(text.to_owned()))
    }

    /// As text. Personal data: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_dot_atom(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    local.len() <= 64 && local.split('.').all(is_atom)
}

/// At least two labels, and the last one is not a number: `user@127.0.0.1` is no domain.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = domain.rsplit('.').next().unwrap_or_default();
    domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(is_label)
        && top.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(***)")
    }
}

/// A telephone number as of E.164: 7 to 15 digits of which the first is no zero, with or without `+`.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// What [`PhoneNumber::parse`] takes, for the caller.
    pub const FORM: &str = "must be an international telephone number such as +1234567890 (7 to 15 digits)";

    /// The number, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let valid = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        valid.then(|| Self(text.to_owned()))
    }

    /// As text. Personal data: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_addresses_pass() {
        for text in [
            "user@example.com",
            "a.b+tag@mail.example.co.uk",
            "o'brien@x-y.de",
            "x@xn--mnchen-3ya.de",
            "1@2.a3",
        ] {
            assert!(EmailAddress::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_a_mail_system_would_stumble_over_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_domain = format!("a@{}com", "a23456789.".repeat(26));
        let refused = [
            "",
            "user",
            "@example.com",
            "user@",
            "user@localhost",
            "user@@example.com",
            "a@b@example.com",
            "user@example.com\r\nBcc: all@example.com",
            "user@example.com\n",
            "us er@example.com",
            " user@example.com",
            "user@exam ple.com",
            "user@example.com\0",
            ".user@example.com",
            "user.@example.com",
            "us..er@example.com",
            "\"user\"@example.com",
            "user@-example.com",
            "user@example-.com",
            "user@example..com",
            "user@.com",
            "user@example.com.",
            "user@[127.0.0.1]",
            "user@127.0.0.1",
            "user@exämple.com",
            "üser@example.com",
            "user@example.com, other@example.com",
            "User <user@example.com>",
            long_local.as_str(),
            long_domain.as_str(),
        ];
        for text in refused {
            assert!(EmailAddress::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_digits_with_or_without_a_plus() {
        for text in ["+1234567890", "1234567", "+123456789012345"] {
            assert!(PhoneNumber::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "+",
            "123456",
            "+1234567890123456",
            "+0123456789",
            "++1234567",
            "+12 345 678",
            "+1234567\n",
            "call me",
            "+١٢٣٤٥٦٧٨",
        ] {
            assert!(PhoneNumber::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn debug_output_shows_no_contact() {
        let shown =
            format!("{:?} {:?}", EmailAddress::parse("user@example.com"), PhoneNumber::parse("+1234567890"));
        assert!(!shown.contains("user") && !shown.contains("123"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_checks_panic(text in any::<String>()) {
            let _ = (EmailAddress::parse(&text), PhoneNumber::parse(&text));
        }

        #[test]
        fn every_accepted_address_is_one_that_mail_can_be_sent_to(
            text in "[a-z0-9.!#$%&'*+/=?^_`{|}~@\"\\\\ -]{0,12}@(xn--)?[a-z0-9.-]{1,12}(\\.[a-z0-9-]{1,5})?"
        ) {
            if EmailAddress::parse(&text).is_some() {
                prop_assert!(text.parse::<lettre::Address>().is_ok(), "{}", text);
            }
        }

        #[test]
        fn a_plain_address_is_accepted(local in "[a-z0-9]{1,20}(\\.[a-z0-9_+-]{1,20})?", domain in "[a-z0-9]{1,20}(\\.[a-z]{2,10}){1,3}") {
            let text = format!("{local}@{domain}");
            prop_assert!(EmailAddress::parse(&text).is_some(), "{}", text);
            prop_assert!(text.parse::<lettre::Address>().is_ok(), "{}", text);
        }
    }
}
