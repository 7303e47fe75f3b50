//! The command line, as one list.

use clap::{Args, Parser, Subcommand, ValueEnum};
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
    /// Keep watch over the gateway from outside its process: where a tenant asked for fail-open, turn routing off when the
    /// gateway has been failing for too long, and on again once mail has proven the way.
    ///
    /// Runs on the gateway's machine, as another unit: it needs the same configuration and data directory, and nothing else.
    Watchdog,
    /// Connect, list and disconnect tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Show what would have to change in a tenant so that it is as it should be; changes nothing.
    ///
    /// Exit code 0: nothing; 2: changes; 1: something could not be read, or an error.
    Plan {
        /// Tenant id, label or domain.
        tenant: String,
        /// Show what disconnecting would remove instead.
        #[arg(long)]
        removal: bool,
    },
    /// Carry out a plan that was shown; refuses one that no longer fits the tenant.
    Apply {
        /// Tenant id, label or domain.
        tenant: String,
        /// The id that `posthouse plan` printed.
        #[arg(long, value_name = "ID")]
        plan: String,
    },
    /// A classifier of your own, taught by mail that you have a right to use.
    #[command(subcommand)]
    Classifier(ClassifierCommand),
    /// Compare a tenant with what it should be, now, and say how much every difference matters.
    ///
    /// Exit code 0: as it should be; 2: differs; 1: something could not be read, or an error.
    Watch {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// Say how much of the last hour's mail really came by, what skipped and why, and everything else about a tenant.
    ///
    /// Exit code 0: all as wished; 2: something is not; 1: something could not be looked at, or an error.
    Status {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// How each outside scanner is: as the gateway that serves sees it, or asked from here when none does.
    ///
    /// Exit code 0: all answer; 2: one does not; 1: an error.
    Engines,
    /// Whether every message is accounted for, here and in Microsoft's message trace.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// What is known of a tenant's users, groups and mailboxes, and how fresh it is.
    #[command(args_conflicts_with_subcommands = true)]
    Directory {
        /// Tenant id, label or domain.
        #[arg(required = true)]
        tenant: Option<String>,
        #[command(subcommand)]
        command: Option<DirectoryCommand>,
    },
    /// Leave a tenant alone for a while: no watching, no healing; for a break-glass.
    Pause {
        /// Tenant id, label or domain.
        tenant: String,
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=168))]
        hours: u16,
        /// For those who find the break on.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// End a pause before its time.
    Resume {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// The log of administrative acts.
    #[command(subcommand)]
    Audit(AuditCommand),
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
    /// Rewritten links (docs/links.md).
    #[command(subcommand)]
    Link(crate::link::LinkCommand),
    /// Judge saved messages again with today's detectors, and show what would happen to them.
    Replay(ReplayArgs),
    /// What is done with what is found in a tenant's mail (docs/policy.md).
    #[command(subcommand)]
    Policy(crate::policy::PolicyCommand),
    /// What a tenant wants found beside what detectors find (docs/rules.md).
    #[command(subcommand)]
    Rules(crate::rules::RulesCommand),
    /// Senders of whom only what harms by itself is held, where they are authenticated.
    Allow {
        /// Tenant id, label or domain.
        tenant: String,
        /// The list of this user, which counts for that user's mail alone; without it the tenant's.
        #[arg(long, value_name = "ADDRESS")]
        user: Option<String>,
        #[command(subcommand)]
        command: crate::policy::ListCommand,
    },
    /// Senders whose mail is never delivered.
    Block {
        /// Tenant id, label or domain.
        tenant: String,
        /// The list of this user, which counts for that user's mail alone; without it the tenant's.
        #[arg(long, value_name = "ADDRESS")]
        user: Option<String>,
        #[command(subcommand)]
        command: crate::policy::ListCommand,
    },
    /// Messages that wait here (docs/quarantine.md).
    #[command(subcommand)]
    Held(crate::held::HeldCommand),
    /// Messages that somebody says were judged wrongly; each is kept with all that was known of it.
    #[command(subcommand)]
    Reports(crate::held::ReportsCommand),
    /// Tell users by mail what is held for them, now, and what their links would do.
    Digest(crate::held::DigestArgs),
    /// What somebody should look at, newest first, and who was told of it.
    #[command(args_conflicts_with_subcommands = true)]
    Alerts {
        /// Show those that are acknowledged, too.
        #[arg(long)]
        all: bool,
        #[command(subcommand)]
        command: Option<AlertsCommand>,
    },
    /// Check the configuration and everything it names: certificates, keys, ports, folders, targets.
    ///
    /// Exit code 0: `serve` would start; 1: something is wrong, all of it told at once.
    CheckConfig,
    /// Print configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The addresses from which Exchange Online sends.
    #[command(subcommand)]
    Ranges(RangesCommand),
    /// Run the simulated Microsoft 365 alone.
    Sim(SimArgs),
    /// Connect a simulated tenant and watch real messages make the whole journey.
    Demo(DemoArgs),
}

