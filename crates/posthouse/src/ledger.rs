//! `posthouse ledger`: whether every message is accounted for.

use crate::cli::{LedgerCommand, LedgerWindow};
use crate::commands::open;
use crate::config::Config;
use crate::{show, wiring};
use anyhow::{Result, bail};
use control::ledger::{Progress, Window};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use std::process::ExitCode;

/// `90m`, `24h`, `7d`; a day is 24 hours.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|e| format!("{e}"))?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|e| format!("{e}"))?;
    if duration.is_negative() { Err("a time that is not negative is expected".into()) } else { Ok(duration) }
}

fn window(asked: &LedgerWindow, grace: SignedDuration) -> Result<Window> {
    let now = Timestamp::now();
    let to = asked.to.unwrap_or(now);
    let from = asked.from.map_or_else(|| now.checked_sub(asked.since), Ok)?;
    if from >= to || to > now {
        bail!("the window ends before it begins, or in the future: {from:.0} to {to:.0}");
    }
    Ok(Window { from, to, grace })
}

/// Exit code 0: all is accounted for; 2: something is missing or doubled; 1: something could not be checked.
pub async fn run(config: &Config, command: LedgerCommand, json: bool) -> Result<ExitCode> {
    let store = open(config).await?;
    let (name, window, check) = match &command {
        LedgerCommand::Check { tenant, window: asked, grace } => (tenant, window(asked, *grace)?, true),
        LedgerCommand::Show { tenant, window: asked } => (tenant, window(asked, SignedDuration::ZERO)?, false),
    };
    let tenant = wiring::find_tenant(&store, name).await?;
    if !check {
        let counted = control::ledger::count(tenant.id, &store, window).await?;
        let counts = serde_json::json!({"from": counted.from, "to": counted.to, "entered": counted.entered, "states": counted.states, "probes": counted.probes});
        show::print(json, &counts, || format!("{}, and {} probes of our own", counted.counted(), counted.probes))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (settings, client) = (wiring::control_settings(config)?, wiring::client(config)?);
    // to the other stream, so that the check is all that stands on this one
    let mut tell = |progress: Progress| eprintln!("{progress}");
    let checked = control::ledger::check(tenant.id, &client, &store, &settings, window, &mut tell).await?;
    // addresses and Message-IDs are of mail
    show::print(json, &checked, || checked.to_string().lines().map(show::safe).collect::<Vec<_>>().join("\n"))?;
    Ok(match (checked.is_wrong(), checked.unknown.is_empty()) {
        (true, _) => ExitCode::from(2),
        (false, false) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, secs) in [("24h", 86_400), ("7d", 604_800), ("90m", 5400), ("0s", 0), ("1h 30m", 5400)] {
            assert_eq!(duration(text).unwrap().as_secs(), secs, "{text}");
        }
        assert!(duration("-1h").is_err() && duration("soon").is_err() && duration("1 month").is_err());
        let asked = |from: &str, to: &str| LedgerWindow {
            since: SignedDuration::from_hours(24),
            from: Some(from.parse().unwrap()),
            to: Some(to.parse().unwrap()),
        };
        assert!(window(&asked("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z"), SignedDuration::ZERO).is_err());
        assert!(window(&asked("2026-03-01T00:00:00Z", "2126-03-01T00:00:00Z"), SignedDuration::ZERO).is_err());
    }
}
