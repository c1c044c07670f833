//! The collapse watch on recorded runs, and the rules it keeps.

mod recorded;
mod rules;
mod what_breaks;
