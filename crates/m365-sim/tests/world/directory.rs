//! Many people, and Graph as a second administrator.

use crate::door::World;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_people_are_read_in_seconds() {
    let world = World::start().await;
    let began = Instant::now();
    let crowd = json!({"users": 50_000, "groups": 5_000, "members_max": 50, "nested": true});
    let path = format!("/tenants/{}/seed", world.tenant);
    let there = world.control(&path, crowd.clone()).await.json();
    assert_eq!((there["users"].as_u64().unwrap(), there["groups"].as_u64().unwrap()), (50_040, 5_005));
    let seeded = began.elapsed();
    assert_eq!(world.control(&path, crowd).await.json(), there, "the same people, not twice as many");
    let app = world.app(&["User.Read.All", "Group.Read.All", "Exchange.ManageAsApp"], true).await;
    let token = world.token(&app, "https://graph.microsoft.com").await;
    let (mut seen, mut at) =
        (HashSet::new(), format!("{}/v1.0/users?$select=id,mail,proxyAddresses&$top=999", world.sim.endpoints.graph));
    let reading = Instant::now();
    loop {
        let page = world.get(&token, &at).await;
        seen.extend(page.rows().iter().map(|u| u["id"].as_str().unwrap().to_owned()));
        match page.json()["@odata.nextLink"].as_str() {
            Some(next) => at = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 50_040);
    // a group in groups: members and members of members, each looked up by id
    let groups = world.graph(&token, "/groups?$filter=displayName eq 'Crowd Group 00001'").await.rows();
    let id = groups[0]["id"].as_str().unwrap();
    let direct = world.graph(&token, &format!("/groups/{id}/members?$top=999")).await.rows();
    let all = world.graph(&token, &format!("/groups/{id}/transitiveMembers?$top=999")).await.rows();
    assert!(direct.iter().filter(|m| m["@odata.type"] == "#microsoft.graph.group").count() == 1, "{}", direct.len());
    assert!(all.len() > direct.len());
    let exchange = world.token(&app, "https://outlook.office365.com").await;
    let alias = json!({"Identity": "crowd-49998.alias@contoso.example"});
    assert_eq!(world.exchange(&exchange, "Get-Mailbox", alias).await.rows().len(), 1, "an alias is found");
    world.switches(json!({"exo_paging": "followable"})).await;
    let mut page = world.exchange(&exchange, "Get-Recipient", json!({"ResultSize": "Unlimited"})).await;
    let mut recipients = HashSet::new();
    loop {
        recipients.extend(page.rows().iter().map(|r| r["PrimarySmtpAddress"].as_str().unwrap().to_owned()));
        let Some(next) = page.json()["@odata.nextLink"].as_str().map(str::to_owned) else { break };
        let input = json!({"CmdletInput": {"CmdletName": "Get-Recipient", "Parameters": {"ResultSize": "Unlimited"}}});
        page = world.post(&exchange, &next, input).await;
    }
    assert_eq!(recipients.len(), 50_040 + 4 + 5_000 * 3 / 4, "everybody with a mailbox, every group with an address");
    assert!(reading.elapsed() < Duration::from_secs(60), "{:?} after {seeded:?}", reading.elapsed());
    println!("seeded in {seeded:?}, read in {:?}", reading.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_administrator_may_do_everything_and_is_named() {
    let world = World::start().await;
    let app = world.app(&["Exchange.ManageAsApp"], true).await;
    let token = world.token(&app, "https://outlook.office365.com").await;
    assert_eq!(world.exchange(&token, "Get-ArcConfig", json!({})).await.status, 200);
    let missing = world.graph_portal("GET", "/applications/nobody", Value::Null).await;
    assert_eq!(
        (missing.status, missing.json()["error"].as_str().unwrap().starts_with("404 Request_ResourceNotFound")),
        (400, true)
    );
    let gone = format!("/servicePrincipals(appId='{}')", app.app_id);
    assert_eq!(world.graph_portal("DELETE", &gone, Value::Null).await.json(), json!({}));
    let audit = world.control_get(&format!("/audit?tenant={}", world.tenant)).await.json();
    let last = audit.as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (
            last["operation"].as_str(),
            last["user_id"].as_str(),
            last["client_ip"].as_str(),
            last["targets"][0]["name"].as_str()
        ),
        (Some("Remove service principal"), Some("second.admin@contoso.example"), Some("203.0.113.9"), Some("Watcher"))
    );
    assert_eq!(last["targets"][0]["id"].as_str(), Some(app.principal.as_str()));
}
