//! Mail to recipients about what is held for them, by the tenant's own return leg: never judged as mail from outside, and
//! with links of one use where this Posthouse has an address for people.

use crate::limits;
use crate::link::{Link, Wish, person};
use crate::sanitise::escaped;
use bytes::Bytes;
use gateway::links::PublicUrl;
use gateway::{Desk, GatewayError, expires};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mail_builder::MessageBuilder;
use mail_builder::headers::text::Text;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use store::{Held, HeldFilter, HoldReason, Store};
use tenant::{Category, Direction, NOTICE_SENDER, Quarantine, Secret, Tenant};

/// What is held for one person since the last time.
#[derive(Clone, Debug, Serialize)]
pub struct Digest {
    pub to: String,
    pub entries: Vec<Entry>,
    /// Older ones that are not named.
    pub more: usize,
    /// Up to when it tells.
    pub until: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub held: String,
    pub at: Timestamp,
    pub ends: Timestamp,
    pub from: String,
    pub subject: String,
    pub category: Option<Category>,
    /// For whom it is held: the person, or a group or mailbox that is hers.
    pub recipient: String,
    pub malware: bool,
    pub may_release: bool,
}

/// For everybody, or for one, of what came since each was told last; `all`: of everything that is held.
pub async fn digests(store: &Store, tenant: &Tenant, to: Option<&str>, all: bool) -> store::Result<Vec<Digest>> {
    let until = Timestamp::now();
    let filter = HeldFilter { tenant: Some(tenant.id), reason: Some(HoldReason::Judged), ..HeldFilter::default() };
    let mut held = store.held_by(&filter).await?;
    held.retain(|h| h.hold.direction == Direction::Inbound && !h.hold.probe);
    let readers = readers(store, tenant, &held).await?;
    let mut by_person: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
    for one in &held {
        for recipient in &one.hold.envelope.recipients {
            let address = recipient.address.to_lowercase();
            for reader in readers.get(&address).into_iter().flatten() {
                by_person.entry(reader).or_default().push(entry(one, &address, tenant));
            }
        }
    }
    let mut digests = Vec::new();
    for (person, mut entries) in by_person {
        if to.is_some_and(|to| !to.eq_ignore_ascii_case(person)) {
            continue;
        }
        let since = if all { None } else { store.digest_mark(tenant.id, person).await? };
        entries.retain(|e| since.is_none_or(|since| e.at > since));
        let more = entries.len().saturating_sub(limits::DIGEST_ENTRIES_MAX);
        entries.truncate(limits::DIGEST_ENTRIES_MAX);
        if !entries.is_empty() {
            digests.push(Digest { to: person.to_owned(), entries, more, until });
        }
    }
    Ok(digests)
}

/// Who is told of what is held for an address: its owners, else whose mailbox it is. Of a group without owners nobody,
/// since a link would be everybody's.
async fn readers(store: &Store, tenant: &Tenant, held: &[Held]) -> store::Result<HashMap<String, Vec<String>>> {
    let recipients = held.iter().flat_map(|h| &h.hold.envelope.recipients);
    let mut wanted: HashSet<String> = recipients.map(|r| r.address.to_lowercase()).collect();
    let mut readers = HashMap::new();
    for address in wanted.clone() {
        if let Some(owners) = tenant.policy.quarantine.owners_of(&address) {
            readers.insert(address.clone(), owners.iter().map(|o| o.to_lowercase()).collect());
            wanted.remove(&address);
        }
    }
    store
        .each_mailbox(tenant.id, |mailbox| {
            for name in mailbox.names().map(|n| n.to_lowercase()) {
                if wanted.remove(&name) {
                    readers.insert(name, vec![mailbox.address.to_lowercase()]);
                }
            }
        })
        .await?;
    Ok(readers)
}

fn entry(held: &Held, recipient: &str, tenant: &Tenant) -> Entry {
    let hold = &held.hold;
    let malware = hold.malware || hold.category == Some(Category::Malware);
    Entry {
        held: held.id.clone(),
        at: held.at,
        ends: expires(held, &tenant.policy),
        from: hold.from.clone().unwrap_or_else(|| hold.envelope.sender.clone()),
        subject: hold.subject.clone().unwrap_or_default(),
        category: if malware { Some(Category::Malware) } else { hold.category },
        recipient: recipient.to_owned(),
        malware,
        may_release: !malware && tenant.policy.quarantine.may_release(hold.category),
    }
}

/// On one line, and nothing that a mail program makes a link of: an attacker wrote it.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => ' ',
        c => c,
    };
    let mut out: String = text.chars().take(limits::SHOWN_CHARS_MAX).map(shown).collect();
    if text.chars().count() > limits::SHOWN_CHARS_MAX {
        out.push('…');
    }
    out.replace("://", "[:]//").replace('.', "[.]")
}

