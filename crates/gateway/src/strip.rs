//! Attachments that a policy wants taken out (docs/edits.md). What cannot be done wholly is not done: the message is held.

use crate::attribute::Attributed;
use crate::house::House;
use crate::limits;
use crate::receive::Received;
use mail::{Message, Replacement};
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout_at;
use verdict::strip::Stripped;
use verdict::{Content, Decision, Evidence, History, Proofs, Sender};

/// What stands in the place of each of them. Empties what the decision asks for where it cannot be.
pub(crate) async fn strip(
    house: &House,
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    proofs: &Proofs,
    decision: &mut Decision,
) -> Vec<Replacement> {
    if !decision.marks.strip {
        return Vec::new();
    }
    let planned = match why_not(house, attributed, received) {
        Some(why) => Err(why.to_owned()),
        None => planned(house, attributed, received, message, proofs, decision).await,
    };
    planned.unwrap_or_else(|why| {
        decision.hold_instead(format!("its attachments were to be taken out, which cannot be: {why}"));
        Vec::new()
    })
}

fn why_not(house: &House, attributed: &Attributed, received: &Received) -> Option<&'static str> {
    match () {
        () if attributed.probe.is_some() || attributed.visits > 1 => Some("it came a second time, or is a probe"),
        () if received.envelope.is_null_sender() => Some(mail::NULL_SENDER.why),
        () if house.arc.is_none() => Some("nothing could be sealed; set gateway.arc_key (docs/edits.md)"),
        () => None,
    }
}

async fn planned(
    house: &House,
    attributed: &Attributed,
    received: &Arc<Received>,
    message: &Message,
    proofs: &Proofs,
    decision: &Decision,
) -> Result<Vec<Replacement>, String> {
    let (connected, received, message, direction) =
        (attributed.connected.clone(), received.clone(), message.clone(), attributed.direction);
    let (lists, proofs, findings) = (house.lists.lists(), proofs.clone(), decision.strip.clone());
    let until = received.judged_by().min(Instant::now() + limits::INSPECT_BUDGET);
    // every attachment is looked into once more, by itself: elsewhere than where sockets are served
    let plan = tokio::task::spawn_blocking(move || {
        let sender = Sender::of(&message, &received.envelope, &proofs);
        let stripped = message.with_parts(|parts| {
            let evidence = Evidence {
                direction,
                envelope: &received.envelope,
                message: &message,
                parts,
                content: &Content::default(),
                classifier: None,
                proofs: &proofs,
                sender: &sender,
                history: &History::default(),
                lists: &lists,
                own_domains: &connected.tenant.domains,
                people: &connected.people,
                vips: &connected.vips,
            };
            verdict::strip::strip(&evidence, &findings)
        })?;
        let all: Vec<Replacement> =
            stripped.iter().enumerate().map(|(n, one)| replacement(n, one, &received.id)).collect();
        mail::may_replace(&received.raw, &all).map_err(|refusal| refusal.to_string())?;
        Ok(all)
    });
    match timeout_at(until.into(), plan).await {
        Ok(Ok(plan)) => plan,
        Ok(Err(_)) => Err("a detector panicked".into()),
        Err(_) => Err("there was no time left to look".into()),
    }
}

fn replacement(n: usize, one: &Stripped, journey: &str) -> Replacement {
    let named = if one.name.is_empty() { "(without a name)" } else { one.name.as_str() };
    let shown = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect::<String>();
    let why: Vec<String> = one.why.iter().take(5).map(|w| format!("Why:      {}", shown(w))).collect();
    let text = format!(
        "An attachment was taken out of this message, since it is not safe to open.\n\nName:     {}\nType:     {}\nSize:     {} octets\nSHA-256:  {}\n{}\n\nIt is not kept. If you need it, ask the sender for it another way; your administrator\nfinds the message under this reference: {journey}\n",
        shown(named),
        shown(&one.content_type),
        one.octets,
        one.sha256,
        why.join("\n"),
    );
    Replacement { part: one.place, text, file_name: format!("attachment-removed-{}.txt", n + 1) }
}
