//! The Exchange admin API on the wire (wire.md 7): InvokeCommand, its authorisation ladder, its answers.

mod errors;
mod objects;
pub mod parameters;
mod rules;

pub use errors::CmdletError;

use crate::audit::AuditRecord;
use crate::entra::bearer::{Caller, authorise};
use crate::entra::{EXCHANGE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR, GLOBAL_READER};
use crate::world::{Tenant, World};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use parameters::Parameters;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::ops::Range;
use uuid::Uuid;

/// Rows a list returns unless ResultSize says otherwise.
const RESULT_SIZE: usize = 1000;
const AUDIENCE: &str = "https://outlook.office365.com";

/// What a cmdlet gives back.
#[derive(Debug, Default)]
pub struct Output {
    pub rows: Vec<Map<String, Value>>,
    pub warnings: Vec<String>,
    /// Asked instead of done.
    pub confirmation: Option<String>,
}

impl Output {
    fn rows(rows: Vec<Map<String, Value>>) -> Output {
        Output { rows, ..Output::default() }
    }
}

/// Who runs a cmdlet, and the world's settings that it depends on.
pub struct Run<'a> {
    pub by: String,
    pub app_id: Option<Uuid>,
    pub client_ip: String,
    pub now: jiff::Timestamp,
    pub unknown_identity_returns_all: bool,
    pub rule_delay: i64,
    pub trace: &'a [crate::world::TraceEntry],
    /// Rows from and up to which the answer will show: long lists need not build the others.
    pub window: Range<usize>,
}

pub fn router(world: World) -> Router {
    Router::new()
        .route("/adminapi/{version}/{tenant}/InvokeCommand", post(invoke))
        .route("/adminapi/{version}/{tenant}/EXOModuleFile", get(module_file))
        .route("/adminapi/v2.0/{tenant}/AcceptedDomain", post(accepted_domain_v2))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(world)
}

