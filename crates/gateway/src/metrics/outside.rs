//! What outside scanners took and how they are, and what of each list is in use. Labels are the names that the operator
//! gave them.

use super::histogram::Histogram;
use super::{Now, Seconds, count, micros};
use engines::{Answer, Fault, Health};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineLabel {
    engine: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineFault {
    engine: String,
    kind: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineState {
    engine: String,
    state: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListLabel {
    list: String,
}

pub(super) struct Outside {
    seconds: Seconds<EngineLabel>,
    faults: Family<EngineFault, Counter>,
    engines: Family<EngineState, Gauge>,
    list_entries: Family<ListLabel, Gauge>,
    list_good: Family<ListLabel, Gauge>,
}

impl Outside {
    pub(super) fn new() -> Outside {
        Outside {
            seconds: Family::new_with_constructor(Histogram::seconds),
            faults: Family::default(),
            engines: Family::default(),
            list_entries: Family::default(),
            list_good: Family::default(),
        }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register_with_unit(
            "engine_duration",
            "What each scanner took for a message, when it was asked",
            Unit::Seconds,
            self.seconds.clone(),
        );
        r.register(
            "engine_faults",
            "Messages of which a scanner did not say what is in them; `resting`: it was failing and not asked",
            self.faults.clone(),
        );
        r.register("engines", "1 for the state in which each scanner is", self.engines.clone());
        r.register("list_entries", "Entries of each list that are in use", self.list_entries.clone());
        r.register_with_unit(
            "list_good",
            "When the source of each list last said what is in use, since 1970; 0: never",
            Unit::Seconds,
            self.list_good.clone(),
        );
    }

    pub(super) fn answered(&self, answer: &Answer) {
        let engine = answer.engine.clone();
        if !matches!(answer.fault, Some(Fault::Resting { .. })) {
            self.seconds.get_or_create(&EngineLabel { engine: engine.clone() }).add(micros(answer.took));
        }
        if let Some(fault) = &answer.fault {
            self.faults.get_or_create(&EngineFault { engine, kind: fault.kind() }).inc();
        }
    }

    pub(super) fn set(&self, now: &Now) {
        for (engine, is) in &now.engines {
            for state in Health::STATES {
                let label = EngineState { engine: engine.clone(), state };
                self.engines.get_or_create(&label).set((*is == state).into());
            }
        }
        for (list, entries, good) in &now.lists {
            let label = ListLabel { list: list.clone() };
            self.list_entries.get_or_create(&label).set(count(*entries));
            self.list_good.get_or_create(&label).set(*good);
        }
    }
}
