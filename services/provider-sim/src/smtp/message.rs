//! What the stand-in reads out of a message: four header fields and the beginning of the text.

use crate::provider::is_order_id;

/// Text kept for the page.
const PREVIEW_CHARS: usize = 600;

/// The longest Message-ID that fits a line of a message; a longer one, folded over several, is no key.
const LONGEST_MESSAGE_ID: usize = 998;

/// The parts of a message that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// `Message-ID`, the idempotency key of an e-mail.
    pub(super) message_id: Option<String>,
    /// `X-Order-Id`, a header of our own.
    pub(super) order_id: Option<String>,
    /// Subject and the beginning of the text.
    pub(super) preview: String,
}

/// Reads a message with CRLF lines. What is not UTF-8 is shown with replacement characters.
pub(super) fn parts(message: &[u8]) -> Parts {
    let text = String::from_utf8_lossy(message);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    // A folded header field goes on in a line that starts with white space (RFC 5322, 2.2.3).
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let field = |wanted: &str| {
        head.split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim_end().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    let subject = field("Subject").unwrap_or_default();
    Parts {
        message_id: field("Message-ID").filter(|id| id.len() <= LONGEST_MESSAGE_ID),
        order_id: field("X-Order-Id").filter(|id| is_order_id(id)),
        preview: format!("{subject}\n{body}").trim().chars().take(PREVIEW_CHARS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_ignore_case_and_folded_values_are_joined() {
        let message = b"message-id:\r\n <a@b>\r\nX-ORDER-ID: 42\r\nSubject: Hello\r\n\tyou\r\n\r\nText\r\n";
        assert_eq!(
            parts(message),
            Parts {
                message_id: Some("<a@b>".to_owned()),
                order_id: Some("42".to_owned()),
                preview: "Hello you\nText".to_owned(),
            }
        );
    }

    #[test]
    fn a_body_cannot_pose_as_a_header() {
        let message = b"Subject: Hello\r\n\r\nMessage-ID: <a@b>\r\n";
        assert_eq!(parts(message).message_id, None);
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        assert_eq!(parts(&[0xff, 0xfe, b'\r', b'\n']).message_id, None);
    }
}
