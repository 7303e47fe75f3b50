//! Training: the same examples give the same model, to the octet.

use super::features::{self, Feature};
use super::model::{Head, Model, VERSION, share, sigmoid};
use crate::look_alike::skeleton;
use crate::{Content, limits};
use mail::Message;

/// One message to learn from: what it holds, and to which kind of mails it belongs.
#[derive(Clone, Debug)]
pub struct Example {
    features: Vec<Feature>,
    is_bad: bool,
    /// Messages of one mailing have the same: none is tested by a model that has seen its sister.
    mailing: u64,
}

/// What models made of mail that they had not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    pub bad: usize,
    pub good: usize,
    /// Of wanted mail exceeded in at most this share, and what share of the unwanted was caught there.
    pub at: Vec<Caught>,
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Caught {
    /// Asked for, and really so.
    pub wanted_most: f32,
    pub wanted: f32,
    pub unwanted: f32,
    pub from_probability: f32,
}

#[derive(Clone, Debug)]
pub struct Trained {
    pub model: Model,
    pub held_out: HeldOut,
}

/// Parts of the examples, each of which is judged by a model of the others.
pub const FOLDS: u64 = 5;
/// Rates of wanted mail at which is told what is caught, in the order of [`HeldOut::at`].
const RATES: [f32; 2] = [0.005, 0.01];
const ROUNDS: usize = 12;
const STEP: f32 = 0.8;
/// Pulls every weight towards nothing, so that no single word decides.
const DECAY: f32 = 2e-4;
/// A word that fewer messages have says who they are, not what.
const MESSAGES_MIN: u32 = 3;

pub fn example(message: &Message, content: &Content, is_bad: bool) -> Example {
    let subject = skeleton(&message.subject().unwrap_or_default());
    let words = subject.split(' ').filter(|w| w.chars().all(char::is_alphabetic)).collect::<Vec<_>>().join(" ");
    let start: String = skeleton(content.text.get(..content.text.len().min(400)).unwrap_or_default())
        .chars()
        .filter(|c| c.is_alphabetic())
        .take(80)
        .collect();
    let key = if words.is_empty() { start } else { words };
    Example { features: features::of(message, content), is_bad, mailing: scattered(&key) }
}

fn scattered(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)) >> 7
}

/// `None` without examples of both kinds.
pub fn train(examples: &[Example]) -> Option<Trained> {
    let of_kind = |bad: bool| examples.iter().filter(|e| e.is_bad == bad).count();
    if of_kind(true) == 0 || of_kind(false) == 0 {
        return None;
    }
    let mut judged: Vec<(f32, bool)> = Vec::new();
    for fold in 0..FOLDS {
        let (tested, learnt): (Vec<&Example>, Vec<&Example>) = examples.iter().partition(|e| e.mailing % FOLDS == fold);
        let model = learn(&learnt);
        judged.extend(tested.iter().map(|e| (model.probability(&e.features), e.is_bad)));
    }
    let at: Vec<Caught> = RATES.iter().map(|rate| caught(&judged, *rate)).collect();
    let mut model = learn(&examples.iter().collect::<Vec<_>>());
    model.head.sure_from = at[0].from_probability;
    model.head.doubtful_from = at[1].from_probability;
    Some(Trained { model, held_out: HeldOut { bad: of_kind(true), good: of_kind(false), at } })
}

/// What lies above the least probability that at most that share of the wanted mail reaches.
fn caught(judged: &[(f32, bool)], rate: f32) -> Caught {
    let mut good: Vec<f32> = judged.iter().filter(|(_, bad)| !bad).map(|(p, _)| *p).collect();
    good.sort_by(|a, b| b.total_cmp(a));
    let allowed = (good.len() as f32 * rate) as usize;
    // just above the first that may not be reached
    let from = good.get(allowed).map_or(0.5, |p| p.max(0.5) + f32::EPSILON);
    let reached = |bad: bool| {
        let all = judged.iter().filter(|(_, b)| *b == bad).count().max(1);
        judged.iter().filter(|(p, b)| *b == bad && *p >= from).count() as f32 / all as f32
    };
    Caught { wanted_most: rate, wanted: reached(false), unwanted: reached(true), from_probability: from }
}

