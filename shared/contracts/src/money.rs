//! Amounts of money as whole cents.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in cents of the shop's one currency.
///
/// Arithmetic is checked and exact. JSON shows a decimal number (`59.98`); every amount within [`Money::LIMIT`] survives the
/// way through JSON and back unchanged, because its decimal form has at most 15 significant digits and so maps to
/// one double and back (IEEE 754, RFC 8259 section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Why an amount was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MoneyError {
    /// The amount is outside [`Money::LIMIT`].
    #[error("the amount is too large")]
    TooLarge,
}

impl Money {
    /// The largest amount, either sign: 9,999,999,999,999.99.
    pub const LIMIT: Money = Money(999_999_999_999_999);
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// An amount of `cents`; refuses what is beyond [`Money::LIMIT`].
    pub const fn from_cents(cents: i64) -> Result<Self, MoneyError> {
        if cents > Self::LIMIT.0 || cents < -Self::LIMIT.0 {
            Err(MoneyError::TooLarge)
        } else {
            Ok(Self(cents))
        }
    }

    /// The amount in cents.
    pub const fn cents(self) -> i64 {
        self.0
    }

    /// The sum, unless it is too large.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        Self::from_cents(self.0.checked_add(other.0).ok_or(MoneyError::TooLarge)?)
    }

    /// The amount `quantity` times, unless it is too large.
    pub fn checked_mul(self, quantity: i64) -> Result<Self, MoneyError> {
        Self::from_cents(self.0.checked_mul(quantity).ok_or(MoneyError::TooLarge)?)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02}", self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 100.0)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = f64::deserialize(deserializer)?;
        let cents = (amount * 100.0).round();
        if cents.abs() > Self::LIMIT.0 as f64 {
            return Err(de::Error::custom(MoneyError::TooLarge));
        }
        // Dividing back is exact where the number has at most two decimals, and only there.
        if cents / 100.0 != amount {
            return Err(de::Error::custom("an amount has at most two decimals"));
        }
        Ok(Self(cents as i64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_reads_as_a_decimal_number() {
        let amount = Money::from_cents(5998).unwrap();
        assert_eq!(serde_json::to_string(&amount).unwrap(), "59.98");
        assert_eq!(amount.to_string(), "59.98");
        assert_eq!(Money::from_cents(-5).unwrap().to_string(), "-0.05");
    }

    #[test]
    fn fractions_of_a_cent_and_absurd_amounts_are_refused() {
        assert!(serde_json::from_str::<Money>("0.001").is_err());
        assert!(serde_json::from_str::<Money>("1e300").is_err());
        assert!(serde_json::from_str::<Money>("\"1.00\"").is_err());
        assert_eq!(Money::LIMIT.checked_add(Money(1)), Err(MoneyError::TooLarge));
        assert_eq!(Money(i64::MAX / 2).checked_mul(3), Err(MoneyError::TooLarge));
    }

    proptest! {
        #[test]
        fn every_amount_survives_json_unchanged(cents in -Money::LIMIT.0..=Money::LIMIT.0) {
            let amount = Money(cents);
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), amount);
        }

        #[test]
        fn a_product_equals_the_repeated_sum(cents in 0i64..1_000_000, quantity in 0i64..200) {
            let mut sum = Money::ZERO;
            for _ in 0..quantity {
                sum = sum.checked_add(Money(cents)).unwrap();
            }
            prop_assert_eq!(Money(cents).checked_mul(quantity).unwrap(), sum);
        }
    }
}
