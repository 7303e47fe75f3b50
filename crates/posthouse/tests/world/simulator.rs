//! The simulator refuses what Microsoft refuses; without that, a rehearsal proves nothing.

use crate::door::Door;
use crate::harness::{HOSTNAME, World, until};
use serde_json::{Value, json};
use std::sync::Arc;

async fn run(world: &World, cmdlet: &str, parameters: Value) -> anyhow::Result<Value> {
    world
        .door
        .post(&format!("/tenants/{}/exchange", world.tenant_id(0)), json!({"cmdlet": cmdlet, "parameters": parameters}))
        .await
}

/// A connection to the MX, as whoever shows `identity`.
async fn mx(world: &World, identity: Option<&Value>) -> smtp::Connection {
    let ca = std::fs::read(world.endpoints["ca_file"].as_str().unwrap()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in <rustls_pki_types::CertificateDer as rustls_pki_types::pem::PemObject>::pem_slice_iter(&ca) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let identity = identity.map(|i| (i["chain_pem"].as_str().unwrap(), i["key_pem"].as_str().unwrap()));
    let tls = smtp::tls::client_config(Arc::new(roots), identity).unwrap();
    let address = world.endpoints["smtp_mx"].as_str().unwrap().parse().unwrap();
    smtp::Connection::open(&smtp::Target {
        address,
        server_name: "contoso-example.mail.protection.outlook.com".into(),
        helo: "mx.acme.example".into(),
        source: None,
        tls,
    })
    .await
    .unwrap()
}

const RAW: &[u8] = b"From: pat@acme.example\r\nSubject: x\r\nMessage-ID: <sim@acme.example>\r\n\r\nx\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn recipients_and_relaying() {
    let world = World::start().await;
    let mut connection = mx(&world, None).await;
    let unknown =
        connection.send(&mail::Envelope::new("pat@acme.example", ["nobody.here@contoso.example"]), RAW).await.unwrap();
    assert!(
        unknown.of(0).to_string().starts_with("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)"),
        "{}",
        unknown.of(0)
    );
    let relay =
        connection.send(&mail::Envelope::new("pat@acme.example", ["someone@partner.example"]), RAW).await.unwrap();
    assert!(
        relay.of(0).to_string().starts_with("550 5.7.64 TenantAttribution; Relay Access Denied"),
        "{}",
        relay.of(0)
    );
    let many = mail::Envelope::new("pat@acme.example", vec!["admin@contoso.example"; 201]);
    let many = connection.send(&many, RAW).await.unwrap();
    assert_eq!(many.recipients[199].code, 250);
    assert!(many.recipients[200].to_string().starts_with("452 4.5.3 Too many recipients"), "{}", many.recipients[200]);
}

