//! The SMTP server as a URL names it.

use std::fmt;
use std::str::FromStr;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::session::{Session, offers_pipelining};

/// Where mail is handed in, and how.
#[derive(Clone)]
pub struct SmtpServer {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    None,
    /// STARTTLS, and no mail without it.
    Upgrade,
    /// TLS from the first byte.
    Wrapped,
}

impl Security {
    /// RFC 5321, RFC 6409 and RFC 8314.
    const fn default_port(self) -> u16 {
        match self {
            Self::None => 25,
            Self::Upgrade => 587,
            Self::Wrapped => 465,
        }
    }
}

/// The text does not repeat the URL: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected smtp://[user:password@]host[:port][?tls=required] or smtps://[user:password@]host[:port]")]
pub struct BadSmtpUrl;

impl FromStr for SmtpServer {
    type Err = BadSmtpUrl;

    fn from_str(text: &str) -> Result<Self, BadSmtpUrl> {
        let url = Url::parse(text).map_err(|_| BadSmtpUrl)?;
        let security = match (url.scheme(), url.query()) {
            ("smtp", None) => Security::None,
            ("smtp", Some("tls=required")) => Security::Upgrade,
            ("smtps", None) => Security::Wrapped,
            _ => return Err(BadSmtpUrl),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(BadSmtpUrl);
        }
        let host = match url.host().ok_or(BadSmtpUrl)? {
            Host::Domain("") => return Err(BadSmtpUrl),
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let decoded = |part: &str| -> Result<String, BadSmtpUrl> {
            Ok(percent_decode_str(part).decode_utf8().map_err(|_| BadSmtpUrl)?.into_owned())
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(BadSmtpUrl),
            (user, Some(password)) => Some(Credentials::new(decoded(user)?, decoded(password)?)),
        };
        let port = url.port().unwrap_or(security.default_port());
        Ok(Self { host, port, security, credentials })
    }
}

/// Without the credentials: this ends in logs.
impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpServer({}:{}, {:?})", self.host, self.port, self.security)
    }
}

impl SmtpServer {
    /// Host and port.
    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Opens a session: connected, encrypted if so asked, greeted and logged in.
    pub(crate) async fn connect(&self) -> Result<Session, smtp::Error> {
        let hello = ClientId::default();
        let wrapped = match self.security {
            Security::Wrapped => Some(TlsParameters::new(self.host.clone())?),
            Security::None | Security::Upgrade => None,
        };
        // No time-out here: it would cover the connection only, and the caller's covers all of this.
        let address = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, None, &hello, wrapped, None).await?;
        if self.security == Security::Upgrade {
            connection.starttls(TlsParameters::new(self.host.clone())?, &hello).await?;
        }
        // lettre has asked too, and keeps of the answer only what it uses itself.
        let pipelining = offers_pipelining(&connection.command(Ehlo::new(hello)).await?);
        if let Some(credentials) = &self.credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await?;
        }
        Ok(Session::new(connection, pipelining))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> SmtpServer {
        url.parse().unwrap()
    }

    #[test]
    fn the_scheme_decides_about_encryption_and_the_port() {
        for (url, port, security) in [
            ("smtp://mail.example.com", 25, Security::None),
            ("smtp://127.0.0.1:5025", 5025, Security::None),
            ("smtp://mail.example.com?tls=required", 587, Security::Upgrade),
            ("smtps://mail.example.com/", 465, Security::Wrapped),
        ] {
            let server = server(url);
            assert_eq!((server.port, server.security), (port, security), "{url}");
        }
        assert_eq!(server("smtp://[::1]:25").host, "::1");
    }

    #[test]
    fn credentials_are_percent_decoded_and_never_shown() {
        let server = server("smtps://ann%40example.com:p%2Fss%20w+rd@mail.example.com");
        assert_eq!(
            server.credentials,
            Some(Credentials::new("ann@example.com".to_owned(), "p/ss w+rd".to_owned()))
        );
        assert_eq!(format!("{server:?}"), "SmtpServer(mail.example.com:465, Wrapped)");
    }

    #[test]
    fn what_is_not_understood_is_refused_instead_of_sent_unencrypted() {
        for url in [
            "mail.example.com:25",
            "http://mail.example.com",
            "smtp://",
            "smtp://mail.example.com?tls=maybe",
            "smtp://mail.example.com?TLS=required",
            "smtp://mail.example.com/path",
            "smtps://user@mail.example.com",
            "smtps://:password@mail.example.com",
        ] {
            assert!(url.parse::<SmtpServer>().is_err(), "{url}");
        }
    }
}
