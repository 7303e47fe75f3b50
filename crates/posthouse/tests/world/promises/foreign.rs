//! A tenant full of other people's configuration is, after disconnecting, byte for byte what it was before.

use super::*;

async fn made(world: &World, cmdlet: &str, parameters: Value) {
    world.exchange(cmdlet, parameters).await;
}

/// What an organization has after ten years.
async fn ten_years(world: &World) {
    let rule = |name: &str| json!({"Name": name, "SenderDomainIs": ["legal.example"], "PrependSubject": "[x] "});
    let with = |mut parameters: Value, key: &str, value: Value| {
        parameters[key] = value;
        parameters
    };
    made(world, "New-TransportRule", rule("Disclaimer")).await;
    made(world, "New-TransportRule", with(rule("Executives"), "StopRuleProcessing", json!(true))).await;
    made(world, "New-TransportRule", with(rule("Old and off"), "Enabled", json!(false))).await;
    let partner = json!({"Name": "From partner", "ConnectorType": "Partner", "SenderDomains": ["partner.example"], "RequireTls": true});
    made(world, "New-InboundConnector", partner).await;
    let scanner = json!({"Name": "From scanner", "ConnectorType": "OnPremises", "SenderDomains": ["*"], "SenderIPAddresses": ["203.0.113.7"]});
    made(world, "New-InboundConnector", scanner).await;
    let to_partner = json!({"Name": "To partner", "ConnectorType": "Partner", "RecipientDomains": ["partner.example"], "UseMXRecord": true});
    made(world, "New-OutboundConnector", to_partner).await;
    let to_fax = json!({"Name": "To fax", "ConnectorType": "OnPremises", "RecipientDomains": ["fax.example"], "UseMXRecord": false, "SmartHosts": ["fax.example"]});
    made(world, "New-OutboundConnector", to_fax).await;
    let spoof = |user: &str, from: &str, action: &str| json!({"Identity": "Default", "Action": action, "SpoofedUser": user, "SendingInfrastructure": from, "SpoofType": "External"});
    made(world, "New-TenantAllowBlockListSpoofItems", spoof("news@partner.example", "203.0.113.0/24", "Allow")).await;
    let allowed = json!({"Identity": "Default", "IPAllowList": ["203.0.113.7", "198.51.100.0/24"]});
    made(world, "Set-HostedConnectionFilterPolicy", allowed).await;
    let journal = json!({"Name": "Legal hold", "JournalEmailAddress": "journal@acme.example", "Scope": "Global"});
    made(world, "New-JournalRule", journal).await;
    made(world, "Set-AdminAuditLogConfig", json!({"UnifiedAuditLogIngestionEnabled": false})).await;
}

/// Objects of others that have one of our own names, or are what we would make.
async fn ours_before_us(world: &World) {
    made(
        world,
        "Set-ArcConfig",
        json!({"Identity": "Default", "ArcTrustedSealers": ["partner.example", "connect.posthouse.example"]}),
    )
    .await;
    let blocked = json!({"Identity": "Default", "Action": "Block", "SpoofedUser": "*", "SendingInfrastructure": "127.0.50.1", "SpoofType": "External"});
    made(world, "New-TenantAllowBlockListSpoofItems", blocked).await;
    let allowed = json!({"Identity": "Default", "Action": "Allow", "SpoofedUser": "*", "SendingInfrastructure": "127.0.50.1", "SpoofType": "Internal"});
    made(world, "New-TenantAllowBlockListSpoofItems", allowed).await;
    let out = json!({"Name": "Posthouse to gateway", "ConnectorType": "Partner", "RecipientDomains": ["old.example"], "UseMXRecord": false, "SmartHosts": ["mx.old.example"], "Comment": "do not touch"});
    made(world, "New-OutboundConnector", out).await;
    let back = json!({"Name": "Posthouse from gateway", "ConnectorType": "OnPremises", "SenderDomains": ["old.example"], "SenderIPAddresses": ["203.0.113.9"], "RequireTls": false, "Enabled": false, "Comment": "do not touch"});
    made(world, "New-InboundConnector", back).await;
    let rule = json!({"Name": "Posthouse inbound", "SenderDomainIs": ["post.example"], "PrependSubject": "[old] ", "StopRuleProcessing": true, "Comments": "do not touch", "Enabled": false});
    made(world, "New-TransportRule", rule).await;
}

async fn there_and_back(also_ours: bool) {
    let mut world = World::start().await;
    with_optional_objects(&mut world).await;
    ten_years(&world).await;
    if also_ours {
        ours_before_us(&world).await;
    }
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    connect(&world, &[]).await;
    // what somebody puts between ours meanwhile stays, wherever ours were
    let between = json!({"Name": "Between", "SenderDomainIs": ["legal.example"], "PrependSubject": "y", "Priority": 1});
    made(&world, "New-TransportRule", between).await;
    assert_ne!(before, export(&world, 0).await);
    let said = disconnect(&world).await;
    assert!(said.contains("\"looked\""), "no proof: {said}");
    made(&world, "Remove-TransportRule", json!({"Identity": "Between"})).await;
    assert_same(&before, &export(&world, 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_leaves_other_peoples_configuration_as_it_was() {
    there_and_back(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_our_own_names_before_us_is_put_back() {
    there_and_back(true).await;
}

/// The one thing that stays, and why: by signing in the administrator consented to Microsoft's own public client. The
/// grant is hers, needs a permission to take back that we do not ask for, and allows nothing without her own sign-in.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_consent_to_the_sign_in_client_stays() {
    let world = World::connected().await;
    disconnect(&world).await;
    let stays: Value = serde_json::from_str(&export(&world, 0).await).unwrap();
    let grants = list(&stays["entra"]["oauth2PermissionGrants"]);
    assert_eq!(grants.len(), 1, "{grants:#?}");
    let client = list(&stays["entra"]["servicePrincipals"]).iter().find(|p| p["id"] == grants[0]["clientId"]);
    assert_eq!(client.unwrap()["appId"], PUBLIC_CLIENT);
    // the same tenant with nothing but that consent
    let other = World::start().await;
    sign_in_before(&other).await;
    let other: Value = serde_json::from_str(&export(&other, 0).await).unwrap();
    for part in ["exchange", "tenant"] {
        assert_same(&format!("{:#}", other[part]), &format!("{:#}", stays[part]));
    }
    for part in ["domains", "applications", "appRoleAssignments"] {
        assert_same(&format!("{:#}", other["entra"][part]), &format!("{:#}", stays["entra"][part]));
    }
}
