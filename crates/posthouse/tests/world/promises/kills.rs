//! SIGKILL of the control plane after every line that it prints, and between Microsoft's doing and our receipt: run
//! again, it ends as it should, and nothing was made twice.

use super::*;
use std::collections::BTreeSet;

/// Kills the command at the first thing that it says and never said before, again and again, until it has nothing new
/// to say. Returns after how many kills it came to its end.
async fn killed_everywhere(world: &World, args: &[&str]) -> usize {
    killed_where(world, args, |event| event["step"].is_string()).await
}

async fn killed_where(world: &World, args: &[&str], here: impl Fn(&Value) -> bool) -> usize {
    let mut heard = BTreeSet::new();
    'runs: for kills in 0..100 {
        let mut run = Run::start(world, args, "");
        while let Some(event) = run.next(world).await {
            if here(&event) && heard.insert(kind_of(&event)) {
                run.kill();
                continue 'runs;
            }
        }
        let said = run.said.join("\n");
        // killed after its very last line, the one before had come to its end
        assert!(run.child.wait().unwrap().success() || said.contains("no tenant is called"), "{said}");
        return kills;
    }
    panic!("it always has something new to say: {heard:#?}");
}

/// Codes, numbers and times differ from run to run.
fn kind_of(event: &Value) -> String {
    let text = event["text"].as_str().unwrap_or_default();
    let text = if event["user_code"].is_string() { "open and enter" } else { text };
    let text: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
    format!("{} {} {text}", event["step"], event["state"])
}

/// What is in the tenant of ours is there once, and was made once.
pub(super) async fn everything_is_there_once(world: &World) {
    let (code, said) = exit_code(world, &["plan", "contoso"]);
    assert_eq!(code, Some(0), "{said}");
    let export: Value = serde_json::from_str(&export(world, 0).await).unwrap();
    let named = |path: &str, key: &str, name: &str| {
        list(export.pointer(path).unwrap())
            .iter()
            .filter(|one| one[key].as_str().is_some_and(|n| n.to_lowercase().contains(name)))
            .count()
    };
    for (path, key, name, count) in [
        ("/entra/applications", "displayName", "posthouse", 1),
        ("/entra/servicePrincipals", "displayName", "posthouse", 1),
        ("/entra/domains", "id", "posthouse", 1),
        ("/exchange/acceptedDomains", "name", "posthouse", 1),
        ("/exchange/inboundConnectors", "Name", "posthouse", 1),
        ("/exchange/outboundConnectors", "Name", "posthouse", 1),
        ("/exchange/transportRules", "Name", "posthouse", 3),
        ("/exchange/spoofItems", "SendingInfrastructure", "127.0.50.1", 2),
    ] {
        assert_eq!(named(path, key, name), count, "{path}: {:#}", export.pointer(path).unwrap());
    }
    assert_eq!(export["exchange"]["arcTrustedSealers"], json!(["connect.posthouse.example"]));
    let of_app = list(&export["entra"]["servicePrincipals"]).iter().find(|p| p["displayName"] == "Posthouse Mail Flow");
    let id = &of_app.unwrap()["id"];
    let mut roles: Vec<_> =
        list(&export["entra"]["appRoleAssignments"]).iter().filter(|a| a["principalId"] == *id).collect();
    let all = roles.len();
    roles.dedup_by_key(|a| (a["resourceId"].clone(), a["appRoleId"].clone()));
    assert_eq!(roles.len(), all, "granted twice");
    let audit = audit(world, 0).await;
    for (operation, count) in [
        ("Add application", 1),
        ("Add service principal", 1),
        ("Add app role assignment to service principal", all),
        ("Add unverified domain", 1),
        ("Verify domain", 1),
        ("New-InboundConnector", 1),
        ("New-OutboundConnector", 1),
        ("New-TransportRule", 3),
        ("New-TenantAllowBlockListSpoofItems", 2),
    ] {
        assert_eq!(times(&audit, operation), count, "{operation}");
    }
    let journal = deliver(world, "resumed").await;
    assert_eq!(journal[0]["outcome"], "handed_back", "{journal}");
}

