//! Connecting, refusing, demonstrating, taking back.

use crate::harness::{World, posthouse};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_holds_every_expectation() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let output = posthouse().args(["demo", "--exit", "--report"]).arg(&report).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["ok"], true, "{said}");
    assert!(report["messages"].as_array().unwrap().len() >= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_global_administrator_is_refused_and_nothing_is_touched() {
    let world = World::start().await;
    let tenant = world.tenant_id(0);
    let before = world.door.get("/audit", &[("tenant", &tenant)]).await.unwrap();
    let user = world.endpoints["tenants"][0]["user"].clone();
    let (name, password) = (user["user"].as_str().unwrap(), user["password"].as_str().unwrap());
    let (ok, events) = world.connect_as(name, password).await;
    assert!(!ok);
    let said = events.join("\n");
    assert!(said.contains("Global Administrator"), "{said}");
    let after = world.door.get("/audit", &[("tenant", &tenant)]).await.unwrap();
    assert_eq!(before, after, "the tenant was touched");
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_twice_changes_nothing_the_second_time() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let rules = async || {
        world
            .door
            .post(&format!("/tenants/{tenant}/exchange"), json!({"cmdlet": "Get-TransportRule", "parameters": {}}))
            .await
            .unwrap()
    };
    let before = rules().await;
    let (ok, events) = world.connect(0).await;
    assert!(ok, "{}", events.join("\n"));
    let guids = |v: &Value| serde_json::to_string(v).unwrap().matches("Posthouse inbound").count();
    let after = rules().await;
    assert_eq!(guids(&before), guids(&after), "rules were made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_leaves_nothing_of_ours() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let output = world.command(&["tenant", "disconnect", &tenant]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for cmdlet in ["Get-TransportRule", "Get-InboundConnector", "Get-OutboundConnector", "Get-AcceptedDomain"] {
        let left = world
            .door
            .post(&format!("/tenants/{tenant}/exchange"), json!({"cmdlet": cmdlet, "parameters": {}}))
            .await
            .unwrap();
        assert!(!left.to_string().to_lowercase().contains("posthouse"), "{cmdlet} still shows {left}");
    }
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
}

/// As somebody's own script would sign in.
async fn graph_token(world: &World, user: &str, password: &str) -> String {
    let (browser, login) = (world.browser(), world.endpoints["login"].as_str().unwrap());
    let client = "14d82eec-204b-4c2f-b7e8-296a70dab67e";
    let form = [("client_id", client), ("scope", "openid https://graph.microsoft.com/Application.ReadWrite.All")];
    let code: Value = browser
        .post(format!("{login}/organizations/oauth2/v2.0/devicecode"))
        .form(&form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    world.approve(code["user_code"].as_str().unwrap(), user, password).await;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", client),
        ("device_code", code["device_code"].as_str().unwrap()),
    ];
    let token: Value = browser
        .post(format!("{login}/organizations/oauth2/v2.0/token"))
        .form(&form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    token["access_token"].as_str().unwrap().to_owned()
}

/// An administrator deleted our application: what is still there cannot be seen, and is not called gone.
#[tokio::test(flavor = "multi_thread")]
async fn revoked_permissions_are_told_truthfully() {
    let world = World::connected().await;
    let admin = world.endpoints["tenants"][0]["admin"].clone();
    let token = graph_token(&world, admin["user"].as_str().unwrap(), admin["password"].as_str().unwrap()).await;
    let applications = format!("{}/v1.0/applications", world.endpoints["graph"].as_str().unwrap());
    let list: Value =
        world.browser().get(&applications).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    let id = list["value"][0]["id"].as_str().unwrap();
    assert!(
        world
            .browser()
            .delete(format!("{applications}/{id}"))
            .bearer_auth(&token)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let output = world.command(&["tenant", "disconnect", "contoso"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("UNKNOWN") && said.contains("AADSTS700016") && said.contains("administrator"), "{said}");
    assert_eq!(
        world.json(&["tenant", "list"]).as_array().unwrap().len(),
        1,
        "a tenant that is not proven clean is not forgotten"
    );
}

/// With a browser: the authorization code flow, played as a browser would.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_may_sign_in_with_a_browser() {
    let world = World::start().await;
    let mut child = world
        .command(&["--json", "tenant", "connect", "--browser", "--yes"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel::<String>();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
    let first: Value = serde_json::from_str(&receive.recv().await.unwrap()).unwrap();
    let url = first["text"].as_str().unwrap().strip_prefix("open ").unwrap();
    let admin = &world.endpoints["tenants"][0]["admin"];
    let form = [
        ("username", admin["user"].as_str().unwrap()),
        ("password", admin["password"].as_str().unwrap()),
        ("accept", "yes"),
    ];
    let answer = world.browser().post(url).form(&form).send().await.unwrap();
    let back = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(back.starts_with("http://localhost:") && back.contains("code="), "{back}");
    let page = reqwest::get(&back).await.unwrap().text().await.unwrap();
    assert!(page.contains("Signed in"), "{page}");
    while receive.recv().await.is_some() {}
    assert!(child.wait().unwrap().success());
}

/// Microsoft as slow and as odd as it is in the field: every delay and the other side of every quirk that matters here.
#[tokio::test(flavor = "multi_thread")]
async fn connecting_waits_for_a_slow_microsoft() {
    let world = World::start().await;
    let slow = json!({"entra_consent_delay_secs": 1, "entra_role_delay_secs": 2, "entra_key_delay_secs": 1, "exo_accepted_domain_delay_secs": 2, "rule_effective_delay_secs": 2,
        "exo_403_body": "json", "exo_paging": "followable", "exo_get_unknown_identity": "return_all", "graph_page_size": 7, "require_client_auth_eku": true, "sent_to_scope_needs_authentication": true, "spoofed_own_domain_is_outside": false});
    world.door.patch("/switches", slow).await.unwrap();
    for fault in [
        json!({"door": "graph", "answer": "429", "retry_after_secs": 1, "times": 2}),
        json!({"door": "exchange", "answer": "503", "times": 2}),
        json!({"door": "graph", "matching": "GET", "answer": "504", "times": 1}),
        json!({"door": "exchange", "matching": "Get-AcceptedDomain", "answer": "502", "times": 2}),
    ] {
        world.door.post("/faults", fault).await.unwrap();
    }
    let (ok, events) = world.connect(0).await;
    assert!(ok, "{}", events.join("\n"));
    let list = world.json(&["tenant", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
}

/// What somebody changed is told value by value; connecting again puts it right; what cannot be read is not guessed.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_was_tampered_with() {
    let world = World::connected().await;
    let plan = || {
        let output = world.command(&["plan", "contoso.example"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(plan().0, Some(0), "{}", plan().1);
    let boss = json!({"Identity": "Posthouse inbound", "ExceptIfFrom": ["anna@outside.example"], "Mode": "Audit"});
    world.exchange("Set-TransportRule", boss).await;
    world.exchange("Disable-TransportRule", json!({"Identity": "Posthouse outbound"})).await;
    world.exchange("Set-InboundConnector", json!({"Identity": "Posthouse from gateway", "Enabled": false})).await;
    world.exchange("Remove-TransportRule", json!({"Identity": "Posthouse strip"})).await;
    let (code, text) = plan();
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "ExceptIfFrom: [\"anna@outside.example\"] → null",
        "Mode: \"Audit\" → \"Enforce\"",
        "enable mail flow rule “Posthouse outbound”",
        "Enabled: false → true",
        "create mail flow rule “Posthouse strip”",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let fault = json!({"door": "exchange", "matching": "Get-InboundConnector", "answer": "500", "times": 1});
    world.door.post("/faults", fault).await.unwrap();
    let (_, text) = plan();
    assert!(text.contains("inbound connectors: unknown because"), "{text}");
    let (ok, events) = world.connect(0).await;
    assert!(ok, "{}", events.join("\n"));
    assert_eq!(plan().0, Some(0), "{}", plan().1);
}

/// Trial and developer tenants: the connector is created disabled, and no mail may be routed.
#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_microsoft_disables_stops_before_routing() {
    let world = World::start().await;
    let tenant = world.tenant_id(0);
    world.door.patch(&format!("/tenants/{tenant}"), json!({"onprem_connector_restricted": true})).await.unwrap();
    let (ok, events) = world.connect(0).await;
    let said = events.join("\n");
    assert!(!ok && said.contains("Microsoft support"), "{said}");
    assert_eq!(world.exchange("Get-TransportRule", json!({})).await, json!([]));
}
