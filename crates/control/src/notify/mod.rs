//! Tells people and machines of alerts: webhook, syslog, mail that takes no tenant's way. The store's outbox says
//! what; each target is served by itself, in order, so that a dead one holds up nobody else.
//!
//! Trusts nobody: a webhook is verified by TLS and signed, mail goes over verified TLS, and no answer of a target is
//! believed beyond “taken” or “not taken”. Secrets and addresses of webhooks are never shown, for many carry a token.

mod mail;
mod syslog;
mod webhook;

pub use self::mail::MailTarget;
pub use syslog::{SyslogAddress, SyslogTarget, facility};
pub use webhook::{WebhookTarget, signature};

use crate::{Result, limits};
use jiff::Timestamp;
use std::time::Duration;
use store::{AlertKind, Due, Notice, NoticeTarget, Severity, Store, Tried};
use tenant::TenantId;

/// One who is told, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Under which it stands in the list of alerts; unique.
    pub name: String,
    pub least: Severity,
    /// Labels or ids of tenants; empty: alerts of every tenant, and those of none.
    pub tenants: Vec<String>,
    pub way: Way,
}

#[derive(Clone, Debug)]
pub enum Way {
    Webhook(WebhookTarget),
    Syslog(SyslogTarget),
    Mail(MailTarget),
}

impl Target {
    /// One try. `Ok`: taken, with what was said; `Err`: not taken, and why.
    pub async fn deliver(&self, notice: &Notice) -> std::result::Result<String, String> {
        match &self.way {
            Way::Webhook(webhook) => webhook.deliver(notice).await,
            Way::Syslog(syslog) => syslog.deliver(notice).await,
            Way::Mail(mail) => mail.deliver(notice).await,
        }
    }
}

/// Says to the store who is told from now on, before the first alert is raised. Tenants that are named and not connected yet are named again when they are.
pub async fn settle(targets: &[Target], store: &Store) -> Result<()> {
    let tenants = store.tenants().await?;
    let id = |name: &String| -> TenantId {
        let found = tenants.iter().find(|t| t.label == *name || t.initial_domain == *name || t.domains.contains(name));
        // nobody has this id: a name that means no tenant must not mean every tenant
        found.map_or_else(|| name.parse().unwrap_or(TenantId(uuid::Uuid::nil())), |t| t.id)
    };
    let known: Vec<NoticeTarget> = targets
        .iter()
        .map(|t| NoticeTarget {
            name: t.name.clone(),
            least: t.least,
            tenants: t.tenants.iter().map(|n| id(&n.to_lowercase())).collect(),
        })
        .collect();
    Ok(store.set_notice_targets(&known).await?)
}

/// Delivers what the outbox holds until the process ends.
pub async fn notify(targets: Vec<Target>, store: Store) {
    deliver_after(Duration::ZERO, targets, store).await;
}

/// The same for a process beside the one whose work it is: takes up what lies there for longer than that one needs.
pub async fn notify_what_lies(targets: Vec<Target>, store: Store) {
    deliver_after(limits::NOTICE_LIES, targets, store).await;
}

async fn deliver_after(late: Duration, targets: Vec<Target>, store: Store) {
    let mut at_work = tokio::task::JoinSet::new();
    for target in targets.clone() {
        at_work.spawn(serve(target, store.clone(), late));
    }
    let mut revision = None;
    loop {
        let now = store.tenants_revision().await.ok();
        if now.is_none() || now != revision {
            match settle(&targets, &store).await {
                Ok(()) => revision = now,
                Err(e) => tracing::error!(error = %e, "nobody can be told of alerts"),
            }
        }
        tokio::time::sleep(limits::NOTICE_LOOK).await;
    }
}

/// One target, one notice after the other.
async fn serve(target: Target, store: Store, late: Duration) {
    loop {
        match store.next_notice(&target.name).await {
            Ok(Some(due)) if due.due + late <= Timestamp::now() => {
                if let Err(e) = attempt(&target, &store, &due).await {
                    // it is not known to be delivered: it is tried again, and the receiver knows it by its id
                    tracing::error!(target = %target.name, error = %e, "what became of a notice was not written");
                    tokio::time::sleep(limits::NOTICE_LOOK).await;
                }
                continue;
            }
            Ok(_) => {}
            Err(e) => tracing::error!(target = %target.name, error = %e, "the outbox cannot be read"),
        }
        tokio::time::sleep(limits::NOTICE_LOOK).await;
    }
}

async fn attempt(target: &Target, store: &Store, due: &Due) -> Result<()> {
    let (tried, said) = match target.deliver(&due.notice).await {
        Ok(said) => (Tried::Delivered, said),
        Err(why) if Timestamp::now().duration_since(due.raised) > limits::NOTICE_LIFE => {
            tracing::error!(target = %target.name, alert = due.notice.alert, why, "a notice was given up");
            (Tried::GivenUp, why)
        }
        Err(why) => {
            let wait = backoff(due.tries);
            tracing::warn!(target = %target.name, alert = due.notice.alert, why, ?wait, "a notice is tried again");
            (Tried::Again(Timestamp::now() + wait), why)
        }
    };
    Ok(store.notice_tried(due.seq, &tried, &said).await?)
}

/// Doubled with each try and up to a quarter longer, so that many do not come back at once.
fn backoff(tries: u32) -> Duration {
    let wait = limits::NOTICE_AGAIN_FIRST.saturating_mul(1u32 << tries.min(16)).min(limits::NOTICE_AGAIN_MAX);
    let random = u32::try_from(uuid::Uuid::new_v4().as_u128() % 250).unwrap_or(0);
    wait + wait * random / 1000
}

/// What a target said to a test.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Tested {
    pub target: String,
    pub taken: bool,
    pub said: String,
}

/// One notice to every target, now and past the outbox.
pub async fn notify_test(targets: &[Target]) -> Vec<Tested> {
    let now = Timestamp::now();
    let notice = Notice {
        id: uuid::Uuid::now_v7().to_string(),
        alert: 0,
        kind: AlertKind::Test,
        severity: Severity::Low,
        tenant: None,
        subject: "a test of notices".into(),
        text: "Somebody ran `posthouse alerts test`. Nothing happened, and there is nothing to do.".into(),
        first: now,
        last: now,
        count: 1,
    };
    let mut tests = tokio::task::JoinSet::new();
    for (n, target) in targets.iter().cloned().enumerate() {
        let notice = notice.clone();
        tests.spawn(async move {
            let said = target.deliver(&notice).await;
            (n, Tested { target: target.name, taken: said.is_ok(), said: said.unwrap_or_else(|why| why) })
        });
    }
    let mut all = tests.join_all().await;
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, tested)| tested).collect()
}

/// Text of mail may be in it; what is told must stay one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
    }
}

/// As JSON has it, e.g. `not_attributed`.
fn kind_word(kind: AlertKind) -> String {
    serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_and_has_an_end() {
        let mut before = Duration::ZERO;
        for tries in 0..40 {
            let wait = backoff(tries);
            assert!(wait >= before.min(limits::NOTICE_AGAIN_MAX), "{tries}: {wait:?} after {before:?}");
            assert!(wait <= limits::NOTICE_AGAIN_MAX * 5 / 4);
            before = wait * 4 / 5;
        }
    }
}