/// Relaying needs a connector of the certificate's name *and* that name as accepted domain.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_of_an_accepted_domain_relays_nothing() {
    let world = World::start().await;
    let issued =
        world.door.post("/pki/issue", json!({"names": ["t.vendor.example"], "client_auth": true})).await.unwrap();
    let connector = json!({"Name": "from vendor", "ConnectorType": "OnPremises", "SenderDomains": ["*"], "RequireTls": true, "TlsSenderCertificateName": "t.vendor.example"});
    run(&world, "New-InboundConnector", connector).await.unwrap();
    let envelope = mail::Envelope::new("", ["someone@partner.example"]);
    let refused = mx(&world, Some(&issued)).await.send(&envelope, RAW).await.unwrap();
    assert!(refused.of(0).to_string().starts_with("550 5.7.64"), "{}", refused.of(0));
    // the same with the default domain's own name is relayed
    let own = world.door.post("/pki/issue", json!({"names": ["contoso.example"], "client_auth": true})).await.unwrap();
    run(
        &world,
        "Set-InboundConnector",
        json!({"Identity": "from vendor", "TlsSenderCertificateName": "contoso.example"}),
    )
    .await
    .unwrap();
    let taken = mx(&world, Some(&own)).await.send(&envelope, RAW).await.unwrap();
    assert!(taken.of(0).is_success(), "{}", taken.of(0));
    // a self-made one of that name is not
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["contoso.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let forged = json!({"chain_pem": certificate.pem(), "key_pem": key.serialize_pem()});
    let refused = mx(&world, Some(&forged)).await.send(&envelope, RAW).await.unwrap();
    assert!(refused.of(0).to_string().starts_with("550 5.7.64"), "{}", refused.of(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_need_a_connector_that_is_scoped_to_them() {
    let world = World::start().await;
    let rule = |connector: &str| json!({"Name": format!("to {connector}"), "RouteMessageOutboundConnector": connector, "FromScope": "NotInOrganization"});
    let missing = run(&world, "New-TransportRule", rule("nowhere")).await.unwrap_err();
    assert!(format!("{missing:#}").contains("couldn't be found"), "{missing:#}");
    let connector = |name: &str, scoped: bool| json!({"Name": name, "ConnectorType": "OnPremises", "IsTransportRuleScoped": scoped, "UseMXRecord": false, "SmartHosts": [HOSTNAME]});
    run(&world, "New-OutboundConnector", connector("unscoped", false)).await.unwrap();
    let unscoped = run(&world, "New-TransportRule", rule("unscoped")).await.unwrap_err();
    assert!(format!("{unscoped:#}").contains("scoped to transport rules"), "{unscoped:#}");
    run(&world, "New-OutboundConnector", connector("scoped", true)).await.unwrap();
    run(&world, "New-TransportRule", rule("scoped")).await.unwrap();
    for change in
        [json!({"Identity": "scoped", "Enabled": false}), json!({"Identity": "scoped", "IsTransportRuleScoped": false})]
    {
        let referenced = run(&world, "Set-OutboundConnector", change).await.unwrap_err();
        assert!(format!("{referenced:#}").contains("still referenced"), "{referenced:#}");
    }
    assert!(run(&world, "Remove-OutboundConnector", json!({"Identity": "scoped"})).await.is_err());
}

async fn attempts(door: &Door) -> (u64, String) {
    let queue = door.get("/queue", &[]).await.unwrap();
    (queue[0]["attempts"].as_u64().unwrap_or(0), queue[0]["last_error"].as_str().unwrap_or_default().to_owned())
}

/// TlsDomain is another name than the gateway's: nothing goes out in the clear, the message waits and is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_tls_name_waits_on_the_retry_schedule() {
    let world = World::connected().await;
    run(&world, "Set-OutboundConnector", json!({"Identity": "Posthouse to gateway", "TlsDomain": "other.example"}))
        .await
        .unwrap();
    world.door.send_from_internet("pat@acme.example", &["admin@contoso.example".into()], RAW, false).await.unwrap();
    world.door.idle(30).await.unwrap();
    let (tried, why) = attempts(&world.door).await;
    assert_eq!(tried, 1);
    assert!(
        why.starts_with(
            "450 4.4.317 Cannot connect to remote server [Message=SubjectMismatch Expected Subject: other.example"
        ),
        "{why}"
    );
    // 1, 5 and 10 minutes later, and not before
    for (n, minutes) in [1u64, 5, 10].into_iter().enumerate() {
        world.door.post("/clock/advance", json!({"secs": minutes * 60 - 20})).await.unwrap();
        world.door.idle(30).await.unwrap();
        assert_eq!(attempts(&world.door).await.0, n as u64 + 1, "tried before {minutes} minutes had gone by");
        world.door.post("/clock/advance", json!({"secs": 30})).await.unwrap();
        until("the next attempt", async || attempts(&world.door).await.0 == n as u64 + 2).await;
    }
    run(&world, "Set-OutboundConnector", json!({"Identity": "Posthouse to gateway", "TlsDomain": HOSTNAME}))
        .await
        .unwrap();
    world.door.post("/queue/retry", json!({})).await.unwrap();
    until("its arrival", async || {
        world
            .door
            .mailbox("admin@contoso.example", false)
            .await
            .unwrap()
            .iter()
            .any(|m| m.message_id.contains("sim@acme.example"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_mark_skips_the_gateway_only_where_the_secret_is_right() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    for (n, mark) in
        ["true".to_owned(), format!("v1;{tenant};{};in", "0".repeat(64)), format!("v1;{tenant};;in")].iter().enumerate()
    {
        let raw = format!(
            "From: pat@acme.example\r\nX-Posthouse-Pass: {mark}\r\nMessage-ID: <forged-{n}@acme.example>\r\nSubject: x\r\n\r\nx\r\n"
        );
        world
            .door
            .send_from_internet("pat@acme.example", &["admin@contoso.example".into()], raw.as_bytes(), false)
            .await
            .unwrap();
        world.door.idle(30).await.unwrap();
        let journeys = world.json(&["trace", "--message-id", &format!("forged-{n}@acme.example")]);
        assert_eq!(journeys.as_array().unwrap().len(), 1, "{mark}");
        let stored = world
            .door
            .mailbox("admin@contoso.example", false)
            .await
            .unwrap()
            .into_iter()
            .find(|m| m.message_id.contains(&format!("forged-{n}")))
            .unwrap();
        assert!(
            !String::from_utf8_lossy(&stored.raw).to_lowercase().contains("x-posthouse-pass"),
            "the recipient sees a mark"
        );
    }
}
