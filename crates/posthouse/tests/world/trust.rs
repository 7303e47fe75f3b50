//! Law 8: nothing is relayed for whoever cannot prove to be Exchange Online sending for a connected tenant.

use crate::harness::{HOSTNAME, World};
use serde_json::json;

fn a_message(id: &str) -> Vec<u8> {
    format!("From: pat@acme.example\r\nSubject: relay me\r\nMessage-ID: <{id}@acme.example>\r\n\r\nhello\r\n")
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_connector_is_refused_for_now() {
    let world = World::connected().await;
    let other = world.tenant_id(1);
    let run = async |cmdlet: &str, parameters: serde_json::Value| {
        world
            .door
            .post(&format!("/tenants/{other}/exchange"), json!({"cmdlet": cmdlet, "parameters": parameters}))
            .await
            .unwrap()
    };
    run("New-OutboundConnector", json!({"Name": "theirs", "ConnectorType": "OnPremises", "IsTransportRuleScoped": true, "UseMXRecord": false, "SmartHosts": [HOSTNAME], "TlsSettings": "DomainValidation", "TlsDomain": HOSTNAME})).await;
    let guess = format!("v1;{};{};in", world.tenant_id(0), "0".repeat(64));
    run("New-TransportRule", json!({"Name": "steal", "RouteMessageOutboundConnector": "theirs", "SetHeaderName": "X-Posthouse-Route", "SetHeaderValue": guess, "StopRuleProcessing": true})).await;
    let to = world.endpoints["tenants"][1]["admin"]["user"].as_str().unwrap().to_owned();
    world
        .door
        .send_from_internet("pat@acme.example", std::slice::from_ref(&to), &a_message("stolen"), false)
        .await
        .unwrap();
    world.door.idle(60).await.unwrap();
    assert!(world.door.mailbox(&to, false).await.unwrap().is_empty());
    let queue = world.door.get("/queue", &[]).await.unwrap();
    assert!(queue.to_string().contains("451 4.7.1"), "{queue}");
    let alerts = world.json(&["alerts"]);
    assert!(alerts.as_array().unwrap().iter().any(|a| a["kind"] == "not_attributed"), "{alerts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_with_a_wrong_or_missing_secret_is_refused_for_now() {
    let world = World::connected().await;
    let tenant = world.tenant_id(0);
    let to = world.json_directory_addresses().await[3].clone();
    for (id, change) in [
        ("wrong", json!({"SetHeaderValue": format!("v1;{tenant};{};in", "0".repeat(64))})),
        ("missing", json!({"SetHeaderName": null, "SetHeaderValue": null})),
    ] {
        let mut parameters = change.as_object().unwrap().clone();
        parameters.insert("Identity".into(), "Posthouse inbound".into());
        world
            .door
            .post(
                &format!("/tenants/{tenant}/exchange"),
                json!({"cmdlet": "Set-TransportRule", "parameters": parameters}),
            )
            .await
            .unwrap();
        world
            .door
            .send_from_internet("pat@acme.example", std::slice::from_ref(&to), &a_message(id), false)
            .await
            .unwrap();
        world.door.idle(60).await.unwrap();
        let queue = world.door.get("/queue", &[]).await.unwrap().to_string();
        assert!(queue.contains("451 4.7.1"), "{id}: {queue}");
    }
    // mail itself tells that the rule was edited, once for all of it
    let alerts = world.json(&["alerts"]);
    let tampered: Vec<_> = alerts.as_array().unwrap().iter().filter(|a| a["kind"] == "tampered").collect();
    assert!(tampered.len() == 1 && tampered[0]["severity"] == "high", "{alerts}");
    assert!(tampered[0]["tenant"] == tenant.as_str() && tampered[0]["count"].as_u64().unwrap() >= 2, "{alerts}");
    assert!(tampered[0]["text"].as_str().unwrap().starts_with("a rule of ours was edited"), "{alerts}");
    assert!(!alerts.to_string().contains(&"0".repeat(64)), "an alert quotes a token");
    assert!(
        world
            .door
            .mailbox(&to, false)
            .await
            .unwrap()
            .iter()
            .all(|m| !m.message_id.contains("wrong") && !m.message_id.contains("missing"))
    );
}

/// Who a client shows itself as.
enum Shows {
    NoTls,
    Nothing,
    /// Chain and key in PEM.
    Certificate(String, String),
}

/// Offers one message as a stranger would; every reply until the first refusal, or all of them.
async fn offer(world: &World, shows: &Shows, source: Option<&str>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = ([127, 0, 0, 1], world.gateway_port).into();
    if let Shows::NoTls = shows {
        let mut tcp = tokio::net::TcpStream::connect::<std::net::SocketAddr>(address).await.unwrap();
        tcp.write_all(b"EHLO stranger.example\r\nMAIL FROM:<pat@acme.example>\r\nRCPT TO:<someone@contoso.example>\r\nDATA\r\nQUIT\r\n").await.unwrap();
        let mut said = String::new();
        tcp.read_to_string(&mut said).await.unwrap();
        return said;
    }
    let ca = std::fs::read_to_string(world.endpoints["ca_file"].as_str().unwrap()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in
        <rustls_pki_types::CertificateDer as rustls_pki_types::pem::PemObject>::pem_slice_iter(ca.as_bytes())
    {
        roots.add(certificate.unwrap()).unwrap();
    }
    let identity = match shows {
        Shows::Certificate(chain, key) => Some((chain.as_str(), key.as_str())),
        _ => None,
    };
    let tls = smtp::tls::client_config(std::sync::Arc::new(roots), identity).unwrap();
    let target = smtp::Target {
        address,
        server_name: HOSTNAME.into(),
        helo: "stranger.example".into(),
        source: source.map(|s| s.parse().unwrap()),
        tls,
    };
    let mut connection = smtp::Connection::open(&target).await.unwrap();
    let envelope = mail::Envelope::new("pat@acme.example", ["someone@contoso.example"]);
    connection.send(&envelope, &a_message("stranger")).await.unwrap().of(0).to_string()
}

fn self_made(name: &str) -> Shows {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Shows::Certificate(certificate.pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_exchange_online_is_refused_and_an_alert_is_raised() {
    let world = World::connected().await;
    let genuine = world
        .door
        .post("/pki/issue", json!({"names": ["mail.protection.outlook.com"], "client_auth": true}))
        .await
        .unwrap();
    let other =
        world.door.post("/pki/issue", json!({"names": ["mail.attacker.example"], "client_auth": true})).await.unwrap();
    let issued = |v: &serde_json::Value| {
        Shows::Certificate(v["chain_pem"].as_str().unwrap().into(), v["key_pem"].as_str().unwrap().into())
    };
    let microsoft = Some("127.0.40.9");
    let untrusted = "451 4.7.1 Mail is taken from Exchange Online only";
    let attempts = [
        ("plain, without TLS", Shows::NoTls, None, "451 4.7.0 Must issue STARTTLS first"),
        ("TLS without a certificate", Shows::Nothing, None, untrusted),
        ("without a certificate, from an address of Microsoft's", Shows::Nothing, microsoft, untrusted),
        ("a self-made certificate named like Microsoft's", self_made("mail.protection.outlook.com"), None, untrusted),
        ("the same from an address of Microsoft's", self_made("mail.protection.outlook.com"), microsoft, untrusted),
        ("a public certificate of another name", issued(&other), microsoft, untrusted),
        ("Microsoft's name from an address that is not Microsoft's", issued(&genuine), None, untrusted),
    ];
    for (what, shows, source, reply) in &attempts {
        let before = alerts_of(&world, "untrusted_peer");
        let said = offer(&world, shows, *source).await;
        assert!(said.contains(reply), "{what}: {said}");
        assert!(!said.contains("354"), "{what}: {said}");
        assert!(alerts_of(&world, "untrusted_peer") > before, "{what}: no alert");
    }
    // Microsoft's name from Microsoft's address, but no tenant: taken over SMTP, refused before anything is relayed
    let said = offer(&world, &issued(&genuine), microsoft).await;
    assert!(said.starts_with("451 4.7.1 No connected tenant is proven"), "{said}");
    assert!(alerts_of(&world, "not_attributed") > 0);
    for address in world.json_directory_addresses().await {
        assert!(world.door.mailbox(&address, false).await.unwrap().iter().all(|m| !m.message_id.contains("stranger")));
    }
}

/// How often alerts of a kind were raised, repetitions counted.
fn alerts_of(world: &World, kind: &str) -> u64 {
    let alerts = world.json(&["alerts"]);
    alerts.as_array().unwrap().iter().filter(|a| a["kind"] == kind).map(|a| a["count"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_tenant_cannot_speak_for_another() {
    let world = World::connected().await;
    let (ok, events) = world.connect(1).await;
    assert!(ok, "{}", events.join("\n"));
    // Tailspin's rule stamps what it can know of Contoso: its id. The secret it cannot.
    let (contoso, tailspin) = (world.tenant_id(0), world.tenant_id(1));
    let rule = json!({"cmdlet": "Set-TransportRule", "parameters": {"Identity": "Posthouse inbound", "SetHeaderValue": format!("v1;{contoso};{};in", "a".repeat(64))}});
    world.door.post(&format!("/tenants/{tailspin}/exchange"), rule).await.unwrap();
    let to = world.endpoints["tenants"][1]["admin"]["user"].as_str().unwrap().to_owned();
    world
        .door
        .send_from_internet("pat@acme.example", std::slice::from_ref(&to), &a_message("crossing"), false)
        .await
        .unwrap();
    world.door.idle(60).await.unwrap();
    let queue = world.door.get("/queue", &[]).await.unwrap().to_string();
    assert!(queue.contains("451 4.7.1"), "{queue}");
    let journeys = world.json(&["trace", "--message-id", "crossing@acme.example"]);
    assert_eq!(journeys[0]["tenant"], tailspin.as_str(), "what was refused belongs to nobody else: {journeys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_take_the_room_of_exchange_online() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let world = World::connected().await;
    let mut kept = Vec::new();
    let mut turned_away = 0;
    for _ in 0..80 {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", world.gateway_port)).await.unwrap();
        let mut lines = BufReader::new(tcp).lines();
        let greeting = lines.next_line().await.unwrap().unwrap();
        turned_away += usize::from(greeting.starts_with("421 4.7.0"));
        kept.push(lines);
    }
    assert_eq!(turned_away, 80 - 32);
    let to = "admin@contoso.example".to_owned();
    world
        .door
        .send_from_internet("pat@acme.example", std::slice::from_ref(&to), &a_message("through"), false)
        .await
        .unwrap();
    world.door.idle(60).await.unwrap();
    assert!(world.door.mailbox(&to, false).await.unwrap().iter().any(|m| m.message_id.contains("through")));
}
