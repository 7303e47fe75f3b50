//! What a link is, for a person at the command line: where it leads, whose it is, whether we made it, how long it leads on,
//! and what would happen at the click now.

use super::PublicUrl;
use super::click::{judged, lists_say_nothing};
use super::token::{Destination, Token, kept_id};
use serde::Serialize;
use store::Store;
use tenant::{AtClick, TenantId};
use verdict::click::Standing;
use verdict::content::urls::reached;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// It is no rewritten link of this installation.
    NotOurs,
    /// It has the form of one and was not made here, or was altered: it leads nowhere.
    Wrong,
    Right,
}

/// Everything that is known of one link.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub signature: Signature,
    /// As it stood in the message, or as given where the link is none of ours; `None`: not known any more.
    pub destination: Option<String>,
    /// Behind other services' rewritten links.
    pub host: Option<String>,
    pub tenant: Option<TenantId>,
    pub tenant_name: Option<String>,
    pub journey: Option<String>,
    pub ends: Option<jiff::Timestamp>,
    pub is_expired: bool,
    /// `clean`, `suspicious`, `malicious` or `unknown`.
    pub standing: &'static str,
    pub reasons: Vec<String>,
    /// What a click does now: `pass`, `warn`, `block`, `expired`, `nowhere`.
    pub click: &'static str,
}

/// `lists`: as they stand on disk.
pub async fn explain(
    store: &Store,
    public: Option<&PublicUrl>,
    settings: &[engines::FeedSettings],
    lists: &engines::Feeds,
    link: &str,
) -> store::Result<Explained> {
    let now = jiff::Timestamp::now().as_second();
    let path = public.and_then(|public| public.path_of(link.trim()));
    let token = path.as_ref().and_then(|path| Token::read(path, |tenant, number| store.link_key(tenant, number)));
    let (signature, destination) = match (&path, &token) {
        (None, _) => (Signature::NotOurs, Some(link.trim().to_owned())),
        (Some(_), None) => (Signature::Wrong, None),
        (_, Some(Token { destination: Destination::Written(written), .. })) => {
            (Signature::Right, Some(written.clone()))
        }
        (_, Some(Token { tenant, destination: Destination::Kept(id), .. })) => {
            let kept = store.kept_link(*tenant, *id).await?;
            (Signature::Right, kept.filter(|written| kept_id(*tenant, written) == *id))
        }
    };
    let tenant = match &token {
        Some(token) => store.tenant(token.tenant).await?,
        None => None,
    };
    let unknown = lists_say_nothing(settings, &lists.status());
    let judged = destination.as_ref().map(|d| judged(d, tenant.as_ref(), &lists.lists(), unknown, now));
    let is_expired = token.as_ref().is_some_and(|token| token.ends <= now);
    let standing = match judged.as_ref().and_then(|j| j.standing) {
        None => "unknown",
        Some(Standing::Clean) => "clean",
        Some(Standing::Suspicious) => "suspicious",
        Some(Standing::Malicious) => "malicious",
    };
    let click = match &judged {
        _ if signature == Signature::Wrong => "nowhere",
        _ if is_expired => "expired",
        None => "nowhere",
        Some(judged) => match judged.then {
            AtClick::Pass => "pass",
            AtClick::Warn => "warn",
            AtClick::Block => "block",
        },
    };
    Ok(Explained {
        signature,
        host: destination.as_ref().and_then(|d| reached(d)).and_then(|(url, _)| url.host_str().map(str::to_owned)),
        destination,
        tenant: token.as_ref().map(|t| t.tenant),
        tenant_name: tenant.map(|t| t.display_name),
        journey: token.as_ref().filter(|t| !t.journey.is_nil()).map(|t| t.journey.to_string()),
        ends: token.as_ref().and_then(|t| jiff::Timestamp::from_second(t.ends).ok()),
        is_expired,
        standing,
        reasons: judged.map(|j| j.reasons).unwrap_or_default(),
        click,
    })
}
