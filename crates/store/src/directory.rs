//! Users, groups, memberships and mailboxes of a tenant as last synchronised. How they get in is directory_sync.rs.

use crate::db::from_json;
use crate::{Result, Store};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::Row;
use std::collections::BTreeMap;
use tenant::TenantId;

/// Everything of a small tenant at once; for a large one ask for what is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Directory {
    pub users: Vec<User>,
    pub groups: Vec<Group>,
    pub mailboxes: Vec<Mailbox>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    pub upn: String,
    pub display_name: String,
    pub mail: Option<String>,
    pub addresses: Vec<String>,
    pub enabled: bool,
    /// Of another organisation: writes from there, under its own name.
    #[serde(default)]
    pub guest: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub id: String,
    pub display_name: String,
    pub mail: Option<String>,
    pub kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    pub id: String,
    pub address: String,
    pub display_name: String,
    /// `UserMailbox`, `SharedMailbox`, `RoomMailbox`, …, or [`UNCONFIRMED`].
    pub kind: String,
    pub addresses: Vec<String>,
}

/// Kind of a mailbox that Graph lets expect and Exchange has not been asked about yet.
pub const UNCONFIRMED: &str = "Unconfirmed";
/// Kind of a Microsoft 365 group; each has a mailbox of its own.
pub const MICROSOFT_365_GROUP: &str = "Microsoft 365";

impl Mailbox {
    /// Every address of it, the primary one first.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.address).chain(&self.addresses)
    }
}

impl User {
    /// Where a mailbox of this user would be; guests have theirs elsewhere.
    pub fn mailbox_address(&self) -> Option<&String> {
        self.mail.as_ref().filter(|_| !self.guest)
    }
}

/// How many there are of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectoryCounts {
    pub users: u64,
    pub guests: u64,
    pub groups: u64,
    pub memberships: u64,
    /// By kind; those of Microsoft 365 groups as `GroupMailbox`.
    pub mailboxes: BTreeMap<String, u64>,
}

impl Store {
    pub async fn directory(&self, id: TenantId) -> Result<Directory> {
        let mut mailboxes = self.objects(id, "mailbox").await?;
        mailboxes.extend(self.objects(id, "unconfirmed").await?);
        Ok(Directory { users: self.objects(id, "user").await?, groups: self.groups(id).await?, mailboxes })
    }

    pub async fn groups(&self, id: TenantId) -> Result<Vec<Group>> {
        self.objects(id, "group").await
    }

    /// Display name and address of everybody whose name somebody outside may want to show.
    pub async fn each_person(&self, id: TenantId, mut person: impl FnMut(&str, String)) -> Result<()> {
        self.each(id, "user", |user: User| {
            // a new user is told before Exchange has made her an address
            let address = user.mail.or(Some(user.upn).filter(|_| user.enabled));
            if let Some(address) = address.filter(|_| !user.guest) {
                person(&user.display_name, address);
            }
        })
        .await?;
        for kind in ["unconfirmed", "mailbox"] {
            self.each(id, kind, |m: Mailbox| person(&m.display_name, m.address)).await?;
        }
        Ok(())
    }

    /// The mailbox that has this address as its primary or another one.
    pub async fn mailbox_at(&self, id: TenantId, address: &str) -> Result<Option<Mailbox>> {
        let wanted = address.to_lowercase();
        let mut found = None;
        for kind in ["unconfirmed", "mailbox"] {
            self.each(id, kind, |m: Mailbox| {
                if m.address == wanted || m.addresses.contains(&wanted) {
                    found = Some(m);
                }
            })
            .await?;
        }
        Ok(found)
    }

    /// Every mailbox, confirmed or not.
    pub async fn each_mailbox(&self, id: TenantId, mut work: impl FnMut(Mailbox)) -> Result<()> {
        for kind in ["unconfirmed", "mailbox"] {
            self.each(id, kind, &mut work).await?;
        }
        Ok(())
    }

