//! What a custom rule may look at. The table is the one list of it: expressions are checked against it, values are made
//! by it, and docs/rules.md is written from it. Every list and text has a bound, since what an expression may cost is
//! worked out from them before it is ever run.

use crate::content::files::{File, FileKind, Trait, is_file};
use crate::content::urls::{Place, Within};
use crate::limits::*;
use crate::{AuthResult, Evidence, Finding, History, Mailbox, Proofs};
use cel::Value;
use cel::objects::Key;
use mail::{Address, Message};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tenant::Direction;

/// What a value is, and its bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    Int,
    /// At most so many octets.
    Text(usize),
    /// At most so many of them.
    List(usize, &'static Kind),
    Record(&'static [Field]),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub prose: &'static str,
}

/// One name that an expression knows.
pub(crate) struct Variable {
    pub name: &'static str,
    pub kind: Kind,
    pub prose: &'static str,
    pub source: Source,
}

/// Where its value comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// `None`: not known of this message. True: digests are asked for.
    Message(fn(&Seen<'_>, bool) -> Option<Value>),
    /// What was found before the custom rules.
    Findings(fn(&[Finding]) -> Value),
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What there is to look at: all of a message, or what the journal keeps of one.
pub struct Seen<'a> {
    pub direction: Direction,
    pub octets: u64,
    pub mail_from: &'a str,
    pub recipients: Vec<&'a str>,
    pub from: &'a str,
    pub reply_to: Vec<&'a str>,
    pub subject: &'a str,
    pub proofs: &'a Proofs,
    pub history: Option<&'a History>,
    /// The message itself, where it is there.
    pub whole: Option<&'a Evidence<'a>>,
}

const fn field(name: &'static str, kind: Kind, prose: &'static str) -> Field {
    Field { name, kind, prose }
}

const NAME: Kind = Kind::Text(RULE_NAME_OCTETS_MAX);
const WORD: Kind = Kind::Text(RULE_WORD_OCTETS_MAX);

const MAILBOX: Kind = Kind::Record(&[
    field("address", NAME, "as it is written"),
    field("domain", NAME, "in lower case, A-labels (`xn--…`)"),
    field("site", NAME, "what one organisation owns of the domain, by the public suffix list"),
]);
const HEADER: Kind = Kind::Record(&[
    field("name", WORD, "in lower case"),
    field("value", Kind::Text(RULE_VALUE_OCTETS_MAX), "unfolded, as it is written"),
]);
const URL: Kind = Kind::Record(&[
    field("url", Kind::Text(RULE_VALUE_OCTETS_MAX), "behind known rewriting services"),
    field("host", NAME, "in lower case"),
    field("site", NAME, "what one organisation owns of the host"),
    field("text", NAME, "what a link shows"),
    field("place", WORD, "`link`, `form`, `refresh`, `frame`, `image`, `text` or `calendar`"),
    field("within", WORD, "`body`, `nested` (an attached message) or `attachment`"),
]);
const FILE: Kind = Kind::Record(&[
    field("name", NAME, "without folders"),
    field("claimed", WORD, "the type that its part claims; empty inside archives"),
    field(
        "type",
        WORD,
        "what it is by its octets: `program`, `script`, `shortcut`, `internet_shortcut`, `disk_image`, `onenote`, `zip`, `7z`, `rar`, `tar`, `gzip`, `archive`, `document`, `compound`, `rtf`, `pdf`, `html`, `svg`, `calendar`, `picture`, `text` or `data`",
    ),
    field("size", Kind::Int, "octets; 0 where it could not be opened"),
    field("depth", Kind::Int, "0: attached; 1: inside an attachment; and so on"),
    field("path", NAME, "from the outside in: `a.zip → b.exe`"),
    field("encrypted", Kind::Bool, "an archive, Office file or PDF that asks for a password"),
    field("sha256", WORD, "of an attachment, 64 digits in lower case; empty inside archives"),
]);
const AUTHENTICATION: Kind = Kind::Record(&[
    field("spf", WORD, "Microsoft's result, else our own: `pass`, `fail`, `none`, …; empty where nobody said"),
    field("dkim", WORD, "the best of several"),
    field("dmarc", WORD, ""),
    field("compauth", WORD, "Microsoft's composite result"),
    field("proven", Kind::Bool, "SPF, DKIM or DMARC passed for the organisation in From"),
    field("scl", Kind::Int, "spam confidence level of Microsoft's first pass; -2 where it is not stated"),
    field("bcl", Kind::Int, "bulk complaint level; -1 where it is not stated"),
    field("country", WORD, "of the client, as Microsoft says: `DE`"),
]);
const FINDING: Kind = Kind::Record(&[
    field("detector", WORD, "as in docs/verdicts.md; engines as in docs/engines.md"),
    field("category", WORD, "as in a policy: `malware`, `phishing`, …"),
    field("severity", WORD, "`note`, `suspicious` or `malicious`"),
    field("points", Kind::Int, ""),
]);

pub(crate) const MODEL: &[Variable] = &[
    Variable {
        name: "direction",
        kind: WORD,
        prose: "`inbound` or `outbound`",
        source: Source::Message(|seen, _| Some(text(seen.direction.as_str(), RULE_WORD_OCTETS_MAX))),
    },
    Variable {
        name: "size",
        kind: Kind::Int,
        prose: "octets of the message",
        source: Source::Message(|seen, _| Some(int(seen.octets))),
    },
    Variable {
        name: "mail_from",
        kind: MAILBOX,
        prose: "the envelope's sender; empty of the null sender",
        source: Source::Message(|seen, _| Some(mailbox(seen.mail_from))),
    },
    Variable {
        name: "recipients",
        kind: Kind::List(RULE_PEOPLE_MAX, &NAME),
        prose: "of the envelope, in lower case. Exchange Online may hand the parts of one message over one by one",
        source: Source::Message(|seen, _| {
            Some(list(RULE_PEOPLE_MAX, seen.recipients.iter().map(|r| name(&r.to_lowercase()))))
        }),
    },
    Variable {
        name: "from",
        kind: MAILBOX,
        prose: "the first mailbox of From",
        source: Source::Message(|seen, _| Some(mailbox(seen.from))),
    },
    Variable {
        name: "from_name",
        kind: NAME,
        prose: "its display name",
        source: Source::Message(|seen, _| {
            Some(name(seen.whole?.message.from().first().map_or("", |a| a.display.as_str())))
        }),
    },
    Variable {
        name: "reply_to",
        kind: Kind::List(RULE_REPLIES_MAX, &MAILBOX),
        prose: "mailboxes of Reply-To",
        source: Source::Message(|seen, _| Some(list(RULE_REPLIES_MAX, seen.reply_to.iter().map(|a| mailbox(a))))),
    },
    Variable {
        name: "to",
        kind: Kind::List(RULE_PEOPLE_MAX, &NAME),
        prose: "addresses in To and Cc, in lower case",
        source: Source::Message(|seen, _| {
            let shown = seen.whole?.message.shown_recipients().iter();
            Some(list(RULE_PEOPLE_MAX, shown.map(|a| name(&a.address.to_lowercase()))))
        }),
    },
    Variable {
        name: "subject",
        kind: Kind::Text(RULE_VALUE_OCTETS_MAX),
        prose: "decoded",
        source: Source::Message(|seen, _| Some(text(seen.subject, RULE_VALUE_OCTETS_MAX))),
    },
    Variable {
        name: "text",
        kind: Kind::Text(RULE_TEXT_OCTETS_MAX),
        prose: "what a reader sees, hidden text and attachments left out",
        source: Source::Message(|seen, _| Some(text(&seen.whole?.content.text, RULE_TEXT_OCTETS_MAX))),
    },
    Variable {
        name: "headers",
        kind: Kind::List(RULE_HEADERS_MAX, &HEADER),
        prose: "fields of the header, from top to bottom",
        source: Source::Message(|seen, _| Some(headers(seen.whole?.message))),
    },
    Variable {
        name: "urls",
        kind: Kind::List(RULE_URLS_MAX, &URL),
        prose: "web addresses, wherever they stand",
        source: Source::Message(|seen, _| Some(urls(seen.whole?))),
    },
    Variable {
        name: "attachments",
        kind: Kind::List(RULE_FILES_MAX, &FILE),
        prose: "attached files, and files inside them",
        source: Source::Message(|seen, digests| Some(files(seen.whole?, digests))),
    },
    Variable {
        name: "authentication",
        kind: AUTHENTICATION,
        prose: "what is proven of the sender",
        source: Source::Message(|seen, _| Some(authentication(seen))),
    },
    Variable {
        name: "client",
        kind: WORD,
        prose: "address of the client that handed it to Microsoft; empty where it is not known",
        source: Source::Message(|seen, _| {
            Some(name(&seen.proofs.client.known().map(IpAddr::to_string).unwrap_or_default()))
        }),
    },
    Variable {
        name: "first_contact",
        kind: Kind::Bool,
        prose: "the tenant is known to have had nothing to do with the address in From",
        source: Source::Message(|seen, _| Some(Value::Bool(seen.history?.first_contact.known() == Some(&true)))),
    },
    Variable {
        name: "new_domain",
        kind: Kind::Bool,
        prose: "nor with anybody of its organisation",
        source: Source::Message(|seen, _| Some(Value::Bool(seen.history?.new_domain.known() == Some(&true)))),
    },
    Variable {
        name: "earlier_messages",
        kind: Kind::Int,
        prose: "of this address, that were passed on; 0 where that is not known",
        source: Source::Message(|seen, _| Some(int(seen.history?.messages.known().copied().unwrap_or(0)))),
    },
    Variable {
        name: "findings",
        kind: Kind::List(RULE_FINDINGS_MAX, &FINDING),
        prose: "what detectors and engines found; never what another custom rule did",
        source: Source::Findings(|findings| list(RULE_FINDINGS_MAX, findings.iter().map(finding))),
    },
    Variable {
        name: "points",
        kind: Kind::Int,
        prose: "of all findings together, whatever the policy makes of them",
        source: Source::Findings(|findings| int(findings.iter().map(|f| u64::from(f.points)).sum())),
    },
    Variable {
        name: "cut",
        kind: Kind::Bool,
        prose: "there was more of something than a rule is shown",
        source: Source::Message(|seen, _| Some(Value::Bool(is_cut(seen.whole?)))),
    },
];

/// One line of the model, as people read it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Described {
    /// `urls`, or `urls.host` of each.
    pub name: String,
    pub kind: String,
    pub prose: &'static str,
}

/// All that a rule sees.
pub fn described() -> Vec<Described> {
    let mut all = Vec::new();
    for v in MODEL {
        all.push(Described { name: v.name.into(), kind: v.kind.in_words(), prose: v.prose });
        all.extend(v.kind.fields().iter().map(|f| Described {
            name: format!("{}.{}", v.name, f.name),
            kind: f.kind.in_words(),
            prose: f.prose,
        }));
    }
    all
}

impl Kind {
    fn in_words(self) -> String {
        match self {
            Kind::Bool => "true or false".into(),
            Kind::Int => "number".into(),
            Kind::Text(max) => format!("text, {max} octets"),
            Kind::List(max, of) => format!("list of {max}: {}", of.in_words()),
            Kind::Record(_) => "record".into(),
        }
    }

    /// Of a record, or of each in a list.
    fn fields(self) -> &'static [Field] {
        match self {
            Kind::Record(fields) => fields,
            Kind::List(_, of) => of.fields(),
            _ => &[],
        }
    }
}

