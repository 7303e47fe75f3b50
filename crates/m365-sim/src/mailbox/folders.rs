//! Folders of a mailbox: the well-known ones that every mailbox has, and those that somebody made.

use super::Mailbox;

pub type FolderId = u32;

pub const ROOT: FolderId = 1;
pub const INBOX: FolderId = 2;
pub const DRAFTS: FolderId = 3;
pub const SENT: FolderId = 4;
pub const DELETED: FolderId = 5;
pub const JUNK: FolderId = 6;
pub const ARCHIVE: FolderId = 7;
pub const RECOVERABLE: FolderId = 20;
pub const DELETIONS: FolderId = 21;
pub const PURGES: FolderId = 23;
/// Folders that somebody made are numbered from here on.
const OWN: FolderId = 100;

/// One that every mailbox has.
pub struct WellKnown {
    pub id: FolderId,
    /// The name that stands in place of an id.
    pub name: &'static str,
    pub shown: &'static str,
    pub parent: FolderId,
    pub hidden: bool,
}

const fn well_known(
    id: FolderId,
    name: &'static str,
    shown: &'static str,
    parent: FolderId,
    hidden: bool,
) -> WellKnown {
    WellKnown { id, name, shown, parent, hidden }
}

/// Names: wire.md 5. `recoverableitemsroot`, `…versions` and `…purges` are names of EWS; Graph's page has only
/// `recoverableitemsdeletions`.
pub const WELL_KNOWN: &[WellKnown] = &[
    well_known(ROOT, "msgfolderroot", "Top of Information Store", ROOT, false),
    well_known(INBOX, "inbox", "Inbox", ROOT, false),
    well_known(DRAFTS, "drafts", "Drafts", ROOT, false),
    well_known(SENT, "sentitems", "Sent Items", ROOT, false),
    well_known(DELETED, "deleteditems", "Deleted Items", ROOT, false),
    well_known(JUNK, "junkemail", "Junk Email", ROOT, false),
    well_known(ARCHIVE, "archive", "Archive", ROOT, false),
    well_known(8, "outbox", "Outbox", ROOT, false),
    well_known(9, "conversationhistory", "Conversation History", ROOT, false),
    well_known(10, "clutter", "Clutter", ROOT, true),
    well_known(11, "syncissues", "Sync Issues", ROOT, true),
    well_known(12, "conflicts", "Conflicts", 11, true),
    well_known(13, "localfailures", "Local Failures", 11, true),
    well_known(14, "serverfailures", "Server Failures", 11, true),
    well_known(15, "searchfolders", "Search Folders", ROOT, true),
    well_known(16, "scheduled", "Scheduled", ROOT, true),
    well_known(RECOVERABLE, "recoverableitemsroot", "Recoverable Items", RECOVERABLE, true),
    well_known(DELETIONS, "recoverableitemsdeletions", "Deletions", RECOVERABLE, true),
    well_known(22, "recoverableitemsversions", "Versions", RECOVERABLE, true),
    well_known(PURGES, "recoverableitemspurges", "Purges", RECOVERABLE, true),
];

pub fn by_name(name: &str) -> Option<&'static WellKnown> {
    WELL_KNOWN.iter().find(|f| f.name.eq_ignore_ascii_case(name))
}

/// A folder as it is shown.
#[derive(Clone, Debug)]
pub struct Folder {
    pub id: FolderId,
    pub name: String,
    pub parent: FolderId,
    pub hidden: bool,
    /// The number of the change that last touched it; 0 for those that were always there.
    pub changed: u64,
}

/// True for what users do not see: Recoverable Items.
pub fn is_recoverable(id: FolderId) -> bool {
    (RECOVERABLE..OWN).contains(&id)
}

impl Mailbox {
    /// All of them, those of Recoverable Items included.
    pub fn folders(&self) -> impl Iterator<Item = Folder> + '_ {
        let known = WELL_KNOWN.iter().map(|f| Folder {
            id: f.id,
            name: f.shown.into(),
            parent: f.parent,
            hidden: f.hidden,
            changed: 0,
        });
        known.chain(self.own_folders.values().cloned())
    }
    pub fn folder(&self, id: FolderId) -> Option<Folder> {
        self.folders().find(|f| f.id == id)
    }
    /// By a display name among the children of `parent`.
    pub fn folder_called(&self, name: &str, parent: FolderId) -> Option<Folder> {
        self.folders().find(|f| f.parent == parent && f.id != parent && f.name.eq_ignore_ascii_case(name))
    }
    /// Makes one; `None`: there is one of that name.
    pub fn new_folder(&mut self, name: &str, parent: FolderId, hidden: bool) -> Option<Folder> {
        if self.folder_called(name, parent).is_some() {
            return None;
        }
        self.newest += 1;
        // numbers are never used again: an id of a folder that is gone names nothing
        self.folders_made += 1;
        let folder = Folder { id: OWN + self.folders_made, name: name.into(), parent, hidden, changed: self.newest };
        self.own_folders.insert(folder.id, folder.clone());
        Some(folder)
    }
    /// The one of that name below the root, made where it is missing.
    pub fn folder_or_new(&mut self, name: &str) -> FolderId {
        let known = by_name(name).map(|f| f.id);
        known
            .or_else(|| self.folder_called(name, ROOT).map(|f| f.id))
            .or_else(|| self.new_folder(name, ROOT, false).map(|f| f.id))
            .unwrap_or(INBOX)
    }
    pub fn rename_folder(&mut self, id: FolderId, name: &str) -> Option<Folder> {
        self.newest += 1;
        let newest = self.newest;
        let folder = self.own_folders.get_mut(&id)?;
        (folder.name, folder.changed) = (name.into(), newest);
        Some(folder.clone())
    }
    /// Takes a folder that somebody made away with all below it; what was in them goes to Deleted Items, as Outlook does.
    pub fn remove_folder(&mut self, id: FolderId, now: i64) -> bool {
        if !self.own_folders.contains_key(&id) {
            return false;
        }
        let below: Vec<FolderId> = self.own_folders.values().filter(|f| f.parent == id).map(|f| f.id).collect();
        for child in below {
            self.remove_folder(child, now);
        }
        let items: Vec<u64> = self.in_folder(id).map(|i| i.number).collect();
        for number in items {
            self.move_to(number, DELETED, now);
        }
        self.own_folders.remove(&id);
        self.newest += 1;
        self.folders_gone.push((self.newest, id));
        true
    }
}
