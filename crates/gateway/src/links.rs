//! Links in mail from outside that lead through our page (docs/links.md): which are rewritten, how they become again what
//! they were when they leave, and what the page thinks of where they lead ([`click`]).
//!
//! Nothing is ever fetched. Only what this installation signed leads anywhere.

pub(crate) mod click;
pub mod explain;
pub(crate) mod limits;
mod page;
mod token;

use crate::house::House;
use mail::{Edit, UrlMap};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use tenant::{Tenant, TenantId};
use token::{Destination, Key, Token};
use uuid::Uuid;
use verdict::content::urls::{host_of_href, reached};

/// Where our page is, as the world knows it: `https://links.example` and what may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(url::Url);

impl PublicUrl {
    /// `https`, a host, and no query; `http` only to this machine, for rehearsals.
    pub fn parse(text: &str) -> Option<PublicUrl> {
        let url = url::Url::parse(text.trim_end_matches('/')).ok()?;
        let host = url.host_str()?;
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let right = url.scheme() == "https" || url.scheme() == "http" && is_here;
        let plain = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
        (right && plain && text.is_ascii() && text.len() <= 100).then_some(PublicUrl(url))
    }

    fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Without a slash at its end; empty where there is none.
    pub(crate) fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// What every rewritten link begins with.
    fn links(&self) -> String {
        format!("{}/l/", self.0.as_str().trim_end_matches('/'))
    }

    /// `host/token` of a rewritten link; also where another service has put its own address before ours.
    fn path_of<'u>(&self, url: &'u str) -> Option<std::borrow::Cow<'u, str>> {
        let base = self.links();
        if let Some(path) = url.get(..base.len()).filter(|b| b.eq_ignore_ascii_case(&base)).map(|_| &url[base.len()..])
        {
            return Some(path.into());
        }
        // it is written out in what others put before it
        let (inner, _) = url.contains(self.host()).then(|| reached(url))?.filter(|(_, wrapped)| *wrapped)?;
        inner.as_str().strip_prefix(&base).map(|path| path.to_owned().into())
    }
}

/// What stands behind one of our links, for judging: of anybody's making, since what is not signed leads nowhere.
pub(crate) fn behind(public: &PublicUrl, url: &str) -> Option<String> {
    match Token::read_unproven(&public.path_of(url)?)?.destination {
        Destination::Written(written) => Some(written),
        Destination::Kept(_) => None,
    }
}

/// One message's links: put in, or taken out again.
pub(crate) enum Links {
    Wrap(Arc<Wrapper>),
    Restore(Arc<Restorer>),
}

impl Links {
    /// For mail from outside. `None`: the tenant does not ask for it.
    pub(crate) fn inbound(house: &House, tenant: &Tenant, journey: &str, now: i64) -> Option<Links> {
        let wish = &tenant.policy.edits.links;
        let public = house.settings.web.as_ref().map(|web| &web.public_url).filter(|_| wish.rewrite)?;
        let number = token::key_number(now);
        Some(Links::Wrap(Arc::new(Wrapper {
            public: public.clone(),
            base: public.links(),
            key: Key::new(&house.store.link_key(tenant.id, number)),
            number,
            tenant: tenant.id,
            journey: Uuid::parse_str(journey).unwrap_or_default(),
            ends: now + i64::from(wish.days) * 24 * 3600,
            domains: tenant.domains.clone(),
            wish: wish.clone(),
            kept: Mutex::default(),
            may_keep: AtomicBool::new(true),
            left: AtomicUsize::new(0),
        })))
    }

    /// For mail that leaves. `None`: the tenant never had any.
    pub(crate) fn outbound(house: &House, tenant: &Tenant) -> Option<Links> {
        let wish = &tenant.policy.edits.links;
        let web = house.settings.web.as_ref().filter(|_| wish.used || wish.rewrite)?;
        let (store, id) = (house.store.clone(), tenant.id);
        Some(Links::Restore(Arc::new(Restorer {
            public: web.public_url.clone(),
            tenant: id,
            keys: Box::new(move |tenant, number| store.link_key(tenant, number)),
            wanted: Mutex::default(),
            found: Mutex::default(),
        })))
    }

