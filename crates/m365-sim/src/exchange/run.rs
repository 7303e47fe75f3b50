//! Running one cmdlet in a tenant: confirmation, the right state to read, the audit record.

use super::parameters::Parameters;
use super::{CmdletError, Row, filters, objects, rbac, rules, scopes, settings, trace};
use crate::audit::AuditRecord;
use crate::entra::bearer::Caller;
use crate::history;
use crate::switches::Switches;
use crate::world::{Tenant, TraceEntry, World};
use serde_json::{Value, json};
use std::ops::Range;
use uuid::Uuid;

/// What a cmdlet gives back.
#[derive(Debug, Default)]
pub struct Output {
    pub rows: Vec<Row>,
    pub warnings: Vec<String>,
    /// Asked instead of done.
    pub confirmation: Option<String>,
}

impl Output {
    pub fn rows(rows: Vec<Row>) -> Output {
        Output { rows, ..Output::default() }
    }
}

/// Who runs a cmdlet.
#[derive(Clone, Debug)]
pub struct Actor {
    pub name: String,
    pub object: Option<Uuid>,
    pub app_id: Option<Uuid>,
    /// An application for itself, without a user.
    pub by_app: bool,
    pub client_ip: String,
    /// Sees every change at once: the control door's administrator, who is the scenario itself.
    pub portal: bool,
}

impl Actor {
    pub fn of(caller: &Caller) -> Actor {
        Actor {
            name: caller.user.clone().unwrap_or_else(|| caller.display_name.clone()),
            object: Some(caller.object_id),
            app_id: Some(caller.app_id),
            by_app: caller.user.is_none(),
            client_ip: caller.client_ip.clone(),
            portal: false,
        }
    }
    pub fn portal(name: &str, client_ip: &str) -> Actor {
        Actor {
            name: name.into(),
            object: None,
            app_id: None,
            by_app: false,
            client_ip: client_ip.into(),
            portal: true,
        }
    }
}

/// The world's settings that a cmdlet depends on.
pub struct Run<'a> {
    pub by: String,
    pub now: jiff::Timestamp,
    pub unknown_identity_returns_all: bool,
    pub rule_delay: i64,
    pub audit_delay: i64,
    /// Until an application feels what limits or allows it at mailboxes (Q64).
    pub access_delay: i64,
    pub trace: &'a [TraceEntry],
    /// Rows from and up to which the answer will show: long lists need not build the others.
    pub window: Range<usize>,
}

/// Reading cmdlets leave no trace in the audit log (wire.md 9.1).
pub fn mutates(cmdlet: &str) -> bool {
    let reads = |verb: &str| cmdlet.get(..verb.len()).is_some_and(|v| v.eq_ignore_ascii_case(verb));
    !reads("Get-") && !reads("Validate-") && !reads("Test-")
}

/// Runs a cmdlet in a tenant and writes it into the audit log; also the way of the control door's administrator.
pub fn run(world: &World, tenant: Uuid, cmdlet: &str, given: &Value, actor: Actor) -> Result<Output, CmdletError> {
    run_shown(world, tenant, cmdlet, given, actor, 0..usize::MAX)
}

/// The same where it is known which rows will be shown.
pub fn run_shown(
    world: &World,
    tenant: Uuid,
    cmdlet: &str,
    given: &Value,
    actor: Actor,
    window: Range<usize>,
) -> Result<Output, CmdletError> {
    let (name, p) = Parameters::check(cmdlet, given)?;
    let mut guard = world.state();
    let state = &mut *guard;
    let switches = &state.switches;
    let run = Run {
        by: actor.name.clone(),
        now: world.clock.now(),
        unknown_identity_returns_all: switches.exo_get_unknown_identity == "return_all",
        rule_delay: switches.rule_effective_delay_secs,
        audit_delay: switches.audit_enable_delay_secs,
        access_delay: switches.mail_access_delay_secs,
        trace: &state.trace,
        window,
    };
    let t = state.tenants.iter_mut().find(|t| t.id == tenant).ok_or_else(|| {
        CmdletError::business(
            "Microsoft.Exchange.Data.Directory.CannotResolveTenantNameException",
            "The tenant cannot be found.",
        )
    })?;
    if !mutates(name) {
        let lag = if actor.portal { 0 } else { switches.exo_replication_delay_secs };
        let view = history::exchange(t, run.now, lag);
        return history::reading(t, view, |t| execute(t, name, &p, &run));
    }
    if let Some(question) = question(name, &p, switches) {
        return Ok(Output { confirmation: Some(question), ..Output::default() });
    }
    if p.flag("WhatIf") == Some(true) {
        return Ok(Output::default());
    }
    history::put_aside(t, run.now, switches);
    let in_feed = t.settings.ingestion.is_on(run.now.as_second());
    let done = execute(t, name, &p, &run);
    t.audit.push(AuditRecord {
        id: Uuid::new_v4(),
        at: run.now.as_second(),
        workload: "Exchange".into(),
        operation: name.into(),
        object_id: object_id(&t.initial_domain, name, &p),
        user_id: actor.name,
        app_id: actor.app_id,
        actor: actor.object,
        by_app: actor.by_app,
        client_ip: actor.client_ip,
        succeeded: done.is_ok(),
        parameters: p.all().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        targets: Vec::new(),
        in_feed,
    });
    done
}