#[derive(Subcommand)]
pub enum LedgerCommand {
    /// Reconcile our journal with Microsoft's message trace and name what is missing on either side, or doubled.
    ///
    /// Exit code 0: everything is accounted for; 2: something is missing or doubled; 1: something could not be checked,
    /// or an error.
    Check {
        /// Tenant id, label or domain.
        tenant: String,
        #[command(flatten)]
        window: LedgerWindow,
        /// What lacks its other half and is newer is too new to tell: the trace lags.
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = crate::ledger::duration)]
        grace: jiff::SignedDuration,
    },
    /// Count messages by their final state, by our journal alone.
    Show {
        /// Tenant id, label or domain.
        tenant: String,
        #[command(flatten)]
        window: LedgerWindow,
    },
}

#[derive(Args)]
pub struct LedgerWindow {
    /// So long back from now: 90m, 24h, 7d.
    #[arg(long, value_name = "TIME", default_value = "24h", conflicts_with_all = ["from", "to"], value_parser = crate::ledger::duration)]
    pub since: jiff::SignedDuration,
    /// From this moment: 2026-03-01T00:00:00Z.
    #[arg(long, value_name = "WHEN")]
    pub from: Option<jiff::Timestamp>,
    /// Up to this moment; without it, now.
    #[arg(long, value_name = "WHEN", requires = "from")]
    pub to: Option<jiff::Timestamp>,
}

