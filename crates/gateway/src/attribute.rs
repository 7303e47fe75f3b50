//! Step 2: which tenant, which direction, or nothing. Three proofs must agree: the secret that only this tenant's
//! rule knows, the tenant id that Exchange Online stamps (and strips from everybody else's mail), and the tenant's
//! domains (transport.md G2, G3; docs/trust.md). Nothing is guessed.

use crate::ended::{Ended, Stop};
use crate::faults::Fault;
use crate::house::{House, NewAlert};
use crate::receive::Received;
use crate::tenants::Connected;
use crate::{limits, replies};
use mail::HeaderSection;
use std::sync::Arc;
use store::{AlertKind, Outcome};
use tenant::{Direction, HEADER_PASS, HEADER_PROBE, HEADER_ROUTE, Tenant, TenantId};

const CROSS_TENANT_ID: &str = "X-MS-Exchange-CrossTenant-Id";
const ORIGINATOR_ORG: &str = "X-OriginatorOrg";

/// Whose message it is, with proof.
pub(crate) struct Attributed {
    pub connected: Arc<Connected>,
    pub direction: Direction,
    /// 1 = the first time through us.
    pub visits: u32,
    /// Token of the probe that this message is.
    pub probe: Option<String>,
    /// The rule that sent it stamps the newest secret: it is as it was last made.
    pub newest_token: bool,
}

impl Attributed {
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.connected.tenant
    }
    pub(crate) fn id(&self) -> TenantId {
        self.connected.tenant.id
    }
}

pub(crate) async fn attribute(house: &House, received: &Received) -> Result<Attributed, Stop> {
    let seen = Seen::in_header_of(&received.raw, &house.settings.hostname);
    let id = seen.stamped_tenant().map_err(|why| unproven(received, None, why))?;
    let found = match tokio::time::timeout(limits::ATTRIBUTE_BUDGET, house.tenants.find(&house.store, id)).await {
        Ok(found) => found.map_err(|e| e.to_string()),
        Err(_) => Err(format!("it did not answer within {} s", limits::ATTRIBUTE_BUDGET.as_secs())),
    };
    let found = found.map_err(|why| Stop::of(&Fault::Store(why), Some(id), &received.id))?;
    let connected = found.ok_or_else(|| {
        unproven(
            received,
            None,
            format!("Exchange Online stamped tenant {id}, which is not connected here: its connector points at us"),
        )
    })?;
    let tenant = &connected.tenant;
    let direction = match seen.routed_direction(tenant) {
        Ok(direction) => direction,
        Err(why) => {
            tell_of_token(house, tenant, received, &why).await;
            return Err(unproven(received, Some(id), why));
        }
    };
    if let Some(rotated) = seen.token_of_before(tenant, received) {
        tell_of_old_token(house, tenant, received, rotated).await;
    }
    match direction {
        Direction::Inbound => all_recipients_are_here(tenant, received),
        Direction::Outbound => seen.sender_is_here(tenant, received),
    }
    .map_err(|why| unproven(received, Some(id), why))?;
    let visits = seen.visits(tenant);
    if visits >= limits::VISITS_MAX || seen.own_received >= limits::OWN_RECEIVED_MAX {
        return Err(looping(received, id, visits));
    }
    if visits > 1 {
        let text = format!(
            "a message of {} came to us again (journey {}): the rule for {} mail lost its exception for the header {HEADER_PASS}; `posthouse tenant connect` puts it right",
            received.envelope.sender,
            received.id,
            direction.as_str()
        );
        house
            .raise(&NewAlert { kind: AlertKind::Loop, tenant: Some(id), subject: "a message came again".into(), text })
            .await;
    }
    let probe = match &seen.probe {
        Some(token) => house.live_probe(token).await.ok().flatten().filter(|p| p.tenant == id).map(|p| p.token),
        None => None,
    };
    let newest_token = seen.routes.iter().any(|r| connected.tenant.route.is_newest(id, r));
    Ok(Attributed { direction, visits, probe, newest_token, connected })
}

/// Exchange Online itself says whose message it is, and the rule that sent it here is not as we made it.
async fn tell_of_token(house: &House, tenant: &Tenant, received: &Received, why: &str) {
    let text = format!(
        "a rule of ours was edited: its configuration token is missing or wrong (journey {}: {why}); or another rule sends mail by our connector, or somebody validated that connector in the portal. Such mail is refused for now and waits at Exchange Online for a day. See `posthouse plan {}`",
        received.id, tenant.label
    );
    house.tampered(tenant.id, "the configuration token of a routing rule", &text).await;
}

async fn tell_of_old_token(house: &House, tenant: &Tenant, received: &Received, rotated: i64) {
    let since = jiff::Timestamp::from_second(rotated).unwrap_or_default();
    let text = format!(
        "a rule of ours still writes the configuration token of before {since} (journey {}): somebody put an old rule back, or it was never changed. Its mail is taken while the old token counts. See `posthouse plan {}`",
        received.id, tenant.label
    );
    house.tampered(tenant.id, "an old configuration token of a routing rule", &text).await;
}

