//! Step e: `<label>.<connector zone>` becomes an accepted domain of the tenant. It ties our certificate to exactly
//! this tenant (transport.md F1.1, F1.4). The proof of ownership is published by ourselves, in the zone we serve.

use super::Need;
use super::permissions::EXCHANGE_APP;
use crate::events::{Event, State, Step};
use crate::work::Work;
use crate::{ControlError, Result, limits};
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use m365::Identity;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Instant;
use store::ZoneRecord;
use tenant::Tenant;

pub(crate) const NEEDS: &[Need] = &[
    Need {
        permission: "Domain.ReadWrite.All",
        reason: "adds, verifies and at the end removes the subdomain that ties our certificate to this tenant; reads the host that takes mail back",
        cmdlets: &[],
    },
    Need {
        permission: EXCHANGE_APP,
        reason: "the accepted domain's type",
        cmdlets: &["Get-AcceptedDomain", "Set-AcceptedDomain"],
    },
];

/// The tenant's label below the zone: from the initial domain, unlike any other tenant's.
pub(crate) fn label(initial_domain: &str, zone: &str, taken: &[String]) -> Result<String> {
    let stem: String = initial_domain
        .split('.')
        .next()
        .unwrap_or_default()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let stem = stem.trim_matches('-');
    let room = limits::CONNECTOR_DOMAIN_MAX.saturating_sub(zone.len() + 1).min(limits::LABEL_MAX);
    if stem.is_empty() || room < 4 {
        return Err(ControlError::Refused(format!(
            "no name of at most {} characters can be made below {zone}; a shorter connector zone is needed",
            limits::CONNECTOR_DOMAIN_MAX
        )));
    }
    let candidates = std::iter::once(String::new()).chain((2..1000).map(|n| format!("-{n}")));
    let fitting = candidates
        .map(|suffix| format!("{}{suffix}", stem[..stem.len().min(room - suffix.len())].trim_end_matches('-')));
    fitting
        .into_iter()
        .find(|l| !taken.contains(l))
        .ok_or_else(|| ControlError::Refused(format!("every label like {stem} is taken")))
}

pub(crate) async fn ensure(work: &mut Work<'_>, app: &Identity, tenant: &Tenant) -> Result<()> {
    let name = &tenant.connector_domain;
    let found = domain(work, app, name).await?;
    if found.as_ref().is_some_and(|d| d["isVerified"] == Value::Bool(true)) {
        work.show(Event::new(Step::AcceptedDomain, State::Already, format!("{name} is verified")));
    } else {
        if found.is_none() {
            match work.client.graph_post(app, "domains", &json!({"id": name})).await {
                Err(e) if !e.is_duplicate() => return Err(e.into()),
                _ => {}
            }
        }
        let proof = proof_of(work, app, name).await?;
        work.store
            .put_zone_record(&ZoneRecord {
                tenant: Some(tenant.id),
                name: name.clone(),
                kind: "TXT".into(),
                value: proof.clone(),
            })
            .await?;
        work.show(Event::new(Step::AcceptedDomain, State::Doing, format!("published {proof} at {name}")));
        await_visible(work, name, &proof).await?;
        verify(work, app, name).await?;
        work.show(Event::new(Step::AcceptedDomain, State::Done, format!("{name} is verified")));
    }
    let services = domain(work, app, name).await?.unwrap_or_default()["supportedServices"].clone();
    if !services.as_array().is_some_and(|s| s.iter().any(|v| v == "Email")) {
        work.client.graph_patch(app, &format!("domains/{name}"), &json!({"supportedServices": ["Email"]})).await?;
    }
    await_accepted(work, app, name).await
}

