//! A mailbox: folders, items that share their MIME, and what changed in it, numbered.
//!
//! Every change is told to the [`Hub`]: subscriptions make notifications of it, and the people of the tenant act on it.

pub mod folders;
pub mod ids;
mod mime;

pub use folders::{Folder, FolderId};
pub use mime::{Digest, Mime, topic};

use crate::limits;
use crate::world::StoredMessage;
use folders::{ARCHIVE, DELETED, DELETIONS, INBOX, JUNK, PURGES, SENT};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

/// What happened to an item, and where.
#[derive(Clone, Debug)]
pub struct Event {
    pub tenant: Uuid,
    pub user: Uuid,
    pub number: u64,
    /// How often it had been moved after it happened.
    pub moves: u32,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Created(FolderId),
    Updated(FolderId),
    Moved { from: FolderId, to: FolderId },
    Deleted(FolderId),
}

/// Where mailboxes tell what happened.
#[derive(Clone)]
pub struct Hub {
    sender: UnboundedSender<Event>,
    /// Events told and not yet acted upon.
    open: Arc<AtomicUsize>,
}

impl Hub {
    pub fn new(sender: UnboundedSender<Event>) -> Hub {
        Hub { sender, open: Arc::default() }
    }
    /// One event has been acted upon.
    pub fn done(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
    pub fn is_idle(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }
    fn tell(&self, event: Event) {
        // nobody listens while the world goes down
        self.open.fetch_add(1, Ordering::SeqCst);
        if self.sender.send(event).is_err() {
            self.done();
        }
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug)]
pub struct Item {
    /// Never changes while it is in this mailbox.
    pub number: u64,
    pub moves: u32,
    pub folder: FolderId,
    /// Numbers of the changes by which it came into its folder, and that touched it last.
    pub entered: u64,
    pub changed: u64,
    pub message: StoredMessage,
    pub is_read: bool,
    /// When it was first opened.
    pub opened: Option<i64>,
    pub is_draft: bool,
    /// `notFlagged`, `flagged` or `complete`
    pub flag: String,
    pub categories: Vec<String>,
    pub thread: [u8; 16],
    pub created: i64,
    pub modified: i64,
}

/// What left a folder.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    pub change: u64,
    pub folder: FolderId,
    pub number: u64,
    pub moves: u32,
}

/// A rule of the user's own: what is from, or about, goes into a folder.
#[derive(Clone, Debug)]
pub struct InboxRule {
    pub name: String,
    pub sender_contains: Option<String>,
    pub subject_contains: Option<String>,
    pub folder: FolderId,
}

/// Why a mailbox is not served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Served,
    Unlicensed,
    OnPremises,
    Inactive,
}

pub struct Mailbox {
    tenant: Uuid,
    user: Uuid,
    hub: Hub,
    items: BTreeMap<u64, Item>,
    by_message_id: HashMap<String, Vec<u64>>,
    /// The thread of each topic, for answers that name no message.
    topics: HashMap<String, [u8; 16]>,
    own_folders: BTreeMap<FolderId, Folder>,
    folders_made: u32,
    pub folders_gone: Vec<(u64, FolderId)>,
    made: u64,
    newest: u64,
    gone: VecDeque<Gone>,
    forgotten: u64,
    pub rules: Vec<InboxRule>,
    pub standing: Standing,
    /// Litigation hold.
    pub hold: bool,
    /// The in-place archive, which Graph does not reach; `None`: not enabled.
    pub in_place_archive: Option<Vec<StoredMessage>>,
}