async fn module_file(
    State(world): State<World>,
    Path((_, tenant)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match climb(&world, &headers, &tenant) {
        Ok(_) => Json(json!({"value": {"exportedCmdlets": parameters::names().collect::<Vec<_>>().join(",")}}))
            .into_response(),
        Err(refused) => refused,
    }
}

async fn accepted_domain_v2(
    world: State<World>,
    Path(tenant): Path<String>,
    query: Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    invoke(world, Path(("v2.0".into(), tenant)), query, headers, body).await
}

/// The ladder (recorded): no usable token or app role 401, app role without directory role 403, both 200.
fn climb(world: &World, headers: &HeaderMap, tenant: &str) -> Result<(Caller, bool), Response> {
    let unauthorized = || {
        (
            StatusCode::UNAUTHORIZED,
            [(
                "www-authenticate",
                "Bearer client_id=\"00000002-0000-0ff1-ce00-000000000000\", error=\"invalid_token\"",
            )],
        )
            .into_response()
    };
    let caller = authorise(world, headers, AUDIENCE).map_err(|_| unauthorized())?;
    if !caller.may(&["Exchange.ManageAsApp", "Exchange.Manage"]) {
        return Err(unauthorized());
    }
    let own = world.state().tenant(tenant).is_some_and(|t| t.id == caller.tenant);
    let writes = caller.wids.iter().any(|w| [EXCHANGE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR].contains(w));
    let reads = writes || caller.wids.contains(&GLOBAL_READER);
    if !own || !reads {
        return Err(forbidden(world, None));
    }
    Ok((caller, writes))
}

fn forbidden(world: &World, cmdlet: Option<&str>) -> Response {
    if world.state().switches.exo_403_body == "json" {
        let text = format!(
            "The cmdlet {} is not present in the role definition of the current user.",
            cmdlet.unwrap_or("InvokeCommand")
        );
        return (StatusCode::FORBIDDEN, Json(json!({"error": {"code": "Forbidden", "message": text}}))).into_response();
    }
    (StatusCode::FORBIDDEN, [("content-type", "application/octet-stream")], vec![0u8; 4096]).into_response()
}

async fn invoke(
    State(world): State<World>,
    Path((_version, tenant)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let cmdlet = input["CmdletInput"]["CmdletName"].as_str().unwrap_or_default().to_owned();
    let fault = world.state().take_fault("exchange", &cmdlet);
    if let Some(fault) = fault {
        return crate::server::faulty(&fault).await;
    }
    let (caller, writes) = match climb(&world, &headers, &tenant) {
        Ok(passed) => passed,
        Err(refused) => return refused,
    };
    // recorded: an unknown cmdlet is refused like one the caller may not run
    if !parameters::known(&cmdlet) || (!writes && !cmdlet.to_ascii_lowercase().starts_with("get-")) {
        return forbidden(&world, Some(&cmdlet));
    }
    let given = input["CmdletInput"]["Parameters"].clone();
    let page = headers
        .get("prefer")
        .and_then(|p| p.to_str().ok())
        .and_then(|p| p.split("odata.maxpagesize=").nth(1))
        .and_then(|n| n.split(';').next()?.trim().parse().ok());
    let from: usize = query.get("$skiptoken").and_then(|t| t.strip_prefix("ADZm")?.parse().ok()).unwrap_or(0);
    let whole = world.state().switches.exo_paging == "complete";
    let window = if whole { 0..usize::MAX } else { from..from.saturating_add(page.unwrap_or(RESULT_SIZE)) };
    let by = caller.user.clone().unwrap_or_else(|| caller.display_name.clone());
    let done = run_shown(&world, caller.tenant, &cmdlet, &given, by, Some(caller.app_id), &caller.client_ip, window);
    match done {
        Ok(output) => {
            let host = headers.get("host").and_then(|h| h.to_str().ok()).unwrap_or("outlook.office365.com");
            respond(&world, caller.tenant, host, output, &query, page)
        }
        Err(error) => error.response(),
    }
}

/// Runs a cmdlet in a tenant and writes it into the audit log; also the way of the control door's administrator.
pub fn run(
    world: &World,
    tenant: Uuid,
    cmdlet: &str,
    given: &Value,
    by: String,
    app_id: Option<Uuid>,
    client_ip: &str,
) -> Result<Output, CmdletError> {
    run_shown(world, tenant, cmdlet, given, by, app_id, client_ip, 0..usize::MAX)
}

#[expect(clippy::too_many_arguments, reason = "what `run` takes and the rows that will be shown")]
fn run_shown(
    world: &World,
    tenant: Uuid,
    cmdlet: &str,
    given: &Value,
    by: String,
    app_id: Option<Uuid>,
    client_ip: &str,
    window: Range<usize>,
) -> Result<Output, CmdletError> {
    let (name, parameters) = Parameters::check(cmdlet, given)?;
    let mut state = world.state();
    let trace: Vec<_> = if name == "Get-MessageTraceV2" {
        state.trace.iter().filter(|e| e.tenant == Some(tenant)).cloned().collect()
    } else {
        Vec::new()
    };
    let confirms = state.switches.exo_confirm;
    let run = Run {
        by: by.clone(),
        app_id,
        client_ip: client_ip.to_owned(),
        now: world.clock.now(),
        unknown_identity_returns_all: state.switches.exo_get_unknown_identity == "return_all",
        rule_delay: state.switches.rule_effective_delay_secs,
        trace: &trace,
        window,
    };
    let t = state.tenants.iter_mut().find(|t| t.id == tenant).ok_or_else(|| {
        CmdletError::business(
            "Microsoft.Exchange.Data.Directory.CannotResolveTenantNameException",
            "The tenant cannot be found.",
        )
    })?;
    let mutates = !name.starts_with("Get-") && !name.starts_with("Validate-");
    // Q28: a destructive cmdlet asks first unless Confirm is false, any other only if Confirm is true
    let destructive = confirms && (name.starts_with("Remove-") || name.starts_with("Disable-"));
    if mutates && parameters.flag("Confirm").unwrap_or(destructive) {
        let object = parameters.text("Identity").or(parameters.text("Name")).unwrap_or_default();
        let confirmation = Some(format!("Are you sure you want to perform this action?\r\n{name} \"{object}\"."));
        return Ok(Output { confirmation, ..Output::default() });
    }
    let done = execute(t, name, &parameters, &run);
    if mutates {
        let object = parameters.text("Identity").or(parameters.text("Name")).unwrap_or_default();
        t.audit.push(AuditRecord {
            id: Uuid::new_v4(),
            at: run.now.as_second(),
            workload: "Exchange".into(),
            operation: name.into(),
            object_id: format!("{}\\{object}", t.initial_domain),
            user_id: by,
            app_id,
            client_ip: client_ip.into(),
            succeeded: done.is_ok(),
            parameters: parameters.all().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        });
    }
    done
}

fn execute(t: &mut Tenant, name: &str, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let dehydrated = t.organization_config.get("IsDehydrated").and_then(Value::as_bool).unwrap_or(false);
    if dehydrated && matches!(name, "Set-HostedConnectionFilterPolicy" | "Set-AdminAuditLogConfig") {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Configuration.Tasks.InvalidOperationInDehydratedContextException",
            "The command you tried to run isn't currently allowed in your organization. To run this command, you first need to run the command: Enable-OrganizationCustomization.",
        ));
    }
    match name {
        "New-InboundConnector" => objects::new_inbound(t, p, run),
        "Set-InboundConnector" => objects::set_connector(t, p, run, true),
        "Get-InboundConnector" => objects::get(&t.inbound_connectors, p, run, "inbound connector"),
        "Remove-InboundConnector" => objects::remove_connector(t, p, true),
        "New-OutboundConnector" => objects::new_outbound(t, p, run),
        "Set-OutboundConnector" => objects::set_connector(t, p, run, false),
        "Get-OutboundConnector" => objects::get(&t.outbound_connectors, p, run, "outbound connector"),
        "Remove-OutboundConnector" => objects::remove_connector(t, p, false),
        "Validate-OutboundConnector" => objects::get(&t.outbound_connectors, p, run, "outbound connector"),
        "New-TransportRule" => rules::new(t, p, run),
        "Set-TransportRule" => rules::set(t, p, run),
        "Get-TransportRule" => rules::get(t, p, run),
        "Remove-TransportRule" => rules::remove(t, p),
        "Enable-TransportRule" => rules::switch(t, p, run, true),
        "Disable-TransportRule" => rules::switch(t, p, run, false),
        "Get-AcceptedDomain" => objects::get_accepted_domains(t, p, run),
        "Set-AcceptedDomain" => objects::set_accepted_domain(t, p),
        "Get-Mailbox" | "Get-Recipient" | "Get-User" => objects::get_mailboxes(t, p, run, name == "Get-Recipient"),
        "Get-DistributionGroup" => {
            objects::get_groups(t, p, run, |kind| kind == "distribution" || kind == "mail_security")
        }
        "Get-UnifiedGroup" => objects::get_groups(t, p, run, |kind| kind == "unified"),
        "Get-DistributionGroupMember" | "Get-UnifiedGroupLinks" => objects::get_members(t, p),
        "Get-OrganizationConfig" => Ok(Output::rows(vec![t.organization_config.clone()])),
        "Set-OrganizationConfig" => {
            t.organization_config
                .extend(p.all().iter().filter(|(k, _)| *k != "Confirm").map(|(k, v)| (k.clone(), v.clone())));
            Ok(Output::default())
        }
        "Enable-OrganizationCustomization" if !dehydrated => Err(CmdletError::business(
            "System.InvalidOperationException",
            "This operation is not required. Organization is already enabled for customization.",
        )),
        "Enable-OrganizationCustomization" => {
            t.organization_config.insert("IsDehydrated".into(), false.into());
            Ok(Output::default())
        }
        "Get-ArcConfig" => Ok(Output::rows(vec![objects::row(
            json!({"Identity": "Default", "ArcTrustedSealers": t.arc_trusted_sealers.join(",")}),
        )])),
        "Set-ArcConfig" => {
            t.arc_trusted_sealers = p
                .list("ArcTrustedSealers")
                .into_iter()
                .map(|s| s.trim().to_owned())
                .filter(|s| !s.is_empty())
                .collect();
            Ok(Output::default())
        }
        "Get-AdminAuditLogConfig" => Ok(Output::rows(vec![objects::row(
            json!({"AdminAuditLogEnabled": true, "LogLevel": "None", "AdminAuditLogAgeLimit": "90.00:00:00", "UnifiedAuditLogIngestionEnabled": true, "Name": "Admin Audit Log Settings", "Identity": "Admin Audit Log Settings"}),
        )])),
        "Get-HostedConnectionFilterPolicy" => Ok(Output::rows(vec![objects::row(
            json!({"Identity": "Default", "Name": "Default", "IsDefault": true, "IPAllowList": [], "IPBlockList": [], "EnableSafeList": false, "DirectoryBasedEdgeBlockMode": "Default", "IsValid": true}),
        )])),
        "Get-MessageTraceV2" => objects::message_trace(p, run),
        other => {
            Err(CmdletError::business("System.NotSupportedException", format!("The simulator does not run {other}.")))
        }
    }
}

