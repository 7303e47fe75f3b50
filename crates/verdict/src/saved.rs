//! A message that lies in a file, judged as if it came in now: who brought it from where stands in its own header.

use crate::custom::Facts;
use crate::strip::{self, Stripped};
use crate::{Content, CustomRules, Decision, Evidence, Finding, History, Proofs, Who, decide, detectors};
use bytes::Bytes;
use mail::{Envelope, Message};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use tenant::{Direction, Members, Policy, Rules, Sender};

/// A saved message.
#[derive(Clone, Debug)]
pub struct Saved {
    pub message: Message,
    pub envelope: Envelope,
    /// Microsoft's results as they stand in it; signatures are not verified again, keys of then may be gone.
    pub proofs: Proofs,
    /// Who handed it in, as its header says.
    pub client: Option<IpAddr>,
    pub direction: Direction,
}

/// The tenant for whom saved mail is judged; by default nobody in particular.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    pub policy: Policy,
    /// Empty: those of each message's recipients.
    pub domains: Vec<String>,
    pub people: HashMap<String, String>,
    /// Of the groups that the policy names.
    pub members: Members,
    /// The policy's own rules, compiled.
    pub custom: Arc<CustomRules>,
}

impl Ground {
    /// Other rules from now on, the tenant's own among them.
    pub fn set_rules(&mut self, rules: Rules) {
        self.custom = Arc::new(CustomRules::of(&rules.custom).0);
        self.policy.rules = rules;
    }
}

impl Saved {
    /// Takes lines that end in LF alone, as files have them.
    pub fn read(file: Vec<u8>) -> Saved {
        let message = Message::parse(as_sent(file));
        let origin = Origin::of(&message);
        let proofs = Proofs::stated(&message);
        Saved {
            envelope: Envelope::new(origin.sender, origin.recipient),
            proofs,
            client: origin.client,
            direction: Direction::Inbound,
            message,
        }
    }

    /// The domains of those who received it.
    pub fn recipient_domains(&self) -> Vec<String> {
        self.envelope.recipients.iter().filter_map(|r| domain_of(&r.address)).collect()
    }

    /// What today's detectors see in it, and what the policy makes of that at so many seconds since 1970.
    pub fn judge(&self, ground: &Ground, now: i64) -> (Vec<Finding>, Decision) {
        let own = if ground.domains.is_empty() { self.recipient_domains() } else { ground.domains.clone() };
        let (mut findings, facts) =
            self.looked(&own, &ground.people, |evidence| (detectors::inspect(evidence), ground.custom.facts(evidence)));
        findings.extend(ground.custom.look(facts, &findings));
        let from = self.message.from_address().unwrap_or_default();
        let who = Who {
            direction: self.direction,
            sender: Sender { envelope: &self.envelope.sender, from: &from, client: self.client },
            recipients: self.envelope.recipients.iter().map(|r| r.address.as_str()).collect(),
            personal: tenant::Listed::No,
            proven: domain_of(&from).is_some_and(|domain| self.proofs.prove(&domain)),
            members: Some(&ground.members),
            now,
        };
        let mut decision = decide(&findings, &ground.policy, &who);
        if decision.marks.strip
            && let Err(why) = self.may_strip(&own, &decision.strip)
        {
            decision.hold_instead(format!("its attachments were to be taken out, which cannot be: {why}"));
        }
        (findings, decision)
    }

    /// What today's detectors see in it.
    pub fn findings(&self, own_domains: &[String], people: &HashMap<String, String>) -> Vec<Finding> {
        self.looked(own_domains, people, detectors::inspect)
    }

    /// Which attachments have to go where these findings are to be stripped.
    pub fn strip(&self, own_domains: &[String], findings: &[Finding]) -> Result<Vec<Stripped>, String> {
        self.looked(own_domains, &HashMap::new(), |evidence| strip::strip(evidence, findings))
    }

    fn may_strip(&self, own_domains: &[String], findings: &[Finding]) -> Result<(), String> {
        let stripped = self.strip(own_domains, findings)?;
        let all: Vec<mail::Replacement> = stripped
            .iter()
            .map(|s| mail::Replacement { part: s.place, text: String::new(), file_name: String::new() })
            .collect();
        mail::may_replace(self.message.raw(), &all).map_err(|refusal| refusal.to_string())
    }

