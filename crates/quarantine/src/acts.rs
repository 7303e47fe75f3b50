//! What somebody does with a held message: for everybody as an admin, or for one recipient, by himself or on his behalf.
//! Each is in the log of acts, with who did it.

use crate::limits;
use gateway::{By, Desk, GatewayError};
use serde::{Deserialize, Serialize};
use store::{Held, HeldStep, NewHold, Reported, Store, StoreError};
use tenant::{Entry, Pattern, TenantId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Release,
    /// And the sender is let through from now on, where he is authenticated.
    ReleaseAndAllow,
    Delete,
    /// The sender is kept out from now on; the message is deleted.
    Block,
    /// It was judged wrongly; it is kept for those who improve the judgement.
    Report,
}

/// Who does it.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// For the log of acts: an account of the machine, or a recipient.
    pub name: &'a str,
    /// For this recipient alone; `None`: for everybody.
    pub recipient: Option<&'a str>,
    /// What he says beside it.
    pub note: &'a str,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    pub held: String,
    pub act: Act,
    /// False: Microsoft did not take it, and it is still held.
    pub done: bool,
    /// What Microsoft answered, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Sentences for a person.
    pub told: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error("store: {0}")]
    Store(#[from] StoreError),
    #[error("it is held for others, not for {0}")]
    NotForThem(String),
    #[error("nobody can be listed: it says no sender's address in From")]
    NoSender,
    #[error("the list has no room: a {0}")]
    Full(String),
    #[error("what is said beside a report has at most {} letters", limits::NOTE_CHARS_MAX)]
    Note,
}

pub async fn carry_out(desk: &Desk, held: &Held, act: Act, who: &Actor<'_>) -> Result<Done, ActError> {
    if let Some(recipient) = who.recipient.filter(|r| !held.hold.is_for(r)) {
        return Err(ActError::NotForThem(recipient.to_owned()));
    }
    let store = desk.store();
    let mut done = Done { held: held.id.clone(), act, done: true, answer: None, told: Vec::new() };
    match act {
        Act::Release | Act::ReleaseAndAllow => {
            // who cannot be listed is known before anything is done
            let sender = if act == Act::ReleaseAndAllow { Some(sender(&held.hold)?) } else { None };
            let by = who.recipient.map_or(By::Admin, By::Recipient);
            let said = desk.release(&held.id, by).await;
            let words = said.as_ref().map_or_else(ToString::to_string, |reply| format!("Microsoft answered {reply}"));
            audit(store, held, who, "held released", &words).await?;
            let said = said?;
            (done.done, done.answer) = (said.is_success(), Some(said.to_string()));
            done.told.push(words);
            if let Some(sender) = sender.filter(|_| done.done) {
                list(store, held, who, false, sender, &mut done).await?;
            }
        }
        Act::Delete => delete(store, held, who, &mut done).await?,
        Act::Block => {
            list(store, held, who, true, sender(&held.hold)?, &mut done).await?;
            delete(store, held, who, &mut done).await?;
        }
        Act::Report => {
            if who.note.chars().count() > limits::NOTE_CHARS_MAX {
                return Err(ActError::Note);
            }
            let journey = store.journey(&held.hold.journey).await?.map(Box::new);
            let said = Reported { note: who.note.to_owned(), hold: held.hold.clone(), journey };
            let reporter = who.recipient.unwrap_or(who.name);
            let id = store.put_report(held.hold.tenant, &held.id, &reporter.to_lowercase(), &said).await?;
            audit(store, held, who, "held reported", &format!("judged wrongly: report {id}")).await?;
            done.told.push(format!("reported as judged wrongly ({id})"));
        }
    }
    Ok(done)
}

async fn audit(store: &Store, held: &Held, who: &Actor<'_>, act: &str, what: &str) -> Result<(), StoreError> {
    let hold = &held.hold;
    let whom = who.recipient.map_or_else(|| format!("{} recipients", hold.envelope.recipients.len()), str::to_owned);
    let detail = format!("{} of journey {}, for {whom}: {what}", held.id, hold.journey);
    store.put_act(who.name, act, Some(hold.tenant), &detail).await
}