/// The links of one entry with their words, in the order in which they stand.
fn links(
    entry: &Entry,
    tenant: &Tenant,
    secret: &Secret,
    public_url: Option<&str>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let (Some(base), Ok(held)) = (public_url, entry.held.parse()) else { return Vec::new() };
    // what harms is for an administrator
    if entry.malware {
        return Vec::new();
    }
    let ends = entry.ends.min(now + limits::LINK_LIFE).as_second();
    let recipient = person(tenant.id, &entry.recipient);
    let url = |wish| {
        let link = Link { wish, tenant: tenant.id, held, recipient, ends };
        format!("{}/q/{}", base.trim_end_matches('/'), link.written(secret))
    };
    let mut all = vec![("Look at it", url(Wish::Look))];
    if entry.may_release {
        all.push(("Release it", url(Wish::Release)));
    }
    all.push(("Delete it", url(Wish::Delete)));
    all
}

/// The whole message. Without `public_url` it has no links, and says whom to ask.
pub fn compose(digest: &Digest, tenant: &Tenant, secret: &Secret, public_url: Option<&str>) -> std::io::Result<Bytes> {
    let now = Timestamp::now();
    let zone = zone(&tenant.policy.quarantine);
    let at = |t: Timestamp| t.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
    let count = digest.entries.len() + digest.more;
    let what = if count == 1 { "1 message is".to_owned() } else { format!("{count} messages are") };
    let lead = format!("{what} held for you since they may be harmful or unwanted. Nothing was delivered.");
    let how = match public_url {
        Some(_) => {
            "A link opens a page that says what will happen; nothing happens before you confirm it there. Each works once. Do not pass this mail on: who has it can use the links."
        }
        None => "To have one of them, ask your administrator.",
    };
    let (mut text, mut html) =
        (format!("{lead}\r\n{how}\r\n"), format!("<p>{lead}</p><p>{how}</p><table cellpadding=\"6\">"));
    for entry in &digest.entries {
        let category = entry.category.map_or("not judged", Category::as_str);
        let (from, subject) = (harmless(&entry.from), harmless(&entry.subject));
        let whose = if entry.recipient == digest.to {
            String::new()
        } else {
            format!(" · for {}", harmless(&entry.recipient))
        };
        let (came, ends) = (at(entry.at), at(entry.ends));
        let _ = write!(
            text,
            "\r\n{subject}\r\n  from {from}{whose}\r\n  {category} · held since {came}, deleted {ends}\r\n"
        );
        let _ = write!(
            html,
            "<tr><td><b>{}</b><br>from {}{}<br>{category} &middot; held since {came}, deleted {ends}<br>",
            escaped(&subject),
            escaped(&from),
            escaped(&whose)
        );
        for (words, url) in links(entry, tenant, secret, public_url, now) {
            let _ = write!(text, "  {words}: {url}\r\n");
            let _ = write!(html, "<a href=\"{}\">{words}</a> &nbsp; ", escaped(&url));
        }
        if !entry.may_release {
            let why = "Only your administrator can release it.";
            let _ = write!(text, "  {why}\r\n");
            let _ = write!(html, "<i>{why}</i>");
        }
        html.push_str("</td></tr>");
    }
    html.push_str("</table>");
    if digest.more > 0 {
        let more = format!("{} older ones are not shown.", digest.more);
        let _ = write!(text, "\r\n{more}\r\n");
        let _ = write!(html, "<p>{more}</p>");
    }
    let domain = &tenant.connector_domain;
    let written = MessageBuilder::new()
        .from(("Posthouse".to_owned(), format!("{NOTICE_SENDER}@{domain}")))
        .to(digest.to.as_str())
        .subject(format!("{what} held for you"))
        .message_id(format!("{}@{domain}", uuid::Uuid::now_v7()))
        .header("Auto-Submitted", Text::new("auto-generated"))
        .text_body(text)
        .html_body(html)
        .write_to_vec()?;
    Ok(written.into())
}

/// Tells one person, and remembers up to when she was told once Microsoft has the mail. What Microsoft said.
pub async fn send(
    desk: &Desk,
    tenant: &Tenant,
    digest: &Digest,
    public_url: Option<&str>,
) -> Result<String, GatewayError> {
    let store = desk.store();
    let raw = compose(digest, tenant, &store.quarantine_secret(tenant.id), public_url);
    let raw = raw.map_err(|e| GatewayError::Return(format!("the digest could not be written: {e}")))?;
    let said = desk.send(tenant.id, &digest.to, raw).await?;
    if !said.is_success() {
        return Err(GatewayError::Return(format!("Microsoft answered {said}")));
    }
    store.put_digest_mark(tenant.id, &digest.to, digest.until).await?;
    Ok(said.to_string())
}

fn zone(wish: &Quarantine) -> TimeZone {
    TimeZone::get(&wish.time_zone).unwrap_or(TimeZone::UTC)
}

