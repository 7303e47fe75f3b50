//! What people read: tables and sentences. Every one has its JSON beside it.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;
use store::{Alert, DeliveryState, Held, HoldReason, JourneyEntry};
use tenant::Tenant;
use verdict::{Decision, Measure};

/// A table as every listing here looks.
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings);
    if std::env::var_os("COLUMNS").is_none() && !table.is_tty() {
        table.set_width(140);
    }
    for row in rows {
        table.add_row(row);
    }
    // what people copy must not be broken over lines
    for (n, heading) in headings.iter().enumerate() {
        if let Some(column) =
            table.column_mut(n).filter(|_| matches!(*heading, "journey" | "id" | "when (UTC)" | "since (UTC)"))
        {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// Prints `value` as JSON, or `text`, as the person asked.
pub fn print(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(value)?);
    } else {
        println!("{}", text());
    }
    Ok(())
}

/// Text from mail may hold anything; a terminal must not obey it.
pub fn safe(text: &str) -> String {
    let harmless = |c: char| match c {
        '\t' => ' ',
        // also those by which text is turned round (Unicode 9, bidirectional controls)
        _ if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => '\u{fffd}',
        _ => c,
    };
    text.chars().map(harmless).collect()
}

pub fn short(text: &str, length: usize) -> String {
    let text = safe(text);
    if text.chars().count() <= length {
        text
    } else {
        text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
    }
}

pub fn way(direction: Option<tenant::Direction>) -> String {
    direction
        .map_or("?", |d| match d {
            tenant::Direction::Inbound => "in",
            tenant::Direction::Outbound => "out",
        })
        .into()
}

fn millis(entry: &JourneyEntry) -> f64 {
    entry.steps.iter().map(|s| s.micros).sum::<u64>() as f64 / 1000.0
}

