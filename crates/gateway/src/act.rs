//! Step 7: the decision is carried out. Held: stored durably, before anybody is told so. Passed: our own fields on
//! top, the edits that the tenant wants (docs/edits.md), everything else as it came (house law: bytes that we did not
//! decide to change come back identical).

use crate::attribute::Attributed;
use crate::decide::Decided;
use crate::edits;
use crate::ended::Stop;
use crate::faults::Fault;
use crate::house::House;
use crate::limits;
use crate::metrics::Stored;
use crate::receive::Received;
use aws_lc_rs::digest::{SHA256, digest};
use mail::{Edit, Envelope, Message, Pieces, Recipient, Replacement};
use std::sync::Arc;
use store::{HoldReason, NewHold};
use tenant::{Direction, HEADER_ID, HEADER_PASS, HEADER_PREFIX, HEADER_PROBE, HEADER_VERDICT, Tenant};
use verdict::{Because, Decision, Proofs, Verdict};

pub(crate) enum Action {
    HandBack(WayBack),
    /// Under this id.
    Held(String),
    Rejected,
    Deleted,
}

/// What goes back, and for whom.
pub(crate) struct WayBack {
    pub raw: Pieces,
    /// What was edited, and what was not and why.
    pub edits: Vec<String>,
    pub envelope: Envelope,
    /// What was decided and taken out, for those, too, who get it later.
    pub marks: verdict::Marks,
    pub taken_out: Vec<Replacement>,
    /// Who gets it instead of whom it was for.
    pub redirected_to: Option<String>,
}

pub(crate) async fn act(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    proofs: &Proofs,
    decided: &Decided,
) -> Result<Action, Stop> {
    match decided.decision.verdict {
        Verdict::Pass | Verdict::Redirect => {
            let verdict = if decided.judged { "pass" } else { "unjudged" };
            let marks = Marks {
                tenant: attributed.tenant(),
                direction: attributed.direction,
                id: &received.id,
                verdict,
                keep_probe: attributed.probe.is_some(),
            };
            let mut all = own_fields(&marks, &received_field(house, received));
            let case = edits::Case {
                tenant: attributed.tenant(),
                journey: &received.id,
                direction: attributed.direction,
                is_probe: attributed.probe.is_some(),
                visits: attributed.visits,
                null_sender: received.envelope.is_null_sender(),
                is_suspicious: decided.is_suspicious,
                marks: decided.decision.marks,
            };
            let wanted = edits::wanted(house, &case);
            all.extend(wanted.edits);
            if !decided.replacements.is_empty() {
                all.push(Edit::Replace(decided.replacements.clone()));
            }
            let (raw, mut told) = edits::carried_out(house, &received.raw, all, wanted.links.as_ref(), proofs).await;
            told.extend(wanted.left);
            let (envelope, redirected_to) = redirected(received, &decided.decision);
            told.extend(redirected_to.as_ref().map(|to| format!("redirected to {to}")));
            let (marks, taken_out) = (decided.decision.marks, decided.replacements.clone());
            Ok(Action::HandBack(WayBack { raw, edits: told, envelope, marks, taken_out, redirected_to }))
        }
        Verdict::Hold => {
            let hold = judged(attributed, received, message, received.envelope.clone(), decided, &decided.decision);
            let held = hold_it(house, &hold, received, &[]).await;
            held.map(Action::Held).map_err(|fault| Stop::of(&fault, Some(attributed.id()), &received.id))
        }
        Verdict::Reject => Ok(Action::Rejected),
        Verdict::Delete => {
            let deleted = delete(house, attributed, received, message, &decided.decision).await;
            deleted.map_err(|fault| Stop::of(&fault, Some(attributed.id()), &received.id))?;
            Ok(Action::Deleted)
        }
    }
}

/// Holds it for those who do not get it while others do; what goes on is for the rest. Under which id it is held.
pub(crate) async fn set_apart(
    house: &House,
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    decided: &Decided,
) -> Result<(Arc<Received>, Option<String>), Stop> {
    if decided.apart.is_empty() {
        return Ok((received.clone(), None));
    }
    let (mut rest, mut held) = (received.envelope.clone(), None);
    for apart in &decided.apart {
        let recipients = apart.recipients.iter().map(|n| received.envelope.recipients[*n].clone()).collect();
        let envelope = Envelope { recipients, ..received.envelope.clone() };
        rest.recipients.retain(|r| !envelope.recipients.contains(r));
        let mut hold = judged(attributed, received, message, envelope, decided, &apart.decision);
        if apart.is_personal {
            // what they may do with it is theirs alone
            hold.key += "-own-list";
        }
        let id = hold_it(house, &hold, received, &[]).await;
        held = Some(id.map_err(|fault| Stop::of(&fault, Some(attributed.id()), &received.id))?);
    }
    Ok((Arc::new(Received { envelope: rest, ..Received::clone(received) }), held))
}

fn judged(
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    envelope: Envelope,
    decided: &Decided,
    decision: &Decision,
) -> NewHold {
    let why = decision.reasons.clone();
    NewHold {
        category: Some(decision.category),
        because: decision.because.clone(),
        malware: decided.malware || decision.category == tenant::Category::Malware,
        ..new_hold(attributed, received, message, envelope, HoldReason::Judged, why)
    }
}

/// The envelope with which it goes back. What the sender asked to hear of deliveries he asked of others.
fn redirected(received: &Received, decision: &Decision) -> (Envelope, Option<String>) {
    match decision.redirect_to.as_ref().filter(|_| decision.verdict == Verdict::Redirect) {
        Some(to) => {
            let recipients = vec![Recipient { notify: Some("NEVER".into()), ..Recipient::new(to.clone()) }];
            (Envelope { recipients, ..received.envelope.clone() }, Some(to.clone()))
        }
        None => (received.envelope.clone(), None),
    }
}

