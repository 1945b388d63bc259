//! Stands in for the e-mail and text-message companies.
