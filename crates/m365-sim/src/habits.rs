//! What people do with their mail: one by one as a scenario says, or by habit, each message its own way, the same in
//! every run of one seed.

use crate::mailbox::folders::{self, DELETIONS, INBOX, JUNK};
use crate::mailbox::ids::ItemId;
use crate::mailbox::{Event, Item, Kind, Mailbox, topic};
use crate::transport::{Transport, field};
use crate::trouble::dice;
use crate::world::{Tenant, World};
use mail_builder::MessageBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// Zero-hour purge looks at mail of the last 48 hours (transport.md F6.3).
const ZAP_SECS: i64 = 48 * 3600;

/// How the people of a tenant are: shares (0 to 1) of the messages in their inboxes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Habits {
    pub seed: u64,
    pub read: f64,
    pub forward: f64,
    pub reply: f64,
    #[serde(rename = "move")]
    pub moves: f64,
    pub delete: f64,
    /// Everything happens within so many seconds after delivery.
    pub within_secs: u64,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits { seed: 1, read: 0.6, forward: 0.05, reply: 0.05, moves: 0.1, delete: 0.1, within_secs: 3600 }
    }
}

/// The people at work; clone freely.
#[derive(Clone)]
pub struct People {
    world: World,
    transport: Transport,
    /// When each plan that is not done goes on, by its number.
    plans: Arc<Mutex<BTreeMap<u64, jiff::Timestamp>>>,
}

/// One thing that somebody does with a message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    pub user: String,
    /// `read`, `unread`, `flag`, `move`, `delete`, `shift_delete`, `junk`, `archive`, `forward`,
    /// `forward_as_attachment`, `reply`, `reply_all`
    pub act: String,
    /// A Message-ID or an id of Graph; the newest of the inbox without it.
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub to: Vec<String>,
    #[serde(default)]
    pub folder: Option<String>,
    #[serde(default)]
    pub text: Option<String>,
    /// Of the mail that is sent; made up without it.
    #[serde(default)]
    pub message_id: Option<String>,
}

fn find<'m>(m: &'m Mailbox, wanted: Option<&str>) -> Option<&'m Item> {
    match wanted {
        None => m.in_folder(INBOX).max_by_key(|i| (i.message.received, i.number)),
        Some(id) => match ItemId::read(id) {
            Some(id) => m.item(id.number),
            // of several copies the one that a user would see first
            None => m.with_message_id(id).min_by_key(|i| (i.folder != INBOX, i.number)),
        },
    }
}

impl People {
    pub fn new(world: World, transport: Transport) -> People {
        People { world, transport, plans: Arc::default() }
    }
    /// True while nobody is late with what they mean to do.
    pub fn is_idle(&self) -> bool {
        let now = self.world.clock.now();
        self.plans.lock().unwrap_or_else(|e| e.into_inner()).values().all(|at| *at > now)
    }

    /// Does it; answers the Message-ID of what was sent, if anything was.
    pub fn act(&self, tenant: Uuid, act: &Act) -> Result<Value, String> {
        let now = self.world.clock.unix();
        let (sending, from) = {
            let mut state = self.world.state();
            let t = state.tenants.iter_mut().find(|t| t.id == tenant).ok_or("no tenant has that id")?;
            let m = t.mailbox_mut(&act.user).ok_or_else(|| format!("nobody is called {}", act.user))?;
            let item = find(m, act.message.as_deref()).ok_or("field `message`: it is not in that mailbox")?;
            let number = item.number;
            match act.act.as_str() {
                "read" | "unread" => m.change(number, now, |i| i.is_read = act.act == "read").map(drop),
                "flag" => m.change(number, now, |i| i.flag = "flagged".into()).map(drop),
                "move" => {
                    let folder = act.folder.as_deref().ok_or("field `folder`: a folder's name is expected")?;
                    let folder = m.folder_or_new(folder);
                    m.move_to(number, folder, now).map(drop)
                }
                "delete" => m.delete(number, false, now),
                "shift_delete" => m.move_to(number, DELETIONS, now).map(drop),
                "junk" => m.move_to(number, JUNK, now).map(drop),
                "archive" => m.archive_away(number, now),
                "forward" | "forward_as_attachment" | "reply" | "reply_all" => Some(()),
                other => return Err(format!("field `act`: {other} is nothing that people do here")),
            }
            .ok_or("it could not be done to that message where it is")?;
            if !["forward", "forward_as_attachment", "reply", "reply_all"].contains(&act.act.as_str()) {
                return Ok(json!({}));
            }
            let item = m.item(number).cloned().ok_or("field `message`: it is not in that mailbox")?;
            // who answers has read it
            m.change(number, now, |i| i.is_read = true);
            let user = t.user_by_address(&act.user).ok_or("nobody is called so")?;
            (item, (user.display_name.clone(), user.addresses.first().cloned().unwrap_or_default()))
        };
        let (id, to, raw) = composed(&sending, &from, act, now)?;
        self.transport.submit_kept(&tenant.to_string(), &from.1, to, raw, true)?;
        Ok(json!({"message_id": id}))
    }

