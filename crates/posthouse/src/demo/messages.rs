//! The messages of the demo: each a real one in its kind, with what must become of it.

use tenant::Direction;

/// What is expected of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Arrives at every recipient, untouched.
    Arrives,
    /// Arrives untouched, or is held with a finding.
    Either,
    /// Is held, for a reason that names this detector.
    HeldBy(&'static str),
}

/// One message to send.
pub struct Message {
    pub name: String,
    pub direction: Direction,
    pub sender: String,
    pub recipients: Vec<String>,
    /// Mailboxes in which it must be found afterwards (a group's members instead of the group).
    pub mailboxes: Vec<String>,
    pub raw: Vec<u8>,
    pub smtputf8: bool,
    pub expected: Expected,
}

/// Who is who in the simulated tenant.
pub struct Cast {
    pub users: Vec<(String, String)>,
    pub group: String,
    pub members: Vec<String>,
    /// clamd and rspamd run beside the gateway.
    pub has_scanners: bool,
}

fn head(from: &str, to: &str, subject: &str, id: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{id}@demo.example>\r\nMIME-Version: 1.0\r\n"
    )
}

fn text(from: &str, to: &str, subject: &str, id: &str, body: &str) -> Vec<u8> {
    format!(
        "{}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n",
        head(from, to, subject, id)
    )
    .into_bytes()
}

fn with_attachment(from: &str, to: &str, subject: &str, id: &str, name: &str, base64: &str) -> Vec<u8> {
    let mut lines = String::new();
    for line in base64.as_bytes().chunks(76) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push_str("\r\n");
    }
    format!(
        "{}Content-Type: multipart/mixed; boundary=\"=_demo\"\r\n\r\nThis is a multi-part message in MIME format.\r\n--=_demo\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nPlease find the file attached.\r\n--=_demo\r\nContent-Type: application/octet-stream; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{lines}--=_demo--\r\n",
        head(from, to, subject, id)
    )
    .into_bytes()
}

/// The EICAR test file in base64, put together here so that no scanner takes this file for it.
fn eicar_base64() -> String {
    use base64::Engine;
    let file = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    base64::engine::general_purpose::STANDARD.encode(file)
}

