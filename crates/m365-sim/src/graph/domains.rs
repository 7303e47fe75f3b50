//! Domains: add, prove by DNS, use for mail, remove (wire.md 3.4). The proof is asked of a real DNS server.

use super::{Answer, Answered, Refusal, Request};
use crate::world::{AcceptedDomain, Domain};
use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

const READ: [&str; 4] = ["Domain.Read.All", "Domain.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const WRITE: [&str; 1] = ["Domain.ReadWrite.All"];

fn show(d: &Domain) -> Value {
    json!({"authenticationType": "Managed", "availabilityStatus": null, "id": d.id, "isAdminManaged": true, "isDefault": d.is_default, "isInitial": d.is_initial, "isRoot": true, "isVerified": d.is_verified, "supportedServices": d.supported_services, "passwordValidityPeriodInDays": if d.is_verified { json!(2_147_483_647) } else { Value::Null }, "passwordNotificationWindowInDays": if d.is_verified { json!(14) } else { Value::Null }, "state": null})
}

pub async fn route(request: &Request<'_>) -> Answered {
    let name = request.path.get(1).map(|n| n.to_lowercase());
    let name = name.as_deref();
    let action = request.path.get(2).map(String::as_str);
    let read = request.method == Method::GET;
    request.needs(if read { &READ } else { &WRITE })?;
    match (request.method.as_str(), name, action) {
        ("GET", None, None) => request.tenant(|t| Ok(Answer::List("domains", t.domains.iter().map(show).collect()))),
        ("POST", None, None) => add(request),
        ("GET", Some(name), None) => with(request, name, |d| Ok(Answer::Json(200, show(d)))),
        ("GET", Some(name), Some("verificationDnsRecords")) => {
            with(request, name, |d| Ok(Answer::List("domainDnsRecords", proof_records(d))))
        }
        ("GET", Some(name), Some("serviceConfigurationRecords")) => with(request, name, |d| {
            if d.is_verified {
                Ok(Answer::List("domainDnsRecords", service_records(d)))
            } else {
                Err(Refusal::bad("The domain is not verified."))
            }
        }),
        ("POST", Some(name), Some("verify")) => verify(request, name).await,
        ("PATCH", Some(name), None) => patch(request, name),
        ("DELETE", Some(name), None) => remove(request, name, false),
        ("POST", Some(name), Some("forceDelete")) => remove(request, name, true),
        _ => Err(Refusal::new(405, "Request_BadRequest", "The method is not allowed on this resource.")),
    }
}

fn with(request: &Request<'_>, name: &str, work: impl FnOnce(&mut Domain) -> Answered) -> Answered {
    request
        .tenant(|t| t.domains.iter_mut().find(|d| d.id == name).ok_or_else(|| Refusal::not_found(name)).and_then(work))
}

fn add(request: &Request<'_>) -> Answered {
    let name = request.text("id")?.to_lowercase();
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !name.contains('.') || !name.split('.').all(label) || name.ends_with(".onmicrosoft.com") {
        return Err(Refusal::bad(format!(
            "Invalid value specified for property 'id' of resource 'Domain'. '{name}' is not a valid domain name."
        )));
    }
    request.tenant(|t| {
        if t.domains.iter().any(|d| d.id == name) {
            return Err(Refusal::new(
                409,
                "Request_BadRequest",
                "A conflicting object with one or more of the specified property values is present in the directory.",
            ));
        }
        // a subdomain of a verified root inherits its proof
        let inherits = t.domains.iter().any(|d| d.is_verified && name.ends_with(&format!(".{}", d.id)));
        let digits =
            t.id.as_u128()
                .wrapping_mul(31)
                .wrapping_add(name.bytes().fold(7, |h: u128, b| h.wrapping_mul(131).wrapping_add(u128::from(b))))
                % 100_000_000;
        let domain = Domain {
            id: name.clone(),
            is_verified: inherits,
            is_default: false,
            is_initial: false,
            proof: format!("MS=ms{digits:08}"),
            supported_services: Vec::new(),
        };
        let mut shown = show(&domain);
        shown["@odata.context"] = format!("{}/v1.0/$metadata#domains/$entity", request.door.base).into();
        t.domains.push(domain);
        request.audit(t, "Add unverified domain", &name, &request.body);
        Ok(Answer::Json(201, shown))
    })
}

fn proof_records(d: &Domain) -> Vec<Value> {
    let code = d.proof.trim_start_matches("MS=");
    let record = |kind: &str, record_type: &str| json!({"@odata.type": kind, "isOptional": false, "label": d.id, "recordType": record_type, "supportedService": "Email", "ttl": 3600, "id": Uuid::new_v4()});
    let mut txt = record("#microsoft.graph.domainDnsTxtRecord", "Txt");
    txt["text"] = d.proof.clone().into();
    let mut mx = record("#microsoft.graph.domainDnsMxRecord", "Mx");
    mx["mailExchange"] = format!("{code}.msv1.invalid").into();
    mx["preference"] = 32767.into();
    vec![txt, mx]
}

/// The host that takes mail for a domain.
pub fn mx_host(domain: &str) -> String {
    format!("{}.mail.protection.outlook.com", domain.replace('.', "-"))
}

fn service_records(d: &Domain) -> Vec<Value> {
    let record = |kind: &str, record_type: &str, label: &str| json!({"@odata.type": kind, "isOptional": false, "label": label, "recordType": record_type, "supportedService": "Email", "ttl": 3600, "id": Uuid::new_v4()});
    let mut mx = record("#microsoft.graph.domainDnsMxRecord", "Mx", &d.id);
    mx["mailExchange"] = mx_host(&d.id).into();
    mx["preference"] = 0.into();
    let mut txt = record("#microsoft.graph.domainDnsTxtRecord", "Txt", &d.id);
    txt["text"] = "v=spf1 include:spf.protection.outlook.com -all".into();
    let mut cname = record("#microsoft.graph.domainDnsCnameRecord", "CName", &format!("autodiscover.{}", d.id));
    cname["canonicalName"] = "autodiscover.outlook.com".into();
    vec![mx, txt, cname]
}

async fn verify(request: &Request<'_>, name: &str) -> Answered {
    let proof = request.tenant(|t| {
        let d = t.domains.iter().find(|d| d.id == name).ok_or_else(|| Refusal::not_found(name))?;
        if d.is_verified { Err(Refusal::bad("Domain is already verified.")) } else { Ok(d.proof.clone()) }
    })?;
    let failed = |why: &str| Refusal::bad(format!("Domain verification failed with the following error: '{why}'."));
    let elsewhere = request
        .door
        .world
        .state()
        .tenants
        .iter()
        .any(|t| t.id != request.caller.tenant && t.domains.iter().any(|d| d.id == name && d.is_verified));
    if elsewhere {
        return Err(failed("The domain is already verified in another directory"));
    }
    let resolver = crate::dns::resolver(request.door.dns);
    let code = proof.trim_start_matches("MS=").to_owned();
    let fqdn = format!("{name}.");
    let found = crate::dns::txt(&resolver, &fqdn).await.iter().any(|t| t.eq_ignore_ascii_case(&proof))
        || crate::dns::mx(&resolver, &fqdn)
            .await
            .iter()
            .any(|(_, host)| host.starts_with(&format!("{code}.msv1.invalid")));
    if !found {
        return Err(failed(&format!("The required DNS records were not found: TXT {proof} at {name}")));
    }
    let delay = request.door.world.state().switches.exo_accepted_domain_delay_secs;
    let now = request.now();
    request.tenant(|t| {
        // Q6: Exchange shows a verified domain as an authoritative accepted domain of its own accord
        t.accepted_domains.push(AcceptedDomain {
            name: name.to_owned(),
            domain_type: "Authoritative".into(),
            default: false,
            initial: false,
            visible_from: now + delay,
        });
        let key = request.door.world.pki.dkim_key.clone();
        t.dkim_keys.insert(name.to_owned(), key);
        request.audit(t, "Verify domain", name, &Value::Null);
        let d = t.domains.iter_mut().find(|d| d.id == name).ok_or_else(|| Refusal::not_found(name))?;
        d.is_verified = true;
        Ok(Answer::Json(200, show(d)))
    })
}

fn patch(request: &Request<'_>, name: &str) -> Answered {
    request.tenant(|t| {
        let d = t.domains.iter_mut().find(|d| d.id == name).ok_or_else(|| Refusal::not_found(name))?;
        if let Some(services) = request.body["supportedServices"].as_array() {
            let known = ["Email", "OfficeCommunicationsOnline", "Yammer"];
            let asked: Vec<String> = services.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect();
            if let Some(wrong) = asked.iter().find(|s| !known.contains(&s.as_str())) {
                return Err(Refusal::bad(format!(
                    "Invalid value '{wrong}' specified for property 'supportedServices' of resource 'Domain'."
                )));
            }
            if !d.is_verified {
                return Err(Refusal::bad("Properties of an unverified domain cannot be changed."));
            }
            d.supported_services = asked;
        }
        // documented (Graph, "Update domain"): a verified domain becomes the default one, of which there is one
        if request.body["isDefault"] == true {
            if !t.domains.iter().any(|d| d.id == name && d.is_verified) {
                return Err(Refusal::bad("An unverified domain cannot be the default one."));
            }
            t.domains.iter_mut().for_each(|d| d.is_default = d.id == name);
        }
        request.audit(t, "Update domain", name, &request.body);
        Ok(Answer::Empty)
    })
}

fn remove(request: &Request<'_>, name: &str, force: bool) -> Answered {
    request.tenant(|t| {
        let d = t.domains.iter().find(|d| d.id == name).ok_or_else(|| Refusal::not_found(name))?;
        if d.is_initial || d.is_default {
            return Err(Refusal::bad("The initial or default domain cannot be deleted."));
        }
        let suffix = format!("@{name}");
        let used_by_users =
            t.users.iter().any(|u| u.upn.ends_with(&suffix) || u.addresses.iter().any(|a| a.ends_with(&suffix)));
        let used_by_connectors = t.inbound_connectors.iter().any(|c| {
            c.get("TlsSenderCertificateName").and_then(Value::as_str).is_some_and(|n| n.eq_ignore_ascii_case(name))
        });
        if (used_by_users || used_by_connectors) && !force {
            return Err(Refusal::bad(format!(
                "Domain '{name}' cannot be deleted because it is referenced by other objects in the directory."
            )));
        }
        t.domains.retain(|d| d.id != name);
        t.accepted_domains.retain(|d| d.name != name);
        request.audit(t, "Remove verified domain", name, &Value::Null);
        Ok(Answer::Empty)
    })
}
