//! The four signs, measured. The port is asked from this process, which is not the gateway's; probes and journeys are
//! read from the store, messages that wait from Microsoft's trace.

use super::Doors;
use super::judge::{ProbeSign, Round, Sign, Way};
use crate::measured::{TraceRow, is_probe, read_row};
use crate::probe::{self, ProbeResult};
use crate::{Result, limits, plan};
use jiff::Timestamp;
use serde_json::json;
use smtp::{ClientError, Connection, Reply, Target};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Ended, Outcome, Passage};
use tenant::{Direction, Tenant};

/// How replies begin by which the gateway refuses for a fault of ours, and never for what a message is (docs/failure.md).
const FAULTS: [&str; 4] = [
    "451 4.3.0 Temporary failure",
    "451 4.3.2 Too busy",
    "451 4.4.1 The way back cannot be reached",
    "451 4.3.5 The way back is not configured",
];

impl Doors {
    /// One look; of what waits at Microsoft's only from time to time, `before` says what was seen last.
    pub(super) async fn look(&self, tenant: &Tenant, before: Option<&Round>) -> Result<Round> {
        let at = Timestamp::now();
        let door = self.port().await;
        let ended = self.store.ended_since(tenant.id, at - self.minutes(limits::SHARE_MINUTES)).await?;
        let probes = probe::last_results(&self.store, tenant.id).await?;
        let waiting = self.waiting(tenant, &ended, before).await;
        let way = |direction: Direction, waiting: Sign| Way {
            probe: self.probe_sign(probes.iter().find(|p| p.direction == direction), at),
            journal: journal(&ended, direction),
            waiting,
        };
        let [inbound, outbound] = waiting;
        Ok(Round { at, door, inbound: way(Direction::Inbound, inbound), outbound: way(Direction::Outbound, outbound) })
    }

    /// As Exchange Online would: greeting, EHLO, STARTTLS, the name in the certificate, EHLO again.
    async fn port(&self) -> Sign {
        let tls = match smtp::tls::client_config(self.settings.roots.clone(), None) {
            Ok(tls) => tls,
            Err(e) => return Sign::Unknown(format!("the gateway cannot be asked: {e}")),
        };
        let target = target(self.gateway, &self.settings.gateway_hostname, tls);
        match tokio::time::timeout(limits::DOOR_PATIENCE, Connection::open(&target)).await {
            Ok(Ok(connection)) => {
                let _ = tokio::time::timeout(limits::DOOR_PATIENCE, connection.quit()).await;
                Sign::Well
            }
            Ok(Err(e)) => of_error(&e),
            Err(_) => Sign::Failing(format!(
                "the gateway at {} does not answer within {} s",
                self.gateway,
                limits::DOOR_PATIENCE.as_secs()
            )),
        }
    }

    fn probe_sign(&self, probe: Option<&ProbeResult>, now: Timestamp) -> ProbeSign {
        let Some(probe) = probe else { return ProbeSign { sign: Sign::Quiet, sent: None } };
        let fresh = self.minutes(limits::PROBE_FRESH_MINUTES);
        let age = now.duration_since(probe.sent);
        let patience = jiff::SignedDuration::try_from(self.rhythm.probe_patience).unwrap_or(jiff::SignedDuration::MAX);
        let sign = match &probe.wrong {
            // what is wrong behind the gateway is told elsewhere; the gateway had it and gave it back
            _ if probe.through_us && age < fresh => Sign::Well,
            Some(wrong) if !probe.through_us && age < patience + fresh => match probe.taken {
                true => Sign::Failing(wrong.clone()),
                false => Sign::Unknown(wrong.clone()),
            },
            _ => Sign::Quiet,
        };
        ProbeSign { sign, sent: Some(probe.sent) }
    }

    /// Inbound, outbound. Only where nothing comes by: a message that passed shows that others wait for something else.
    async fn waiting(&self, tenant: &Tenant, ended: &[Ended], before: Option<&Round>) -> [Sign; 2] {
        let now = self.client.now();
        // by our own clock: once in each span of time
        let span =
            |at: Timestamp| at.as_millisecond() / self.minutes(limits::WAITING_EVERY_MINUTES).as_millis().max(1) as i64;
        let due = before.is_none_or(|b| span(b.at) != span(Timestamp::now()));
        if let (false, Some(before)) = (due, before) {
            return [before.inbound.waiting.clone(), before.outbound.waiting.clone()];
        }
        let both = |sign: Sign| [sign.clone(), sign];
        let read = tokio::time::timeout(limits::DOOR_PATIENCE, self.waiting_rows(tenant)).await;
        let rows = match read {
            Ok(Ok(rows)) => rows,
            Ok(Err(e)) => return both(Sign::Unknown(format!("what waits at Exchange Online is not known: {e}"))),
            Err(_) => return both(Sign::Unknown("the message trace does not answer".into())),
        };
        let oldest = now - self.minutes(limits::WAITING_MINUTES);
        let counted = |direction: Direction| {
            let passed = ended.iter().any(|e| e.direction == direction && is_passed(e.outcome));
            let count = rows.iter().filter(|(way, at)| *way == direction && *at < oldest).count() as u64;
            match count >= limits::SHARE_MESSAGES_MIN && !passed {
                true => Sign::Failing(format!("{count} messages wait at Exchange Online, and none comes by")),
                false => Sign::Quiet,
            }
        };
        [counted(Direction::Inbound), counted(Direction::Outbound)]
    }