impl Mailbox {
    pub fn new(tenant: Uuid, user: Uuid, hub: Hub) -> Mailbox {
        Mailbox {
            tenant,
            user,
            hub,
            items: BTreeMap::new(),
            by_message_id: HashMap::new(),
            topics: HashMap::new(),
            own_folders: BTreeMap::new(),
            folders_made: 0,
            folders_gone: Vec::new(),
            made: 0,
            newest: 0,
            gone: VecDeque::new(),
            forgotten: 0,
            rules: Vec::new(),
            standing: Standing::Served,
            hold: false,
            in_place_archive: None,
        }
    }
    pub fn user(&self) -> Uuid {
        self.user
    }
    /// The number of the newest change.
    pub fn newest(&self) -> u64 {
        self.newest
    }
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.values()
    }
    pub fn item(&self, number: u64) -> Option<&Item> {
        self.items.get(&number)
    }
    pub fn in_folder(&self, folder: FolderId) -> impl Iterator<Item = &Item> {
        self.items.values().filter(move |i| i.folder == folder)
    }
    /// Those with that Message-ID, with or without brackets.
    pub fn with_message_id(&self, id: &str) -> impl Iterator<Item = &Item> {
        let numbers = self.by_message_id.get(&bare(id)).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|n| self.items.get(n))
    }
    /// What left a folder after a change; `None` where that is no longer known.
    pub fn gone_since(&self, change: u64) -> Option<impl Iterator<Item = &Gone>> {
        (change >= self.forgotten).then(|| self.gone.iter().filter(move |g| g.change > change))
    }

    fn tell(&self, item: &Item, kind: Kind) {
        let (number, moves) = (item.number, item.moves);
        self.hub.tell(Event { tenant: self.tenant, user: self.user, number, moves, kind });
    }

    /// Takes incoming mail: into junk, or where the user's own rules send it.
    pub fn deliver(&mut self, message: StoredMessage, junk: bool, now: i64) -> u64 {
        let folder = if junk { JUNK } else { self.ruled(&message) };
        self.add(message, folder, now, |_| {})
    }

    fn ruled(&self, message: &StoredMessage) -> FolderId {
        if self.rules.is_empty() {
            return INBOX;
        }
        let digest = message.mime.digest();
        let subject = digest.subject.clone().unwrap_or_default().to_lowercase();
        let from = digest.from["emailAddress"]["address"].as_str().unwrap_or_default().to_lowercase();
        let holds =
            |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|w| text.contains(&w.to_lowercase()));
        let rule = self.rules.iter().find(|r| holds(&r.sender_contains, &from) && holds(&r.subject_contains, &subject));
        rule.map_or(INBOX, |r| r.folder)
    }

    /// Puts a message into a folder.
    pub fn add(&mut self, message: StoredMessage, folder: FolderId, now: i64, set: impl FnOnce(&mut Item)) -> u64 {
        self.made += 1;
        self.newest += 1;
        let thread = self.thread_of(&message);
        let mut item = Item {
            number: self.made,
            moves: 0,
            folder,
            entered: self.newest,
            changed: self.newest,
            is_read: folder == SENT,
            opened: None,
            is_draft: false,
            flag: "notFlagged".into(),
            categories: Vec::new(),
            thread,
            created: now,
            modified: now,
            message,
        };
        set(&mut item);
        self.insert(item)
    }

    fn insert(&mut self, item: Item) -> u64 {
        let number = item.number;
        self.by_message_id.entry(bare(&item.message.message_id)).or_default().push(number);
        self.tell(&item, Kind::Created(item.folder));
        self.items.insert(number, item);
        number
    }

    /// The conversation by References and In-Reply-To, else, for an answer that names nothing, by its topic.
    fn thread_of(&mut self, message: &StoredMessage) -> [u8; 16] {
        let digest = message.mime.digest();
        let (topic, answered) = topic(digest.subject.as_deref().unwrap_or_default());
        let known = digest.thread.iter().rev().find_map(|id| self.with_message_id(id).next().map(|i| i.thread));
        let by_topic = || self.topics.get(&topic).filter(|_| answered && digest.thread.is_empty()).copied();
        let root = digest.thread.first().cloned().unwrap_or_else(|| bare(&message.message_id));
        let thread = known.or_else(by_topic).unwrap_or_else(|| hashed(&root));
        self.topics.insert(topic, thread);
        thread
    }

    /// Changes an item where it is.
    pub fn change(&mut self, number: u64, now: i64, set: impl FnOnce(&mut Item)) -> Option<&Item> {
        self.newest += 1;
        let item = self.items.get_mut(&number)?;
        set(item);
        (item.changed, item.modified) = (self.newest, now);
        if item.is_read {
            item.opened.get_or_insert(now);
        }
        let item = self.items.get(&number)?;
        self.tell(item, Kind::Updated(item.folder));
        Some(item)
    }

    /// Moves it; its usual id changes, even within one folder.
    pub fn move_to(&mut self, number: u64, folder: FolderId, now: i64) -> Option<&Item> {
        let before = self.items.get(&number)?;
        let (from, moves) = (before.folder, before.moves);
        self.note_gone(from, number, moves);
        self.newest += 1;
        let newest = self.newest;
        let item = self.items.get_mut(&number)?;
        (item.folder, item.moves, item.modified) = (folder, moves + 1, now);
        (item.entered, item.changed) = (newest, newest);
        let item = self.items.get(&number)?;
        self.tell(item, Kind::Moved { from, to: folder });
        Some(item)
    }

    pub fn copy_to(&mut self, number: u64, folder: FolderId, now: i64) -> Option<&Item> {
        let mut copy = self.items.get(&number)?.clone();
        self.made += 1;
        self.newest += 1;
        (copy.number, copy.moves, copy.folder) = (self.made, 0, folder);
        (copy.entered, copy.changed) = (self.newest, self.newest);
        (copy.created, copy.modified) = (now, now);
        let number = self.insert(copy);
        self.items.get(&number)
    }

    /// Takes it out of the mailbox altogether.
    pub fn remove(&mut self, number: u64) -> Option<Item> {
        let item = self.items.remove(&number)?;
        self.note_gone(item.folder, number, item.moves);
        if let Some(numbers) = self.by_message_id.get_mut(&bare(&item.message.message_id)) {
            numbers.retain(|n| *n != number);
        }
        self.tell(&item, Kind::Deleted(item.folder));
        Some(item)
    }

    fn note_gone(&mut self, folder: FolderId, number: u64, moves: u32) {
        self.newest += 1;
        if self.gone.len() >= limits::GONE_MAX
            && let Some(oldest) = self.gone.pop_front()
        {
            self.forgotten = oldest.change;
        }
        self.gone.push_back(Gone { change: self.newest, folder, number, moves });
    }

    /// Everything away, as if nothing had ever come.
    pub fn empty(&mut self) {
        let numbers: Vec<u64> = self.items.keys().copied().collect();
        for number in numbers {
            self.remove(number);
        }
        self.topics.clear();
        if let Some(archive) = &mut self.in_place_archive {
            archive.clear();
        }
    }

    /// As a user deletes it: into Deleted Items, from there into Deletions; `None`: it cannot be deleted from where it is.
    pub fn delete(&mut self, number: u64, straight: bool, now: i64) -> Option<()> {
        let folder = match self.items.get(&number)?.folder {
            DELETIONS | PURGES => return None,
            DELETED => DELETIONS,
            _ if straight => DELETIONS,
            _ => DELETED,
        };
        self.move_to(number, folder, now).map(drop)
    }

    /// Into the in-place archive, where that is enabled.
    pub fn archive_away(&mut self, number: u64, now: i64) -> Option<()> {
        if self.in_place_archive.is_none() {
            return self.move_to(number, ARCHIVE, now).map(drop);
        }
        let item = self.remove(number)?;
        self.in_place_archive.as_mut()?.push(item.message);
        Some(())
    }
}

