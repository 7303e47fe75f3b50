//! A rewritten link as it is written: `<public url>/l/<destination's host>/<token>` (docs/links.md).
//!
//! The token is base64url (RFC 4648 §5, unpadded) of what it says and the first 16 octets of an HMAC-SHA256 over that and
//! the host that is shown (RFC 2104 §5: half of the hash). What is not signed by us says nothing.

use super::limits;
use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use tenant::{Secret, TenantId};
use uuid::Uuid;

const VERSION: u8 = 1;
/// What the signature is made over begins with this, so that it is good for nothing else.
const PURPOSE: &[u8] = b"posthouse link 1\0";
const SIGNATURE_OCTETS: usize = 16;
/// Version, form, number of the key, end, tenant, journey.
const HEAD_OCTETS: usize = 1 + 1 + 2 + 4 + 16 + 16;
const DAY_SECS: i64 = 24 * 3600;

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// As it stands in the message.
    Written(String),
    /// Too long for a link: kept by the store under this digest.
    Kept([u8; 16]),
}

/// What a rewritten link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub tenant: TenantId,
    /// Of the message; nil where it had none.
    pub journey: Uuid,
    /// Seconds since 1970; it leads nowhere from then on.
    pub ends: i64,
    /// By which key it is signed.
    pub key: u16,
    pub destination: Destination,
}

/// A key that signs for [`limits::KEY_DAYS`] and is honoured as long as links of it may live.
pub(crate) struct Key(hmac::Key);

impl Key {
    pub(crate) fn new(secret: &Secret) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
    }

    fn signature(&self, host: &str, said: &[u8]) -> [u8; SIGNATURE_OCTETS] {
        let mut signed = hmac::Context::with_key(&self.0);
        for piece in [PURPOSE, host.as_bytes(), b"\0", said] {
            signed.update(piece);
        }
        let mut short = [0; SIGNATURE_OCTETS];
        short.copy_from_slice(&signed.sign().as_ref()[..SIGNATURE_OCTETS]);
        short
    }
}

/// The number of the key that signs at this moment.
pub(crate) fn key_number(now: i64) -> u16 {
    u16::try_from(now / DAY_SECS / limits::KEY_DAYS).unwrap_or(0)
}

/// Under which a long address is kept.
pub(crate) fn kept_id(tenant: TenantId, written: &str) -> [u8; 16] {
    let all = [tenant.0.as_bytes().as_slice(), written.as_bytes()].concat();
    let mut id = [0; 16];
    id.copy_from_slice(&digest::digest(&digest::SHA256, &all).as_ref()[..16]);
    id
}

/// A host as it can stand in a path, the end of it where it is long: there stands whose it is.
pub(crate) fn shown(host: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c.to_ascii_lowercase() } else { '_' };
    let host: String = host.chars().map(plain).collect();
    let over = host.len().saturating_sub(limits::HOST_OCTETS_MAX);
    match over {
        0 => host,
        _ => format!("_{}", host[over..].find('.').map_or(&host[over..], |dot| &host[over + dot..])),
    }
}

impl Token {
    /// `host/token`, signed.
    pub(crate) fn write(&self, host: &str, key: &Key) -> String {
        let (form, destination) = match &self.destination {
            Destination::Written(url) => (0, url.as_bytes()),
            Destination::Kept(id) => (1, id.as_slice()),
        };
        let mut said = Vec::with_capacity(HEAD_OCTETS + destination.len() + SIGNATURE_OCTETS);
        said.extend_from_slice(&[VERSION, form]);
        said.extend_from_slice(&self.key.to_be_bytes());
        said.extend_from_slice(&u32::try_from(self.ends).unwrap_or(0).to_be_bytes());
        said.extend_from_slice(self.tenant.0.as_bytes());
        said.extend_from_slice(self.journey.as_bytes());
        said.extend_from_slice(destination);
        let host = shown(host);
        let signature = key.signature(&host, &said);
        said.extend_from_slice(&signature);
        format!("{host}/{}", BASE64.encode(said))
    }

    /// What `host/token` says, where one of our keys signed exactly that.
    pub(crate) fn read(path: &str, key: impl FnOnce(TenantId, u16) -> Secret) -> Option<Token> {
        let (host, said, signature) = parts(path)?;
        let token = Token::said(&said)?;
        let right = Key::new(&key(token.tenant, token.key)).signature(host, &said);
        constant_time::verify_slices_are_equal(&right, &signature).ok()?;
        token.is_of_its_key().then_some(token)
    }

    /// The same of anybody: good for nothing but to be looked at.
    pub(crate) fn read_unproven(path: &str) -> Option<Token> {
        Token::said(&parts(path)?.1)
    }

