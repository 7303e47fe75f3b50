//! A tenant full of other people's configuration is, after disconnecting, byte for byte what it was before.

use super::*;
use crate::watched::graph;

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
        sign_in_before(&world).await;
    }
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

/// Consents of the client that administrators sign in through, in the simulator's own export.
async fn consents(world: &World) -> Vec<Value> {
    let export: Value = serde_json::from_str(&export(world, 0).await).unwrap();
    let ids = list(&export["entra"]["servicePrincipals"]).iter().filter(|p| p["appId"] == PUBLIC_CLIENT);
    let id = ids.map(|p| p["id"].clone()).next().unwrap();
    list(&export["entra"]["oauth2PermissionGrants"]).iter().filter(|g| g["clientId"] == id).cloned().collect()
}

/// Signing in is a consent, and what the sign-in may do beyond it is lent; both end with the command, connected or not.
#[tokio::test(flavor = "multi_thread")]
async fn of_the_sign_in_nothing_stays() {
    let world = World::start().await;
    let run = run(&world, &["tenant", "connect"]).await;
    assert!(!run.0, "nobody approved: {}", run.1);
    assert_eq!(consents(&world).await, Vec::<Value>::new());
    connect(&world, &[]).await;
    assert_eq!(consents(&world).await, Vec::<Value>::new());
    // what somebody else's tool was given while we were cut off is not taken for ours, what was lent then is
    let mut cut = Run::start(&world, CONNECT, "");
    while consents(&world).await.len() < 2 {
        cut.next(&world).await.unwrap();
    }
    cut.child.kill().unwrap();
    cut.child.wait().unwrap();
    sign_in_for(&world, &["Group.ReadWrite.All"]).await;
    connect(&world, &[]).await;
    let left = consents(&world).await;
    assert_eq!(left.len(), 1, "{left:#?}");
    assert_eq!(left[0]["scope"], json!(["Group.ReadWrite.All"]));
}

/// Which client she signed in through shows by what it may do, unless another may do it, too: then she is asked again,
/// and told what stays.
#[tokio::test(flavor = "multi_thread")]
async fn another_client_that_manages_consents_is_not_touched() {
    let world = World::start().await;
    let all = graph(&world, 0, "reader", "GET", "/servicePrincipals", Value::Null).await;
    let all = all["value"].as_array().or(all.as_array()).unwrap();
    let id = |name: &str| all.iter().find(|p| p["displayName"] == name).unwrap()["id"].clone();
    let (other, resource) = (id("Office 365 Exchange Online"), id("Microsoft Graph"));
    let grant = json!({"clientId": other, "consentType": "AllPrincipals", "resourceId": resource, "scope": "DelegatedPermissionGrant.ReadWrite.All"});
    graph(&world, 0, "second", "POST", "/oauth2PermissionGrants", grant).await;
    let said = connect(&world, &[]).await;
    assert!(said.contains("several applications of your tenant may manage consents"), "{said}");
    let export: Value = serde_json::from_str(&export(&world, 0).await).unwrap();
    let grants = list(&export["entra"]["oauth2PermissionGrants"]);
    let theirs = grants.iter().find(|g| g["clientId"] == other).unwrap();
    assert_eq!(theirs["scope"], json!(["DelegatedPermissionGrant.ReadWrite.All"]));
    assert_eq!(consents(&world).await.len(), 1);
}
