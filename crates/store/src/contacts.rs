//! With whom a tenant has had to do: counts by address and, as `@domain`, by organisation; no contents; forgotten with the
//! journal.
//!
//! Written in the journal's own transaction, after the answer. What was held is no contact: otherwise an attacker would
//! be known by his second try.

use crate::journal::{JourneyEntry, Outcome};
use crate::{Result, Store, limits};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use std::collections::BTreeMap;
use tenant::{Direction, TenantId};
use verdict::{Fact, History};

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// What is known of an address; all zero where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Messages of it that were passed on.
    pub messages: u64,
    /// Messages to it.
    pub written: u64,
    /// Where its answers go, as it last said; none where back to itself.
    pub reply_to: Option<String>,
    /// Messages of or to anybody of the same organisation.
    pub of_domain: u64,
}

impl Contact {
    pub fn into_history(self) -> History {
        let reply_to = self.reply_to.and_then(|r| r.rsplit_once('@').map(|(_, d)| verdict::content::urls::site(d)));
        History {
            first_contact: Fact::Known(self.messages == 0 && self.written == 0),
            messages: Fact::Known(self.messages),
            new_domain: Fact::Known(self.of_domain == 0),
            reply_to: reply_to.map_or(Fact::Absent, Fact::Known),
        }
    }
}

/// One address of one journey.
pub(crate) struct Seen {
    tenant: String,
    address: String,
    day: i64,
    messages: i64,
    written: i64,
    reply_to: Option<String>,
}

/// `@acme.example` for pat@mail.acme.example; no address, since it has no local part (RFC 5321 §4.1.2).
fn organisation(address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    Some(format!("@{}", verdict::content::urls::site(&domain.to_lowercase())))
}

/// Who wrote, of inbound mail that was passed on; who was written to, of outbound.
pub(crate) fn seen(entry: &JourneyEntry) -> Vec<Seen> {
    let passed =
        matches!(entry.outcome, Outcome::HandedBack | Outcome::PartlyHeld) && entry.judged && entry.probe.is_none();
    let (Some(tenant), Some(direction), true) = (entry.tenant, entry.direction, passed) else { return Vec::new() };
    let one = |address: &str, messages, reply_to: Option<&String>| Seen {
        tenant: tenant.to_string(),
        address: address.to_lowercase(),
        day: entry.started.as_millisecond() / DAY_MILLIS,
        messages,
        written: 1 - messages,
        reply_to: reply_to.map(|r| r.to_lowercase()),
    };
    let both = |address: &String, messages, reply_to: Option<&String>| {
        let of_all = organisation(address).map(|domain| one(&domain, messages, None));
        [Some(one(address, messages, reply_to)), of_all].into_iter().flatten()
    };
    match direction {
        Direction::Inbound => entry.from.iter().flat_map(|from| both(from, 1, entry.reply_to.as_ref())).collect(),
        Direction::Outbound => {
            entry.recipients.iter().take(limits::CONTACTS_OF_A_MESSAGE_MAX).flat_map(|to| both(to, 0, None)).collect()
        }
    }
}

pub(crate) async fn write(connection: &mut SqliteConnection, all: &[&Seen]) -> sqlx::Result<()> {
    // one row each: an upsert may not meet its own row twice
    let mut rows: BTreeMap<(&str, &str), Seen> = BTreeMap::new();
    for seen in all {
        let row = rows.entry((&seen.tenant, &seen.address)).or_insert_with(|| Seen {
            tenant: seen.tenant.clone(),
            address: seen.address.clone(),
            day: seen.day,
            messages: 0,
            written: 0,
            reply_to: None,
        });
        row.day = row.day.max(seen.day);
        row.messages += seen.messages;
        row.written += seen.written;
        row.reply_to = seen.reply_to.clone().or(row.reply_to.take());
    }
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO contacts(tenant,address,day,messages,written,reply_to) ");
    sql.push_values(rows.values(), |mut to, row| {
        to.push_bind(&row.tenant).push_bind(&row.address).push_bind(row.day);
        to.push_bind(row.messages).push_bind(row.written).push_bind(&row.reply_to);
    });
    sql.push(
        " ON CONFLICT(tenant,address) DO UPDATE SET day=max(day,excluded.day), messages=messages+excluded.messages,
         written=written+excluded.written, reply_to=COALESCE(excluded.reply_to,reply_to)",
    );
    sql.build().execute(connection).await.map(drop)
}

impl Store {
    pub async fn contact(&self, tenant: TenantId, address: &str) -> Result<Contact> {
        let sql =
            "SELECT address,messages,written,reply_to FROM contacts WHERE tenant=$1 AND (address=$2 OR address=$3)";
        let address = address.to_lowercase();
        let rows = sqlx::query(sql)
            .bind(tenant.to_string())
            .bind(&address)
            .bind(organisation(&address))
            .fetch_all(&self.read)
            .await?;
        let mut contact = Contact::default();
        for row in rows {
            let count = |name: &str| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0)) };
            let (messages, written) = (count("messages")?, count("written")?);
            if row.try_get::<String, _>("address")? == address {
                contact = Contact { messages, written, reply_to: row.try_get("reply_to")?, ..contact };
            } else {
                contact.of_domain = messages + written;
            }
        }
        Ok(contact)
    }

    /// Of whom nothing was heard since; in milliseconds since 1970.
    pub(crate) async fn forget_contacts(&self, before: i64) -> Result<()> {
        sqlx::query("DELETE FROM contacts WHERE day<$1").bind(before / DAY_MILLIS).execute(&self.quick).await?;
        Ok(())
    }
}
