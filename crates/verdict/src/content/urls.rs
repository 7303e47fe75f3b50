//! Addresses of the web as they stand in messages: what is behind a security service's rewritten one, and whose it is.

use url::Url;

/// Services wrap what others have wrapped; more layers than this nobody makes in earnest.
const WRAPPERS_MAX: usize = 4;
/// Below these every customer has a label of its own that the public suffix list does not know.
const CUSTOMER_SUFFIXES: [&str; 3] = ["onmicrosoft.com", "sharepoint.com", "mail.protection.outlook.com"];

/// The host that a link leads to, in lower case; behind security services' rewritten links.
pub fn host_of_href(href: &str) -> Option<String> {
    let href: String = href.chars().filter(|c| !matches!(c, '\r' | '\n' | '\t')).collect();
    let href = if let Some(rest) = href.strip_prefix("//") { format!("https://{rest}") } else { href };
    let mut url = Url::parse(&href).ok().filter(|u| matches!(u.scheme(), "http" | "https"))?;
    for _ in 0..WRAPPERS_MAX {
        match behind_wrapper(&url) {
            Behind::NoWrapper => break,
            Behind::Hidden => return None,
            Behind::Link(inner) => url = inner,
        }
    }
    url.host_str().map(|h| h.trim_end_matches('.').to_ascii_lowercase())
}

/// What a security service's rewritten link leads to.
enum Behind {
    NoWrapper,
    Link(Url),
    /// Only the service knows.
    Hidden,
}

/// Safe Links and its like put their own address before every link, and tell the real one in it. Judged is the real
/// one: otherwise every wrapped message would lie.
fn behind_wrapper(url: &Url) -> Behind {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let query = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let told = match host.as_str() {
        _ if host.ends_with(".safelinks.protection.outlook.com") => query("url"),
        "clicktime.symantec.com" => query("u"),
        "linkprotect.cudasvc.com" => query("a"),
        "urldefense.proofpoint.com" if url.path().starts_with("/v2/") => {
            query("u").map(|u| u.replace('-', "%").replace('_', "/")).and_then(|u| {
                let pair = format!("u={}", u.replace('&', "%26").replace('+', "%2B"));
                url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
            })
        }
        "urldefense.proofpoint.com" => query("u"),
        "urldefense.com" | "urldefense.us" => url
            .as_str()
            .split_once("/v3/__")
            .and_then(|(_, rest)| rest.split_once("__;"))
            .map(|(inner, _)| inner.to_owned()),
        _ => return Behind::NoWrapper,
    };
    match told.and_then(|t| Url::parse(&t).ok()).filter(|u| matches!(u.scheme(), "http" | "https")) {
        Some(inner) => Behind::Link(inner),
        None => Behind::Hidden,
    }
}

/// What one organisation owns of a host name.
pub fn site(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    for suffix in CUSTOMER_SUFFIXES {
        if let Some(label) = host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')) {
            return format!("{}.{suffix}", label.rsplit('.').next().unwrap_or(label));
        }
    }
    if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
        return host;
    }
    psl::domain_str(&host).map_or(host.clone(), str::to_owned)
}