    /// Those whose name or one of whose addresses contains `text`.
    pub async fn find_in_directory(&self, id: TenantId, text: &str) -> Result<Directory> {
        let wanted = text.to_lowercase();
        let is = |name: &str, rest: &[&str], addresses: &[String]| {
            name.to_lowercase().contains(&wanted)
                || rest.iter().any(|a| a.to_lowercase().contains(&wanted))
                || addresses.iter().any(|a| a.contains(&wanted))
        };
        let mut found = Directory::default();
        self.each(id, "user", |u: User| {
            if is(&u.display_name, &[&u.upn, u.mail.as_deref().unwrap_or_default()], &u.addresses) {
                found.users.push(u);
            }
        })
        .await?;
        self.each(id, "group", |g: Group| {
            if is(&g.display_name, &[g.mail.as_deref().unwrap_or_default()], &[]) {
                found.groups.push(g);
            }
        })
        .await?;
        for kind in ["mailbox", "unconfirmed"] {
            self.each(id, kind, |m: Mailbox| {
                if is(&m.display_name, &[&m.address], &m.addresses) {
                    found.mailboxes.push(m);
                }
            })
            .await?;
        }
        Ok(found)
    }

    /// Object ids of the direct members of a group, users and groups alike, that exist.
    pub async fn members(&self, id: TenantId, group: &str) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT m.member FROM members m JOIN directory d ON d.tenant=m.tenant AND d.id=m.member AND d.kind IN ('user','group') WHERE m.tenant=$1 AND m.parent=$2 ORDER BY m.member";
        Ok(sqlx::query_scalar(sql).bind(id.to_string()).bind(group).fetch_all(&self.read).await?)
    }

    /// Every user in a group and in the groups in it, each once; groups that hold one another in a circle are no harm.
    pub async fn members_of(&self, id: TenantId, group: &str) -> Result<Vec<User>> {
        // UNION, not UNION ALL: what was reached before is not gone through again
        let sql = "WITH RECURSIVE reach(id) AS (SELECT $2 UNION SELECT m.member FROM reach JOIN members m ON m.tenant=$1 AND m.parent=reach.id JOIN directory g ON g.tenant=$1 AND g.kind='group' AND g.id=m.parent) SELECT d.id, d.json FROM reach JOIN directory d ON d.tenant=$1 AND d.kind='user' AND d.id=reach.id ORDER BY d.id";
        let rows = sqlx::query(sql).bind(id.to_string()).bind(group).fetch_all(&self.read).await?;
        rows.iter().map(|r| from_json(&format!("user {}", r.try_get::<String, _>("id")?), r.try_get("json")?)).collect()
    }

    pub async fn directory_counts(&self, id: TenantId) -> Result<DirectoryCounts> {
        let mut counts = DirectoryCounts::default();
        self.each(id, "user", |u: User| {
            *if u.guest { &mut counts.guests } else { &mut counts.users } += 1;
        })
        .await?;
        self.each(id, "group", |g: Group| {
            counts.groups += 1;
            if g.kind == MICROSOFT_365_GROUP && g.mail.is_some() {
                *counts.mailboxes.entry("GroupMailbox".into()).or_default() += 1;
            }
        })
        .await?;
        for kind in ["mailbox", "unconfirmed"] {
            self.each(id, kind, |m: Mailbox| *counts.mailboxes.entry(m.kind).or_default() += 1).await?;
        }
        let memberships: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE tenant=$1")
            .bind(id.to_string())
            .fetch_one(&self.read)
            .await?;
        counts.memberships = u64::try_from(memberships).unwrap_or(0);
        Ok(counts)
    }

    /// Grows with every change of this tenant's directory that was announced.
    pub async fn directory_revision(&self, id: TenantId) -> Result<i64> {
        let found: Option<i64> = sqlx::query_scalar("SELECT value FROM counters WHERE name=$1")
            .bind(format!("directory {id}"))
            .fetch_optional(&self.read)
            .await?;
        Ok(found.unwrap_or(0))
    }

    /// One after the other, so that a large tenant is never in memory as a whole.
    async fn each<T: DeserializeOwned>(&self, id: TenantId, kind: &str, mut work: impl FnMut(T)) -> Result<()> {
        let mut rows = sqlx::query("SELECT id,json FROM directory WHERE tenant=$1 AND kind=$2 ORDER BY id")
            .bind(id.to_string())
            .bind(kind.to_owned())
            .fetch(&self.read);
        while let Some(row) = rows.try_next().await? {
            work(from_json(&format!("{kind} {}", row.try_get::<String, _>("id")?), row.try_get("json")?)?);
        }
        Ok(())
    }

    async fn objects<T: DeserializeOwned>(&self, id: TenantId, kind: &str) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.each(id, kind, |object| all.push(object)).await?;
        Ok(all)
    }
}
