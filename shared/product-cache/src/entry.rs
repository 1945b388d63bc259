//! What stands for a product.

use serde_json::value::RawValue;
use storefront::Product;

/// A product at a version, ready to be sent, or the knowledge that there is none.
#[derive(Clone, Debug)]
pub struct Entry {
    version: u64,
    /// `null`: there is none.
    json: Box<RawValue>,
}

/// What stands under a product's key is no product.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It does not begin with a version.
    #[error("no version")]
    Version,
    /// What follows the version is no product.
    #[error("no product: {0}")]
    Product(#[from] serde_json::Error),
}

impl Entry {
    /// A product as the catalogue has it at `version`, which is 1 or more.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn product(version: u64, product: &Product) -> Result<Self, serde_json::Error> {
        Ok(Self { version, json: serde_json::value::to_raw_value(product)? })
    }

    /// There is no such product: older than any product.
    pub fn none() -> Self {
        Self { version: 0, json: RawValue::NULL.to_owned() }
    }

    /// What is stored under a key.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(stored: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(stored).map_err(|_| Malformed::Version)?;
        let (version, json) = text.split_once(' ').ok_or(Malformed::Version)?;
        let version = version.parse().map_err(|_| Malformed::Version)?;
        // Read as what it claims to be, and kept as the text that it is.
        let _: Option<Product> = serde_json::from_str(json)?;
        Ok(Self { version, json: RawValue::from_string(json.to_owned())? })
    }

    /// The version of the catalogue's row; 0: there is none.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The product as JSON; `None`: there is none.
    pub fn json(&self) -> Option<&RawValue> {
        (self.text() != "null").then_some(&*self.json)
    }

    pub(crate) fn text(&self) -> &str {
        self.json.get()
    }
}

#[cfg(test)]
mod tests {
    use contracts::Money;

    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_anything_else_is_refused() {
        let product = Product { id: 1, name: "A".into(), price: Money::ZERO, description: String::new() };
        for (entry, is_product) in [(Entry::product(7, &product).unwrap(), true), (Entry::none(), false)] {
            let read = Entry::parse(format!("{} {}", entry.version(), entry.text()).as_bytes()).unwrap();
            assert_eq!((read.version(), read.text()), (entry.version(), entry.text()));
            assert_eq!(read.json().is_some(), is_product);
        }
        for garbage in ["", "7", "x {}", "-1 null", "7 {}", "7 {\"id\":", "{\"id\":1}"] {
            assert!(Entry::parse(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }
}
