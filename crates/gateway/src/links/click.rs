//! The click: signature and end are checked, the destination is looked up in what is known now, and the browser is sent
//! on, warned or stopped. Nothing is fetched, and nobody is told apart.

use super::token::{Destination, Token};
use super::{limits, page};
use crate::house::House;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::{Click, Store};
use tenant::{AtClick, Listed, Sender, Tenant, TenantId};
use verdict::click::{Standing, look, standing};
use verdict::content::urls::reached;
use verdict::{Listing, Lists};

/// What is thought of a destination, and what follows.
#[derive(Debug)]
pub(crate) struct Judged {
    pub standing: Option<Standing>,
    pub reasons: Vec<String>,
    pub then: AtClick,
}

/// `unknown`: why the lists say nothing.
pub(crate) fn judged(
    written: &str,
    tenant: Option<&Tenant>,
    lists: &Lists,
    unknown: Option<String>,
    now: i64,
) -> Judged {
    let usual = tenant::Links::default();
    let (wish, own) = tenant.map_or((&usual, [].as_slice()), |t| (&t.policy.edits.links, t.domains.as_slice()));
    let findings = look(written, own, lists);
    let mut reasons: Vec<String> = findings.iter().filter(|f| f.points > 0).map(|f| f.summary.clone()).collect();
    let host = reached(written).and_then(|(url, _)| url.host_str().map(str::to_owned)).unwrap_or_default();
    let mut standing = standing(&findings);
    if let Some(tenant) = tenant {
        let as_address = format!("x@{host}");
        let of_host = Sender { envelope: "", from: &as_address, client: None };
        if let Listed::Blocked(entry) = tenant.policy.lists.of(of_host, now) {
            reasons.insert(
                0,
                format!("{} is on the block list of {}", String::from(entry.sender.clone()), tenant.display_name),
            );
            standing = Standing::Malicious;
        }
    }
    if standing == Standing::Suspicious && wish.keeps(&host) {
        standing = Standing::Clean;
    }
    let (then, unknown) = match (standing, unknown) {
        (Standing::Malicious, _) => (AtClick::Block, None),
        (Standing::Suspicious, _) => (wish.suspicious, None),
        (Standing::Clean, None) => (AtClick::Pass, None),
        (Standing::Clean, Some(why)) => (wish.unknown, Some(why)),
    };
    let is_known = unknown.is_none();
    reasons.extend(unknown);
    Judged { standing: is_known.then_some(standing), reasons, then }
}

/// Why the lists say nothing of any address, if they do not.
pub(crate) fn lists_say_nothing(settings: &[engines::FeedSettings], status: &[engines::FeedStatus]) -> Option<String> {
    let mut of_urls = settings.iter().zip(status).filter(|(s, _)| s.of == Listing::Urls).peekable();
    if of_urls.peek().is_none() {
        return Some("no list of bad web addresses is in use".into());
    }
    let unread = of_urls.find(|(_, status)| status.good.is_none() && status.entries == 0);
    unread.map(|(s, _)| format!("the list \"{}\" could not be read yet", s.name))
}

/// Clicks that wait to be written.
#[derive(Default)]
pub(crate) struct Clicks(Mutex<HashMap<Counted, u64>>);

/// Tenant, journey, destination, result.
type Counted = (TenantId, String, String, &'static str);

impl Clicks {
    fn count(&self, tenant: TenantId, journey: &str, url: &str, result: &'static str) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < limits::CLICKS_WAITING_MAX {
            let url = url.chars().take(limits::CLICK_URL_CHARS_MAX).collect();
            *waiting.entry((tenant, journey.to_owned(), url, result)).or_default() += 1;
        }
    }

    pub(crate) async fn write(&self, store: &Store) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let now = jiff::Timestamp::now();
        let clicks: Vec<Click> = waiting
            .into_iter()
            .map(|((tenant, journey, url, result), times)| Click {
                tenant: Some(tenant),
                journey,
                url,
                result: result.to_owned(),
                first: now,
                last: now,
                times,
            })
            .collect();
        if clicks.is_empty() {
            return;
        }
        if let Err(e) = store.put_clicks(&clicks).await {
            tracing::error!(error = %e, "clicks were not counted");
        }
    }
}

