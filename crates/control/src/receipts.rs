//! What was done in a tenant is written down before the first request and finished after the last, with what was there
//! before: taking it back goes by that.

use crate::Result;
use serde_json::Value;
use store::{Receipt, Store};
use tenant::TenantId;

/// Whose doing it is, for the receipt.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub plan: &'a str,
    pub by: &'a str,
}

/// Who acts where no person does.
pub(crate) const SELF_HEAL: &str = "self-heal";
pub(crate) const WATCHDOG: &str = "watchdog";

impl Origin<'_> {
    pub(crate) const CONNECT: Origin<'static> = Origin { plan: "", by: "connect" };
}

/// Does something and leaves a receipt of it, whether it succeeded or not.
#[allow(clippy::too_many_arguments)]
pub(crate) async fn receipted<T>(
    store: &Store,
    tenant: TenantId,
    origin: Origin<'_>,
    step: &str,
    object: &str,
    call: &str,
    prior: Value,
    what: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut receipt = Receipt {
        plan: origin.plan.into(),
        by: origin.by.into(),
        step: step.into(),
        object: object.into(),
        call: call.into(),
        prior,
        answer: Receipt::UNDER_WAY.into(),
    };
    let number = store.begin_receipt(tenant, &receipt).await?;
    let done = what.await;
    receipt.answer = match &done {
        Ok(_) => Receipt::DONE.into(),
        // what may have been done must be taken back one day, too
        Err(e) if e.is_outcome_unknown() => format!("{}: {e}", Receipt::OUTCOME_UNKNOWN),
        Err(e) => e.to_string(),
    };
    store.end_receipt(tenant, number, &receipt).await?;
    done
}
