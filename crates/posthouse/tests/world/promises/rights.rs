//! The smaller rights, the second application, and an organization that was never customised.

use super::*;

async fn dehydrated(world: &World) {
    let path = format!("/tenants/{}", world.tenant_id(0));
    world.door.patch(&path, json!({"is_dehydrated": true})).await.unwrap();
}

async fn exported(world: &World) -> Value {
    serde_json::from_str(&export(world, 0).await).unwrap()
}

/// Members of the directory role Exchange Administrator.
fn exchange_administrators(export: &Value) -> usize {
    let roles = list(&export["entra"]["directoryRoles"]).iter();
    roles.filter(|r| r["displayName"] == "Exchange Administrator").flat_map(|r| list(&r["members"])).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_group_is_enough_and_what_it_leaves_is_listed() {
    let mut world = World::start().await;
    with_optional_objects(&mut world).await;
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    let said = connect(&world, &["--exchange-rights", "role-group"]).await;
    assert!(said.contains("out to the gateway and back"), "not proven by mail: {said}");
    let now = exported(&world).await;
    assert_eq!(exchange_administrators(&now), 0, "{:#}", now["entra"]["directoryRoles"]);
    let group = list(&now["exchange"]["roleGroups"]).iter().find(|g| g["Name"] == "Posthouse Mail Flow");
    assert!(group.is_some(), "{:#}", now["exchange"]["roleGroups"]);
    let members = world.exchange("Get-RoleGroupMember", json!({"Identity": "Posthouse Mail Flow"})).await;
    assert_eq!(list(&members).len(), 1, "{members}");
    for look in [["watch", "contoso"], ["plan", "contoso"]] {
        let (code, said) = exit_code(&world, &look);
        assert_eq!(code, Some(0), "{said}");
    }
    // a second run finds all of it
    connect(&world, &["--exchange-rights", "role-group"]).await;
    assert_eq!(times(&audit(&world, 0).await, "New-RoleGroup"), 1);
    let said = disconnect(&world).await;
    let proof: Value = said.find("{\n").and_then(|at| serde_json::from_str(&said[at..]).ok()).unwrap_or_default();
    let left: Vec<&str> = list(&proof["left"]).iter().filter_map(Value::as_str).collect();
    assert!(left.len() > 5, "{said}");
    for cmdlet in left {
        let (name, object) = cmdlet.split_once(" \"").unwrap();
        world.exchange(name, json!({"Identity": object.trim_end_matches('"'), "Confirm": false})).await;
    }
    assert_same(&before, &export(&world, 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_was_never_customised() {
    let mut world = World::start().await;
    with_optional_objects(&mut world).await;
    dehydrated(&world).await;
    world.exchange("Set-ArcConfig", json!({"Identity": "Default", "ArcTrustedSealers": ["partner.example"]})).await;
    let before = exported(&world).await;
    let (ok, said) = run(&world, &[CONNECT, &["--exchange-rights", "role-group"]].concat()).await;
    assert!(!ok && said.contains("dehydrated") && said.contains("--exchange-rights administrator"), "{said}");
    let now = exported(&world).await;
    assert_eq!(exchange_administrators(&now), 0, "the role was not taken away again");
    assert_eq!(now["exchange"], before["exchange"]);
    // with the default rights it goes; what cannot be made waits, and is told
    let said = connect(&world, &["--exchange-rights", "administrator"]).await;
    assert!(said.contains("waits for") && said.contains("Enable-OrganizationCustomization"), "{said}");
    assert!(said.contains("out to the gateway and back"), "{said}");
    world.exchange("Enable-OrganizationCustomization", json!({})).await;
    let output = world.command(&["--json", "plan", "contoso"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (code, said) = exit_code(&world, &["apply", "contoso", "--plan", plan["id"].as_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(exit_code(&world, &["plan", "contoso"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_application_has_its_own_permissions_and_goes_with_the_first() {
    let world = World::start().await;
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    connect(&world, &["--post-delivery"]).await;
    let now = exported(&world).await;
    let applications: Vec<_> = list(&now["entra"]["applications"]).iter().map(|a| a["displayName"].clone()).collect();
    assert_eq!(applications.len(), 2, "{applications:?}");
    let granted = |name: &str| {
        let of = list(&now["entra"]["servicePrincipals"]).iter().find(|p| p["displayName"] == name).unwrap();
        list(&now["entra"]["appRoleAssignments"]).iter().filter(|a| a["principalId"] == of["id"]).count()
    };
    assert_eq!(granted("Posthouse Post Delivery"), 2);
    assert!(granted("Posthouse Mail Flow") > 4);
    assert_eq!(exit_code(&world, &["plan", "contoso"]).0, Some(0));
    let said = disconnect(&world).await;
    assert!(said.contains("Posthouse Post Delivery"), "{said}");
    assert_same(&before, &export(&world, 0).await);
}
