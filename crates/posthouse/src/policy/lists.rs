//! Whom a tenant lets through, and whom never.

use super::ListCommand;
use crate::commands::open;
use crate::config::Config;
use crate::lifecycle::who;
use crate::{show, wiring};
use anyhow::{Result, anyhow, bail};
use store::Store;
use tenant::{Entry, Lists, Pattern, Tenant, limits};

/// Of the two lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Allow,
    Block,
}

impl Which {
    fn as_str(self) -> &'static str {
        match self {
            Which::Allow => "allow list",
            Which::Block => "block list",
        }
    }
    fn of(self, lists: &mut Lists) -> &mut Vec<Entry> {
        match self {
            Which::Allow => &mut lists.allow,
            Which::Block => &mut lists.block,
        }
    }
}

pub async fn lists(
    config: &Config,
    tenant: &str,
    user: Option<&str>,
    blocks: bool,
    command: ListCommand,
    json: bool,
) -> Result<()> {
    let which = if blocks { Which::Block } else { Which::Allow };
    let store = open(config).await?;
    let mut tenant = wiring::find_tenant(&store, tenant).await?;
    if let Some(user) = user {
        return of_user(config, &store, &tenant, user, which, command, json).await;
    }
    let (what, done) = match command {
        ListCommand::List => {
            let list = which.of(&mut tenant.policy.lists);
            return show::print(json, list, || text(which, list));
        }
        ListCommand::Add { sender, note, until } => {
            let entry = entry(config, &sender, note, until)?;
            let what = format!("{}: add {}", which.as_str(), in_words(&entry));
            let added = store.change_tenant(tenant.id, |t| {
                let list = which.of(&mut t.policy.lists);
                list.retain(|e| e.sender != entry.sender);
                if list.len() < limits::LIST_ENTRIES_MAX {
                    list.push(entry.clone());
                    t.policy.revision += 1;
                }
            });
            (
                what,
                added.await?.filter(|t| {
                    let mut lists = t.policy.lists.clone();
                    which.of(&mut lists).contains(&entry)
                }),
            )
        }
        ListCommand::Remove { sender } => {
            let sender: Pattern = sender.parse().map_err(|e: String| anyhow!(e))?;
            if !which.of(&mut tenant.policy.lists).iter().any(|e| e.sender == sender) {
                bail!("{sender} is not on the {} of {}", which.as_str(), tenant.display_name);
            }
            let removed = store.change_tenant(tenant.id, |t| {
                which.of(&mut t.policy.lists).retain(|e| e.sender != sender);
                t.policy.revision += 1;
            });
            (format!("{}: remove {sender}", which.as_str()), removed.await?)
        }
    };
    let Some(mut tenant) = done else {
        bail!(
            "nothing was changed: a list has at most {} entries, and the tenant must be connected",
            limits::LIST_ENTRIES_MAX
        )
    };
    let detail = format!("revision {}: {what}", tenant.policy.revision);
    store.put_act(&who(), "lists", Some(tenant.id), &detail).await?;
    let list = which.of(&mut tenant.policy.lists);
    show::print(json, list, || format!("{what}\n{}", text(which, list)))
}

fn entry(config: &Config, sender: &str, note: String, until: Option<jiff::civil::Date>) -> Result<Entry> {
    let sender = pattern(sender, &wiring::microsoft_ranges(config)?)?;
    if note.chars().count() > limits::NOTE_CHARS_MAX || note.contains(char::is_control) {
        bail!("a note is one line of at most {} letters", limits::NOTE_CHARS_MAX);
    }
    Ok(Entry { sender, note, until: until.map(end_of).transpose()? })
}

