//! What opens behind a link of a digest. GET tells what will happen and changes nothing, since mail scanners fetch every
//! link; POST does it, once. Who asks is known by nothing but the link.

use crate::acts::{Act, ActError, Actor, carry_out};
use crate::link::{Link, Wish, person};
use crate::preview::{POLICY_OF_MESSAGES, Preview, preview};
use crate::sanitise::escaped;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use gateway::{Desk, GatewayError, expires};
use jiff::Timestamp;
use std::fmt::Write;
use store::{Claim, Held};
use tenant::{Category, Tenant};

/// Loads nothing, and sends its forms to where it came from.
const POLICY_OF_PAGES: &str =
    "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; style-src 'none'";

/// `/q/…`, for whichever listener people reach.
pub fn pages(desk: Desk) -> Router {
    Router::new().route("/q/{link}", get(show).post(carry)).route("/q/{link}/message", get(message)).with_state(desk)
}

/// What a link leads to, once it is proven.
struct Opened {
    link: Link,
    /// Under which its use is kept.
    id: String,
    tenant: Tenant,
    held: Held,
    /// Whose copy.
    recipient: String,
    may_release: bool,
}

/// Why a link does nothing, for whoever opened it.
#[derive(Debug, PartialEq, Eq)]
enum Closed {
    /// It was never ours, or somebody changed it: nothing is told of why.
    Unknown,
    Expired,
    Used(String),
    /// Released, deleted or expired by another way.
    Gone,
    UnderWay,
    NotAllowed,
    Broken,
}

async fn open(desk: &Desk, text: &str) -> Result<Opened, Closed> {
    let store = desk.store();
    let broken = |e: store::StoreError| {
        tracing::error!(error = %e, "a link to held mail could not be opened");
        Closed::Broken
    };
    let id = Link::tenant_of(text).ok_or(Closed::Unknown)?;
    let link = Link::read(text, &store.quarantine_secret(id)).ok_or(Closed::Unknown)?;
    if link.ends <= Timestamp::now().as_second() {
        return Err(Closed::Expired);
    }
    let used = Link::id(text);
    if let Some(Claim::Used(at, what)) = store.link_used(&used, link.tenant).await.map_err(broken)? {
        return Err(Closed::Used(format!("{what} on {}", at.strftime("%Y-%m-%d at %H:%M UTC"))));
    }
    let tenant = store.tenant(link.tenant).await.map_err(broken)?.ok_or(Closed::Unknown)?;
    let held = store.held_one(&link.held.to_string()).await.map_err(broken)?;
    let held = held.filter(|h| h.hold.tenant == link.tenant).ok_or(Closed::Gone)?;
    let recipients = held.hold.envelope.recipients.iter().map(|r| r.address.clone());
    let recipient = recipients.into_iter().find(|r| person(link.tenant, r) == link.recipient).ok_or(Closed::Gone)?;
    let malware = held.hold.malware || held.hold.category == Some(Category::Malware);
    let may_release = !malware && tenant.policy.quarantine.may_release(held.hold.category);
    let opened = Opened { link, id: used, tenant, held, recipient, may_release };
    // the policy of now counts, not that of when the digest was written
    match link.wish {
        _ if malware => Err(Closed::NotAllowed),
        Wish::Release | Wish::Allow if !may_release => Err(Closed::NotAllowed),
        _ => Ok(opened),
    }
}

impl Opened {
    /// Another wish for the same copy, good for as long.
    fn with(&self, desk: &Desk, wish: Wish) -> String {
        Link { wish, ..self.link }.written(&desk.store().quarantine_secret(self.tenant.id))
    }

    async fn preview(&self, desk: &Desk) -> Result<Preview, Closed> {
        let body = desk.store().held_body(&self.held.id).await.map_err(|_| Closed::Gone)?;
        let hold = self.held.hold.clone();
        // as large as mail is: elsewhere than where sockets are served
        tokio::task::spawn_blocking(move || preview(&hold, body)).await.map_err(|_| Closed::Broken)
    }
}

async fn show(State(desk): State<Desk>, Path(text): Path<String>) -> Response {
    match shown(&desk, &text).await {
        Ok(body) => page(StatusCode::OK, &body),
        Err(closed) => closed.into_response(),
    }
}

