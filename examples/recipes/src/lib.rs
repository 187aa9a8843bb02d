#![doc = include_str!("../../../docs/recipes.md")]

pub mod ndjson;
pub mod resume;
pub mod websocket;