fn at(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn why(entry: &JourneyEntry) -> String {
    match (&entry.decision, entry.findings.first()) {
        (Some(decision), _) if !decision.reasons.is_empty() => decision.reasons.join("; "),
        (_, Some(finding)) => finding.summary.clone(),
        _ => entry.reply.clone(),
    }
}

pub fn trace(entries: &[JourneyEntry]) -> String {
    if entries.is_empty() {
        return "no journeys match".into();
    }
    let rows = entries.iter().map(|e| {
        [
            at(e.started),
            e.id.clone(),
            way(e.direction),
            short(&e.sender, 40),
            short(&e.recipients.join(", "), 50),
            short(e.subject.as_deref().unwrap_or(""), 40),
            e.outcome.to_string(),
            format!("{:.1}", millis(e)),
        ]
    });
    table(["when (UTC)", "journey", "way", "sender", "recipients", "subject", "outcome", "ms"], rows).to_string()
}

/// One journey in the order in which it happened.
pub fn explain(entry: &JourneyEntry, tenant: Option<&Tenant>) -> String {
    let mut out = vec![format!("journey {} · {} · {}", entry.id, at(entry.started), entry.outcome)];
    let name = tenant.map(|t| format!("{} ({})", t.display_name, t.id)).or(entry.tenant.map(|t| t.to_string()));
    out.push(format!(
        "  came from   {} as tenant {}, {}",
        entry.peer,
        name.as_deref().unwrap_or("nobody we know"),
        way(entry.direction)
    ));
    out.push(format!("  envelope    <{}> → {}", safe(&entry.sender), safe(&entry.recipients.join(", "))));
    out.push(format!(
        "  message     {} · {} · {} bytes",
        safe(entry.message_id.as_deref().unwrap_or("no Message-ID")),
        safe(entry.subject.as_deref().unwrap_or("no subject")),
        entry.bytes
    ));
    if entry.visits > 1 {
        out.push(format!("  visits      {}: a routing rule of this tenant lost its exception", entry.visits));
    }
    for (who, proofs) in [("Microsoft said", &entry.proofs.microsoft), ("we verified", &entry.proofs.own)] {
        let said: Vec<_> = proofs
            .iter()
            .map(|p| {
                format!("{}={}{}", p.method, p.result, p.domain.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())
            })
            .collect();
        if !said.is_empty() {
            out.push(format!("  {who:<15} {}", safe(&said.join(", "))));
        }
    }
    for anomaly in &entry.anomalies {
        out.push(format!("  anomaly     {anomaly}"));
    }
    out.extend(entry.findings.iter().flat_map(finding));
    for engine in &entry.engines {
        let said = engine.fault.as_deref().map_or_else(|| "answered".to_owned(), safe);
        out.push(format!("  scanner     {}: {said} ({:.1} ms)", engine.engine, engine.micros as f64 / 1000.0));
    }
    out.extend(entry.decision.iter().flat_map(decision));
    for edit in &entry.edits {
        out.push(format!("  edit        {}", safe(edit)));
    }
    if let Some(held) = &entry.held {
        out.push(format!("  held as     {held}  (posthouse held show {held})"));
    }
    if let Some(returned) = &entry.returned {
        out.push(format!("  Microsoft   {}", safe(returned)));
    }
    out.push(format!("  we answered {}", safe(&entry.reply)));
    let steps: Vec<_> = entry.steps.iter().map(|s| format!("{} {:.1}", s.step, s.micros as f64 / 1000.0)).collect();
    out.push(format!("  ms          {} = {:.1}", steps.join(" + "), millis(entry)));
    if entry.findings.is_empty() && entry.decision.is_some() {
        out.push("  nothing was found against it".into());
    } else if entry.decision.is_none() {
        out.push(format!("  it was not judged: {}", safe(&why(entry))));
    }
    out.join("\n")
}

/// Under what is told of a journey; who clicked is not known.
pub fn clicks(clicks: &[store::Click]) -> String {
    let one = |c: &store::Click| {
        let (times, last) = (c.times, at(c.last));
        format!("\n  clicked     {}: {times} times, last {last}: {}", c.result, short(&c.url, 120))
    };
    clicks.iter().map(one).collect()
}

pub fn finding(finding: &verdict::Finding) -> Vec<String> {
    let points = if finding.points > 0 { format!(", {} points", finding.points) } else { String::new() };
    let mut out = vec![format!(
        "  finding     [{:?}, {}{points}] {}: {}",
        finding.severity,
        finding.category.as_str(),
        finding.detector,
        safe(&finding.summary)
    )];
    out.extend(finding.details.iter().map(|d| format!("                · {}", safe(d))));
    out
}

/// What was decided, for what, by which rule, and what would have changed it.
pub fn decision(decision: &Decision) -> Vec<String> {
    let done = Measure { verdict: decision.verdict, marks: decision.marks };
    let would = decision.would.map(|w| format!("; the policy is only watched, else it would have {}", w.would()));
    let mut out = vec![format!("  decision    {done} · {}{}", decision.category.as_str(), would.unwrap_or_default())];
    out.extend(decision.redirect_to.iter().map(|to| format!("  redirected  to {}", safe(to))));
    if !decision.notify.is_empty() {
        out.push(format!("  notified    {}", safe(&decision.notify.join(", "))));
    }
    out.extend(decision.reasons.iter().map(|r| format!("                · {}", safe(r))));
    let because = &decision.because;
    if !because.is_empty() {
        out.push(format!("  because     {} ({} points)", safe(&because.rule), because.points));
        out.extend(because.otherwise.iter().map(|o| format!("                · {}", safe(o))));
    }
    out
}

pub fn held(list: &[Held], ends: &[jiff::Timestamp]) -> String {
    if list.is_empty() {
        return "nothing is held".into();
    }
    let rows = list.iter().zip(ends).map(|(h, ends)| {
        let first = h.hold.envelope.recipients.first().map_or("", |r| r.address.as_str());
        let more = h.hold.envelope.recipients.len().saturating_sub(1);
        [
            at(h.at),
            h.id.clone(),
            way(Some(h.hold.direction)),
            held_as(h).to_owned(),
            short(h.hold.from.as_deref().unwrap_or(&h.hold.envelope.sender), 40),
            short(first, 40) + &if more > 0 { format!(" and {more} more") } else { String::new() },
            short(h.hold.subject.as_deref().unwrap_or(""), 40),
            short(&h.hold.why.join("; "), 80),
            at(*ends),
        ]
    });
    table(["since (UTC)", "id", "way", "held as", "from", "for", "subject", "why", "deleted (UTC)"], rows).to_string()
}

fn held_as(held: &Held) -> &'static str {
    match (held.hold.reason, held.hold.category) {
        (HoldReason::Judged, Some(category)) => category.as_str(),
        (HoldReason::Judged, None) => "judged",
        (HoldReason::RefusedForNow, _) => "refused for now",
        (HoldReason::RefusedForGood, _) => "refused for good",
    }
}