    pub(crate) fn edit(&self) -> Edit {
        match self {
            Links::Wrap(wrapper) => {
                let wrapper = wrapper.clone();
                Edit::RewriteUrls(UrlMap::new(move |url| wrapper.wrapped(url)))
            }
            Links::Restore(restorer) => {
                let restorer = restorer.clone();
                Edit::RestoreUrls(UrlMap::new(move |url| restorer.restored(url)))
            }
        }
    }

    /// What the edit needs of the store, once it was tried. True: it has to be tried again.
    pub(crate) async fn settle(&self, store: &Store) -> bool {
        match self {
            Links::Wrap(wrapper) => wrapper.settle(store).await,
            Links::Restore(restorer) => restorer.settle(store).await,
        }
    }

    /// What was not done, in words.
    pub(crate) fn left(&self) -> Option<String> {
        let Links::Wrap(wrapper) = self else { return None };
        let left = wrapper.left.load(Ordering::Relaxed);
        let why = if wrapper.may_keep.load(Ordering::Relaxed) {
            "too long or too many long ones"
        } else {
            "the store did not take long ones"
        };
        (left > 0).then(|| format!("{left} links not rewritten: {why}"))
    }
}

/// Makes links of one message lead through our page.
pub(crate) struct Wrapper {
    public: PublicUrl,
    base: String,
    key: Key,
    number: u16,
    tenant: TenantId,
    journey: Uuid,
    ends: i64,
    /// Of the tenant.
    domains: Vec<String>,
    wish: tenant::Links,
    /// Destinations that are too long for a link.
    kept: Mutex<BTreeMap<[u8; 16], String>>,
    may_keep: AtomicBool,
    left: AtomicUsize,
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wrapper {
    /// What stands there instead; `None`: it stays.
    fn wrapped(&self, written: &str) -> Option<String> {
        let (url, _) = reached(written).filter(|(url, _)| matches!(url.scheme(), "http" | "https"))?;
        // behind a service that keeps to itself where it leads: wrapped once is enough
        let host = host_of_href(written)?;
        let is_or_is_below = |domain: &String| {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if host == self.public.host() || self.domains.iter().any(is_or_is_below) || self.wish.keeps(&host) {
            return None;
        }
        let host = url.host_str()?;
        let token = |destination| Token {
            tenant: self.tenant,
            journey: self.journey,
            ends: self.ends,
            key: self.number,
            destination,
        };
        let link = |destination| format!("{}{}", self.base, token(destination).write(host, &self.key));
        let short = link(Destination::Written(written.to_owned()));
        if short.len() <= limits::LINK_OCTETS_MAX {
            return Some(short);
        }
        match self.keep(written) {
            Some(id) => Some(link(Destination::Kept(id))),
            None => {
                self.left.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn keep(&self, written: &str) -> Option<[u8; 16]> {
        let id = token::kept_id(self.tenant, written);
        let mut kept = open(&self.kept);
        let room = kept.len() < limits::KEPT_OF_A_MESSAGE_MAX || kept.contains_key(&id);
        let may = self.may_keep.load(Ordering::Relaxed) && room && written.len() <= limits::DESTINATION_OCTETS_MAX;
        may.then(|| {
            kept.insert(id, written.to_owned());
            id
        })
    }

    /// A link that leads nowhere is worse than one that is not checked: what the store does not take stays as it is.
    async fn settle(&self, store: &Store) -> bool {
        let kept: Vec<_> = std::mem::take(&mut *open(&self.kept)).into_iter().collect();
        if kept.is_empty() {
            return false;
        }
        let keeping = store.keep_links(self.tenant, &kept, self.ends);
        match tokio::time::timeout(crate::limits::WRITTEN_MEANWHILE, keeping).await {
            Ok(Ok(())) => false,
            failed => {
                tracing::error!(error = ?failed.map(|r| r.map_err(|e| e.to_string())), "destinations of long links were not kept");
                self.may_keep.store(false, Ordering::Relaxed);
                self.left.store(0, Ordering::Relaxed);
                true
            }
        }
    }
}

type Keys = dyn Fn(TenantId, u16) -> tenant::Secret + Send + Sync;

/// Makes our links again what they were.
pub(crate) struct Restorer {
    public: PublicUrl,
    tenant: TenantId,
    keys: Box<Keys>,
    /// Destinations to ask the store for, and those that it told.
    wanted: Mutex<Vec<[u8; 16]>>,
    found: Mutex<HashMap<[u8; 16], Option<String>>>,
}

impl Restorer {
    fn restored(&self, url: &str) -> Option<String> {
        let path = self.public.path_of(url)?;
        // another tenant's are none of ours
        let token = Token::read(&path, &self.keys).filter(|token| token.tenant == self.tenant)?;
        match token.destination {
            Destination::Written(written) => Some(written),
            Destination::Kept(id) => match open(&self.found).get(&id) {
                Some(found) => found.clone(),
                None => {
                    let mut wanted = open(&self.wanted);
                    if wanted.len() < limits::KEPT_OF_A_MESSAGE_MAX && !wanted.contains(&id) {
                        wanted.push(id);
                    }
                    None
                }
            },
        }
    }

    async fn settle(&self, store: &Store) -> bool {
        let wanted = std::mem::take(&mut *open(&self.wanted));
        let asking = async {
            for id in &wanted {
                let told = store.kept_link(self.tenant, *id).await.unwrap_or_default();
                open(&self.found).insert(*id, told);
            }
        };
        // mail does not wait for what only makes it prettier
        let told = tokio::time::timeout(crate::limits::WRITTEN_MEANWHILE, asking).await;
        !wanted.is_empty() && told.is_ok() && open(&self.found).values().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use tenant::Secret;

    const NOW: i64 = 1_795_000_000;
    const US: TenantId = TenantId(Uuid::from_u128(1));

    fn secret(tenant: TenantId, number: u16) -> Secret {
        Secret::new(format!("{tenant} {number}"))
    }

    fn public() -> PublicUrl {
        PublicUrl::parse("https://links.example").unwrap()
    }

    fn wrapper() -> Wrapper {
        let (public, number) = (public(), token::key_number(NOW));
        Wrapper {
            base: public.links(),
            public,
            key: Key::new(&secret(US, number)),
            number,
            tenant: US,
            journey: Uuid::from_u128(5),
            ends: NOW + 90 * 24 * 3600,
            domains: vec!["contoso.example".into()],
            wish: tenant::Links { keep: vec!["partner.example".into()], ..tenant::Links::default() },
            kept: Mutex::default(),
            may_keep: AtomicBool::new(true),
            left: AtomicUsize::new(0),
        }
    }

    fn restorer(tenant: TenantId) -> Restorer {
        Restorer { public: public(), tenant, keys: Box::new(secret), wanted: Mutex::default(), found: Mutex::default() }
    }

    /// What is rewritten, with the host that is shown, and what stays.
    #[test]
    fn what_is_rewritten_and_what_stays() {
        let wrapper = wrapper();
        let ours = wrapper.wrapped("https://acme.example/x").unwrap();
        let safe = |url: &str| {
            let query: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
            format!("https://eur01.safelinks.protection.outlook.com/?url={query}&data=1")
        };
        let mut out = String::new();
        for url in [
            "https://acme.example/x?a=1&b=2#top",
            "HTTP://ACME.example:8080",
            "https://user:pw@acme.example/",
            "https://mybank.example@evil.example/",
            "https:\\\\evil.example\\x",
            "//evil.example/x",
            "www.evil.example",
            "https://münchen.example/straße",
            "https://аррӏе.example/",
            "http://3232235777/x",
            "http://[2001:db8::1]/",
            "https://evil.example/\r\nLocation:%20https://other.example/",
            "https://evil.example/%0d%0aSet-Cookie:x",
            "https://notcontoso.example/",
            "https://contoso.example.evil.example/",
            "https://contoso.example@evil.example/",
            "https://links.example.evil.example/l/a/b",
            &safe("https://evil.example/x"),
            &safe(&safe("https://evil.example/x")),
            "https://urldefense.com/v3/__https://evil.example/a*b__;Kw!!abc",
            "https://protect-eu.mimecast.com/s/abc",
            "https://contoso.example/intranet",
            "https://www.contoso.example/",
            "https://www.partner.example/",
            &ours,
            &safe(&ours),
            "https://links.example/l/acme.example/forged",
            "https://LINKS.example/",
            "mailto:pat@acme.example",
            "tel:+49",
            "cid:logo@acme",
            "#top",
            "ftp://acme.example/x",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://",
            "",
        ] {
            let told = wrapper.wrapped(url).map_or("stays".into(), |w| {
                let path = w.strip_prefix("https://links.example/l/").unwrap();
                assert!(w.len() <= limits::LINK_OCTETS_MAX && w.bytes().all(|b| b.is_ascii_graphic()), "{w}");
                assert_eq!(restorer(US).restored(&w).as_deref(), Some(url), "{w}");
                assert_eq!(behind(&public(), &w).as_deref(), Some(url));
                path.split('/').next().unwrap().to_owned()
            });
            let url = if url.len() > 100 { format!("{}…", &url[..60]) } else { url.to_owned() };
            out += &format!("{told:24} {}\n", url.escape_debug());
        }
        insta::assert_snapshot!(out);
    }

    #[test]
    fn a_long_destination_is_kept_and_found_again() {
        let wrapper = wrapper();
        let long = format!("https://acme.example/?{}", "x".repeat(5_000));
        let link = wrapper.wrapped(&long).unwrap();
        assert!(link.starts_with("https://links.example/l/acme.example/") && link.len() < 200, "{link}");
        assert_eq!(open(&wrapper.kept).values().collect::<Vec<_>>(), [&long]);
        let restorer = restorer(US);
        assert_eq!(restorer.restored(&link), None);
        let id = open(&restorer.wanted)[0];
        open(&restorer.found).insert(id, Some(long.clone()));
        assert_eq!(restorer.restored(&link), Some(long.clone()));
        wrapper.may_keep.store(false, Ordering::Relaxed);
        assert_eq!(wrapper.wrapped(&long), None);
        let left = Links::Wrap(Arc::new(wrapper)).left();
        assert_eq!(left.as_deref(), Some("1 links not rewritten: the store did not take long ones"));
        let monstrous = format!("https://acme.example/?{}", "x".repeat(limits::DESTINATION_OCTETS_MAX));
        assert_eq!(super::tests::wrapper().wrapped(&monstrous), None);
    }

    #[test]
    fn another_tenants_link_stays_what_it_is() {
        let link = wrapper().wrapped("https://acme.example/").unwrap();
        assert_eq!(restorer(TenantId(Uuid::from_u128(2))).restored(&link), None);
        let safe = format!("https://eur01.safelinks.protection.outlook.com/?url={link}&data=1");
        assert_eq!(restorer(US).restored(&safe).as_deref(), Some("https://acme.example/"));
    }

    #[test]
    fn where_the_page_can_be() {
        for right in ["https://links.example", "https://links.example:8443/mail/", "http://127.0.0.1:8080"] {
            assert!(PublicUrl::parse(right).is_some(), "{right}");
        }
        for wrong in [
            "http://links.example",
            "links.example",
            "https://",
            "https://a@b.example",
            "https://a.example/?x",
            "ftp://a.example",
        ] {
            assert!(PublicUrl::parse(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_rewritten_comes_back(url in "(https?:)?//([a-zA-Z0-9.@:%\\[\\]\\\\-]{1,30}|\\PC{1,12}\\.example)(/\\PC{0,40})?") {
            if let Some(link) = wrapper().wrapped(&url) {
                prop_assert!(link.starts_with("https://links.example/l/") && link.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert!(!link.contains(['"', '\'', '<', '>', '&']));
                prop_assert_eq!(restorer(US).restored(&link), Some(url));
                prop_assert_eq!(wrapper().wrapped(&link), None);
            }
        }
    }
}
