//! Our own classifier: how much a message resembles unwanted mail that the operator has shown us.
//!
//! Logistic regression over hashed words, trained by the operator on mail that he has a right to use (`posthouse
//! classifier train`); the product ships no model and works without one. It is one piece of evidence among others: it
//! never holds a message alone, and it says which words weighed most. Pure and the same on every machine.

mod features;
mod model;
mod train;

pub use model::{Model, ModelError, Opinion};
pub use train::{Caught, Example, FOLDS, HeldOut, Trained, example, train};