/// What is thrown away leaves a line in the log of acts, written before anybody hears that it was taken: the journal is
/// forgotten after a while, and may be late.
async fn delete(
    house: &House,
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    decision: &Decision,
) -> Result<(), Fault> {
    let detail = format!(
        "journey {}, Message-ID {}, of <{}> for {} recipients: {}: {}",
        received.id,
        message.message_id().as_deref().unwrap_or("none"),
        received.envelope.sender,
        received.envelope.recipients.len(),
        decision.because.rule,
        decision.reasons.join("; ")
    );
    let act = house.store.put_act("gateway", "message deleted by policy", Some(attributed.id()), &detail);
    let writing = house.metrics.stored(Stored::Act, act);
    match tokio::time::timeout_at(received.deadlines().commands.into(), writing).await {
        Ok(written) => written.map_err(|e| Fault::Store(e.to_string())),
        // refused for now: when it comes again, it is decided again
        Err(_) => Err(Fault::Late("act")),
    }
}

/// What we write on top of a message that goes back.
pub(crate) struct Marks<'a> {
    pub tenant: &'a Tenant,
    pub direction: Direction,
    pub id: &'a str,
    pub verdict: &'a str,
    pub keep_probe: bool,
}

/// The first is topmost.
pub(crate) fn own_fields(marks: &Marks<'_>, received: &str) -> Vec<Edit> {
    vec![
        Edit::add("Received", received),
        Edit::add(HEADER_PASS, marks.tenant.pass_mark(marks.direction)),
        Edit::add(HEADER_VERDICT, marks.verdict),
        Edit::add(HEADER_ID, marks.id),
        own_fields_away(marks.keep_probe),
    ]
}

pub(crate) fn own_fields_away(keep_probe: bool) -> Edit {
    Edit::RemoveNamed {
        prefix: HEADER_PREFIX.into(),
        except: if keep_probe { vec![HEADER_PROBE.into()] } else { Vec::new() },
    }
}

/// RFC 5321 §4.4; the words "by <hostname> (Posthouse)" are what the loop guard counts.
fn received_field(house: &House, received: &Received) -> String {
    let protocol = if received.envelope.smtputf8 { "UTF8SMTPS" } else { "ESMTPS" };
    let when = date(received.at);
    let named = |c: &char| c.is_ascii_alphanumeric() || ".-_:[]".contains(*c);
    let helo: String = received.helo.chars().filter(named).take(limits::HELO_OCTETS_MAX).collect();
    let (ip, by) = (received.peer.ip(), &house.settings.hostname);
    format!("from {helo} ([{ip}]) by {by} (Posthouse) with {protocol} id {}; {when}", received.id)
}

/// RFC 5322 §3.3
pub(crate) fn date(at: jiff::Timestamp) -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_string(&at).unwrap_or_default()
}

/// A message that waits here, for exactly these recipients.
pub(crate) fn new_hold(
    attributed: &Attributed,
    received: &Received,
    message: &Message,
    envelope: Envelope,
    reason: HoldReason,
    why: Vec<String>,
) -> NewHold {
    NewHold {
        tenant: attributed.id(),
        direction: attributed.direction,
        journey: received.id.clone(),
        key: key(&received.raw, &envelope, message.message_id().as_deref(), reason),
        envelope,
        reason,
        why,
        message_id: message.message_id(),
        subject: message.subject(),
        from: message.from_address(),
        probe: attributed.probe.is_some(),
        category: None,
        because: Because::default(),
        malware: false,
        marks: verdict::Marks::default(),
    }
}

/// Secrets that rode on the message do not rest on the disk: our own fields are taken off, and put on again at release.
/// What was taken out for others who have it already comes to nobody later either.
pub(crate) async fn hold_it(
    house: &House,
    hold: &NewHold,
    received: &Received,
    taken_out: &[Replacement],
) -> Result<String, Fault> {
    let by = received.deadlines();
    // where some have it already, being late is better than a second copy for them
    let due = if hold.reason == HoldReason::Judged { by.commands } else { by.end_of_data };
    let raw = &received.raw;
    let mut kept = vec![own_fields_away(hold.probe)];
    kept.extend((!taken_out.is_empty()).then(|| Edit::Replace(taken_out.to_vec())));
    let bare = mail::apply(raw, &kept);
    let holding = house.metrics.stored(Stored::Hold, house.store.hold(hold, &bare));
    match tokio::time::timeout_at(due.into(), holding).await {
        Ok(held) => held.map_err(|e| Fault::Store(e.to_string())),
        // whether it is held or not: when it comes again, it is the same one
        Err(_) => Err(Fault::Late("act")),
    }
}

/// The same message is the same hold, so that a retry after a lost answer stores nothing twice, and the parts into which
/// Exchange Online splits one are one. Fields above the body differ between two tries, hence body and Message-ID. What
/// was refused for some is theirs alone: the others have it.
fn key(raw: &[u8], envelope: &Envelope, message_id: Option<&str>, reason: HoldReason) -> String {
    let mut people: Vec<&str> = match reason {
        HoldReason::Judged => Vec::new(),
        _ => envelope.recipients.iter().map(|r| r.address.as_str()).collect(),
    };
    people.sort_unstable();
    let body = &raw[mail::HeaderSection::of(raw).body_start()..];
    let mut all =
        format!("{reason:?}\0{}\0{}\0{}\0", envelope.sender, people.join("\0"), message_id.unwrap_or_default())
            .into_bytes();
    all.extend_from_slice(digest(&SHA256, body).as_ref());
    digest(&SHA256, &all).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}
