//! Golden plans: one written situation, one printed text.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::objects::application::{Application, MAIL_FLOW};
use crate::objects::exchange::Wanted;
use crate::objects::permissions::{Granted, needed};
use crate::objects::rules::tests::contoso;
use crate::objects::{inbound_connector, outbound_connector, rules};
use m365::{Claims, Service};
use serde_json::json;
use store::Receipt;
use tenant::{ExchangeRights, Routing, Stage};

const GATEWAY: &str = "gw.example";

fn row(wanted: &Wanted) -> Row {
    let mut row = wanted.properties.clone();
    row.insert("Name".into(), wanted.name.into());
    if let Some(enabled) = wanted.enabled {
        row.insert("State".into(), if enabled { "Enabled" } else { "Disabled" }.into());
    }
    row
}

/// 2026-11-24, in seconds since 1970.
const NOW: i64 = 1_795_478_400;

fn settings() -> Settings {
    Settings {
        zone: "connect.example".into(),
        gateway_hostname: GATEWAY.into(),
        issuer: crate::CertificateIssuer::Directory("nowhere".into()),
        public_client_id: String::new(),
        resolver: None,
        roots: std::sync::Arc::new(rustls::RootCertStore::empty()),
        return_port: 25,
        arc_sealer: Some("connect.example".into()),
        sending_infrastructure: Some("192.0.2.1".into()),
        egress_address: None,
    }
}

/// The application as it should be, its certificate good for so many days.
fn application(days: i64) -> Application {
    let app = json!({"object_id": "o", "app_id": "a", "principal_id": "p", "thumbprint_sha256": vec![0; 32], "key_pem": "k", "certificate_der": [1], "until": NOW + days * 86_400, "complete": true});
    let row = json!({"displayName": MAIL_FLOW.name, "signInAudience": "AzureADMyOrg", "notes": "Made by Posthouse (posthouse tenant connect). Removed by posthouse tenant disconnect.", "keyCredentials": [{}], "passwordCredentials": []});
    Application::Seen { row: object(row), app: Box::new(serde_json::from_value(app).unwrap()) }
}

/// What tokens say when everything is granted but these.
fn granted_but(missing: &[&str]) -> Granted {
    let roles: Vec<String> = needed(ExchangeRights::RoleGroup)
        .into_iter()
        .map(|p| p.name.to_owned())
        .filter(|n| !missing.contains(&n.as_str()))
        .collect();
    let wids = if missing.contains(&"Exchange Administrator") {
        vec![]
    } else {
        vec!["29232cdf-9323-42fd-ade2-1d097af3e4de".to_owned()]
    };
    let all = [Service::Graph, Service::Exchange, Service::Activity];
    Granted(
        all.into_iter()
            .map(|s| (s, Ok(Claims { roles: roles.clone(), wids: wids.clone(), scopes: Vec::new() })))
            .collect(),
    )
}

/// The tenant exactly as it should be, as Exchange shows it.
fn as_it_should_be(t: &Tenant) -> Observed {
    let [inbound, outbound, strip] = rules::all(t, rules::Takes::Rollout);
    let spoof = |kind: &str| {
        object(
            json!({"Identity": format!("spoof-{kind}"), "Action": "Allow", "SpoofedUser": "*", "SendingInfrastructure": "192.0.2.1", "SpoofType": kind}),
        )
    };
    Observed {
        accepted_domains: Ok(vec![object(json!({"DomainName": t.connector_domain, "DomainType": "InternalRelay"}))]),
        inbound_connectors: Ok(vec![row(&inbound_connector::desired(t))]),
        outbound_connectors: Ok(vec![row(&outbound_connector::desired(GATEWAY))]),
        rules: Ok([inbound, outbound, strip].iter().map(row).collect()),
        arc: Ok(vec![object(json!({"ArcTrustedSealers": "others.example,connect.example"}))]),
        spoof_items: Ok(vec![spoof("External"), spoof("Internal")]),
        audit_config: Ok(vec![object(json!({"UnifiedAuditLogIngestionEnabled": true}))]),
        ..nothing_of_ours()
    }
}

fn nothing_of_ours() -> Observed {
    let none = || Ok(Vec::new());
    Observed {
        at: NOW,
        application: application(300),
        granted: granted_but(&[]),
        accepted_domains: none(),
        inbound_connectors: none(),
        outbound_connectors: none(),
        rules: none(),
        organization: Ok(vec![object(json!({"IsDehydrated": false, "RejectDirectSend": false}))]),
        arc: Ok(vec![object(json!({"ArcTrustedSealers": null}))]),
        spoof_items: none(),
        audit_config: Ok(vec![object(json!({"UnifiedAuditLogIngestionEnabled": false}))]),
        journal_rules: none(),
        known: std::collections::BTreeMap::new(),
        issuable_until: None,
        rotate: crate::Rotate::default(),
    }
}