pub(crate) fn variable(name: &str) -> Option<&'static Variable> {
    MODEL.iter().find(|v| v.name == name)
}

fn int(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn text(text: &str, octets_max: usize) -> Value {
    let mut end = text.len().min(octets_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::String(Arc::new(text[..end].to_owned()))
}

fn name(value: &str) -> Value {
    text(value, RULE_NAME_OCTETS_MAX)
}

fn word(value: &str) -> Value {
    text(value, RULE_WORD_OCTETS_MAX)
}

fn list(max: usize, items: impl Iterator<Item = Value>) -> Value {
    Value::List(Arc::new(items.take(max).collect()))
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let map: HashMap<Key, Value> = fields.into_iter().map(|(k, v)| (Key::from(k), v)).collect();
    Value::Map(cel::objects::Map { map: Arc::new(map) })
}

fn mailbox(address: &str) -> Value {
    let read = Mailbox::of(&Address { display: String::new(), address: address.to_owned() });
    record([("address", name(&read.address)), ("domain", name(&read.domain)), ("site", name(&read.site))])
}

fn headers(message: &Message) -> Value {
    let one = |f: mail::Header<'_>| {
        record([("name", word(&f.name.to_ascii_lowercase())), ("value", text(&f.text(), RULE_VALUE_OCTETS_MAX))])
    };
    list(RULE_HEADERS_MAX, message.headers().fields().map(one))
}

fn urls(evidence: &Evidence<'_>) -> Value {
    let one = |u: &crate::content::urls::SeenUrl| {
        record([
            ("url", text(u.url.as_str(), RULE_VALUE_OCTETS_MAX)),
            ("host", name(&u.host)),
            ("site", name(&u.site)),
            ("text", name(&u.text)),
            ("place", word(place(u.place))),
            ("within", word(within(u.within))),
        ])
    };
    list(RULE_URLS_MAX, evidence.content.urls.iter().map(one))
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Link => "link",
        Place::Form => "form",
        Place::Refresh => "refresh",
        Place::Frame => "frame",
        Place::Image => "image",
        Place::Text => "text",
        Place::Calendar => "calendar",
    }
}

