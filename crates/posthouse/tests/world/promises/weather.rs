//! Microsoft on a bad day: passing errors, throttling, changes that are carried out and answered 504, and copies of
//! the directory that lag by half a minute.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An application's proof of its key is good for five minutes by our clock: the world's must not be further ahead.
const AHEAD_SECS_MAX: u64 = 240;

/// The world's clock goes faster until it is over: so many seconds each time.
pub(super) fn hasten(world: &World, over: &Arc<AtomicBool>, secs: u64, every_ms: u64) -> tokio::task::JoinHandle<()> {
    let (door, over) = (world.door.clone(), over.clone());
    tokio::spawn(async move {
        for _ in 0..AHEAD_SECS_MAX / secs {
            if over.load(Ordering::Relaxed) {
                return;
            }
            door.post("/clock/advance", json!({"secs": secs})).await.unwrap();
            // the pace of the clock, not a wait
            tokio::time::sleep(Duration::from_millis(every_ms)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_day_at_microsoft_changes_nothing() {
    let mut world = World::start().await;
    let text = std::fs::read_to_string(&world.config).unwrap();
    std::fs::write(&world.config, text.replace("every_secs = 3600", "every_secs = 1\nfeed_secs = 1")).unwrap();
    with_optional_objects(&mut world).await;
    sign_in_before(&world).await;
    let before = export(&world, 0).await;
    let weather = json!({"exo_transient_rate": 0.02, "graph_transient_rate": 0.02, "transient_after_rate": 0.5, "throttle_rate": 0.02,
        "entra_consent_delay_secs": 30, "entra_role_delay_secs": 30, "entra_key_delay_secs": 30, "exo_accepted_domain_delay_secs": 30,
        "exo_replication_delay_secs": 30, "graph_replication_delay_secs": 30, "rule_effective_delay_secs": 30});
    world.door.patch("/switches", weather).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let clock = hasten(&world, &over, 1, 50);
    connect(&world, &[]).await;
    for look in [["plan", "contoso"], ["watch", "contoso"]] {
        let (code, said) = exit_code(&world, &look);
        assert_eq!(code, Some(0), "{look:?}: {said}");
    }
    kills::everything_is_there_once(&world).await;
    assert_eq!(world.json(&["alerts"]), json!([]), "an alert was raised");
    disconnect(&world).await;
    over.store(true, Ordering::Relaxed);
    clock.await.unwrap();
    assert_same(&before, &export(&world, 0).await);
}
