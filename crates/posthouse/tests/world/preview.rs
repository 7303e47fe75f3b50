//! What connecting would do, shown to an administrator who only signed in; nothing is touched.

use crate::harness::World;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

#[tokio::test(flavor = "multi_thread")]
async fn connecting_is_shown_before_anything_is_touched() {
    let world = World::start().await;
    let tenant = world.tenant_id(0);
    let mut child = world
        .command(&["--json", "tenant", "connect", "--preview"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let admin = &world.endpoints["tenants"][0]["admin"];
    let (user, password) = (admin["user"].as_str().unwrap(), admin["password"].as_str().unwrap());
    world.approve(event["user_code"].as_str().unwrap(), user, password).await;
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    errors.read_to_string(&mut line).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{line}");
    let plan: Value = serde_json::from_str(&said).unwrap();
    let changes = plan["changes"].as_array().unwrap();
    let about = |text: &str| changes.iter().find(|c| c["object"].as_str().unwrap().contains(text)).cloned();
    for object in
        ["application “Posthouse Mail Flow”", "permission Exchange.ManageAsApp", "accepted domain", "Posthouse inbound"]
    {
        assert!(about(object).is_some(), "{object}: {plan:#}");
    }
    let connector = about("inbound connector").unwrap();
    assert!(connector["waits_for"].as_str().unwrap().contains("does not exist yet"), "{connector}");
    assert!(plan["unknown"].to_string().contains("mail flow rules"), "it guesses what it could not read: {plan:#}");
    // the tenant's log has the consent that she gave by signing in, and that is to read
    let audit = world.door.get("/audit", &[("tenant", &tenant)]).await.unwrap();
    let acts = audit.as_array().unwrap();
    assert_eq!(acts.len(), 1, "the tenant was touched: {audit}");
    assert_eq!(acts[0]["operation"], "Consent to application");
    assert!(!acts[0].to_string().contains("ReadWrite"), "a look asks for more than reading: {}", acts[0]);
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
}