/// `contoso.onmicrosoft.com\GW inbound`; settings without an identity have the name of their one object.
fn object_id(domain: &str, cmdlet: &str, p: &Parameters) -> String {
    let given = ["Identity", "Name", "AppId", "Role"].iter().find_map(|key| p.text(key));
    match (given, cmdlet) {
        (Some(object), _) => format!("{domain}\\{object}"),
        (None, "Set-AdminAuditLogConfig") => format!("{domain}\\Admin Audit Log Settings"),
        (None, "Set-TransportConfig") => format!("{domain}\\Transport Settings"),
        (None, _) => domain.to_owned(),
    }
}

/// Q28: a destructive cmdlet asks first unless Confirm is false or Force is given, any other only if Confirm is true.
fn question(name: &str, p: &Parameters, switches: &Switches) -> Option<String> {
    let destructive = switches.exo_confirm && (name.starts_with("Remove-") || name.starts_with("Disable-"));
    if !p.flag("Confirm").unwrap_or(destructive) || p.flag("Force") == Some(true) {
        return None;
    }
    let object = p.text("Identity").or(p.text("Name")).unwrap_or_default();
    Some(format!("Are you sure you want to perform this action?\r\n{name} \"{object}\"."))
}

/// Not in a dehydrated organisation: filter policies and auditing (wire.md 7.5, 8.6, 8.9), roles
/// (Enable-OrganizationCustomization page, 2026-08). Connectors and rules work.
const NEED_HYDRATION: [&str; 5] = [
    "Set-HostedConnectionFilterPolicy",
    "Set-AdminAuditLogConfig",
    "New-ManagementRole",
    "New-RoleGroup",
    "New-ManagementRoleAssignment",
];

fn execute(t: &mut Tenant, name: &str, p: &Parameters, run: &Run<'_>) -> Result<Output, CmdletError> {
    let dehydrated = t.organization_config.get("IsDehydrated").and_then(Value::as_bool).unwrap_or(false);
    if dehydrated && NEED_HYDRATION.contains(&name) {
        return Err(CmdletError::business(
            "Microsoft.Exchange.Configuration.Tasks.InvalidOperationInDehydratedContextException",
            "The command you tried to run isn't currently allowed in your organization. To run this command, you first need to run the command: Enable-OrganizationCustomization.",
        ));
    }
    match name {
        "New-InboundConnector" => objects::new_inbound(t, p, run),
        "Set-InboundConnector" => objects::set_connector(t, p, run, true),
        "Get-InboundConnector" => objects::get(&t.inbound_connectors, p, run),
        "Remove-InboundConnector" => objects::remove_connector(t, p, true),
        "New-OutboundConnector" => objects::new_outbound(t, p, run),
        "Set-OutboundConnector" => objects::set_connector(t, p, run, false),
        "Get-OutboundConnector" | "Validate-OutboundConnector" => objects::get(&t.outbound_connectors, p, run),
        "Remove-OutboundConnector" => objects::remove_connector(t, p, false),
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
        "Enable-OrganizationCustomization" if !dehydrated => Err(CmdletError::business(
            "System.InvalidOperationException",
            "This operation is not required. Organization is already enabled for customization.",
        )),
        "Enable-OrganizationCustomization" => {
            t.organization_config.insert("IsDehydrated".into(), false.into());
            Ok(Output::default())
        }
        _ if name.contains("MessageTrace") => trace::execute(t, name, p, run),
        _ => settings::execute(t, name, p, run)
            .or_else(|| filters::execute(t, name, p, run))
            .or_else(|| rbac::execute(t, name, p, run))
            .or_else(|| scopes::execute(t, name, p, run))
            .unwrap_or_else(|| {
                let text = format!("The simulator does not run {name}.");
                Err(CmdletError::business("System.NotSupportedException", text))
            }),
    }
}

/// One row of a table that is written here as JSON.
pub fn row(value: Value) -> Row {
    match value {
        Value::Object(map) => map,
        _ => json!({}).as_object().cloned().unwrap_or_default(),
    }
}
