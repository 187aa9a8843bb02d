//! The timers that need Tokio.

mod own;
mod queue;
mod shared;
mod task;

pub use self::{
    own::TokioTimer,
    shared::{SharedTimer, SharedTimers},
};