/// A Message-ID as the index has it.
fn bare(id: &str) -> String {
    id.trim().trim_matches(['<', '>']).to_lowercase()
}

fn hashed(text: &str) -> [u8; 16] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    bytes
}

/// The value of a field of a raw message.
fn header(raw: &[u8], name: &str) -> Option<String> {
    crate::transport::field(raw, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, more: &str) -> StoredMessage {
        let raw = format!("From: a@x.example\r\nMessage-ID: <{id}>\r\n{more}\r\nhello\r\n");
        StoredMessage {
            id: id.into(),
            received: 100,
            sender: "a@x.example".into(),
            recipient: "b@y.example".into(),
            message_id: format!("<{id}>"),
            mime: Mime::new(raw.into_bytes()),
        }
    }

    fn mailbox() -> (Mailbox, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Mailbox::new(Uuid::from_u128(1), Uuid::from_u128(2), Hub::new(sender)), receiver)
    }

    #[test]
    fn a_move_keeps_the_number_and_leaves_word_behind() {
        let (mut m, mut events) = mailbox();
        let n = m.deliver(message("one@x", "Subject: Plan\r\n"), false, 1);
        let then = m.newest();
        let moved = m.move_to(n, JUNK, 2).cloned().unwrap_or_else(|| panic!("it is there"));
        assert_eq!((moved.number, moved.moves, moved.folder), (n, 1, JUNK));
        let gone: Vec<_> = m.gone_since(then).into_iter().flatten().map(|g| (g.folder, g.number, g.moves)).collect();
        assert_eq!(gone, [(INBOX, n, 0)]);
        let copy = m.copy_to(n, INBOX, 3).cloned().unwrap_or_else(|| panic!("it is there"));
        assert!(std::ptr::eq(copy.message.mime.raw(), moved.message.mime.raw()), "copies share their bytes");
        assert_eq!(m.with_message_id("<ONE@x>").count(), 2);
        m.remove(n);
        assert_eq!(m.with_message_id("one@x").count(), 1);
        let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).map(|e| e.kind).collect();
        let moved = Kind::Moved { from: INBOX, to: JUNK };
        assert_eq!(told, [Kind::Created(INBOX), moved, Kind::Created(INBOX), Kind::Deleted(JUNK)]);
    }

    #[test]
    fn answers_belong_to_the_conversation() {
        let (mut m, _events) = mailbox();
        let first = m.deliver(message("one@x", "Subject: Plan\r\n"), false, 1);
        let named = m.deliver(message("two@x", "Subject: else\r\nIn-Reply-To: <one@x>\r\n"), false, 2);
        let titled = m.deliver(message("three@x", "Subject: RE: plan\r\n"), false, 3);
        let other = m.deliver(message("four@x", "Subject: Plan\r\n"), false, 4);
        let far = m.deliver(message("five@x", "References: <zero@x> <gone@x>\r\n"), false, 5);
        let near = m.deliver(message("six@x", "In-Reply-To: <five@x>\r\nReferences: <zero@x> <five@x>\r\n"), false, 6);
        let thread = |n| m.item(n).map(|i| i.thread);
        assert_eq!(thread(first), thread(named));
        assert_eq!(thread(first), thread(titled));
        assert_ne!(thread(first), thread(other), "the same subject alone begins anew");
        assert_eq!(thread(far), thread(near));
    }

    #[test]
    fn folders_are_made_once_and_what_was_in_them_is_kept() {
        let (mut m, _events) = mailbox();
        let made = m.new_folder("Bills", folders::ROOT, false).map(|f| f.id).unwrap_or_default();
        assert!(m.new_folder("BILLS", folders::ROOT, true).is_none() && m.new_folder("inbox", 1, false).is_none());
        m.rules.push(InboxRule {
            name: "r".into(),
            sender_contains: Some("A@x".into()),
            subject_contains: None,
            folder: made,
        });
        let n = m.deliver(message("one@x", ""), false, 1);
        assert_eq!(m.item(n).map(|i| i.folder), Some(made));
        assert!(m.remove_folder(made, 2) && !m.remove_folder(made, 2) && !m.remove_folder(INBOX, 2));
        assert_eq!(m.item(n).map(|i| i.folder), Some(DELETED));
        assert!(m.delete(n, false, 3).is_some());
        assert_eq!(m.item(n).map(|i| i.folder), Some(DELETIONS));
        assert!(m.delete(n, false, 4).is_none(), "Deletions cannot be deleted from");
    }
}
