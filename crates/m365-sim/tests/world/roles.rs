//! Exchange's own roles: an application with no directory role may run what its role group holds, and nothing else.

use crate::door::{App, World, masked};
use serde_json::json;

const EXCHANGE: &str = "https://outlook.office365.com";

async fn run(world: &World, cmdlet: &str, parameters: serde_json::Value) {
    let answer = world.portal(cmdlet, parameters).await;
    assert_eq!(answer.status, 200, "{cmdlet}: {}", answer.text);
}

async fn exported(world: &World, token: &str) -> String {
    let at = format!("{}/adminapi/v1.0/{}/EXOModuleFile?Version=3.9.2", world.sim.endpoints.exchange, world.tenant);
    let answer = world.get(token, &at).await;
    if answer.status != 200 {
        return format!("{} ({} bytes)", answer.status, answer.text.len());
    }
    answer.json()["value"]["exportedCmdlets"].as_str().unwrap().to_owned()
}

async fn registered(world: &World, app: &App) {
    run(
        world,
        "New-ServicePrincipal",
        json!({"AppId": app.app_id, "ObjectId": app.principal, "DisplayName": "Watcher"}),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_group_is_enough() {
    let world = World::start().await;
    let app = world.app(&["Exchange.ManageAsApp"], false).await;
    let token = world.token(&app, EXCHANGE).await;
    let mut told = vec![format!("nothing: {}", exported(&world, &token).await)];
    registered(&world, &app).await;
    told.push(format!("registered: {}", exported(&world, &token).await));
    let entries = ["Get-InboundConnector", "New-InboundConnector", "Set-InboundConnector", "Get-AcceptedDomain"];
    run(
        &world,
        "New-ManagementRole",
        json!({"Name": "Gateway connectors", "Parent": "Remote and Accepted Domains", "EnabledCmdlets": entries}),
    )
    .await;
    run(&world, "Remove-ManagementRoleEntry", json!({"Identity": "Gateway connectors\\Set-InboundConnector"})).await;
    run(
        &world,
        "New-RoleGroup",
        json!({"Name": "Gateway", "Roles": ["Gateway connectors", "transport rules"], "Members": [app.principal]}),
    )
    .await;
    told.push(format!("in the group: {}", exported(&world, &token).await));
    let connector = json!({"Name": "c", "ConnectorType": "OnPremises", "SenderDomains": ["*"]});
    let status = async |cmdlet: &str, p: serde_json::Value| world.exchange(&token, cmdlet, p).await.status;
    assert_eq!(status("New-InboundConnector", connector).await, 200);
    assert_eq!(status("get-transportrule", json!({})).await, 200);
    assert_eq!(
        status("Set-InboundConnector", json!({"Identity": "c", "Enabled": false})).await,
        403,
        "its entry is gone"
    );
    assert_eq!(status("Get-Mailbox", json!({})).await, 403);
    run(&world, "New-ManagementRoleAssignment", json!({"Role": "Audit Logs", "App": app.app_id})).await;
    told.push(format!("and assigned directly: {}", exported(&world, &token).await));
    run(&world, "Remove-RoleGroupMember", json!({"Identity": "Gateway", "Member": "Watcher"})).await;
    told.push(format!("out of the group: {}", exported(&world, &token).await));
    run(&world, "Remove-ServicePrincipal", json!({"Identity": app.app_id})).await;
    told.push(format!("unregistered: {}", exported(&world, &token).await));
    insta::assert_snapshot!(told.join("\n"));
}

/// The well-known mistake: the application's object id instead of the service principal's.
#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_object_id_gives_no_rights() {
    let world = World::start().await;
    let app = world.app(&["Exchange.ManageAsApp"], false).await;
    run(
        &world,
        "New-ServicePrincipal",
        json!({"AppId": app.app_id, "ObjectId": app.object_id, "DisplayName": "Wrong"}),
    )
    .await;
    run(&world, "Add-RoleGroupMember", json!({"Identity": "Organization Management", "Member": app.app_id})).await;
    let token = world.token(&app, EXCHANGE).await;
    assert_eq!(world.exchange(&token, "Get-TransportRule", json!({})).await.status, 403);
}

/// With a directory role everything is exported; a reader gets what begins with Get-.
#[tokio::test(flavor = "multi_thread")]
async fn directory_roles_still_count() {
    let world = World::start().await;
    let app = world.app(&["Exchange.ManageAsApp"], true).await;
    let token = world.token(&app, EXCHANGE).await;
    let all = exported(&world, &token).await;
    assert!(all.contains("New-InboundConnector") && all.contains("New-RoleGroup"), "{all}");
    let reader = world.app(&["Exchange.ManageAsApp"], false).await;
    let role = json!({"roleDefinitionId": "f2ef992c-3afb-46b9-b7cf-a126ee74c451", "principalId": reader.principal, "directoryScopeId": "/"});
    assert_eq!(world.graph_portal("POST", "/roleManagement/directory/roleAssignments", role).await.status, 200);
    let token = world.token(&reader, EXCHANGE).await;
    let read = exported(&world, &token).await;
    assert!(read.split(',').all(|c| c.starts_with("Get-")) && read.contains("Get-TransportRule"), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_built_in_or_in_use_stays() {
    let world = World::start().await;
    let app = world.app(&["Exchange.ManageAsApp"], false).await;
    registered(&world, &app).await;
    run(&world, "New-ManagementRole", json!({"Name": "Mine", "Parent": "Transport Hygiene"})).await;
    run(&world, "New-ManagementRole", json!({"Name": "Child", "Parent": "Mine", "EnabledCmdlets": ["Get-ArcConfig"]}))
        .await;
    run(
        &world,
        "New-RoleGroup",
        json!({"Name": "Ours", "Roles": ["Mine"], "Members": ["Watcher", "admin@contoso.example"]}),
    )
    .await;
    run(&world, "New-ManagementRole", json!({"Name": "Grandchild", "Parent": "Child"})).await;
    let steps = [
        ("New-ServicePrincipal", json!({"AppId": app.app_id, "ObjectId": app.principal})),
        ("Get-ServicePrincipal", json!({"Identity": "Watcher"})),
        ("Add-RoleGroupMember", json!({"Identity": "Ours", "Member": app.app_id})),
        ("Add-RoleGroupMember", json!({"Identity": "Ours", "Member": "nobody"})),
        ("Get-RoleGroupMember", json!({"Identity": "Ours"})),
        ("Get-RoleGroup", json!({"Identity": "Ours"})),
        ("Get-ManagementRole", json!({"Identity": "Transport Hygiene", "GetChildren": true})),
        ("Get-ManagementRole", json!({"Identity": "Mine", "Recurse": true})),
        ("Remove-ManagementRole", json!({"Identity": "Mine", "Recurse": true})),
        ("Remove-ManagementRoleAssignment", json!({"Identity": "Mine-Ours"})),
        ("Remove-ManagementRole", json!({"Identity": "Mine"})),
        ("Remove-ManagementRole", json!({"Identity": "Mine", "Recurse": true})),
        ("Get-ManagementRole", json!({"Identity": "Grandchild"})),
        ("Remove-ManagementRole", json!({"Identity": "Transport Rules"})),
        ("Remove-ManagementRoleEntry", json!({"Identity": "Transport Rules\\Get-TransportRule"})),
        ("New-ManagementRole", json!({"Name": "X", "Parent": "Transport Rules", "EnabledCmdlets": ["Get-Mailbox"]})),
        ("Get-ManagementRoleEntry", json!({"Identity": "Audit Logs\\*"})),
        ("Remove-RoleGroup", json!({"Identity": "Organization Management"})),
        ("Remove-RoleGroup", json!({"Identity": "Ours"})),
        ("Get-ManagementRoleAssignment", json!({"RoleAssignee": "Ours"})),
    ];
    let mut told = Vec::new();
    for (cmdlet, parameters) in steps {
        let answer = world.portal(cmdlet, parameters.clone()).await.json();
        told.push(format!("{cmdlet} {parameters}\n    {answer}"));
    }
    let sid = regex::Regex::new(r"S-1-5-21-\d+").unwrap();
    insta::assert_snapshot!(masked(&sid.replace_all(&told.join("\n"), "[sid]")));
}

/// Removing asks first over the wire, unless Confirm is false or Force is given.
#[tokio::test(flavor = "multi_thread")]
async fn force_is_an_answer_too() {
    let world = World::start().await;
    let app = world.app(&["Exchange.ManageAsApp"], true).await;
    let token = world.token(&app, EXCHANGE).await;
    run(&world, "New-RoleGroup", json!({"Name": "Ours"})).await;
    let asked = world.exchange(&token, "Remove-RoleGroup", json!({"Identity": "Ours"})).await;
    assert!(asked.text.contains("@adminapi.confirmationmessage"), "{}", asked.text);
    assert_eq!(
        world.exchange(&token, "Remove-RoleGroup", json!({"Identity": "Ours", "Force": true})).await.status,
        200
    );
    assert_eq!(world.exchange(&token, "Get-RoleGroup", json!({"Identity": "Ours"})).await.status, 404);
}
