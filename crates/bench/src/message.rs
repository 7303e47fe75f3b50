//! What is sent: a message as Exchange Online hands it over after its first pass, DKIM-signed by its sender, of a
//! given size, with a number in its Message-ID by which the sink knows it again.

use crate::world::{CONTOSO, SENDER_DOMAIN};
use anyhow::{Context, Result};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::KeyPair as _;
use base64::{Engine, engine::general_purpose::STANDARD};
use mail_auth::crypto::{RsaKey, Sha256};
use mail_auth::dkim::DkimSigner;
use mail_auth::headers::HeaderWriter;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Before the number, in every message.
pub const TOKEN: &str = "bench-";
/// Run and number, eight hexadecimal digits each.
pub const TOKEN_DIGITS: usize = 16;
/// The sink looks no further for the token: our own fields and Exchange Online's stand above it.
pub const HEADER_OCTETS_MAX: usize = 16 * 1024;
/// From here on a message has an attachment.
const ATTACHMENT_FROM_OCTETS: usize = 10 * 1024;
/// What multipart, boundaries and field names take around text and attachment.
const FRAME_OCTETS: usize = 900;

/// The sender's key: what signs, and what stands in DNS.
pub struct Signer {
    private: Vec<u8>,
    pub record: String,
}

impl Signer {
    pub fn new() -> Result<Signer> {
        let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).context("RSA key")?;
        let public: aws_lc_rs::encoding::PublicKeyX509Der<'static> = key.public_key().as_der().context("RSA key")?;
        let private: aws_lc_rs::encoding::Pkcs8V1Der<'static> = key.as_der().context("RSA key")?;
        let record = format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public.as_ref()));
        Ok(Signer { private: private.as_ref().to_vec(), record })
    }

    /// Signs what RFC 6376 §5.4.1 asks for but the Message-ID, which is another in every copy.
    fn sign(&self, raw: &str) -> Result<String> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.private.clone()));
        let key = RsaKey::<Sha256>::from_key_der(der).context("RSA key")?;
        let signer = DkimSigner::from_key(key).domain(SENDER_DOMAIN).selector("s1");
        let signed = signer.headers(["From", "To", "Subject", "Date", "MIME-Version", "Content-Type"]);
        Ok(signed.sign(raw.as_bytes()).context("DKIM signature")?.to_header())
    }
}

/// One message of which any number of copies can be sent.
#[derive(Clone)]
pub struct Specimen {
    raw: Vec<u8>,
    token_at: usize,
}

impl Specimen {
    /// Of about `octets` all in all; never smaller than its header.
    pub fn new(octets: usize, signer: &Signer, route_token: &str) -> Result<Specimen> {
        let mut wanted = octets.saturating_sub(2200);
        let mut made = Specimen::of_content(wanted, signer, route_token)?;
        // the header's size is known only now
        let off = made.raw.len() as i64 - octets as i64;
        wanted = usize::try_from(wanted as i64 - off).unwrap_or(0);
        if off.unsigned_abs() > 64 {
            made = Specimen::of_content(wanted, signer, route_token)?;
        }
        Ok(made)
    }

    fn of_content(octets: usize, signer: &Signer, route_token: &str) -> Result<Specimen> {
        let zeros = "0".repeat(TOKEN_DIGITS);
        let content = if octets < ATTACHMENT_FROM_OCTETS { two_texts(octets) } else { with_attachment(octets) };
        let raw = format!(
            "From: Pat Partner <pat@{SENDER_DOMAIN}>\r\nTo: Anna <anna@{CONTOSO}>\r\nSubject: Figures of the quarter\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{TOKEN}{zeros}@{SENDER_DOMAIN}>\r\nMIME-Version: 1.0\r\n{content}"
        );
        let raw = first_pass(route_token) + &signer.sign(&raw)? + &raw;
        let at = raw.find(&format!("{TOKEN}{zeros}")).context("the message has no token")? + TOKEN.len();
        Ok(Specimen { raw: raw.into_bytes(), token_at: at })
    }

    pub fn octets(&self) -> usize {
        self.raw.len()
    }
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// `BDAT n LAST` and the message, ready for [`Specimen::number`].
    pub fn wire(&self) -> (Vec<u8>, usize) {
        let mut wire = format!("BDAT {} LAST\r\n", self.raw.len()).into_bytes();
        let at = wire.len() + self.token_at;
        wire.extend_from_slice(&self.raw);
        (wire, at)
    }
}

/// Writes run and number over the digits at `at`.
pub fn number(wire: &mut [u8], at: usize, run: u32, n: u32) {
    wire[at..at + TOKEN_DIGITS].copy_from_slice(format!("{run:08x}{n:08x}").as_bytes());
}