async fn delete(store: &Store, held: &Held, who: &Actor<'_>, done: &mut Done) -> Result<(), ActError> {
    let _lock = store.lock_held(held)?.ok_or(GatewayError::UnderWay)?;
    let gone = || GatewayError::NotHeld(held.id.clone());
    let held = store.held_one(&held.id).await?.ok_or_else(gone)?;
    let mut rest = held.hold.clone();
    let stays = |address: &str| who.recipient.is_some_and(|r| !r.eq_ignore_ascii_case(address));
    rest.envelope.recipients.retain(|r| stays(&r.address));
    if rest.envelope.recipients.len() == held.hold.envelope.recipients.len() {
        return Err(gone().into());
    }
    audit(store, &held, who, "held deleted", "nobody gets it").await?;
    store.end_partly(&held, HeldStep::Deleted, &rest, who.name).await?;
    done.told.push(format!("deleted {}", held.id));
    Ok(())
}

fn sender(hold: &NewHold) -> Result<Pattern, ActError> {
    let address = hold.from.as_deref().unwrap_or_default();
    match address.parse() {
        Ok(pattern @ Pattern::Address(_)) => Ok(pattern),
        _ => Err(ActError::NoSender),
    }
}

/// On the tenant's list, or on the recipient's own.
async fn list(
    store: &Store,
    held: &Held,
    who: &Actor<'_>,
    blocks: bool,
    sender: Pattern,
    done: &mut Done,
) -> Result<(), ActError> {
    let (id, name) = (held.hold.tenant, if blocks { "block" } else { "allow" });
    let entry = Entry { sender, note: format!("held message {}", held.id), until: None };
    let whose = match who.recipient {
        Some(recipient) => {
            let owner = owner(store, id, recipient).await?;
            if !store.put_user_entry(id, &owner, blocks, &entry).await? {
                return Err(ActError::Full(format!("person lists at most {}", store::limits::USER_ENTRIES_MAX)));
            }
            format!("list of {owner}")
        }
        None => {
            let mut room = true;
            let changed = store.change_tenant(id, |t| {
                let lists = &mut t.policy.lists;
                let (list, other) =
                    if blocks { (&mut lists.block, &mut lists.allow) } else { (&mut lists.allow, &mut lists.block) };
                list.retain(|e| e.sender != entry.sender);
                room = list.len() < tenant::limits::LIST_ENTRIES_MAX;
                if room {
                    other.retain(|e| e.sender != entry.sender);
                    list.push(entry.clone());
                    t.policy.revision += 1;
                }
            });
            changed.await?.ok_or(GatewayError::NotConnected(id))?;
            if !room {
                return Err(ActError::Full(format!("tenant lists at most {}", tenant::limits::LIST_ENTRIES_MAX)));
            }
            "list of the tenant".to_owned()
        }
    };
    audit(store, held, who, "lists", &format!("{name} {whose}: add {}", entry.sender)).await?;
    done.told.push(format!("{} is on the {name} {whose}", entry.sender));
    if !blocks {
        let proven = store.journey(&held.hold.journey).await?.is_some_and(|j| {
            let from = held.hold.from.as_deref().unwrap_or_default();
            from.rsplit_once('@').is_some_and(|(_, domain)| j.proofs.prove(domain))
        });
        if !proven {
            done.told.push(
                "this message did not prove who it is from; the entry counts for mail of which SPF, DKIM or DMARC does"
                    .into(),
            );
        }
    }
    Ok(())
}