    /// What Exchange Online has not delivered and we never had.
    async fn waiting_rows(&self, tenant: &Tenant) -> Result<Vec<(Direction, Timestamp)>> {
        let (_, app) = plan::acting(tenant.id, &self.store).await?;
        let asked = json!({"Status": ["Pending", "GettingStatus"], "ResultSize": limits::TRACE_ROWS_A_PAGE});
        let rows = self.client.exchange_part(&app, "Get-MessageTraceV2", asked).await?.rows;
        let rows: Vec<TraceRow> = rows.iter().filter_map(read_row).collect();
        let ids: Vec<String> = rows.iter().map(|r| r.message_id.clone()).collect();
        let had = self.store.passages(tenant.id, &ids).await?;
        let zone = format!("@{}", self.settings.zone.to_lowercase());
        let one = |row: &TraceRow| {
            let is_had = |p: &Passage| p.message_id.as_ref() == Some(&row.message_id) && is_passed(p.outcome);
            let is_ours = row.sender.ends_with(&zone)
                || row.recipient.ends_with(&zone)
                || is_probe(&row.sender, &row.recipient, &self.settings.zone);
            match (tenant.owns_address(&row.sender), tenant.owns_address(&row.recipient)) {
                _ if is_ours || had.iter().any(is_had) => None,
                (false, true) => Some((Direction::Inbound, row.received)),
                (true, false) => Some((Direction::Outbound, row.received)),
                _ => None,
            }
        };
        Ok(rows.iter().filter_map(one).collect())
    }
}

fn target(address: SocketAddr, hostname: &str, tls: Arc<rustls::ClientConfig>) -> Target {
    Target { address, server_name: hostname.to_owned(), helo: hostname.to_owned(), source: None, tls }
}

/// Refused, reset, silent: it does not work. What may be our own network's fault, a certificate that only we do not
/// trust, or too many strangers at the door is not known to be.
fn of_error(error: &ClientError) -> Sign {
    let text = format!("the gateway does not work: {error}");
    match error {
        ClientError::Connect { source, .. } => match source.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::TimedOut
            | ErrorKind::UnexpectedEof => Sign::Failing(text),
            _ => Sign::Unknown(text),
        },
        ClientError::Refused { reply, .. } if Reply::is_temporary(reply) => Sign::Unknown(text),
        ClientError::Tls { .. } | ClientError::NotRepresentable { .. } => Sign::Unknown(text),
        ClientError::Refused { .. }
        | ClientError::NoTls { .. }
        | ClientError::Closed { .. }
        | ClientError::Garbled { .. }
        | ClientError::OutOfStep { .. }
        | ClientError::Silent { .. } => Sign::Failing(text),
    }
}

fn is_passed(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::HandedBack | Outcome::Held | Outcome::PartlyHeld | Outcome::Deleted | Outcome::Redirected
    )
}

fn is_fault(ended: &Ended) -> bool {
    ended.outcome == Outcome::Deferred
        && FAULTS.iter().any(|fault| fault.starts_with(&ended.reply) || ended.reply.starts_with(fault))
}

/// How much of what came was refused for a fault of ours; each message counts once, however often it came.
pub(super) fn journal(ended: &[Ended], direction: Direction) -> Sign {
    let sum = |which: &dyn Fn(&Ended) -> bool| -> u64 {
        ended.iter().filter(|e| e.direction == direction && which(e)).map(|e| e.messages).sum()
    };
    let (faults, all) = (sum(&is_fault), sum(&|_| true));
    let example = ended.iter().find(|e| e.direction == direction && is_fault(e)).map_or("", |e| e.reply.as_str());
    if faults >= limits::SHARE_MESSAGES_MIN && faults * 100 >= all * limits::SHARE_PERCENT {
        return Sign::Failing(format!("{faults} of {all} messages were refused for a fault of ours ({example} …)"));
    }
    if sum(&|e| is_passed(e.outcome)) > 0 { Sign::Well } else { Sign::Quiet }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ended(direction: Direction, outcome: Outcome, reply: &str, messages: u64) -> Ended {
        let reply = reply.chars().take(27).collect();
        Ended { direction, outcome, reply, messages }
    }

    #[test]
    fn a_share_counts_from_five_messages_on_and_what_microsoft_refuses_is_none_of_ours() {
        let (inbound, down) = (Direction::Inbound, "451 4.3.0 Temporary failure, try again later (x)");
        let taken = |n| ended(inbound, Outcome::HandedBack, "250 2.6.0 Taken (x)", n);
        let failed = |n| ended(inbound, Outcome::Deferred, down, n);
        let told = |all: &[Ended]| match journal(all, inbound) {
            Sign::Failing(why) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(told(&[]), "Quiet");
        assert_eq!(told(&[failed(4)]), "Quiet");
        assert_eq!(
            told(&[failed(5)]),
            "5 of 5 messages were refused for a fault of ours (451 4.3.0 Temporary failure …)"
        );
        assert_eq!(
            told(&[failed(9), taken(1)]),
            "9 of 10 messages were refused for a fault of ours (451 4.3.0 Temporary failure …)"
        );
        assert_eq!(told(&[failed(8), taken(2)]), "Well");
        assert_eq!(told(&[ended(inbound, Outcome::Deferred, "451 4.7.500 Server busy", 50)]), "Quiet");
        assert_eq!(told(&[ended(Direction::Outbound, Outcome::Deferred, down, 50)]), "Quiet");
    }

    /// The gateway's own words, as its page shows them: a reply that is worded anew must be known here, too.
    #[test]
    fn every_refusal_of_the_failure_page_is_a_fault() {
        let page = include_str!("../../../../docs/failure.md").split("No fault").next().unwrap_or_default();
        let replies: Vec<&str> =
            page.lines().filter_map(|l| l.split('`').nth(1).filter(|r| r.starts_with('4'))).collect();
        assert!(replies.len() >= 5, "{page}");
        for reply in replies {
            assert!(is_fault(&ended(Direction::Inbound, Outcome::Deferred, reply, 1)), "{reply}");
        }
    }
}