    /// What an event makes somebody do, sooner or later.
    pub fn take(&self, event: &Event) {
        if event.kind != Kind::Created(INBOX) {
            return;
        }
        let plan = {
            let state = self.world.state();
            let t = state.tenants.iter().find(|t| t.id == event.tenant);
            t.and_then(|t| plan(t, event))
        };
        let Some(plan) = plan.filter(|p| !p.is_empty()) else { return };
        let began = self.world.clock.now();
        let number = {
            let mut plans = self.plans.lock().unwrap_or_else(|e| e.into_inner());
            let number = plans.last_key_value().map_or(0, |(n, _)| n + 1);
            plans.insert(number, began);
            number
        };
        let (people, tenant) = (self.clone(), event.tenant);
        tokio::spawn(async move {
            for (after, act) in plan {
                let at = began.checked_add(Duration::from_secs(after)).unwrap_or(began);
                people.plans.lock().unwrap_or_else(|e| e.into_inner()).insert(number, at);
                people.world.clock.until(at).await;
                // by then it may be gone, and the people may have stopped
                let stopped = people.world.state().tenants.iter().all(|t| t.id != tenant || t.habits.is_none());
                if !stopped && let Err(why) = people.act(tenant, &act) {
                    tracing::debug!(%why, "somebody could not do what they meant to");
                }
            }
            people.plans.lock().unwrap_or_else(|e| e.into_inner()).remove(&number);
        });
    }

    /// Zero-hour purge: moves a message to junk, or takes it into quarantine, wherever it was delivered in 48 hours.
    pub fn zap(&self, tenant: Uuid, message: &str, quarantine: bool, unread_only: bool) -> Result<usize, String> {
        let now = self.world.clock.unix();
        let mut state = self.world.state();
        let t = state.tenants.iter_mut().find(|t| t.id == tenant).ok_or("no tenant has that id")?;
        let mut taken = Vec::new();
        let mut count = 0;
        for m in t.mailboxes.values_mut() {
            let fit = |i: &&Item| {
                let place = i.folder != folders::SENT && !folders::is_recoverable(i.folder);
                place && i.message.received + ZAP_SECS > now && !(unread_only && i.is_read)
            };
            let numbers: Vec<u64> = m.with_message_id(message).filter(fit).map(|i| i.number).collect();
            for number in numbers {
                count += 1;
                if quarantine {
                    taken.extend(m.remove(number).map(|i| i.message));
                } else if m.item(number).is_some_and(|i| i.folder != JUNK) {
                    m.move_to(number, JUNK, now);
                }
            }
        }
        t.quarantine.extend(taken);
        Ok(count)
    }
}

/// What a person will do with a message, and after how many seconds: by the seed, the person and the message alone.
fn plan(t: &Tenant, event: &Event) -> Option<Vec<(u64, Act)>> {
    let habits = t.habits.as_ref()?;
    let user = t.users.by_id(event.user)?;
    let address = user.addresses.first()?;
    let item = t.mailboxes.get(address)?.item(event.number)?;
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        format!("{} {} {}", habits.seed, user.upn, item.message.message_id).as_bytes(),
    );
    let n = digest.as_ref()[..8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    // answers and forwards are read and put away, but not answered and forwarded again
    let (_, answered) = topic(item.message.mime.digest().subject.as_deref().unwrap_or_default());
    let when = |salt: u64| {
        // whole seconds within the hour, or whatever it is
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let secs = (dice(n, salt) * habits.within_secs as f64) as u64;
        secs
    };
    let (message, user) = (Some(item.message.message_id.clone()), address.clone());
    let act = |act: &str| Act { user: user.clone(), act: act.into(), message: message.clone(), ..Act::default() };
    let mut plan = Vec::new();
    if dice(n, 1) < habits.read {
        plan.push((when(11), act("read")));
    }
    if !answered && dice(n, 2) < habits.forward {
        let colleagues: Vec<&String> = t
            .users
            .iter()
            .filter(|u| u.enabled && u.mailbox_type == "UserMailbox" && u.id != event.user)
            .filter_map(|u| u.addresses.first())
            .collect();
        let which = usize::try_from(n % colleagues.len().max(1) as u64).unwrap_or_default();
        if let Some(to) = colleagues.get(which) {
            let message_id = Some(format!("fw-{n:016x}@{}", address.rsplit('@').next().unwrap_or_default()));
            plan.push((when(12), Act { to: vec![(*to).clone()], message_id, ..act("forward") }));
        }
    }
    if !answered && dice(n, 3) < habits.reply {
        let message_id = Some(format!("re-{n:016x}@{}", address.rsplit('@').next().unwrap_or_default()));
        plan.push((when(13), Act { message_id, ..act("reply") }));
    }
    let away = dice(n, 4);
    if away < habits.moves {
        plan.push((when(14), Act { folder: Some("Projects".into()), ..act("move") }));
    } else if away < habits.moves + habits.delete {
        plan.push((when(14), act("delete")));
    }
    plan.sort_by_key(|(after, _)| *after);
    Some(plan)
}

