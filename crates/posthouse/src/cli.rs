//! The command line, as one list.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Inline mail protection for Microsoft 365.
#[derive(Parser)]
#[command(name = "posthouse", version, about, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "POSTHOUSE_CONFIG", default_value = "posthouse.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Print JSON instead of tables and sentences.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the gateway and the DNS of the connector zone.
    Serve {
        /// Write the addresses as JSON once everything serves.
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Connect, list and disconnect tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Show what would have to change in a tenant so that it is as it should be; changes nothing.
    ///
    /// Exit code 0: nothing; 2: changes; 1: something could not be read, or an error. Carry out with: tenant connect.
    Plan {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// List journeys, newest first.
    Trace {
        /// Only this tenant (id, label or domain).
        #[arg(long)]
        tenant: Option<String>,
        /// Only journeys whose sender or a recipient contains this.
        #[arg(long)]
        address: Option<String>,
        /// Only journeys of this Message-ID.
        #[arg(long)]
        message_id: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Tell one journey: where it came from, what was seen, what was decided and why, what Microsoft answered.
    Explain {
        /// The journey's id, or its beginning.
        id: String,
    },
    /// Messages that wait here.
    #[command(subcommand)]
    Held(HeldCommand),
    /// What somebody should look at.
    Alerts,
    /// Check or print configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run the simulated Microsoft 365 alone.
    Sim(SimArgs),
    /// Connect a simulated tenant and watch real messages make the whole journey.
    Demo(DemoArgs),
}

#[derive(Subcommand)]
pub enum TenantCommand {
    /// Connect a tenant in seven steps; safe to repeat, goes on where it was cut off.
    Connect {
        /// Tenant id or one of its domains; without it the account that signs in decides.
        tenant: Option<String>,
        /// Sign in with a browser on this machine instead of a device code.
        #[arg(long)]
        browser: bool,
        /// Mailbox that receives the inbound probe; without it the administrator's own.
        #[arg(long, value_name = "ADDRESS")]
        probe_recipient: Option<String>,
        /// Grant the permissions shown without asking again.
        #[arg(long)]
        yes: bool,
    },
    /// Take everything back in safe order and show by reading again that nothing of ours is left.
    Disconnect {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// List connected tenants.
    List,
}

#[derive(Subcommand)]
pub enum HeldCommand {
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Show one: envelope, reasons, headers.
    Show {
        id: String,
        /// Print the whole message as it would be handed back.
        #[arg(long)]
        raw: bool,
    },
    /// Hand it back to Microsoft; it is deleted here once Microsoft has it.
    Release { id: String },
    /// Delete it for good.
    Delete { id: String },
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and say what is wrong with it.
    Check,
    /// Print a configuration to start from.
    Example,
}

#[derive(Args)]
pub struct SimArgs {
    /// Write the endpoints as JSON once it serves.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Folder for the certificate authority's file; a fresh temporary one without it.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Simulate a second tenant beside Contoso.
    #[arg(long)]
    pub two_tenants: bool,
}

#[derive(Args)]
pub struct DemoArgs {
    /// End after the table; exit code 0 only if every expectation held.
    #[arg(long)]
    pub exit: bool,
    /// Send every file of this folder through as well.
    #[arg(long, value_name = "DIR")]
    pub mail: Vec<PathBuf>,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}
