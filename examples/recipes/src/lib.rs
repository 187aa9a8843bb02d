#![doc = include_str!("../../../docs/recipes.md")]

pub mod blocking;
pub mod lagged;
pub mod late;
pub mod lifetime;
#[doc = include_str!("../../../docs/migrating.md")]
pub mod migrating {}
pub mod ndjson;
pub mod relay;
pub mod resume;
pub mod shutdown;
pub mod websocket;