async fn domain(work: &Work<'_>, app: &Identity, name: &str) -> Result<Option<Value>> {
    match work.client.graph_get(app, &format!("domains/{name}")).await {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.is_absent() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

async fn proof_of(work: &Work<'_>, app: &Identity, name: &str) -> Result<String> {
    let (until, mut pause) = (Instant::now() + limits::DOMAIN_PATIENCE, limits::LOOK_FIRST);
    let records = loop {
        match work.client.graph_list(app, &format!("domains/{name}/verificationDnsRecords")).await {
            // a domain that was added a moment ago may not be known everywhere yet (wire.md 7.9)
            Err(e) if e.is_absent() && Instant::now() < until => tokio::time::sleep(pause).await,
            other => break other?,
        }
        pause = (pause * 2).min(limits::LOOK_MAX);
    };
    let text = records.iter().find_map(|r| {
        r["text"].as_str().filter(|_| r["recordType"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("Txt")))
    });
    text.map(str::to_owned)
        .ok_or_else(|| ControlError::Refused(format!("Microsoft names no TXT record by which {name} could be proven")))
}

/// Asking Microsoft before the world sees the record would make it remember that there is none.
async fn await_visible(work: &mut Work<'_>, name: &str, proof: &str) -> Result<()> {
    let (until, mut pause, mut told) = (Instant::now() + limits::DOMAIN_PATIENCE, limits::LOOK_FIRST, false);
    loop {
        let resolver = fresh_resolver(work.settings.resolver)?;
        let seen = resolver.txt_lookup(format!("{name}.")).await;
        let visible = seen.as_ref().is_ok_and(|found| {
            found.answers().iter().any(|r| match &r.data {
                RData::TXT(txt) => txt.txt_data.concat() == proof.as_bytes(),
                _ => false,
            })
        });
        if visible {
            return Ok(());
        }
        let why = seen.err().map_or_else(|| "another record is there".to_owned(), |e| e.to_string());
        if Instant::now() > until {
            return Err(ControlError::Waits(format!(
                "TXT {proof} at {name} is not visible ({why}); is `posthouse serve` running, and is the zone {} delegated to it?",
                work.settings.zone
            )));
        }
        if !told && pause > limits::LOOK_FIRST * 8 {
            work.show(Event::new(Step::AcceptedDomain, State::Waiting, format!("TXT {proof} at {name} is not visible yet ({why}); `posthouse serve` must be running and the zone {} delegated to it", work.settings.zone)));
            told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// One that remembers nothing: a record that was not there a second ago may be there now.
pub(crate) fn fresh_resolver(server: Option<SocketAddr>) -> Result<TokioResolver> {
    smtp::resolver::resolver(server, false).map_err(|e| ControlError::Refused(format!("dns.resolver: {e}")))
}

async fn verify(work: &mut Work<'_>, app: &Identity, name: &str) -> Result<()> {
    let (until, mut pause) = (Instant::now() + limits::DOMAIN_PATIENCE, limits::LOOK_FIRST);
    loop {
        let error = match work.client.graph_post(app, &format!("domains/{name}/verify"), &json!({})).await {
            Ok(_) => return Ok(()),
            Err(e) => e,
        };
        let text = error.to_string();
        if text.contains("already verified") && !text.contains("another directory") {
            return Ok(());
        }
        let not_seen_yet = text.contains("verification failed") && !text.contains("another directory");
        if !(not_seen_yet || error.is_temporary()) {
            return Err(error.into());
        }
        if Instant::now() > until {
            return Err(ControlError::Waits(format!(
                "Microsoft does not see the proof of {name} ({error}); run the command again later"
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// Exchange takes a while to show it, and first as authoritative: mail to it would then end inside the tenant.
async fn await_accepted(work: &mut Work<'_>, app: &Identity, name: &str) -> Result<()> {
    let (until, mut pause, mut set) = (Instant::now() + limits::ACCEPTED_DOMAIN_PATIENCE, limits::LOOK_FIRST, false);
    loop {
        let rows = work.client.exchange(app, "Get-AcceptedDomain", json!({"ResultSize": "Unlimited"})).await?.rows;
        let found = rows
            .iter()
            .find(|r| r.get("DomainName").and_then(Value::as_str).is_some_and(|d| d.eq_ignore_ascii_case(name)));
        match found.and_then(|r| r.get("DomainType")).and_then(Value::as_str) {
            Some("InternalRelay") => break,
            // once is enough: that it shows takes its time, too
            Some(_) if !set => {
                let wanted = json!({"Identity": name, "DomainType": "InternalRelay"});
                work.client.exchange(app, "Set-AcceptedDomain", wanted).await?;
                set = true;
                continue;
            }
            _ if Instant::now() > until => {
                return Err(ControlError::Waits(format!(
                    "{name} is verified, but Exchange does not show it as accepted domain (internal relay) yet; run the command again later"
                )));
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
    work.show(Event::new(Step::AcceptedDomain, State::Done, format!("Exchange accepts {name} (internal relay)")));
    Ok(())
}

/// Every accepted domain of the tenant that is not ours, in lower case.
pub(crate) async fn domains_of(work: &Work<'_>, app: &Identity) -> Result<Vec<String>> {
    let rows = work.client.exchange(app, "Get-AcceptedDomain", json!({"ResultSize": "Unlimited"})).await?.rows;
    Ok(not_ours(&rows, &work.settings.zone))
}

pub(crate) fn not_ours(rows: &[m365::Row], zone: &str) -> Vec<String> {
    let ours = format!(".{zone}");
    let names = rows.iter().filter_map(|r| r.get("DomainName").and_then(Value::as_str)).map(str::to_lowercase);
    names.filter(|d| !d.ends_with(&ours)).collect()
}

/// The host that takes the tenant's mail: read, never derived (transport.md 1.4).
pub(crate) async fn return_host(client: &m365::Client, app: &Identity, default_domain: &str) -> Result<String> {
    let records = client.graph_list(app, &format!("domains/{default_domain}/serviceConfigurationRecords")).await?;
    let host = records.iter().find_map(|r| r["mailExchange"].as_str()).map(|h| h.trim_end_matches('.').to_lowercase());
    host.ok_or_else(|| ControlError::Refused(format!("Microsoft names no mail host for {default_domain}")))
}

pub(crate) async fn remove(work: &Work<'_>, app: &Identity, name: &str) -> Result<()> {
    work.client.graph_delete(app, &format!("domains/{name}")).await?;
    work.store.delete_zone_records(name).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_fit_and_differ() {
        let zone = "connect.posthouse.example";
        assert_eq!(label("contoso.onmicrosoft.com", zone, &[]).unwrap(), "contoso");
        assert_eq!(label("Contoso.onmicrosoft.com", zone, &["contoso".into()]).unwrap(), "contoso-2");
        let long = label("averylongtenantnamethatneverends.onmicrosoft.com", zone, &["averylongtenantnametha".into()])
            .unwrap();
        assert_eq!(long, "averylongtenantnamet-2");
        assert!(format!("{long}.{zone}").len() <= limits::CONNECTOR_DOMAIN_MAX);
        assert!(label("x.onmicrosoft.com", "a-zone-name-that-leaves-no-room-at-all.posthouse.example", &[]).is_err());
    }
}
