//! Mail that is barely mail makes the whole journey: never a crash, never altered.

use crate::door::WireCopy;
use crate::harness::World;

/// Each with the name under which it is complained about.
fn specimens() -> Vec<(&'static str, Vec<u8>)> {
    let head = "From: pat@acme.example\r\nSubject: bad\r\n";
    let many = (0..10_000).fold(format!("{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n"), |all, n| {
        all + &format!("--b\r\n\r\n{n}\r\n")
    }) + "--b--\r\n";
    let large = [
        format!("{head}\r\n").into_bytes(),
        b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\r\n".repeat(40 * 1024 * 1024 / 65),
    ]
    .concat();
    vec![
        ("empty", Vec::new()),
        ("one byte", b"x".to_vec()),
        ("no header", b"\r\nonly a body\r\n".to_vec()),
        ("no field at all", b"this is not a field\r\nnor this\r\n".to_vec()),
        ("ten thousand parts", many.into_bytes()),
        ("forty megabytes", large),
        ("NUL bytes", [head.as_bytes(), b"\r\nbefore\0after\0\r\n"].concat()),
        ("bare LF", [head.as_bytes(), b"\r\none\ntwo\nthree\r\n"].concat()),
        ("bare CR", [head.as_bytes(), b"\r\none\rtwo\rthree\r\n"].concat()),
        ("LF everywhere", b"From: pat@acme.example\nSubject: unix\n\nbody\n".to_vec()),
        ("smuggling LF.LF", [head.as_bytes(), b"\r\nfirst\n.\nMAIL FROM:<evil@attacker.example>\r\n"].concat()),
        ("smuggling CRLF.CR", [head.as_bytes(), b"\r\nfirst\r\n.\rMAIL FROM:<evil@attacker.example>\r\n"].concat()),
        (
            "truncated base64",
            [
                head.as_bytes(),
                b"Content-Transfer-Encoding: base64\r\nContent-Type: application/octet-stream\r\n\r\nQUJDRA=\r\nQU",
            ]
            .concat(),
        ),
        ("no final line end", [head.as_bytes(), b"\r\nno line end"].concat()),
    ]
}

fn body(raw: &[u8]) -> &[u8] {
    let section = mail::HeaderSection::of(raw);
    &raw[section.body_start()..]
}

/// By BDAT, where octets are counted, and by DATA, where a smuggler hopes for an end that is none.
#[tokio::test(flavor = "multi_thread")]
async fn bad_mail_makes_its_journey_unaltered() {
    let world = World::connected().await;
    // what nobody can look into would be held: here the way is tried, not the judgement
    let policy = world.config.with_file_name("policy.toml");
    std::fs::write(&policy, "[base]\nunscannable = \"deliver\"\n").unwrap();
    world.json(&["policy", "set", &world.tenant_id(0), "--file", policy.to_str().unwrap()]);
    // a mailbox each: reading one again is slow once forty megabytes lie in it
    let people = world.json_directory_addresses().await;
    for use_bdat in [true, false] {
        world.door.patch("/switches", serde_json::json!({"record_wire": true, "use_bdat": use_bdat})).await.unwrap();
        for (number, (name, raw)) in specimens().into_iter().enumerate() {
            // what has no line end at its end cannot be said by DATA
            if use_bdat || raw.is_empty() || raw.ends_with(b"\r\n") {
                journeyed(&world, &people[number], name, &format!("bad-{number}-{use_bdat}@acme.example"), &raw).await;
            }
        }
    }
    let smuggled = world.json(&["trace", "--address", "evil@"]);
    assert_eq!(smuggled, serde_json::json!([]), "a smuggled message made a journey of its own");
}

async fn journeyed(world: &World, to: &String, name: &str, sender: &str, raw: &[u8]) {
    let sent = world.door.send_from_internet(sender, std::slice::from_ref(to), raw, false).await;
    sent.unwrap_or_else(|e| panic!("{name}: {e:#}"));
    if !world.door.idle(300).await.unwrap() {
        panic!("{name}: no rest: {}", world.door.get("/queue", &[]).await.unwrap());
    }
    let wire: Vec<WireCopy> = world.door.wire().await.unwrap().into_iter().filter(|w| w.sender == sender).collect();
    let (out, back): (Vec<_>, Vec<_>) = wire.iter().partition(|w| w.leg == "to_gateway");
    assert_eq!((out.len(), back.len()), (1, 1), "{name}: copies out and back");
    assert_eq!(body(&out[0].raw), body(&back[0].raw), "{name}: the body was altered");
    world.forget_wire().await;
    let kept = world.door.mailbox(to, false).await.unwrap().into_iter().filter(|m| m.sender == sender).count();
    assert_eq!(kept, 1, "{name}: in the mailbox");
}
