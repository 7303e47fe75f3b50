//! Exchange has the last word on what is a mailbox and of which kind. The whole list when a tenant is connected and
//! once a day; in between, one by one, those that Graph lets expect.

use super::{rows, thousands};
use crate::events::{Event, State, Step};
use crate::{Result, limits};
use m365::{Client, Identity, M365Error};
use serde_json::json;
use store::Store;

/// Reads the whole list, page by page, and says what came of it. A list that cannot be read to its end confirms what
/// it named and takes nothing away.
pub(super) async fn confirm_all(
    client: &Client,
    store: &Store,
    app: &Identity,
    show: &mut (dyn FnMut(Event) + Send),
) -> Result<String> {
    let tenant = app.tenant();
    let generation = store.begin_mailboxes(tenant).await?;
    let done = list(client, store, app, generation, show).await;
    // a list that failed is not asked for again at once: it is long, and new mailboxes are asked about one by one
    store.finish_mailboxes(tenant, generation, matches!(done, Ok(Read::Whole(_)))).await?;
    Ok(match done {
        Ok(Read::Whole(seen)) => format!("Exchange confirms {} mailboxes", thousands(seen)),
        Ok(Read::Partly(seen, why)) => {
            format!("Exchange confirms {} mailboxes, the others one by one: {why}", thousands(seen))
        }
        Ok(Read::ByAnother) => "another process reads the mailboxes, and is left to it".into(),
        Err(e) => return Err(e),
    })
}

enum Read {
    Whole(u64),
    Partly(u64, M365Error),
    ByAnother,
}

async fn list(
    client: &Client,
    store: &Store,
    app: &Identity,
    generation: i64,
    show: &mut (dyn FnMut(Event) + Send),
) -> Result<Read> {
    let (mut at, mut seen, mut told) = (None, 0, 0);
    for _ in 0..limits::DELTA_PAGES_MAX {
        let parameters = json!({"ResultSize": "Unlimited"});
        let part = match client.exchange_page(app, "Get-Mailbox", &parameters, &rows::MAILBOX, at.as_deref()).await {
            Err(e @ M365Error::Truncated { .. }) => return Ok(Read::Partly(seen, e)),
            other => other?,
        };
        let page: Vec<_> = part.rows.into_iter().filter_map(rows::mailbox).collect();
        seen += page.len() as u64;
        if !store.put_mailboxes(app.tenant(), generation, &page).await? {
            return Ok(Read::ByAnother);
        }
        if part.next.is_some() && seen / limits::PROGRESS_EVERY > told / limits::PROGRESS_EVERY {
            show(Event::new(Step::Directory, State::Doing, format!("{} mailboxes", thousands(seen))));
            told = seen;
        }
        if part.more {
            let why = "Exchange says that there is more".into();
            return Ok(Read::Partly(seen, M365Error::Truncated { what: "Get-Mailbox".into(), why }));
        }
        at = part.next;
        if at.is_none() {
            return Ok(Read::Whole(seen));
        }
    }
    let why = format!("it has more than {} pages", limits::DELTA_PAGES_MAX);
    Err(M365Error::Truncated { what: "Get-Mailbox".into(), why }.into())
}

/// Asks for a few of those that Graph lets expect, and writes down what they are.
pub(super) async fn confirm_some(client: &Client, store: &Store, app: &Identity) -> Result<()> {
    let (tenant, mut odd) = (app.tenant(), None);
    for asked in store.unconfirmed(tenant, limits::CONFIRMED_AT_ONCE).await? {
        let parameters = json!({"Identity": asked.id});
        let found = match client.exchange_page(app, "Get-Mailbox", &parameters, &rows::MAILBOX, None).await {
            Err(e) if e.is_absent() => None,
            // one that Exchange cannot tell of keeps none behind it waiting
            Err(e @ M365Error::Exchange { .. }) if !e.is_temporary() => {
                odd = Some(e);
                continue;
            }
            // recorded: asked for one that it does not know, Exchange may answer with everybody
            other => other?.rows.into_iter().filter_map(rows::mailbox).find(|m| m.id == asked.id),
        };
        store.confirm(tenant, &asked.id, found.as_ref()).await?;
    }
    odd.map_or(Ok(()), |e| Err(e.into()))
}
