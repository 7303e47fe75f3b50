//! Audit records as the activity feed writes them (wire.md 9.1, 9.3; schema page, 2026-06).
//!
//! What applications look like in it is assumed: UserType 5 or 6 (Q41), their display name as UserId.

use crate::audit::AuditRecord;
use crate::switches::Switches;
use crate::world::Tenant;
use jiff::Timestamp;
use serde_json::{Value, json};

pub fn show(t: &Tenant, n: usize, switches: &Switches) -> Value {
    let Some(record) = t.audit.get(n) else { return Value::Null };
    let mut shown = match record.workload.as_str() {
        "Exchange" => exchange(t, record, n),
        _ => directory(t, record),
    };
    shown["UserType"] = if record.by_app { switches.activity_app_user_type } else { 2 }.into();
    shown
}

/// UTC without saying so (recorded).
fn zoneless(unix: i64) -> String {
    Timestamp::from_second(unix).map(|t| t.strftime("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default()
}

/// `ip:port`, with brackets around IPv6; empty stays empty.
fn with_port(ip: &str, n: usize) -> String {
    let port = 49_152 + n % 16_384;
    match ip.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Ok(ip) => format!("{ip}:{port}"),
        Err(_) => ip.to_owned(),
    }
}

/// Always a string: lists joined by `;`, switches by their .NET name.
fn value(given: &Value) -> String {
    match given {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "True" } else { "False" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(value).collect::<Vec<_>>().join(";"),
        Value::Object(map) => map
            .iter()
            .filter(|(k, _)| !k.contains('@'))
            .map(|(k, v)| format!("{k}={}", value(v)))
            .collect::<Vec<_>>()
            .join(";"),
        Value::Number(n) => n.to_string(),
    }
}

fn exchange(t: &Tenant, r: &AuditRecord, n: usize) -> Value {
    let parameters: Vec<Value> =
        r.parameters.iter().map(|(name, given)| json!({"Name": name, "Value": value(given)})).collect();
    let app_id = r.app_id.map(|id| id.to_string()).unwrap_or_default();
    json!({
        "CreationTime": zoneless(r.at), "Id": r.id, "Operation": r.operation, "OrganizationId": t.id, "RecordType": 1,
        "ResultStatus": if r.succeeded { "True" } else { "False" },
        "UserKey": r.actor.map_or_else(|| r.user_id.clone(), |id| id.simple().to_string()), "UserType": 2, "Version": 1,
        "Workload": "Exchange", "ClientIP": with_port(&r.client_ip, n), "ObjectId": r.object_id, "UserId": r.user_id,
        "AppId": app_id, "ClientAppId": "", "ExternalAccess": false, "OrganizationName": t.initial_domain,
        "OriginatingServer": "SIM01A01MB0001 (15.20.7587.036)", "Parameters": parameters, "SessionId": "",
        "TokenObjectId": r.actor.map(|id| id.to_string()).unwrap_or_default(),
        "TokenTenantId": r.app_id.map(|_| t.id.to_string()).unwrap_or_default(),
    })
}

/// Target type: 1 a name, 2 something else, as in the schema's IdentityTypePair.
fn directory(t: &Tenant, r: &AuditRecord) -> Value {
    let pair = |id: &str, kind: u8| json!({"ID": id, "Type": kind});
    let target = |target: &crate::audit::Target| {
        [
            pair(&format!("{}_{}", target.kind, target.id), 2),
            pair(&target.id, 2),
            pair(&target.kind, 2),
            pair(&target.name, 1),
        ]
    };
    let mut actor = vec![pair(&r.user_id, if r.by_app { 1 } else { 5 })];
    if let Some(id) = r.actor {
        let kind = if r.by_app { "ServicePrincipal" } else { "User" };
        actor.extend([pair(&format!("{kind}_{id}"), 2), pair(&id.to_string(), 2), pair(kind, 2)]);
    }
    if let Some(app) = r.app_id.filter(|_| r.by_app) {
        actor.push(pair(&app.to_string(), 2));
    }
    let modified: Vec<Value> =
        r.parameters.iter().map(|(name, new)| json!({"Name": name, "NewValue": value(new), "OldValue": ""})).collect();
    json!({
        "CreationTime": zoneless(r.at), "Id": r.id, "Operation": format!("{}.", r.operation), "OrganizationId": t.id,
        "RecordType": 8, "ResultStatus": if r.succeeded { "Success" } else { "Failure" },
        "UserKey": r.actor.map_or_else(|| r.user_id.clone(), |id| id.to_string()), "UserType": 2, "Version": 1,
        "Workload": "AzureActiveDirectory", "ClientIP": r.client_ip, "ObjectId": r.object_id, "UserId": r.user_id,
        "AzureActiveDirectoryEventType": 1, "ExtendedProperties": [{"Name": "extendedAuditEventCategory", "Value": r.targets.first().map_or("Other", |t| t.kind.as_str())}],
        "ModifiedProperties": modified, "Actor": actor, "ActorContextId": t.id, "InterSystemsId": r.id,
        "IntraSystemId": r.id, "SupportTicketId": "",
        "Target": r.targets.iter().flat_map(target).collect::<Vec<_>>(), "TargetContextId": t.id,
    })
}
