//! Who is who, and in which groups, as the directory was last read.

use std::collections::{HashMap, HashSet};
use store::Directory;

pub(crate) struct People<'d> {
    directory: &'d Directory,
    /// Object id by address in lower case.
    ids: HashMap<String, &'d str>,
}

impl<'d> People<'d> {
    pub(crate) fn new(directory: &'d Directory) -> People<'d> {
        let users = directory.users.iter().flat_map(|u| {
            let all = u.mail.iter().chain(&u.addresses).chain(std::iter::once(&u.upn));
            all.map(|a| (a.to_lowercase(), u.id.as_str()))
        });
        let mailboxes = directory.mailboxes.iter().flat_map(|m| {
            let all = m.addresses.iter().chain(std::iter::once(&m.address));
            all.map(|a| (a.to_lowercase(), m.id.as_str()))
        });
        People { directory, ids: users.chain(mailboxes).collect() }
    }

    /// The same for every address of one person; an address that nobody is known by stands for itself.
    pub(crate) fn whose(&self, address: &str) -> String {
        let address = address.to_lowercase();
        self.ids.get(&address).map_or(address.clone(), |id| (*id).to_owned())
    }

    /// The first of these groups (by mail address) in which the person is, directly or through another group.
    pub(crate) fn group_with(&self, address: &str, groups: &[String]) -> Option<String> {
        let person = self.whose(address);
        groups.iter().find(|group| self.members(group).contains(person.as_str())).cloned()
    }

    fn members(&self, mail: &str) -> HashSet<&'d str> {
        let first =
            self.directory.groups.iter().find(|g| g.mail.as_deref().is_some_and(|m| m.eq_ignore_ascii_case(mail)));
        let mut open: Vec<&'d str> = first.map(|g| g.id.as_str()).into_iter().collect();
        let mut seen = HashSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id)
                && let Some(group) = self.directory.groups.iter().find(|g| g.id == id)
            {
                open.extend(group.members.iter().map(String::as_str));
            }
        }
        seen
    }
}