/// As long as the gateway runs.
pub(crate) async fn write_clicks(house: Arc<House>) {
    loop {
        tokio::time::sleep(limits::CLICKS_WRITTEN_EVERY).await;
        house.clicks.write(&house.store).await;
    }
}

pub(crate) fn routes(house: Arc<House>) -> Router {
    Router::new().route("/l/{*path}", get(opened).post(went_on)).with_state(house)
}

async fn opened(State(house): State<Arc<House>>, method: Method, Path(path): Path<String>) -> Response {
    answer(&house, &path, method != Method::HEAD, Asked::Opened).await
}

/// By the button of the page that warns, or by a form in a message.
async fn went_on(
    State(house): State<Arc<House>>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    // what another site's page has sent here is no word of who reads ours (Fetch Metadata)
    let is_ours = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let by_button = is_ours && query.as_deref() == Some("go");
    answer(&house, &path, true, if by_button { Asked::WentOn } else { Asked::Sent }).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Opened,
    /// In spite of a warning.
    WentOn,
    /// What was typed into a form of a message.
    Sent,
}

async fn answer(house: &House, path: &str, counts: bool, asked: Asked) -> Response {
    let now = jiff::Timestamp::now().as_second();
    let (response, result, told) = match clicked(house, path, now).await {
        Clicked::NotOurs => (page::not_ours(), "refused", None),
        Clicked::Unavailable => (page::unavailable(), "unavailable", None),
        Clicked::Expired(token, written) => (page::expired(written.as_deref()), "expired", Some((token, written))),
        Clicked::Judged(token, written, judged) => {
            let (response, result) = match (judged.then, reached(&written)) {
                (_, None) => (page::not_ours(), "refused"),
                (AtClick::Block, _) => (page::blocked(&written, &judged), "blocked"),
                (AtClick::Warn, _) if asked != Asked::WentOn => (page::warning(&written, &judged), "warned"),
                (AtClick::Warn, Some((url, _))) => (on_to(&url, StatusCode::SEE_OTHER), "continued"),
                (AtClick::Pass, Some((url, _))) => {
                    let code = match asked {
                        Asked::Opened => StatusCode::FOUND,
                        Asked::WentOn => StatusCode::SEE_OTHER,
                        Asked::Sent => StatusCode::TEMPORARY_REDIRECT,
                    };
                    (on_to(&url, code), "passed")
                }
            };
            (response, result, Some((token, Some(written))))
        }
    };
    if counts {
        house.metrics.click(result);
        if let Some((token, written)) = told {
            house.clicks.count(token.tenant, &token.journey.to_string(), written.as_deref().unwrap_or(""), result);
        }
    }
    response
}

/// RFC 9110 §10.2.2; serialised by the URL standard there is nothing in it but printable ASCII.
fn on_to(url: &url::Url, code: StatusCode) -> Response {
    (code, [(header::LOCATION, url.as_str().to_owned())]).into_response()
}

enum Clicked {
    NotOurs,
    Unavailable,
    Expired(Token, Option<String>),
    Judged(Token, String, Judged),
}

