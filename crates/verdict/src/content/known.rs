//! Hosts that are known: the lists beside this file, read once.

use super::urls::site;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use url::Url;

fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'))
}

/// The host itself and every domain above it, the longest first.
fn above(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |h| h.split_once('.').map(|(_, rest)| rest))
}

static SHORTENERS: LazyLock<HashSet<&str>> = LazyLock::new(|| lines(include_str!("known/shorteners.txt")).collect());

pub fn is_shortener(host: &str) -> bool {
    SHORTENERS.contains(host.strip_prefix("www.").unwrap_or(host))
        // names of many customers below these
        || above(host).skip(1).any(|h| matches!(h, "page.link" | "app.link" | "rebrand.ly"))
}

static CHEAP_TLDS: LazyLock<HashSet<&str>> = LazyLock::new(|| lines(include_str!("known/cheap_tlds.txt")).collect());

/// The suffix of the site, where names below it cost next to nothing.
pub fn cheap_tld(site: &str) -> Option<&'static str> {
    above(site).skip(1).find_map(|suffix| CHEAP_TLDS.get(suffix)).copied()
}

/// A place where anybody puts a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeHost {
    pub below: &'static str,
    /// How seldom wanted mail links there.
    pub points: u32,
    pub what: &'static str,
}

static FREE_HOSTS: LazyLock<HashMap<&str, FreeHost>> = LazyLock::new(|| {
    let entry = |line: &'static str| {
        let mut words = line.splitn(3, ' ');
        let below = words.next()?;
        Some((below, FreeHost { below, points: words.next()?.parse().ok()?, what: words.next()? }))
    };
    lines(include_str!("known/free_hosts.txt")).filter_map(entry).collect()
});

/// Whom a page there belongs to, its address does not tell.
pub fn free_host(url: &Url, host: &str) -> Option<FreeHost> {
    let by_path = |below, points, what| Some(FreeHost { below, points, what });
    match host {
        // everybody's pages beside the operator's own
        "docs.google.com" if url.path().starts_with("/forms/") => {
            return by_path("docs.google.com", 10, "a form builder");
        }
        "docs.google.com" if url.path().ends_with("/pub") => {
            return by_path("docs.google.com", 30, "a published document");
        }
        _ => {}
    }
    if host.ends_with(".amazonaws.com") && (host.starts_with("s3") || host.contains(".s3")) {
        return by_path("amazonaws.com", 35, "a storage bucket");
    }
    free_name(host)
}

/// The same by the name alone.
pub fn free_name(host: &str) -> Option<FreeHost> {
    above(host).find_map(|h| FREE_HOSTS.get(h)).copied()
}

struct Redirector {
    path: &'static str,
    parameter: &'static str,
}

static REDIRECTORS: LazyLock<HashMap<&str, Vec<Redirector>>> = LazyLock::new(|| {
    let mut all: HashMap<&str, Vec<Redirector>> = HashMap::new();
    for line in lines(include_str!("known/redirectors.txt")) {
        let mut words = line.split(' ');
        if let (Some(host), Some(path), Some(parameter)) = (words.next(), words.next(), words.next()) {
            all.entry(host).or_default().push(Redirector { path, parameter });
        }
    }
    all
});

/// A well-known site's address that leads to another one.
pub fn is_open_redirect(url: &Url, host: &str) -> bool {
    // Google has a host in every country
    let google = host.strip_prefix("www.").unwrap_or(host).starts_with("google.").then_some("google.com");
    let ways = google.into_iter().chain(above(host)).find_map(|h| REDIRECTORS.get(h));
    ways.into_iter().flatten().any(|way| {
        let path = url.path();
        (path == way.path || (way.path.ends_with(['/', '=']) && path.contains(way.path)))
            && (way.parameter == "-" || url.query_pairs().any(|(key, _)| key == way.parameter))
    })
}

/// Services that count clicks for others: wanted mail is full of them. In order.
const COUNTERS: [&str; 97] = [
    "acemlna.com",
    "activehosted.com",
    "aweber.com",
    "awstrack.me",
    "beehiiv.com",
    "bmetrack.com",
    "brevo.com",
    "ccsend.com",
    "cleverreach.com",
    "cmail19.com",
    "cmail20.com",
    "constantcontact.com",
    "convertkit-mail.com",
    "convertkit-mail2.com",
    "createsend.com",
    "createsend1.com",
    "createsend2.com",
    "crsend.com",
    "customeriomail.com",
    "dmtrk.net",
    "dripemail2.com",
    "elasticemail.com",
    "eloqua.com",
    "emailsys.net",
    "emailsys1a.net",
    "emailsys2a.net",
    "emarsys.net",
    "emsecure.net",
    "en25.com",
    "exacttarget.com",
    "exct.net",
    "flodesk.com",
    "freshemail.io",
    "getresponse-mail.com",
    "getresponse.com",
    "govdelivery.com",
    "hs-sales-engage.com",
    "hubspotemail.net",
    "hubspotlinks.com",
    "hubspotlinksfree.com",
    "hubspotlinkspro.com",
    "hubspotlinksstarter.com",
    "infusionmail.com",
    "intercom-mail.com",
    "intercom.io",
    "inxserver.com",
    "inxserver.de",
    "iterable.com",
    "keap-link001.com",
    "klaviyomail.com",
    "klclick.com",
    "klclick1.com",
    "klclick2.com",
    "klclick3.com",
    "list-manage.com",
    "listrakbi.com",
    "lnks.gd",
    "mailchimp.com",
    "mailerlite.com",
    "mailgun.org",
    "mailjet.com",
    "maillist-manage.com",
    "maillist-manage.eu",
    "mailpoet.com",
    "mailtrap.io",
    "mandrillapp.com",
    "mjt.lu",
    "mktoweb.com",
    "mlsend.com",
    "mlsnd.com",
    "moosend.com",
    "newsletter2go.com",
    "omnisendlink.com",
    "outreach.io",
    "pardot.com",
    "postmarkapp.com",
    "pstmrk.it",
    "rs6.net",
    "sailthru.com",
    "salesloftlinks.com",
    "sendgrid.net",
    "sendibm1.com",
    "sendibm2.com",
    "sendibm3.com",
    "sendibt2.com",
    "sendibt3.com",
    "sendinblue.com",
    "sendpulse.com",
    "sendpulse.email",
    "sparkpostmail.com",
    "spgo.io",
    "stat-pulse.com",
    "substack.com",
    "trackedlink.net",
    "tsp1-brief.net",
    "xmr3.com",
    "zohocampaigns.com",
];

