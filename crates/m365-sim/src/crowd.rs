//! Many people at once: fifty thousand mailboxes and thousands of groups, the same ones in every run.

use crate::seed::stable_id;
use crate::trouble::dice;
use crate::world::{Group, Mailbox, Tenant, User};
use uuid::Uuid;

/// How many come.
pub struct Crowd {
    pub users: usize,
    pub groups: usize,
    /// Members of one group at most.
    pub members_max: usize,
    /// Every fifth group has other groups as members.
    pub nested: bool,
}

/// `n` of `most`, by the same dice in every run.
fn pick(n: usize, salt: u64, most: usize) -> usize {
    // a share of a count: truncation is what is wanted
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let picked = (dice(n as u64, salt) * most as f64) as usize;
    picked.min(most.saturating_sub(1))
}

impl Crowd {
    /// Seeding again adds those who are not there yet.
    pub fn join(&self, t: &mut Tenant) {
        let domains: Vec<String> = t
            .domains
            .iter()
            .filter(|d| d.is_verified && t.accepted_domain(&d.id).is_some_and(|a| a.domain_type == "Authoritative"))
            .map(|d| d.id.clone())
            .collect();
        let Some(first) = domains.first().cloned() else { return };
        let new: Vec<User> = (0..self.users).map(|n| person(t, n, &domains)).collect();
        let new: Vec<User> = new.into_iter().filter(|u| t.users.by_id(u.id).is_none()).collect();
        for user in new {
            if let Some(address) = user.addresses.first() {
                t.mailboxes.insert(address.clone(), Mailbox::default());
            }
            t.users.push(user);
        }
        let people: Vec<Uuid> = (0..self.users).map(|n| stable_id(t.id, &local(n))).collect();
        for n in 0..self.groups {
            let group = self.group(t.id, n, &first, &people);
            if t.groups.by_id(group.id).is_none() {
                t.groups.push(group);
            }
        }
    }

    fn group(&self, tenant: Uuid, n: usize, domain: &str, people: &[Uuid]) -> Group {
        let id = |n: usize| stable_id(tenant, &format!("crowd group {n}"));
        let kind = ["distribution", "unified", "mail_security", "security"][n % 4];
        let size = if people.is_empty() { 0 } else { pick(n, 11, self.members_max + 1) };
        // a run of people from anywhere: no one twice
        let from = pick(n, 12, people.len().max(1));
        let mut members: Vec<Uuid> = (0..size.min(people.len())).map(|k| people[(from + k) % people.len()]).collect();
        if self.nested && n % 5 == 4 {
            members.extend([id(n - 1), id(n - 3)]);
        }
        Group {
            id: id(n),
            display_name: format!("Crowd Group {n:05}"),
            mail: (kind != "security").then(|| format!("crowd-group-{n:05}@{domain}")),
            kind: kind.into(),
            members,
        }
    }
}

fn local(n: usize) -> String {
    format!("crowd.{n:06}")
}

/// Of a hundred: three shared mailboxes, two rooms, five without a mailbox, every tenth with an alias.
fn person(t: &Tenant, n: usize, domains: &[String]) -> User {
    let local = local(n);
    let address = format!("{local}@{}", domains[n % domains.len()]);
    let mailbox_type = match n % 100 {
        7 | 37 | 67 => "SharedMailbox",
        13 | 63 => "RoomMailbox",
        21 | 41 | 61 | 81 | 91 => "",
        _ => "UserMailbox",
    };
    let mut addresses = vec![address.clone()];
    if n.is_multiple_of(10) {
        addresses.push(format!("alias.{local}@{}", domains[(n + 1) % domains.len()]));
    }
    User {
        id: stable_id(t.id, &local),
        upn: address,
        display_name: format!("Crowd Member {n:06}"),
        password: "correct-horse-battery-staple".into(),
        addresses: if mailbox_type.is_empty() { Vec::new() } else { addresses },
        enabled: mailbox_type != "SharedMailbox" && mailbox_type != "RoomMailbox",
        mailbox_type: mailbox_type.into(),
    }
}
