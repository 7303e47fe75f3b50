//! Two commands at one tenant at the same time, and one after another that died.

use super::*;

const BUSY: &str = "another run of Posthouse is changing this tenant now";

/// Makes cmdlets wait, so that the command which asks holds the tenant.
async fn stuck_at(world: &World, matching: &str) {
    let fault = json!({"door": "exchange", "matching": matching, "answer": "503", "delay_ms": 30_000, "times": 1});
    world.door.post("/faults", fault).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_is_refused_politely_and_nothing_is_done_twice() {
    let world = World::start().await;
    stuck_at(&world, "New-InboundConnector").await;
    let mut first = Run::start(&world, CONNECT, "");
    while let Some(event) = first.next(&world).await {
        if event["step"] == "permissions"
            && event["state"] == "done"
            && event["text"].as_str().unwrap().contains("take")
        {
            break;
        }
    }
    let before = audit(&world, 0).await.iter().filter(|a| a["operation"] == "Add application").count();
    let (ok, said) = run(&world, CONNECT).await;
    assert!(!ok && said.contains(BUSY) && said.contains("try again"), "{said}");
    first.kill();
    connect(&world, &[]).await;
    let audit = audit(&world, 0).await;
    assert_eq!(times(&audit, "Add application"), before);
    assert_eq!(times(&audit, "New-InboundConnector"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_at_once_is_refused_and_works_at_once_after_the_other_died() {
    let world = World::connected().await;
    world.exchange("Set-TransportRule", json!({"Identity": "Posthouse inbound", "Mode": "Audit"})).await;
    let output = world.command(&["--json", "plan", "contoso"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let apply = ["apply", "contoso", "--plan", plan["id"].as_str().unwrap()];
    stuck_at(&world, "Set-TransportRule").await;
    let first = Run::start(&world, &apply, "");
    until("the first is busy", async || {
        let (code, said) = exit_code(&world, &["tenant", "receipts", "contoso"]);
        code == Some(0) && said.contains("under way")
    })
    .await;
    let (code, said) = exit_code(&world, &apply);
    assert!(code == Some(1) && said.contains(BUSY), "{said}");
    let (ok, said) = run(&world, &["tenant", "disconnect", "contoso"]).await;
    assert!(!ok && said.contains(BUSY), "{said}");
    first.kill();
    let (code, said) = exit_code(&world, &apply);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(exit_code(&world, &["plan", "contoso"]).0, Some(0));
    let all = audit(&world, 0).await;
    let set = all.iter().filter(|a| a["operation"] == "Set-TransportRule" && a.to_string().contains("\"Enforce\""));
    assert_eq!(set.count(), 1, "the rule was changed twice");
}