    /// What these rules look at of it.
    pub fn facts(&self, custom: &CustomRules, own_domains: &[String]) -> Facts {
        self.looked(own_domains, &HashMap::new(), |evidence| custom.facts(evidence))
    }

    fn looked<R>(
        &self,
        own_domains: &[String],
        people: &HashMap<String, String>,
        look: impl FnOnce(&Evidence<'_>) -> R,
    ) -> R {
        let sender = crate::Sender::of(&self.message, &self.envelope, &self.proofs);
        self.message.with_parts(|parts| {
            look(&Evidence {
                direction: self.direction,
                envelope: &self.envelope,
                message: &self.message,
                parts,
                content: &Content::of(parts),
                classifier: None,
                proofs: &self.proofs,
                sender: &sender,
                history: &History::default(),
                lists: &crate::Lists::default(),
                vips: &HashSet::new(),
                own_domains,
                people,
            })
        })
    }
}

/// A file whose lines end in LF becomes the CRLF of mail; one with CRLF, also a mixed one, stays as it is. The line that
/// a mailbox file puts before each message (RFC 4155) is no part of it.
pub fn as_sent(mut file: Vec<u8>) -> Bytes {
    if file.starts_with(b"From ") {
        let line = file.iter().position(|b| *b == b'\n').map_or(file.len(), |n| n + 1);
        file.drain(..line);
    }
    let lines = file.iter().filter(|b| **b == b'\n').count();
    if lines == 0 || file.windows(2).any(|w| w == b"\r\n") {
        return file.into();
    }
    let mut out = Vec::with_capacity(file.len() + lines);
    for byte in file {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out.into()
}

/// Envelope and client of a saved message, from its own header; what does not stand there is `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Empty for the null sender.
    pub sender: String,
    pub recipient: Option<String>,
    /// Who handed it to the server that received it from outside.
    pub client: Option<IpAddr>,
    /// What that client called itself.
    pub helo: Option<String>,
}

impl Origin {
    pub fn of(message: &Message) -> Origin {
        let top = |name: &str| message.header_values(name).into_iter().next();
        let received = message.header_values("Received");
        let client = client(&top, &received);
        let helo = client.and_then(|ip| received.iter().find(|r| addresses(from_clause(r)).any(|a| a == ip)));
        Origin {
            sender: sender(&top, message),
            recipient: recipient(&top, &received),
            client,
            helo: helo.and_then(|r| from_clause(r).split_whitespace().nth(1)).map(str::to_owned),
        }
    }
}

fn sender(top: &dyn Fn(&str) -> Option<String>, message: &Message) -> String {
    // RFC 5321 §4.4: the final delivery writes it down
    if let Some(path) = top("Return-Path") {
        return address_in(&path).unwrap_or_default();
    }
    let results = top("Authentication-Results").unwrap_or_default();
    let mail_from = after(&results, "smtp.mailfrom=").filter(|v| *v != "none");
    match mail_from {
        Some(whole) if whole.contains('@') => whole.to_owned(),
        // Microsoft writes the domain alone
        Some(domain) => match message.from_address().filter(|a| domain_of(a).as_deref() == Some(domain)) {
            Some(from) => from,
            None => format!("bounces@{domain}"),
        },
        None => message.from_address().filter(|a| a.contains('@')).unwrap_or_default(),
    }
}

fn recipient(top: &dyn Fn(&str) -> Option<String>, received: &[String]) -> Option<String> {
    let named = ["Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To"];
    let delivered = named.iter().find_map(|name| address_in(&top(name)?));
    let served = || received.iter().find_map(|r| address_in(r.split_once(" for ")?.1.split(';').next()?));
    delivered.or_else(served).or_else(|| address_in(&top("To")?))
}

fn client(top: &dyn Fn(&str) -> Option<String>, received: &[String]) -> Option<IpAddr> {
    let results = top("Authentication-Results").unwrap_or_default();
    let report = top("X-Forefront-Antispam-Report").unwrap_or_default();
    let spf = top("Received-SPF").unwrap_or_default();
    let stated = [after(&results, "sender IP is "), after(&report, "CIP:"), after(&spf, "client-ip=")];
    let stated = stated.into_iter().flatten().find_map(|v| v.parse().ok());
    let sender_ip = || top("X-Sender-IP")?.trim().parse().ok();
    stated.or_else(sender_ip).or_else(|| received.iter().flat_map(|r| addresses(from_clause(r))).find(is_public))
}

/// What follows a word, up to what ends a value.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = &text[text.find(word)? + word.len()..];
    rest.split(|c: char| c.is_whitespace() || ";)(".contains(c)).next().filter(|v| !v.is_empty())
}

