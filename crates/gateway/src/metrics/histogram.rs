//! A histogram of atomics: that of the library has a lock, for which journeys would wait.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// From a step that only looks at memory to a return host at the end of its patience.
const SECONDS: &[f64] = &[
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    f64::INFINITY,
];
/// From a notification to the largest message that Exchange Online takes.
const OCTETS: &[f64] = &[1e3, 1e4, 5e4, 1e5, 5e5, 1e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 1.6e8, f64::INFINITY];

/// Counts below bounds, without a lock. A reader may see a value in one of its numbers and not yet in another.
#[derive(Clone, Debug)]
pub(super) struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    /// Whole units: microseconds or octets.
    sum: AtomicU64,
    /// So many of them are one unit of the bounds.
    per_unit: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64], per_unit: f64) -> Histogram {
        let counts = bounds.iter().map(|_| AtomicU64::new(0)).collect();
        Histogram(Arc::new(Inner { bounds, counts, sum: AtomicU64::new(0), per_unit }))
    }
    pub(super) fn seconds() -> Histogram {
        Histogram::new(SECONDS, 1e6)
    }
    pub(super) fn octets() -> Histogram {
        Histogram::new(OCTETS, 1.0)
    }
    pub(super) fn add(&self, value: u64) {
        let in_bounds = value as f64 / self.0.per_unit;
        let n = self.0.bounds.partition_point(|bound| *bound < in_bounds);
        if let Some(count) = self.0.counts.get(n) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts.iter().map(|c| c.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = self.0.bounds.iter().copied().zip(counts).collect();
        let sum = self.0.sum.load(Ordering::Relaxed) as f64 / self.0.per_unit;
        encoder.encode_histogram::<NoLabelSet>(sum, buckets.iter().map(|b| b.1).sum(), &buckets, None)
    }
    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_below_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[1.0, 10.0, f64::INFINITY], 10.0);
        [5, 10, 15, 100, 110].iter().for_each(|tenths| histogram.add(*tenths));
        let counts: Vec<u64> = histogram.0.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        assert_eq!((counts, histogram.0.sum.load(Ordering::Relaxed)), (vec![2, 2, 1], 240));
    }
}
