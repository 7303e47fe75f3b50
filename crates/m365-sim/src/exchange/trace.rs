//! Message trace (wire.md 8.10; pages of Get-MessageTraceV2 and Get-MessageTraceDetailV2, 2026-08).
//!
//! Truncation is told by a warning only; the next question names the last row's time and recipient.

use super::objects::stamp_z;
use super::parameters::Parameters;
use super::run::{Run, row};
use super::{CmdletError, Output, Row};
use crate::limits;
use crate::world::{Tenant, TraceEntry, World};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::HashMap;
use uuid::Uuid;

/// Q39: the hundred-and-first trace within five minutes.
pub fn throttled(world: &World, tenant: Uuid, cmdlet: &str) -> Option<Response> {
    if !cmdlet.eq_ignore_ascii_case("Get-MessageTraceV2") {
        return None;
    }
    let now = world.clock.unix();
    let mut state = world.state();
    if !state.switches.message_trace_throttled {
        return None;
    }
    let t = state.tenants.iter_mut().find(|t| t.id == tenant)?;
    t.traces.retain(|at| *at > now - limits::TRACES_WINDOW_SECS);
    if t.traces.len() < limits::TRACES_MAX {
        t.traces.push(now);
        return None;
    }
    let wait = t.traces.first().map_or(1, |first| first + limits::TRACES_WINDOW_SECS - now).max(1);
    Some((StatusCode::TOO_MANY_REQUESTS, [("retry-after", wait.to_string())]).into_response())
}

pub fn execute(t: &Tenant, name: &str, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let entries: Vec<(usize, &TraceEntry)> =
        run.trace.iter().enumerate().filter(|(_, e)| e.tenant == Some(t.id)).collect();
    match name {
        "Get-MessageTraceV2" => trace(&entries, p, run),
        "Get-MessageTraceDetailV2" => detail(&entries, p, run),
        // recorded: 400 since it was retired; the text is assumed
        _ => Err(CmdletError::business(
            "System.InvalidOperationException",
            format!("{name} is no longer supported. Use Get-MessageTraceV2 instead."),
        )),
    }
}

fn invalid(text: String) -> CmdletError {
    CmdletError::business("Microsoft.Exchange.Management.Tasks.ValidationException", text)
}

/// Ten days at most, not more than ninety days back; the last 48 hours if nothing is said.
fn window(p: &Parameters, now: Timestamp) -> Result<(Timestamp, Timestamp), CmdletError> {
    let date = |name: &str| -> Result<Option<Timestamp>, CmdletError> {
        let Some(text) = p.text(name) else { return Ok(None) };
        let zoned = text.parse::<Timestamp>().ok();
        // without a zone it is UTC, with or without a time of day
        let zoned =
            zoned.or_else(|| format!("{text}Z").parse().ok()).or_else(|| format!("{text}T00:00:00Z").parse().ok());
        zoned.map(Some).ok_or_else(|| CmdletError::transformation(name, &text, "System.DateTime", &[]))
    };
    let days = |n: i64| SignedDuration::from_hours(24 * n);
    let back = |from: Timestamp, by: SignedDuration| from.checked_sub(by).unwrap_or(Timestamp::UNIX_EPOCH);
    let (start, end) = (date("StartDate")?, date("EndDate")?);
    let end = end
        .unwrap_or_else(|| start.map_or(now, |s| now.min(s.checked_add(days(limits::TRACE_SPAN_DAYS)).unwrap_or(now))));
    let start = start.unwrap_or_else(|| back(end, days(2)));
    if start > end {
        return Err(invalid("The StartDate can't be later than the EndDate.".into()));
    }
    if end.duration_since(start) > days(limits::TRACE_SPAN_DAYS) {
        return Err(invalid(format!(
            "The time between StartDate and EndDate can't be more than {} days.",
            limits::TRACE_SPAN_DAYS
        )));
    }
    if start < back(now, days(limits::TRACE_BACK_DAYS)) {
        return Err(invalid(format!("The StartDate can't be more than {} days ago.", limits::TRACE_BACK_DAYS)));
    }
    Ok((start, end))
}

/// `*` stands for any text.
fn like(pattern: &str, value: &str) -> bool {
    let (pattern, value) = (pattern.to_lowercase(), value.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = value.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// What the parameters let through.
struct Wanted<'p>(&'p Parameters);

impl Wanted<'_> {
    fn is(&self, key: &str, value: &str) -> bool {
        let wanted = self.0.list(key);
        let bare = |s: &str| s.trim_matches(['<', '>']).to_owned();
        wanted.is_empty() || wanted.iter().any(|w| like(&bare(w), &bare(value)))
    }
    fn takes(&self, e: &TraceEntry) -> bool {
        let id = |text: String| text.eq_ignore_ascii_case(&e.network_message_id);
        self.is("MessageId", &e.message_id)
            && self.is("RecipientAddress", &e.recipient)
            && self.is("SenderAddress", &e.sender)
            && self.0.text("MessageTraceId").is_none_or(id)
            && self.0.text("FromIP").is_none_or(|ip| ip == e.from_ip)
            && self.subject(&e.subject)
    }
    fn subject(&self, subject: &str) -> bool {
        let Some(wanted) = self.0.text("Subject").map(|s| s.to_lowercase()) else { return true };
        let subject = subject.to_lowercase();
        match self.0.text("SubjectFilterType").as_deref() {
            Some("StartsWith") => subject.starts_with(&wanted),
            Some("EndsWith") => subject.ends_with(&wanted),
            _ => subject.contains(&wanted),
        }
    }
}

