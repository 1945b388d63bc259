//! Settings come from the environment or from flags of the same meaning, are read once and checked once.

use std::any::TypeId;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};

/// Reads the settings of this process. A wrong one ends it: one line on stderr with the setting's name and the accepted form,
/// exit code 2.
pub fn load<T: Parser>() -> T {
    match parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Refused::Clap(message)) => message.exit(),
        Err(Refused::Setting(line)) => {
            eprintln!("{line}");
            std::process::exit(2)
        }
    }
}

/// Why there are no settings.
enum Refused {
    /// Help, version, or a flag that does not exist: clap knows best how to say it.
    Clap(clap::Error),
    /// A setting is wrong.
    Setting(String),
}

fn parse<T: Parser>(
    arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> Result<T, Refused> {
    T::try_parse_from(arguments).map_err(|error| match explain(&T::command(), &error) {
        Some(line) => Refused::Setting(line),
        None => Refused::Clap(error),
    })
}

/// One line for a wrong or missing setting.
fn explain(command: &Command, error: &clap::Error) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let arg = named(command, &context(ContextKind::InvalidArg)?)?;
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            Some(format!(
                "{}='{}' is not valid: expected {}",
                name(arg),
                without_secrets(&value),
                form(arg, error)
            ))
        }
        ErrorKind::MissingRequiredArgument => {
            let arg = named(command, &context(ContextKind::InvalidArg)?)?;
            Some(format!("{} is not set: expected {}", name(arg), form(arg, error)))
        }
        _ => None,
    }
}

/// Finds the argument that clap shows as `--http-addr <HTTP_ADDR>`.
fn named<'a>(command: &'a Command, shown: &str) -> Option<&'a Arg> {
    let long = shown.split_whitespace().next()?.trim_start_matches("--");
    command.get_arguments().find(|arg| arg.get_long() == Some(long))
}

fn name(arg: &Arg) -> String {
    match (arg.get_env(), arg.get_long()) {
        (Some(variable), _) => variable.to_string_lossy().into_owned(),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => arg.get_id().to_string(),
    }
}

/// What would have been accepted: the value parser's own words if it says what it expects, else what its type accepts.
fn form(arg: &Arg, error: &clap::Error) -> String {
    let choices: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !choices.is_empty() {
        return format!("one of {}", choices.join(", "));
    }
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if let Some(expected) = cause.strip_prefix("expected ") {
        return expected.to_owned();
    }
    // clap's words for a number outside its range.
    if let Some((_, range)) = cause.split_once(" is not in ") {
        return format!("a whole number from {}", range.replace("..=", " to "));
    }
    let type_id = arg.get_value_parser().type_id();
    let is = |other: TypeId| type_id == other;
    if is(TypeId::of::<SocketAddr>()) {
        "an address and port such as 127.0.0.1:5001".to_owned()
    } else if is(TypeId::of::<IpAddr>()) {
        "an IP address such as 127.0.0.1".to_owned()
    } else if is(TypeId::of::<Duration>()) {
        DURATION_FORM.to_owned()
    } else if is(TypeId::of::<bool>()) {
        "true or false".to_owned()
    } else if is(TypeId::of::<f64>()) {
        "a number".to_owned()
    } else if cause.is_empty() {
        "a value".to_owned()
    } else if cause.contains("digit") || cause.contains("integer") || cause.contains("number") {
        format!("a whole number ({cause})")
    } else {
        format!("another value ({cause})")
    }
}

/// Hides user and password of a URL: this line ends in logs.
fn without_secrets(value: &str) -> String {
    match (value.find("://"), value.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}***{}", &value[..scheme + 3], &value[at..]),
        _ => value.to_owned(),
    }
}

const DURATION_FORM: &str = "a whole number with a unit (ms, s, m, h or d) such as 250ms or 2s";

/// Value parser for durations: `250ms`, `2s`, `5m`, `1h`, `60d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("expected {DURATION_FORM}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(refused)
}

/// Value parser for shares: `0.05` is 5 %.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1 such as 0.05".to_owned()),
    }
}

/// Value parser for the URL of a PostgreSQL database. It only looks at the form; the database may be away.
pub fn postgres_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("expected postgres://user:password@host:port/database".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Config {
        #[arg(long, env = "TEST_ADDR", default_value = "127.0.0.1:5001")]
        http_addr: SocketAddr,
        #[arg(long, env = "TEST_WAIT", default_value = "2s", value_parser = duration)]
        wait: Duration,
        #[arg(long, env = "TEST_CONNECTIONS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        connections: u32,
        #[arg(long, env = "TEST_DATABASE_URL", default_value = "postgres://a:b@c/d", value_parser = postgres_url)]
        database_url: String,
        #[arg(long, env = "TEST_REQUIRED_NAME")]
        required: String,
    }

    fn refusal(arguments: &[&str]) -> String {
        let arguments = ["test", "--required", "x"].iter().chain(arguments).copied().collect::<Vec<_>>();
        match parse::<Config>(arguments) {
            Err(Refused::Setting(line)) => line,
            Err(Refused::Clap(error)) => panic!("left to clap: {error}"),
            Ok(config) => panic!("accepted: {config:?}"),
        }
    }

    #[test]
    fn a_wrong_setting_is_named_with_the_accepted_form() {
        assert_eq!(
            refusal(&["--http-addr", "abc"]),
            "TEST_ADDR='abc' is not valid: expected an address and port such as 127.0.0.1:5001"
        );
        assert_eq!(
            refusal(&["--wait", "2"]),
            "TEST_WAIT='2' is not valid: expected a whole number with a unit (ms, s, m, h or d) such as 250ms or 2s"
        );
        assert_eq!(
            refusal(&["--connections", "0"]),
            "TEST_CONNECTIONS='0' is not valid: expected a whole number from 1 to 100"
        );
        let line = refusal(&["--connections", "many"]);
        assert!(line.starts_with("TEST_CONNECTIONS='many' is not valid: expected a whole number"), "{line}");
    }

    #[test]
    fn a_missing_setting_is_named() {
        let Err(Refused::Setting(line)) = parse::<Config>(["test"]) else { panic!("accepted") };
        assert!(line.starts_with("TEST_REQUIRED_NAME is not set: expected "), "{line}");
    }

    #[test]
    fn a_password_does_not_reach_the_message() {
        assert_eq!(
            refusal(&["--database-url", "mysql://user:secret@db/orders"]),
            "TEST_DATABASE_URL='mysql://***@db/orders' is not valid: expected postgres://user:password@host:port/database"
        );
    }

    #[test]
    fn help_is_left_to_clap() {
        assert!(matches!(parse::<Config>(["test", "--help"]), Err(Refused::Clap(_))));
    }

    #[test]
    fn a_right_setting_is_read() {
        let config = parse::<Config>(["test", "--required", "x", "--wait", "250ms"]).ok().expect("settings");
        assert_eq!(config.wait, Duration::from_millis(250));
        assert_eq!((config.http_addr.port(), config.connections, config.required.as_str()), (5001, 5, "x"));
        assert_eq!(config.database_url, "postgres://a:b@c/d");
    }

    #[test]
    fn durations_have_a_unit_and_no_sign() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0ms"), Ok(Duration::ZERO));
        assert_eq!(duration("60d"), Ok(Duration::from_secs(60 * 86_400)));
        for wrong in
            ["", "5", "ms", "-1s", "1.5s", "1 s", "99999999999999999999s", "18446744073709551615h", "1w"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