/// Lists are kept under the mailbox's first address, whichever of them was written to.
async fn owner(store: &Store, tenant: TenantId, recipient: &str) -> Result<String, StoreError> {
    let mailbox = store.mailbox_at(tenant, recipient).await?;
    Ok(mailbox.map_or_else(|| recipient.to_owned(), |m| m.address).to_lowercase())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use store::HoldReason;
    use tenant::{Category, Direction};

    pub(crate) const ID: TenantId = TenantId(uuid::Uuid::from_u128(7));

    pub(crate) fn hold(recipients: &[&str]) -> NewHold {
        NewHold {
            tenant: ID,
            direction: Direction::Inbound,
            journey: "j".into(),
            envelope: mail::Envelope::new("bounce@acme.example", recipients.iter().map(|r| (*r).to_owned())),
            reason: HoldReason::Judged,
            why: vec!["it looks bad".into()],
            message_id: Some("m@acme.example".into()),
            subject: Some("Hello".into()),
            from: Some("Pat@acme.example".into()),
            key: recipients.concat(),
            probe: false,
            category: Some(Category::Spam),
            because: verdict::Because::default(),
            malware: false,
            marks: verdict::Marks::default(),
        }
    }

    #[tokio::test]
    async fn one_recipients_copy_goes_and_the_others_stay_and_a_report_outlives_both() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let raw: mail::Pieces = bytes::Bytes::from_static(b"Subject: x\r\n\r\nhello\r\n").into();
        let id = store.hold(&hold(&["anna@contoso.example", "ben@contoso.example"]), &raw).await.unwrap();
        let held = store.held_one(&id).await.unwrap().unwrap();
        let said = Reported { note: "fine".into(), hold: held.hold.clone(), journey: None };
        let report = store.put_report(ID, &id, "anna@contoso.example", &said).await.unwrap();
        assert_eq!(store.put_report(ID, &id, "anna@contoso.example", &said).await.unwrap(), report);
        let mut done = Done { held: id.clone(), act: Act::Delete, done: true, answer: None, told: vec![] };
        let anna = Actor { name: "anna", recipient: Some("Anna@contoso.example"), note: "" };
        delete(&store, &held, &anna, &mut done).await.unwrap();
        let left = store.held_one(&id).await.unwrap().unwrap();
        assert_eq!(left.hold.envelope.recipients.len(), 1);
        assert!(left.hold.is_for("BEN@contoso.example") && !left.hold.is_for("anna@contoso.example"));
        assert!(delete(&store, &held, &anna, &mut done).await.is_err());
        delete(&store, &left, &Actor { recipient: None, ..anna }, &mut done).await.unwrap();
        assert!(store.held_one(&id).await.unwrap().is_none());
        drop(store);
        // also after the sweep of a new start
        let store = Store::open(dir.path()).await.unwrap();
        assert_eq!(&store.report_body(&report).await.unwrap()[..], b"Subject: x\r\n\r\nhello\r\n");
        assert_eq!(store.reports(Some(ID)).await.unwrap().len(), 1);
        assert!(store.reports(Some(TenantId(uuid::Uuid::nil()))).await.unwrap().is_empty());
        let acts: Vec<String> = store.acts().await.unwrap().iter().map(|a| format!("{} {}", a.who, a.act)).collect();
        assert_eq!(acts, ["anna held deleted", "anna held deleted"]);
    }

    #[tokio::test]
    async fn a_users_list_has_one_word_for_a_sender() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let id = store.hold(&hold(&["anna@contoso.example"]), &bytes::Bytes::from_static(b"x").into()).await.unwrap();
        let held = store.held_one(&id).await.unwrap().unwrap();
        let mut done = Done { held: id, act: Act::Block, done: true, answer: None, told: vec![] };
        let anna = Actor { name: "anna", recipient: Some("anna@contoso.example"), note: "" };
        list(&store, &held, &anna, false, sender(&held.hold).unwrap(), &mut done).await.unwrap();
        assert!(done.told[1].contains("did not prove"), "{:?}", done.told);
        list(&store, &held, &anna, true, sender(&held.hold).unwrap(), &mut done).await.unwrap();
        let lists = store.user_lists(ID, "ANNA@contoso.example").await.unwrap();
        assert!(lists.allow.is_empty() && lists.block[0].sender.to_string() == "pat@acme.example", "{lists:?}");
        assert_eq!(store.user_lists(ID, "ben@contoso.example").await.unwrap(), tenant::Lists::default());
        assert!(store.remove_user_entry(ID, "anna@contoso.example", true, &lists.block[0].sender).await.unwrap());
    }
}