/// The success envelope with its sidecar annotations, projection and paging.
fn respond(
    world: &World,
    tenant: Uuid,
    host: &str,
    output: Output,
    query: &HashMap<String, String>,
    page: Option<usize>,
) -> Response {
    let paging = world.state().switches.exo_paging.clone();
    let total = output.rows.len();
    let from: usize = match query.get("$skiptoken") {
        None => 0,
        Some(_) if paging == "affinity_broken" => {
            return CmdletError::plain("Expired or Invalid pagination request. Default Expiry time is 00:30:00")
                .response();
        }
        Some(token) => token.strip_prefix("ADZm").and_then(|n| n.parse().ok()).unwrap_or(0),
    };
    let size = if paging == "complete" { usize::MAX } else { page.unwrap_or(RESULT_SIZE).clamp(1, RESULT_SIZE) };
    let select: Option<Vec<&str>> = query.get("$select").map(|s| s.split(',').map(str::trim).collect());
    let rows: Vec<Value> =
        output.rows.into_iter().skip(from).take(size).map(|r| annotate(r, select.as_deref())).collect();
    let mut warnings = output.warnings;
    let more = from + rows.len() < total;
    if more {
        warnings.push("There are more results available than are currently displayed. To view them, increase the value for the ResultSize parameter.".into());
    }
    let mut body = json!({"@odata.context": format!("https://outlook.office365.com/adminapi/beta/{tenant}/$metadata#Collection(Exchange.GenericHashTable)"), "adminapi.warnings@odata.type": "#Collection(String)", "@adminapi.warnings": warnings});
    if more {
        body["@odata.nextLink"] =
            format!("https://{host}/adminapi/beta/{tenant}/InvokeCommand?%24skiptoken=ADZm{}", from + rows.len())
                .into();
    }
    if let Some(text) = output.confirmation {
        body["@adminapi.confirmationmessage"] = text.into();
    }
    body["value"] = rows.into();
    ([("request-id", Uuid::new_v4().to_string()), ("organizationstatus", "Active".to_owned())], Json(body))
        .into_response()
}

fn annotate(row: Map<String, Value>, select: Option<&[&str]>) -> Value {
    let mut out = Map::new();
    for (key, value) in row {
        if key.starts_with('_') || select.is_some_and(|names| !names.contains(&key.as_str())) {
            continue;
        }
        match &value {
            Value::Number(_) => drop(out.insert(format!("{key}@data.type"), "System.Int32".into())),
            Value::Array(_) => drop(out.insert(format!("{key}@odata.type"), "#Collection(String)".into())),
            Value::String(_) if key == "Guid" => drop(out.insert(format!("{key}@data.type"), "System.Guid".into())),
            Value::String(_) if key == "WhenChanged" || key == "Received" => {
                drop(out.insert(format!("{key}@data.type"), "System.DateTime".into()))
            }
            _ => {}
        }
        out.insert(key, value);
    }
    out.into()
}
