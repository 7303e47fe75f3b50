//! The two tokens that travel in headers: `v1;<tenant id>;<secret>;in|out`.
//!
//! Trusts nobody: a token counts only when version, tenant, secret and direction are all right.
//! Old and new secret are both taken while one is rotated (a message may wait a day in a queue): first the next one is
//! made known to whoever reads, then whoever writes begins to write it, at last the one before is forgotten.

use crate::{Direction, Secret, TenantId};
use serde::{Deserialize, Serialize};

/// Every header of ours begins so; all of them are removed from what we receive.
pub const HEADER_PREFIX: &str = "X-Posthouse-";
/// Set by the tenant's routing rule, read and removed by us.
pub const HEADER_ROUTE: &str = "X-Posthouse-Route";
/// Set by us, read by the routing rules' exception, removed by the strip rule.
pub const HEADER_PASS: &str = "X-Posthouse-Pass";
/// Set by us for people and later rules: what was decided.
pub const HEADER_VERDICT: &str = "X-Posthouse-Verdict";
/// Set by us: the journey under which `posthouse explain` tells more.
pub const HEADER_ID: &str = "X-Posthouse-Id";

/// Names the probe that a message is; rules of a tenant being connected look for it.
pub const HEADER_PROBE: &str = "X-Posthouse-Probe";

/// A secret and, during rotation, the one before or after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarkSecrets {
    pub current: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Secret>,
    /// Taken already, not written yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Secret>,
    /// When `current` became so, in seconds since 1970.
    #[serde(default)]
    pub since: i64,
    /// When the tenant's rules were told of `next`; 0: not yet.
    #[serde(default)]
    pub told: i64,
}

impl MarkSecrets {
    pub fn new(current: Secret) -> MarkSecrets {
        MarkSecrets { current, previous: None, next: None, since: 0, told: 0 }
    }
    /// True for a value that proves its direction by the previous secret: whoever wrote it has not seen the newer one.
    pub fn is_of_before(&self, tenant: TenantId, value: &str) -> bool {
        let secret = value.trim().split(';').nth(2).unwrap_or_default();
        let old = self.previous.as_ref().is_some_and(|old| old.matches(secret));
        old && self.judge(tenant, value).is_some()
    }
    pub(crate) fn write(&self, tenant: TenantId, direction: Direction) -> String {
        token(&self.current, tenant, direction)
    }
    /// Every token that is taken, the current one first.
    pub(crate) fn all(&self, tenant: TenantId, direction: Direction) -> Vec<String> {
        let known = [Some(&self.current), self.previous.as_ref(), self.next.as_ref()];
        known.into_iter().flatten().map(|secret| token(secret, tenant, direction)).collect()
    }
    /// The token that a writer who is told now ought to write from now on.
    pub(crate) fn newest(&self, tenant: TenantId, direction: Direction) -> String {
        token(self.next.as_ref().unwrap_or(&self.current), tenant, direction)
    }
    /// Whoever reads knows `next`: from now on it is written.
    pub fn advance(&mut self, now: i64) {
        if let Some(next) = self.next.take() {
            self.previous = Some(std::mem::replace(&mut self.current, next));
            (self.since, self.told) = (now, 0);
        }
    }
    /// True of a token that whoever was told last writes.
    pub fn is_newest(&self, tenant: TenantId, value: &str) -> bool {
        let newest = MarkSecrets::new(self.next.as_ref().unwrap_or(&self.current).clone());
        newest.judge(tenant, value).is_some()
    }
    /// Forgets the one before once nothing can be under way with it.
    pub fn retire(&mut self, before: i64) -> bool {
        self.since < before && self.previous.take().is_some()
    }
    /// The direction that a header value proves for `tenant`, or `None`.
    pub fn judge(&self, tenant: TenantId, value: &str) -> Option<Direction> {
        let mut parts = value.trim().split(';');
        let (version, id, secret, direction) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is = |other: &Option<Secret>| other.as_ref().is_some_and(|other| other.matches(secret));
        let known = self.current.matches(secret) | is(&self.previous) | is(&self.next);
        let exact = parts.next().is_none() && version == "v1" && id.parse() == Ok(tenant);
        if known && exact { Direction::parse(direction) } else { None }
    }
}

fn token(secret: &Secret, tenant: TenantId, direction: Direction) -> String {
    format!("v1;{tenant};{};{}", secret.expose(), direction.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_token_is_taken_only_when_everything_in_it_is_right() {
        let (us, them) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        let mut marks = MarkSecrets::new(Secret::new("s3cret"));
        let good = marks.write(us, Direction::Inbound);
        assert_eq!(marks.judge(us, &good), Some(Direction::Inbound));
        assert_eq!(marks.judge(us, &format!("  {good} ")), Some(Direction::Inbound));
        assert_eq!(marks.judge(them, &good), None);
        for bad in [
            "",
            "v1",
            &good.replace("s3cret", "s3creT"),
            &good.replace("v1", "v2"),
            &good.replace(";in", ";sideways"),
            &format!("{good};x"),
        ] {
            assert_eq!(marks.judge(us, bad), None, "{bad}");
        }
        assert!(!marks.is_of_before(us, &good));
        marks.previous = Some(std::mem::replace(&mut marks.current, Secret::new("newer")));
        assert_eq!(marks.judge(us, &good), Some(Direction::Inbound), "the old secret counts during rotation");
        assert!(marks.is_of_before(us, &good) && !marks.is_of_before(them, &good));
        assert!(!marks.is_of_before(us, &marks.write(us, Direction::Inbound)));
    }

    #[test]
    fn a_rotation_has_no_moment_without_a_secret_that_both_know() {
        let us = TenantId(Uuid::from_u128(1));
        let mut marks = MarkSecrets::new(Secret::new("old"));
        let old = marks.write(us, Direction::Inbound);
        marks.next = Some(Secret::new("new"));
        assert_eq!(marks.write(us, Direction::Inbound), old, "written only once it is known");
        assert_eq!(marks.all(us, Direction::Inbound), [old.clone(), old.replace("old", "new")]);
        assert!(marks.is_newest(us, &old.replace("old", "new")) && !marks.is_newest(us, &old));
        marks.advance(1000);
        assert_eq!(marks.write(us, Direction::Inbound), old.replace("old", "new"));
        assert_eq!(marks.judge(us, &old), Some(Direction::Inbound));
        assert!(!marks.retire(1000) && marks.retire(1001));
        assert_eq!(marks.judge(us, &old), None);
    }

    #[test]
    fn a_secret_never_prints_itself() {
        assert!(!format!("{:?}", MarkSecrets::new(Secret::new("s3cret"))).contains("s3cret"));
    }
}
