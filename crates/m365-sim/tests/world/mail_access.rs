//! Which application may open which mailbox, and what the export tells of it.

use crate::door::{App, World};
use crate::mail::{ADMIN, GRAPH, raw};
use serde_json::{Value, json};

const GRACE: &str = "grace.hopper@contoso.example";

async fn code(world: &World, token: &str, path: &str) -> (u16, String) {
    let answer = world.graph(token, path).await;
    let code =
        if answer.status < 400 { String::new() } else { answer.json()["error"]["code"].as_str().unwrap().into() };
    (answer.status, code)
}

fn denied() -> (u16, String) {
    (403, "ErrorAccessDenied".into())
}

fn ok() -> (u16, String) {
    (200, String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_say_how_much_and_policies_where() {
    let world = World::start().await;
    world.deliver(&[ADMIN, GRACE], &raw("one@x.example", "one")).await;
    let (admin, grace) = (format!("/users/{ADMIN}/messages"), format!("/users/{GRACE}/messages"));
    let none = world.app(&["User.Read.All"], false).await;
    let none = world.token(&none, GRAPH).await;
    assert_eq!(code(&world, &none, &admin).await, denied());
    assert!(world.export().await.contains("\"permissions\": []"), "nobody has a permission for mail");
    let basic = world.app(&["Mail.ReadBasic.All"], false).await;
    let basic = world.token(&basic, GRAPH).await;
    let m = world.graph(&basic, &admin).await.rows()[0].clone();
    assert!(m["subject"] == "one" && m.get("body").is_none() && m.get("bodyPreview").is_none());
    let path = format!("{admin}/{}", m["id"].as_str().unwrap());
    assert_eq!(code(&world, &basic, &format!("{path}/$value")).await, denied());
    assert_eq!(code(&world, &basic, &format!("{path}/attachments")).await, denied());
    let reader = world.app(&["Mail.Read"], false).await;
    let token = world.token(&reader, GRAPH).await;
    assert_eq!(code(&world, &token, &format!("{path}/$value")).await, ok());
    assert_eq!(world.ask(&token, "PATCH", &path, json!({"isRead": true}), &[]).await.status, 403);
    // limited to the members of a group; nobody else's mailbox is opened
    let group =
        json!({"name": "Protected", "mail": "protected@contoso.example", "kind": "mail_security", "add": [GRACE]});
    world.control(&format!("/tenants/{}/groups", world.tenant), group).await;
    let policy = json!({"AppId": [reader.app_id], "PolicyScopeGroupId": "protected@contoso.example", "AccessRight": "RestrictAccess"});
    let made = world.portal("New-ApplicationAccessPolicy", policy).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!((code(&world, &token, &admin).await, code(&world, &token, &grace).await), (denied(), ok()));
    let tested = world.portal("Test-ApplicationAccessPolicy", json!({"AppId": reader.app_id, "Identity": ADMIN})).await;
    assert_eq!(tested.json()[0]["AccessCheckResult"], "Denied");
    let exported = world.export().await;
    assert!(exported.contains("\"scope\": \"RestrictAccess Protected\""), "{exported}");
    let gone = json!({"Identity": made.json()[0]["Identity"], "Confirm": false});
    assert_eq!(world.portal("Remove-ApplicationAccessPolicy", gone).await.status, 200);
    assert_eq!(code(&world, &token, &admin).await, ok());
    let wrong =
        json!({"AppId": [reader.app_id], "PolicyScopeGroupId": "sales@contoso.example", "AccessRight": "DenyAccess"});
    assert_eq!(world.portal("New-ApplicationAccessPolicy", wrong).await.status, 400, "a list is no security principal");
}

async fn scoped(world: &World, app: &App, more: Value) -> Value {
    let principal = json!({"AppId": app.app_id, "ObjectId": app.principal, "DisplayName": "Watcher"});
    world.portal("New-ServicePrincipal", principal).await;
    let mut assignment = json!({"Role": "Application Mail.ReadWrite", "App": app.principal, "Name": "mail"});
    for (key, value) in more.as_object().unwrap() {
        assignment[key] = value.clone();
    }
    let made = world.portal("New-ManagementRoleAssignment", assignment).await;
    assert_eq!(made.status, 200, "{}", made.text);
    made.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_itself_grants_within_a_scope() {
    let world = World::start().await;
    let app = world.app(&[], false).await;
    let token = world.token(&app, GRAPH).await;
    let (admin, grace) = (format!("/users/{ADMIN}/messages"), format!("/users/{GRACE}/messages"));
    assert_eq!(code(&world, &token, &grace).await, denied());
    let group =
        json!({"name": "Protected", "mail": "protected@contoso.example", "kind": "mail_security", "add": [GRACE]});
    world.control(&format!("/tenants/{}/groups", world.tenant), group).await;
    let groups = world.portal("Get-DistributionGroup", json!({"Identity": "Protected"})).await.json();
    let filter = format!("MemberOfGroup -eq '{}'", groups[0]["DistinguishedName"].as_str().unwrap());
    let scope = json!({"Name": "Protected mailboxes", "RecipientRestrictionFilter": filter});
    assert_eq!(world.portal("New-ManagementScope", scope).await.status, 200);
    world.switches(json!({"mail_access_delay_secs": 1800})).await;
    scoped(&world, &app, json!({"CustomResourceScope": "Protected mailboxes"})).await;
    let test = json!({"Identity": app.app_id, "Resource": GRACE});
    let tested = world.portal("Test-ServicePrincipalAuthorization", test).await.json();
    assert_eq!((&tested[0]["GrantedPermissions"], &tested[0]["InScope"]), (&json!("Mail.ReadWrite"), &json!(true)));
    assert_eq!(code(&world, &token, &grace).await, denied(), "not effective yet");
    world.advance(1801).await;
    assert_eq!((code(&world, &token, &admin).await, code(&world, &token, &grace).await), (denied(), ok()));
    assert_eq!(world.portal("Remove-ManagementScope", json!({"Identity": "Protected mailboxes"})).await.status, 400);
    let exported = world.export().await;
    assert!(exported.contains("\"grantedBy\": \"managementRoleAssignment\""), "{exported}");
    assert_eq!(world.portal("Remove-ManagementRoleAssignment", json!({"Identity": "mail"})).await.status, 200);
    assert_eq!(code(&world, &token, &grace).await, denied());
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_that_are_not_served_say_so() {
    let world = World::start().await;
    let app = world.app(&["Mail.Read"], false).await;
    let token = world.token(&app, GRAPH).await;
    let grace = format!("/users/{GRACE}/messages");
    let not_enabled = (404, "MailboxNotEnabledForRESTAPI".to_owned());
    let path = format!("/tenants/{}/mailboxes", world.tenant);
    for standing in ["unlicensed", "on_premises", "inactive"] {
        world.control(&path, json!({"address": GRACE, "standing": standing})).await;
        assert_eq!(code(&world, &token, &grace).await, not_enabled, "{standing}");
    }
    world.control(&path, json!({"address": GRACE, "standing": "served"})).await;
    world.deliver(&[GRACE], &raw("one@x.example", "one")).await;
    assert_eq!(code(&world, &token, "/users/nobody@contoso.example/messages").await, (404, "ErrorInvalidUser".into()));
    // into the in-place archive, where Graph does not look
    world.control(&path, json!({"address": GRACE, "in_place_archive": true})).await;
    world.act(json!({"user": GRACE, "act": "archive"})).await;
    assert_eq!(world.graph(&token, &grace).await.rows().len(), 0);
    assert_eq!(world.all_mail(GRACE).await[0]["folder"], "in-place archive");
    // a deleted user's mailbox comes back with her
    let user = world.graph_portal("GET", &format!("/users/{GRACE}"), Value::Null).await.json();
    world.graph_portal("DELETE", &format!("/users/{GRACE}"), Value::Null).await;
    assert_eq!(code(&world, &token, &grace).await, (404, "ErrorInvalidUser".into()));
    let back = format!("/directory/deletedItems/{}/restore", user["id"].as_str().unwrap());
    assert_eq!(world.graph_portal("POST", &back, Value::Null).await.status, 200);
    assert_eq!(world.all_mail(GRACE).await.len(), 1);
}