/// One message to one recipient.
struct Line<'e> {
    first: &'e TraceEntry,
    status: &'e str,
    received: Timestamp,
}

/// One line a message and recipient: received when first seen, in the newest status. The trace counts seconds; its own
/// order makes the fraction, so that no two lines are received at the same time.
fn lines<'e>(entries: &[(usize, &'e TraceEntry)], wanted: &Wanted<'_>) -> Vec<Line<'e>> {
    let mut at: HashMap<(&str, &str), usize> = HashMap::new();
    let mut lines: Vec<Line<'e>> = Vec::new();
    for (n, entry) in entries.iter().filter(|(_, e)| wanted.takes(e)) {
        let key = (entry.network_message_id.as_str(), entry.recipient.as_str());
        if let Some(known) = at.get(&key) {
            lines[*known].status = &entry.status;
            continue;
        }
        let fraction = i32::try_from(n % 9_999_999).unwrap_or(0) * 100;
        at.insert(key, lines.len());
        lines.push(Line {
            first: entry,
            status: &entry.status,
            received: Timestamp::new(entry.at, fraction).unwrap_or(Timestamp::UNIX_EPOCH),
        });
    }
    lines
}

fn trace(entries: &[(usize, &TraceEntry)], p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let (start, end) = window(p, run.now)?;
    let size = match p.number("ResultSize").map(usize::try_from) {
        None => limits::TRACE_ROWS,
        Some(Ok(n)) if (1..=limits::TRACE_ROWS_MAX).contains(&n) => n,
        _ => return Err(invalid(format!("ResultSize must be between 1 and {}.", limits::TRACE_ROWS_MAX))),
    };
    let wanted = Wanted(p);
    // the seam: what the last page ended with comes again
    let from = p.text("StartingRecipientAddress").map(|a| a.to_lowercase());
    let before = |l: &Line<'_>| {
        l.received < end
            || l.received == end
                && from.as_ref().is_none_or(|f| l.first.recipient.to_lowercase().as_str() >= f.as_str())
    };
    let mut lines = lines(entries, &wanted);
    lines.retain(|l| l.received >= start && before(l) && wanted.is("Status", l.status));
    lines.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| a.first.recipient.cmp(&b.first.recipient)));
    let cut = lines.len() > size;
    lines.truncate(size);
    let mut output = Output::rows(lines.iter().map(show).collect());
    if let Some(last) = lines.last().filter(|_| cut) {
        output.warnings.push(format!(
            "There are more results, use the following command to get more. Get-MessageTraceV2 -StartDate \"{}\" -EndDate \"{}\" -StartingRecipientAddress \"{}\" -ResultSize {size}",
            exact(start), exact(last.received), last.first.recipient
        ));
    }
    Ok(output)
}

fn exact(at: Timestamp) -> String {
    format!("{}.{:07}Z", at.strftime("%Y-%m-%dT%H:%M:%S"), at.subsec_nanosecond() / 100)
}

fn show(line: &Line<'_>) -> Row {
    let e = line.first;
    row(
        json!({"MessageTraceId": e.network_message_id, "MessageId": format!("<{}>", e.message_id.trim_matches(['<', '>'])), "Received": exact(line.received), "SenderAddress": e.sender, "RecipientAddress": e.recipient, "FromIP": e.from_ip, "ToIP": "", "Subject": e.subject, "Status": line.status, "Size": e.size}),
    )
}

/// What became of one message for one recipient, oldest first.
fn detail(entries: &[(usize, &TraceEntry)], p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let (start, end) = match (p.get("StartDate"), p.get("EndDate")) {
        (None, None) => (Timestamp::UNIX_EPOCH, run.now),
        _ => window(p, run.now)?,
    };
    let wanted = Wanted(p);
    let inside = |e: &TraceEntry| (start.as_second()..=end.as_second()).contains(&e.at);
    let mut rows = Vec::new();
    for (_, e) in entries.iter().filter(|(_, e)| wanted.takes(e) && inside(e)) {
        let Some(event) = event(e) else { continue };
        if wanted.is("Event", event) {
            let at = Timestamp::from_second(e.at).map(stamp_z).unwrap_or_default();
            rows.push(row(
                json!({"MessageId": format!("<{}>", e.message_id.trim_matches(['<', '>'])), "MessageTraceId": e.network_message_id, "Date": at, "Event": event, "Action": "", "Detail": e.detail, "Data": "<root></root>"}),
            ));
        }
    }
    Ok(Output::rows(rows))
}

fn event(entry: &TraceEntry) -> Option<&'static str> {
    Some(match entry.event.as_str() {
        "Receive" if entry.pass == 0 => "Submit",
        "Receive" => "Receive",
        "Rule" => "Transport rule",
        "Defer" => "Defer",
        "Deliver" => "Deliver",
        "SendExternal" => "Send external",
        "Fail" => "Fail",
        "Expand" => "Expand",
        "Drop" => "Drop",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn addresses_with_wildcards() {
        for (pattern, value, same) in [
            ("pat@acme.example", "Pat@Acme.Example", true),
            ("pat@acme.example", "pat@acme.example.org", false),
            ("*@acme.example", "pat@acme.example", true),
            ("pat@*", "pat@acme.example", true),
            ("*@acme.*", "pat@acme.example", true),
            ("*@acme.*", "pat@contoso.example", false),
            ("p*t@acme.example", "pat@acme.example", true),
            ("*", "", true),
        ] {
            assert_eq!(like(pattern, value), same, "{pattern} {value}");
        }
    }
}