async fn shown(desk: &Desk, text: &str) -> Result<String, Closed> {
    let opened = open(desk, text).await?;
    let seen = opened.preview(desk).await?;
    let ends = expires(&opened.held, &opened.tenant.policy).strftime("%Y-%m-%d");
    let category = opened.held.hold.category.map_or("not judged", Category::as_str);
    let mut body = String::from("<h1>A message held for you</h1>");
    let _ =
        write!(body, "<p>Held for {} as: <b>{category}</b>. It is deleted on {ends}.</p>", escaped(&opened.recipient));
    let wishes: &[Wish] = match opened.link.wish {
        Wish::Look if opened.may_release => &[Wish::Release, Wish::Allow, Wish::Delete, Wish::Block, Wish::Report],
        Wish::Look => &[Wish::Delete, Wish::Block, Wish::Report],
        ref one => std::slice::from_ref(one),
    };
    for wish in wishes {
        let (button, what) = words(*wish);
        let link = if *wish == opened.link.wish { text.to_owned() } else { opened.with(desk, *wish) };
        let _ = write!(
            body,
            "<form method=\"post\" action=\"{}\"><p>{what} <button>{button}</button></p></form>",
            escaped(&link)
        );
    }
    if !opened.may_release {
        body.push_str("<p>Only your administrator can release it.</p>");
    }
    body += "<h2>The message</h2><p>Its text only: nothing in it can be clicked or loads anything.</p>";
    body += &seen.head();
    if seen.html.is_some() {
        let look = opened.with(desk, Wish::Look);
        let _ = write!(
            body,
            "<p><a href=\"{}/message\">Show it with its layout</a>, still without links and remote pictures.</p>",
            escaped(&look)
        );
    }
    let _ = write!(body, "<pre>{}</pre>", escaped(&seen.text));
    Ok(body)
}

fn words(wish: Wish) -> (&'static str, &'static str) {
    match wish {
        Wish::Look => ("Look", "Look at it."),
        Wish::Release => ("Release", "It is delivered to your mailbox, with a warning on top."),
        Wish::Allow => (
            "Release and allow the sender",
            "It is delivered, and mail that is proven to be from this sender is no longer held for you as spam or bulk.",
        ),
        Wish::Delete => ("Delete", "It is deleted for good."),
        Wish::Block => {
            ("Block the sender", "It is deleted for good, and what this sender writes to you is held from now on.")
        }
        Wish::Report => {
            ("Report", "You say that it was held wrongly. A copy is kept for your administrator; nothing is delivered.")
        }
    }
}

/// The message alone, in a sandbox of its own.
async fn message(State(desk): State<Desk>, Path(text): Path<String>) -> Response {
    let seen = async {
        let opened = open(&desk, &text).await?;
        opened.preview(&desk).await
    };
    match seen.await {
        Ok(seen) => {
            let policy = format!("{POLICY_OF_MESSAGES}; frame-ancestors 'none'; sandbox");
            (StatusCode::OK, headers(&policy), Html(seen.page())).into_response()
        }
        Err(closed) => closed.into_response(),
    }
}

async fn carry(State(desk): State<Desk>, Path(text): Path<String>) -> Response {
    match carried(&desk, &text).await {
        Ok(body) => page(StatusCode::OK, &body),
        Err(closed) => closed.into_response(),
    }
}

async fn carried(desk: &Desk, text: &str) -> Result<String, Closed> {
    let opened = open(desk, text).await?;
    let act = match opened.link.wish {
        Wish::Look => return Err(Closed::NotAllowed),
        Wish::Release => Act::Release,
        Wish::Allow => Act::ReleaseAndAllow,
        Wish::Delete => Act::Delete,
        Wish::Block => Act::Block,
        Wish::Report => Act::Report,
    };
    let store = desk.store();
    let ends = Timestamp::from_second(opened.link.ends).unwrap_or(Timestamp::MAX);
    match store.claim_link(&opened.id, opened.link.tenant, ends).await {
        Ok(Claim::Yours) => {}
        Ok(Claim::UnderWay) => return Err(Closed::UnderWay),
        Ok(Claim::Used(_, what)) => return Err(Closed::Used(what)),
        Err(_) => return Err(Closed::Broken),
    }
    let name = format!("{} by link", opened.recipient);
    let who = Actor { name: &name, recipient: Some(&opened.recipient), note: "" };
    let done = carry_out(desk, &opened.held, act, &who).await;
    let what = match opened.link.wish {
        Wish::Look | Wish::Release => "it was released",
        Wish::Allow => "it was released and its sender allowed",
        Wish::Delete => "it was deleted",
        Wish::Block => "it was deleted and its sender blocked",
        Wish::Report => "it was reported",
    };
    let done_at_all = done.as_ref().is_ok_and(|d| d.done);
    if let Err(e) = store.settle_link(&opened.id, done_at_all.then_some(what)).await {
        tracing::error!(error = %e, "that a link was used is not written down; the message itself is");
    }
    match done {
        Ok(done) if done.done => {
            let notes: String = done.told.iter().skip(1).map(|t| format!("<p>{}</p>", escaped(t))).collect();
            Ok(format!("<h1>Done: {what}</h1>{notes}<p>You can close this page.</p>"))
        }
        Ok(_) => Err(Closed::Broken),
        Err(ActError::Gateway(GatewayError::NotHeld(_)) | ActError::NotForThem(_)) => Err(Closed::Gone),
        Err(ActError::Gateway(GatewayError::UnderWay)) => Err(Closed::UnderWay),
        Err(ActError::Gateway(GatewayError::Malware(_)) | ActError::NoSender | ActError::Full(_)) => {
            Err(Closed::NotAllowed)
        }
        Err(e) => {
            tracing::error!(held = %opened.held.id, error = %e, "what a recipient wished was not done");
            Err(Closed::Broken)
        }
    }
}

