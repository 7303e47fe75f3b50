//! Runs a property on cases of a seed. In the tests a few hundred cases of one seed, so that every run is the same; under
//! `cargo xtask fuzz` (`FUZZ_SECONDS`, `FUZZ_SEED`) as many as fit, each batch with the next seed, which is printed when it fails.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::time::{Duration, Instant};

const CASES: u32 = 300;

pub fn run<S: Strategy>(target: &str, cases: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    let seconds = number("FUZZ_SECONDS");
    let first = number("FUZZ_SEED").unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut seed = first;
    loop {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &octets));
        if let Err(e) = runner.run(cases, &property) {
            panic!("{target} fails with --seed {seed}: {e}");
        }
        seed += 1;
        if Instant::now() >= until {
            break;
        }
    }
    if seconds.is_some() {
        println!("{target}: {} cases, seeds {first} to {}", (seed - first) * u64::from(CASES), seed - 1);
    }
}
