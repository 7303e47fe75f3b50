//! The command line of policies and lists.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// The rules in their order, and the base policy.
    Show {
        /// Tenant id, label or domain.
        tenant: String,
        /// As a file for `policy set`.
        #[arg(long)]
        toml: bool,
    },
    /// Put the policy of a file in the place of the present one.
    Set {
        /// Tenant id, label or domain.
        tenant: String,
        #[arg(short, long)]
        file: PathBuf,
    },
    /// Say whether a file is a policy, and what is wrong with it.
    Check { file: PathBuf },
    /// Say what would be done with a message that lies in a file, and why; changes nothing.
    Test(TryArgs),
}

#[derive(Args)]
pub struct TryArgs {
    /// Tenant (id, label or domain) and message; with --file the message may stand alone.
    #[arg(required = true, num_args = 1..=2, value_names = ["TENANT", "MESSAGE"])]
    pub what: Vec<String>,
    /// Take the policy of this file instead of the tenant's.
    #[arg(short, long)]
    pub file: Option<PathBuf>,
    /// Recipient, once for each; without it who stands in To.
    #[arg(long, value_name = "ADDRESS")]
    pub to: Vec<String>,
    /// Envelope sender; without it who stands in From.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    #[arg(long, value_enum, default_value = "inbound")]
    pub direction: Way,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    Inbound,
    Outbound,
}

#[derive(Subcommand)]
pub enum ListCommand {
    /// Add a sender, or change the note and the end of one.
    Add {
        /// An address, a domain and all below it, a top-level domain (.zip), or the IP address or network of the client
        /// that handed the mail to Microsoft.
        sender: String,
        /// Why; stands in `explain`.
        #[arg(long, default_value = "")]
        note: String,
        /// The last day on which it counts (UTC), such as 2026-12-31; without it for good.
        #[arg(long, value_name = "DAY")]
        until: Option<jiff::civil::Date>,
    },
    /// Take a sender off.
    Remove {
        sender: String,
    },
    List,
}
