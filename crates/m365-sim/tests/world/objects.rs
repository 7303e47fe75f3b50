//! Filters, settings, and the configuration as text.

use crate::door::{World, masked};
use serde_json::{Value, json};

/// One line for each step: what was run, what came of it.
async fn script(world: &World, steps: &[(&str, Value)]) -> String {
    let mut told = Vec::new();
    for (cmdlet, parameters) in steps {
        let answer = world.portal(cmdlet, parameters.clone()).await;
        let text = answer.json();
        let text = text["error"].as_str().map_or_else(|| text.to_string(), |e| format!("refused: {e}"));
        told.push(format!("{cmdlet} {parameters}\n    {text}"));
    }
    masked(&told.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn spoofed_senders() {
    let world = World::start().await;
    let pair = |user: &str, action: &str| json!({"Identity": "Default", "SpoofedUser": user, "SendingInfrastructure": "203.0.113.0/24", "SpoofType": "External", "Action": action});
    let told = script(
        &world,
        &[
            ("New-TenantAllowBlockListSpoofItems", pair("*@acme.example", "Allow")),
            ("New-TenantAllowBlockListSpoofItems", pair("pat@partner.example", "block")),
            ("New-TenantAllowBlockListSpoofItems", pair("*@acme.example", "Block")),
            ("New-TenantAllowBlockListSpoofItems", pair("x@acme.example", "Perhaps")),
            ("Get-TenantAllowBlockListSpoofItems", json!({"Action": "Allow"})),
            ("Remove-TenantAllowBlockListSpoofItems", json!({"Identity": "Default", "Ids": ["nobody"]})),
        ],
    )
    .await;
    insta::assert_snapshot!(told);
    let items = world.portal("Get-TenantAllowBlockListSpoofItems", json!({})).await.json();
    let change = json!({"Identity": "contoso.example\\Default", "Ids": [items[1]["Identity"]], "Action": "Allow"});
    assert_eq!(world.portal("Set-TenantAllowBlockListSpoofItems", change).await.status, 200);
    let gone = json!({"Identity": "Default", "Ids": [items[0]["Identity"]]});
    assert_eq!(world.portal("Remove-TenantAllowBlockListSpoofItems", gone).await.status, 200);
    let left = world.portal("Get-TenantAllowBlockListSpoofItems", json!({})).await.json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["Action"]), (1, &json!("Allow")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_filter_keeps_the_customers_entries() {
    let world = World::start().await;
    let lists = |change: Value| json!({"Identity": "Default", "IPAllowList": change});
    let told = script(
        &world,
        &[
            ("Set-HostedConnectionFilterPolicy", lists(json!(["198.51.100.7"]))),
            (
                "Set-HostedConnectionFilterPolicy",
                lists(json!({"@odata.type": "#Exchange.GenericHashTable", "add": ["203.0.113.0/24"]})),
            ),
            ("Get-HostedConnectionFilterPolicy", json!({"Identity": "Default"})),
            (
                "Set-HostedConnectionFilterPolicy",
                lists(json!({"@odata.type": "#Exchange.GenericHashTable", "Remove": ["198.51.100.7"]})),
            ),
            ("Set-HostedConnectionFilterPolicy", lists(json!(["10.0.0.0/8"]))),
            ("Set-HostedConnectionFilterPolicy", json!({"Identity": "Mine", "EnableSafeList": true})),
            (
                "Set-HostedConnectionFilterPolicy",
                json!({"Identity": "Default", "EnableSafeList": true, "IPBlockList": []}),
            ),
            ("Get-HostedConnectionFilterPolicy", json!({})),
        ],
    )
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_what_was_set() {
    let world = World::start().await;
    let arc = |sealers: Value| json!({"Identity": "Default", "ArcTrustedSealers": sealers});
    let journal = json!({"Name": "Legal", "JournalEmailAddress": "journal@archive.example", "Scope": "external", "Enabled": true});
    let told = script(
        &world,
        &[
            ("Set-ArcConfig", arc(json!(["a.example", "b.example"]))),
            ("Get-ArcConfig", json!({})),
            ("Set-ArcConfig", arc(json!("a.example, c.example"))),
            ("Get-ArcConfig", json!({})),
            ("Set-ArcConfig", arc(json!(" "))),
            ("Get-ArcConfig", json!({})),
            ("New-JournalRule", journal.clone()),
            ("New-JournalRule", journal),
            ("New-JournalRule", json!({"Name": "All", "JournalEmailAddress": "journal@archive.example"})),
            ("Get-JournalRule", json!({"Identity": "nobody"})),
            ("Remove-JournalRule", json!({"Identity": "Legal"})),
            ("Get-JournalRule", json!({})),
            ("Set-TransportConfig", json!({"ExternalPostmasterAddress": "postmaster@contoso.example"})),
            ("Get-TransportConfig", json!({})),
            ("Get-AdminAuditLogConfig", json!({})),
        ],
    )
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dehydrated_organisation_refuses_what_needs_customisation() {
    let world = World::start().await;
    let at = format!("{}/tenants/{}", world.sim.endpoints.control, world.tenant);
    world.http.patch(at).json(&json!({"is_dehydrated": true})).send().await.unwrap();
    let told = script(
        &world,
        &[
            ("New-ManagementRole", json!({"Name": "r", "Parent": "Transport Rules"})),
            ("New-RoleGroup", json!({"Name": "g"})),
            (
                "New-ManagementRoleAssignment",
                json!({"Role": "Transport Rules", "SecurityGroup": "Organization Management"}),
            ),
            ("Set-AdminAuditLogConfig", json!({"UnifiedAuditLogIngestionEnabled": false})),
            ("Set-HostedConnectionFilterPolicy", json!({"Identity": "Default", "EnableSafeList": true})),
            ("Enable-OrganizationCustomization", json!({})),
            ("Enable-OrganizationCustomization", json!({})),
            ("Set-HostedConnectionFilterPolicy", json!({"Identity": "Default", "EnableSafeList": true})),
        ],
    )
    .await;
    insta::assert_snapshot!(told);
    world
        .http
        .patch(format!("{}/tenants/{}", world.sim.endpoints.control, world.tenant))
        .json(&json!({"is_dehydrated": true}))
        .send()
        .await
        .unwrap();
    let connector = json!({"Name": "c", "ConnectorType": "OnPremises", "SenderDomains": ["*"]});
    assert_eq!(world.portal("New-InboundConnector", connector).await.status, 200, "connectors work");
    assert_eq!(world.portal("New-TransportRule", json!({"Name": "r", "PrependSubject": "x"})).await.status, 200);
}

/// Made and unmade leaves no trace in the text; made and left does.
#[tokio::test(flavor = "multi_thread")]
async fn two_exports_are_compared_byte_for_byte() {
    let world = World::start().await;
    for n in ["one", "two"] {
        world.portal("New-TransportRule", json!({"Name": n, "PrependSubject": "x"})).await;
    }
    let before = world.export().await;
    assert_eq!(before, world.export().await);
    let app = world.app(&["User.Read.All"], true).await;
    world.portal("New-TransportRule", json!({"Name": "ours", "PrependSubject": "y", "Priority": 0})).await;
    world.portal("Set-TransportRule", json!({"Identity": "two", "PrependSubject": "z"})).await;
    world.portal("Set-ArcConfig", json!({"Identity": "Default", "ArcTrustedSealers": ["a.example"]})).await;
    let during = world.export().await;
    let changed: Vec<&str> = during.lines().filter(|l| !before.contains(*l)).map(str::trim).collect();
    insta::assert_snapshot!(masked(&changed.join("\n")));
    assert!(!during.contains("secretText") && !during.contains("_EffectiveFrom") && !during.contains("_members"));
    world.portal("Remove-TransportRule", json!({"Identity": "ours"})).await;
    world.portal("Set-TransportRule", json!({"Identity": "two", "PrependSubject": "x"})).await;
    world.portal("Set-ArcConfig", json!({"Identity": "Default", "ArcTrustedSealers": " "})).await;
    assert_ne!(before, world.export().await, "the application is still there");
    let gone = format!("/applications/{}", app.object_id);
    assert_eq!(world.graph_portal("DELETE", &gone, Value::Null).await.status, 200);
    assert_eq!(before, world.export().await);
}
