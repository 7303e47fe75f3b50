//! Step b, and what follows it for ever: users, groups and mailboxes into the store. What the detectors know of people
//! comes from here. Read page by page, never as a whole; what was read is written down with the place where it goes on.

mod follow;
mod mailboxes;
mod round;
mod rows;

pub use follow::follow;

use crate::events::{Event, State, Step};
use crate::objects::{Need, permissions::EXCHANGE_APP};
use crate::work::Work;
use crate::{Result, limits, plan};
use m365::{Client, Identity};
use serde::Serialize;
use store::{DirectoryCounts, Store, SyncKind, SyncState, User};
use tenant::TenantId;

pub(crate) const NEEDS: &[Need] = &[
    Need {
        permission: "User.Read.All",
        reason: "keeps the list of users up to date: whose name may be impersonated",
        cmdlets: &[],
    },
    Need {
        permission: "Group.Read.All",
        reason: "keeps the list of groups and their members up to date",
        cmdlets: &[],
    },
    Need { permission: EXCHANGE_APP, reason: "the list of mailboxes", cmdlets: &["Get-Mailbox"] },
];

/// What is known of a tenant's people, and how fresh it is.
#[derive(Clone, Debug, Serialize)]
pub struct DirectoryStatus {
    pub tenant: TenantId,
    pub counts: DirectoryCounts,
    pub readings: Vec<SyncState>,
    /// Seconds since the older of users and groups was read to its end; nothing before the first time.
    pub age_secs: Option<i64>,
}

pub async fn directory_status(id: TenantId, store: &Store) -> Result<DirectoryStatus> {
    let (counts, readings) = (store.directory_counts(id).await?, store.sync_states(id).await?);
    let finished = |kind: SyncKind| readings.iter().find(|r| r.kind == kind).and_then(|r| r.finished);
    let oldest = finished(SyncKind::Users).zip(finished(SyncKind::Groups)).map(|(users, groups)| users.min(groups));
    let age_secs = oldest.map(|at| jiff::Timestamp::now().duration_since(at).as_secs());
    Ok(DirectoryStatus { tenant: id, counts, readings, age_secs })
}

/// Every user in a group and in the groups in it, each once.
pub async fn members_of(id: TenantId, group: &str, store: &Store) -> Result<Vec<User>> {
    Ok(store.members_of(id, group).await?)
}

/// Reads now what changed, or goes on with the first reading; with the application's own rights.
pub async fn synchronise_now(
    id: TenantId,
    client: &Client,
    store: &Store,
    show: &mut (dyn FnMut(Event) + Send),
) -> Result<DirectoryStatus> {
    let (_, app) = plan::acting(id, store).await?;
    read(client, store, &app, show).await?;
    let text = mailboxes::confirm_all(client, store, &app, show).await?;
    store.announce_directory(id).await?;
    show(Event::new(Step::Directory, State::Done, text));
    directory_status(id, store).await
}

/// Users and groups, as the administrator sees them.
pub(crate) async fn synchronise(work: &mut Work<'_>, identity: &Identity) -> Result<()> {
    let (client, store) = (work.client, work.store);
    read(client, store, identity, &mut |event| work.show(event)).await
}

/// What Exchange says about mailboxes is final; Graph only guesses. Done as soon as Exchange takes our application.
pub(crate) async fn confirm_mailboxes(work: &mut Work<'_>, app: &Identity) -> Result<()> {
    let (client, store) = (work.client, work.store);
    let text = mailboxes::confirm_all(client, store, app, &mut |event| work.show(event)).await?;
    store.announce_directory(app.tenant()).await?;
    work.show(Event::new(Step::Directory, State::Done, text));
    Ok(())
}

async fn read(client: &Client, store: &Store, who: &Identity, show: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
    let tenant = who.tenant();
    let begun = store.sync_states(tenant).await?;
    let text = match begun.iter().find(|s| s.more && s.kind != SyncKind::Mailboxes) {
        Some(_) => "going on with users and groups where it was cut off",
        None if begun.is_empty() => "reading users and groups",
        None => "reading what changed in users and groups",
    };
    show(Event::new(Step::Directory, State::Doing, text));
    let mut done = Ok(());
    for (kind, what) in [(SyncKind::Users, "users"), (SyncKind::Groups, "groups")] {
        done = round::round(client, store, who, kind, &mut progress(what, show)).await;
        if done.is_err() {
            break;
        }
    }
    store.announce_directory(tenant).await?;
    done?;
    let counts = store.directory_counts(tenant).await?;
    let mailboxes: u64 = counts.mailboxes.iter().filter(|(kind, _)| *kind != "GroupMailbox").map(|(_, n)| n).sum();
    let (users, mailboxes, groups) = (thousands(counts.users), thousands(mailboxes), thousands(counts.groups));
    let text = format!("{users} users, {mailboxes} of them with a mail address, {groups} groups");
    show(Event::new(Step::Directory, State::Done, text));
    Ok(())
}

/// Tells each time that so many more were read.
fn progress<'s>(what: &'static str, show: &'s mut (dyn FnMut(Event) + Send)) -> impl FnMut(u64) + Send + use<'s> {
    let mut told = 0;
    move |seen| {
        // going on where it was cut off, a reading begins high
        if seen / limits::PROGRESS_EVERY > told / limits::PROGRESS_EVERY {
            show(Event::new(Step::Directory, State::Doing, format!("{} {what}", thousands(seen))));
            told = seen;
        }
    }
}

/// 12000 as people write it: 12,000.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut out = digits[..first].to_owned();
    for part in digits.as_bytes()[first..].chunks(3) {
        if !out.is_empty() {
            out.push(',');
        }
        out.extend(part.iter().map(|b| char::from(*b)));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_written_as_people_do() {
        let written = [0, 7, 999, 1000, 12_000, 1_234_567].map(super::thousands);
        assert_eq!(written, ["0", "7", "999", "1,000", "12,000", "1,234,567"]);
    }
}