/// The newest of the tenant's times that is not after `now`.
fn slot(now: Timestamp, wish: &Quarantine) -> Option<Timestamp> {
    let zone = zone(wish);
    let today = now.to_zoned_datetime(zone.clone()).date();
    let days = [today, today.checked_sub(1.day()).ok()?];
    let times = days.iter().flat_map(|day| {
        wish.digest_at.iter().filter_map(|t| {
            let minutes = i8::try_from(t.minutes() % 60).ok()?;
            let at = day.at(i8::try_from(t.minutes() / 60).ok()?, minutes, 0, 0);
            Some(at.to_zoned_datetime(zone.clone()).ok()?.timestamp())
        })
    });
    times.filter(|t| *t <= now).max()
}

/// Sends digests at the tenants' times, as long as it runs. After a pause one digest makes up for those that were due.
pub async fn run(desk: Desk, public_url: Option<PublicUrl>) {
    loop {
        if let Err(e) = round(&desk, public_url.as_ref().map(PublicUrl::as_str), Timestamp::now()).await {
            tracing::error!(error = %e, "digests of held mail were not sent; it is tried again");
        }
        tokio::time::sleep(limits::DIGEST_LOOK).await;
    }
}

async fn round(desk: &Desk, public_url: Option<&str>, now: Timestamp) -> store::Result<()> {
    let store = desk.store();
    for tenant in store.tenants().await?.iter().filter(|t| t.policy.quarantine.digest) {
        let Some(slot) = slot(now, &tenant.policy.quarantine) else { continue };
        match store.digest_mark(tenant.id, "").await? {
            Some(mark) if mark >= slot => continue,
            Some(_) => {}
            // switched on just now: the next time is the first
            None => {
                store.put_digest_mark(tenant.id, "", slot).await?;
                continue;
            }
        }
        let mut failed = 0;
        for digest in digests(store, tenant, None, false).await? {
            if let Err(e) = send(desk, tenant, &digest, public_url).await {
                failed += 1;
                // no address: the log has none
                tracing::warn!(tenant = %tenant.label, error = %e, "a digest was not taken; the next one tells what it would have");
            }
        }
        if failed > 0 {
            let text = format!(
                "{failed} digests of held mail were not taken by Exchange Online; the next ones tell what they would have: `posthouse digest {}` tries now",
                tenant.label
            );
            store.raise_alert(store::AlertKind::Other, Some(tenant.id), "digests were not taken", &text).await?;
        }
        store.put_digest_mark(tenant.id, "", slot).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_digest_is_due_at_the_tenants_times_in_its_zone() {
        let wish = Quarantine {
            digest_at: vec!["08:00".parse().unwrap(), "13:30".parse().unwrap()],
            time_zone: "Europe/Berlin".into(),
            ..Quarantine::default()
        };
        let at = |now: &str| slot(now.parse().unwrap(), &wish).unwrap().to_string();
        // summer time, two hours ahead
        assert_eq!(at("2026-07-01T05:59:59Z"), "2026-06-30T11:30:00Z");
        assert_eq!(at("2026-07-01T06:00:00Z"), "2026-07-01T06:00:00Z");
        assert_eq!(at("2026-07-01T12:00:00Z"), "2026-07-01T11:30:00Z");
        assert_eq!(at("2026-01-01T07:00:00Z"), "2026-01-01T07:00:00Z");
    }

    #[test]
    fn malware_has_no_link_and_nothing_an_attacker_wrote_becomes_one() {
        let tenant = crate::pages::tests::tenant();
        let entry = |malware: bool, may_release| Entry {
            held: uuid::Uuid::from_u128(5).to_string(),
            at: Timestamp::UNIX_EPOCH,
            ends: "2100-01-01T00:00:00Z".parse().unwrap(),
            from: "eve@evil.example".into(),
            subject: "see https://evil.example/\r\nBcc: x <script>".into(),
            category: Some(if malware { Category::Malware } else { Category::Spam }),
            recipient: "anna@contoso.example".into(),
            malware,
            may_release,
        };
        let written = |malware, may_release, url| {
            let digest = Digest {
                to: "anna@contoso.example".into(),
                entries: vec![entry(malware, may_release)],
                more: 2,
                until: Timestamp::UNIX_EPOCH,
            };
            let raw = compose(&digest, &tenant, &Secret::new("k"), url).unwrap();
            let message = mail::Message::parse(raw);
            let parts = message
                .with_parts(|p| p.iter().filter_map(|p| p.text.as_deref().map(str::to_owned)).collect::<Vec<_>>());
            parts.join("\n")
        };
        let base = Some("https://mail.example/");
        let count = |text: &str| text.matches("https://").count();
        // text and HTML: look, release, delete
        assert_eq!(count(&written(false, true, base)), 6);
        assert_eq!(count(&written(false, false, base)), 4);
        assert_eq!(count(&written(true, false, base)), 0);
        let plain = written(false, true, None);
        assert_eq!(count(&plain), 0);
        let (text, html) = plain.split_once("<p>").unwrap();
        assert!(text.contains("see https[:]//evil[.]example/  Bcc: x <script>"), "{text}");
        assert!(html.contains("Bcc: x &lt;script&gt;") && !html.contains("<script"), "{html}");
    }
}
