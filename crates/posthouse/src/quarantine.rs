//! What a tenant wants of its quarantine: by a command, or by the file of many tenants.

use crate::cli::Switch;
use crate::lifecycle::who;
use crate::{show, wiring};
use anyhow::{Result, bail};
use clap::Args;
use store::Store;
use tenant::{Category, Quarantine, Tenant, TimeOfDay};

/// What is not said stays as it is; an empty text empties a list.
#[derive(Args)]
pub struct Wish {
    /// Tell recipients by mail what is held for them.
    #[arg(long, value_enum)]
    pub digest: Option<Switch>,
    /// When each day, such as 08:00; once for each time.
    #[arg(long, value_name = "HH:MM")]
    pub at: Vec<TimeOfDay>,
    /// Of those times, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Who may be sent malware as an archive with a password; once for each.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Vec<String>,
    /// What recipients may release by themselves: spam, bulk, phishing …; once for each.
    #[arg(long, value_name = "CATEGORY", value_parser = crate::held::category_or_none)]
    pub users_release: Vec<Option<Category>>,
    /// Who decides for a group or a shared mailbox: GROUP=ADDRESS, once for each; GROUP= takes its owners away.
    #[arg(long, value_name = "GROUP=ADDRESS")]
    pub owner: Vec<String>,
}

impl Wish {
    fn is_empty(&self) -> bool {
        self.digest.is_none()
            && self.time_zone.is_none()
            && self.at.is_empty()
            && self.admin.is_empty()
            && self.users_release.is_empty()
            && self.owner.is_empty()
    }

    fn on(&self, before: &Quarantine) -> Result<Quarantine> {
        let mut wish = before.clone();
        wish.digest = self.digest.map_or(wish.digest, |s| s == Switch::On);
        wish.time_zone = self.time_zone.clone().unwrap_or(wish.time_zone);
        if !self.at.is_empty() {
            wish.digest_at.clone_from(&self.at);
            wish.digest_at.sort_unstable();
            wish.digest_at.dedup();
        }
        if !self.admin.is_empty() {
            wish.admins = self.admin.iter().map(|a| a.trim().to_lowercase()).filter(|a| !a.is_empty()).collect();
        }
        if !self.users_release.is_empty() {
            wish.users_release = self.users_release.iter().flatten().copied().collect();
        }
        let mut begun: Vec<String> = Vec::new();
        for pair in &self.owner {
            let Some((of, owner)) = pair.split_once('=') else { bail!("--owner is GROUP=ADDRESS, not \"{pair}\"") };
            let (of, owner) = (of.trim().to_lowercase(), owner.trim().to_lowercase());
            // what is said replaces what was
            if !begun.contains(&of) {
                wish.owners.remove(&of);
                begun.push(of.clone());
            }
            if !owner.is_empty() {
                wish.owners.entry(of).or_default().push(owner);
            }
        }
        Ok(wish)
    }
}

pub fn checked(wish: &Quarantine, tenant: &Tenant) -> Result<()> {
    if let Some(wrong) = wish.wrong(|address| tenant.owns_address(address)) {
        bail!(wrong);
    }
    if jiff::tz::TimeZone::get(&wish.time_zone).is_err() {
        bail!("time_zone: \"{}\" is no time zone such as \"Europe/Berlin\"", wish.time_zone);
    }
    Ok(())
}

pub async fn quarantine(store: &Store, tenant: &str, wish: Wish, json: bool) -> Result<()> {
    let mut tenant = wiring::find_tenant(store, tenant).await?;
    if !wish.is_empty() {
        let wished = wish.on(&tenant.policy.quarantine)?;
        checked(&wished, &tenant)?;
        let changed = store.change_tenant(tenant.id, |known| known.policy.quarantine = wished.clone()).await?;
        let Some(changed) = changed else { bail!("{} was disconnected meanwhile", tenant.display_name) };
        store.put_act(&who(), "quarantine", Some(tenant.id), &serde_json::to_string(&wished)?).await?;
        tenant = changed;
    }
    show::print(json, &tenant.policy.quarantine, || text(&tenant))
}

fn text(tenant: &Tenant) -> String {
    let wish = &tenant.policy.quarantine;
    let or_nobody = |all: &[String]| if all.is_empty() { "nobody".to_owned() } else { all.join(", ") };
    let times: Vec<String> = wish.digest_at.iter().map(ToString::to_string).collect();
    let digest = match wish.digest {
        true => format!("at {} ({})", times.join(", "), wish.time_zone),
        false => "no".into(),
    };
    let released: Vec<&str> = wish.users_release.iter().map(|c| c.as_str()).collect();
    let released = if released.is_empty() { "nothing".into() } else { released.join(", ") };
    let owners: String = wish.owners.iter().map(|(of, all)| format!("\n  {of}: {}", or_nobody(all))).collect();
    format!(
        "{}\n  held mail is deleted after {} days\n  recipients are told: {digest}\n  they may release: {released}\n  malware as an archive to: {}\nowners of groups and shared mailboxes:{}",
        tenant.display_name,
        tenant.policy.hold_days,
        or_nobody(&wish.admins),
        if owners.is_empty() { " none" } else { &owners }
    )
}
