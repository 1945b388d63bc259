//! Recipients as the journal, the page and the logs may show them.

/// `user@example.com` as `u***@example.com`; what is no address shows nothing.
pub fn email(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((name, domain)) => {
            let first: String = name.chars().take(1).collect();
            format!("{first}***@{domain}")
        }
        None => "***".to_owned(),
    }
}

/// `+1234567890` as `***90`.
pub fn phone(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    // A short number would be shown whole.
    let shown = if digits.len() > 4 { digits.len() - 2 } else { digits.len() };
    format!("***{}", digits[shown..].iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_recipient_cannot_be_written_to() {
        assert_eq!(email("user@example.com"), "u***@example.com");
        assert_eq!(email("\"a@b\"@example.com"), "\"***@example.com");
        assert_eq!(email("nonsense"), "***");
        assert_eq!(phone("+1234567890"), "***90");
        assert_eq!(phone("110"), "***");
    }
}