/// Message-ID, recipients and MIME of what somebody sends about a message.
fn composed(
    item: &Item,
    (name, address): &(String, String),
    act: &Act,
    now: i64,
) -> Result<(String, Vec<String>, Vec<u8>), String> {
    let raw = item.message.mime.raw();
    let digest = item.message.mime.digest();
    let subject = digest.subject.clone().unwrap_or_default();
    let bare = |list: &[Value]| -> Vec<String> {
        list.iter().filter_map(|r| r["emailAddress"]["address"].as_str().map(str::to_lowercase)).collect()
    };
    let forward = act.act.starts_with("forward");
    let mut to = act.to.clone();
    if !forward {
        let back = if digest.reply_to.is_empty() { vec![digest.from.clone()] } else { digest.reply_to.clone() };
        to.extend(bare(&back));
        if act.act == "reply_all" {
            to.extend(bare(&digest.to).into_iter().chain(bare(&digest.cc)).filter(|a| a != address));
        }
    }
    to.sort();
    to.dedup();
    if to.is_empty() {
        return Err("field `to`: at least one recipient is expected".into());
    }
    let id = act
        .message_id
        .clone()
        .unwrap_or_else(|| format!("{}@{}", Uuid::new_v4().simple(), address.rsplit('@').next().unwrap_or_default()));
    let id = id.trim_matches(['<', '>']).to_owned();
    let original = item.message.message_id.trim_matches(['<', '>']).to_owned();
    let mut thread: Vec<String> = digest.thread.clone();
    thread.push(original.clone());
    thread.dedup();
    let title = if forward { format!("FW: {subject}") } else { format!("RE: {subject}") };
    let words = act.text.clone().unwrap_or_else(|| if forward { "FYI".into() } else { "Thank you.".into() });
    if act.act == "forward_as_attachment" {
        let boundary = format!("=_{}", Uuid::new_v4().simple());
        let date = jiff::Timestamp::from_second(now).map(|t| t.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string());
        let head = format!(
            "From: <{address}>\r\nTo: {}\r\nSubject: FW: message\r\nDate: {}\r\nMessage-ID: <{id}>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{words}\r\n--{boundary}\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"message.eml\"\r\n\r\n",
            to.join(", "),
            date.unwrap_or_default()
        );
        let whole = [head.as_bytes(), raw, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        return Ok((format!("<{id}>"), to, whole));
    }
    let parsed = mail_parser::MessageParser::default().parse(raw).ok_or("the message cannot be read")?;
    let from = field(raw, "From").unwrap_or_default();
    let quoted = format!("-----Original Message-----\r\nFrom: {from}\r\nSubject: {subject}\r\n\r\n");
    let text = parsed.body_text(0).unwrap_or_default();
    let mut mail = MessageBuilder::new()
        .from((name.clone(), address.clone()))
        .to(to.clone())
        .subject(title)
        .date(now)
        .message_id(id.clone())
        .in_reply_to(original)
        .references(thread)
        .text_body(format!("{words}\r\n\r\n{quoted}{text}"));
    if parsed.html_body().any(|part| part.html_utf8().is_some())
        && let Some(html) = parsed.body_html(0)
    {
        mail = mail.html_body(format!("<p>{words}</p><hr>{html}"));
    }
    for part in parsed.attachments().filter(|p| forward && p.nested().is_none()) {
        let kind = part.content_type().map_or_else(
            || "application/octet-stream".to_owned(),
            |c| format!("{}/{}", c.ctype(), c.subtype().unwrap_or("octet-stream")),
        );
        let name = part.attachment_name().unwrap_or("attachment").to_owned();
        mail = mail.attachment(kind, name, part.decoded().into_owned());
    }
    let whole = mail.write_to_vec().map_err(|e| format!("the answer cannot be written: {e}"))?;
    Ok((format!("<{id}>"), to, whole))
}
