//! Links of one use, for recipients: what they do, with which message, of whom and until when stands in the link itself,
//! signed (HMAC-SHA-256) with a secret of the tenant. That one was used is kept in the store.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tenant::{Secret, TenantId};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Look at it; as often as one wants.
    Look,
    Release,
    Allow,
    Delete,
    Block,
    Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub wish: Wish,
    pub tenant: TenantId,
    pub held: Uuid,
    /// Whose copy, see [`person`].
    pub recipient: [u8; 16],
    /// Seconds since 1970.
    pub ends: i64,
}

const VERSION: u8 = 1;
const SIGNED: usize = 1 + 1 + 16 + 16 + 16 + 8;
const TAG: usize = 32;
/// Of the text in an address.
const CHARS: usize = (SIGNED + TAG).div_ceil(3) * 4;

/// A link does not show whose it is: it stands in logs of proxies and in histories of browsers.
pub fn person(tenant: TenantId, address: &str) -> [u8; 16] {
    let said = digest(&SHA256, format!("{tenant} {}", address.to_lowercase()).as_bytes());
    let mut out = [0; 16];
    out.copy_from_slice(&said.as_ref()[..16]);
    out
}

impl Wish {
    const ALL: [Wish; 6] = [Wish::Look, Wish::Release, Wish::Allow, Wish::Delete, Wish::Block, Wish::Report];
}

impl Link {
    fn signed(&self) -> Vec<u8> {
        let wish = Wish::ALL.iter().position(|w| *w == self.wish).unwrap_or(0);
        let mut out = vec![VERSION, u8::try_from(wish).unwrap_or(0)];
        out.extend_from_slice(self.tenant.0.as_bytes());
        out.extend_from_slice(self.held.as_bytes());
        out.extend_from_slice(&self.recipient);
        out.extend_from_slice(&self.ends.to_be_bytes());
        out
    }

    pub fn written(&self, secret: &Secret) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let mut all = self.signed();
        let tag = hmac::sign(&key, &all);
        all.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(all)
    }

    /// Which tenant it says it is of: by that one's secret it must be signed.
    pub fn tenant_of(text: &str) -> Option<TenantId> {
        let all = octets(text)?;
        Uuid::from_slice(&all[2..18]).ok().map(TenantId)
    }

    /// `None`: it is not signed with this secret. Compared in constant time.
    pub fn read(text: &str, secret: &Secret) -> Option<Link> {
        let all = octets(text)?;
        let (signed, tag) = all.split_at(SIGNED);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        hmac::verify(&key, signed, tag).ok()?;
        let link = Link {
            wish: *Wish::ALL.get(usize::from(signed[1]))?,
            tenant: TenantId(Uuid::from_slice(&signed[2..18]).ok()?),
            held: Uuid::from_slice(&signed[18..34]).ok()?,
            recipient: signed[34..50].try_into().ok()?,
            ends: i64::from_be_bytes(signed[50..58].try_into().ok()?),
        };
        (signed[0] == VERSION).then_some(link)
    }

    /// Under which its use is kept: who reads the store cannot make the link of it.
    pub fn id(text: &str) -> String {
        digest(&SHA256, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// One text for the same octets: padding bits that count for nothing are refused.
fn octets(text: &str) -> Option<Vec<u8>> {
    if text.len() > CHARS {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok().filter(|all| all.len() == SIGNED + TAG)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_link_is_what_was_signed_and_nothing_else() {
        let (secret, other) = (Secret::new("a"), Secret::new("b"));
        let tenant = TenantId(Uuid::from_u128(1));
        let recipient = person(tenant, "Anna@contoso.example");
        assert_eq!(recipient, person(tenant, "anna@contoso.example"));
        assert_ne!(recipient, person(TenantId(Uuid::from_u128(2)), "anna@contoso.example"));
        for wish in Wish::ALL {
            let link = Link { wish, tenant, held: Uuid::from_u128(9), recipient, ends: 1_800_000_000 };
            let text = link.written(&secret);
            assert_eq!(Link::read(&text, &secret), Some(link));
            assert_eq!(Link::tenant_of(&text), Some(tenant));
            assert_eq!(Link::read(&text, &other), None);
            let octets = URL_SAFE_NO_PAD.decode(&text).unwrap();
            for n in 0..octets.len() {
                let mut changed = octets.clone();
                changed[n] ^= 1;
                assert_eq!(Link::read(&URL_SAFE_NO_PAD.encode(changed), &secret), None, "octet {n}");
            }
        }
        for wrong in ["", "x", "../../etc/passwd", &"A".repeat(500)] {
            assert_eq!((Link::read(wrong, &secret), Link::tenant_of(wrong)), (None, None));
        }
    }
}