/// Logistic regression by AdaGrad, both kinds weighing the same however many there are of each.
fn learn(examples: &[&Example]) -> Model {
    let buckets = limits::CLASSIFIER_BUCKETS as usize;
    let mut seen = vec![0_u32; buckets];
    examples.iter().flat_map(|e| &e.features).for_each(|f| seen[f.bucket as usize] += 1);
    let bad = examples.iter().filter(|e| e.is_bad).count();
    let weight_of = |count: usize| examples.len() as f32 / (2 * count.max(1)) as f32;
    let (weight_bad, weight_good) = (weight_of(bad), weight_of(examples.len() - bad));
    let (mut weights, mut squares) = (vec![0_f32; buckets], vec![1e-6_f32; buckets]);
    let (mut bias, mut bias_square) = (0_f32, 1e-6_f32);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..ROUNDS {
        shuffle(&mut order, &mut dice);
        for example in order.iter().map(|n| examples[*n]) {
            let share = share(example.features.len());
            let counted = || example.features.iter().map(|f| f.bucket as usize).filter(|b| seen[*b] >= MESSAGES_MIN);
            let sum: f32 = counted().map(|b| weights[b]).sum();
            let error = (sigmoid(bias + sum * share) - f32::from(u8::from(example.is_bad)))
                * if example.is_bad { weight_bad } else { weight_good };
            for b in counted() {
                let slope = error * share + DECAY * weights[b];
                squares[b] += slope * slope;
                weights[b] -= STEP * slope / squares[b].sqrt();
            }
            bias_square += error * error;
            bias -= 0.1 * STEP * error / bias_square.sqrt();
        }
    }
    let largest = weights.iter().fold(1e-6_f32, |most, w| most.max(w.abs()));
    let scale = largest / f32::from(i16::MAX);
    let head = Head {
        posthouse_classifier: VERSION,
        buckets: limits::CLASSIFIER_BUCKETS,
        scale,
        bias,
        doubtful_from: 1.0,
        sure_from: 1.0,
        bad,
        good: examples.len() - bad,
    };
    Model { head, weights: weights.iter().map(|w| (w / scale).round() as i16).collect() }
}

/// Fisher and Yates by xorshift: the same order everywhere.
fn shuffle(order: &mut [usize], dice: &mut u64) {
    for n in (1..order.len()).rev() {
        *dice ^= *dice << 13;
        *dice ^= *dice >> 7;
        *dice ^= *dice << 17;
        order.swap(n, (*dice % (n as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::classifier::ModelError;

    fn read(subject: &str, text: &str) -> (Message, Content) {
        let raw = format!("To: Grace Hopper <grace@contoso.example>\r\nSubject: {subject}\r\n\r\n{text}\r\n");
        let message = Message::parse(raw.into_bytes().into());
        let content = message.with_parts(Content::of);
        (message, content)
    }

    fn taught() -> Trained {
        let mut examples = Vec::new();
        for n in 0..40 {
            let word = ["lamp", "garden", "river", "paper", "stone"][n % 5];
            let good = read(
                &format!("About the {word} {word}"),
                &format!("grace, the {word} is ready for the meeting with Ann"),
            );
            let bad = read(
                &format!("Win a {word} {n}{word}"),
                &format!("claim your {word} prize, click to win {n}x at a.example"),
            );
            examples.push(example(&good.0, &good.1, false));
            examples.push(example(&bad.0, &bad.1, true));
        }
        train(&examples).unwrap()
    }

    #[test]
    fn what_was_shown_is_known_again_with_its_reasons() {
        let trained = taught();
        let (message, content) = read("Win a bicycle", "claim your bicycle prize at b.example, grace");
        let opinion = trained.model.opinion(&message, &content);
        assert!(opinion.probability > 0.8 && opinion.is_doubtful, "{opinion:?}");
        assert!(opinion.because.iter().any(|w| w == "prize" || w == "claim your"), "{opinion:?}");
        let (message, content) = read("About the bicycle", "the bicycle is ready for the meeting");
        assert!(trained.model.opinion(&message, &content).probability < 0.3);
        assert_eq!(trained.held_out.at[0].unwanted, 1.0);
    }

    #[test]
    fn a_model_is_the_same_each_time_and_survives_its_file() {
        let (one, other) = (taught().model, taught().model);
        assert_eq!(one.write(), other.write());
        let file = one.write();
        assert!(file.len() < 1 << 20, "{}", file.len());
        assert_eq!(Model::read(&file).unwrap(), one);
        assert_eq!(Model::read(b"nonsense"), Err(ModelError::NoModel));
        assert_eq!(Model::read(&file[..file.len() - 1]), Err(ModelError::Damaged));
        let later =
            String::from_utf8_lossy(&file).replacen("\"posthouse_classifier\":1", "\"posthouse_classifier\":2", 1);
        assert_eq!(Model::read(later.as_bytes()), Err(ModelError::OtherVersion(2)));
    }

    #[test]
    fn nothing_that_names_somebody_is_looked_at() {
        let (message, content) =
            read("Hello 4711", "grace hopper@x.example https://h.example/x h.example A1B2 wörter, don't");
        let names: Vec<String> = features::of(&message, &content).into_iter().map(|f| f.name).collect();
        let mut words: Vec<&str> = names.iter().map(String::as_str).filter(|n| !n.starts_with('[')).collect();
        words.sort_unstable();
        assert_eq!(words, ["dont", "subject: hello", "worter", "worter dont"]);
    }
}
