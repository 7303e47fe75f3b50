//! A tenant's whole configuration as text, in a stable order and format, so that two exports are compared byte for byte.
//!
//! No mail, no audit log, no secrets, nothing of our own (`_` keys); not when or by whom an object was last changed
//! either, since that is the audit log's to tell: an object that was changed and changed back is the same again.

use crate::exchange::{Row, rbac};
use crate::world::{Application, ServicePrincipal, Tenant};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Says when or who, not what.
const NOT_CONFIGURATION: [&str; 3] = ["WhenChanged", "WhenChangedUTC", "LastModifiedBy"];

pub fn text(t: &Tenant) -> String {
    let mut text = serde_json::to_string_pretty(&sorted(whole(t))).unwrap_or_default();
    text.push('\n');
    text
}

fn whole(t: &Tenant) -> Value {
    let settings = &t.settings;
    json!({
        "tenant": {"id": t.id, "displayName": t.display_name, "initialDomain": t.initial_domain, "onprem_connector_restricted": t.onprem_connector_restricted},
        "exchange": {
            "inboundConnectors": by_name(&t.inbound_connectors),
            "outboundConnectors": by_name(&t.outbound_connectors),
            // in the order of their priority
            "transportRules": t.transport_rules.iter().map(plain).collect::<Vec<_>>(),
            "acceptedDomains": by_key(t.accepted_domains.iter().map(|d| json!({"name": d.name, "domainType": d.domain_type, "default": d.default, "initial": d.initial})).collect(), "name"),
            "arcTrustedSealers": t.arc_trusted_sealers,
            "spoofItems": by_key(settings.spoof_items.iter().map(plain).collect(), "Identity"),
            "connectionFilter": plain(&settings.connection_filter),
            "organizationConfig": plain(&t.organization_config),
            "transportConfig": plain(&settings.transport_config),
            "adminAuditLogConfig": {"UnifiedAuditLogIngestionEnabled": settings.ingestion.wanted},
            "journalRules": by_name(&settings.journal_rules),
            "roleGroups": by_name(&rbac::groups(t)),
            "managementRoles": by_name(&settings.rbac.roles),
            "managementRoleAssignments": by_name(&settings.rbac.assignments),
            "servicePrincipals": by_name(&settings.rbac.service_principals),
            "managementScopes": by_name(&settings.rbac.scopes),
            "applicationAccessPolicies": by_name(&settings.access_policies),
        },
        // empty: no application can open a mailbox
        "mail": {
            "permissions": crate::graph::access::mail_permissions(t),
            "subscriptions": by_key(t.subscriptions.iter().map(subscription).collect(), "id"),
        },
        "entra": {
            "domains": by_key(t.domains.iter().map(|d| json!({"id": d.id, "isVerified": d.is_verified, "isDefault": d.is_default, "isInitial": d.is_initial, "supportedServices": d.supported_services})).collect(), "id"),
            "applications": by_key(t.applications.iter().map(application).collect(), "id"),
            "servicePrincipals": by_key(t.service_principals.iter().map(principal).collect(), "id"),
            "oauth2PermissionGrants": by_key(t.permission_grants.iter().map(|g| json!({"id": g.id, "clientId": g.client, "resourceId": g.resource, "consentType": g.consent_type, "principalId": g.principal, "scope": words(&g.scope)})).collect(), "id"),
            "appRoleAssignments": by_key(t.app_role_assignments.iter().map(|a| json!({"id": a.id, "principalId": a.principal, "resourceId": a.resource, "appRoleId": a.app_role})).collect(), "id"),
            "directoryRoles": by_key(roles(t), "roleTemplateId"),
            "users": by_key(t.users.iter().map(|u| json!({"id": u.id, "userPrincipalName": u.upn, "displayName": u.display_name, "accountEnabled": u.enabled, "mailboxType": u.mailbox_type, "addresses": u.addresses})).collect(), "id"),
            "groups": by_key(t.groups.iter().map(|g| json!({"id": g.id, "displayName": g.display_name, "mail": g.mail, "kind": g.kind, "members": ids(&g.members)})).collect(), "id"),
        },
    })
}

/// Without its end, which renewals move.
fn subscription(s: &crate::notify::Subscription) -> Value {
    json!({"id": s.id, "applicationId": s.app_id, "resource": s.resource, "changeType": s.changes, "notificationUrl": s.notification_url, "lifecycleNotificationUrl": s.lifecycle_url, "includeResourceData": s.is_rich()})
}

fn plain(object: &Row) -> Value {
    let kept = |key: &str| !key.starts_with('_') && !NOT_CONFIGURATION.contains(&key);
    object.iter().filter(|(k, _)| kept(k)).map(|(k, v)| (k.clone(), v.clone())).collect::<Map<_, _>>().into()
}

fn by_name(list: &[Row]) -> Value {
    by_key(list.iter().map(plain).collect(), "Name")
}

fn by_key(mut list: Vec<Value>, key: &str) -> Value {
    list.sort_by(|a, b| a[key].as_str().cmp(&b[key].as_str()));
    list.into()
}

fn ids(list: &[Uuid]) -> Vec<String> {
    let mut ids: Vec<String> = list.iter().map(Uuid::to_string).collect();
    ids.sort();
    ids
}

/// Scopes have no order.
fn words(scope: &str) -> Vec<&str> {
    let mut words: Vec<&str> = scope.split_whitespace().collect();
    words.sort_unstable();
    words
}

fn date(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// Credentials by what they are, without their secret.
fn application(a: &Application) -> Value {
    let credentials = a.credentials.iter().map(|c| json!({"keyId": c.key_id, "displayName": c.display_name, "kind": if c.certificate.is_some() { "certificate" } else { "secret" }, "start": date(c.start), "end": date(c.end)})).collect();
    json!({"id": a.id, "appId": a.app_id, "displayName": a.display_name, "signInAudience": a.sign_in_audience, "requiredResourceAccess": a.required_resource_access, "redirectUris": a.redirect_uris, "isFallbackPublicClient": a.is_public_client, "credentials": by_key(credentials, "keyId"), "owners": ids(&a.owners), "other": a.other})
}

fn principal(s: &ServicePrincipal) -> Value {
    json!({"id": s.id, "appId": s.app_id, "displayName": s.display_name, "accountEnabled": s.account_enabled, "firstParty": s.first_party})
}

/// A role that somebody activated and nobody holds is like one that was never activated.
fn roles(t: &Tenant) -> Vec<Value> {
    let held = t.directory_roles.iter().filter(|r| !r.members.is_empty());
    held.map(|r| {
        let members: Vec<Uuid> = r.members.iter().map(|(m, _)| *m).collect();
        json!({"roleTemplateId": r.template, "displayName": r.display_name, "members": ids(&members)})
    })
    .collect()
}

/// Every object with its keys in the order of the alphabet.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.into_iter().collect::<Map<_, _>>().into()
        }
        Value::Array(list) => list.into_iter().map(sorted).collect::<Vec<_>>().into(),
        other => other,
    }
}