fn proven() -> Tenant {
    Tenant { routing: Routing::Proven, ..contoso() }
}

fn planned(tenant: &Tenant, observed: &Observed) -> Plan {
    made(tenant, &settings(), observed).unwrap()
}

fn foreign_rule(name: &str, more: serde_json::Value) -> Row {
    let mut row = object(json!({"Name": name, "State": "Enabled", "Mode": "Enforce"}));
    row.extend(object(more));
    row
}

/// A vendor's connector and the rule that routes to it, above ours.
fn vendor(observed: &mut Observed, name: &str, host: &str) {
    let connector =
        json!({"Name": format!("{name} out"), "Enabled": true, "IsTransportRuleScoped": true, "SmartHosts": [host]});
    observed.outbound_connectors.as_mut().unwrap().push(object(connector));
    let rule = json!({"RouteMessageOutboundConnector": format!("{name} out"), "StopRuleProcessing": true});
    observed.rules.as_mut().unwrap().insert(0, foreign_rule(&format!("{name} in"), rule));
}

type Situation = (&'static str, Box<dyn Fn(&mut Tenant, &mut Observed)>);

/// Told as a person would tell what was found.
#[rustfmt::skip]
fn situations() -> Vec<Situation> {
    fn s(name: &'static str, change: impl Fn(&mut Tenant, &mut Observed) + 'static) -> Situation {
        (name, Box::new(change))
    }
    fn set(seen: &mut super::observe::Seen, n: usize, key: &str, value: serde_json::Value) {
        seen.as_mut().unwrap()[n].insert(key.into(), value);
    }
    fn stage(tenant: &mut Tenant, observed: &mut Observed, change: impl Fn(&mut Tenant)) {
        *observed = as_it_should_be(tenant);
        change(tenant);
    }
    vec![
        s("nothing to do", |_, _| ()),
        s("fresh tenant, not proven yet", |t, o| { t.routing = Routing::Off; *o = nothing_of_ours(); }),
        s("everything was removed by hand", |_, o| *o = nothing_of_ours()),
        s("half applied: no rules yet", |_, o| o.rules = Ok(Vec::new())),
        s("half applied: the strip rule alone", |_, o| { o.rules.as_mut().unwrap().drain(..2); }),
        s("half applied: no inbound connector", |_, o| o.inbound_connectors = Ok(Vec::new())),
        s("half applied: no outbound connector", |_, o| o.outbound_connectors = Ok(Vec::new())),
        s("domain not accepted", |_, o| o.accepted_domains = Ok(Vec::new())),
        s("domain became authoritative", |_, o| set(&mut o.accepted_domains, 0, "DomainType", json!("Authoritative"))),
        s("foreign rules of Proofpoint", |_, o| vendor(o, "Proofpoint", "mx0a.pphosted.com")),
        s("foreign rules of Mimecast", |_, o| vendor(o, "Mimecast", "eu-smtp.mimecast.com")),
        s("foreign rules of Exclaimer", |_, o| vendor(o, "Exclaimer", "smtp.uk1.exclaimer.net")),
        s("foreign rules of CodeTwo", |_, o| vendor(o, "CodeTwo", "eu.smtp.codetwo.online")),
        s("foreign rules of SEPPmail", |_, o| vendor(o, "SEPPmail", "gate.seppmail.cloud")),
        s("foreign rules of Check Point", |_, o| vendor(o, "Check Point", "contoso.mail.avanan.net")),
        s("foreign rules of Hornetsecurity", |_, o| vendor(o, "Hornet", "mx.hornetsecurity.com")),
        s("a stop rule of somebody above ours", |_, o| o.rules.as_mut().unwrap().insert(0, foreign_rule("Executives", json!({"StopRuleProcessing": true})))),
        s("a stop rule of somebody below ours", |_, o| o.rules.as_mut().unwrap().push(foreign_rule("Archive", json!({"StopRuleProcessing": true})))),
        s("a rule that bypasses the spam filter", |_, o| o.rules.as_mut().unwrap().push(foreign_rule("Scanner", json!({"SetSCL": -1})))),
        s("a partner connector that restricts", |_, o| o.inbound_connectors.as_mut().unwrap().push(object(json!({"Name": "Only Proofpoint", "Enabled": true, "ConnectorType": "Partner", "SenderDomains": ["smtp:*;1"], "RestrictDomainsToCertificate": true, "TlsSenderCertificateName": "*.pphosted.com"})))),
        s("centralized mail transport", |_, o| o.outbound_connectors.as_mut().unwrap().push(object(json!({"Name": "Hybrid", "Enabled": true, "RouteAllMessagesViaOnPremises": true, "RecipientDomains": ["*"], "SmartHosts": ["mail.contoso.example"]})))),
        s("dehydrated, and rejects direct send", |_, o| { set(&mut o.organization, 0, "IsDehydrated", json!(true)); set(&mut o.organization, 0, "RejectDirectSend", json!(true)); }),
        s("inbound connector created disabled", |_, o| set(&mut o.inbound_connectors, 0, "Enabled", json!(false))),
        s("unknown: rules", |_, o| o.rules = Err("Exchange Online answered 504".into())),
        s("unknown: inbound connectors, and rules are gone", |_, o| { o.inbound_connectors = Err("Get-InboundConnector is cut off: Exchange says that there is more".into()); o.rules = Ok(Vec::new()); }),
        s("unknown: everything", |_, o| {
            let e = || Err("Exchange Online refuses the application (403)".into());
            (o.accepted_domains, o.inbound_connectors, o.outbound_connectors, o.rules, o.organization) = (e(), e(), e(), e(), e());
            (o.arc, o.spoof_items, o.audit_config, o.journal_rules) = (e(), e(), e(), e());
        }),
        s("unknown: permissions at one service", |_, o| o.granted.0[2].1 = Err("the activity feed did not answer in time".into())),
        s("a journal rule of somebody", |_, o| o.journal_rules = Ok(vec![object(json!({"Name": "Archive", "JournalEmailAddress": "journal@archive.example", "Enabled": true}))])),
        s("dehydrated, and nothing of ours yet", |t, o| { t.routing = Routing::Off; *o = nothing_of_ours(); set(&mut o.organization, 0, "IsDehydrated", json!(true)); }),
        s("tamper: a role and a permission revoked", |_, o| o.granted = granted_but(&["Exchange Administrator", "ActivityFeed.Read"])),
        s("tamper: the application was deleted", |_, o| {
            o.application = Application::Absent("AADSTS700016: Application with identifier 'a' was not found".into());
            let e = || Err("AADSTS700016: Application with identifier 'a' was not found".into());
            (o.accepted_domains, o.inbound_connectors, o.outbound_connectors, o.rules, o.organization) = (e(), e(), e(), e(), e());
            o.granted = Granted(Vec::new());
        }),
        s("tamper: somebody added a secret to our application", |_, o| { if let Application::Seen { row, .. } = &mut o.application { row.insert("passwordCredentials".into(), json!([{"keyId": "x"}])); } }),
        s("tamper: ARC sealer and spoof entries removed, audit log off", |_, o| {
            o.arc = Ok(vec![object(json!({"ArcTrustedSealers": ["others.example"]}))]);
            o.spoof_items = Ok(Vec::new());
            o.audit_config = Ok(vec![object(json!({"UnifiedAuditLogIngestionEnabled": false}))]);
        }),
        s("the application's certificate ends in forty days", |_, o| o.application = application(40)),
        s("the application's certificate ends in five days", |_, o| o.application = application(5)),
        s("somebody wants the application's certificate renewed", |_, o| o.rotate.application = true),
        s("secrets are being rotated", |t, o| stage(t, o, |t| { t.pass.next = Some(tenant::Secret::new("dddd")); t.route.next = Some(tenant::Secret::new("eeee")); })),
        s("tamper: rules audited, disabled, excepted, swapped", |_, o| {
            set(&mut o.rules, 0, "Mode", json!("Audit"));
            set(&mut o.rules, 0, "State", json!("Disabled"));
            set(&mut o.rules, 1, "ExceptIfHeaderMatchesPatterns", json!(["^forged$"]));
            set(&mut o.rules, 1, "ExceptIfFrom", json!(["boss@contoso.example"]));
            o.rules.as_mut().unwrap().swap(1, 2);
        }),
        s("tamper: the loop exception is gone", |_, o| { set(&mut o.rules, 0, "ExceptIfHeaderMatchesMessageHeader", json!(null)); set(&mut o.rules, 0, "ExceptIfHeaderMatchesPatterns", json!(null)); }),
        s("tamper: smart host and its name changed", |_, o| { set(&mut o.outbound_connectors, 0, "SmartHosts", json!(["mx.evil.example"])); set(&mut o.outbound_connectors, 0, "TlsDomain", json!("mx.evil.example")); }),
        s("tamper: certificate name changed", |_, o| set(&mut o.inbound_connectors, 0, "TlsSenderCertificateName", json!("*.evil.example"))),
        s("tamper: a rule renamed, known by its guid", |_, o| {
            set(&mut o.rules, 0, "Guid", json!("0f3c1c5e-0000-4000-8000-000000000001"));
            set(&mut o.rules, 0, "Name", json!("do not touch"));
            o.known.insert("TransportRule Posthouse inbound".into(), "0f3c1c5e-0000-4000-8000-000000000001".into());
        }),
        s("tamper: comment edited", |_, o| set(&mut o.rules, 2, "Comments", json!("who made this?"))),
        s("stage: inbound off", |t, o| stage(t, o, |t| t.rollout.inbound = Stage::Off)),
        s("stage: both off", |t, o| stage(t, o, |t| { t.rollout.inbound = Stage::Off; t.rollout.outbound = Stage::Off; })),
        s("stage: audit only", |t, o| stage(t, o, |t| { t.rollout.inbound = Stage::Audit; t.rollout.outbound = Stage::Audit; })),
        s("stage: pilot, with a group left out", |t, o| stage(t, o, |t| { t.rollout.inbound = Stage::Pilot; t.rollout.pilot_groups = vec!["it@contoso.example".into()]; t.rollout.excluded_groups = vec!["board@contoso.example".into()]; })),
        s("stage: from pilot to everyone", |t, o| { t.rollout.inbound = Stage::Pilot; t.rollout.outbound = Stage::Pilot; t.rollout.pilot_groups = vec!["it@contoso.example".into()]; stage(t, o, |t| { t.rollout.inbound = Stage::Everyone; t.rollout.outbound = Stage::Everyone; }); }),
        s("stage: back from everyone to off, rules tampered meanwhile", |t, o| { stage(t, o, |t| t.rollout.inbound = Stage::Off); set(&mut o.rules, 0, "Mode", json!("Audit")); }),
        s("stage: on again from off", |t, o| { t.rollout.inbound = Stage::Off; stage(t, o, |t| t.rollout.inbound = Stage::Everyone); }),
    ]
}

#[test]
fn golden_plans() {
    for (name, change) in situations() {
        let mut tenant = proven();
        let mut observed = as_it_should_be(&tenant);
        change(&mut tenant, &mut observed);
        let plan = planned(&tenant, &observed);
        insta::assert_snapshot!(name, format!("{name}\n\n{plan}"));
        assert!(!plan.to_string().contains("aaaa") && !plan.to_string().contains("bbbb"), "{name} tells a secret");
        assert_eq!(planned(&tenant, &observed).id, plan.id, "{name}: the same tenant, another plan");
    }
}

fn receipt(object: &str, prior: serde_json::Value) -> Receipt {
    Receipt {
        plan: String::new(),
        by: "connect".into(),
        step: String::new(),
        object: object.into(),
        call: String::new(),
        prior,
        answer: Receipt::DONE.into(),
    }
}

#[test]
fn golden_removals() {
    let removal_of = |name: &str, receipts: &[Receipt], change: &dyn Fn(&mut Observed)| {
        let tenant = proven();
        let mut observed = as_it_should_be(&tenant);
        change(&mut observed);
        let changes = removal(&tenant, &settings(), &observed, &Before(receipts));
        let plan = Plan::new(&tenant, changes, observed.unknown(), Vec::new()).unwrap();
        insta::assert_snapshot!(name, format!("{name}\n\n{plan}"));
    };
    let ours = [
        "spoof allow entry for 192.0.2.1, external",
        "spoof allow entry for 192.0.2.1, internal",
        "trusted ARC sealer connect.example",
    ]
    .map(|object| receipt(object, serde_json::Value::Null));
    removal_of("removal of all", &ours, &|_| ());
    removal_of("removal of what is left after half a removal", &ours, &|o| {
        o.rules = Ok(Vec::new());
        o.outbound_connectors = Ok(Vec::new());
    });
    removal_of("removal while rules cannot be read", &ours, &|o| o.rules = Err("Exchange Online answered 504".into()));
    removal_of("removal leaves what belongs to others", &ours, &|o| {
        vendor(o, "Mimecast", "eu-smtp.mimecast.com");
    });
    let [external, internal, _] = ours;
    let before = [
        external,
        internal,
        receipt(
            "outbound connector “Posthouse to gateway”",
            json!({"Name": "Posthouse to gateway", "ConnectorType": "Partner", "SmartHosts": ["old.example"], "UseMXRecord": false, "Enabled": true}),
        ),
        receipt("trusted ARC sealer connect.example", json!({"ArcTrustedSealers": "connect.example"})),
        receipt("audit log of the tenant", json!({"UnifiedAuditLogIngestionEnabled": false})),
    ];
    removal_of("removal puts back what was there before", &before, &|_| ());
}

/// An approved plan is another one as soon as anything that it would write or was based on differs.
#[test]
fn an_id_is_what_the_plan_says() {
    let tenant = proven();
    let mut ids = std::collections::BTreeMap::new();
    for (name, change) in situations() {
        let (mut tenant, mut observed) = (tenant.clone(), as_it_should_be(&tenant));
        change(&mut tenant, &mut observed);
        let plan = planned(&tenant, &observed);
        if !plan.changes.is_empty()
            && let Some(other) = ids.insert(plan.id, name)
        {
            panic!("“{name}” and “{other}” have the same id");
        }
    }
    // a secret differs and nothing that is shown does
    let mut other = tenant.clone();
    other.pass = tenant::MarkSecrets::new(tenant::Secret::new("cccc"));
    let observed = nothing_of_ours();
    let (one, two) = (planned(&tenant, &observed), planned(&other, &observed));
    assert_eq!(one.to_string(), two.to_string());
    assert_ne!(one.id, two.id);
}

/// The next secrets are written an hour after the rules were told of them, and never where the rules do not know them.
#[test]
fn the_next_secrets_are_written_once_the_rules_know_them_for_certain() {
    let mut tenant = contoso();
    let mut observed = as_it_should_be(&tenant);
    assert!(!may_advance(&tenant, &observed), "there are none");
    for secrets in [&mut tenant.pass, &mut tenant.route] {
        (secrets.next, secrets.told) = (Some(tenant::Secret::new("the next".to_owned())), NOW);
    }
    observed.at = NOW + 2 * limits::SECRET_IN_EFFECT_SECS;
    assert!(!may_advance(&tenant, &observed), "the rules know the ones of before alone");
    let mut observed = as_it_should_be(&tenant);
    observed.at = NOW + limits::SECRET_IN_EFFECT_SECS;
    assert!(!may_advance(&tenant, &observed), "they may not be in effect everywhere");
    observed.at += 1;
    assert!(may_advance(&tenant, &observed));
    tenant.pass.told = 0;
    assert!(!may_advance(&tenant, &observed), "nobody told the rules");
}

/// The watchdog's plan disables what it holds closed and repairs nothing, whatever else somebody changed; with it carried
/// out the tenant is as it should be, at each stage, and to a person the same tenant has a way to open.
#[test]
fn what_the_watchdog_holds_closed_is_disabled_and_no_more() {
    for stage in [tenant::Stage::Everyone, tenant::Stage::Pilot] {
        let open = Tenant {
            rollout: tenant::Rollout {
                inbound: stage,
                pilot_groups: vec!["it@contoso.example".into()],
                ..Default::default()
            },
            ..proven()
        };
        let mut observed = as_it_should_be(&open);
        observed.rules.as_mut().unwrap()[0].insert("Mode".into(), json!("Audit"));
        observed.rules.as_mut().unwrap()[2].insert("State".into(), json!("Disabled"));
        let closed = Tenant { closed: vec![Direction::Inbound], ..open.clone() };
        let actions: Vec<_> =
            closing_changes(&closed, &observed).iter().map(|c| (c.action, c.object.clone())).collect();
        assert_eq!(actions, [(Action::Disable, "mail flow rule “Posthouse inbound”".to_owned())]);
        assert!(!is_closed(&closed, &observed));

        let mut observed = as_it_should_be(&open);
        observed.rules.as_mut().unwrap()[0].insert("State".into(), json!("Disabled"));
        assert!(is_closed(&closed, &observed));
        assert!(planned(&closed, &observed).is_empty(), "{}", planned(&closed, &observed));
        let a_persons = planned(&open, &observed).changes;
        assert!(a_persons.len() == 1 && a_persons[0].action == Action::Enable && routes_mail(&a_persons[0]));
        assert!(is_held_closed(&closed, &a_persons[0]) && !is_held_closed(&open, &a_persons[0]));
        observed.rules = Err("a timeout".into());
        assert!(!is_closed(&closed, &observed), "what cannot be read is not closed");
    }
}
