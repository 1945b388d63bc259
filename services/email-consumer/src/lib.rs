//! Confirms orders by e-mail over SMTP.
