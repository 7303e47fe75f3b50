//! The built-in management roles and role groups, as far as their cmdlets are known here.
//!
//! Sources: the required roles that Microsoft365DSC states for connectors, rules, accepted domains and the
//! organisation's configuration (`settings.json` of its EXO resources, 2025–2026). The other cmdlets are sorted by the
//! roles' names and descriptions: assumed, to be compared with Get-ManagementRoleEntry of a live tenant.

/// Name, cmdlets.
pub const ROLES: &[(&str, &[&str])] = &[
    // for applications alone, without cmdlets (RBAC for Applications page, 2026-08)
    ("Application Exchange Full Access", &[]),
    ("Application Mail Full Access", &[]),
    ("Application Mail.Read", &[]),
    ("Application Mail.ReadBasic", &[]),
    ("Application Mail.ReadWrite", &[]),
    ("Application Mail.Send", &[]),
    ("Audit Logs", &["Get-AdminAuditLogConfig", "Set-AdminAuditLogConfig"]),
    ("Journaling", &["Get-JournalRule", "New-JournalRule", "Remove-JournalRule"]),
    ("Message Tracking", &["Get-MessageTrace", "Get-MessageTraceDetailV2", "Get-MessageTraceV2"]),
    (
        "Organization Configuration",
        &[
            "Enable-OrganizationCustomization",
            "Get-ApplicationAccessPolicy",
            "Get-OrganizationConfig",
            "New-ApplicationAccessPolicy",
            "Remove-ApplicationAccessPolicy",
            "Set-ApplicationAccessPolicy",
            "Set-OrganizationConfig",
            "Test-ApplicationAccessPolicy",
        ],
    ),
    ("Organization Transport Settings", &["Get-TransportConfig", "Set-TransportConfig"]),
    (
        "Remote and Accepted Domains",
        &[
            "Get-AcceptedDomain",
            "Get-InboundConnector",
            "Get-OutboundConnector",
            "New-InboundConnector",
            "New-OutboundConnector",
            "Remove-InboundConnector",
            "Remove-OutboundConnector",
            "Set-AcceptedDomain",
            "Set-InboundConnector",
            "Set-OutboundConnector",
            "Validate-OutboundConnector",
        ],
    ),
    (
        "Role Management",
        &[
            "Add-RoleGroupMember",
            "Get-ManagementRole",
            "Get-ManagementRoleAssignment",
            "Get-ManagementRoleEntry",
            "Get-ManagementScope",
            "Get-RoleGroup",
            "Get-RoleGroupMember",
            "Get-ServicePrincipal",
            "New-ManagementRole",
            "New-ManagementRoleAssignment",
            "New-ManagementScope",
            "New-RoleGroup",
            "New-ServicePrincipal",
            "Remove-ManagementRole",
            "Remove-ManagementRoleAssignment",
            "Remove-ManagementRoleEntry",
            "Remove-ManagementScope",
            "Remove-RoleGroup",
            "Remove-RoleGroupMember",
            "Remove-ServicePrincipal",
            "Test-ServicePrincipalAuthorization",
        ],
    ),
    (
        "Transport Hygiene",
        &[
            "Get-ArcConfig",
            "Get-HostedConnectionFilterPolicy",
            "Get-TenantAllowBlockListSpoofItems",
            "New-TenantAllowBlockListSpoofItems",
            "Remove-TenantAllowBlockListSpoofItems",
            "Set-ArcConfig",
            "Set-HostedConnectionFilterPolicy",
            "Set-TenantAllowBlockListSpoofItems",
        ],
    ),
    (
        "Transport Rules",
        &[
            "Disable-TransportRule",
            "Enable-TransportRule",
            "Get-TransportRule",
            "New-TransportRule",
            "Remove-TransportRule",
            "Set-TransportRule",
        ],
    ),
    (
        "View-Only Configuration",
        &[
            "Get-AcceptedDomain",
            "Get-AdminAuditLogConfig",
            "Get-ApplicationAccessPolicy",
            "Get-ArcConfig",
            "Get-HostedConnectionFilterPolicy",
            "Get-InboundConnector",
            "Get-JournalRule",
            "Get-ManagementRole",
            "Get-ManagementRoleAssignment",
            "Get-ManagementRoleEntry",
            "Get-ManagementScope",
            "Get-OrganizationConfig",
            "Get-OutboundConnector",
            "Get-RoleGroup",
            "Get-RoleGroupMember",
            "Get-ServicePrincipal",
            "Get-TenantAllowBlockListSpoofItems",
            "Get-TransportConfig",
            "Get-TransportRule",
        ],
    ),
    (
        "View-Only Recipients",
        &[
            "Get-DistributionGroup",
            "Get-DistributionGroupMember",
            "Get-Mailbox",
            "Get-MessageTrace",
            "Get-MessageTraceDetailV2",
            "Get-MessageTraceV2",
            "Get-Recipient",
            "Get-UnifiedGroup",
            "Get-UnifiedGroupLinks",
            "Get-User",
        ],
    ),
];

const VIEW_ONLY: &[&str] = &["View-Only Configuration", "View-Only Recipients"];

/// Name, roles; without roles: all of them.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("Hygiene Management", &["Transport Hygiene", "View-Only Configuration", "View-Only Recipients"]),
    ("Organization Management", &[]),
    ("View-Only Organization Management", VIEW_ONLY),
];

/// The cmdlets of a built-in role.
pub fn built_in(role: &str) -> Option<(&'static str, &'static [&'static str])> {
    ROLES.iter().find(|(name, _)| name.eq_ignore_ascii_case(role)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::parameters;

    #[test]
    fn roles_name_cmdlets_that_exist_and_leave_none_out() {
        let of_roles: Vec<&str> = ROLES.iter().flat_map(|(_, cmdlets)| *cmdlets).copied().collect();
        for cmdlet in &of_roles {
            assert!(parameters::known(cmdlet).is_some(), "{cmdlet}");
        }
        for name in parameters::names() {
            assert!(of_roles.contains(&name), "{name} is in no role, so that no role group may run it");
        }
        assert!(GROUPS.iter().flat_map(|(_, roles)| *roles).all(|r| built_in(r).is_some()));
    }
}
