//! What an operator sees of a gateway that runs, and what a signal does to it: nothing that is under way is cut.

use crate::harness::{HOSTNAME, World, until};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

async fn send(world: &World, id: &str, body: &str) {
    let raw = format!(
        "From: pat@acme.example\r\nSubject: secret of a person\r\nMessage-ID: <{id}@acme.example>\r\n\r\n{body}\r\n"
    );
    let to = ["admin@contoso.example".to_owned()];
    world.door.send_from_internet("pat@acme.example", &to, raw.as_bytes(), false).await.unwrap();
}

/// The way back is slow: each message waits so long before it is answered.
async fn slow_return(world: &World, millis: u64) {
    let fault =
        json!({"door": "smtp_data", "matching": "peer=127.0.50.1", "answer": "", "delay_ms": millis, "times": 1});
    world.door.post("/faults", fault).await.unwrap();
}

/// The value of a sample, by the beginning of its line.
fn sample(page: &str, begins: &str) -> Option<f64> {
    page.lines().find(|l| l.starts_with(begins))?.rsplit(' ').next()?.parse().ok()
}

async fn until_sample(world: &World, begins: &str, value: f64) {
    until(begins, async || sample(&world.page("/metrics").await.1, begins) == Some(value)).await;
}

/// A stranger's session that has said EHLO and rests.
async fn resting(world: &World) -> BufReader<TcpStream> {
    let mut tcp = BufReader::new(TcpStream::connect(("127.0.0.1", world.gateway_port)).await.unwrap());
    tcp.write_all(b"EHLO stranger.example\r\n").await.unwrap();
    let mut line = String::new();
    while !line.contains("250 ") {
        line.clear();
        assert_ne!(tcp.read_line(&mut line).await.unwrap(), 0, "closed");
    }
    tcp
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_tell_what_the_mail_did_and_nothing_of_whose_it_was() {
    let mut world = World::connected().await;
    let text = std::fs::read_to_string(&world.config).unwrap();
    std::fs::write(&world.config, text + "[log]\nformat = \"json\"\n").unwrap();
    let log = world.config.with_file_name("log.jsonl");
    world.restart_gateway_telling(&log).await;
    assert_eq!(world.page("/healthz").await, (200, "alive\n".into()));
    assert_eq!(world.page("/readyz").await, (200, "{\"ready\":true}\n".into()));
    send(&world, "plain", "hello").await;
    let eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    send(&world, "bad", &eicar).await;
    assert!(world.door.idle(60).await.unwrap());
    let (_, page) = world.page("/metrics").await;
    let is = |begins: &str, value: f64| assert_eq!(sample(&page, begins), Some(value), "{begins}\n{page}");
    is("posthouse_journeys_total{tenant=\"contoso\",direction=\"in\",outcome=\"handed_back\"}", 1.0);
    is("posthouse_journeys_total{tenant=\"contoso\",direction=\"in\",outcome=\"held\"}", 1.0);
    is("posthouse_findings_total{detector=\"eicar\"", 1.0);
    is("posthouse_held{tenant=\"contoso\"}", 1.0);
    is("posthouse_return_connections{tenant=\"contoso\",state=\"idle\"}", 1.0);
    is("posthouse_return_connections_opened_total{tenant=\"contoso\"}", 1.0);
    is("posthouse_return_replies_total{class=\"2xx\"", 1.0);
    is("posthouse_journeys_under_way", 0.0);
    is("posthouse_ready", 1.0);
    for step in ["receive", "attribute", "parse", "authenticate", "inspect", "decide", "act"] {
        is(&format!("posthouse_step_duration_seconds_count{{step=\"{step}\"}}"), 2.0);
    }
    is("posthouse_step_duration_seconds_count{step=\"hand back\"}", 1.0);
    assert!(sample(&page, "posthouse_tls_handshakes_total{version=\"1.3\"}").unwrap() >= 1.0);
    assert!(page.ends_with("# EOF\n") && !page.contains('@') && !page.contains("secret of"), "{page}");
    every_journey_tells_its_id(&world, &log);
    // a folder that cannot take a file, as a disk that is full or read-only
    let bodies = world.config.with_file_name("data").join("bodies");
    let aside = bodies.with_file_name("aside");
    std::fs::rename(&bodies, &aside).unwrap();
    std::fs::write(&bodies, "").unwrap();
    until("not ready", async || world.page("/readyz").await.0 == 503).await;
    let (_, text) = world.page("/readyz").await;
    assert!(text.lines().count() == 1 && text.contains("\"check\":\"store\""), "{text}");
    std::fs::remove_file(&bodies).unwrap();
    std::fs::rename(&aside, &bodies).unwrap();
    until("ready again", async || world.page("/readyz").await.0 == 200).await;
}

fn every_journey_tells_its_id(world: &World, log: &Path) {
    let text = std::fs::read_to_string(log).unwrap();
    assert!(!text.contains("secret of a person") && !text.contains("admin@contoso.example"), "{text}");
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    for journey in world.json(&["trace"]).as_array().unwrap().iter().filter(|j| j["sender"] == "pat@acme.example") {
        let of_it: Vec<&Value> = lines
            .iter()
            .filter(|l| l["spans"].as_array().is_some_and(|s| s.iter().any(|s| s["journey"] == journey["id"])))
            .collect();
        let end = of_it.iter().find(|l| l["message"] == "journey ended").unwrap_or_else(|| panic!("{journey}: {text}"));
        assert_eq!(end["tenant"], journey["tenant"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_cuts_nothing_and_tells_whoever_rests() {
    let mut world = World::connected().await;
    slow_return(&world, 4000).await;
    let (mut asking, mut silent) = (resting(&world).await, resting(&world).await);
    send(&world, "slow", "hello").await;
    until_sample(&world, "posthouse_journeys_under_way", 1.0).await;
    world.gateway.signal("TERM");
    until("nobody listens", async || TcpStream::connect(("127.0.0.1", world.gateway_port)).await.is_err()).await;
    let (code, text) = world.page("/readyz").await;
    assert!(code == 503 && text.contains("\"check\":\"drain\""), "{code} {text}");
    assert_eq!(world.page("/healthz").await.0, 200);
    let mut said = String::new();
    asking.write_all(b"NOOP\r\n").await.unwrap();
    asking.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "421 4.3.2 Going down, try again soon\r\n");
    said.clear();
    silent.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "421 4.3.2 Going down, try again soon\r\n", "who says nothing is told at the end");
    assert_eq!(world.gateway.exit_code().await, Some(0));
    assert!(world.door.idle(60).await.unwrap(), "Exchange Online was not answered 250");
    let queue = world.door.get("/queue", &[]).await.unwrap().to_string();
    assert!(!queue.contains("slow@acme.example"), "{queue}");
    let journeys = world.json(&["trace", "--message-id", "slow@acme.example"]);
    assert_eq!(journeys.as_array().unwrap().len(), 1, "{journeys}");
    assert!(journeys[0]["outcome"] == "handed_back" && journeys[0]["reply"].as_str().unwrap().starts_with("250"));
    let mailbox = world.door.mailbox("admin@contoso.example", false).await.unwrap();
    assert_eq!(mailbox.iter().filter(|m| m.message_id.contains("slow")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_and_the_message_comes_again() {
    let mut world = World::connected().await;
    slow_return(&world, 30_000).await;
    send(&world, "cut", "hello").await;
    until_sample(&world, "posthouse_journeys_under_way", 1.0).await;
    world.gateway.signal("TERM");
    until("nobody listens", async || TcpStream::connect(("127.0.0.1", world.gateway_port)).await.is_err()).await;
    let began = std::time::Instant::now();
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.exit_code().await, Some(1));
    assert!(began.elapsed().as_secs() < 10, "it waited for the message");
    world.restart_gateway().await;
    until("the message", async || {
        world.door.post("/queue/retry", json!({})).await.unwrap();
        let mailbox = world.door.mailbox("admin@contoso.example", false).await.unwrap();
        mailbox.iter().any(|m| m.message_id.contains("cut"))
    })
    .await;
}

/// A session as Exchange Online would open one; it trusts these roots alone.
async fn session(world: &World, roots: &str, identity: (&str, &str), from: &str) -> Result<smtp::Connection, String> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in
        <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::pem_slice_iter(roots.as_bytes())
    {
        store.add(certificate.unwrap()).unwrap();
    }
    let target = smtp::Target {
        address: ([127, 0, 0, 1], world.gateway_port).into(),
        server_name: HOSTNAME.into(),
        helo: "exo.example".into(),
        source: Some(from.parse().unwrap()),
        tls: smtp::tls::client_config(Arc::new(store), Some(identity)).unwrap(),
    };
    smtp::Connection::open(&target).await.map_err(|e| e.to_string())
}

async fn offer(connection: &mut smtp::Connection) -> String {
    let envelope = mail::Envelope::new("pat@acme.example", ["someone@contoso.example"]);
    connection.send(&envelope, b"Subject: x\r\n\r\nhello\r\n").await.unwrap().of(0).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_comes_next_and_drops_nobody() {
    let mut world = World::start().await;
    let beside = |name: &str| world.config.with_file_name(name);
    let issue = async |names: Value| {
        let issued = world.door.post("/pki/issue", json!({"names": names, "client_auth": true})).await.unwrap();
        (issued["chain_pem"].as_str().unwrap().to_owned(), issued["key_pem"].as_str().unwrap().to_owned())
    };
    let (old, microsoft) = (issue(json!([HOSTNAME])).await, issue(json!(["mail.protection.outlook.com"])).await);
    let microsoft = (microsoft.0.as_str(), microsoft.1.as_str());
    // another authority, so that whoever trusts it alone proves which certificate was shown
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let other_root = params.self_signed(&key).unwrap().pem();
    let (signer, new_key) = (rcgen::Issuer::new(params, key), rcgen::KeyPair::generate().unwrap());
    let new = rcgen::CertificateParams::new(vec![HOSTNAME.into()]).unwrap().signed_by(&new_key, &signer).unwrap().pem();
    let first_root = std::fs::read_to_string(world.endpoints["ca_file"].as_str().unwrap()).unwrap();
    std::fs::write(beside("roots.pem"), format!("{first_root}{other_root}")).unwrap();
    let put = |(chain, key): (&str, &str)| {
        std::fs::write(beside("gw.pem"), chain).unwrap();
        std::fs::write(beside("gw.key"), key).unwrap();
    };
    put((&old.0, &old.1));
    std::fs::write(beside("ranges.txt"), "127.0.40.0/24\n").unwrap();
    let text = std::fs::read_to_string(&world.config).unwrap();
    let (at, ca) = (world.config.parent().unwrap().display().to_string(), world.endpoints["ca_file"].as_str().unwrap());
    let text = text
        .replace(
            "microsoft_ranges = [\"127.0.40.0/24\"]",
            &format!(
                "microsoft_ranges_file = \"{at}/ranges.txt\"\ncertificate = \"{at}/gw.pem\"\nkey = \"{at}/gw.key\""
            ),
        )
        .replacen(&format!("trusted_roots = \"{ca}\""), &format!("trusted_roots = \"{at}/roots.pem\""), 1);
    std::fs::write(&world.config, &text).unwrap();
    let log = beside("log");
    world.restart_gateway_telling(&log).await;

    let unproven = "451 4.7.1 No connected tenant is proven";
    let mut open = session(&world, &first_root, microsoft, "127.0.40.9").await.unwrap();
    assert!(session(&world, &other_root, microsoft, "127.0.40.9").await.is_err(), "the new certificate too early");
    let mut elsewhere = session(&world, &first_root, microsoft, "127.0.41.9").await.unwrap();
    assert!(offer(&mut elsewhere).await.contains("Exchange Online only"));

    // half of a change: the new certificate with the old key
    std::fs::write(world.config.with_file_name("gw.pem"), &new).unwrap();
    world.gateway.signal("HUP");
    until_sample(&world, "posthouse_reloads_total{result=\"refused\"}", 1.0).await;
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(
        told.contains("what was in effect stays: gateway.key: ") && told.contains("is the key of another certificate"),
        "{told}"
    );
    session(&world, &first_root, microsoft, "127.0.40.9").await.expect("the old certificate stays");

    std::fs::write(world.config.with_file_name("gw.key"), new_key.serialize_pem()).unwrap();
    std::fs::write(world.config.with_file_name("ranges.txt"), "127.0.40.0/24\n127.0.41.0/24\n").unwrap();
    std::fs::write(
        &world.config,
        text.replace("return_port = ", "arc_sealer = \"sealer.example\"\nreturn_port = ")
            + "[log]\nlevel = \"debug\"\n",
    )
    .unwrap();
    world.gateway.signal("HUP");
    until_sample(&world, "posthouse_reloads_total{result=\"taken\"}", 1.0).await;
    let mut fresh = session(&world, &other_root, microsoft, "127.0.41.9").await.expect("the new certificate");
    assert!(session(&world, &first_root, microsoft, "127.0.40.9").await.is_err(), "the old certificate still");
    assert!(offer(&mut open).await.contains(unproven), "the session of before goes on");
    assert!(offer(&mut fresh).await.contains(unproven), "the new range counts");
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("take effect at the next start: gateway.arc_sealer\n"), "{told}");
    assert!(told.contains("DEBUG"), "the level was not changed: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_and_check_config_say_the_same_all_at_once() {
    let world = World::start().await;
    let right = world.command(&["check-config"]).output().unwrap();
    let said = String::from_utf8(right.stdout).unwrap();
    assert!(right.status.success() && said.contains("gateway.listen: 127.0.0.1:"), "{said}");
    assert!(said.contains(&format!("is served by process {}", world.gateway.id())), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = std::fs::read_to_string(&world.config).unwrap();
    let wrong = text
        .replace(&format!("127.0.0.1:{}", world.gateway_port), &format!("127.0.0.1:{port}"))
        .replace("authority.key", "absent.key")
        .replace("data\"", "data2\"")
        .replacen("[status]\nlisten = \"127.0.0.1:0\"", "[status]\nlisten = \"\"", 1);
    std::fs::write(&world.config, &wrong).unwrap();
    let expected = [
        format!("gateway.listen: TCP port {port} of 127.0.0.1 is taken by another process"),
        format!("certificates.authority_key: {}/absent.key does not exist", world.config.parent().unwrap().display()),
    ];
    let checked = world.command(&["check-config"]).output().unwrap();
    let served = world.command(&["serve"]).output().unwrap();
    assert_eq!((checked.status.code(), served.status.code()), (Some(1), Some(1)));
    for text in [&checked.stdout, &served.stderr] {
        let text = String::from_utf8_lossy(text);
        expected.iter().for_each(|e| assert!(text.contains(e), "{e} is not in: {text}"));
    }
    let json: Value =
        serde_json::from_slice(&world.command(&["--json", "check-config"]).output().unwrap().stdout).unwrap();
    let problems: Vec<&Value> =
        json.as_array().unwrap().iter().filter(|c| c["level"] == "problem").map(|c| &c["key"]).collect();
    // the zone's port is that of the gateway that runs, from another folder
    assert_eq!(problems, ["gateway.listen", "zone.listen", "certificates.authority_key"], "{json}");
    std::fs::write(&world.config, wrong.replace("return_port", "retrun_port")).unwrap();
    let checked = world.command(&["check-config"]).output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        !checked.status.success() && text.contains("did you mean `return_port`?") && text.contains(&expected[0]),
        "{text}"
    );
}

/// Every POST to this address: its body, answered 200.
#[cfg(feature = "otlp")]
async fn collector() -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let (send, receive) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let take = axum::routing::post(async move |body: axum::body::Bytes| send.send(body.to_vec()).unwrap());
    let routes = axum::Router::new().route("/v1/traces", take);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (address, receive)
}

/// `cargo test --features otlp`
#[cfg(feature = "otlp")]
#[tokio::test(flavor = "multi_thread")]
async fn traces_have_the_journey_its_steps_and_nothing_of_whose_it_was() {
    let mut world = World::connected().await;
    let (address, mut bodies) = collector().await;
    let text = std::fs::read_to_string(&world.config).unwrap();
    std::fs::write(&world.config, text + &format!("[telemetry]\notlp = \"http://{address}/v1/traces\"\n")).unwrap();
    world.restart_gateway().await;
    send(&world, "traced", "hello").await;
    assert!(world.door.idle(60).await.unwrap());
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.exit_code().await, Some(0));
    let mut sent = String::new();
    while let Ok(body) = bodies.try_recv() {
        sent += &String::from_utf8_lossy(&body);
    }
    let journeys = world.json(&["trace", "--message-id", "traced@acme.example"]);
    for word in [journeys[0]["id"].as_str().unwrap(), "posthouse", "journey", "authenticate", "hand back"] {
        assert!(sent.contains(word), "{word} was not sent");
    }
    assert!(!sent.contains("acme.example") && !sent.contains("contoso.example"), "{sent}");
}