#[derive(Subcommand)]
pub enum DirectoryCommand {
    /// Read now what changed; `serve` does so every quarter of a minute.
    Sync {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// Users, groups and mailboxes whose name or an address contains a text.
    Find {
        /// Tenant id, label or domain.
        tenant: String,
        text: String,
    },
    /// Every user in a group and in the groups in it.
    Members {
        /// Tenant id, label or domain.
        tenant: String,
        /// Display name, mail address or object id.
        group: String,
    },
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
        /// How far mail is to be routed at first, both ways; without it everyone, or as before.
        #[arg(long, value_enum)]
        stage: Option<Stage>,
        /// Mail address of a group whose members go first (stage pilot).
        #[arg(long, value_name = "GROUP")]
        pilot: Vec<String>,
        /// By what right our application runs Exchange cmdlets.
        #[arg(long, value_enum)]
        exchange_rights: Option<Rights>,
        /// Make the second application, too, which may take bad mail back out of mailboxes.
        #[arg(long)]
        post_delivery: bool,
        /// Sign in and show what would be done; change nothing, neither there nor here.
        #[arg(long, conflicts_with = "yes")]
        preview: bool,
        /// Grant the permissions and carry out the plan without asking again.
        #[arg(long)]
        yes: bool,
    },
    /// Take everything back in safe order and show by reading again that nothing of ours is left.
    Disconnect {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// Say how far mail is routed, each direction by itself; `plan` and `apply` carry it out.
    Rollout {
        /// Tenant id, label or domain.
        tenant: String,
        #[arg(long, value_enum)]
        inbound: Option<Stage>,
        #[arg(long, value_enum)]
        outbound: Option<Stage>,
        /// Mail address of a group whose members go first; instead of those named before.
        #[arg(long, value_name = "GROUP")]
        pilot: Vec<String>,
        /// Mail address of a group whose members are left out; instead of those named before.
        #[arg(long, value_name = "GROUP", conflicts_with = "exclude_nobody")]
        exclude: Vec<String>,
        /// Leave nobody out any more.
        #[arg(long)]
        exclude_nobody: bool,
    },
    /// Say what is changed in mail that passes: banner, subject tag, header, links; without a wish, show it.
    Edits {
        /// Tenant id, label or domain.
        tenant: String,
        #[command(flatten)]
        wish: crate::edits::Wish,
    },
    /// Say who decides about held mail and who is told of it (docs/quarantine.md); without a wish, show it.
    Quarantine {
        /// Tenant id, label or domain.
        tenant: String,
        #[command(flatten)]
        wish: crate::quarantine::Wish,
    },
    /// Let Posthouse put right what somebody changed on its objects, within bounds, or only tell.
    SelfHeal {
        /// Tenant id, label or domain.
        tenant: String,
        #[arg(value_enum)]
        to: Switch,
    },
    /// Say for how long the gateway may fail before `posthouse watchdog` turns routing off and mail is delivered unchecked.
    FailOpen {
        /// Tenant id, label or domain.
        tenant: String,
        /// For example 30m or 2h; `off`: never, mail waits. Without it the present wish is shown.
        #[arg(long, value_name = "TIME|off", value_parser = fail_open)]
        after: Option<FailOpen>,
    },
    /// Bring many tenants to what a file says, ring by ring, each by its own plan.
    ///
    /// Without --yes the plans are only shown. Exit code 0: nothing to do, or all done; 2: changes; 1: an error.
    Apply {
        /// See docs/operate.md for what may stand in it.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Only rings up to this one.
        #[arg(long, value_name = "RING")]
        ring: Option<String>,
        /// Carry the plans out.
        #[arg(long)]
        yes: bool,
    },
    /// Have something renewed before its time; `plan` and `apply` carry it out.
    Rotate {
        /// Tenant id, label or domain.
        tenant: String,
        #[arg(value_enum, required = true)]
        what: Vec<Renewable>,
    },
    /// What was done in a tenant, step by step, oldest first.
    Receipts {
        /// Tenant id, label or domain.
        tenant: String,
    },
    /// List connected tenants.
    List,
}

/// How long the gateway may fail; `None`: as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailOpen(pub Option<u32>);

pub fn fail_open(text: &str) -> Result<FailOpen, String> {
    use control::limits::{FAIL_OPEN_MINUTES_MAX as MAX, FAIL_OPEN_MINUTES_MIN as MIN};
    if text == "off" {
        return Ok(FailOpen(None));
    }
    let minutes = match (text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(minutes), _) => minutes.parse::<u32>().ok(),
        (_, Some(hours)) => hours.parse::<u32>().ok().and_then(|hours| hours.checked_mul(60)),
        _ => None,
    };
    match minutes {
        Some(minutes) if (MIN..=MAX).contains(&minutes) => Ok(FailOpen(Some(minutes))),
        Some(_) => Err(format!(
            "say between {MIN}m and {}h, or off: a rule takes half an hour to be in effect, and Exchange Online keeps mail for a day",
            MAX / 60
        )),
        None => Err(format!("\"{text}\" is no time; say for example 30m, 2h or off")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Renewable {
    /// The certificate by which our application signs in.
    Application,
    /// The certificate by which mail comes back.
    Certificate,
    /// The two secrets of the mail flow rules.
    Secrets,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Rights {
    /// The directory role Exchange Administrator; leaves nothing behind.
    Administrator,
    /// A role group with only the cmdlets that are used.
    RoleGroup,
}

#[derive(Clone, Copy, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The rule is disabled.
    Off,
    /// The rule says in Microsoft's trace what it would take, and takes nothing.
    Audit,
    /// Members of the pilot groups.
    Pilot,
    Everyone,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Oldest first.
    List,
    /// Check that no entry was altered, taken out or put in.
    Verify,
}

#[derive(Subcommand)]
pub enum AlertsCommand {
    /// Send one test notice to everybody who is told of alerts, and print what each said.
    Test,
    /// Say that an alert is seen to; it is hidden until it gets worse.
    Ack {
        /// Its number in the list.
        id: i64,
    },
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print a configuration to start from.
    Example,
}

#[derive(Subcommand)]
pub enum RangesCommand {
    /// Show what a file of ranges holds, and what it would add and remove; changes nothing.
    Check {
        /// What Microsoft's endpoint web service answered, or one range a line.
        file: PathBuf,
    },
}

#[derive(Args)]
pub struct ReplayArgs {
    /// Messages as they came (.eml), or folders of them.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub saved: Vec<PathBuf>,
    /// By the policy, domains and people of this tenant (id, label or domain); without it by the policy that new
    /// tenants have, and the recipient's domain is the tenant's.
    #[arg(long)]
    pub tenant: Option<String>,
    /// With the custom rules of this file (docs/rules.md) in the place of the tenant's.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Only those that the journal knows and that would fare otherwise today.
    #[arg(long)]
    pub changed: bool,
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
    /// Start neither clamd nor rspamd.
    #[arg(long)]
    pub without_scanners: bool,
    /// Send every file of this folder through as well; outside scanners are then not asked.
    #[arg(long, value_name = "DIR")]
    pub mail: Vec<PathBuf>,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the simulator's addresses and the configuration's place as JSON once all is judged and keeps running.
    #[arg(long, value_name = "FILE", conflicts_with = "exit")]
    pub ready_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_for_fail_open_has_bounds() {
        assert_eq!(fail_open("30m"), Ok(FailOpen(Some(30))));
        assert_eq!(fail_open("2h"), Ok(FailOpen(Some(120))));
        assert_eq!(fail_open("off"), Ok(FailOpen(None)));
        for (text, complaint) in [
            ("9m", "between 10m and 20h"),
            ("21h", "between"),
            ("99999999h", "no time"),
            ("30", "no time"),
            ("", "no time"),
            ("-5m", "no time"),
        ] {
            assert!(fail_open(text).is_err_and(|e| e.contains(complaint)), "{text}");
        }
    }
}

#[derive(Subcommand)]
pub enum ClassifierCommand {
    /// Learn from saved messages what unwanted mail looks like, and say how well that works on messages not learnt from.
    ///
    /// Same messages, same model. Addresses, hosts, names of recipients and every header but the subject are left out.
    Train(TrainArgs),
}

#[derive(Args)]
pub struct TrainArgs {
    /// Folders of unwanted messages, one message a file; folders below are read too.
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    pub bad: Vec<PathBuf>,
    /// Folders of wanted messages.
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    pub good: Vec<PathBuf>,
    /// Where the model is written; name it under `[classifier] model`.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