    fn said(said: &[u8]) -> Option<Token> {
        let (head, destination) = said.split_at_checked(HEAD_OCTETS)?;
        let (numbers, ids) = head.split_at(8);
        let [VERSION, form, k1, k2, e1, e2, e3, e4] = *numbers else { return None };
        let destination = match form {
            0 => Destination::Written(String::from_utf8(destination.to_vec()).ok()?),
            1 => Destination::Kept(destination.try_into().ok()?),
            _ => return None,
        };
        Some(Token {
            tenant: TenantId(Uuid::from_slice(&ids[..16]).ok()?),
            journey: Uuid::from_slice(&ids[16..]).ok()?,
            ends: u32::from_be_bytes([e1, e2, e3, e4]).into(),
            key: u16::from_be_bytes([k1, k2]),
            destination,
        })
    }

    /// A key that got out signs nothing that outlives it.
    fn is_of_its_key(&self) -> bool {
        let begins = i64::from(self.key) * limits::KEY_DAYS;
        let last = begins + limits::KEY_DAYS + i64::from(tenant::LINK_DAYS_MAX);
        (begins * DAY_SECS..=last * DAY_SECS).contains(&self.ends)
    }
}

/// Host, what is said, signature.
fn parts(path: &str) -> Option<(&str, Vec<u8>, [u8; SIGNATURE_OCTETS])> {
    let (host, letters) = path.split_once('/')?;
    if path.len() > limits::LINK_OCTETS_MAX {
        return None;
    }
    let mut said = BASE64.decode(letters).ok()?;
    let signature = said.split_off(said.len().checked_sub(SIGNATURE_OCTETS)?);
    Some((host, said, signature.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_000_000;

    fn secret(tenant: TenantId, number: u16) -> Secret {
        Secret::new(format!("{tenant} {number}"))
    }

    fn token(tenant: u128, destination: Destination) -> Token {
        let key = key_number(NOW);
        Token {
            tenant: TenantId(Uuid::from_u128(tenant)),
            journey: Uuid::from_u128(9),
            ends: NOW + DAY_SECS,
            key,
            destination,
        }
    }

    fn written(token: &Token, host: &str) -> String {
        token.write(host, &Key::new(&secret(token.tenant, token.key)))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(url in "\\PC{0,200}", host in "[a-z0-9.-]{1,90}", tenant: u128) {
            let token = token(tenant, Destination::Written(url));
            let path = written(&token, &host);
            prop_assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)), "{}", path);
            prop_assert_eq!(Token::read(&path, secret), Some(token));
        }

        #[test]
        fn an_altered_octet_says_nothing(at: prop::sample::Index, to: u8, url in "https://[a-z]{1,9}\\.example/[ -~]{0,40}") {
            let path = written(&token(7, Destination::Written(url)), "a.example").into_bytes();
            let (mut altered, at) = (path.clone(), at.index(path.len()));
            altered[at] = to;
            prop_assume!(altered != path);
            prop_assert_eq!(std::str::from_utf8(&altered).ok().and_then(|p| Token::read(p, secret)), None);
        }

        #[test]
        fn anything_at_all_is_read_without_harm(path in "\\PC{0,300}") {
            prop_assert_eq!(Token::read(&path, secret), None);
        }
    }

    #[test]
    fn every_single_bit_counts_and_so_does_what_is_cut_or_added() {
        let path = written(&token(7, Destination::Kept([5; 16])), "a.example");
        let octets = path.as_bytes();
        for at in 0..octets.len() {
            for bit in 0..8 {
                let mut altered = octets.to_vec();
                altered[at] ^= 1 << bit;
                assert_eq!(std::str::from_utf8(&altered).ok().and_then(|p| Token::read(p, secret)), None, "{at} {bit}");
            }
            assert_eq!(Token::read(&path[..at], secret), None);
        }
        for more in ["A", "=", "/", " ", "AAAA"] {
            assert_eq!(Token::read(&format!("{path}{more}"), secret), None);
        }
        assert!(Token::read(&path, secret).is_some());
    }

    #[test]
    fn another_tenants_key_another_months_and_one_too_old_sign_nothing() {
        let good = token(7, Destination::Written("https://a.example/".into()));
        let with = |secret: Secret| good.write("a.example", &Key::new(&secret));
        assert!(Token::read(&with(secret(good.tenant, good.key)), secret).is_some());
        assert_eq!(Token::read(&with(secret(TenantId(Uuid::from_u128(8)), good.key)), secret), None);
        assert_eq!(Token::read(&with(secret(good.tenant, good.key + 1)), secret), None);
        let of_an_old_key = Token { key: good.key - 20, ..good };
        assert_eq!(Token::read(&written(&of_an_old_key, "a.example"), secret), None);
    }

    #[test]
    fn a_host_is_shown_so_that_its_owner_is_seen() {
        for (host, as_shown) in [
            ("www.acme.example", "www.acme.example".to_owned()),
            ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example".to_owned()),
            ("[2001:db8::1]", "_2001_db8__1_".to_owned()),
            ("a'b\"c&d.example", "a_b_c_d.example".to_owned()),
            (
                &format!("{}evil.example", "www.mybank.example.".repeat(8)),
                format!("_.example.{}evil.example", "www.mybank.example.".repeat(2)),
            ),
        ] {
            assert_eq!(shown(host), as_shown, "{host}");
        }
    }
}
