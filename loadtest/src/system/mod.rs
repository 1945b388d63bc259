//! The programs of the system as processes of this one: started, asked what they count, and stopped.

pub(crate) mod meters;
pub(crate) mod programs;
pub(crate) mod running;

use std::path::PathBuf;

pub use programs::Addresses;

/// Where the programs are, and what belongs to them.
#[derive(Clone, Debug, clap::Args)]
pub struct SystemArgs {
    /// The folder with the programs
    #[arg(long, value_name = "FOLDER")]
    pub programs: PathBuf,
    /// Where their logs go
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Process id of Redis
    #[arg(long, value_name = "NUMBER")]
    pub redis_pid: i32,
    /// Where the programs listen.
    #[command(flatten)]
    pub addresses: Addresses,
}
