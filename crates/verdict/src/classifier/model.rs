//! A model: one weight for each bucket of words. Its file is a line of JSON and the weights as 16-bit integers.

use super::features::{self, Feature};
use crate::{Content, limits};
use mail::Message;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub(super) head: Head,
    pub(super) weights: Vec<i16>,
}

/// The first line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Version of the file and of what its buckets mean.
    pub posthouse_classifier: u32,
    pub buckets: u32,
    /// What a weight of 1 is worth.
    pub scale: f32,
    pub bias: f32,
    /// Held-out wanted mail exceeded the first in 1 %, the second in 0.5 % of the messages.
    pub doubtful_from: f32,
    pub sure_from: f32,
    pub bad: usize,
    pub good: usize,
}

/// Changes when features change: an old model would read other words into its buckets.
pub(super) const VERSION: u32 = 1;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ModelError {
    #[error("is no classifier model; `posthouse classifier train` writes one")]
    NoModel,
    #[error(
        "is a model of version {0}, this posthouse reads version {VERSION}; train it again with `posthouse classifier train`"
    )]
    OtherVersion(u32),
    #[error("is cut off or damaged; train it again with `posthouse classifier train`")]
    Damaged,
}

/// What a model thinks of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// From 0, wanted, to 1.
    pub probability: f32,
    /// Of held-out wanted mail, at most 1 % looked so; at most 0.5 %.
    pub is_doubtful: bool,
    pub is_sure: bool,
    /// What weighed most for it, first the heaviest.
    pub because: Vec<String>,
}

/// Words that an opinion names.
const BECAUSE_MAX: usize = 8;

impl Model {
    pub fn read(file: &[u8]) -> Result<Model, ModelError> {
        let end = file
            .iter()
            .take(limits::CLASSIFIER_HEAD_OCTETS_MAX)
            .position(|b| *b == b'\n')
            .ok_or(ModelError::NoModel)?;
        let head: Head = serde_json::from_slice(&file[..end]).map_err(|_| ModelError::NoModel)?;
        if head.posthouse_classifier != VERSION {
            return Err(ModelError::OtherVersion(head.posthouse_classifier));
        }
        let weights: Vec<i16> =
            file[end + 1..].chunks(2).map(|two| i16::from_le_bytes([two[0], *two.get(1).unwrap_or(&0)])).collect();
        let finite = [head.scale, head.bias, head.doubtful_from, head.sure_from].iter().all(|n| n.is_finite());
        let whole = file.len() == end + 1 + 2 * limits::CLASSIFIER_BUCKETS as usize;
        if head.buckets != limits::CLASSIFIER_BUCKETS || !whole || !finite {
            return Err(ModelError::Damaged);
        }
        Ok(Model { head, weights })
    }

    pub fn write(&self) -> Vec<u8> {
        let mut file = serde_json::to_vec(&self.head).unwrap_or_default();
        file.push(b'\n');
        file.extend(self.weights.iter().flat_map(|weight| weight.to_le_bytes()));
        file
    }

    pub fn opinion(&self, message: &Message, content: &Content) -> Opinion {
        let features = features::of(message, content);
        let probability = self.probability(&features);
        let mut heavy: Vec<(&Feature, i16)> = features.iter().map(|f| (f, self.weights[f.bucket as usize])).collect();
        heavy.retain(|(_, weight)| *weight > 0);
        heavy.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.name.cmp(&b.0.name)));
        Opinion {
            probability,
            is_doubtful: probability >= self.head.doubtful_from,
            is_sure: probability >= self.head.sure_from,
            because: heavy.into_iter().take(BECAUSE_MAX).map(|(feature, _)| feature.name.clone()).collect(),
        }
    }

    pub(super) fn probability(&self, features: &[Feature]) -> f32 {
        let sum: f32 = features.iter().map(|f| f32::from(self.weights[f.bucket as usize])).sum();
        sigmoid(self.head.bias + self.head.scale * sum * share(features.len()))
    }
}

/// A long message has no more weight than a short one.
pub(super) fn share(features: usize) -> f32 {
    1.0 / (features.max(1) as f32).sqrt()
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