/// RFC 5321 §4.4: `from NAME (NAME [ADDRESS]) by …`
fn from_clause(received: &str) -> &str {
    let clause = received.split(" by ").next().unwrap_or_default();
    if clause.trim_start().to_ascii_lowercase().starts_with("from ") { clause } else { "" }
}

fn addresses(clause: &str) -> impl Iterator<Item = IpAddr> + '_ {
    let ends = |c: char| c.is_whitespace() || "()[]@=".contains(c);
    clause.split(ends).filter_map(|word| word.trim_start_matches("IPv6:").parse().ok())
}

fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local()),
    }
}

fn address_in(text: &str) -> Option<String> {
    let inside = text.split_once('<').and_then(|(_, rest)| rest.split('>').next());
    let is_address =
        |word: &str| word.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let bare = || text.split(|c: char| c.is_whitespace() || ",;()\"".contains(c)).find(|w| is_address(w));
    inside.filter(|a| is_address(a)).or_else(bare).map(|a| a.trim().to_owned())
}

fn domain_of(address: &str) -> Option<String> {
    address.rsplit_once('@').map(|(_, d)| d.to_ascii_lowercase()).filter(|d| !d.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn origin(header: &str) -> String {
        let o = Origin::of(&Message::parse(as_sent(format!("{header}\n\nx\n").into_bytes())));
        let or_none = |v: Option<String>| v.unwrap_or_else(|| "-".into());
        let client = or_none(o.client.map(|ip| ip.to_string()));
        format!("<{}> to {} from {client} helo {}", o.sender, or_none(o.recipient), or_none(o.helo))
    }

    #[test]
    fn who_brought_a_saved_message_stands_in_its_header() {
        let cases = [
            // as Exchange Online leaves it
            "Received: from A.prod.outlook.com (2603:10b6::1) by B.prod.outlook.com with HTTPS\nAuthentication-Results: spf=pass (sender IP is 192.0.2.7)\n smtp.mailfrom=shop.example; dkim=none\nReceived: from mx.shop.example (192.0.2.7) by B.outlook.com (10.0.0.1) with\n SMTP\nReturn-Path: news@shop.example\nTo: Ada <ada@contoso.example>",
            // the null sender; what the client is called is not known
            "Return-Path: <>\nX-Forefront-Antispam-Report: CIP:2001:db8::5;CTRY:;SCL:1\nDelivered-To: ada@contoso.example",
            // no more than hops: the first from outside, read downwards
            "Received: from localhost (localhost [127.0.0.1]) by in.example\nReceived: from out.example (root@[198.51.100.9]) by in.example for <bob@in.example>; Mon\nReceived: from pc (pc [203.0.113.4]) by out.example\nFrom: Eve <eve@out.example>",
            "Authentication-Results: spf=none smtp.mailfrom=other.example\nFrom: a@b.example\nTo: \"x, y\" <x@y.example>",
            "Received: nonsense by by from (;\nSubject: nothing else",
        ];
        let text: String = cases.iter().map(|c| origin(c) + "\n").collect();
        insta::assert_snapshot!(text, @"
        <news@shop.example> to ada@contoso.example from 192.0.2.7 helo mx.shop.example
        <> to ada@contoso.example from 2001:db8::5 helo -
        <eve@out.example> to bob@in.example from 198.51.100.9 helo out.example
        <bounces@other.example> to x@y.example from - helo -
        <> to - from - helo -
        ");
    }

    #[test]
    fn lines_of_files_become_lines_of_mail() {
        let cases = ["a\nb\n", "a\r\nb\n", "a", "", "From x Mon\na: b\n"];
        let sent: Vec<Bytes> = cases.iter().map(|c| as_sent(c.as_bytes().to_vec())).collect();
        assert_eq!(sent, ["a\r\nb\r\n", "a\r\nb\n", "a", "", "a: b\r\n"]);
    }
}
