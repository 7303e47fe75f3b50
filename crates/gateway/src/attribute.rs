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
    let found = house
        .tenants
        .find(&house.store, id)
        .await
        .map_err(|e| Stop::of(&Fault::Store(e.to_string()), Some(id), &received.id))?;
    let connected = found.ok_or_else(|| {
        unproven(
            received,
            None,
            format!("Exchange Online stamped tenant {id}, which is not connected here: its connector points at us"),
        )
    })?;
    let tenant = &connected.tenant;
    let direction = seen.routed_direction(tenant).map_err(|why| unproven(received, Some(id), why))?;
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
    Ok(Attributed { direction, visits, probe, connected })
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
}

impl Seen {
    fn in_header_of(raw: &[u8], hostname: &str) -> Seen {
        let (mut seen, ours) = (Seen::default(), format!("by {hostname} (Posthouse)"));
        for field in HeaderSection::of(raw).fields() {
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