fn within(within: Within) -> &'static str {
    match within {
        Within::Body => "body",
        Within::Nested => "nested",
        Within::Attachment => "attachment",
    }
}

/// Files of depth 0 are the parts that are files, in their order.
fn files(evidence: &Evidence<'_>, digests: bool) -> Value {
    let mut parts = evidence.parts.iter().filter(|p| digests && is_file(p));
    let one = |f: &File| {
        let part = if f.depth == 0 { parts.next() } else { None };
        let digest = part.map(|p| Sha256::digest(&p.decoded).iter().map(|b| format!("{b:02x}")).collect::<String>());
        let is_encrypted = |t: &Trait| matches!(t, Trait::Encrypted | Trait::PasswordInText { .. });
        record([
            ("name", name(&f.name)),
            ("claimed", word(&f.claimed)),
            ("type", word(file_type(f.kind))),
            ("size", int(f.octets as u64)),
            ("depth", int(f.depth as u64)),
            ("path", name(&f.path)),
            ("encrypted", Value::Bool(f.traits.iter().any(is_encrypted))),
            ("sha256", word(&digest.unwrap_or_default())),
        ])
    };
    list(RULE_FILES_MAX, evidence.content.files.iter().map(one))
}

fn file_type(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Executable => "program",
        FileKind::Script => "script",
        FileKind::Shortcut => "shortcut",
        FileKind::InternetShortcut => "internet_shortcut",
        FileKind::DiskImage => "disk_image",
        FileKind::OneNote => "onenote",
        FileKind::Zip => "zip",
        FileKind::SevenZip => "7z",
        FileKind::Rar => "rar",
        FileKind::Tar => "tar",
        FileKind::Gzip => "gzip",
        FileKind::OtherArchive => "archive",
        FileKind::Document => "document",
        FileKind::Compound => "compound",
        FileKind::Rtf => "rtf",
        FileKind::Pdf => "pdf",
        FileKind::Html => "html",
        FileKind::Svg => "svg",
        FileKind::Calendar => "calendar",
        FileKind::Picture => "picture",
        FileKind::Text => "text",
        FileKind::Other => "data",
    }
}

