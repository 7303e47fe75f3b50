//! Keeps every connected tenant's directory up to date, so that a new user is covered within a minute of Microsoft
//! showing her. Each tenant is a task of its own: one that hangs or fails keeps no other waiting.

use super::{mailboxes, round};
use crate::{Result, limits, plan};
use jiff::Timestamp;
use m365::Client;
use std::collections::HashMap;
use store::{AlertKind, Store, SyncKind, SyncState};
use tenant::{Routing, TenantId};
use tokio::task::{AbortHandle, JoinSet};

/// Until the process ends.
pub async fn follow(client: Client, store: Store) {
    // dropped with this future: whatever is under way ends with it, and goes on at its last page
    let mut rounds = JoinSet::new();
    let mut under_way: HashMap<TenantId, AbortHandle> = HashMap::new();
    let mut ticks = tokio::time::interval(limits::DIRECTORY_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while rounds.try_join_next().is_some() {}
        under_way.retain(|_, round| !round.is_finished());
        let tenants = match store.tenants().await {
            Ok(tenants) => tenants,
            Err(e) => {
                tracing::error!(error = %e, "the directories are not followed: the tenants cannot be read");
                continue;
            }
        };
        for tenant in tenants.into_iter().filter(|t| t.routing == Routing::Proven) {
            let (client, store) = (client.clone(), store.clone());
            under_way
                .entry(tenant.id)
                .or_insert_with(|| rounds.spawn(async move { one(tenant.id, &client, &store).await }));
        }
    }
}

/// One tenant once; what goes wrong is written down for whoever looks, and told once it lasts.
async fn one(id: TenantId, client: &Client, store: &Store) {
    let done = changes(id, client, store).await;
    let trouble = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
    if let Err(error) = &done {
        tracing::warn!(tenant = %id, %error, "the directory was not followed");
    }
    if let Err(error) = told(id, store, &trouble).await {
        tracing::error!(tenant = %id, %error, "the state of the directory was not written down");
    }
}

async fn told(id: TenantId, store: &Store, trouble: &str) -> Result<()> {
    store.put_sync_trouble(id, trouble).await?;
    // what was written before something went wrong counts already
    store.announce_directory(id).await?;
    let states = store.sync_states(id).await?;
    let users = states.iter().find(|s| s.kind == SyncKind::Users);
    if !trouble.is_empty() && users.is_some_and(|s| is_older(s, limits::DIRECTORY_STALE)) {
        let text = format!(
            "users and groups could not be read for {} hours: {trouble}. Mail goes on and is checked; new people and names are not known",
            limits::DIRECTORY_STALE.as_hours()
        );
        store.raise_alert(AlertKind::Other, Some(id), "the directory is not followed", &text).await?;
    }
    Ok(())
}

fn is_older(state: &SyncState, age: jiff::SignedDuration) -> bool {
    state.finished.is_some_and(|at| Timestamp::now() > at + age)
}

async fn changes(id: TenantId, client: &Client, store: &Store) -> Result<()> {
    let (_, app) = plan::acting(id, store).await?;
    let users = round::round(client, store, &app, SyncKind::Users, &mut |_| {}).await;
    // a new user is known as soon as she is read, whatever the groups are like
    let groups = round::round(client, store, &app, SyncKind::Groups, &mut |_| {}).await;
    users?;
    groups?;
    let mailboxes = store.sync_state(id, SyncKind::Mailboxes).await?;
    if mailboxes.finished.is_none() || is_older(&mailboxes, limits::MAILBOXES_EVERY) {
        mailboxes::confirm_all(client, store, &app, &mut |_| {}).await?;
    }
    mailboxes::confirm_some(client, store, &app).await
}
