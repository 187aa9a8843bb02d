//! What is measured: the loads that items are put through, and the contenders that carry them.

pub mod contenders;
pub mod cpu;
pub mod figures;
pub mod loads;