/// Run and number of a message, from its first octets.
pub fn read_number(head: &[u8]) -> Option<(u32, u32)> {
    let at = memchr::memmem::find(head, TOKEN.as_bytes())? + TOKEN.len();
    let digits = std::str::from_utf8(head.get(at..at + TOKEN_DIGITS)?).ok()?;
    let (run, n) = digits.split_at(8);
    Some((u32::from_str_radix(run, 16).ok()?, u32::from_str_radix(n, 16).ok()?))
}

/// The fields that Exchange Online and the tenant's rule write on top.
fn first_pass(route_token: &str) -> String {
    let id = crate::world::tenant_id();
    format!(
        "Received: from mail.{SENDER_DOMAIN} (127.0.0.1) by exchange.example (127.0.0.1) with Microsoft SMTP\r\n Server id 15.20.1; Tue, 24 Nov 2026 09:00:01 +0000\r\nX-MS-Exchange-CrossTenant-Id: {id}\r\nX-Posthouse-Route: {route_token}\r\nX-Forefront-Antispam-Report: CIP:127.0.0.1;CTRY:;LANG:en;SCL:1;SRV:;IPV:NLI;SFV:NSPM;H:;PTR:;CAT:NONE;SFS:;DIR:INB;\r\nAuthentication-Results: spf=pass (sender IP is 127.0.0.1) smtp.mailfrom={SENDER_DOMAIN}; dkim=pass (signature was verified) header.d={SENDER_DOMAIN};dmarc=pass action=none header.from={SENDER_DOMAIN};compauth=pass reason=100\r\n"
    )
}

fn plain(octets: usize) -> String {
    prose(octets, |line| format!("{line}\r\n"))
}

fn html(octets: usize) -> String {
    let link = format!("<p>All of it is on <a href=\"https://www.{SENDER_DOMAIN}/q\">our site</a>.</p>\r\n");
    prose(octets.saturating_sub(link.len()), |line| format!("<p>{line}</p>\r\n")) + &link
}

/// Lines of which none is like the one before.
fn prose(octets: usize, line: impl Fn(&str) -> String) -> String {
    const WORDS: [&str; 16] = [
        "figures",
        "quarter",
        "the",
        "with",
        "department",
        "new",
        "of",
        "and",
        "customers",
        "we",
        "send",
        "report",
        "for",
        "meeting",
        "plan",
        "thanks",
    ];
    let (mut text, mut random) = (String::with_capacity(octets + 80), Random(7));
    while text.len() < octets {
        let words: Vec<&str> = (0..9).map(|_| WORDS[random.next() as usize % WORDS.len()]).collect();
        text += &line(&words.join(" "));
    }
    text
}

fn two_texts(octets: usize) -> String {
    let half = octets.saturating_sub(FRAME_OCTETS / 2) / 2;
    format!(
        "Content-Type: multipart/alternative; boundary=\"=_alternative\"\r\n\r\n--=_alternative\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}--=_alternative\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{}--=_alternative--\r\n",
        plain(half),
        html(half)
    )
}

fn with_attachment(octets: usize) -> String {
    const TEXT_OCTETS: usize = 3000;
    let rest = octets.saturating_sub(2 * TEXT_OCTETS + FRAME_OCTETS);
    let mut random = Random(11);
    let attachment: Vec<u8> = (0..rest * 76 / 78 * 3 / 4).map(|_| random.next()).collect();
    let coded = STANDARD.encode(attachment);
    let mut lines = String::with_capacity(rest + 80);
    for line in coded.as_bytes().chunks(76) {
        lines += &String::from_utf8_lossy(line);
        lines += "\r\n";
    }
    let texts = two_texts(2 * TEXT_OCTETS);
    format!(
        "Content-Type: multipart/mixed; boundary=\"=_mixed\"\r\n\r\n--=_mixed\r\n{texts}--=_mixed\r\nContent-Type: application/pdf; name=figures.pdf\r\nContent-Disposition: attachment; filename=figures.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{lines}--=_mixed--\r\n"
    )
}

/// xorshift: the same octets in every run, and nothing that compresses.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u8
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_specimen_has_its_size_and_its_number() {
        let signer = Signer::new().unwrap();
        for octets in [4 * 1024, 50 * 1024, 1024 * 1024] {
            let specimen = Specimen::new(octets, &signer, "v1;x;y;in").unwrap();
            assert!(specimen.octets().abs_diff(octets) < 200, "{octets}: {}", specimen.octets());
            let (mut wire, at) = specimen.wire();
            number(&mut wire, at, 3, 0xabc);
            assert_eq!(read_number(&wire), Some((3, 0xabc)));
        }
    }
}
