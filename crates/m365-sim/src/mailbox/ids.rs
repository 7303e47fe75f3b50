//! Ids of mail as Graph shows them: opaque, case-sensitive, URL-safe base64 (wire.md 5). The usual id of an item holds
//! how often it was moved and so changes with every move; the immutable one does not.

use super::FolderId;
use base64::{Engine, engine::general_purpose::URL_SAFE};
use uuid::Uuid;

const ITEM: &str = "AAMkAD";
const IMMUTABLE: &str = "AAkALgAA";
const ATTACHMENT: &str = "AAMkAE";
const FOLDER: &str = "AQMkAD";
const CONVERSATION: &str = "AAQkAD";

fn encode(prefix: &str, user: Uuid, parts: &[&[u8]]) -> String {
    let mut bytes = user.as_bytes().to_vec();
    parts.iter().for_each(|p| bytes.extend_from_slice(p));
    format!("{prefix}{}", URL_SAFE.encode(bytes))
}

/// The mailbox's user and the rest, where the text has the prefix and so many bytes.
fn decode<const N: usize>(prefix: &str, text: &str) -> Option<(Uuid, [u8; N])> {
    let bytes = URL_SAFE.decode(text.strip_prefix(prefix)?).ok()?;
    let (user, rest) = bytes.split_at_checked(16)?;
    Some((Uuid::from_slice(user).ok()?, rest.try_into().ok()?))
}

/// Which item an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemId {
    pub user: Uuid,
    pub number: u64,
    /// `None`: an immutable id.
    pub moves: Option<u32>,
}

impl ItemId {
    pub fn text(&self) -> String {
        let number = self.number.to_be_bytes();
        match self.moves {
            Some(moves) => encode(ITEM, self.user, &[&number, &moves.to_be_bytes()]),
            None => encode(IMMUTABLE, self.user, &[&number, &[0; 4]]),
        }
    }
    pub fn read(text: &str) -> Option<ItemId> {
        let fixed = text.starts_with(IMMUTABLE);
        let (user, rest) = decode::<12>(if fixed { IMMUTABLE } else { ITEM }, text)?;
        let number = u64::from_be_bytes(rest[..8].try_into().ok()?);
        let moves = u32::from_be_bytes(rest[8..].try_into().ok()?);
        Some(ItemId { user, number, moves: (!fixed).then_some(moves) })
    }
}

pub fn folder(user: Uuid, folder: FolderId) -> String {
    encode(FOLDER, user, &[&folder.to_be_bytes()])
}

pub fn read_folder(text: &str) -> Option<(Uuid, FolderId)> {
    decode::<4>(FOLDER, text).map(|(user, n)| (user, FolderId::from_be_bytes(n)))
}

pub fn attachment(user: Uuid, number: u64, n: u32) -> String {
    encode(ATTACHMENT, user, &[&number.to_be_bytes(), &n.to_be_bytes()])
}

/// Which attachment of which item.
pub fn read_attachment(text: &str) -> Option<(u64, u32)> {
    let (_, rest) = decode::<12>(ATTACHMENT, text)?;
    Some((u64::from_be_bytes(rest[..8].try_into().ok()?), u32::from_be_bytes(rest[8..].try_into().ok()?)))
}

pub fn conversation(user: Uuid, thread: &[u8; 16]) -> String {
    encode(CONVERSATION, user, &[thread])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_what_they_name_and_nothing_else_is_one() {
        let user = Uuid::from_u128(7);
        let id = ItemId { user, number: 300, moves: Some(2) };
        let fixed = ItemId { moves: None, ..id };
        assert_eq!(ItemId::read(&id.text()), Some(id));
        assert_eq!(ItemId::read(&fixed.text()), Some(fixed));
        assert_ne!(id.text(), ItemId { moves: Some(3), ..id }.text());
        assert_eq!(read_folder(&folder(user, 101)), Some((user, 101)));
        assert_eq!(read_attachment(&attachment(user, 300, 1)), Some((300, 1)));
        for wrong in ["", "AAMkAD", "AAMkADzz", "nonsense", &folder(user, 1), &id.text().to_lowercase()] {
            assert_eq!(ItemId::read(wrong), None, "{wrong}");
        }
    }
}