fn unproven(received: &Received, tenant: Option<TenantId>, why: String) -> Stop {
    let text = format!(
        "journey {} from {} for {}: {why}; it was refused for now",
        received.id,
        received.peer,
        received.envelope.recipients.first().map_or("nobody", |r| &r.address)
    );
    Stop {
        ended: Ended { outcome: Outcome::Deferred, reply: replies::not_attributed(&received.id) },
        alert: Box::new(NewAlert { kind: AlertKind::NotAttributed, tenant, subject: replies::about(tenant), text }),
        visits: 1,
        fault: None,
    }
}

fn looping(received: &Received, tenant: TenantId, visits: u32) -> Stop {
    let text = format!(
        "a message of {} came for the {visits}th time (journey {}) and was refused for good: the routing rule lost its exception for the header {HEADER_PASS}; `posthouse tenant connect` puts it right",
        received.envelope.sender, received.id
    );
    Stop {
        ended: Ended { outcome: Outcome::Refused, reply: replies::looping(&received.id) },
        alert: Box::new(NewAlert {
            kind: AlertKind::Loop,
            tenant: Some(tenant),
            subject: "a message went round and round".into(),
            text,
        }),
        visits,
        fault: None,
    }
}

/// What the header says about whose message it is.
#[derive(Default)]
struct Seen {
    tenants: Vec<String>,
    routes: Vec<String>,
    marks: Vec<String>,
    originator_org: Option<String>,
    from: Vec<String>,
    probe: Option<String>,
    own_received: usize,
    /// The newest Received field, which Exchange Online wrote.
    newest_received: Option<String>,
}

impl Seen {
    fn in_header_of(raw: &[u8], hostname: &str) -> Seen {
        let (mut seen, ours) = (Seen::default(), format!("by {hostname} (Posthouse)"));
        for field in HeaderSection::of(raw).fields() {
            if field.is("Received") {
                seen.newest_received.get_or_insert_with(|| field.text());
            }
            if field.is(CROSS_TENANT_ID) {
                seen.tenants.push(field.text().trim().to_owned());
            } else if field.is(HEADER_ROUTE) {
                seen.routes.push(field.text());
            } else if field.is(HEADER_PASS) {
                seen.marks.push(field.text());
            } else if field.is(ORIGINATOR_ORG) {
                seen.originator_org.get_or_insert(field.text().trim().to_owned());
            } else if field.is("From") {
                seen.from.push(field.text());
            } else if field.is(HEADER_PROBE) {
                seen.probe.get_or_insert(field.text().trim().to_owned());
            } else if field.is("Received") && field.text().contains(&ours) {
                seen.own_received += 1;
            }
        }
        seen
    }

    fn stamped_tenant(&self) -> Result<TenantId, String> {
        let (first, others) = self.tenants.split_first().ok_or_else(|| format!("it has no {CROSS_TENANT_ID}"))?;
        if others.iter().any(|other| other != first) {
            return Err(format!("it has several {CROSS_TENANT_ID} that differ"));
        }
        first.parse().map_err(|_| format!("its {CROSS_TENANT_ID} is no tenant id"))
    }

    /// By the secret: a forged token beside the true one proves nothing and harms nothing.
    fn routed_direction(&self, tenant: &Tenant) -> Result<Direction, String> {
        if self.routes.is_empty() {
            return Err(format!("it has no {HEADER_ROUTE}: no rule of ours sent it"));
        }
        let mut proven: Vec<Direction> = self.routes.iter().filter_map(|r| tenant.route.judge(tenant.id, r)).collect();
        proven.dedup();
        match proven.as_slice() {
            [direction] => Ok(*direction),
            [] => Err(format!("its {HEADER_ROUTE} does not carry the secret of this tenant")),
            _ => Err(format!("it has {HEADER_ROUTE} of both directions")),
        }
    }

    /// When the token was changed, if this message carries the one of before though Exchange Online had it well after
    /// the change. What has waited in its queue since before proves nothing.
    fn token_of_before(&self, tenant: &Tenant, received: &Received) -> Option<i64> {
        let rotated = tenant.route.since;
        let proving = self.routes.iter().filter(|r| tenant.route.judge(tenant.id, r).is_some());
        let old = self.routes.iter().any(|r| tenant.route.is_of_before(tenant.id, r))
            && proving.clone().all(|r| tenant.route.is_of_before(tenant.id, r));
        let grace = i64::try_from(limits::OLD_TOKEN_GRACE.as_secs()).unwrap_or(i64::MAX);
        (old && self.taken_at(received) > rotated.saturating_add(grace)).then_some(rotated)
    }

