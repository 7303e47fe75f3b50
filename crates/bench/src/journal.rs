//! A journal of any length: one real journey, told again as often as wanted under other ids and Message-IDs, straight
//! into the gateway's database while it is down.

use crate::load::{Load, Until};
use crate::run::run;
use crate::systems;
use crate::world::World;
use anyhow::{Context, Result};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use std::path::Path;
use std::process::Command;

/// Rows of one transaction.
const ROWS_A_STEP: u64 = 100_000;
/// Of one row with its indices, generously.
const OCTETS_A_ROW: u64 = 3000;
/// Half a second between two: the longest journal is then younger than what the gateway forgets.
const MILLIS_BETWEEN: u64 = 500;

pub fn has_room(dir: &Path, journeys: u64) -> Result<bool> {
    let said = Command::new("df").args(["--output=avail", "-B1"]).arg(dir).output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let free: u64 = text.lines().nth(1).and_then(|l| l.trim().parse().ok()).context("df said nothing")?;
    // what is there already counts too, so this errs on the side of caution
    Ok(free > journeys * OCTETS_A_ROW + (1 << 30))
}

/// An id as [`fill`] makes them, one of the first.
pub fn some_id() -> String {
    "01900000-01f4-7000-8000-0000000001f4".into()
}

/// Until there are `journeys` entries or more.
pub fn fill(world: &World, posthouse: &Path, dir: &Path, journeys: u64) -> Result<()> {
    let database = dir.join("data/posthouse.db");
    if !database.exists() {
        let running = systems::posthouse(world, posthouse, dir, &[])?;
        let specimen = world.specimen(4 << 10)?;
        let one = Load {
            sessions: 1,
            until: Until::Messages(1),
            ..Load::of(running.address, &world.exchange_tls, &specimen)
        };
        run(world, &running, &one)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // nobody else has it open, and what a power cut leaves of it is of no use to anybody
        let options = SqliteConnectOptions::new()
            .filename(&database)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-500000");
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let copied = copies(&pool, journeys).await;
        pool.close().await;
        copied
    })?;
    // else the first sync of whoever starts next would wait for all of it
    Ok(std::fs::File::open(&database)?.sync_all()?)
}

async fn copies(pool: &SqlitePool, journeys: u64) -> Result<()> {
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM journeys").fetch_one(pool).await?;
    let mut next: i64 = sqlx::query_scalar("SELECT count(*) FROM journeys WHERE id < '0191'").fetch_one(pool).await?;
    let pattern = sqlx::query("SELECT id,tenant,addresses,json,started FROM journeys ORDER BY id DESC LIMIT 1")
        .fetch_one(pool)
        .await?;
    let mut missing = journeys.saturating_sub(u64::try_from(there)?);
    while missing > 0 {
        let step = missing.min(ROWS_A_STEP);
        sqlx::query(
            "WITH RECURSIVE n(i) AS (VALUES($1) UNION ALL SELECT i+1 FROM n WHERE i+1 < $1+$2),
             made(i,id) AS (SELECT i, printf('%08x-%04x-7000-8000-%012x', 0x01900000 + i/65536, i%65536, i) FROM n)
             INSERT INTO journeys(id,tenant,started,message_id,addresses,json)
             SELECT id, $3, $4 - (12000000-i)*$5, lower(hex(randomblob(16)))||'@partner.example', $6,
                    replace($7, $8, id) FROM made",
        )
        .bind(next)
        .bind(i64::try_from(step)?)
        .bind(pattern.try_get::<String, _>("tenant")?)
        .bind(pattern.try_get::<i64, _>("started")?)
        .bind(i64::try_from(MILLIS_BETWEEN)?)
        .bind(pattern.try_get::<String, _>("addresses")?)
        .bind(pattern.try_get::<String, _>("json")?)
        .bind(pattern.try_get::<String, _>("id")?)
        .execute(pool)
        .await?;
        next += i64::try_from(step)?;
        missing -= step;
    }
    Ok(())
}
