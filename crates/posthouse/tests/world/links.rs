//! Rewritten links, from the message to the page and back: a click is checked by what is known when it happens.

use crate::edits::{self, delivered, with_arc_key};
use crate::harness::{World, until};
use serde_json::Value;

const TO: &str = "admin@contoso.example";

/// A gateway with a page for people and a list that has no entry of ours yet.
async fn with_page(world: &mut World) -> (String, std::path::PathBuf) {
    let list = world.config.with_file_name("bad.txt");
    std::fs::write(&list, "nobody.example\n").unwrap();
    let port = engines::started::free_port();
    let public = format!("http://127.0.0.1:{port}");
    let before = std::fs::read_to_string(&world.config).unwrap();
    let more = format!(
        "\n[web]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{public}\"\n[[list]]\nname = \"bad\"\nkind = \"url\"\nsource = \"{}\"\nevery_secs = 60\n",
        list.display()
    );
    std::fs::write(&world.config, before + &more).unwrap();
    with_arc_key(world).await;
    (public, list)
}

async fn send(world: &World, id: &str, body: &str) {
    edits::send(world, id, &format!("Content-Type: text/html\r\n\r\n{body}\r\n")).await;
}

/// Every link of a message that leads to our page.
fn links(raw: &str, public: &str) -> Vec<String> {
    raw.split('"').filter(|value| value.starts_with(&format!("{public}/l/"))).map(str::to_owned).collect()
}

async fn click(world: &World, link: &str) -> (u16, Option<String>, String) {
    let answer = world.browser().get(link).send().await.unwrap();
    for (name, value) in
        [("referrer-policy", "no-referrer"), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(answer.headers()[name], value, "{link}");
    }
    let to = answer.headers().get("location").map(|l| l.to_str().unwrap().to_owned());
    (answer.status().as_u16(), to, answer.text().await.unwrap())
}