/// The list of one user, kept under the first address of the mailbox.
async fn of_user(
    config: &Config,
    store: &Store,
    tenant: &Tenant,
    user: &str,
    which: Which,
    command: ListCommand,
    json: bool,
) -> Result<()> {
    let Some(mailbox) = store.mailbox_at(tenant.id, user).await? else {
        bail!("nobody at {} has the address {user}; `posthouse directory find` shows who is there", tenant.display_name)
    };
    let (owner, blocks) = (mailbox.address.to_lowercase(), which == Which::Block);
    let what = match command {
        ListCommand::List => None,
        ListCommand::Add { sender, note, until } => {
            let entry = entry(config, &sender, note, until)?;
            if !store.put_user_entry(tenant.id, &owner, blocks, &entry).await? {
                bail!("nothing was changed: a user lists at most {} senders", store::limits::USER_ENTRIES_MAX);
            }
            Some(format!("{} of {owner}: add {}", which.as_str(), in_words(&entry)))
        }
        ListCommand::Remove { sender } => {
            let sender: Pattern = sender.parse().map_err(|e: String| anyhow!(e))?;
            if !store.remove_user_entry(tenant.id, &owner, blocks, &sender).await? {
                bail!("{sender} is not on the {} of {owner}", which.as_str());
            }
            Some(format!("{} of {owner}: remove {sender}", which.as_str()))
        }
    };
    if let Some(what) = &what {
        store.put_act(&who(), "lists", Some(tenant.id), what).await?;
    }
    let mut lists = store.user_lists(tenant.id, &owner).await?;
    let list = which.of(&mut lists);
    show::print(json, list, || what.map(|w| w + "\n").unwrap_or_default() + &text(which, list))
}

/// Every message comes from Microsoft's addresses: an entry of one would be of everybody.
fn pattern(text: &str, microsofts: &[ipnet::IpNet]) -> Result<Pattern> {
    let pattern: Pattern = text.parse().map_err(|e: String| anyhow!(e))?;
    if let Pattern::Client(net) = &pattern
        && let Some(range) = microsofts.iter().find(|r| r.contains(net) || net.contains(*r))
    {
        bail!(
            "{net} is of Microsoft's range {range}, from which everybody's mail comes; name the client that handed it to Microsoft (`posthouse explain`)"
        );
    }
    Ok(pattern)
}

/// The day is still of it.
fn end_of(day: jiff::civil::Date) -> Result<i64> {
    let next = day.tomorrow()?.at(0, 0, 0, 0);
    Ok(jiff::tz::Offset::UTC.to_timestamp(next)?.as_second())
}

fn until(entry: &Entry) -> Option<String> {
    let end = jiff::Timestamp::from_second(entry.until?).ok()?;
    Some(end.strftime("%Y-%m-%d %H:%M").to_string())
}

fn in_words(entry: &Entry) -> String {
    let note = if entry.note.is_empty() { String::new() } else { format!(" ({})", entry.note) };
    format!("{}{note}{}", entry.sender, until(entry).map(|end| format!(" until {end} UTC")).unwrap_or_default())
}

fn text(which: Which, list: &[Entry]) -> String {
    if list.is_empty() {
        return format!("nobody is on the {}", which.as_str());
    }
    let now = jiff::Timestamp::now().as_second();
    let row = |e: &Entry| {
        let end = match (until(e), e.until.is_some_and(|until| until <= now)) {
            (None, _) => "for good".into(),
            (Some(end), false) => end,
            (Some(end), true) => format!("{end}: over"),
        };
        [e.sender.to_string(), end, show::safe(&e.note)]
    };
    show::table(["sender", "until (UTC)", "note"], list.iter().map(row)).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nobody_lists_all_of_microsoft() {
        let microsofts = ["40.92.0.0/15".parse().unwrap()];
        assert!(pattern("40.93.1.2", &microsofts).unwrap_err().to_string().contains("Microsoft's range"));
        assert!(pattern("40.92.0.0/16", &microsofts).is_err());
        assert!(pattern("192.0.2.1", &microsofts).is_ok());
        assert_eq!(end_of("2026-03-01".parse().unwrap()).unwrap(), 1_772_409_600);
    }
}