    /// When Exchange Online took the message, in seconds since 1970 (RFC 5321 §4.4: the date follows the last semicolon).
    fn taken_at(&self, received: &Received) -> i64 {
        let written = self.newest_received.as_deref().and_then(|text| text.rsplit_once(';'));
        let date =
            written.and_then(|(_, date)| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date.trim()).ok());
        date.unwrap_or(received.at).as_second()
    }

    /// Exchange Online stamps its tenant's domain on what its users send; without that stamp the addresses must do.
    fn sender_is_here(&self, tenant: &Tenant, received: &Received) -> Result<(), String> {
        if let Some(org) = &self.originator_org {
            return if tenant.owns_domain(org) {
                Ok(())
            } else {
                Err(format!("{ORIGINATOR_ORG} is {org}, no domain of this tenant"))
            };
        }
        let from_here = self.from.iter().any(|f| {
            f.rsplit_once('@').is_some_and(|(_, rest)| {
                tenant.owns_domain(rest.trim_end_matches(|c: char| c == '>' || c.is_whitespace()))
            })
        });
        if tenant.owns_address(&received.envelope.sender) || from_here {
            return Ok(());
        }
        Err(format!("outbound, but its sender {} is of no domain of this tenant", received.envelope.sender))
    }

    fn visits(&self, tenant: &Tenant) -> u32 {
        let marked = self.marks.iter().any(|m| tenant.pass.judge(tenant.id, m).is_some());
        if marked { 1 + u32::try_from(self.own_received.max(1)).unwrap_or(u32::MAX - 1) } else { 1 }
    }
}

fn all_recipients_are_here(tenant: &Tenant, received: &Received) -> Result<(), String> {
    let stranger = received.envelope.recipients.iter().find(|r| !tenant.owns_address(&r.address));
    match stranger {
        None => Ok(()),
        Some(r) => Err(format!("inbound, but its recipient {} is of no domain of this tenant", r.address)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tenant::{MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Secret};

    fn contoso() -> Tenant {
        Tenant {
            id: TenantId(uuid::Uuid::from_u128(7)),
            label: "contoso".into(),
            display_name: "Contoso".into(),
            initial_domain: "contoso.onmicrosoft.com".into(),
            domains: vec!["contoso.example".into()],
            connector_domain: "contoso.connect.example".into(),
            return_host: String::new(),
            pass: MarkSecrets::new(Secret::new("aaaa")),
            route: MarkSecrets::new(Secret::new("old")),
            certificate: ReturnCertificate { chain_pem: String::new(), key_pem: Secret::new("") },
            policy: Policy::default(),
            routing: Routing::Proven,
            rollout: Rollout::default(),
            closed: Vec::new(),
        }
    }

    fn received(token: &[String], date: &str) -> Received {
        let routes: String = token.iter().map(|t| format!("{HEADER_ROUTE}: {t}\r\n")).collect();
        let raw = format!("Received: from a by b id 1;\r\n {date}\r\n{routes}From: a@x\r\n\r\nx\r\n");
        Received {
            id: "j".into(),
            at: "2026-03-03T00:00:00Z".parse().unwrap(),
            peer: ([127, 0, 0, 1], 1).into(),
            helo: String::new(),
            envelope: mail::Envelope::default(),
            raw: raw.into(),
            micros: 0,
            whole: std::time::Instant::now(),
            budget: limits::JOURNEY_BUDGET,
        }
    }

    #[test]
    fn an_old_token_is_told_only_of_mail_that_came_well_after_the_change() {
        let mut tenant = contoso();
        let old = tenant.route_token(Direction::Inbound);
        let changed: jiff::Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        tenant.route.previous = Some(std::mem::replace(&mut tenant.route.current, Secret::new("new")));
        tenant.route.since = changed.as_second();
        let new = tenant.route_token(Direction::Inbound);
        let told = |tokens: &[&String], date: &str| {
            let message = received(&tokens.iter().map(|t| (*t).clone()).collect::<Vec<_>>(), date);
            Seen::in_header_of(&message.raw, "gw.example").token_of_before(&tenant, &message).is_some()
        };
        assert!(told(&[&old], "Mon, 2 Mar 2026 13:00:01 +0000"));
        assert!(!told(&[&old], "Mon, 2 Mar 2026 12:59:59 +0000"), "a rule may need that long");
        assert!(!told(&[&old], "Mon, 2 Mar 2026 11:00:00 +0000"), "it waited in the queue");
        assert!(!told(&[&new], "Mon, 2 Mar 2026 20:00:00 +0000"));
        // a forged one beside the true one proves nothing
        assert!(!told(&[&old, &new], "Mon, 2 Mar 2026 20:00:00 +0000"));
        assert!(told(&[&old, &"v1;nonsense".to_owned()], "nonsense"), "without a date it came now");
    }
}