pub fn held_one(held: &Held, ends: jiff::Timestamp, header: &str) -> String {
    let recipients: Vec<_> = held.hold.envelope.recipients.iter().map(|r| r.address.clone()).collect();
    let list = |all: &[String]| all.iter().map(|w| format!("\n  · {}", safe(w))).collect::<String>();
    let because = match held.hold.because.is_empty() {
        true => String::new(),
        false => format!(
            "\nbecause {} ({} points){}",
            safe(&held.hold.because.rule),
            held.hold.because.points,
            list(&held.hold.because.otherwise)
        ),
    };
    let malware = if held.hold.malware { "\nit holds malware: it leaves only by `posthouse held archive`" } else { "" };
    format!(
        "held {} since {} as {}, deleted {} · {} bytes · journey {}\nfrom <{}> to {}{malware}\nwhy{}{because}\n\n{}",
        held.id,
        at(held.at),
        held_as(held),
        at(ends),
        held.bytes,
        held.hold.journey,
        safe(&held.hold.envelope.sender),
        safe(&recipients.join(", ")),
        list(&held.hold.why),
        header.lines().map(safe).collect::<Vec<_>>().join("\n")
    )
}

/// As a terminal can show it, whatever stands in it.
pub fn preview(seen: &quarantine::Preview) -> String {
    let mut out = Vec::new();
    let mut row = |what: &str, text: String| {
        if !text.is_empty() {
            out.push(format!("{what:<14}{}", safe(&text)));
        }
    };
    row("From", seen.from.join(", "));
    row("Sent by", seen.sender.clone());
    row("Answers go to", seen.reply_to.join(", "));
    row("To", seen.to.join(", "));
    row("Subject", seen.subject.clone());
    for a in &seen.attachments {
        row("Attachment", format!("{} ({}, {} octets)", a.name, a.content_type, a.octets));
    }
    out.push(String::new());
    out.extend(seen.text.lines().map(safe));
    if seen.is_cut {
        out.push("…".into());
    }
    out.join("\n")
}

pub fn reports(list: &[store::Report]) -> String {
    if list.is_empty() {
        return "nobody reported anything".into();
    }
    let rows = list.iter().map(|r| {
        let hold = &r.said.hold;
        [
            at(r.at),
            r.id.clone(),
            short(&r.reporter, 40),
            hold.category.map_or("not judged", verdict::Category::as_str).to_owned(),
            short(hold.from.as_deref().unwrap_or(&hold.envelope.sender), 40),
            short(hold.subject.as_deref().unwrap_or(""), 40),
            short(&r.said.note, 80),
        ]
    });
    table(["when (UTC)", "id", "by", "held as", "from", "subject", "note"], rows).to_string()
}

pub fn digests(list: &[quarantine::Digest], told: &[String], has_links: bool) -> String {
    if list.is_empty() {
        return "there is nothing to tell anybody".into();
    }
    let mut out = Vec::new();
    for (n, digest) in list.iter().enumerate() {
        out.push(format!("{}: {}", safe(&digest.to), told.get(n).map_or("would be sent", String::as_str)));
        for e in &digest.entries {
            let links = match (has_links, e.may_release, e.malware) {
                (false, ..) | (_, _, true) => "no links",
                (_, true, _) => "look, release, delete",
                (_, false, _) => "look, delete",
            };
            let category = e.category.map_or("not judged", verdict::Category::as_str);
            out.push(format!(
                "  {} {category} · {} · {} · {links}",
                at(e.at),
                short(&e.from, 40),
                short(&e.subject, 60)
            ));
        }
    }
    if !has_links {
        out.push("there are no links: [web] is not configured".into());
    }
    out.join("\n")
}

/// Each target once, with what became of the newest notice there.
fn told(alert: &Alert) -> String {
    let mut newest: Vec<&store::Delivery> = Vec::new();
    for delivery in alert.deliveries.iter().rev() {
        if newest.iter().all(|d| d.target != delivery.target) {
            newest.push(delivery);
        }
    }
    let one = |d: &&store::Delivery| match d.state {
        DeliveryState::Delivered => format!("{}: told", short(&d.target, 40)),
        DeliveryState::Waiting if d.tries == 0 => format!("{}: waits", short(&d.target, 40)),
        DeliveryState::Waiting => {
            format!("{}: waits after {} tries, {}", short(&d.target, 40), d.tries, short(&d.said, 60))
        }
        DeliveryState::Failed => format!("{}: NOT TOLD, {}", short(&d.target, 40), short(&d.said, 60)),
        DeliveryState::Withheld => format!("{}: withheld, {}", short(&d.target, 40), short(&d.said, 60)),
    };
    newest.iter().rev().map(one).collect::<Vec<_>>().join("\n")
}

