//! What the operator's own classifier thinks; one voice among others.

use super::Detector;
use crate::{Category, Evidence, Finding, Severity};
use tenant::Direction;

pub const DETECTOR: Detector = Detector {
    id: "classifier",
    title: "Resembles unwanted mail",
    category: Category::Spam,
    severity: Severity::Note,
    prose: "What a model that you trained on your own mail (`posthouse classifier train`, `[classifier] model`) thinks of words and\nform. It never holds a message alone: 45 points where at most 0.5 % of held-out wanted mail looked so, 25 where at most 1 %\ndid. The words that weighed most are named. Without a model it says nothing.",
    look,
};

/// Two of them would not hold a message either.
const POINTS_SURE: u32 = 45;
const POINTS_DOUBTFUL: u32 = 25;

fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(model) = evidence.classifier.filter(|_| evidence.direction == Direction::Inbound) else {
        return Vec::new();
    };
    let opinion = model.opinion(evidence.message, evidence.content);
    let points = match (opinion.is_sure, opinion.is_doubtful) {
        (true, _) => POINTS_SURE,
        (false, true) => POINTS_DOUBTFUL,
        (false, false) => return Vec::new(),
    };
    let percent = opinion.probability * 100.0;
    let summary = format!("resembles unwanted mail to {percent:.0} %, most of all by {}", quoted(&opinion.because));
    vec![Finding::note(&DETECTOR, points, summary, Vec::new())]
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Content;
    use crate::classifier::{Model, example, train};
    use mail::{Envelope, Message};

    fn message(subject: &str, text: &str) -> Message {
        Message::parse(format!("Subject: {subject}\r\n\r\n{text}\r\n").into_bytes().into())
    }

    fn model() -> Model {
        let mut examples = Vec::new();
        for word in ["lamp", "garden", "river", "paper", "stone", "bread", "window", "cloud"] {
            for again in 0..4 {
                let good = message(&format!("The {word}"), &format!("the {word} is ready for our meeting {again}"));
                let bad = message(&format!("Win a {word}"), &format!("claim your {word} prize and win it {again}"));
                examples.push(example(&good, &good.with_parts(Content::of), false));
                examples.push(example(&bad, &bad.with_parts(Content::of), true));
            }
        }
        train(&examples).unwrap().model
    }

    fn found(message: &Message, classifier: Option<&Model>, direction: Direction) -> Vec<Finding> {
        let envelope = Envelope::new("a@a.example", ["b@b.example"]);
        message.with_parts(|parts| {
            look(&Evidence {
                direction,
                envelope: &envelope,
                message,
                parts,
                content: &Content::of(parts),
                classifier,
                proofs: &crate::Proofs::default(),
                sender: &crate::Sender::default(),
                history: &crate::History::default(),
                lists: &crate::Lists::default(),
                vips: &std::collections::HashSet::new(),
                own_domains: &[],
                people: &std::collections::HashMap::new(),
            })
        })
    }

    #[test]
    fn likeness_is_noted_with_its_words_and_holds_nothing() {
        let model = model();
        let hit = message("Win a bicycle", "claim your bicycle prize and win it");
        let said = found(&hit, Some(&model), Direction::Inbound);
        assert_eq!((said.len(), said[0].points, said[0].severity), (1, POINTS_SURE, Severity::Note));
        assert!(said[0].summary.contains("\"prize") || said[0].summary.contains("\"claim"), "{}", said[0].summary);
        for near in [message("The prize", "our meeting is ready"), message("The bicycle", "the bicycle is ready")] {
            assert_eq!(found(&near, Some(&model), Direction::Inbound), []);
        }
        assert_eq!(found(&hit, Some(&model), Direction::Outbound), []);
        assert_eq!(found(&hit, None, Direction::Inbound), []);
    }
}