async fn clicked(house: &House, path: &str, now: i64) -> Clicked {
    let Some(token) = Token::read(path, |tenant, number| house.store.link_key(tenant, number)) else {
        return Clicked::NotOurs;
    };
    let written = match &token.destination {
        Destination::Written(written) => Some(written.clone()),
        Destination::Kept(id) => match in_time(house.store.kept_link(token.tenant, *id)).await {
            Some(Ok(written)) => written.filter(|w| super::token::kept_id(token.tenant, w) == *id),
            _ => return Clicked::Unavailable,
        },
    };
    match written {
        written if token.ends <= now => Clicked::Expired(token, written),
        None => Clicked::NotOurs,
        Some(written) => {
            let connected = match in_time(house.tenants.find(&house.store, token.tenant)).await {
                Some(Ok(connected)) => connected,
                // what it wants is not known, what is bad is
                _ => None,
            };
            let unknown = lists_say_nothing(&house.settings.lists, &house.lists.status());
            let tenant = connected.as_ref().map(|c| &c.tenant);
            let judged = judged(&written, tenant, &house.lists.lists(), unknown, now);
            Clicked::Judged(token, written, judged)
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limits::CLICK_STORE_BUDGET, asked).await.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;
    use verdict::{List, Severity};

    fn tenant(change: impl FnOnce(&mut tenant::Policy)) -> Tenant {
        let mut policy = tenant::Policy::default();
        change(&mut policy);
        let secrets = || tenant::MarkSecrets::new(tenant::Secret::new("a"));
        Tenant {
            id: TenantId(uuid::Uuid::from_u128(1)),
            label: "contoso".into(),
            display_name: "Contoso".into(),
            initial_domain: "contoso.onmicrosoft.com".into(),
            domains: vec!["contoso.example".into()],
            connector_domain: "contoso.connect.example".into(),
            return_host: String::new(),
            pass: secrets(),
            route: secrets(),
            certificate: tenant::ReturnCertificate { chain_pem: String::new(), key_pem: tenant::Secret::new("") },
            policy,
            routing: tenant::Routing::Off,
            rollout: tenant::Rollout::default(),
            closed: Vec::new(),
        }
    }

    #[test]
    fn what_a_click_does_is_said_by_lists_detectors_and_the_tenant() {
        let list = List::of("bad", Listing::Urls, Severity::Malicious, ["evil.example"].into_iter());
        let lists = Lists(vec![Arc::new(list)]);
        let entry = |sender: &str| tenant::Entry { sender: sender.parse().unwrap(), note: String::new(), until: None };
        let usual = tenant(|_| {});
        let blocks = tenant(|p| p.lists.block = vec![entry("other.example"), entry(".zip")]);
        let strict = tenant(|p| {
            p.edits.links.suspicious = AtClick::Block;
            p.edits.links.unknown = AtClick::Warn;
        });
        let keeps = tenant(|p| p.edits.links.keep = vec!["paypal-secure-login.example".into(), "evil.example".into()]);
        let mut out = String::new();
        let no_list = || Some("no list of bad web addresses is in use".to_owned());
        for (name, tenant, written, unknown) in [
            ("clean", Some(&usual), "https://acme.example/", None),
            ("clean, no list", Some(&usual), "https://acme.example/", no_list()),
            ("clean, no list, strict", Some(&strict), "https://acme.example/", no_list()),
            ("listed", Some(&usual), "https://www.evil.example/x", None),
            ("listed, kept", Some(&keeps), "https://www.evil.example/x", None),
            ("listed, of a tenant that is gone", None, "https://www.evil.example/x", None),
            ("suspicious", Some(&usual), "https://paypal-secure-login.example/", None),
            ("suspicious, strict", Some(&strict), "https://paypal-secure-login.example/", no_list()),
            ("suspicious, kept", Some(&keeps), "https://paypal-secure-login.example/", None),
            ("blocked domain", Some(&blocks), "https://shop.other.example/", None),
            ("blocked top-level domain", Some(&blocks), "https://invoice.zip/", None),
            ("suspicious, of a tenant that is gone", None, "https://paypal-secure-login.example/", None),
        ] {
            let Judged { standing, reasons, then } = judged(written, tenant, &lists, unknown, 0);
            out += &format!("{name}: {standing:?} → {then:?} {reasons:?}\n");
        }
        insta::assert_snapshot!(out);
    }

    #[tokio::test]
    async fn pages_show_a_destination_as_text_and_nothing_that_it_could_do() {
        let judged = |reason: &str| Judged { standing: None, reasons: vec![reason.into()], then: AtClick::Warn };
        let hostile = "https://evil.example/\"><script>alert(1)</script>\u{202e}gpj.exe?<img src=x>";
        for response in [
            page::warning(hostile, &judged("<b>\u{202e}why</b>")),
            page::blocked(hostile, &judged("why")),
            page::expired(Some(hostile)),
            page::expired(Some("javascript:alert(1)//<b>")),
        ] {
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let html = String::from_utf8(body.to_vec()).unwrap();
            let main = html.split_once("<main>").unwrap().1;
            assert!(
                !main.contains("<script") && !main.contains("<img") && !main.contains("<b>") && !main.contains("href"),
                "{html}"
            );
            assert!(!html.contains('\u{202e}'), "{html}");
        }
        let at = on_to(&reached("https://evil.example/\r\nSet-Cookie: x=1\u{0}ü").unwrap().0, StatusCode::FOUND);
        assert_eq!(at.headers()[header::LOCATION], "https://evil.example/Set-Cookie:%20x=1%00%C3%BC");
    }
}
