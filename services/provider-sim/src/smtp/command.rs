//! The commands of SMTP (RFC 5321) as far as a receiver of mail needs them.

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Hello {
        extended: bool,
    },
    Mail {
        size: u64,
    },
    Recipient(String),
    Data,
    Reset,
    Noop,
    Quit,
    Verify,
    /// A command that cannot be obeyed, with the answer to it.
    Wrong(&'static str),
}

/// Reads one command line.
pub(super) fn parse(line: &[u8]) -> Command {
    let Ok(line) = std::str::from_utf8(line) else { return Command::Wrong("500 5.5.2 not a command") };
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" if !rest.is_empty() => Command::Hello { extended: true },
        "HELO" if !rest.is_empty() => Command::Hello { extended: false },
        "EHLO" | "HELO" => Command::Wrong("501 5.5.4 say who you are"),
        "MAIL" => mail(rest),
        "RCPT" => recipient(rest),
        "DATA" if rest.is_empty() => Command::Data,
        "RSET" if rest.is_empty() => Command::Reset,
        "QUIT" if rest.is_empty() => Command::Quit,
        "DATA" | "RSET" | "QUIT" => Command::Wrong("501 5.5.4 no argument expected"),
        "NOOP" => Command::Noop,
        "VRFY" => Command::Verify,
        "AUTH" | "STARTTLS" | "EXPN" | "HELP" => Command::Wrong("502 5.5.1 not implemented"),
        _ => Command::Wrong("500 5.5.2 not a command"),
    }
}

fn mail(rest: &str) -> Command {
    let Some((_, parameters)) = path(rest, "FROM:") else {
        return Command::Wrong("501 5.5.4 expected MAIL FROM:<address>");
    };
    let mut size = 0;
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("BODY", "7BIT" | "8BITMIME") | ("SMTPUTF8", "") => {}
            ("SIZE", value) => match value.parse() {
                Ok(announced) => size = announced,
                Err(_) => return Command::Wrong("501 5.5.4 SIZE is not a number"),
            },
            _ => return Command::Wrong("555 5.5.4 parameter not recognised"),
        }
    }
    Command::Mail { size }
}

fn recipient(rest: &str) -> Command {
    match path(rest, "TO:") {
        Some((address, "")) if address.contains('@') => Command::Recipient(address.to_owned()),
        Some((_, "")) => Command::Wrong("553 5.1.3 not an address"),
        Some(_) => Command::Wrong("555 5.5.4 parameter not recognised"),
        None => Command::Wrong("501 5.5.4 expected RCPT TO:<address>"),
    }
}

/// `FROM:<a@b> SIZE=1` as (`a@b`, `SIZE=1`).
fn path<'a>(rest: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let head = rest.get(..prefix.len())?;
    if !head.eq_ignore_ascii_case(prefix) {
        return None;
    }
    let (address, parameters) = rest[prefix.len()..].trim_start().strip_prefix('<')?.split_once('>')?;
    Some((address, parameters.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_ignore_case_and_take_their_parameters() {
        assert_eq!(parse(b"ehlo me"), Command::Hello { extended: true });
        assert_eq!(parse(b"MAIL FROM:<a@b> BODY=8BITMIME SIZE=12"), Command::Mail { size: 12 });
        assert_eq!(parse(b"mail from:<>"), Command::Mail { size: 0 });
        assert_eq!(parse(b"RCPT TO:<a@b>"), Command::Recipient("a@b".to_owned()));
    }

    #[test]
    fn what_cannot_be_obeyed_gets_a_permanent_refusal() {
        for line in [
            &b"MAIL"[..],
            b"MAIL FROM:a@b",
            b"MAIL FROM:<a@b> X=1",
            b"RCPT TO:<>",
            b"RCPT TO:<a@b> X=1",
            b"DATA now",
            b"STARTTLS",
            b"\xff\xfe",
            "RCPT €".as_bytes(),
            b"",
        ] {
            assert!(matches!(parse(line), Command::Wrong(answer) if answer.starts_with('5')), "{line:?}");
        }
    }
}