/// A pass, if any of Microsoft's results or, where it says nothing, of ours is one; else the first.
fn result(proofs: &Proofs, method: &str) -> Value {
    let said = |results: &[AuthResult]| {
        let of_method: Vec<&AuthResult> = results.iter().filter(|r| r.method == method).collect();
        let best = of_method.iter().find(|r| r.result == "pass").or(of_method.first());
        best.map(|r| r.result.clone())
    };
    word(&said(&proofs.microsoft).or_else(|| said(&proofs.own)).unwrap_or_default())
}

fn authentication(seen: &Seen<'_>) -> Value {
    let proofs = seen.proofs;
    let domain = seen.from.rsplit_once('@').map_or("", |(_, d)| d);
    record([
        ("spf", result(proofs, "spf")),
        ("dkim", result(proofs, "dkim")),
        ("dmarc", result(proofs, "dmarc")),
        ("compauth", result(proofs, "compauth")),
        ("proven", Value::Bool(proofs.prove(domain))),
        ("scl", Value::Int(proofs.scl.map_or(-2, i64::from))),
        ("bcl", Value::Int(proofs.first_pass.bcl.map_or(-1, i64::from))),
        ("country", word(proofs.first_pass.country.as_deref().unwrap_or_default())),
    ])
}

fn finding(f: &Finding) -> Value {
    let severity = format!("{:?}", f.severity).to_lowercase();
    record([
        ("detector", word(&f.detector)),
        ("category", word(tenant::Kind::of(f.category).as_str())),
        ("severity", word(&severity)),
        ("points", int(f.points.into())),
    ])
}

fn is_cut(evidence: &Evidence<'_>) -> bool {
    let content = evidence.content;
    content.is_cut
        || content.text.len() > RULE_TEXT_OCTETS_MAX
        || content.urls.len() > RULE_URLS_MAX
        || content.files.len() > RULE_FILES_MAX
        || evidence.message.shown_recipients().len() > RULE_PEOPLE_MAX
        || evidence.message.headers().fields().nth(RULE_HEADERS_MAX).is_some()
}

impl<'a> Seen<'a> {
    pub fn of(evidence: &'a Evidence<'a>, from: &'a str, subject: &'a str) -> Seen<'a> {
        Seen {
            direction: evidence.direction,
            octets: evidence.message.raw().len() as u64,
            mail_from: &evidence.envelope.sender,
            recipients: evidence.envelope.recipients.iter().map(|r| r.address.as_str()).collect(),
            from,
            reply_to: evidence.message.reply_to().iter().map(|a| a.address.as_str()).collect(),
            subject,
            proofs: evidence.proofs,
            history: Some(evidence.history),
            whole: Some(evidence),
        }
    }
}
