//! Many people at once: fifty thousand mailboxes and thousands of groups, the same ones in every run.

use crate::mailbox::Mailbox;
use crate::seed::stable_id;
use crate::world::{Group, Tenant, User};
use uuid::Uuid;

const FIRST: [&str; 16] = [
    "Amara", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ingrid", "Jonas", "Keiko", "Lucía",
    "Mirko", "Nadia", "Oskar", "Paloma",
];
const LAST: [&str; 16] = [
    "Abbott",
    "Bergström",
    "Castellano",
    "Dubois",
    "Eriksen",
    "Fontaine",
    "Grünwald",
    "Hartmann",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Marchetti",
    "Novák",
    "Okafor",
    "Pellegrini",
];
/// Members of every group but the first: what a team has.
const TEAM: usize = 40;

/// How many come.
pub struct Crowd {
    pub users: usize,
    pub groups: usize,
    /// Members of the first and largest group; the others have up to forty.
    pub members_max: usize,
    /// So many groups hold the one after them, in chains of five.
    pub nested: usize,
}

impl Crowd {
    /// Seeding again adds those who are not there yet.
    pub fn join(&self, t: &mut Tenant) {
        let domain = t.domains.iter().find(|d| d.is_default).map(|d| d.id.clone()).unwrap_or_default();
        let mut people = Vec::with_capacity(self.users);
        for user in (0..self.users).map(|n| person(t.id, n, &domain)) {
            people.push(user.id);
            if t.users.by_id(user.id).is_none() {
                t.mailboxes.insert(user.upn.clone(), Mailbox::new(t.id, user.id, t.hub.clone()));
                t.users.push(user);
            }
        }
        for group in (0..self.groups).map(|n| self.group(t.id, n, &domain, &people)) {
            if t.groups.by_id(group.id).is_none() {
                t.groups.push(group);
            }
        }
    }

    fn group(&self, tenant: Uuid, n: usize, domain: &str, people: &[Uuid]) -> Group {
        let name = |n: usize| format!("Crowd Group {n:05}");
        let size = if n == 0 { self.members_max } else { 1 + (n * 31) % self.members_max.clamp(1, TEAM) };
        let mut members: Vec<Uuid> = (0..size.min(people.len())).map(|k| people[(n * 17 + k) % people.len()]).collect();
        if n < self.nested && n + 1 < self.groups && n % 5 != 4 {
            members.push(stable_id(tenant, &name(n + 1)));
        }
        let kind = ["distribution", "security", "unified", "mail_security"][n % 4];
        Group {
            id: stable_id(tenant, &name(n)),
            display_name: name(n),
            mail: (kind != "security").then(|| format!("crowd-group-{n:05}@{domain}")),
            kind: kind.into(),
            members,
        }
    }
}

/// Of a hundred: two shared mailboxes and a room; every third with an alias.
fn person(tenant: Uuid, n: usize, domain: &str) -> User {
    let address = format!("crowd-{n:05}@{domain}");
    let mut addresses = vec![address.clone()];
    if n.is_multiple_of(3) {
        addresses.push(format!("crowd-{n:05}.alias@{domain}"));
    }
    let mailbox_type = match n % 100 {
        50 => "RoomMailbox",
        25 | 75 => "SharedMailbox",
        _ => "UserMailbox",
    };
    User {
        id: stable_id(tenant, &address),
        upn: address,
        display_name: format!("{} {} {n:05}", FIRST[n % FIRST.len()], LAST[(n / FIRST.len()) % LAST.len()]),
        password: "correct-horse-battery-staple".into(),
        addresses,
        enabled: mailbox_type == "UserMailbox",
        mailbox_type: mailbox_type.into(),
    }
}
