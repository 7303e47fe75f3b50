//! From scores to rates: what is caught at which price.

use serde::{Deserialize, Serialize};

/// What a threshold does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Lowest score that is caught.
    pub threshold: f64,
    /// Parts of one.
    pub caught: f64,
    pub false_alarms: f64,
}

/// The part of `scores` from `threshold` on.
pub fn rate(scores: &[f64], threshold: f64) -> f64 {
    scores.iter().filter(|s| **s >= threshold).count() as f64 / scores.len().max(1) as f64
}

/// Every threshold that makes a difference, from the strictest down; the first catches nothing.
pub fn curve(bad: &[f64], wanted: &[f64]) -> Vec<Point> {
    let mut all: Vec<(f64, bool)> = bad.iter().map(|s| (*s, true)).chain(wanted.iter().map(|s| (*s, false))).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut caught, mut alarms) = (0, 0);
    let mut points = vec![Point { threshold: f64::INFINITY, caught: 0.0, false_alarms: 0.0 }];
    for (n, (threshold, is_bad)) in all.iter().enumerate() {
        if *is_bad {
            caught += 1
        } else {
            alarms += 1
        }
        // equal scores cannot be told apart
        if all.get(n + 1).is_none_or(|next| next.0 < *threshold) {
            points.push(Point {
                threshold: *threshold,
                caught: f64::from(caught) / bad.len().max(1) as f64,
                false_alarms: f64::from(alarms) / wanted.len().max(1) as f64,
            });
        }
    }
    points
}

/// The lowest threshold with at most so many false alarms.
pub fn at_most(points: &[Point], false_alarms: f64) -> Point {
    let within = points.iter().take_while(|p| p.false_alarms <= false_alarms);
    within.last().copied().unwrap_or(Point { threshold: f64::INFINITY, caught: 0.0, false_alarms: 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_threshold_within_a_price() {
        let bad = [100.0, 100.0, 60.0, 30.0, 0.0];
        let wanted = [40.0, 30.0, 0.0, 0.0];
        let points = curve(&bad, &wanted);
        assert_eq!(at_most(&points, 0.0), Point { threshold: 60.0, caught: 0.6, false_alarms: 0.0 });
        assert_eq!(at_most(&points, 0.25), Point { threshold: 40.0, caught: 0.6, false_alarms: 0.25 });
        // what a wanted message has, too, costs it
        assert_eq!(at_most(&points, 0.5), Point { threshold: 30.0, caught: 0.8, false_alarms: 0.5 });
        assert_eq!(at_most(&points, 1.0), Point { threshold: 0.0, caught: 1.0, false_alarms: 1.0 });
        assert_eq!(at_most(&curve(&[1.0], &[1.0]), 0.9).caught, 0.0);
        assert_eq!((rate(&bad, 60.0), rate(&[], 1.0)), (0.6, 0.0));
    }
}