/// Every message of the demo, in the order in which they are sent.
pub fn all(cast: &Cast) -> Vec<Message> {
    use base64::Engine;
    let user = |n: usize| cast.users[n % cast.users.len()].1.clone();
    let (anna, bert, cora) = (user(1), user(2), user(3));
    let boss = &cast.users[4 % cast.users.len()];
    let picture = base64::engine::general_purpose::STANDARD
        .encode((0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<u8>>());
    let partner = "Pat Partner <pat@acme.example>";
    let inbound = |name: &str, sender: &str, to: &[&String], raw: Vec<u8>, expected| Message {
        name: name.into(),
        direction: Direction::Inbound,
        sender: sender.into(),
        recipients: to.iter().map(|t| (*t).clone()).collect(),
        mailboxes: to.iter().map(|t| (*t).clone()).collect(),
        raw,
        smtputf8: false,
        expected,
    };
    let outbound = |name: &str, to: &[&str], raw: Vec<u8>, expected| Message {
        name: name.into(),
        direction: Direction::Outbound,
        sender: anna.clone(),
        recipients: to.iter().map(|t| (*t).to_owned()).collect(),
        mailboxes: to.iter().map(|t| (*t).to_owned()).collect(),
        raw,
        smtputf8: false,
        expected,
    };
    let ours = format!("{} <{anna}>", cast.users[1 % cast.users.len()].0);
    use Expected::{Arrives, HeldBy};
    let mut list = vec![
        inbound(
            "plain text",
            "pat@acme.example",
            &[&anna],
            text(
                partner,
                &anna,
                "Lunch on Friday",
                "plain-in",
                "Shall we meet at noon?\r\n.a line that begins with a dot\r\nPat",
            ),
            Arrives,
        ),
        inbound(
            "multipart with attachment",
            "pat@acme.example",
            &[&anna],
            with_attachment(partner, &anna, "The drawings", "attachment-in", "drawings.bin", &picture),
            Arrives,
        ),
        inbound(
            "8-bit text",
            "pat@acme.example",
            &[&bert],
            text(
                partner,
                &bert,
                "Gruesse",
                "eight-bit-in",
                "Grüße aus Köln – für 20 € gibt es zwei Stück.\r\n日本語も届きます。",
            ),
            Arrives,
        ),
        inbound(
            "several recipients",
            "pat@acme.example",
            &[&anna, &bert, &cora],
            text(partner, &format!("{anna}, {bert}, {cora}"), "Minutes", "several-in", "The minutes, for all of you."),
            Arrives,
        ),
        inbound("null-sender bounce", "", &[&cora], bounce(&cora), Arrives),
        inbound("calendar invitation", "pat@acme.example", &[&anna], calendar(partner, &anna), Arrives),
        inbound("S/MIME signed", "pat@acme.example", &[&bert], smime(partner, &bert), Arrives),
        inbound(
            "EICAR attachment",
            "files@partner.example",
            &[&anna],
            with_attachment(
                "Files <files@partner.example>",
                &anna,
                "Your invoice",
                "eicar-in",
                "invoice.com",
                &eicar_base64(),
            ),
            HeldBy("eicar"),
        ),
        inbound(
            "display-name impersonation",
            "ceo.office@attacker.example",
            &[&cora],
            text(
                &format!("\"{}\" <ceo.office@attacker.example>", boss.0),
                &cora,
                "Urgent transfer",
                "impersonation-in",
                "Are you at your desk? I need a transfer done today.",
            ),
            HeldBy("impersonation"),
        ),
        inbound(
            "link that lies",
            "news@attacker.example",
            &[&bert],
            html(
                "Bank <news@attacker.example>",
                &bert,
                "Confirm your account",
                "link-in",
                "<p>Please sign in at <a href=\"http://login.evil.example/x\">https://www.mybank.example.com/login</a>.</p>",
            ),
            HeldBy("link_mismatch"),
        ),
        inbound(
            "forged mark",
            "ceo@attacker.example",
            &[&anna],
            forged(
                &anna,
                &with_attachment(
                    "Mallory <ceo@attacker.example>",
                    &anna,
                    "Already checked, trust me",
                    "forged-in",
                    "update.com",
                    &eicar_base64(),
                ),
            ),
            HeldBy("eicar"),
        ),
        inbound(
            "forged mark, harmless",
            "ceo@attacker.example",
            &[&bert],
            forged(
                &bert,
                &text("Mallory <ceo@attacker.example>", &bert, "Hello", "forged-harmless-in", "Nothing in here."),
            ),
            Arrives,
        ),
        outbound(
            "plain text",
            &["pat@acme.example"],
            text(&ours, "pat@acme.example", "Re: Lunch on Friday", "plain-out", "Noon is fine."),
            Arrives,
        ),
        outbound(
            "multipart with attachment",
            &["pat@acme.example"],
            with_attachment(&ours, "pat@acme.example", "Signed drawings", "attachment-out", "drawings.bin", &picture),
            Arrives,
        ),
        outbound(
            "two outside domains",
            &["pat@acme.example", "desk@newsletter.example"],
            text(&ours, "pat@acme.example, desk@newsletter.example", "Order", "two-out", "Vierzig Stück, bitte."),
            Arrives,
        ),
        outbound(
            "EICAR attachment",
            &["pat@acme.example"],
            with_attachment(&ours, "pat@acme.example", "Oops", "eicar-out", "oops.com", &eicar_base64()),
            HeldBy("eicar"),
        ),
    ];
    if cast.has_scanners {
        let mark = base64::engine::general_purpose::STANDARD.encode(engines::started::MARK);
        // rspamd.com/doc/gtube_patterns.html; in two halves, so that no scanner takes this file for it
        let gtube = ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"].concat();
        list.push(inbound(
            "only ClamAV knows it",
            "files@partner.example",
            &[&anna],
            with_attachment("Files <files@partner.example>", &anna, "The figures", "clamd-in", "figures.bin", &mark),
            HeldBy("clamd"),
        ));
        list.push(inbound(
            "only Rspamd knows it",
            "files@partner.example",
            &[&bert],
            text("Files <files@partner.example>", &bert, "Hello", "rspamd-in", &gtube),
            HeldBy("rspamd"),
        ));
    }
    let mut utf8 = inbound(
        "SMTPUTF8 addresses",
        "jürgen@acme.example",
        &[&anna],
        text("Jürgen <jürgen@acme.example>", &anna, "Über uns", "utf8-in", "Umlaute im Umschlag."),
        Arrives,
    );
    utf8.smtputf8 = true;
    list.insert(3, utf8);
    let mut group = inbound(
        "to a group",
        "pat@acme.example",
        &[&cast.group],
        text(partner, &cast.group, "Season's greetings", "group-in", "To everybody in the group."),
        Arrives,
    );
    group.mailboxes = cast.members.clone();
    list.insert(5, group);
    list
}

fn html(from: &str, to: &str, subject: &str, id: &str, body: &str) -> Vec<u8> {
    format!(
        "{}Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>{body}</body></html>\r\n",
        head(from, to, subject, id)
    )
    .into_bytes()
}

/// What an attacker would send who has read our source but not the tenant's secret.
fn forged(to: &str, raw: &[u8]) -> Vec<u8> {
    let _ = to;
    let guess = "0".repeat(64);
    let mark = format!(
        "X-Posthouse-Pass: v1;00000000-0000-0000-0000-000000000000;{guess};in\r\nX-Posthouse-Route: v1;00000000-0000-0000-0000-000000000000;{guess};in\r\n"
    );
    [mark.as_bytes(), raw].concat()
}

fn bounce(to: &str) -> Vec<u8> {
    format!(
        "From: Mail Delivery System <MAILER-DAEMON@mx.acme.example>\r\nTo: {to}\r\nSubject: Undelivered Mail Returned to Sender\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <bounce-in@demo.example>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"=_dsn\"\r\n\r\n--=_dsn\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n--=_dsn\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.acme.example\r\n\r\nFinal-Recipient: rfc822; gone@acme.example\r\nAction: failed\r\nStatus: 5.1.1\r\n--=_dsn--\r\n"
    )
    .into_bytes()
}

fn calendar(from: &str, to: &str) -> Vec<u8> {
    format!(
        "{}Content-Type: multipart/alternative; boundary=\"=_cal\"\r\n\r\n--=_cal\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nYou are invited.\r\n--=_cal\r\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nPRODID:-//demo//EN\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:demo-1\r\nDTSTAMP:20261124T090000Z\r\nDTSTART:20261127T110000Z\r\nDTEND:20261127T120000Z\r\nSUMMARY:Lunch\r\nORGANIZER:mailto:pat@acme.example\r\nATTENDEE;RSVP=TRUE:mailto:{to}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n--=_cal--\r\n",
        head(from, to, "Invitation: Lunch", "calendar-in")
    )
    .into_bytes()
}

/// The structure of RFC 8551 §3.5.3.3; one changed byte would break a signature, so this is about bytes.
fn smime(from: &str, to: &str) -> Vec<u8> {
    format!(
        "{}Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256;\r\n\tboundary=\"=_smime\"\r\n\r\nThis is a cryptographically signed message.\r\n\r\n--=_smime\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nTrailing space=20\r\nand a tab=09\r\n\r\n--=_smime\r\nContent-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\nMIIGDwYJKoZIhvcNAQcCoIIGADCCBfwCAQExDzANBglghkgBZQMEAgEFADALBgkqhkiG9w0BBwGg\r\n--=_smime--\r\n",
        head(from, to, "Signed contract", "smime-in")
    )
    .into_bytes()
}
