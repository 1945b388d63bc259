//! Settings of the process.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Stands in for the e-mail and text-message companies.
#[derive(Clone, Debug, Parser)]
pub struct Config {
    /// Where text messages, the page and the settings are served over HTTP. Whoever reaches it can change the settings,
    /// so it belongs on a private address.
    #[arg(long, env = "PROVIDER_SIM_ADDR", default_value = "127.0.0.1:5020", value_name = "HOST:PORT")]
    pub http_addr: SocketAddr,

    /// Where e-mail is taken over SMTP.
    #[arg(long, env = "PROVIDER_SIM_SMTP_ADDR", default_value = "127.0.0.1:5025", value_name = "HOST:PORT")]
    pub smtp_addr: SocketAddr,

    /// The file that remembers every delivery. Another file is another company that has seen nothing yet.
    #[arg(
        long,
        env = "PROVIDER_SIM_JOURNAL",
        default_value = ".dev/data/provider-sim.jsonl",
        value_name = "FILE"
    )]
    pub journal: PathBuf,
}
