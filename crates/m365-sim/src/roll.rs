//! The people or the groups of a tenant: a list that is also found by id and by address.
//!
//! Fifty thousand people are looked up one by one (a message, a group's members, a page), so the list keeps an index.
//! The index is only a hint: every hit is compared with the list, and a miss counts once the index is up to date.

use crate::world::{Group, User};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use uuid::Uuid;

/// Something that has an id and addresses.
pub trait Listed {
    fn id(&self) -> Uuid;
    /// Names under which it is found, in any case of letters.
    fn names(&self) -> impl Iterator<Item = &str>;
}

impl Listed for User {
    fn id(&self) -> Uuid {
        self.id
    }
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.upn.as_str()).chain(self.addresses.iter().map(String::as_str))
    }
}

impl Listed for Group {
    fn id(&self) -> Uuid {
        self.id
    }
    fn names(&self) -> impl Iterator<Item = &str> {
        self.mail.as_deref().into_iter()
    }
}

#[derive(Default)]
struct Index {
    ids: HashMap<Uuid, usize>,
    names: HashMap<String, usize>,
    /// The list was changed in a way that the index did not follow.
    stale: bool,
}

impl Index {
    fn add<T: Listed>(&mut self, n: usize, one: &T) {
        self.ids.entry(one.id()).or_insert(n);
        for name in one.names() {
            self.names.entry(name.to_lowercase()).or_insert(n);
        }
    }
}

/// Reads like a slice; anything changed through it is found again.
#[derive(Default)]
pub struct Roll<T> {
    list: Vec<T>,
    index: RefCell<Index>,
}

impl<T: Listed> Roll<T> {
    pub fn push(&mut self, one: T) {
        self.index.get_mut().add(self.list.len(), &one);
        self.list.push(one);
    }
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.index.get_mut().stale = true;
        self.list.retain(keep);
    }
    pub fn remove(&mut self, n: usize) -> T {
        self.index.get_mut().stale = true;
        self.list.remove(n)
    }
    /// Where the one with this id stands.
    pub fn at(&self, id: Uuid) -> Option<usize> {
        self.look(|index| index.ids.get(&id).copied(), |one| one.id() == id)
    }
    pub fn by_id(&self, id: Uuid) -> Option<&T> {
        self.at(id).map(|n| &self.list[n])
    }
    /// The one of whom `name` is an address or the user principal name.
    pub fn by_name(&self, name: &str) -> Option<&T> {
        let key = name.to_lowercase();
        let n = self.look(
            |index| index.names.get(&key).copied(),
            |one| one.names().any(|n| n.eq_ignore_ascii_case(name) || n.to_lowercase() == key),
        )?;
        Some(&self.list[n])
    }
    fn look(&self, found: impl Fn(&Index) -> Option<usize>, is: impl Fn(&T) -> bool) -> Option<usize> {
        let hit = |index: &Index| found(index).filter(|n| self.list.get(*n).is_some_and(&is));
        let n = hit(&self.index.borrow());
        if n.is_some() || !self.index.borrow().stale {
            return n;
        }
        let mut fresh = Index::default();
        self.list.iter().enumerate().for_each(|(n, one)| fresh.add(n, one));
        let n = hit(&fresh);
        *self.index.borrow_mut() = fresh;
        n
    }
}

impl<T: Listed> From<Vec<T>> for Roll<T> {
    fn from(list: Vec<T>) -> Roll<T> {
        Roll { list, index: RefCell::new(Index { stale: true, ..Index::default() }) }
    }
}

impl<T> Deref for Roll<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.list
    }
}

/// Whoever may change an entry may have changed its names.
impl<T> DerefMut for Roll<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.index.get_mut().stale = true;
        &mut self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(n: u128, mail: &str) -> Group {
        Group {
            id: Uuid::from_u128(n),
            display_name: format!("Group {n}"),
            mail: Some(mail.into()),
            kind: "unified".into(),
            members: vec![],
        }
    }

    #[test]
    fn every_change_is_found_again() {
        let mut roll = Roll::from(vec![group(1, "one@x.example"), group(2, "two@x.example")]);
        assert_eq!(roll.by_name("TWO@x.example").map(|g| g.id.as_u128()), Some(2));
        roll.push(group(3, "three@x.example"));
        assert_eq!(roll.by_name("three@x.example").map(|g| g.id.as_u128()), Some(3));
        roll[0].mail = Some("uno@x.example".into());
        assert!(roll.by_name("one@x.example").is_none(), "an address that was given up is nobody's");
        assert_eq!(roll.by_name("uno@x.example").map(|g| g.id.as_u128()), Some(1));
        roll.retain(|g| g.id.as_u128() != 1);
        assert_eq!(roll.at(Uuid::from_u128(3)), Some(1), "positions moved");
        assert!(roll.by_id(Uuid::from_u128(1)).is_none());
        roll.remove(0);
        assert_eq!(roll.by_id(Uuid::from_u128(3)).map(|g| g.display_name.as_str()), Some("Group 3"));
    }
}
