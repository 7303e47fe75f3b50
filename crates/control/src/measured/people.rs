//! Who is who, and in which groups, as the directory was last read.

use std::collections::{HashMap, HashSet};
use store::{Directory, Store};
use tenant::TenantId;

/// Object ids of everybody in a group, by its mail address in lower case.
pub(crate) type Members = HashMap<String, HashSet<String>>;

pub(crate) struct People<'d> {
    members: &'d Members,
    /// Object id by address in lower case.
    ids: HashMap<String, &'d str>,
}

impl<'d> People<'d> {
    pub(crate) fn new(directory: &'d Directory, members: &'d Members) -> People<'d> {
        let users = directory.users.iter().flat_map(|u| {
            let all = u.mail.iter().chain(&u.addresses).chain(std::iter::once(&u.upn));
            all.map(|a| (a.to_lowercase(), u.id.as_str()))
        });
        let mailboxes = directory.mailboxes.iter().flat_map(|m| {
            let all = m.addresses.iter().chain(std::iter::once(&m.address));
            all.map(|a| (a.to_lowercase(), m.id.as_str()))
        });
        People { members, ids: users.chain(mailboxes).collect() }
    }

    /// The same for every address of one person; an address that nobody is known by stands for itself.
    pub(crate) fn whose(&self, address: &str) -> String {
        let address = address.to_lowercase();
        self.ids.get(&address).map_or(address.clone(), |id| (*id).to_owned())
    }

    /// The first of these groups (by mail address) in which the person is, directly or through another group.
    pub(crate) fn group_with(&self, address: &str, groups: &[String]) -> Option<String> {
        let person = self.whose(address);
        let holds = |group: &&String| self.members.get(&group.to_lowercase()).is_some_and(|m| m.contains(&person));
        groups.iter().find(holds).cloned()
    }
}

/// Of these groups alone: a large directory has thousands that do not matter here.
pub(crate) async fn members_of(store: &Store, tenant: TenantId, groups: &[String]) -> store::Result<Members> {
    let known = if groups.is_empty() { Vec::new() } else { store.groups(tenant).await? };
    let mut members = Members::new();
    for mail in groups {
        let found = known.iter().find(|g| g.mail.as_deref().is_some_and(|m| m.eq_ignore_ascii_case(mail)));
        let Some(group) = found else { continue };
        let ids = store.members_of(tenant, &group.id).await?.into_iter().map(|u| u.id);
        members.insert(mail.to_lowercase(), ids.collect());
    }
    Ok(members)
}