pub fn alerts(list: &[Alert]) -> String {
    if list.is_empty() {
        return "no alerts".into();
    }
    let rows = list.iter().map(|a| {
        [
            a.id.to_string(),
            at(a.last),
            format!("{:?}", a.severity),
            format!("{:?}", a.kind),
            a.tenant.map(|t| t.to_string()).unwrap_or_default(),
            a.count.to_string(),
            short(&a.subject, 60),
            short(&a.ended.map_or_else(String::new, |end| format!("OVER since {}: ", at(end))), 40)
                + &short(&a.text, 160),
            told(a),
        ]
    });
    let headings =
        ["id", "last (UTC)", "severity", "kind", "tenant", "times", "about", "what happened and what to do", "told"];
    table(headings, rows).to_string()
}

pub fn tested(list: &[control::notify::Tested]) -> String {
    let row = |t: &control::notify::Tested| {
        [t.target.clone(), if t.taken { "taken" } else { "NOT TAKEN" }.into(), safe(&t.said)]
    };
    table(["target", "", "it said"], list.iter().map(row)).to_string()
}

pub fn tenants(list: &[Tenant]) -> String {
    if list.is_empty() {
        return "no tenants; connect one with: posthouse tenant connect".into();
    }
    let rows = list.iter().map(|t| {
        [
            t.label.clone(),
            t.display_name.clone(),
            t.id.to_string(),
            match t.closed.is_empty() {
                true => format!("{:?}", t.routing),
                false => "OFF by the watchdog".into(),
            },
            t.policy.fail_open_after_minutes.map_or_else(|| "never".into(), |m| format!("after {m} min")),
            t.connector_domain.clone(),
            t.domains.join(", "),
        ]
    });
    table(["label", "name", "id", "routing", "fail-open", "connector domain", "domains"], rows).to_string()
}

/// A tenant without its secrets.
pub fn tenant_json(tenant: &Tenant) -> serde_json::Value {
    serde_json::json!({
        "id": tenant.id, "label": tenant.label, "display_name": tenant.display_name, "initial_domain": tenant.initial_domain,
        "domains": tenant.domains, "connector_domain": tenant.connector_domain, "return_host": tenant.return_host,
        "routing": tenant.routing, "closed_by_watchdog": tenant.closed, "policy": tenant.policy,
    })
}

pub fn acts(list: &[store::Act]) -> String {
    if list.is_empty() {
        return "nothing was done yet".into();
    }
    let row = |a: &store::Act| {
        [at(a.at), a.seq.to_string(), safe(&a.who), a.act.clone(), a.tenant.clone(), short(&a.detail, 100)]
    };
    table(["when (UTC)", "no.", "who", "act", "tenant", "detail"], list.iter().map(row)).to_string()
}

pub fn receipts(list: &[(jiff::Timestamp, store::Receipt)]) -> String {
    if list.is_empty() {
        return "nothing was done in this tenant yet".into();
    }
    let row = |(when, r): &(jiff::Timestamp, store::Receipt)| {
        let plan = if r.plan.is_empty() { "-".into() } else { r.plan.clone() };
        [at(*when), r.by.clone(), plan, r.step.clone(), r.call.clone(), short(&r.answer, 60)]
    };
    table(["when (UTC)", "by", "plan", "step", "call", "answer"], list.iter().map(row)).to_string()
}

pub fn fail_open(tenant: &Tenant) -> String {
    let name = &tenant.display_name;
    match tenant.policy.fail_open_after_minutes {
        None => format!("{name}: fail-open is off; whatever happens to the gateway, mail waits for it"),
        Some(minutes) => format!(
            "{name}: when the gateway has been failing for {minutes} min, `posthouse watchdog` turns routing off, and mail is delivered unchecked until the way is proven again. It must run as a process of its own: posthouse status {} says whether it does",
            tenant.label
        ),
    }
}

pub fn rollout(tenant: &Tenant) -> String {
    let groups = |list: &[String]| if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
    format!(
        "{} wishes: inbound {:?}, outbound {:?}; pilot groups {}; left out {}\n`posthouse plan {}` shows what that changes",
        tenant.display_name,
        tenant.rollout.inbound,
        tenant.rollout.outbound,
        groups(&tenant.rollout.pilot_groups),
        groups(&tenant.rollout.excluded_groups),
        tenant.label
    )
}