/// Sends one message from outside and gives the journeys that it made.
async fn deliver(world: &World, name: &str) -> Value {
    let raw = format!("From: pat@acme.example\r\nMessage-ID: <{name}@acme.example>\r\n\r\nx\r\n");
    let to = ["admin@contoso.example".to_owned()];
    world.door.send_from_internet("pat@acme.example", &to, raw.as_bytes(), false).await.unwrap();
    world.door.idle(30).await.unwrap();
    world.json(&["trace", "--message-id", &format!("{name}@acme.example")])
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_and_disconnecting_end_as_they_should_wherever_they_are_killed() {
    let mut world = World::start().await;
    with_optional_objects(&mut world).await;
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    let kills = killed_everywhere(&world, CONNECT).await;
    assert!(kills > 25, "only {kills} lines were killed after");
    everything_is_there_once(&world).await;
    let kills = killed_everywhere(&world, &["tenant", "disconnect", "contoso"]).await;
    assert!(kills > 8, "only {kills} lines were killed after");
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
    assert_same(&before, &export(&world, 0).await);
    assert_eq!(deliver(&world, "gone").await, json!([]), "mail still comes by");
}

/// The request was carried out, the answer is under way, and we die: for each change that makes something.
#[tokio::test(flavor = "multi_thread")]
async fn what_microsoft_did_while_we_died_is_found_again() {
    let mut world = World::start().await;
    with_optional_objects(&mut world).await;
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    for (door, matching, operation) in [
        ("graph", "PATCH /v1.0/applications(uniqueName", "Add application"),
        ("graph", "POST /v1.0/servicePrincipals", "Add service principal"),
        ("graph", "POST && owners", "Add owner to application"),
        ("graph", "POST && appRoleAssignedTo", "Add app role assignment to service principal"),
        ("graph", "POST && directoryRoles && members", "Add member to role"),
        ("graph", "POST /v1.0/domains", "Add unverified domain"),
        ("graph", "POST && verify", "Verify domain"),
        ("exchange", "New-InboundConnector", "New-InboundConnector"),
        ("exchange", "New-OutboundConnector", "New-OutboundConnector"),
        ("exchange", "Set-ArcConfig", "Set-ArcConfig"),
        ("exchange", "New-TenantAllowBlockListSpoofItems", "New-TenantAllowBlockListSpoofItems"),
        ("exchange", "New-TransportRule", "New-TransportRule"),
    ] {
        died_between(&world, CONNECT, door, matching, operation).await;
    }
    connect(&world, &[]).await;
    everything_is_there_once(&world).await;
    let disconnecting = &["tenant", "disconnect", "contoso"];
    for (door, matching, operation) in [
        ("exchange", "Disable-TransportRule", "Disable-TransportRule"),
        ("exchange", "Remove-TransportRule", "Remove-TransportRule"),
        ("exchange", "Remove-OutboundConnector", "Remove-OutboundConnector"),
        ("exchange", "Remove-InboundConnector", "Remove-InboundConnector"),
        ("graph", "DELETE /v1.0/domains", "Remove verified domain"),
        ("graph", "DELETE /v1.0/applications", "Delete application"),
    ] {
        died_between(&world, disconnecting, door, matching, operation).await;
    }
    disconnect(&world).await;
    assert_same(&before, &export(&world, 0).await);
}

async fn died_between(world: &World, args: &[&str], door: &str, matching: &str, operation: &str) {
    let fault =
        json!({"door": door, "matching": matching, "answer": "504", "after": true, "delay_ms": 20_000, "times": 1});
    let begun = times(&audit(world, 0).await, operation);
    world.door.post("/faults", fault).await.unwrap();
    let mut run = Run::start(world, args, "");
    loop {
        tokio::select! {
            event = run.next(world) => assert!(event.is_some(), "{operation} did not wait:\n{}", run.said.join("\n")),
            () = until(operation, async || times(&audit(world, 0).await, operation) > begun) => break,
        }
    }
    run.kill();
}

/// Graph says 500 to a change, once each: the command stops with words, and the next one goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_graph_refuses_stops_the_command_and_the_next_goes_on() {
    let mut world = World::start().await;
    with_optional_objects(&mut world).await;
    for change in [
        "PATCH /v1.0/applications(uniqueName",
        "POST /v1.0/servicePrincipals",
        "PATCH /v1.0/applications/",
        "owners",
        "appRoleAssignedTo",
        "POST /v1.0/directoryRoles",
        "POST /v1.0/domains",
        "PATCH /v1.0/domains",
    ] {
        let fault = json!({"door": "graph", "matching": change, "answer": "500", "times": 1});
        world.door.post("/faults", fault).await.unwrap();
        let (ok, said) = run(&world, CONNECT).await;
        assert!(!ok && said.contains("goes on where it stopped"), "{change} did not fail: {said}");
    }
    connect(&world, &[]).await;
    everything_is_there_once(&world).await;
}

/// Microsoft's copies lag for longer than a run takes, and we die after each thing that we made: what is not shown yet is neither
/// made twice nor taken for gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_shown_yet_is_not_made_twice() {
    let mut world = World::start().await;
    with_optional_objects(&mut world).await;
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    let lag = json!({"exo_replication_delay_secs": 4, "graph_replication_delay_secs": 4});
    world.door.patch("/switches", lag).await.unwrap();
    let made = |event: &Value| {
        let step = event["step"].as_str().unwrap_or_default();
        event["state"] == "done" && ["application", "permissions", "connectors", "rules", "disconnect"].contains(&step)
    };
    let kills = killed_where(&world, CONNECT, made).await;
    assert!(kills > 10, "only {kills} lines were killed after");
    everything_is_there_once(&world).await;
    killed_where(&world, &["tenant", "disconnect", "contoso"], made).await;
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
    assert_same(&before, &export(&world, 0).await);
}
