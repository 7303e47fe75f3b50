//! Waiting until nothing is under way to us any more: Exchange Online keeps routing by a rule for a while after it was
//! switched off, and what it handed over must find the way back open.

use crate::events::{Event, State, Step};
use crate::work::Work;
use crate::{Result, limits, probe};
use m365::Identity;
use serde_json::Value;
use std::time::Instant;
use tenant::Tenant;

/// Two signs, both wanted: a message from outside arrives without coming by, and the trace shows none that waits.
/// Where the time is over, what still waits is routed anew by Exchange Online once the connector is gone.
pub(crate) async fn drained(work: &mut Work<'_>, app: &Identity, tenant: &Tenant) -> Result<()> {
    let (until, queue_until) = (Instant::now() + limits::DRAIN_PATIENCE, Instant::now() + limits::QUEUE_PATIENCE);
    let (mut pause, mut told) = (limits::LOOK_FIRST, false);
    loop {
        let (left, patience) = match probe::comes_by(work, app, tenant).await {
            Ok(Some(true)) => (Some("a message still comes by: the rule is still in effect".to_owned()), until),
            Ok(_) => (waiting(work, app).await, queue_until),
            // an application that may do nothing any more will not see it later either
            Err(e) if !e.is_temporary() => {
                (Some(format!("whether mail still comes by cannot be seen ({e})")), Instant::now())
            }
            Err(e) => (Some(format!("whether mail still comes by cannot be seen ({e})")), queue_until),
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