impl IntoResponse for Closed {
    fn into_response(self) -> Response {
        let (code, title, text) = match self {
            Closed::Unknown => (
                StatusCode::NOT_FOUND,
                "This link is not valid",
                "Open it from the mail itself: perhaps a part of it was cut off.".to_owned(),
            ),
            Closed::Expired => (
                StatusCode::GONE,
                "This link has expired",
                "Newer digests have new links; or ask your administrator.".into(),
            ),
            Closed::Used(what) => (
                StatusCode::GONE,
                "This link was used already",
                format!("What was done: {what}. Each link works once."),
            ),
            Closed::Gone => (
                StatusCode::GONE,
                "The message is no longer held for you",
                "It was released, deleted, or its time was over.".into(),
            ),
            Closed::UnderWay => (
                StatusCode::CONFLICT,
                "It is being done at this moment",
                "Wait a minute, then look into your mailbox.".into(),
            ),
            Closed::NotAllowed => (
                StatusCode::FORBIDDEN,
                "This is for your administrator to do",
                "The policy of your organisation does not let recipients do it.".into(),
            ),
            Closed::Broken => (
                StatusCode::SERVICE_UNAVAILABLE,
                "It could not be done now",
                "Nothing was changed. Try the same link again later.".into(),
            ),
        };
        page(code, &format!("<h1>{title}</h1><p>{}</p>", escaped(&text)))
    }
}

fn page(code: StatusCode, body: &str) -> Response {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>Held mail</title></head>\n<body>{body}</body></html>\n"
    );
    (code, headers(POLICY_OF_PAGES), Html(text)).into_response()
}

/// The link is a key: it goes into no Referer and no cache.
fn headers(policy: &str) -> HeaderMap {
    let mut all = HeaderMap::new();
    let policy = HeaderValue::from_str(policy).unwrap_or(HeaderValue::from_static("default-src 'none'; sandbox"));
    all.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        all.insert(name, HeaderValue::from_static(value));
    }
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tenant::{MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Secret, TenantId};

    pub(crate) fn tenant() -> Tenant {
        Tenant {
            id: TenantId(uuid::Uuid::from_u128(7)),
            label: "contoso".into(),
            display_name: "Contoso".into(),
            initial_domain: "contoso.onmicrosoft.com".into(),
            domains: vec!["contoso.example".into()],
            connector_domain: "contoso.connect.example".into(),
            return_host: String::new(),
            pass: MarkSecrets::new(Secret::new("a")),
            route: MarkSecrets::new(Secret::new("b")),
            certificate: ReturnCertificate { chain_pem: String::new(), key_pem: Secret::new("") },
            policy: Policy::default(),
            routing: Routing::Off,
            rollout: Rollout::default(),
            closed: Vec::new(),
        }
    }

    #[test]
    fn every_page_keeps_the_link_to_itself() {
        let answer = Closed::Unknown.into_response();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        for (name, value) in
            [("referrer-policy", "no-referrer"), ("cache-control", "no-store"), ("x-frame-options", "DENY")]
        {
            assert_eq!(answer.headers()[name], value);
        }
        assert!(
            answer.headers()["content-security-policy"]
                .to_str()
                .is_ok_and(|p| p.starts_with("default-src 'none'; form-action 'self'"))
        );
    }
}