/// One click on the message's links that ended so.
fn counted(world: &World, id: &str, result: &str) -> bool {
    let journeys = world.json(&["trace", "--message-id", &format!("{id}@acme.example")]);
    let told: Value = world.json(&["explain", journeys[0]["id"].as_str().unwrap()]);
    told["clicks"].as_array().unwrap().iter().any(|c| c["result"] == result && c["times"] == 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_on_until_its_host_is_known_to_be_bad_and_comes_back_whole_in_replies() {
    let mut world = World::connected().await;
    let tenant = world.tenant_id(0);
    let refused = world.command(&["tenant", "edits", &tenant, "--links", "on"]).output().unwrap();
    assert!(!refused.status.success());
    let (public, list) = with_page(&mut world).await;
    let wish = ["tenant", "edits", &tenant, "--links", "on", "--links-keep", "partner.example"];
    assert_eq!(world.json(&wish)["links"]["rewrite"], true);
    // too long for a link: the store keeps it
    let long = format!("https://shop.example/?{}", "x".repeat(800));
    let body = format!(
        "<p>See <a href=\"https://shop.example/a?b=1&amp;c=2\">the offer</a>, <a href=\"https://partner.example/\">ours</a>\r\n\
         and <a href=\"mailto:x@shop.example\">us</a>, https://text.example/x\r\n<a class=\"c\"\r\nhref=\"{long}\">long</a></p>"
    );
    until("the wish is known", async || {
        send(&world, "offer", &body).await;
        !links(&delivered(&world, TO, false, "offer").await, &public).is_empty()
    })
    .await;
    send(&world, "second", &body).await;
    let raw = delivered(&world, TO, false, "second").await;
    let found = links(&raw, &public);
    assert_eq!(found.len(), 3, "{raw}");
    assert!(found[0].starts_with(&format!("{public}/l/shop.example/")), "{raw}");
    assert!(
        raw.contains("href=\"https://partner.example/\"") && raw.contains("href=\"mailto:x@shop.example\""),
        "{raw}"
    );
    assert!(
        found.iter().any(|l| l.contains("/l/text.example/")) && raw.contains(">https://text.example/x</a>"),
        "{raw}"
    );

    // a click leads on; what was altered leads nowhere
    assert_eq!(click(&world, &found[0]).await.1.as_deref(), Some("https://shop.example/a?b=1&c=2"));
    let long_one = found.iter().filter(|l| l.contains("/l/shop.example/")).nth(1).unwrap();
    assert!(long_one.len() < 200, "{long_one}");
    assert_eq!(click(&world, long_one).await.1, Some(long.clone()));
    let altered = found[0].replace("/l/shop.example/", "/l/shop.example.evil.example/");
    for forged in [
        altered,
        format!("{public}/l/evil.example/https://evil.example/"),
        format!("{public}/?u=https://evil.example/"),
    ] {
        let (code, to, page) = click(&world, &forged).await;
        assert_eq!((code, to), (404, None), "{forged}: {page}");
    }
    let head = world.browser().head(&found[0]).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 302);

    // what the line of command says, and what it says of an altered one
    let told = world.json(&["link", "explain", &found[0]]);
    assert_eq!(
        (&told["signature"], &told["click"], &told["host"]),
        (&"right".into(), &"pass".into(), &"shop.example".into())
    );
    let told = world.json(&["link", "explain", &format!("{}x", found[0])]);
    assert_eq!((&told["signature"], &told["click"]), (&"wrong".into(), &"nowhere".into()));

    // in an answer every link is what it was, in visible text too
    let quoted = format!(
        "From: {TO}\r\nTo: pat@acme.example\r\nSubject: Re: second\r\nMessage-ID: <reply@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n\
         <p>Thanks, {}</p>\r\n<p>{}</p>\r\n",
        found[0],
        raw.split_once("<p>").unwrap().1
    );
    world.door.submit(&tenant, TO, &["pat@acme.example".into()], quoted.as_bytes()).await.unwrap();
    world.door.idle(60).await.unwrap();
    let reply = delivered(&world, "pat@acme.example", true, "reply").await;
    assert!(!reply.contains(&public), "{reply}");
    assert!(reply.contains("Thanks, https://shop.example/a?b=1&amp;c=2</p>"), "{reply}");

    until("the click is counted", async || counted(&world, "second", "passed")).await;

    // the list gains the host: the same link is blocked, by a gateway that reads its lists anew
    std::fs::write(&list, "nobody.example\nshop.example\n").unwrap();
    world.restart_gateway().await;
    let (code, to, page) = click(&world, &found[0]).await;
    assert_eq!((code, to), (403, None));
    assert!(page.contains("shop.example") && page.contains("the list \"bad\""), "{page}");
    assert_eq!(world.json(&["link", "explain", &found[0]])["click"], "block");
    until("the click is counted", async || counted(&world, "second", "blocked")).await;
    let (_, metrics) = world.page("/metrics").await;
    assert!(metrics.contains("posthouse_clicks_total{result=\"blocked\"} 1"), "{metrics}");
}

/// What is suspicious is warned of, and one can go on only by the button of that page.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspicious_destination_is_warned_of() {
    let mut world = World::connected().await;
    let tenant = world.tenant_id(0);
    let (public, _) = with_page(&mut world).await;
    world.json(&["tenant", "edits", &tenant, "--links", "on"]);
    let body = "<p><a href=\"http://198.51.100.7/x\">here</a></p>";
    until("the wish is known", async || {
        send(&world, "number", body).await;
        !links(&delivered(&world, TO, false, "number").await, &public).is_empty()
    })
    .await;
    let link = links(&delivered(&world, TO, false, "number").await, &public).remove(0);
    let (code, to, page) = click(&world, &link).await;
    assert_eq!((code, to), (200, None));
    assert!(page.contains("198.51.100.7") && page.contains("method=\"post\""), "{page}");
    let post = async |link: &str, from: &str| {
        let answer = world.browser().post(link).header("sec-fetch-site", from).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("location").map(|l| l.to_str().unwrap().to_owned()))
    };
    let button = format!("{link}?go");
    assert_eq!(post(&button, "same-origin").await, (303, Some("http://198.51.100.7/x".into())));
    assert_eq!(post(&button, "cross-site").await, (200, None));
    assert_eq!(post(&link, "same-origin").await, (200, None));
    world.json(&["tenant", "edits", &tenant, "--links-suspicious", "block"]);
    until("the wish is known", async || click(&world, &link).await.0 == 403).await;
    assert_eq!(post(&button, "same-origin").await, (403, None));
    // the tenant's own block list counts for links, too
    world.json(&["tenant", "edits", &tenant, "--links-suspicious", "pass"]);
    until("the wish is known", async || click(&world, &link).await.0 == 302).await;
}
