//! One reading of users or of groups: from the place where the last one stopped to the link that will tell what
//! changes next (wire.md 4.1).

use super::rows;
use crate::{Result, limits};
use m365::{Client, Identity, M365Error, Next};
use serde_json::Value;
use store::{DirectoryPage, Store, SyncKind};

/// Options are only given here: every later link has them in its token.
fn first(kind: SyncKind) -> &'static str {
    match kind {
        SyncKind::Groups => "groups/delta?$select=id,displayName,mail,mailEnabled,securityEnabled,groupTypes,members",
        _ => "users/delta?$select=id,displayName,userPrincipalName,mail,proxyAddresses,accountEnabled,userType",
    }
}

fn page_of(kind: SyncKind, items: &[Value]) -> DirectoryPage {
    match kind {
        SyncKind::Groups => DirectoryPage::Groups(items.iter().filter_map(rows::group).collect()),
        _ => DirectoryPage::Users(items.iter().filter_map(rows::user).collect()),
    }
}

/// `told` hears after each page how many objects this reading has told so far.
pub(super) async fn round(
    client: &Client,
    store: &Store,
    who: &Identity,
    kind: SyncKind,
    told: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let (tenant, mut begun_anew) = (who.tenant(), false);
    for _ in 0..limits::DELTA_PAGES_MAX {
        let place = store.sync_state(tenant, kind).await?;
        if !place.link.is_empty() && !client.is_own_link(&place.link) {
            tracing::info!(%tenant, ?kind, "the place in the directory is of another address of Graph: reading it anew");
            store.restart_sync(tenant, &place, "").await?;
            continue;
        }
        let at = if place.link.is_empty() { first(kind).to_owned() } else { place.link.clone() };
        let page = match client.graph_page(who, &at).await {
            Err(e) if e.is_link_dead() && !place.link.is_empty() && !begun_anew => {
                tracing::info!(%tenant, ?kind, error = %e, "the place in the directory is lost: reading it anew");
                begun_anew = true;
                let begin = fresh(&e, kind);
                store.restart_sync(tenant, &place, &begin).await?;
                continue;
            }
            other => other?,
        };
        let (link, more) = match page.next {
            Next::Page(link) => (link, true),
            Next::Delta(link) => (link, false),
            Next::End => return Err(truncated(kind, "it ends without the link that tells what changes")),
        };
        if more && link == at {
            return Err(truncated(kind, "its next page is the same page"));
        }
        let rows = page_of(kind, &page.items);
        if store.put_directory_page(tenant, &place, rows, more, &link).await? {
            told(if place.more { place.seen } else { 0 } + page.items.len() as u64);
        } else if !store.sync_state(tenant, kind).await?.more {
            // another process read at the same time and is through
            return Ok(());
        }
        if !more {
            return Ok(());
        }
    }
    Err(truncated(kind, &format!("it has more than {} pages", limits::DELTA_PAGES_MAX)))
}

/// Where Microsoft says to begin again, if that link has what we want to know in its token; else our own beginning:
/// a bare one would tell no mail addresses.
fn fresh(error: &M365Error, kind: SyncKind) -> String {
    let place = if kind == SyncKind::Groups { "/groups/delta" } else { "/users/delta" };
    match error {
        M365Error::Gone { location: Some(link), .. } if link.contains(place) && link.contains("$skiptoken=") => {
            link.clone()
        }
        _ => String::new(),
    }
}

fn truncated(kind: SyncKind, why: &str) -> crate::ControlError {
    M365Error::Truncated { what: format!("{kind:?} of the directory"), why: why.to_owned() }.into()
}