pub fn is_counter(site: &str) -> bool {
    COUNTERS.binary_search(&site).is_ok()
}

/// A name that is borrowed to deceive.
#[derive(Debug)]
pub struct Brand {
    pub name: &'static str,
    /// Means other things too.
    pub is_word: bool,
    sites: Vec<&'static str>,
}

static BRANDS: LazyLock<Vec<Brand>> = LazyLock::new(|| {
    let entry = |line: &'static str| {
        let mut words = line.split(' ');
        let name = words.next()?;
        Some(Brand { name: name.trim_end_matches('*'), is_word: name.ends_with('*'), sites: words.collect() })
    };
    lines(include_str!("known/brands.txt")).filter_map(entry).collect()
});

pub fn brands() -> &'static [Brand] {
    &BRANDS
}

impl Brand {
    /// The host is the brand's own: listed, `name.com`, or the name below a country's suffix.
    pub fn owns(&self, host: &str) -> bool {
        above(host).any(|h| self.sites.contains(&h)) || self.owns_site(&site(host))
    }

    fn owns_site(&self, site: &str) -> bool {
        let Some((label, suffix)) = site.split_once('.') else { return false };
        let last = suffix.rsplit('.').next().unwrap_or_default();
        label == self.name && (suffix == "com" || suffix == self.name || last.len() == 2) && cheap_tld(site).is_none()
    }
}

static BRAND_SITES: LazyLock<HashMap<&str, &Brand>> =
    LazyLock::new(|| BRANDS.iter().flat_map(|b| b.sites.iter().map(move |s| (*s, b))).collect());

static BRAND_NAMES: LazyLock<HashMap<&str, &Brand>> = LazyLock::new(|| BRANDS.iter().map(|b| (b.name, b)).collect());

/// Some known brand's own.
pub fn brand_of(host: &str) -> Option<&'static Brand> {
    let listed = above(host).find_map(|h| BRAND_SITES.get(h)).copied();
    listed.or_else(|| {
        let site = site(host);
        BRAND_NAMES.get(site.split('.').next()?).copied().filter(|b| b.owns_site(&site))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_lists_are_read_whole() {
        let count = |list| lines(list).count();
        assert_eq!(FREE_HOSTS.len(), count(include_str!("known/free_hosts.txt")), "each host once, points and words");
        assert_eq!(SHORTENERS.len(), count(include_str!("known/shorteners.txt")), "each once");
        assert_eq!(CHEAP_TLDS.len(), count(include_str!("known/cheap_tlds.txt")), "each once");
        assert_eq!(REDIRECTORS.values().map(Vec::len).sum::<usize>(), count(include_str!("known/redirectors.txt")));
        assert!(COUNTERS.is_sorted(), "counters in order, to be searched");
        assert!(BRANDS.iter().all(|b| !b.sites.is_empty()), "a brand without sites");
        assert!(FREE_HOSTS.values().all(|f| f.points < 100 && !f.what.is_empty()));
    }

    #[test]
    fn hosts_are_known_by_what_is_above_them() {
        let free = |url: &str| {
            let url = Url::parse(url).unwrap();
            let host = url.host_str().unwrap().to_owned();
            free_host(&url, &host).map(|f| f.below)
        };
        assert_eq!(free("https://x-1.web.app/a"), Some("web.app"));
        assert_eq!(free("https://bucket.s3.eu-west-1.amazonaws.com/i.html"), Some("amazonaws.com"));
        assert_eq!(free("https://docs.google.com/forms/d/1"), Some("docs.google.com"));
        assert_eq!((free("https://docs.google.com/document/d/1"), free("https://notweb.app/")), (None, None));
        assert!(is_shortener("bit.ly") && is_shortener("x.page.link") && !is_shortener("abit.ly"));
        for (url, yes) in [
            ("https://www.google.co.uk/url?q=https://a.example", true),
            ("https://www.google.com/amp/s/a.example/x", true),
            ("https://www.google.com/search?q=url", false),
            ("https://www.linkedin.com/in/somebody", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(is_open_redirect(&url, url.host_str().unwrap()), yes, "{url}");
        }
    }

    #[test]
    fn what_a_brand_owns() {
        let paypal = BRANDS.iter().find(|b| b.name == "paypal").unwrap();
        assert!(["www.paypal.com", "paypal.de", "paypal.co.uk", "x.paypal-corp.com"].iter().all(|h| paypal.owns(h)));
        assert!(["paypal.evil.example", "paypal.top", "my-paypal.com"].iter().all(|h| !paypal.owns(h)));
    }
}
