//! The two tokens that travel in headers: `v1;<tenant id>;<secret>;in|out`.
//!
//! Trusts nobody: a token counts only when version, tenant, secret and direction are all right.
//! Old and new secret are both taken while one is rotated (a message may wait a day in a queue).

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

/// A secret and, during rotation, the one before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MarkSecrets {
    pub current: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Secret>,
    /// When `current` became so, in seconds since 1970.
    #[serde(default)]
    pub since: i64,
}

impl MarkSecrets {
    pub fn new(current: Secret) -> MarkSecrets {
        MarkSecrets { current, previous: None, since: 0 }
    }
    /// True for a value that proves its direction by the previous secret: whoever wrote it has not seen the newer one.
    pub fn is_of_before(&self, tenant: TenantId, value: &str) -> bool {
        let secret = value.trim().split(';').nth(2).unwrap_or_default();
        let old = self.previous.as_ref().is_some_and(|old| old.matches(secret));
        old && self.judge(tenant, value).is_some()
    }
    pub(crate) fn write(&self, tenant: TenantId, direction: Direction) -> String {
        format!("v1;{tenant};{};{}", self.current.expose(), direction.as_str())
    }
    /// The direction that a header value proves for `tenant`, or `None`.
    pub fn judge(&self, tenant: TenantId, value: &str) -> Option<Direction> {
        let mut parts = value.trim().split(';');
        let (version, id, secret, direction) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = self.current.matches(secret) | self.previous.as_ref().is_some_and(|old| old.matches(secret));
        let exact = parts.next().is_none() && version == "v1" && id.parse() == Ok(tenant);
        if known && exact { Direction::parse(direction) } else { None }
    }
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
    fn a_secret_never_prints_itself() {
        assert!(!format!("{:?}", MarkSecrets::new(Secret::new("s3cret"))).contains("s3cret"));
    }
}
