//! Waiting until nothing is under way to us any more: Exchange Online keeps routing by a rule for a while after it was
//! switched off, and what it handed over must find the way back open.

use crate::events::{Event, State, Step};
use crate::work::Work;
use crate::{Result, limits, probe};
use m365::Identity;
use serde_json::Value;
use std::time::Instant;
use tenant::Tenant;

/// Written down once nothing was under way any more: a run that goes on after one that was cut off finds the way back
/// gone already and could try nothing. Connecting deletes it.
pub(crate) const DRAINED: &str = "drained";

pub(crate) async fn drained(work: &mut Work<'_>, app: &Identity, tenant: &Tenant) -> Result<()> {
    if work.store.step(tenant.id, DRAINED).await?.is_none() {
        until_drained(work, app, tenant).await?;
        work.store.put_step(tenant.id, DRAINED, &Value::Bool(true)).await?;
    }
    Ok(())
}

/// Two signs, both wanted: messages of our own arrive without coming by, several in a row since one server may know of
/// the rule what another does not; and then the trace shows none that waits. Where the time is over, what still waits is
/// routed anew by Exchange Online once the connector is gone.
async fn until_drained(work: &mut Work<'_>, app: &Identity, tenant: &Tenant) -> Result<()> {
    let until = Instant::now() + limits::DRAIN_PATIENCE;
    let (mut closed, mut row, mut told) = (None::<Instant>, 0, false);
    let mut pause = limits::LOOK_FIRST;
    loop {
        let seen = probe::comes_by(work, app, tenant).await;
        row = if matches!(seen, Ok(false)) { row + 1 } else { 0 };
        let (left, patience) = match seen {
            Ok(true) => (Some("a message still comes by: the rule is still in effect".to_owned()), until),
            Ok(false) if row < limits::DRAIN_PROBES => continue,
            // what cannot be tried gets the same time as what waits
            Err(e) => {
                let patience = *closed.get_or_insert_with(Instant::now) + limits::QUEUE_PATIENCE;
                (Some(format!("whether mail still comes by cannot be seen ({e})")), patience)
            }
            Ok(false) => {
                let patience = *closed.get_or_insert_with(Instant::now) + limits::QUEUE_PATIENCE;
                (waiting(work, app).await, patience)
            }
        };
        let Some(left) = left else { return Ok(()) };
        if Instant::now() >= patience {
            let text = format!("{left}; going on, Exchange Online routes anew what still waits");
            work.show(Event::new(Step::Disconnect, State::Note, text));
            return Ok(());
        }
        if !told {
            work.show(Event::new(Step::Disconnect, State::Waiting, format!("mail is still under way: {left}")));
            told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LOOK_MAX);
    }
}

/// How many messages the trace shows as not delivered yet, in words.
async fn waiting(work: &Work<'_>, app: &Identity) -> Option<String> {
    let parameters = serde_json::json!({"Status": ["Pending", "GettingStatus"]});
    match work.client.exchange(app, "Get-MessageTraceV2", parameters).await {
        Ok(answer) => {
            let count = answer.rows.iter().filter(|r| r.get("Status").is_some_and(Value::is_string)).count();
            (count > 0).then(|| format!("{count} messages wait in Exchange Online"))
        }
        Err(e) => Some(format!("the message trace cannot be read ({e})")),
    }
}
